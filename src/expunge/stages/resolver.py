"""The walk: a task in, chunks of the plan out, in bounded steps that go to the back of the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from expunge.domain.admission import Door
from expunge.domain.case.messages import TYPE_OF, Planned
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Record, decode
from expunge.domain.partition import partition_of
from expunge.domain.plan import MAX_EXCLUDED, Chunk, Obligation, cut
from expunge.domain.policy import dispose
from expunge.domain.scope import Arrival, data_source_node
from expunge.domain.statement import PASS_THROUGH_FLAG, Row, reach_of
from expunge.domain.walk import (
    MAX_FRONTIER,
    PlannedStatus,
    Task,
    TaskKind,
    Walk,
    covered,
    obligations_of,
    pack,
    reached,
    task_id,
    unpack,
)
from expunge.errors import InvalidMessage
from expunge.ports import SHARDS, ChunkStore, Index, Metrics, Progress, Result, Topics, Vault, Waiter
from expunge.stages.dead_letters import DeadLetters

SOURCE = "/expunge/resolver"
TASK_TYPE = "expunge.walk.task.v1"
CHUNK_TYPE = "expunge.plan.chunk.v1"
RECHECK_SECONDS = 0.2
SHARD_NODES = 5_000
"""Members of a data source in one task, about."""
CHUNKS_PER_ANSWER = 2_000
"""Chunks or containers in one answer; a longer one is cut, and only its last part ends the task."""
LEVEL_NODES = 5_000
"""Nodes in one round trip to the index."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one task may do before it continues in another."""

    step_nodes: int = 20_000


class Resolver:
    """See `ports.Stage`."""

    name = "resolver"
    topics = ("tasks",)

    def __init__(
        self,
        door: Door,
        index: Index,
        chunks: ChunkStore,
        progress: Progress,
        topics: Topics,
        vault: Vault,
        metrics: Metrics,
        waiter: Waiter,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._door, self._index, self._chunks, self._progress = door, index, chunks, progress
        self._topics, self._waiter, self._bounds = topics, waiter, bounds
        self._dead = DeadLetters(self.name, door, vault, metrics)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Each task becomes chunks on `plans`, an answer on `cases`, and the tasks that go on from it."""
        outgoing: list[Outgoing] = []
        tasks: list[tuple[Record, Task]] = []
        for record in batch:
            try:
                tasks.append((record, Task.model_validate(decode(record, max_bytes=1_048_576).data)))
            except (InvalidMessage, ValueError):
                outgoing.append(self._dead.of(record, InvalidMessage("bad_task")))
        ready = self._ready([task for _, task in tasks])
        for at, (record, task) in enumerate(tasks):
            answer = _Answer(self, task, record.appended_at)
            outgoing += answer.make() if at in ready else answer.not_ready()
        return Result((tuple(outgoing),))

    def write(self, result: Result) -> None:
        """Marks and chunks were added while the batch was handled."""

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()

    def _ready(self, tasks: Sequence[Task]) -> set[int]:
        """Which tasks' index is complete; the others are looked at once more before they are sent back."""
        ready = {at for at, task in enumerate(tasks) if task.force or not task.watermark}
        for last in (False, True):
            if len(ready) < len(tasks):
                applied = self._progress.applied()
                ready |= {at for at, task in enumerate(tasks) if reached(applied, task.watermark)}
            if len(ready) == len(tasks) or last:
                break
            self._waiter.wait(RECHECK_SECONDS)
        return ready

    def start(self, task: Task) -> tuple[Walk, list[Task]]:
        """A task's walk with its roots on the frontier, and the tasks that it is split into at once."""
        nodes = unpack(task.nodes)
        if task.kind is TaskKind.ROOTS:
            return self._start_roots(task)
        walk = Walk(task.scope, frozenset(nodes))
        if task.kind is TaskKind.SHARD:
            shards = range(task.shard, task.shard_end)
            members = [key for shard in shards for key in self._index.source_assets(task.data_source, shard)]
            walk = Walk(task.scope, frozenset(members))
            walk.reach(members, Arrival.THROUGH)
        elif task.kind in {TaskKind.LATE, TaskKind.HOLDING}:
            self._start_late(task.kind, walk, nodes)
        else:
            for key, arrival in nodes.items():
                walk.reach([key], arrival)
        return walk, []

    def _start_roots(self, task: Task) -> tuple[Walk, list[Task]]:
        """Mark the roots, then read what belongs to them, holdings included (PROTOCOLS 11 and 47)."""
        scope = task.scope
        subjects = [bytes.fromhex(subject.pseudonym) for subject in scope.subjects]
        sources = [data_source_node(each) for each in scope.data_sources]
        self._index.mark_roots(task.case_id, task.task_id, [*subjects, *sources])
        members = [asset for subject in subjects for asset in self._index.subject_assets(subject)]
        withdrawn = [self._door.keys.asset(asset) for asset in scope.assets]
        holdings = self._index.holdings()
        walk = Walk(scope, frozenset([*members, *withdrawn, *holdings]))
        walk.reach(members, Arrival.THROUGH)
        walk.reach(withdrawn, Arrival.ROOT)
        for key, row in zip(holdings, self._index.rows(holdings), strict=True):
            if row is not None:
                walk.plan_holding(key, row)
        return walk, self._shards(task)

    def _shards(self, task: Task) -> list[Task]:
        """Tasks for the members of data sources, neighbouring shards together until a task is worth its message."""
        tasks = []
        for source in task.scope.data_sources:
            start, members = 0, 0
            for shard, size in enumerate(self._index.source_sizes(source)):
                members += size
                if members and (members >= SHARD_NODES or shard == SHARDS - 1):
                    child = task_id(task.task_id, "shard", source, start, shard)
                    fields = {"data_source": source, "shard": start, "shard_end": shard + 1}
                    tasks.append(_child(task, child, TaskKind.SHARD, **fields))
                    start, members = shard + 1, 0
        return tasks

    def _start_late(self, kind: TaskKind, walk: Walk, nodes: dict[bytes, Arrival]) -> None:
        keys = sorted(nodes)
        for key, row in zip(keys, self._index.rows(keys), strict=True):
            if row is not None and row.holding is not None:
                walk.plan_holding(key, row)
            if kind is TaskKind.LATE:
                walk.reach([key], nodes[key])

    def go(self, task: Task, walk: Walk) -> None:
        """Walk level by level until nothing is left or the step is full.

        What only this task can finish is finished here, however full the step is: nodes that it marked before a crash,
        and, after the first plan, containers that others have marked but in which something more was found.
        """
        while walk.frontier:
            room = self._bounds.step_nodes - walk.visited
            among = None if room > 0 else self._mine(task, walk)
            steps = walk.take(min(room, LEVEL_NODES) if room > 0 else LEVEL_NODES, among)
            if not steps:
                return
            walk.absorb(
                self._index.visit(
                    task.case_id,
                    task.task_id,
                    steps,
                    bounded=task.scope.bounded,
                    again=task.generation > 1,
                    lease_until_ms=0,
                )
            )

    def _mine(self, task: Task, walk: Walk) -> set[bytes]:
        keys = sorted(walk.frontier)
        mine = set()
        for key, row, marks in zip(keys, self._index.rows(keys), self._index.marks(keys), strict=True):
            known = [mark for mark in marks if mark.case_id == task.case_id]
            again = task.generation > 1 and row is not None and row.container
            if known and (again or any(task.task_id[:16] in mark.tasks for mark in known)):
                mine.add(key)
        return mine

    def go_on(self, task: Task, walk: Walk) -> list[Task]:
        """The tasks for what the step had no room for; then what the containers must leave out."""
        rest = walk.frontier
        found = sorted(rest)
        rows = dict(zip(found, self._index.rows(found), strict=True))
        keys = self._unplanned(task, rest, rows)
        for key in found:
            walk.meet(key, rows[key])
        exclusions = walk.exclusions()
        if exclusions:
            self._index.exclude(task.case_id, exclusions)
        tasks = []
        for start in range(0, len(keys), MAX_FRONTIER):
            nodes = pack({key: rest[key] for key in keys[start : start + MAX_FRONTIER]})
            tasks.append(_child(task, task_id(task.task_id, "frontier", nodes), TaskKind.FRONTIER, nodes=nodes))
        return tasks

    def _unplanned(self, task: Task, rest: Mapping[bytes, Arrival], rows: Mapping[bytes, Row | None]) -> list[bytes]:
        """What no other task of the case has marked as widely.

        A task plans its own roots whatever their marks say, so a marked node that went on in a task of its own would
        send a walk round a cycle for ever. (What this very task had marked, `go` has visited.)
        """
        keys = sorted(rest)
        free = []
        for key, marks in zip(keys, self._index.marks(keys), strict=True):
            row = rows[key]
            reach = reach_of(rest[key], row.flags if row else PASS_THROUGH_FLAG, bounded=task.scope.bounded)
            others = [m for m in marks if m.case_id == task.case_id]
            if all(mark.reach.width < reach.width for mark in others):
                free.append(key)
        return free

    def containers(self, task: Task) -> list[Obligation]:
        """Containers to be made anew, each with what it must leave out: the walk has ended, so all of it is known."""
        keys = sorted(unpack(task.nodes))
        obligations: list[Obligation] = []
        for key, row, marks in zip(keys, self._index.rows(keys), self._index.marks(keys), strict=True):
            disposition = dispose(task.scope, row) if row else None
            withdrawn = any(m.case_id == task.case_id and m.reach is Arrival.ROOT for m in marks)
            if row is None or disposition is None or withdrawn:
                continue  # a withdrawn container is deleted whole, not made anew
            left_out = [each for each in self._index.rows(self._index.excluded(task.case_id, key)) if each]
            whole = len(left_out) > MAX_EXCLUDED  # then the index did not keep all of them, and the list says so
            excluded = tuple(sorted(each.asset for each in left_out if whole or not covered(task.scope, each)))
            obligations += obligations_of(task.scope, key, row, disposition, excluded=excluded)
        return obligations

    def plan(self, task: Task, obligations: Sequence[Obligation]) -> list[Chunk]:
        """Obligations as chunks, kept beside the coordinator's state.

        An obligation that was planned before, by this task before a crash or by another, stays in its chunk: that chunk
        is named again, and nothing is counted twice.
        """
        partition = partition_of(task.case_id, self._topics.partitions("cases"))
        known: dict[str, Chunk] = {}
        waiting = list(obligations)
        while waiting:
            owners = self._chunks.owners(partition, task.case_id, [each.name for each in waiting])
            named = sorted({owner for owner in owners if owner} - known.keys())
            known |= zip(named, self._chunks.bodies(partition, task.case_id, named), strict=True)
            fresh = [each for each, owner in zip(waiting, owners, strict=True) if owner is None]
            cuts = cut(task.case_id, fresh, self._door.registry, task.people_bytes)
            # What must be done anew is not clean until it has been answered; first, so that a crash repeats it.
            self._index.set_clean(task.case_id, [each.key for each in fresh], 0)
            written = self._chunks.put_chunks(partition, [(c.chunk, [o.name for o in c.obligations]) for c in cuts])
            known |= {c.chunk.digest: c.chunk for c, done in zip(cuts, written, strict=True) if done}
            waiting = [each for c, done in zip(cuts, written, strict=True) if not done for each in c.obligations]
        return [known[digest] for digest in sorted(known)]


class _Answer:
    """What one task leads to, as messages."""

    def __init__(self, resolver: Resolver, task: Task, now: datetime) -> None:
        self._resolver, self._task, self._now = resolver, task, now

    def not_ready(self) -> list[Outgoing]:
        """The indexers are behind: a timer of the case asks again (PROTOCOLS 22)."""
        return [self._planned(PlannedStatus.NOT_READY)]

    def make(self) -> list[Outgoing]:
        """Walk, plan, and answer."""
        task, resolver = self._task, self._resolver
        if task.kind is TaskKind.CONTAINERS:
            return self._answer(resolver.plan(task, resolver.containers(task)), [], [])
        walk, spawned = resolver.start(task)
        resolver.go(task, walk)
        spawned = [*spawned, *resolver.go_on(task, walk)]
        return self._answer(resolver.plan(task, walk.obligations), spawned, sorted(walk.containers))

    def _answer(self, chunks: Sequence[Chunk], spawned: Sequence[Task], containers: Sequence[bytes]) -> list[Outgoing]:
        out = [self._chunk(chunk) for chunk in chunks]
        rest, left = list(chunks), list(containers)
        while len(rest) > CHUNKS_PER_ANSWER or len(left) > CHUNKS_PER_ANSWER:
            out.append(self._planned(PlannedStatus.PART, rest[:CHUNKS_PER_ANSWER], (), left[:CHUNKS_PER_ANSWER]))
            rest, left = rest[CHUNKS_PER_ANSWER:], left[CHUNKS_PER_ANSWER:]
        out.append(self._planned(PlannedStatus.DONE, rest, spawned, left))
        return out + [task_message(task, self._now, SOURCE) for task in spawned]

    def _chunk(self, chunk: Chunk) -> Outgoing:
        event = Event(
            CHUNK_TYPE,
            SOURCE,
            name(CHUNK_TYPE, chunk.case_id, chunk.digest),
            self._now,
            chunk.model_dump(mode="json", exclude_defaults=True),
        )
        return plan_part(self._resolver._topics, chunk.case_id, f"chunk:{chunk.digest}", event)  # noqa: SLF001 - one unit

    def _planned(
        self,
        status: PlannedStatus,
        chunks: Sequence[Chunk] = (),
        spawned: Sequence[Task] = (),
        containers: Sequence[bytes] = (),
    ) -> Outgoing:
        task, kind = self._task, TYPE_OF[Planned]
        planned = Planned(
            case_id=task.case_id,
            task_id=task.task_id,
            generation=task.generation,
            status=status,
            spawned=tuple(child.task_id for child in spawned),
            chunks=tuple(chunk.summary() for chunk in chunks),
            containers=tuple(key.hex() for key in containers),
        )
        content = planned.model_dump(mode="json", exclude_defaults=True)
        event = Event(kind, SOURCE, name(kind, task.task_id, str(content)), self._now, content)
        return Outgoing("cases", task.case_id, event)


def _child(task: Task, child: str, kind: TaskKind, **fields: object) -> Task:
    """A task that goes on from another; the withdrawn assets are the roots' alone."""
    scope = task.scope.model_copy(update={"assets": ()})
    plain = {"task_id": child, "kind": kind, "scope": scope, "nodes": "", "watermark": {}, "force": True}
    return task.model_copy(update=plain | fields)


def task_message(task: Task, now: datetime, source: str) -> Outgoing:
    """A task on `tasks`, keyed so that the tasks of a case spread."""
    content = task.model_dump(mode="json", exclude_defaults=True)
    event = Event(TASK_TYPE, source, name(TASK_TYPE, task.task_id, str(task.force)), now, content)
    return Outgoing("tasks", f"{task.case_id}{task.task_id[:8]}", event)


def plan_part(topics: Topics, case_id: str, part: str, event: Event) -> Outgoing:
    """A part of `plans`: keyed by case and part, on the partition of the case alone (PROTOCOLS 44)."""
    return Outgoing("plans", f"{case_id}:{part}", event, partition_of(case_id, topics.partitions("plans")))
