"""The resolver: a task in, chunks of the plan out, and the tasks that go on from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import ValidationError

from expunge.domain.admission.door import Door
from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Outgoing, Record, decode, unknown_member
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.walk import ANEW, Walk, lots_of, nature_of, obligation_of
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk, ChunkSummary, Cut, Lot, Lots, Obligation, cut
from expunge.domain.scope import Arrival
from expunge.domain.topics import read_by
from expunge.errors import InvalidMessage, NotUnderstood, Unavailable
from expunge.ports import (
    ChunkStore,
    Index,
    Metrics,
    Offsets,
    Progress,
    Refused,
    Result,
    Sender,
    Tenure,
    Topics,
    Vault,
    Waiter,
)
from expunge.roles.common import plan_part, task_message
from expunge.roles.dead_letters import DeadLetters, froze
from expunge.roles.exclusions import left_out
from expunge.roles.resolver.holds import covered
from expunge.roles.resolver.replacements import ReplacementJudge
from expunge.roles.resolver.traversal import Bounds, Traversal, is_mine
from expunge.wire.cases.case import Covered, HoldsSeen, Planned, ReplacementSeen
from expunge.wire.cases.table import TYPE_OF
from expunge.wire.registrations import REGISTERED
from expunge.wire.tasks import Found, PlannedStatus, ReplacementVerdict, Task, TaskKind, reached, unpack

SOURCE = "/expunge/resolver"
CHUNK_TYPE = "expunge.plan.chunk.v1"
RECHECK_SECONDS = 0.2
PER_ANSWER = (1_500, 5_000, 2_000)
"""Chunks, tasks and containers in one answer; a longer one is cut, and only its last part ends the task."""

TASK_WEIGHT = 20
"""What a task counts as, whatever it is about, in nodes visited."""
CONTAINER_WEIGHT = 50
"""What a container counts as: all that it must leave out is read."""
DISCOVERY_WEIGHT = 500
"""What it counts as to register what a system found: it is sent, and the ends of the inlets are asked for."""
CHUNK_WEIGHT = 500
"""What looking into the targets of a chunk counts as, for one hold."""
ORDINALS_PER_ANSWER = 50_000
NAME_WEIGHT = 20
"""What the name of a hold or of a chunk weighs in a message, in ordinals."""


class Resolver:
    """See `ports.Role`."""

    name = "resolver"
    keeps_time = False
    cuts_batches = True
    topics = read_by(name)

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
        tenure: Tenure,
        bounds: Bounds,
        sender: Sender,
    ) -> None:
        self._door, self._index, self._chunks, self._progress = door, index, chunks, progress
        self._topics, self._waiter, self._tenure, self._bounds = topics, waiter, tenure, bounds
        self._sender, self._metrics = sender, metrics
        self._traversal = Traversal(door, index, tenure, bounds)
        self._dead = DeadLetters(self.name, door, vault, metrics)
        self._applied: Offsets = {}

    def handle(self, batch: Sequence[Record]) -> Result:
        """Each task becomes chunks on `plans` and the tasks that go on from it; then an answer on `cases`.

        What an answer announces is durable before it is said: a task that is repeated may go on in other tasks, and one
        that was announced but never sent would be awaited for ever.

        Once enough nodes have been visited the rest of the batch is left for the next one, so that neither memory nor
        the lease depend on how much work a batch of tasks happens to be.
        """
        outgoing: list[Outgoing] = []
        answers: list[Outgoing] = []
        visited, patient = 0, True
        for at, record in enumerate(batch):
            if visited >= self._bounds.step_nodes:
                return Result((tuple(outgoing), tuple(answers)), taken=at)
            visited += TASK_WEIGHT
            task = self._task(record, outgoing)
            if task is None:
                continue
            answer, ready = _Answer(self, task, record.appended_at), self._is_ready(task, patient=patient)
            patient = patient and ready
            try:
                answers += answer.make(outgoing) if ready else answer.not_ready()
            except NotUnderstood as error:  # a newer version wrote what it needs: its case waits, and nobody else
                answers += self._parked(record, error.reason)
            visited += answer.visited
        return Result((tuple(outgoing), tuple(answers)))

    def _task(self, record: Record, outgoing: list[Outgoing]) -> Task | None:
        try:
            data = decode(record, max_bytes=1_048_576).data
        except InvalidMessage:
            outgoing.append(self._dead.of(record, InvalidMessage("bad_task")))
            return None
        try:
            return Task.model_validate(data)
        except ValidationError as error:
            if member := unknown_member(error):
                outgoing += self._parked(record, f"unknown_{member}")
            else:
                outgoing.append(self._dead.of(record, InvalidMessage("bad_task")))
            return None

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`: the case that waits for the task's answer is frozen."""
        return Result((tuple(self._parked(record, error)),))

    def _parked(self, record: Record, error: str) -> list[Outgoing]:
        dead = self._dead.parked(record, error)
        return [dead, *froze(record, record.topic, error, self._door.place_of(record), SOURCE)]

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def write(self, result: Result) -> None:
        """Marks and chunks were added while the batch was handled."""

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here. How far the indexers are is asked anew: whoever restores may have set them back."""
        del partitions, now
        self.ask_anew()
        return ()

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""

    def ask_anew(self) -> None:
        """Forget how far the indexers were: the index may be another one."""
        self._applied = {}

    def _is_ready(self, task: Task, *, patient: bool) -> bool:
        """Whether a task's index is complete; if it is not, somebody patient looks once more after a while.

        What the indexers had passed a moment ago is not asked again.
        """
        if task.force or reached(self._applied, task.watermark):
            return True
        if not patient:  # somebody else of this batch has waited already
            return False
        self._applied = self._progress.applied()
        if not reached(self._applied, task.watermark):
            self._waiter.wait(RECHECK_SECONDS)
            self._applied = self._progress.applied()
        return reached(self._applied, task.watermark)

    def walk(self, task: Task) -> tuple[Walk, list[Task]]:
        """A task's walk, as far as its step goes, and the tasks that go on from it."""
        return self._traversal.run(task)

    def containers(self, task: Task) -> dict[Lot, list[Obligation]]:
        """Containers to be made anew, each with what it must leave out: the walk has ended, so all of it is known."""
        keys, judge, inherited = sorted(unpack(task.nodes)), self._traversal.judge(task), self._traversal.inherited
        lots: dict[Lot, list[Obligation]] = defaultdict(list)
        people = self._traversal.people(task)
        for key, row, peek in zip(keys, self._index.rows(keys), self._index.peek(task.case_id, keys), strict=True):
            if row is None or row.is_forgotten:
                continue
            named = peek.mark is not None and peek.mark.reach is Arrival.ROOT
            disposition = judge.dispose(nature_of(row, inherited), collected=row.collected, named=named)
            if disposition is None or disposition.action not in ANEW:
                continue  # as what it is named in the request it was planned when it was met
            found = left_out(self._index, self._door.keys, task.case_id, task.scope, key, row)
            excluded = tuple(sorted(found.others.values()))
            whole = obligation_of(people, key, row, excluded, cut=found.cut)._replace(unnamed=found.unnamed)
            for lot in lots_of(row, disposition, judge, returned=task.returned):
                lots[lot].append(whole if lot.action in ANEW else whole._replace(excluded=(), cut=False, unnamed=False))
        return lots

    def population(self, task: Task) -> dict[str, int]:
        """How much each system has registered, where the guard of the case's policy asks for it."""
        guard = self._door.policies.of(task.policy).guard
        return self._index.population() if task.kind is TaskKind.ROOTS and any(row.share for row in guard) else {}

    def holds(self, task: Task) -> tuple[Covered, ...]:
        """Which targets of a task's chunks its holds cover."""
        bodies = self._chunks.bodies(self._partition(task), task.case_id, task.chunks)
        return covered(self._index, self._door.keys, task.case_id, bodies, task.holds)

    def is_ahead(self, task: Task) -> bool:
        """Whether the indexers have not passed what the task should have waited for."""
        return bool(task.watermark) and not reached(self._progress.applied(), task.watermark)

    def register(self, task: Task) -> Offsets:
        """What a system discovered becomes statements; the ends of the inlets after that (rule "discoveries")."""
        if refused := self._sender.send([_registration(task, found) for found in task.found]):
            raise Unavailable(f"Kafka refuses registrations ({refused[0].reason})", server="Kafka")
        return self._progress.end_offsets()

    def replacement(self, task: Task) -> ReplacementVerdict:
        """What the index says of a model that took another's place."""
        (chunk,) = self._chunks.bodies(self._partition(task), task.case_id, task.chunks)
        judge = ReplacementJudge(self._index, self._door.keys, task.case_id, chunk, task.made_after_ms)
        return judge.judged(bytes.fromhex(task.node))

    def summary(self, chunk: Chunk) -> ChunkSummary:
        """What the coordinator needs to know of a chunk."""
        target = self._door.keys.asset(chunk.assets[0]).hex() if chunk.action in ANEW else ""
        return chunk.summary().model_copy(update={"target": target})

    def _partition(self, task: Task) -> int:
        return partition_of(task.case_id, self._topics.partitions("cases"))

    def reopened(self, task: Task, containers: Sequence[bytes]) -> list[Task]:
        """Tasks for what was made from containers that this task has found to be clean no longer.

        Made after they were clean, it was nobody's concern; now it is. That they were opened by this task stands in
        their marks, so that a repetition after a crash says the same.
        """
        if task.generation == 1:
            return []
        marks = [peek.mark for peek in self._index.peek(task.case_id, containers)]
        return [
            child
            for key, mark in zip(containers, marks, strict=True)
            if mark is not None and is_mine(task, mark) and mark.state is not MarkState.CLEAN
            for child in self._traversal.children(task, key, mark.reach.onward)
        ]

    def plan(self, task: Task, lots: Lots, known: Collection[bytes]) -> list[Chunk]:
        """Obligations as chunks, kept beside the coordinator's state.

        An obligation that was planned before, by this task before a crash or by another, stays in its chunk: that chunk
        is named again, and nothing is counted twice. Where nothing was marked before (`known`), nothing can be planned,
        and the store is asked only if it says otherwise.
        """
        partition = self._partition(task)
        lots = {lot._replace(after=task.forgotten): found for lot, found in lots.items()} if task.forgotten else lots
        planned: dict[str, Chunk] = {}
        doubtful = [(lot, each) for lot in lots if known for each in lots[lot] if each.key in known]
        together = {lot: [each for each in lots[lot] if each.key not in known] for lot in lots} if known else dict(lots)
        while doubtful or any(together.values()):
            named, fresh = self._sort_out(task, partition, doubtful)
            fresh = self._not_gone(task, fresh) if task.forgotten else fresh
            planned |= zip(named, self._chunks.bodies(partition, task.case_id, named), strict=True)
            # What must be done anew is neither clean nor gone until it has been answered; first, so that a crash
            # repeats it.
            keys, lease = [each.key for _, each in fresh], self._tenure.until_ms()
            self._index.set_state(task.case_id, keys, MarkState.OPEN, 0, lease, task.task_id)
            for lot, each in fresh:
                together[lot] = [*together.get(lot, ()), each]
            cuts: list[Cut] = []
            written = self._chunks.put_chunks(partition, self._cut(task, together, cuts))
            planned |= {each.chunk.digest: each.chunk for each, done in zip(cuts, written, strict=True) if done}
            refused = [each for each, done in zip(cuts, written, strict=True) if not done]
            together, doubtful = {}, [(each.lot, one) for each in refused for one in each.obligations]
        return [planned[digest] for digest in sorted(planned)]

    def _not_gone(self, task: Task, fresh: Sequence[Owed]) -> list[Owed]:
        """Obligations without those for what is gone: it was planned and purged, and has not come back."""
        marks = self._index.marks([each.key for _, each in fresh])
        mine = [next((mark for mark in found if mark.case_id == task.case_id), None) for found in marks]
        gone = [mark is not None and mark.state is MarkState.GONE for mark in mine]
        return [item for item, is_gone in zip(fresh, gone, strict=True) if not is_gone]

    def _cut(self, task: Task, lots: Lots, cuts: list[Cut]) -> Iterator[tuple[Chunk, list[bytes]]]:
        """Chunks with the names of their obligations, one after the other, so that the store works meanwhile."""
        for each in cut(task.case_id, lots, self._door.registry, task.people_bytes):
            cuts.append(each)
            yield each.chunk, each.names

    def _sort_out(
        self, task: Task, partition: int, doubtful: Sequence[tuple[Lot, Obligation]]
    ) -> tuple[list[str], list[Owed]]:
        """The chunks that hold obligations already, and the obligations that none holds."""
        owners = self._chunks.owners(
            partition, task.case_id, [each.name(lot) for lot, each in doubtful], task.forgotten
        )
        fresh = [item for item, owner in zip(doubtful, owners, strict=True) if owner is None]
        return sorted({owner for owner in owners if owner}), fresh


Owed = tuple[Lot, Obligation]
Back = tuple[bytes, int]
"""A container, and when it came back after it had been purged (milliseconds since 1970); 0: it did not."""


class _Answer:
    """What one task leads to, as messages."""

    def __init__(self, resolver: Resolver, task: Task, now: datetime) -> None:
        self._resolver, self._task, self._now = resolver, task, now
        self.visited = 0
        """Nodes, or as much work."""

    def not_ready(self) -> list[Outgoing]:
        """The indexers are behind: a timer of the case asks again (rule "not ready")."""
        task = self._task
        if task.kind is TaskKind.HOLDS:
            asked = tuple(Covered(chunk=chunk, covered=()) for chunk in task.chunks)
            said = partial(HoldsSeen, case_id=task.case_id, number=task.number, after=task.after, ready=False)
            return [self._to_case(said(found=asked))]
        return [self._planned(PlannedStatus.NOT_READY)]

    def make(self, outgoing: list[Outgoing]) -> list[Outgoing]:
        """Walk, plan, and answer; what the answer announces goes to `outgoing`."""
        task, resolver = self._task, self._resolver
        if task.kind is TaskKind.HOLDS:
            return self._holds()
        if task.kind is TaskKind.REPLACEMENT:
            verdict, self.visited = resolver.replacement(task), CHUNK_WEIGHT
            seen = ReplacementSeen(case_id=task.case_id, chunk=task.chunks[0], replacement=task.node, verdict=verdict)
            return [self._to_case(seen)]
        if task.kind is TaskKind.CONTAINERS:
            lots = resolver.containers(task)
            keys = {each.key for obligations in lots.values() for each in obligations}
            chunks, self.visited = resolver.plan(task, lots, keys), CONTAINER_WEIGHT * len(unpack(task.nodes))
            return self._answer(outgoing, chunks, resolver.reopened(task, sorted(keys)), [])
        # Marks are left on what is not in the index yet, so whoever registers it finds them.
        watermark = resolver.register(task) if task.kind is TaskKind.DISCOVERED else {}
        walk, spawned = resolver.walk(task)
        self.visited = walk.visited + (DISCOVERY_WEIGHT if task.found else 0)
        lots = {lot: list(found.values()) for lot, found in walk.lots.items() if found}
        back = {key: task.returned if key in walk.roots else 0 for key in walk.containers}
        chunks = resolver.plan(task, lots, walk.known)
        applied = {} if task.force else task.watermark  # one that is forced has waited for nothing
        more = {"population": resolver.population(task), "watermark": watermark, "applied": applied}
        return self._answer(outgoing, chunks, spawned, sorted(back.items()), **more)

    def _holds(self) -> list[Outgoing]:
        task, resolver = self._task, self._resolver
        ahead = task.force and resolver.is_ahead(task)
        said = partial(HoldsSeen, case_id=task.case_id, number=task.number, after=task.after, ahead=ahead)
        found, self.visited = resolver.holds(task), CHUNK_WEIGHT * len(task.chunks) * len(task.holds)
        return [self._to_case(said(found=part)) for part in _parts(found)]

    def _answer(
        self,
        outgoing: list[Outgoing],
        chunks: Sequence[Chunk],
        spawned: Sequence[Task],
        containers: Sequence[Back],
        **more: Any,
    ) -> list[Outgoing]:
        outgoing += [self._chunk(chunk) for chunk in chunks]
        outgoing += [task_message(task, self._now, SOURCE) for task in spawned]
        rest: list[Sequence[Any]] = [chunks, spawned, containers]
        said = []
        while any(len(each) > most for each, most in zip(rest, PER_ANSWER, strict=True)):
            part = [each[:most] for each, most in zip(rest, PER_ANSWER, strict=True)]
            said.append(self._planned(PlannedStatus.PART, *part))
            rest = [each[most:] for each, most in zip(rest, PER_ANSWER, strict=True)]
        return [*said, self._planned(PlannedStatus.DONE, *rest, **more)]

    def _chunk(self, chunk: Chunk) -> Outgoing:
        event = Event(
            CHUNK_TYPE,
            SOURCE,
            name(CHUNK_TYPE, chunk.case_id, chunk.digest),
            self._now,
            chunk.model_dump(mode="json", exclude_defaults=True),
        )
        part = f"chunk:{self._task.generation}:{chunk.digest}"
        return plan_part(self._resolver._topics, chunk.case_id, part, event)  # noqa: SLF001 - one unit

    def _planned(
        self,
        status: PlannedStatus,
        chunks: Sequence[Chunk] = (),
        spawned: Sequence[Task] = (),
        containers: Sequence[Back] = (),
        **more: Any,
    ) -> Outgoing:
        task = self._task
        planned = Planned(
            case_id=task.case_id,
            task_id=task.task_id,
            generation=task.generation,
            status=status,
            spawned=tuple(child.task_id for child in spawned),
            chunks=tuple(self._resolver.summary(chunk) for chunk in chunks),
            containers=tuple((key.hex(), returned) for key, returned in containers),
            **more,
        )
        return self._to_case(planned)

    def _to_case(self, said: Planned | HoldsSeen | ReplacementSeen) -> Outgoing:
        kind, content = TYPE_OF[type(said)], said.model_dump(mode="json", exclude_defaults=True)
        event = Event(kind, SOURCE, name(kind, self._task.task_id, str(content)), self._now, content)
        return Outgoing("cases", said.case_id, event)


def _registration(task: Task, found: Found) -> Outgoing:
    """What a system found, as a registration of its own, made from what it was found in."""
    data: dict[str, object] = {"asset": found.asset, "kind": found.kind, "system": task.system}
    data |= {"parents": [found.parent]} if found.parent else {}
    identity = name("discovered", task.task_id, found.asset)
    # The broker's time is what counts; a repetition is the same message.
    return Outgoing("registrations", task.case_id, Event(REGISTERED, SOURCE, identity, EARLIEST, data))


def _parts(found: Sequence[Covered]) -> Iterator[tuple[Covered, ...]]:
    """What holds cover, in messages of about ORDINALS_PER_ANSWER."""
    part: list[Covered] = []
    size = 0
    for each in found:
        part.append(each)
        size += NAME_WEIGHT + sum(NAME_WEIGHT + len(ordinals) for _, ordinals in each.covered)
        if size >= ORDINALS_PER_ANSWER:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)
