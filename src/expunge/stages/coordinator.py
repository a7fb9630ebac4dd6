"""The one writer of every case: decisions become messages first, then state, then the committed offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from expunge.domain import suppression
from expunge.domain.admission.door import Door
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.decide import Decision, decide, timers
from expunge.domain.case.messages import (
    TYPE_OF,
    TYPES,
    Applied,
    CaseMessage,
    HoldingDeclared,
    Message,
    Opened,
    Root,
    TimerFired,
)
from expunge.domain.case.state import Case, CaseReader
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Position, Record, decode, stamp
from expunge.domain.plan import Chunk
from expunge.domain.suppression import Published, Suppress
from expunge.domain.walk import reached
from expunge.errors import Fenced, InvalidMessage, Unavailable
from expunge.ports import CaseStore, Changes, Index, Metrics, Progress, Result, Tenure, TimerKey, Topics, Vault
from expunge.stages.dead_letters import DeadLetters
from expunge.stages.emissions import SOURCE, Emitter, Waves, granted_again, published

TIMERS_PER_TICK = 200
CASES_PER_BROADCAST = 200
_OF_NO_CASE = (HoldingDeclared, Suppress, Published)
FIRE_AGAIN = timedelta(seconds=10)
"""After this a timer that is still due is sent again: its event may never have become durable."""
MAX_CASE_EVENT_BYTES = 1_048_576


class _View:
    """The state of one partition with the changes of this batch laid over it; nothing is written through it."""

    def __init__(self, store: CaseStore, partition: int) -> None:
        self._store, self.partition = store, partition
        self._reader: CaseReader = store.reader(partition)
        self.before: Position | None = store.position(partition)
        self.after: Position | None = None
        self.changes = Changes()
        self._loaded: dict[str, Case] = {}

    def check(self) -> None:
        """See that nobody wrote while this was read: a decision on a state of two moments is nobody's decision.

        The write would be refused anyway, but messages leave before it, and the ledger can never be amended.

        Raises:
            Fenced: somebody did: another process owns the partition.
        """
        if self._store.position(self.partition) != self.before:
            raise Fenced("the state of this partition changed while it was read")

    def load(self, case_ids: Iterable[str]) -> None:
        """Fetch the cases that a batch concerns in one round trip."""
        self._loaded |= self._store.cases(self.partition, sorted(set(case_ids) - self._loaded.keys()))

    def case(self, case_id: str) -> Case | None:
        """A case as it stands after what this batch has decided so far."""
        return self.changes.cases.get(case_id) or self._loaded.get(case_id)

    def root(self, case_id: str) -> Root:
        """What a case was opened with."""
        root = self.changes.roots.get(case_id) or self._store.root(self.partition, case_id)
        if root is None:
            raise Unavailable("the root of a case is missing: the store forgot it; rebuild")
        return root

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """See `CaseReader.chunk`."""
        return self.changes.chunks.get((case_id, digest)) or self._reader.chunk(case_id, digest)

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """See `CaseReader.chunk_of`."""
        changed = (chunk for (case, _), chunk in self.changes.chunks.items() if case == case_id)
        found = next((chunk for chunk in changed if chunk.command_id == command), None)
        return found or self._reader.chunk_of(case_id, command)

    def body(self, case_id: str, digest: str) -> Chunk:
        """See `CaseReader.body`."""
        return self._reader.body(case_id, digest)

    def digests(self, case_id: str, generation: int) -> list[str]:
        """See `CaseReader.digests`."""
        changed = self.changes.chunks.items()
        mine = {d for (case, d), chunk in changed if case == case_id and chunk.generation == generation}
        return sorted({*self._reader.digests(case_id, generation), *mine})

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """See `CaseReader.waiting`: what this batch has commanded waits no longer."""
        mine = {d: chunk for (case, d), chunk in self.changes.chunks.items() if case == case_id}
        stored = self._reader.waiting(case_id, generation, stage, limit + len(mine))
        fresh = [
            d
            for d, chunk in mine.items()
            if (chunk.generation, chunk.summary.stage) == (generation, stage) and chunk.waits
        ]
        return sorted({*fresh, *(d for d in stored if d not in mine)})[:limit]

    def take(self, decision: Decision, before: Case | None) -> None:
        """Lay a decision over the state."""
        if decision.case is None:
            return
        case_id = decision.case.case_id
        for digest, chunk in decision.chunks.items():
            known = self.chunk(case_id, digest)
            in_flight = bool(chunk.attempt and chunk.open) - bool(known and known.attempt and known.open)
            self.changes.flow[chunk.summary.system] += in_flight
            self.changes.chunks[case_id, digest] = chunk
            self.changes.timers[TimerKey(case_id, f"chunk:{digest}")] = chunk.next_at
        self.changes.cases[case_id] = decision.case
        wanted = timers(decision.case)
        for timer in timers(before) if before else {}:
            self.changes.timers[TimerKey(case_id, timer)] = wanted.get(timer)
        for timer, at in wanted.items():
            self.changes.timers[TimerKey(case_id, timer)] = at


class Coordinator:
    """See `ports.Stage`."""

    name = "coordinator"
    topics = ("cases",)

    def __init__(
        self,
        door: Door,
        store: CaseStore,
        index: Index,
        progress: Progress,
        topics: Topics,
        vault: Vault,
        metrics: Metrics,
        tenure: Tenure,
    ) -> None:
        self._door, self._store, self._progress = door, store, progress
        dead = DeadLetters(self.name, door, vault, metrics)
        self._dead, self._emitter = dead, Emitter(door, index, topics, dead, tenure)
        self._fired: dict[TimerKey, datetime] = {}

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide message by message; what the state already includes is skipped whole (PROTOCOLS 1)."""
        waves = Waves()
        views: dict[int, object] = {}
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for record in batch:
            by_partition[record.partition].append(record)
        for partition, records in sorted(by_partition.items()):
            view = _View(self._store, partition)
            fresh = [record for record in records if view.before is None or record.position > view.before]
            if fresh:
                self._partition(view, fresh, waves)
                view.check()
                views[partition] = view
        return Result(waves.all(), views)

    def _partition(self, view: _View, records: Sequence[Record], waves: Waves) -> None:
        read = [self._read(record) for record in records]
        view.load(message.case_id for _, message in read if message and not isinstance(message, _OF_NO_CASE))
        for record, (event, message) in zip(records, read, strict=True):
            if message is None or event is None:
                waves.last.append(self._dead.of(record, InvalidMessage("bad_case_event")))
            elif isinstance(message, HoldingDeclared):
                self._broadcast(view, message, record, event, waves)
            elif isinstance(message, Suppress | Published):
                self._suppress(view, message, record, event, waves)
            else:
                self._one(view, message, record, event, waves)
            view.after = record.position

    def _suppress(
        self, view: _View, message: Suppress | Published, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """A suppression is its own aggregate; what it leads to names no case but those whose purposes came back."""
        key = message.suppression
        before = view.changes.suppressions.get(key) or self._store.suppression(view.partition, key)
        outcome = suppression.decide(before, message)
        view.changes.suppressions[key] = outcome.after
        if outcome.publish:
            waves.first.append(published(outcome.after, record, event))
        waves.last += [granted_again(case_id, granted, record, event) for case_id, granted in outcome.granted]

    def _read(self, record: Record) -> tuple[CloudEvent | None, Message | None]:
        try:
            event = decode(record, max_bytes=MAX_CASE_EVENT_BYTES)
            return event, TYPES[event.type].model_validate(event.data)
        except (InvalidMessage, KeyError, ValueError):
            return None, None

    def _one(self, view: _View, message: CaseMessage, record: Record, event: CloudEvent, waves: Waves) -> None:
        if isinstance(message, HoldingDeclared):
            return
        if isinstance(message, TimerFired):
            self._fired.pop(TimerKey(message.case_id, message.timer), None)
        before = view.case(message.case_id)
        decision = decide(before, view, message, record.appended_at, self._door.registry, self._door.policies)
        if before is None and decision.case is not None and isinstance(message, Opened):
            view.changes.roots[message.case_id] = message.root
        view.take(decision, before)
        self._emitter.emit(view, decision, message, record, event, waves)

    def _broadcast(
        self, view: _View, message: HoldingDeclared, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """A new holding: every open case takes it, page by page, in messages behind whatever waits."""
        stored = self._store.open_cases(view.partition, message.after, CASES_PER_BROADCAST)
        fresh = {case_id for case_id in view.changes.cases if case_id > message.after}
        page = sorted({*stored, *fresh})[:CASES_PER_BROADCAST]
        view.load(page)
        for case_id in page:
            before = view.case(case_id)
            decision = decide(before, view, message, record.appended_at, self._door.registry, self._door.policies)
            view.take(decision, before)
            self._emitter.emit(view, decision, message, record, event, waves, case_id=case_id)
        if len(page) == CASES_PER_BROADCAST:
            rest = message.model_copy(update={"after": page[-1]})
            kind = TYPE_OF[HoldingDeclared]
            identity = name(event.source, event.id, kind, page[-1])
            again = Event(kind, SOURCE, identity, record.appended_at, rest.model_dump(mode="json"))
            waves.last.append(Outgoing("cases", message.holding, again, view.partition))

    def write(self, result: Result) -> None:
        """Write each partition's batch under its position."""
        for partition, view in result.writes.items():
            if isinstance(view, _View) and view.after is not None:
                self._store.write(partition, view.before, view.after, view.changes)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Timers that are due, and news from the indexers for the cases that wait for it."""
        messages = [
            _internal(TimerFired(case_id=key.case_id, timer=key.timer), now, partition, key.timer, stamp(at))
            for partition in partitions
            for key, at in self._store.due(partition, now, TIMERS_PER_TICK)
            if self._fire(key, now)
        ]
        return messages + self._news(partitions, now)

    def _fire(self, key: TimerKey, now: datetime) -> bool:
        """Whether to send now: a timer stays due until its event is handled, so it is not sent at every tick."""
        sent = self._fired.get(key)
        if sent is not None and now - sent < FIRE_AGAIN:
            return False
        self._fired[key] = now
        return True

    def _news(self, partitions: Sequence[int], now: datetime) -> list[Outgoing]:
        waiting = [(p, case_id, mark) for p in partitions for case_id, mark in self._store.waiting_for_index(p)]
        applied = self._progress.applied() if waiting else {}
        return [
            _internal(Applied(case_id=case_id, watermark=mark), now, partition, "applied", str(sorted(mark.items())))
            for partition, case_id, mark in waiting
            if reached(applied, mark) and self._fire(TimerKey(case_id, "applied"), now)
        ]


def _internal(message: TimerFired | Applied, now: datetime, partition: int, *content: str) -> Outgoing:
    """A message of the coordinator to itself, named by what it says, so that firing twice is one event."""
    kind = TYPE_OF[type(message)]
    identity = name(kind, message.case_id, *content)
    event = Event(kind, SOURCE, identity, now, message.model_dump(mode="json"))
    return Outgoing("cases", message.case_id, event, partition)
