"""The one way out: whatever a system is told to do leaves here, after what operators have said was held against it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from expunge.domain.case import chunk_facts, deferring, restrictions
from expunge.domain.case.chunks import ChunkState, Phase
from expunge.domain.case.turn import LookIntoReplacement, SendCommand, Turn, WithdrawCommand
from expunge.domain.events import millis
from expunge.domain.plan import command_id
from expunge.domain.registry import A_DAY
from expunge.domain.standing import Hold, hold_word
from expunge.domain.vocabulary import KEEPING

CANCEL = "cancel"
REGROUP = "regroup"
"""A command is withdrawn so that another can name what it had to leave out."""
HOLDS_PER_TASK = 100
LOOK_ONCE_MORE = timedelta(minutes=1)
"""A question about holds that nobody has answered is put once more after this."""
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=30)
INDEX_AT_MOST = timedelta(hours=24)
"""So long, and not beyond its due date, a command waits for the indexers to pass what lay before a hold."""


def send(turn: Turn, chunk: ChunkState) -> None:
    """Send the command of a chunk whose stage has come and of which nothing is with its system, or bar it."""
    chunk = restrictions.ended(turn, meet_holds(turn, chunk))
    if words(turn, chunk) or chunk.asked or not chunk.left:
        if chunk.phase is not Phase.BARRED:
            turn.record(chunk_facts.Barred(chunk=chunk.summary.digest), chunk)
        return
    command(turn, chunk)


def command(turn: Turn, chunk: ChunkState, wait: timedelta | None = None) -> None:
    """Send a command for the first time, or once more, or anew under another id where nothing is with the system.

    Args:
        turn: the decision in progress.
        chunk: the chunk.
        wait: until it is sent once more without an answer; the system's time-out, where none is given.
    """
    identity = chunk.command_id
    if chunk.attempt and not chunk.out:
        identity = command_id(turn.case.case_id, chunk.generation, chunk.summary, chunk.round + 1)
    wait = wait or turn.system(chunk).timeout
    fact = chunk_facts.Joined if chunk.pooled else chunk_facts.Commanded
    sent = fact(chunk=chunk.summary.digest, command_id=identity, attempt=chunk.attempt + 1, next_at=turn.now + wait)
    turn.record(sent, chunk)
    turn.emit(SendCommand(turn.chunks[chunk.summary.digest], chunk.attempt + 1))


def words(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """What operators have said that keeps the whole chunk back."""
    case = turn.case
    cancel = (CANCEL,) if case.cancelling else ()
    return (*cancel, *turn.standing.pauses_of(case.publisher, chunk.summary.system, case.case_id))


def look_again(turn: Turn, chunk: ChunkState) -> None:
    """Hold what stands now against a chunk whose stage has come: withdraw its command, or let the next one go.

    As long as its system may still carry a command out, there is no other: of two, the later might be done first.
    """
    chunk = restrictions.ended(turn, meet_holds(turn, chunk))
    if chunk.phase is Phase.PUT_OFF:
        _put_off(turn, chunk)
    elif chunk.out:
        regroup = (REGROUP,) if chunk.unnamed else ()
        against = (*words(turn, chunk), *_held_in_command(chunk), *restrictions.must_stop(turn, chunk), *regroup)
        if against or chunk.phase is Phase.RECALLED:
            recall(turn, chunk, against)
    elif chunk.left and chunk.replacement and turn.case.cancelling:  # nobody looks at it any more
        turn.record(chunk_facts.Barred(chunk=chunk.summary.digest), chunk)
    elif chunk.left and chunk.replacement:
        if chunk.next_at is None:  # a hold had kept it from being looked at
            ask_about_replacement(turn, chunk, chunk.replacement)
    elif chunk.left:
        send(turn, chunk)


def _put_off(turn: Turn, chunk: ChunkState) -> None:
    """What policy has put off stays so, unless the request was cancelled or what it waited for has happened.

    It may wait for something else by now; and a hold that has ended leaves it as it was.
    """
    found = deferring.waits(turn, chunk)
    if turn.case.cancelling:
        turn.record(chunk_facts.Barred(chunk=chunk.summary.digest), chunk)
    elif found is None:
        turn.record(chunk_facts.DeferralEnded(chunk=chunk.summary.digest), chunk)
        send(turn, turn.chunks[chunk.summary.digest])
    elif chunk.left or found.until != chunk.next_at:
        deferring.put_off(turn, chunk)


def _held_in_command(chunk: ChunkState) -> tuple[str, ...]:
    """The holds that cover something which its system may still do by its last command."""
    named = set(chunk.ordinals)
    return tuple(
        hold_word(hold)
        for hold, covered in sorted(chunk.holds.items())
        if any(chunk.is_held(each) for each in named.intersection(covered))
    )


def recall(turn: Turn, chunk: ChunkState, against: tuple[str, ...]) -> None:
    """Withdraw a command; said again until the system answers, also when what stood against it has ended."""
    told = tuple(sorted(against))
    if chunk.phase is Phase.RECALLED and chunk.recalled_for == told and chunk.next_at and turn.now < chunk.next_at:
        return
    again = chunk.phase is not Phase.RECALLED or chunk.next_at is None or turn.now >= chunk.next_at
    wait = turn.system(chunk).after_withdrawal(chunk.recalls)
    next_at = turn.now + wait if again or chunk.next_at is None else chunk.next_at
    digest = chunk.summary.digest
    turn.record(chunk_facts.Recalled(chunk=digest, command_id=chunk.command_id, words=told, next_at=next_at), chunk)
    if again:
        reason = told[0].partition(":")[0] if told else REGROUP
        turn.emit(WithdrawCommand(turn.chunks[digest], reason))


def meet_holds(turn: Turn, chunk: ChunkState) -> ChunkState:
    """The chunk after the holds of its partition were held against it; those that need a look are asked about.

    What loses nothing (a restriction, its end, a model that is not served) no hold keeps back.
    """
    digest, standing = chunk.summary.digest, turn.standing.holds_on(turn.case.case_id, chunk.summary.system)
    if chunk.action in KEEPING:
        return chunk
    for ended in sorted(chunk.holds.keys() - {hold.hold_id for hold in standing}):
        turn.record(chunk_facts.HoldEnded(chunk=digest, hold=ended), turn.chunks.get(digest, chunk))
    whole = tuple(range(chunk.summary.size))
    plain = [hold.hold_id for hold in standing if hold.scope.known_at_once and hold.hold_id not in chunk.holds]
    if plain:
        fact = chunk_facts.HoldsFound(chunk=digest, covered=tuple((each, whole) for each in plain))
        turn.record(fact, turn.chunks.get(digest, chunk))
    looked_at = chunk.looked_at if chunk.looked_after == turn.case.index_changes else 0
    unknown = [hold for hold in standing if not hold.scope.known_at_once and hold.number > looked_at]
    if unknown and not chunk.asking and not turn.case.cancelling:
        ask_about_holds(turn, turn.chunks.get(digest, chunk), unknown)
    return turn.chunks.get(digest, chunk)


def ask_about_holds(turn: Turn, chunk: ChunkState, holds: Sequence[Hold]) -> None:
    """Have a resolver look into holds, the earliest first; the others are asked about when it has answered.

    What it finds is worth something as long as the lineage of what it looked at does not change: whoever changes it
    tells the case (`index_changed`), and the holds are held against the chunk anew.
    """
    first = tuple(sorted(holds, key=lambda hold: hold.number)[:HOLDS_PER_TASK])
    asked, asked_at = tuple(hold.hold_id for hold in first), chunk.asked_at or turn.now
    fact = chunk_facts.HoldsAsked(
        chunk=chunk.summary.digest,
        holds=asked,
        number=first[-1].number,
        next_at=turn.now + LOOK_ONCE_MORE,
        after=turn.case.index_changes,
        asked_at=asked_at,
    )
    turn.record(fact, chunk)
    due = turn.case.due_of(chunk.summary.provision)
    patience = min(asked_at + INDEX_AT_MOST, max(due, asked_at + LOOK_ONCE_MORE))
    turn.to_look_into.setdefault((asked, turn.now >= patience), []).append(chunk.summary.digest)


def ask_again(turn: Turn, chunk: ChunkState) -> None:
    """Put a question about holds once more: nobody answered, or the indexers were behind."""
    ask_about_holds(turn, chunk, [turn.standing.holds[each] for each in chunk.asked])


def ask_later(turn: Turn, chunk: ChunkState) -> None:
    """The indexers have not passed what lay before the holds: they are asked about again, soon and then ever later."""
    waited = turn.now - (chunk.asked_at or turn.now)
    fact = chunk_facts.HoldsAsked(
        chunk=chunk.summary.digest,
        holds=chunk.asked,
        number=chunk.asking,
        next_at=turn.now + min(max(waited, FIRST_WAIT), LONGEST_WAIT),
        after=turn.case.index_changes,
    )
    turn.record(fact, chunk)


def ask_about_replacement(turn: Turn, chunk: ChunkState, replacement: str) -> None:
    """Have a resolver look at the model that took the target's place; soon again, then ever later, at last daily.

    What it was made from may become clean, or it may be registered, or itself be made anew, after this.
    """
    looks = chunk.looks + 1 if chunk.replacement == replacement else 1
    wait = min(timedelta(seconds=2 ** min(looks - 1, 20)), A_DAY)
    fact = chunk_facts.ReplacementAsked(
        chunk=chunk.summary.digest, replacement=replacement, looks=looks, next_at=turn.now + wait
    )
    turn.record(fact, chunk)
    fixed_at = turn.case.numbered(chunk.generation).fixed_at or turn.case.opened_at
    turn.emit(LookIntoReplacement(chunk.summary.digest, replacement, looks, millis(fixed_at)))
