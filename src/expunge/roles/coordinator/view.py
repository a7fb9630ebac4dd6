"""The state of one `cases` partition as a batch sees it while it is decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.decide import FORGET, CaseDecision, timers
from expunge.domain.aggregates.case.overlay import Overlay
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.decide import TIMER as RETRAIN_TIMER
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Frozen, Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.events import EARLIEST, Position, Record
from expunge.domain.planning.chunks import Chunk
from expunge.domain.values import A_DAY
from expunge.domain.vocabulary import OVER
from expunge.errors import ConfigurationError, Fenced, NotUnderstood, Unavailable
from expunge.ports import CaseStore, Changes, Gone, PartitionReader, TimerKey
from expunge.wire.cases.case import Root
from expunge.wire.cases.said import Aggregate, CaseEvent

LATER = timedelta(minutes=1)
"""When a timer fires again that has fired while its moment had passed already."""


_ABSENT = object()


class Unheard(Exception):
    """A case cannot hear a message, which may have changed half of what it changes: the batch is decided anew."""

    def __init__(self, position: Position, case_id: str, reason: str) -> None:
        super().__init__(reason)
        self.position, self.case_id, self.reason = position, case_id, reason


class Kept:
    """See `CaseReader`: what was read once. Nothing else writes it while it is decided on, or the write is refused."""

    def __init__(self, reader: CaseReader) -> None:
        self._reader = reader
        self._chunks: dict[tuple[str, str], ChunkState | None] = {}
        self._bodies: dict[tuple[str, str], Chunk] = {}
        self._forgotten: set[str] = set()
        """Cases whose stored chunks are not there any more, once this batch is written."""

    def forget(self, case_id: str) -> None:
        """The stored chunks of a case count no more."""
        self._forgotten.add(case_id)

    def root(self, case_id: str) -> Root | None:
        """What a case was opened with."""
        return self._reader.root(case_id)

    def digests(self, case_id: str, generation: int) -> list[str]:
        """All chunks of a generation."""
        return [] if case_id in self._forgotten else self._reader.digests(case_id, generation)

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """Chunks to which their stage has not come yet."""
        return [] if case_id in self._forgotten else self._reader.waiting(case_id, generation, stage, limit)

    def live(self, case_id: str, after: str, limit: int) -> list[str]:
        """Live chunks behind one."""
        return [] if case_id in self._forgotten else self._reader.live(case_id, after, limit)

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """The state of one chunk."""
        key = case_id, digest
        if case_id in self._forgotten:
            return None
        if key not in self._chunks:
            self._chunks[key] = self._reader.chunk(case_id, digest)
        return self._chunks[key]

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """The chunk that a command carries."""
        found = None if case_id in self._forgotten else self._reader.chunk_of(case_id, command)
        if found is not None:
            self._chunks[case_id, found.summary.digest] = found
        return found

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk."""
        key = case_id, digest
        if key not in self._bodies:
            self._bodies[key] = self._reader.body(case_id, digest)
        return self._bodies[key]


class View:
    """The state of one partition with the changes of this batch laid over it; nothing is written through it."""

    def __init__(
        self, store: CaseStore, partition: int, reader: PartitionReader | None = None, *, suspicious: bool = False
    ) -> None:
        self._store, self.partition, self.suspicious = store, partition, suspicious
        self._reader = reader or store.reader(partition)
        self.before: Position | None = self._reader.position
        self.after: Position | None = None
        self.now = EARLIEST
        """When the last message was appended that was decided on."""
        self.changes = Changes()
        self._loaded: dict[str, Case | None] = {}
        self._standing: Standing | None = None
        self.unheard: dict[tuple[Position, str], str] = {}
        """(message, case) -> why it cannot be heard, as an earlier attempt at this batch has found."""
        self._roots: dict[str, Root] = {}
        self.gone: list[tuple[Gone, datetime]] = []
        """What systems have said is purged, and when a case heard so: marked when the batch is decided on."""
        self._kept = Kept(self._reader)
        self.chunks = Overlay(self._kept, self.changes.chunks)
        """The large part of the state of cases, with what this batch has changed laid over it."""

    def anew(self, unheard: Unheard) -> View:
        """The same state without any change, and with what turned out not to be heard."""
        view = View(self._store, self.partition, self._reader, suspicious=self.suspicious)
        view.before = self.before
        view.unheard = {**self.unheard, (unheard.position, unheard.case_id): unheard.reason}
        return view

    @contextmanager
    def hearing(self, record: Record, case_id: str) -> Iterator[None]:
        """A case hears a message.

        Raises:
            Unheard: it cannot, for a newer version wrote something that it needs or, where the message has ended
                processes, for any reason.
        """
        try:
            yield
        except NotUnderstood as error:
            raise Unheard(record.position, case_id, error.reason) from error
        except (Unheard, Unavailable, Fenced, ConfigurationError):
            raise
        except Exception as error:
            if not self.suspicious:
                raise
            raise Unheard(record.position, case_id, type(error).__name__) from error

    def reason(self, record: Record, case_id: str) -> str:
        """Why a case cannot hear a message; empty where nothing is known against it."""
        return self.unheard.get((record.position, case_id), "")

    def load(self, case_ids: Iterable[str]) -> None:
        """Fetch the cases that a batch concerns."""
        self._loaded |= self._reader.cases(sorted(set(case_ids) - self._loaded.keys()))

    def case(self, case_id: str) -> Case | None:
        """A case as it stands after what this batch has decided so far.

        Raises:
            NotUnderstood: a newer version wrote it.
        """
        if case_id in self.changes.cases:
            return self.changes.cases[case_id]
        if case_id in self._loaded and self._loaded[case_id] is None:
            raise NotUnderstood("unknown_state")
        return self._loaded.get(case_id)

    def is_there(self, case_id: str) -> bool:
        """Whether there is a case of that id, whoever can read it."""
        return case_id in self.changes.cases or case_id in self._loaded

    def can_read(self, case_id: str) -> bool:
        """Whether this version can read what a newer one may have written of a case."""
        return case_id in self.changes.cases or self._loaded.get(case_id, _ABSENT) is not None

    def root(self, case_id: str) -> Root:
        """What a case was opened with."""
        if case_id in self.changes.roots:
            return self.changes.roots[case_id]
        if case_id not in self._roots:
            root = self._reader.root(case_id)
            if root is None:
                raise Unavailable("the root of a case is missing: the store forgot it; rebuild")
            self._roots[case_id] = root
        return self._roots[case_id]

    def forget(self, root: Root, chunks: Iterable[str]) -> None:
        """Take away the chunks of a case; of what it was opened with this root stays."""
        self.changes.forgotten[root.case_id] = (*self.changes.forgotten.get(root.case_id, ()), *chunks)
        self.changes.roots[root.case_id] = root
        self.changes.chunks.pop(root.case_id, None)
        self._kept.forget(root.case_id)

    @property
    def standing(self) -> Standing:
        """What every case of the partition must obey, after what this batch has heard so far."""
        if self.changes.standing is not None:
            return self.changes.standing
        if self._standing is None:
            self._standing = self._reader.standing
        return self._standing

    def rate(self, key: str) -> Rate | None:
        """What was counted for a publisher or system."""
        return self.changes.rates.get(key) or self._reader.rate(key)

    def stored_rate(self, key: str) -> Rate | None:
        """The same before this batch."""
        return self._reader.rate(key)

    def suppression(self, key: str) -> Suppression | None:
        """What was said about one suppression."""
        return self.changes.suppressions.get(key) or self._reader.suppression(key)

    def aggregate_of(self, message: CaseEvent) -> Aggregate:
        """What a message is for. One for nobody is a case's to refuse."""
        other = message.or_else
        if other is None or self.is_there(message.key):
            return message.aggregate
        known = self.retraining if other is Aggregate.RETRAINING else self.rate
        return message.aggregate if known(message.key) is None else other

    def retraining(self, key: str) -> Retraining | None:
        """What is known of one model that is made anew for several cases."""
        return self.changes.retrainings.get(key) or self._reader.retraining(key)

    def live_cases(self, after: str, limit: int) -> list[str]:
        """See `CaseStore.live_cases`: what this batch has decided on stands in its place."""
        changed = self.changes.cases
        stored = self._store.live_cases(self.partition, after, limit + len(changed))
        mine = {case_id for case_id, case in changed.items() if case.alive and case_id > after}
        return sorted({*mine, *(each for each in stored if each not in changed)})[:limit]

    def take_retraining(self, before: Retraining | None, after: Retraining) -> None:
        """Lay a decision about a model over the state."""
        self.changes.retrainings[after.retraining] = after
        set_retrain_timer(self.changes, before, after)

    def fired(self, key: TimerKey, now: datetime) -> None:
        """A timer has fired and was decided on: it is set for when the state wants it next, or for nothing.

        One that is still wanted for a moment that has passed waits for something else than time, which will say so
        itself; it is looked at again all the same, a little later, so that no other timer has to wait behind it.
        """
        wanted = self._wanted(key)
        if wanted is not None and wanted <= now:
            wanted = now + (A_DAY if key.timer == FORGET else LATER)
        self.changes.timers[key] = wanted

    def _wanted(self, key: TimerKey) -> datetime | None:
        """For when the state wants a timer; None: for nothing."""
        if key.timer == RETRAIN_TIMER:
            known = self.retraining(key.case_id)
            return known.timer if known else None
        case = self.case(key.case_id)
        if case is None:
            return None
        name, _, digest = key.timer.partition(":")
        if name == "chunk" and case.status not in OVER:
            chunk = self.chunks.chunk(key.case_id, digest)
            return chunk.next_at if chunk else None
        return timers(case).get(key.timer)

    def freeze(self, case_id: str, frozen: Frozen | None) -> None:
        """Let a case wait, or go on."""
        self.changes.standing = self.standing.with_frozen(case_id, frozen)

    def set_aside(self, case_id: str, record: Record) -> None:
        """A message waits for a frozen case, behind what waits there."""
        frozen = self.standing.frozen[case_id]
        self.freeze(case_id, frozen.model_copy(update={"waiting": frozen.waiting + 1}))
        self.changes.set_aside.append((case_id, record))

    def first_aside(self, case_id: str) -> Record | None:
        """The next message that waits for a frozen case."""
        at, frozen = self.changes.taken_up[case_id], self.standing.frozen[case_id]
        fresh = [record for case, record in self.changes.set_aside if case == case_id]
        kept = self._store.set_aside(self.partition, case_id, at)
        if kept is None and len(fresh) >= frozen.waiting > 0:  # set aside by this very batch
            kept = fresh[len(fresh) - frozen.waiting]
        return kept

    def take_up(self, case_id: str) -> Record | None:
        """The same; it waits no longer."""
        kept = self.first_aside(case_id)
        if kept is None:
            return None
        frozen = self.standing.frozen[case_id]
        self.changes.taken_up[case_id] += 1
        counts = {"waiting": frozen.waiting - 1, "taken": frozen.taken + 1}
        self.freeze(case_id, frozen.model_copy(update=counts))
        return kept

    def take(self, decision: CaseDecision, before: Case | None) -> None:
        """Lay a decision over the state."""
        if decision.state is None:
            return
        case_id = decision.state.case_id
        if before is not None and case_id not in self.changes.cases:
            self.changes.before[case_id] = before
        set_chunk_timers(
            self.changes, decision.state, decision.chunks, lambda digest: self.chunks.chunk(case_id, digest)
        )
        self.changes.chunks.setdefault(case_id, {}).update(decision.chunks)
        self.changes.cases[case_id] = decision.state
        standing = self.standing
        settled = standing.settled(before.words if before else frozenset(), decision.state.words)
        if settled is not standing:
            self.changes.standing = settled
        set_case_timers(self.changes, before, decision.state)


def set_retrain_timer(changes: Changes, before: Retraining | None, after: Retraining) -> None:
    """When the aggregate of a model must be looked at again."""
    if after.timer is not None or (before is not None and before.timer is not None):
        changes.timers[TimerKey(after.retraining, RETRAIN_TIMER)] = after.timer


def set_case_timers(changes: Changes, before: Case | None, after: Case) -> None:
    """When a case must be, where that has changed."""
    set_before, wanted = timers(before) if before else {}, timers(after)
    for timer in set_before.keys() | wanted.keys():
        if set_before.get(timer) != wanted.get(timer):
            changes.timers[TimerKey(after.case_id, timer)] = wanted.get(timer)


def set_chunk_timers(
    changes: Changes, case: Case, chunks: Mapping[str, ChunkState], before: Callable[[str], ChunkState | None]
) -> None:
    """When its chunks must be: those that were changed, and what stood of each before."""
    for digest, chunk in chunks.items():
        earlier = before(digest)
        wanted = None if case.status in OVER else chunk.next_at  # what ends has no timers
        if wanted != (earlier.next_at if earlier else None):
            changes.timers[TimerKey(case.case_id, f"chunk:{digest}")] = wanted
