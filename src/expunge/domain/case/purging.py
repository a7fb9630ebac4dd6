"""From a fixed plan to answers: stages, commands, receipts, repetitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from expunge.domain.case import chunk_facts, closing, facts
from expunge.domain.case.chunks import LETTERS, ChunkState, Note
from expunge.domain.case.messages import Continue, Receipted
from expunge.domain.case.receipts import Standard, next_answers
from expunge.domain.case.state import Generation
from expunge.domain.case.turn import ContinueStage, NoteAnswers, SendCommand, SetAside, Turn, WriteClaims
from expunge.domain.registry import System
from expunge.domain.vocabulary import Claim

COMMANDS_PER_MESSAGE = 200
"""Commands that one decision sends; longer work goes on in a message to oneself (PROTOCOLS 20)."""
GONE = frozenset(LETTERS[claim] for claim in (Claim.DELETED, Claim.KEY_DESTROYED, Claim.NOT_FOUND))
"""Answers after which an asset that is stated again has come back."""
CLEAN = frozenset(LETTERS[claim] for claim in (Claim.REDACTED, Claim.REBUILT_WITHOUT, Claim.RETRAINED_WITHOUT))
"""Answers after which an asset goes on without the case's data."""
DAY = timedelta(days=1)
ASK_AGAIN = timedelta(days=30)
"""When a deferral without a date is asked about again."""


def advance(turn: Turn) -> None:
    """Start what can start and end what has ended, in every generation, then see whether the case can close."""
    if turn.case.dry_run:
        return
    for number in [g.number for g in turn.case.let_go if not g.done]:
        while _step(turn, number):
            pass
    closing.conclude(turn)


def _step(turn: Turn, number: int) -> bool:
    """Move a generation by one stage; False when it must wait or has ended."""
    generation = turn.case.numbered(number)
    stage = generation.stage
    if stage and generation.stage_ends_at is not None:
        if generation.sent.get(stage, 0) < generation.sizes.get(stage, 0):
            return False
        by_clock = generation.unsettled.get(stage, 0) > 0
        if by_clock and turn.now < generation.stage_ends_at:
            return False
        turn.record(facts.StageEnded(generation=number, stage=stage, by_clock=by_clock))
    later = sorted(each for each, size in generation.sizes.items() if size and each > stage)
    if not later:
        turn.record(facts.Purged(generation=number))
        return False
    turn.record(
        facts.StageStarted(generation=number, stage=later[0], ends_at=turn.now + _share(turn, generation, later))
    )
    _send(turn, number, later[0])
    return True


def _share(turn: Turn, generation: Generation, stages: list[int]) -> timedelta:
    """The first stage's part of the time that is left, beside those that come after it."""
    rules = turn.policy.stages
    shares = [rules[stage - 1].share for stage in stages]
    due = min((generation.dues[stage] for stage in stages if stage in generation.dues), default=turn.case.due_at)
    return max(due - turn.now, DAY) * shares[0] / sum(shares)


def _send(turn: Turn, number: int, stage: int) -> None:
    chunks = turn.waiting(number, stage, COMMANDS_PER_MESSAGE + 1)
    for chunk in chunks[:COMMANDS_PER_MESSAGE]:
        until = (turn.case.numbered(number).fixed_at or turn.now) + timedelta(days=chunk.summary.defer_days)
        if until > turn.now:
            turn.record(chunk_facts.Deferred(chunk=chunk.summary.digest, until=until), chunk)
        else:
            _command(turn, chunk)
    if len(chunks) > COMMANDS_PER_MESSAGE:
        turn.emit(ContinueStage(number, stage))


def _command(turn: Turn, chunk: ChunkState, wait: timedelta | None = None) -> None:
    attempt = chunk.attempt + 1
    wait = wait or timedelta(seconds=_system(turn, chunk).timeout_seconds)
    fact = chunk_facts.Commanded(
        chunk=chunk.summary.digest, command_id=chunk.command_id, attempt=attempt, next_at=turn.now + wait
    )
    turn.record(fact, chunk)
    turn.emit(SendCommand(chunk, attempt))


def _system(turn: Turn, chunk: ChunkState) -> System:
    """The system as configured; one that was removed since keeps the defaults until its command is answered."""
    return turn.registry.system(chunk.summary.system) or System(name=chunk.summary.system)


def go_on(turn: Turn, message: Continue) -> None:
    """Send the next commands of a stage."""
    if turn.case.numbered(message.generation).stage == message.stage:
        _send(turn, message.generation, message.stage)
        advance(turn)


def repeat(turn: Turn, digest: str) -> None:
    """The timer of a chunk: nobody answered, something failed, or a deferral has ended."""
    chunk = turn.chunk(digest)
    if chunk is None or chunk.next_at is None or turn.now < chunk.next_at:
        return
    if not chunk.attempt:  # policy had put it off
        turn.record(chunk_facts.DeferralEnded(chunk=digest), chunk)
        chunk = turn.chunks[digest]
    tried_enough = chunk.attempt > _system(turn, chunk).retries
    if chunk.open and tried_enough and not chunk.exhausted:
        turn.record(chunk_facts.Exhausted(chunk=digest), chunk)
        chunk = turn.chunks[digest]
    patient = chunk.exhausted or not chunk.open
    wait = max(DAY, timedelta(seconds=_system(turn, chunk).timeout_seconds)) if patient else None
    _command(turn, chunk, wait)
    advance(turn)


def receipted(turn: Turn, message: Receipted) -> None:
    """A receipt, matched to its command; one that fits no command is set aside."""
    chunk = turn.chunk_of(message.command_id)
    if chunk is None or chunk.summary.system != message.system or message.attempt > chunk.attempt:
        turn.emit(SetAside(message.place, message.content, "receipt_without_command"))
        return
    if message.watermark:
        turn.record(facts.WatermarkRaised(watermark=_later(turn.case.watermark, message.watermark)))
    if message.status == "accepted":
        _accepted(turn, chunk, message)
        return
    _answered(turn, chunk, message)
    advance(turn)


def _later(left: dict[str, dict[str, int]], right: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {
        topic: {
            partition: max(left.get(topic, {}).get(partition, 0), right.get(topic, {}).get(partition, 0))
            for partition in sorted({*left.get(topic, {}), *right.get(topic, {})})
        }
        for topic in sorted({*left, *right})
    }


def _accepted(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    if (message.attempt, message.sequence) <= chunk.receipt or not chunk.open:
        return
    promised = message.expected_by or turn.now + timedelta(seconds=_system(turn, chunk).timeout_seconds)
    due = turn.case.due_at
    next_at = min(promised, due) if due > turn.now else promised
    soonest = turn.now + (DAY if chunk.exhausted else timedelta(seconds=_system(turn, chunk).retry_seconds))
    fact = chunk_facts.Accepted(
        chunk=chunk.summary.digest, attempt=message.attempt, sequence=message.sequence, next_at=max(next_at, soonest)
    )
    turn.record(fact, chunk)


def _answered(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    body = turn.reader.body(turn.case.case_id, chunk.summary.digest)
    answers, notes = next_answers(chunk, body, message, Standard(turn.policy.refusals, turn.case.regime))
    place = (message.attempt, message.sequence)
    if (answers, notes) == (chunk.answers, chunk.notes) and place <= chunk.receipt:
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
    if answered.open and message.attempt > _system(turn, chunk).retries and not answered.exhausted:
        turn.record(chunk_facts.Exhausted(chunk=chunk.summary.digest), answered)


def _next(turn: Turn, chunk: ChunkState, attempt: int) -> datetime | None:
    """When to command again: soon and then ever later while something is open, at its end for a deferral."""
    system = _system(turn, chunk)
    if chunk.open:
        wait = timedelta(seconds=min(system.retry_seconds * 2 ** min(attempt - 1, 20), DAY.total_seconds()))
        return turn.now + (DAY if attempt > system.retries else wait)
    if chunk.deferred:
        until = _end_of_deferral(chunk.notes) or turn.now + ASK_AGAIN
        return until if until > turn.now else turn.now + DAY
    return None


def _end_of_deferral(notes: tuple[Note, ...]) -> datetime | None:
    return min((datetime.fromisoformat(note.until).replace(tzinfo=UTC) for note in notes if note.until), default=None)
