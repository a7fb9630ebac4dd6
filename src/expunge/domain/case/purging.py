"""From a fixed plan to commands: stages one after the other, and repetitions."""

from __future__ import annotations

from datetime import timedelta

from expunge.domain.case import chunk_facts, closing, commanding, deferring, facts
from expunge.domain.case.chunks import LETTERS, ChunkState, Phase
from expunge.domain.case.messages import Continue
from expunge.domain.case.state import Generation
from expunge.domain.case.turn import ContinueStage, Turn
from expunge.domain.registry import A_DAY
from expunge.domain.vocabulary import Claim

COMMANDS_PER_MESSAGE = 200
"""Commands that one decision sends; longer work goes on in a message to oneself (rule "frontiers")."""


def advance(turn: Turn) -> None:
    """Start what can start and end what has ended, in every generation, then see whether the case can close."""
    if turn.case.dry_run or turn.case.cancelling or _in_grace(turn):
        return
    for number in [g.number for g in turn.case.let_go if not g.done]:
        while _step(turn, number):
            pass
    closing.conclude(turn)


def _in_grace(turn: Turn) -> bool:
    """Whether the request can still be taken back before anything is done for it."""
    until = turn.case.grace_until
    if until is None or turn.now < until:
        return until is not None
    turn.record(facts.GraceEnded())
    return False


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
    return max(due - turn.now, A_DAY) * shares[0] / sum(shares)


def _send(turn: Turn, number: int, stage: int) -> None:
    chunks = turn.waiting(number, stage, COMMANDS_PER_MESSAGE + 1)
    for chunk in chunks[:COMMANDS_PER_MESSAGE]:
        if not deferring.put_off(turn, chunk):
            commanding.send(turn, chunk)
    if len(chunks) > COMMANDS_PER_MESSAGE:
        turn.emit(ContinueStage(number, stage))


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
    if chunk.phase is Phase.PUT_OFF:
        commanding.look_again(turn, chunk)
    elif chunk.asked:  # no answer for a while: the question is put once more
        commanding.ask_again(turn, chunk)
    elif chunk.replacement and chunk.open:
        commanding.ask_about_replacement(turn, chunk, chunk.replacement)
    else:
        commanding.look_again(turn, chunk)
        after = turn.chunks.get(digest, chunk)
        if after.phase is Phase.SENT and after.attempt == chunk.attempt and after.out and not after.asked:
            _again(turn, after)
    advance(turn)


def _again(turn: Turn, chunk: ChunkState) -> None:
    digest, system = chunk.summary.digest, turn.system(chunk)
    failing = not chunk.pooled or LETTERS[Claim.FAILED] in chunk.answers  # to wait for others is no failure
    if chunk.open and failing and chunk.tries > system.retries and not chunk.exhausted:
        turn.record(chunk_facts.Exhausted(chunk=digest), chunk)
        chunk = turn.chunks[digest]
    patient = chunk.exhausted or not chunk.open
    wait = max(A_DAY, system.timeout) if patient else None
    commanding.command(turn, chunk, wait)
