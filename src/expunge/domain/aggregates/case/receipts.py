"""Receipts: matched to their commands, read into answers (`reading`), and what follows from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from expunge.domain.aggregates.case import late, replacement, resolution, watermark
from expunge.domain.aggregates.case.chunks import (
    CLEAN,
    ENDING_LETTERS,
    GONE,
    HELD_LETTER,
    UNCHECKED,
    ChunkState,
    Note,
    Phase,
)
from expunge.domain.aggregates.case.effects import NoteAnswers, WriteClaims
from expunge.domain.aggregates.case.fact import OPEN_ONE, PUT_OFF_LETTERS, ChunkFact, reread
from expunge.domain.aggregates.case.gate import Exhausted
from expunge.domain.aggregates.case.reading import KnownWords, Standard, next_answers
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.planning.chunks import Chunk
from expunge.domain.values import A_DAY, Hex
from expunge.domain.vocabulary import Grade
from expunge.wire.cases.case import Receipted
from expunge.wire.tasks import Found

ASK_AGAIN = timedelta(days=30)
"""When a deferral without a date is asked about again."""


class Accepted(ChunkFact):
    """A system took a command and says by when it will answer (still E0)."""

    fact = "accepted"
    attempt: int
    sequence: int
    next_at: datetime
    joint: str = ""
    """Of a command for several cases: its id."""
    begun: bool = False
    """Of such a command: it has left."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What is made under a joint command was made by this one."""
        after: dict[str, Any] = {"receipt": (self.attempt, self.sequence), "next_at": self.next_at, "begun": self.begun}
        if self.joint and self.joint not in chunk.named:
            after["named"] = chunk.naming(self.joint, ())
        return after


class Answered(ChunkFact):
    """A system answered. Obligations are named by chunk and ordinal: a letter each in `answers`."""

    fact = "answered"
    attempt: int
    sequence: int
    grade: Literal[Grade.E1, Grade.E2] = Grade.E1
    receipt: Hex
    answers: str
    notes: tuple[Note, ...]
    next_at: datetime | None
    received: str = ""
    """Which part of the case in `plans` is the receipt as it came; empty where `plans` has its claims by themselves."""
    received_ms: int = 0
    """When the receipt was appended (milliseconds since 1970): what is stated later has come back. 0.1 did not say."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """A replacement that is being looked at is another's, unless a hold kept it from that."""
        return {
            "receipt": max(chunk.receipt, (self.attempt, self.sequence)),
            "receipt_content": self.receipt,
            "answers": self.answers,
            "notes": self.notes,
            "next_at": self.next_at,
            "replacement": chunk.replacement if HELD_LETTER in self.answers else "",
        }


class Withdrawn(ChunkFact):
    """The system will not carry out a withdrawn command any more; what it had done by then it has said."""

    fact = "withdrawn"
    attempt: int
    sequence: int

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What the system had put off, it has put off no longer: nobody will do it before it is told again."""
        kept = reread(chunk, PUT_OFF_LETTERS, HELD_LETTER, chunk.held)
        others = set(range(chunk.summary.size)) - chunk.held
        after = reread(chunk.model_copy(update=kept), ENDING_LETTERS, OPEN_ONE, others)
        after |= {"phase": Phase.BARRED, "next_at": None, "recalled_for": (), "recalls": 0}
        return after | {"receipt": max(chunk.receipt, (self.attempt, self.sequence))}


def take_receipt(turn: Turn, message: Receipted) -> None:
    """A receipt, matched to its command; one that fits no command is set aside."""
    chunk = turn.chunk_of(message.command_id)
    if chunk is None or chunk.summary.system != message.system or message.attempt > chunk.attempt:
        turn.emit(SetAside(message.place, message.content, "receipt_without_command"))
        return
    watermark.wait_for(turn, message.watermark)
    _take_discoveries(turn, chunk, message)
    if message.status == "accepted":
        _accept(turn, chunk, message)
        return
    _answer(turn, chunk, message)
    digest = chunk.summary.digest
    late.plan_produced(turn, digest, whole=message.status == "withdrawn")
    if message.status == "withdrawn":
        _withdraw(turn, turn.chunks.get(digest, chunk), message)
    after = turn.chunks.get(digest, chunk)
    stopped = turn.case.cancelling or after.out or after.phase is Phase.WAITING
    held = after.live and not turn.case.cancelling and turn.standing.holds_on(turn.case.case_id, message.system)
    if held or (not stopped and (turn.case.granted or after.live)):
        turn.look_at(digest)


def _withdraw(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    """A system says that it will not carry out a withdrawn command; what was free meanwhile is commanded anew."""
    if chunk.command_id == message.command_id and chunk.phase is Phase.RECALLED:
        turn.record(Withdrawn(chunk=chunk.summary.digest, attempt=message.attempt, sequence=message.sequence))


def _take_discoveries(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    """What the system found besides, in what it was told to purge, if this is not a repetition."""
    every = (message.all,) if message.all else ()
    outcomes = [(each.asset, each.outcome) for each in message.answers] + [("", each) for each in every]
    if not any(outcome.discovered for _, outcome in outcomes) or message.content == chunk.receipt_content:
        return
    told = {*turn.body(chunk).assets, ""}
    found = {
        each.asset: Found(asset=each.asset, kind=each.kind, parent=asset)
        for asset, outcome in outcomes
        if asset in told
        for each in outcome.discovered
    }
    resolution.walk_discovered(turn, message.system, [found[asset] for asset in sorted(found)], message.content)


def _spoken(turn: Turn) -> KnownWords:
    """The reasons and days that the case's systems have given so far."""
    lines = [line for line, _ in turn.case.counts]
    return KnownWords(frozenset(line.reason for line in lines), frozenset(line.until for line in lines))


def _accept(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    if (message.attempt, message.sequence) <= chunk.receipt or not chunk.open or chunk.phase is not Phase.SENT:
        return
    if chunk.replacement:  # it has answered; what is waited for is not its system's to promise
        return
    least = A_DAY if chunk.exhausted else None
    next_at = turn.system(chunk).awaited(message.expected_by, turn.case.due_at, turn.now, least)
    fact = Accepted(
        chunk=chunk.summary.digest,
        attempt=message.attempt,
        sequence=message.sequence,
        next_at=next_at,
        joint=message.joint,
        begun=message.begun,
    )
    turn.record(fact)


def _answer(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    body = turn.body(chunk)
    answers, notes = next_answers(chunk, body, message, _standard(turn, chunk, message.grade), _spoken(turn))
    place = (message.attempt, message.sequence)
    kept = "" if chunk.pooled else message.received  # what is said to several cases is kept with the model
    nothing_new = place <= chunk.receipt or message.status == "withdrawn"
    if (answers, notes) == (chunk.answers, chunk.notes) and nothing_new:
        return
    after = chunk.model_copy(update={"answers": answers, "notes": notes})
    fact = Answered(
        chunk=chunk.summary.digest,
        attempt=message.attempt,
        sequence=message.sequence,
        grade=message.grade,
        receipt=message.content,
        answers=answers,
        notes=notes,
        next_at=_next(turn, after, message.attempt),
        received=kept,
        received_ms=message.appended_ms,
    )
    answered = turn.change(fact)
    if not kept:
        turn.emit(WriteClaims(chunk.summary.digest, turn.case.sequence))
    said = list(zip(body.assets, chunk.answers, answers, strict=True))
    clean = tuple(asset for asset, _, letter in said if letter in CLEAN)
    gone = tuple(asset for asset, before, letter in said if letter in GONE and letter != before and not body.holding)
    if clean or gone:
        turn.emit(NoteAnswers(chunk.summary.digest, clean, gone, message.appended_ms))
    tried_enough = answered.counted(message.attempt) > turn.system(chunk).retries
    model = message.replacement_of(body.assets[0])
    if model and any(note.reason == UNCHECKED for note in answered.notes):
        replacement.ask(turn, answered, model)
        late.plan_produced(turn, chunk.summary.digest, but=model)
    elif answered.open and tried_enough and not answered.exhausted and answered.phase is Phase.SENT:
        turn.record(Exhausted(chunk=chunk.summary.digest))


def purged_by(chunk: ChunkState, body: Chunk, message: Receipted | None = None) -> list[str]:
    """Which targets are gone as their chunk stands; of a receipt: of those that it speaks of."""
    gone = [asset for asset, letter in zip(body.assets, chunk.answers, strict=True) if letter in GONE]
    if body.holding or message is None or message.all is not None:
        return [] if body.holding else gone
    told = {each.asset for each in message.answers}
    return [asset for asset in gone if asset in told]


def _standard(turn: Turn, chunk: ChunkState, has: Grade) -> Standard:
    """What policy lets count of a receipt that has a grade."""
    least, rule = turn.policy.minimum_grade(chunk.summary.kind, turn.case.regime)
    return Standard(turn.policy.refusals, turn.case.regime, rule if least > has else "")


def _next(turn: Turn, chunk: ChunkState, attempt: int) -> datetime | None:
    """When to command again: soon and then ever later while something is open, at its end for a deferral."""
    system = turn.system(chunk)
    if chunk.phase is not Phase.SENT:
        return chunk.next_at
    attempt = max(1, chunk.counted(attempt))
    if chunk.open:
        return turn.now + system.after_failure(attempt)
    if chunk.deferred:
        until = _end_of_deferral(chunk.notes) or turn.now + ASK_AGAIN
        return until if until > turn.now else turn.now + A_DAY
    return None


def _end_of_deferral(notes: tuple[Note, ...]) -> datetime | None:
    return min((datetime.fromisoformat(note.until).replace(tzinfo=UTC) for note in notes if note.until), default=None)
