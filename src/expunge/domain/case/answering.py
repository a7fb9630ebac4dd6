"""Receipts: matched to their commands, read into answers, and what follows from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from expunge.domain.case import chunk_facts, commanding, facts, purging, reconsidering, walking
from expunge.domain.case.chunks import UNCHECKED, ChunkState, Note, Phase
from expunge.domain.case.messages import EmissionRefused, Receipted
from expunge.domain.case.receipts import Spoken, Standard, next_answers
from expunge.domain.case.turn import NoteAnswers, SetAside, Turn, WriteClaims
from expunge.domain.policy.rules import Grade
from expunge.domain.registry import A_DAY
from expunge.domain.task import Found
from expunge.domain.vocabulary import MEANINGS, After

GONE = frozenset(each.letter for each in MEANINGS.values() if each.after is After.GONE)
"""Answers after which an asset that is stated again has come back."""
CLEAN = frozenset(each.letter for each in MEANINGS.values() if each.after is After.CLEAN)
"""Answers after which an asset goes on without the case's data."""
ASK_AGAIN = timedelta(days=30)
"""When a deferral without a date is asked about again."""


def receipted(turn: Turn, message: Receipted) -> None:
    """A receipt, matched to its command; one that fits no command is set aside."""
    chunk = turn.chunk_of(message.command_id)
    if chunk is None or chunk.summary.system != message.system or message.attempt > chunk.attempt:
        turn.emit(SetAside(message.place, message.content, "receipt_without_command"))
        return
    if message.watermark:
        turn.record(facts.WatermarkRaised(watermark=walking.later_marks(turn.case.watermark, message.watermark)))
    _discovered(turn, chunk, message)
    if message.status == "accepted":
        _accepted(turn, chunk, message)
        return
    _answered(turn, chunk, message)
    chunk = turn.chunks.get(chunk.summary.digest, chunk)
    stopped = turn.case.cancelling or chunk.out or chunk.phase is Phase.WAITING
    if not stopped and (turn.case.granted or chunk.left):
        commanding.look_again(turn, chunk)
        chunk = turn.chunks.get(chunk.summary.digest, chunk)
    walking.plan_produced(turn, chunk.summary.digest, whole=message.status == "withdrawn")
    if message.status == "withdrawn":
        reconsidering.withdrawn(turn, turn.chunks.get(chunk.summary.digest, chunk), message)
    reconsidering.end_if_cancelled(turn)
    purging.advance(turn)


def _discovered(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    """What the system found besides, in what it was told to purge, if this is not a repetition."""
    every = (message.all,) if message.all else ()
    outcomes = [(each.asset, each.outcome) for each in message.answers] + [("", each) for each in every]
    if not any(outcome.discovered for _, outcome in outcomes) or message.content == chunk.receipt_content:
        return
    told = {*turn.reader.body(turn.case.case_id, chunk.summary.digest).assets, ""}
    found = {
        each.asset: Found(asset=each.asset, kind=each.kind, parent=asset)
        for asset, outcome in outcomes
        if asset in told
        for each in outcome.discovered
    }
    walking.discovered(turn, message.system, [found[asset] for asset in sorted(found)], message.content)


def refused(turn: Turn, message: EmissionRefused) -> None:
    """The broker did not take a command: its obligations are open for that reason, and it is tried again later."""
    chunk = turn.chunk_of(message.command_id)
    sent = chunk is not None and (chunk.command_id, chunk.attempt) == (message.command_id, message.attempt)
    if chunk is None or not sent or chunk.phase is not Phase.SENT or chunk.refused:
        return
    turn.record(
        chunk_facts.CommandRefused(
            chunk=chunk.summary.digest,
            command_id=message.command_id,
            attempt=message.attempt,
            reason=message.reason,
            next_at=turn.now + turn.system(chunk).after_failure(chunk.attempt),
        ),
        chunk,
    )
    reconsidering.end_if_cancelled(turn)
    purging.advance(turn)


def _spoken(turn: Turn) -> Spoken:
    """The reasons and days that the case's systems have given so far."""
    lines = [line for line, _ in turn.case.counts]
    return Spoken(frozenset(line.reason for line in lines), frozenset(line.until for line in lines))


def _accepted(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    if (message.attempt, message.sequence) <= chunk.receipt or not chunk.open or chunk.phase is not Phase.SENT:
        return
    if chunk.replacement:  # it has answered; what is waited for is not its system's to promise
        return
    least = A_DAY if chunk.exhausted else None
    next_at = turn.system(chunk).awaited(message.expected_by, turn.case.due_at, turn.now, least)
    fact = chunk_facts.Accepted(
        chunk=chunk.summary.digest,
        attempt=message.attempt,
        sequence=message.sequence,
        next_at=next_at,
        joint=message.joint,
        begun=message.begun,
    )
    turn.record(fact, chunk)


def _answered(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    body = turn.reader.body(turn.case.case_id, chunk.summary.digest)
    answers, notes = next_answers(chunk, body, message, _standard(turn, chunk), _spoken(turn))
    place = (message.attempt, message.sequence)
    nothing_new = place <= chunk.receipt or message.status == "withdrawn"
    if (answers, notes) == (chunk.answers, chunk.notes) and nothing_new:
        return
    after = chunk.model_copy(update={"answers": answers, "notes": notes})
    fact = chunk_facts.Answered(
        chunk=chunk.summary.digest,
        attempt=message.attempt,
        sequence=message.sequence,
        receipt=message.content,
        answers=answers,
        notes=notes,
        next_at=_next(turn, after, message.attempt),
    )
    turn.record(fact, chunk)
    turn.emit(WriteClaims(chunk.summary.digest, turn.case.sequence))
    said = list(zip(body.assets, chunk.answers, answers, strict=True))
    clean = tuple(asset for asset, _, letter in said if letter in CLEAN)
    gone = tuple(asset for asset, before, letter in said if letter in GONE and letter != before and not body.holding)
    if clean or gone:
        turn.emit(NoteAnswers(chunk.summary.digest, clean, gone, message.appended_ms))
    answered = turn.chunks[chunk.summary.digest]
    tried_enough = message.attempt - answered.used > turn.system(chunk).retries
    replacement = message.replacement_of(body.assets[0])
    if replacement and any(note.reason == UNCHECKED for note in answered.notes):
        commanding.ask_about_replacement(turn, answered, replacement)
        walking.plan_produced(turn, chunk.summary.digest, but=replacement)
    elif answered.open and tried_enough and not answered.exhausted and answered.phase is Phase.SENT:
        turn.record(chunk_facts.Exhausted(chunk=chunk.summary.digest), answered)


def _standard(turn: Turn, chunk: ChunkState) -> Standard:
    """What policy lets count; receipts are of grade E1 as long as they cannot be signed."""
    least, rule = turn.policy.minimum_grade(chunk.summary.kind, turn.case.regime)
    return Standard(turn.policy.refusals, turn.case.regime, rule if least > Grade.E1 else "")


def _next(turn: Turn, chunk: ChunkState, attempt: int) -> datetime | None:
    """When to command again: soon and then ever later while something is open, at its end for a deferral."""
    system = turn.system(chunk)
    if chunk.phase is not Phase.SENT:
        return chunk.next_at
    attempt = max(1, attempt - chunk.used)
    if chunk.open:
        return turn.now + system.after_failure(attempt)
    if chunk.deferred:
        until = _end_of_deferral(chunk.notes) or turn.now + ASK_AGAIN
        return until if until > turn.now else turn.now + A_DAY
    return None


def _end_of_deferral(notes: tuple[Note, ...]) -> datetime | None:
    return min((datetime.fromisoformat(note.until).replace(tzinfo=UTC) for note in notes if note.until), default=None)
