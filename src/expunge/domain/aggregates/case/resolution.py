"""From roots to a fixed plan: tasks for the resolvers, chunks from them, one plan in each generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from expunge.domain.aggregates.case import approval, confirm, decisions, watermark
from expunge.domain.aggregates.case.chunks import LETTERS, ChunkState
from expunge.domain.aggregates.case.closing import DONE, Reopened
from expunge.domain.aggregates.case.effects import StartTask
from expunge.domain.aggregates.case.fact import CaseFact, Chunks, recounted
from expunge.domain.aggregates.case.state import Case, Generation, HeldBack
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.backoff import doubled
from expunge.domain.limits import CONTAINERS_PER_TASK, FOUND_PER_TASK
from expunge.domain.planning.chunks import ChunkSummary, command_id, plan_digest
from expunge.domain.scope import Arrival
from expunge.domain.values import Hex
from expunge.domain.vocabulary import OPEN, OVER, Action, Claim, Status
from expunge.wire.cases.case import Planned
from expunge.wire.tasks import Found, PlannedStatus, TaskKind, pack, task_id

PLAN_ANYWAY = timedelta(seconds=30)
"""After this the walk no longer waits for the indexers; closing still does (rule "not ready")."""
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=15)
SETTLES = timedelta(seconds=1)
"""How long the second generation collects what is late before its plan is fixed; each further one takes twice as long,
so that a stream of late assets does not become a stream of plans (rule "late assets")."""
SETTLES_AT_MOST = timedelta(hours=1)


class WalkAnnounced(CaseFact):
    """Tasks were given to the resolvers."""

    fact = "walk_announced"
    generation: int
    tasks: tuple[Hex, ...]
    sealed: tuple[Hex, ...] = ()
    """Containers that these tasks plan."""
    settles_at: datetime | None = None
    """Until when the generation that begins here collects what is late, before its plan is fixed."""
    found: tuple[Hex, ...] = ()
    """Of a task for what a system discovered: the keys of that. It is marked before anybody has registered it."""

    def change(self, case: Case) -> Case:
        """The first task of a generation begins it."""
        if all(each.number != self.generation for each in case.generations):
            begun = Generation(number=self.generation, settles_at=self.settles_at)
            case = case.model_copy(update={"generations": (*case.generations, begun)})
        generation = case.numbered(self.generation)
        return case.with_generation(
            self.generation,
            announced=generation.announced | set(self.tasks),
            pending={key: returned for key, returned in generation.pending.items() if key not in self.sealed},
        )


class WalkWaits(CaseFact):
    """The indexers were behind; the roots are asked again later."""

    fact = "walk_waits"
    retry_at: datetime

    def change(self, case: Case) -> Case:
        """It is asked ever later."""
        return case.model_copy(update={"walk_retry_at": self.retry_at, "walk_waits": case.walk_waits + 1})


class TaskAnswered(CaseFact):
    """A resolver answered a task with chunks, further tasks, and containers to be planned last."""

    fact = "task_answered"
    generation: int
    task: Hex
    spawned: tuple[Hex, ...] = ()
    chunks: tuple[ChunkSummary, ...] = ()
    containers: tuple[tuple[Hex, int], ...] = ()
    """With when they came back after they had been purged (milliseconds since 1970), or 0."""
    population: dict[str, int] = Field(default_factory=dict)
    """System -> how many assets it has registered, about."""
    last: bool = True
    """Whether the answer ends the task; a long one comes in parts."""

    def apply(self, case: Case, chunks: Chunks) -> tuple[Case, Chunks]:
        """Its chunks are new, and counted in the generation and in the case."""
        del chunks
        generation = case.numbered(self.generation)
        new = {each.digest: _new_chunk(case.case_id, self.generation, each) for each in self.chunks}
        commandable = Counter(chunk.summary.stage for chunk in new.values() if chunk.commandable)
        case = case.with_generation(
            self.generation,
            announced=generation.announced | {self.task} | set(self.spawned),
            answered=generation.answered | ({self.task} if self.last else set()),
            pending=self._pending(generation),
            sizes=dict(Counter(generation.sizes) + commandable),
            unsettled=dict(Counter(generation.unsettled) + commandable),
            chunks=generation.chunks + len(new),
            obligations=generation.obligations + sum(each.size for each in self.chunks),
            dues=self._dues(case, generation),
            counted=self._counted(generation),
        )
        if self.population:
            case = case.model_copy(update={"population": dict(sorted(self.population.items()))})
        if self.task == task_id(case.case_id, "roots"):
            case = case.model_copy(update={"walk_retry_at": None})
        return recounted(case, [], list(new.values())), new

    def _dues(self, case: Case, generation: Generation) -> dict[int, datetime]:
        dues = dict(generation.dues)
        for each in self.chunks:
            if each.provision:
                due = case.due_of(each.provision)
                dues[each.stage] = min(dues.get(each.stage, due), due)
        return dues

    def _counted(self, generation: Generation) -> dict[str, dict[str, int]]:
        counts = Counter({(s, kind): n for s, kinds in generation.counted.items() for kind, n in kinds.items()})
        for each in self.chunks:
            counts[each.system, each.kind.value] += each.size
        table: dict[str, dict[str, int]] = {}
        for (system, kind), number in sorted(counts.items()):
            table.setdefault(system, {})[kind] = number
        return table

    def _pending(self, generation: Generation) -> dict[str, int]:
        pending = dict(generation.pending)
        for key, returned in self.containers:
            pending[key] = max(pending.get(key, 0), returned)
        return dict(sorted(pending.items()))


def _new_chunk(case_id: str, generation: int, summary: ChunkSummary) -> ChunkState:
    return ChunkState(
        summary=summary,
        generation=generation,
        command_id=command_id(case_id, generation, summary),
        answers=LETTERS[Claim.EXEMPT if summary.action is Action.EXEMPT else OPEN] * summary.size,
    )


class PlanFixed(CaseFact):
    """The walk of a generation has ended; its plan never changes again."""

    fact = "plan_fixed"
    generation: int
    plan_digest: Hex
    chunks: int
    obligations: int
    at: datetime
    """From here on what policy puts off is counted."""

    def change(self, case: Case) -> Case:
        """What waited for the next generation begins that."""
        case = case.with_generation(self.generation, fixed=True, fixed_at=self.at, plan_digest=self.plan_digest)
        return case.model_copy(update={"held": ()}).forward(Status.PLANNED)


class NothingFound(CaseFact):
    """A later walk ended without anything new: there is no further generation."""

    fact = "nothing_found"
    generation: int

    def change(self, case: Case) -> Case:
        """The generation is gone."""
        kept = tuple(each for each in case.generations if each.number != self.generation)
        return case.model_copy(update={"generations": kept, "held": ()})


def begin(turn: Turn) -> None:
    """Have the resolvers walk from the roots of a new case."""
    task = task_id(turn.case.case_id, "roots")
    turn.record(WalkAnnounced(generation=1, tasks=(task,)))
    turn.emit(StartTask(TaskKind.ROOTS, task, 1))


def walk_again(turn: Turn) -> None:
    """The timer of a walk that found the indexers behind."""
    due = turn.case.walk_retry_at
    if due is None or turn.now < due:
        return
    force = turn.now - turn.case.opened_at >= PLAN_ANYWAY
    turn.record(WalkWaits(retry_at=turn.now + PLAN_ANYWAY))
    turn.emit(StartTask(TaskKind.ROOTS, task_id(turn.case.case_id, "roots"), 1, force=force))


def take_answer(turn: Turn, message: Planned) -> None:
    """A task's answer. Every one counts, also a second answer of a repeated task (rule "chunks")."""
    if message.status is PlannedStatus.NOT_READY:
        _wait(turn, message.task_id)
        return
    new = tuple(summary for summary in message.chunks if turn.chunk(summary.digest) is None)
    generation = turn.case.open_generation
    awaited = generation is not None and message.task_id in generation.announced - generation.answered
    known = any(message.task_id in each.answered for each in turn.case.generations)
    if known and not new and not awaited:
        return
    number = generation.number if generation else turn.case.generation.number + 1
    if generation is None:
        _announce(turn, number, message.task_id)
    if new and turn.case.status in DONE:
        _reopen(turn)
    turn.record(
        TaskAnswered(
            generation=number,
            task=message.task_id,
            spawned=message.spawned,
            chunks=new,
            containers=message.containers,
            last=message.status is PlannedStatus.DONE,
            population=message.population,
        )
    )
    watermark.wait_for(turn, message.watermark)
    watermark.pass_marks(turn, message.applied)
    for summary in new if turn.case.exempted else ():
        decisions.exempt(turn, turn.chunks[summary.digest])
    fix_if_walked(turn)


def _wait(turn: Turn, task: str) -> None:
    """The roots were not walked, for the indexers were behind. Of a case that has had its plan they are walked now.

    Its marks were forgotten with the index then, and what indexers have yet to tell meets them when they stand.
    """
    answered = any(task in generation.answered for generation in turn.case.generations)
    if answered:
        turn.emit(StartTask(TaskKind.ROOTS, task, 1, force=True))
    if answered or turn.case.open_generation is None:
        return
    turn.record(WalkWaits(retry_at=turn.now + doubled(FIRST_WAIT, turn.case.walk_waits, LONGEST_WAIT)))


def fix_if_walked(turn: Turn) -> None:
    """Fix the open generation's plan once its walk has ended and it has collected what is late for long enough."""
    generation = turn.case.open_generation
    if generation is None or not generation.walked:
        return
    if generation.settles_at is not None and turn.now < generation.settles_at:
        return
    if generation.pending:
        _plan_containers(turn, generation.number, generation.pending)
        return
    held = turn.case.held
    if generation.number > 1 and not generation.chunks:
        turn.record(NothingFound(generation=generation.number))
    else:
        _fix(turn, generation.number)
    _walk_held(turn, held)


def _walk_held(turn: Turn, held: tuple[HeldBack, ...]) -> None:
    """Begin the next generation with what waited for it."""
    for kind, holding in ((TaskKind.LATE, False), (TaskKind.HOLDING, True)):
        for back in (False, True):
            alike = [each for each in held if each.holding is holding and bool(each.returned) is back]
            if alike:
                walk(turn, kind, {each.key: each.arrival for each in alike}, max(each.returned for each in alike))


def _plan_containers(turn: Turn, number: int, pending: dict[str, int]) -> None:
    for returned in sorted(set(pending.values())):
        alike = [key for key in pending if pending[key] == returned]
        for start in range(0, len(alike), CONTAINERS_PER_TASK):
            part = alike[start : start + CONTAINERS_PER_TASK]
            task = task_id(turn.case.case_id, "containers", number, turn.case.sequence, *part)
            turn.record(WalkAnnounced(generation=number, tasks=(task,), sealed=tuple(part)))
            nodes = pack({bytes.fromhex(key): Arrival.CONTAINERS for key in part})
            turn.emit(StartTask(TaskKind.CONTAINERS, task, number, nodes=nodes, returned=returned))


def _reopen(turn: Turn) -> None:
    turn.record(Reopened())
    confirm.say(turn, "reopened")


def _fix(turn: Turn, number: int) -> None:
    ended = turn.case.status is Status.PARTIALLY_COMPLETED  # at its due date: it ends once more with this plan
    if ended and not turn.case.generation.reopened:
        _reopen(turn)
    generation = turn.case.generation
    plan = plan_digest(turn.case.case_id, number, turn.digests(number))
    turn.record(
        PlanFixed(
            generation=number,
            plan_digest=plan,
            chunks=generation.chunks,
            obligations=generation.obligations,
            at=turn.now,
        )
    )
    approval.begin_grace(turn, number)
    above = approval.exceeded(turn.case, turn.case.numbered(number), turn.policy.guard)
    confirm.say(turn, "planned", plan_digest=plan, thresholds=tuple(row.id for row in above))
    approval.ask(turn, number, above)


def walk(turn: Turn, kind: TaskKind, nodes: dict[str, int], returned: int) -> None:
    """Walk from some nodes, in the open generation or in the next.

    Args:
        turn: the decision in progress.
        kind: of the task.
        nodes: key -> how it was reached.
        returned: when the last of them came back (milliseconds since 1970), or 0.
    """
    packed = pack({bytes.fromhex(key): Arrival(arrival) for key, arrival in nodes.items()})
    # Said again it is walked again: what was known of an asset may have changed since the task before read it.
    task = task_id(turn.case.case_id, kind, turn.case.sequence, packed)
    number = _next_number(turn.case)
    _announce(turn, number, task)
    turn.emit(StartTask(kind, task, number, nodes=packed, returned=returned))


def walk_discovered(turn: Turn, system: str, found: Sequence[Found], receipt: str) -> None:
    """What a system found while it purged: registered, and commanded in the case that asked, whatever it was found in.

    Args:
        turn: the decision in progress.
        system: whose receipt says so.
        found: the assets.
        receipt: the keyed digest of the receipt.
    """
    case = turn.case
    if case.status in OVER or case.cancelling or case.dry_run:
        return
    for number, start in enumerate(range(0, len(found), FOUND_PER_TASK)):
        part = tuple(found[start : start + FOUND_PER_TASK])
        task = task_id(case.case_id, TaskKind.DISCOVERED, receipt, number)
        if any(task in each.announced for each in case.generations):
            continue
        generation = _next_number(turn.case)
        _announce(turn, generation, task, tuple(turn.keys.asset(each.asset).hex() for each in part))
        turn.emit(StartTask(TaskKind.DISCOVERED, task, generation, found=part, system=system))


def _next_number(case: Case) -> int:
    return case.open_generation.number if case.open_generation else case.generation.number + 1


def _announce(turn: Turn, number: int, task: str, found: tuple[str, ...] = ()) -> None:
    """A task of a later generation; the first of them says until when the generation collects what is late."""
    case, settles_at = turn.case, None
    if case.open_generation is None:
        settles_at = turn.now + doubled(SETTLES, number - 2, SETTLES_AT_MOST)
    turn.record(WalkAnnounced(generation=number, tasks=(task,), settles_at=settles_at, found=found))
