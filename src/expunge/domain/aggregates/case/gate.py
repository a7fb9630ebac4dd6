"""The one way out: whatever a system is told to do leaves here, after what operators have said was held against it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from expunge.domain.aggregates.case import deferral, holds, replacement, restriction
from expunge.domain.aggregates.case.chunks import ChunkState, Note, Phase
from expunge.domain.aggregates.case.effects import SendCommand, WithdrawCommand
from expunge.domain.aggregates.case.fact import OPEN_ONE, PUT_OFF_LETTERS, ChunkFact, reread, without
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.planning.chunks import command_id
from expunge.domain.values import Hex
from expunge.wire.cases.case import EmissionRefused

CANCEL = "cancel"
REGROUP = "regroup"
"""A command is withdrawn so that another can name what it had to leave out."""


class Sent(ChunkFact):
    """A command goes to whoever carries it out."""

    command_id: Hex
    attempt: int
    next_at: datetime

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What the command names; what earlier ones named is kept, for their receipts may come yet."""
        after: dict[str, Any] = {"attempt": self.attempt, "next_at": self.next_at, "phase": Phase.SENT}
        another = self.command_id != chunk.command_id
        if another:
            after["named"] = chunk.naming(self.command_id, chunk.left)
            after |= {"round": chunk.round + 1, "used": chunk.attempt, "by_hand": 0, "exhausted": False}
            after |= {"replacement": "", "begun": False}
        elif chunk.phase is not Phase.SENT and len(chunk.left) < chunk.summary.size:
            after["named"] = {**chunk.named, self.command_id: chunk.left}
        after |= {"command_id": self.command_id, "recalled_for": (), "refused": ""}
        if chunk.refused:
            after["notes"] = tuple(note for note in chunk.notes if note.reason != chunk.refused)
        return after


class Commanded(Sent):
    """A command was sent (grade E0), for the first time or again."""

    fact = "commanded"


class Joined(Sent):
    """A command waits to be one with those of other cases: the model's owner has not been told yet."""

    fact = "joined"


class CommandRefused(ChunkFact):
    """The broker took a command for good reasons not: it never left, and its obligations are open for that reason."""

    fact = "command_refused"
    command_id: Hex
    attempt: int
    reason: str
    next_at: datetime

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """If it was the first of its command, nothing is with the system. The stage need not wait for it."""
        silent = tuple(at for at in chunk.left if chunk.answers[at] == OPEN_ONE)
        note = (Note(reason=self.reason, ordinals=silent),) if silent else ()
        return {
            "notes": (*without(chunk.notes, silent), *note),
            "phase": Phase.BARRED if chunk.tries == 1 else chunk.phase,
            "refused": self.reason,
            "exhausted": True,
            "next_at": self.next_at,
        }


class Barred(ChunkFact):
    """The stage of a chunk has come, and its command may not leave: paused, held, or still being looked into."""

    fact = "barred"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What policy had put off is open again."""
        letters = PUT_OFF_LETTERS if chunk.phase is Phase.PUT_OFF else ()
        return reread(chunk, letters, OPEN_ONE) | {"phase": Phase.BARRED, "next_at": None}


class Recalled(ChunkFact):
    """A command was withdrawn: its system is told not to carry it out, and is told again until it answers."""

    fact = "recalled"
    command_id: Hex
    words: tuple[str, ...]
    """What it was withdrawn for: `cancel`, `pause:...`, `hold:...`."""
    next_at: datetime

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """Told again it counts once more."""
        recalls = chunk.recalls + (self.next_at != chunk.next_at)
        told = {"recalled_for": self.words, "next_at": self.next_at, "recalls": recalls}
        return {"phase": Phase.RECALLED, **told}


class Exhausted(ChunkFact):
    """All repetitions of a command are used up; it goes on once a day."""

    fact = "exhausted"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """The stage waits for it no longer."""
        del chunk
        return {"exhausted": True}


def pass_on(turn: Turn, chunk: ChunkState) -> None:
    """Send the command of a chunk whose stage has come and of which nothing is with its system, or bar it."""
    chunk = restriction.end(turn, holds.meet(turn, chunk))
    if not (_words(turn, chunk) or chunk.asked or not chunk.left):
        send(turn, chunk)
    elif chunk.phase is not Phase.BARRED:
        turn.record(Barred(chunk=chunk.summary.digest))


def send(turn: Turn, chunk: ChunkState, wait: timedelta | None = None) -> None:
    """Send a command for the first time, or once more, or anew under another id where nothing is with the system.

    Args:
        turn: the decision in progress.
        chunk: the chunk.
        wait: until it is sent once more without an answer; the system's time-out, where none is given.
    """
    identity = chunk.command_id
    if chunk.attempt and not chunk.out:
        identity = command_id(turn.case.case_id, chunk.generation, chunk.summary, chunk.round + 1)
    next_at = turn.now + (wait or turn.system(chunk).timeout)
    fact = Joined if chunk.pooled else Commanded
    sent = fact(chunk=chunk.summary.digest, command_id=identity, attempt=chunk.attempt + 1, next_at=next_at)
    turn.emit(SendCommand(turn.change(sent), sent.attempt))


def look_again(turn: Turn, chunk: ChunkState) -> None:
    """Hold what stands now against a chunk whose stage has come: withdraw its command, or let the next one go.

    As long as its system may still carry a command out, there is no other: of two, the later might be done first.
    """
    chunk = restriction.end(turn, holds.meet(turn, chunk))
    if chunk.phase is Phase.PUT_OFF:
        _look_at_deferral(turn, chunk)
    elif chunk.out:
        regroup = (REGROUP,) if chunk.unnamed else ()
        against = (*_words(turn, chunk), *holds.against(chunk), *restriction.against(turn, chunk), *regroup)
        if against or chunk.phase is Phase.RECALLED:
            recall(turn, chunk, against)
    elif chunk.left and chunk.replacement:
        _look_at_replacement(turn, chunk)
    elif chunk.left:
        pass_on(turn, chunk)


def _words(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """What operators have said that keeps the whole chunk back."""
    case = turn.case
    cancel = (CANCEL,) if case.cancelling else ()
    return (*cancel, *turn.standing.pauses_of(case.publisher, chunk.summary.system, case.case_id))


def _look_at_replacement(turn: Turn, chunk: ChunkState) -> None:
    if turn.case.cancelling:  # nobody looks at it any more
        turn.record(Barred(chunk=chunk.summary.digest))
    elif chunk.next_at is None:  # a hold had kept it from being looked at
        replacement.ask(turn, chunk, chunk.replacement)


def _look_at_deferral(turn: Turn, chunk: ChunkState) -> None:
    """What policy has put off stays so, unless the request was cancelled or what it waited for has happened.

    It may wait for something else by now; and a hold that has ended leaves it as it was.
    """
    wait = deferral.wait_of(turn, chunk)
    if turn.case.cancelling:
        turn.record(Barred(chunk=chunk.summary.digest))
    elif wait is None:
        pass_on(turn, turn.change(deferral.DeferralEnded(chunk=chunk.summary.digest)))
    elif chunk.left or wait.until != chunk.next_at:
        deferral.put_off(turn, chunk, wait)


def recall(turn: Turn, chunk: ChunkState, against: tuple[str, ...]) -> None:
    """Withdraw a command; said again until the system answers, also when what stood against it has ended."""
    told = tuple(sorted(against))
    recalled, due = chunk.phase is Phase.RECALLED, chunk.next_at is None or turn.now >= chunk.next_at
    if recalled and chunk.recalled_for == told and not due:
        return
    again = not recalled or due
    next_at = chunk.next_at
    if again or next_at is None:
        next_at = turn.now + turn.system(chunk).after_withdrawal(chunk.recalls)
    fact = Recalled(chunk=chunk.summary.digest, command_id=chunk.command_id, words=told, next_at=next_at)
    after = turn.change(fact)
    if again:
        turn.emit(WithdrawCommand(after, _reason(told)))


def recall_again(turn: Turn, chunk: ChunkState) -> None:
    """Say a withdrawal once more, whose next time stays as it is."""
    if chunk.phase is Phase.RECALLED:
        turn.emit(WithdrawCommand(chunk, _reason(chunk.recalled_for)))


def _reason(words: tuple[str, ...]) -> str:
    """Why a system is told to let go, in one word."""
    return words[0].partition(":")[0] if words else REGROUP


def take_refusal(turn: Turn, message: EmissionRefused) -> None:
    """The broker did not take a command: its obligations are open for that reason, and it is tried again later."""
    chunk = turn.chunk_of(message.command_id)
    sent = chunk is not None and (chunk.command_id, chunk.attempt) == (message.command_id, message.attempt)
    if chunk is None or not sent or chunk.phase is not Phase.SENT or chunk.refused:
        return
    turn.record(
        CommandRefused(
            chunk=chunk.summary.digest,
            command_id=message.command_id,
            attempt=message.attempt,
            reason=message.reason,
            next_at=turn.now + turn.system(chunk).after_failure(max(1, chunk.attempt - chunk.by_hand)),
        )
    )
