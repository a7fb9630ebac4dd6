"""From a fixed plan to commands: stages one after the other, and repetitions."""

from __future__ import annotations

from datetime import datetime, timedelta

from expunge.domain.aggregates.case import closing, deferral, gate, holds, replacement
from expunge.domain.aggregates.case.approval import end_grace
from expunge.domain.aggregates.case.chunks import LETTERS, ChunkState, Phase, at_once
from expunge.domain.aggregates.case.effects import ContinueStage
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case, Generation
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.limits import COMMANDS_PER_MESSAGE
from expunge.domain.values import A_DAY
from expunge.domain.vocabulary import OVER, Claim, Status
from expunge.wire.cases.case import Continue


class StageStarted(CaseFact):
    """Commands of a stage begin to go out."""

    fact = "stage_started"
    generation: int
    stage: int
    ends_at: datetime

    def change(self, case: Case) -> Case:
        """It has its share of the time."""
        case = case.with_generation(self.generation, stage=self.stage, stage_ends_at=self.ends_at)
        return case.forward(Status.PURGING)


class StageEnded(CaseFact):
    """Everything in a stage is settled, or its share of the clock is over."""

    fact = "stage_ended"
    generation: int
    stage: int
    by_clock: bool

    def change(self, case: Case) -> Case:
        """The next may start."""
        return case.with_generation(self.generation, stage_ends_at=None)


class Purged(CaseFact):
    """Every stage of a generation has ended."""

    fact = "purged"
    generation: int

    def change(self, case: Case) -> Case:
        """Nothing of it is left to start."""
        return case.with_generation(self.generation, done=True, stage_ends_at=None).forward(Status.PURGING)


def advance(turn: Turn) -> None:
    """Start what can start and end what has ended, in every generation, then see whether the case can close."""
    if turn.case.dry_run or turn.case.cancelling or turn.case.status in OVER:
        return
    end_grace(turn)
    if turn.case.grace_until is not None:
        return
    for number in [each.number for each in turn.case.let_go if not each.done]:
        while _move(turn, number):
            pass
    closing.conclude(turn)


def _move(turn: Turn, number: int) -> bool:
    """Move a generation by one stage; False when it must wait or has ended."""
    generation = turn.case.numbered(number)
    stage = generation.stage
    if stage and generation.stage_ends_at is not None:
        if generation.sent.get(stage, 0) < generation.sizes.get(stage, 0):
            return False
        by_clock = generation.unsettled.get(stage, 0) > 0
        if by_clock and turn.now < generation.stage_ends_at:
            return False
        turn.record(StageEnded(generation=number, stage=stage, by_clock=by_clock))
    later = sorted(each for each, size in generation.sizes.items() if size and each > stage)
    if not later:
        turn.record(Purged(generation=number))
        return False
    ends_at = turn.now + _share(turn, generation, later)
    turn.record(StageStarted(generation=number, stage=later[0], ends_at=ends_at))
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
    page = chunks[: min(COMMANDS_PER_MESSAGE, at_once(chunk.summary.size for chunk in chunks))]
    for chunk in page:
        if wait := deferral.wait_of(turn, chunk):
            deferral.put_off(turn, chunk, wait)
        else:
            gate.pass_on(turn, chunk)
    if len(chunks) > len(page):
        turn.emit(ContinueStage(number, stage))


def go_on(turn: Turn, message: Continue) -> None:
    """Send the next commands of a stage."""
    if turn.case.numbered(message.generation).stage == message.stage:
        _send(turn, message.generation, message.stage)


def repeat(turn: Turn, digest: str) -> None:
    """The timer of a chunk: nobody answered, something failed, or a deferral has ended."""
    chunk = turn.chunk(digest)
    if chunk is None or chunk.next_at is None or turn.now < chunk.next_at:
        return
    if chunk.phase is Phase.PUT_OFF:
        gate.look_again(turn, chunk)
    elif chunk.asked:  # no answer for a while: the question is put once more
        holds.ask_again(turn, chunk)
    elif chunk.replacement and chunk.open:
        replacement.ask(turn, chunk, chunk.replacement)
    else:
        gate.look_again(turn, chunk)
        after = turn.chunks.get(digest, chunk)
        if after.phase is Phase.SENT and after.attempt == chunk.attempt and after.out and not after.asked:
            _command_again(turn, after)


def _command_again(turn: Turn, chunk: ChunkState) -> None:
    system = turn.system(chunk)
    failing = not chunk.pooled or LETTERS[Claim.FAILED] in chunk.answers  # to wait for others is no failure
    if chunk.open and failing and chunk.counted(chunk.attempt) > system.retries and not chunk.exhausted:
        chunk = turn.change(gate.Exhausted(chunk=chunk.summary.digest))
    patient = chunk.exhausted or not chunk.open
    gate.send(turn, chunk, max(A_DAY, system.timeout) if patient else None)
