"""The one way out: whatever a system is told to do leaves here, after what operators have said was held against it."""

from __future__ import annotations

from datetime import timedelta

from expunge.domain.case import chunk_facts, restrictions
from expunge.domain.case.chunks import ChunkState, Phase
from expunge.domain.case.turn import SendCommand, Turn, WithdrawCommand
from expunge.domain.plan import command_id
from expunge.domain.standing import hold_word
from expunge.domain.vocabulary import Action

CANCEL = "cancel"
DAY = timedelta(days=1)
KEEPING = frozenset({Action.RESTRICT, Action.LIFT, Action.DISABLE})
"""Actions after which everything is still there."""


def send(turn: Turn, chunk: ChunkState, wait: timedelta | None = None) -> None:
    """Send a chunk's command, or note that it may not leave.

    Args:
        turn: the decision in progress.
        chunk: a chunk whose stage has come.
        wait: until it is sent again without an answer; the system's time-out, where none is given.
    """
    chunk = restrictions.ended(turn, meet_holds(turn, chunk))
    if words(turn, chunk) or chunk.asked or not chunk.left:
        if chunk.phase is not Phase.BARRED and not chunk.out:
            turn.record(chunk_facts.Barred(chunk=chunk.summary.digest), chunk)
        return
    command(turn, chunk, wait)


def command(turn: Turn, chunk: ChunkState, wait: timedelta | None = None) -> None:
    """Send a command for the first time, again, or anew under another id in the place of one that was withdrawn."""
    anew = chunk.attempt > 0 and (chunk.phase is not Phase.SENT or chunk.unnamed)
    identity = chunk.command_id
    if anew:
        identity = command_id(turn.case.case_id, chunk.generation, chunk.summary, chunk.round + 1)
    wait = wait or timedelta(seconds=turn.system(chunk).timeout_seconds)
    fact = chunk_facts.Commanded(
        chunk=chunk.summary.digest, command_id=identity, attempt=chunk.attempt + 1, next_at=turn.now + wait
    )
    turn.record(fact, chunk)
    turn.emit(SendCommand(turn.chunks[chunk.summary.digest], chunk.attempt + 1))


def words(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """What operators have said that keeps the whole chunk back."""
    case = turn.case
    cancel = (CANCEL,) if case.cancelling else ()
    return (*cancel, *turn.standing.pauses_of(case.publisher, chunk.summary.system, case.case_id))


def look_again(turn: Turn, chunk: ChunkState) -> None:
    """Hold what stands now against a live chunk: withdraw its command, or let it go."""
    chunk = restrictions.ended(turn, meet_holds(turn, chunk))
    against = (*words(turn, chunk), *_held_in_command(chunk), *restrictions.must_stop(turn, chunk))
    if chunk.phase in {Phase.SENT, Phase.RECALLED}:
        if against and chunk.out:
            recall(turn, chunk, against)
        elif not against and chunk.left and (chunk.phase is Phase.RECALLED or chunk.unnamed):
            send(turn, chunk)
    elif chunk.phase is Phase.PUT_OFF:
        _put_off(turn, chunk)
    elif chunk.phase is Phase.BARRED:
        send(turn, chunk)


def _put_off(turn: Turn, chunk: ChunkState) -> None:
    """What policy has put off stays so, unless the request was cancelled; a hold that ended leaves it as it was."""
    if turn.case.cancelling:
        turn.record(chunk_facts.Barred(chunk=chunk.summary.digest), chunk)
    elif chunk.left and chunk.next_at is not None:
        turn.record(chunk_facts.Deferred(chunk=chunk.summary.digest, until=chunk.next_at), chunk)


def _held_in_command(chunk: ChunkState) -> tuple[str, ...]:
    """The holds that cover something which its system may still do by its last command."""
    named = set(chunk.ordinals)
    return tuple(
        hold_word(hold)
        for hold, covered in sorted(chunk.holds.items())
        if any(chunk.is_held(each) for each in named.intersection(covered))
    )


def recall(turn: Turn, chunk: ChunkState, against: tuple[str, ...]) -> None:
    """Withdraw a command; said again until the system answers."""
    told = tuple(sorted({*against, *chunk.recalled_for}))
    if chunk.phase is Phase.RECALLED and chunk.recalled_for == told and chunk.next_at and turn.now < chunk.next_at:
        return
    system = turn.system(chunk)
    wait = timedelta(seconds=max(system.timeout_seconds, system.retry_seconds))
    fact = chunk_facts.Recalled(
        chunk=chunk.summary.digest, command_id=chunk.command_id, words=told, next_at=turn.now + wait
    )
    turn.record(fact, chunk)
    turn.emit(WithdrawCommand(turn.chunks[chunk.summary.digest], told[0].partition(":")[0]))


def meet_holds(turn: Turn, chunk: ChunkState) -> ChunkState:
    """The chunk after the holds of its partition were held against it; those that need a look are asked about.

    What loses nothing (a restriction, its end, a model that is not served) no hold keeps back.
    """
    digest, standing = chunk.summary.digest, turn.standing.holds_on(turn.case.case_id, chunk.summary.system)
    if chunk.action in KEEPING:
        return chunk
    for ended in sorted(chunk.holds.keys() - {hold.hold_id for hold in standing}):
        turn.record(chunk_facts.HoldEnded(chunk=digest, hold=ended), turn.chunks.get(digest, chunk))
    unknown = []
    for hold in standing:
        if hold.hold_id in chunk.holds or hold.hold_id in chunk.asked:
            continue
        if hold.scope.known_at_once:
            whole = tuple(range(chunk.summary.size))
            fact = chunk_facts.HoldsFound(chunk=digest, hold=hold.hold_id, ordinals=whole)
            turn.record(fact, turn.chunks.get(digest, chunk))
        else:
            unknown.append(hold)
    if unknown and not turn.case.cancelling:
        asked = tuple(hold.hold_id for hold in unknown)
        turn.record(chunk_facts.HoldsAsked(chunk=digest, holds=asked), turn.chunks.get(digest, chunk))
        turn.to_look_into.setdefault(tuple(unknown), []).append(digest)
    return turn.chunks.get(digest, chunk)
