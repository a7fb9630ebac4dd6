"""Every port in memory, for tests of the pure core. It passes the same contract suites as the real adapters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.continuity import Place
from expunge.domain.digest import digest, name
from expunge.domain.events import Position, Record
from expunge.domain.planning.chunks import Chunk
from expunge.domain.planning.policy.rules import Policy
from expunge.errors import Fenced, Unavailable
from expunge.ports import Batch, GaugeName, MetricName, Offsets, PartitionReader, Suspect, TimerKey, Wanted
from expunge.ports.logs import Loss, Word
from expunge.wire.cases.case import Root
from expunge.wire.forgotten import ChunksForgotten, KeyedChunk


@dataclass(slots=True)
class _Partition:
    position: Position | None = None
    cases: dict[str, Case] = field(default_factory=dict)
    roots: dict[str, Root] = field(default_factory=dict)
    chunks: dict[tuple[str, str], ChunkState] = field(default_factory=dict)
    bodies: dict[tuple[str, str], Chunk] = field(default_factory=dict)
    owners: dict[tuple[str, int, bytes], str] = field(default_factory=dict)
    timers: dict[TimerKey, datetime] = field(default_factory=dict)
    suppressions: dict[str, Suppression] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    retrainings: dict[str, Retraining] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    aside: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    keyed: dict[str, dict[str, KeyedChunk]] = field(default_factory=lambda: defaultdict(dict))


class _Reader:
    """See `ports.PartitionReader`."""

    def __init__(self, state: _Partition, cases: Callable[[Collection[str]], dict[str, Case | None]]) -> None:
        self._state, self.cases, self.position = state, cases, state.position

    @property
    def standing(self) -> Standing:
        return self._state.standing

    def suppression(self, key: str) -> Suppression | None:
        return self._state.suppressions.get(key)

    def rate(self, key: str) -> Rate | None:
        return self._state.rates.get(key)

    def retraining(self, key: str) -> Retraining | None:
        return self._state.retrainings.get(key)

    def root(self, case_id: str) -> Root | None:
        return self._state.roots.get(case_id)

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        return self._state.chunks.get((case_id, digest))

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        mine = (chunk for (case, _), chunk in self._state.chunks.items() if case == case_id)
        return next((chunk for chunk in mine if chunk.carries(command)), None)

    def live(self, case_id: str, after: str, limit: int) -> list[str]:
        mine = ((d, chunk) for (case, d), chunk in self._state.chunks.items() if case == case_id)
        return sorted(d for d, chunk in mine if chunk.live and d > after)[:limit]

    def body(self, case_id: str, digest: str) -> Chunk:
        found = self._state.bodies.get((case_id, digest))
        if found is None:
            raise Unavailable("the body of a chunk is missing: the store forgot it")
        return found

    def digests(self, case_id: str, generation: int) -> list[str]:
        found = self._state.chunks.items()
        return sorted(d for (case, d), chunk in found if case == case_id and chunk.generation == generation)

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        return sorted(
            d
            for (case, d), chunk in self._state.chunks.items()
            if (case, chunk.generation, chunk.summary.stage) == (case_id, generation, stage) and chunk.waits
        )[:limit]


class MemoryCaseStore:
    """The coordinator's state, and the bodies of chunks beside it."""

    def __init__(self) -> None:
        self.states: dict[int, _Partition] = defaultdict(_Partition)

    def read(self, wanted: Mapping[int, Wanted]) -> dict[int, PartitionReader]:
        """See `ports.CaseStore.read`."""
        return {partition: self.reader(partition) for partition in wanted}

    def read_cases(self, partition: int, case_ids: Collection[str]) -> dict[str, Case | None]:
        """Cases that exist, of those asked for."""
        known = self.states[partition].cases
        return {case_id: known[case_id] for case_id in case_ids if case_id in known}

    def reader(self, partition: int) -> _Reader:
        """See `ports.CaseStore.reader`."""
        return _Reader(self.states[partition], lambda case_ids: self.read_cases(partition, case_ids))

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """See `ports.CaseStore.positions`."""
        return {partition: self.states[partition].position for partition in partitions}

    def write(self, batches: Sequence[Batch]) -> None:
        """See `ports.CaseStore.write`."""
        refused = [batch for batch in batches if not self._written(batch)]
        if refused:
            raise Fenced("the state of a partition is newer than this process believes")

    def _written(self, batch: Batch) -> bool:
        state, changes = self.states[batch.partition], batch.changes
        if state.position != batch.before:
            return False
        state.position = batch.after
        state.cases |= changes.cases
        state.roots |= changes.roots
        for case_id, digests in changes.forgotten.items():
            state.chunks = {key: each for key, each in state.chunks.items() if key[0] != case_id}
            gone = changes.before[case_id].forgotten if case_id in changes.before else 0
            state.owners = {key: each for key, each in state.owners.items() if key[:2] != (case_id, gone)}
            for each in digests:
                state.bodies.pop((case_id, each), None)
        state.chunks |= {(case, digest): c for case, chunks in changes.chunks.items() for digest, c in chunks.items()}
        state.suppressions |= changes.suppressions
        state.rates |= changes.rates
        state.retrainings |= changes.retrainings
        state.standing = changes.standing or state.standing
        for case_id, record in changes.set_aside:
            state.aside[case_id].append(record)
        for case_id, number in changes.taken_up.items():
            del state.aside[case_id][:number]
        for key, at in changes.timers.items():
            if at is None:
                state.timers.pop(key, None)
            else:
                state.timers[key] = at
        return True

    def case_ids(self, partition: int) -> Iterator[str]:
        """Every case of a partition."""
        yield from sorted(self.states[partition].cases)

    def due(self, partition: int, now: datetime, limit: int, skip: int = 0) -> list[tuple[TimerKey, datetime]]:
        """See `ports.CaseStore.due`."""
        found = sorted((at, key) for key, at in self.states[partition].timers.items() if at <= now)
        return [(key, at) for at, key in found[skip : skip + limit]]

    def waiting_for_index(self, partition: int) -> list[tuple[str, Offsets]]:
        """See `ports.CaseStore.waiting_for_index`."""
        cases = self.states[partition].cases.values()
        return [(case.case_id, case.watermark) for case in cases if case.awaits_index]

    def live_cases(self, partition: int, after: str, limit: int) -> list[str]:
        """See `ports.CaseStore.live_cases`."""
        cases = self.states[partition].cases.values()
        return sorted(each.case_id for each in cases if each.alive and each.case_id > after)[:limit]

    def set_aside(self, partition: int, case_id: str, at: int) -> Record | None:
        """See `ports.CaseStore.set_aside`."""
        waiting = self.states[partition].aside.get(case_id, [])
        return waiting[at] if at < len(waiting) else None

    def forgotten(self, partition: int, case_ids: Collection[str]) -> dict[str, Case]:
        """See `sweep.ports.Forgotten.forgotten`."""
        return {k: case for k, case in self.read_cases(partition, case_ids).items() if case and case.forgotten}

    def put_keyed(self, partition: int, kept: ChunksForgotten) -> None:
        """See `rebuild.ports.States.put_keyed`."""
        self.states[partition].keyed[kept.case_id] |= {each.chunk: each for each in kept.chunks}

    def keyed(self, partition: int, case_id: str) -> dict[str, KeyedChunk]:
        """See `rebuild.ports.States.keyed`."""
        return dict(self.states[partition].keyed.get(case_id, {}))

    def drop_keyed(self, partition: int, case_id: str) -> None:
        """See `rebuild.ports.States.drop_keyed`."""
        self.states[partition].keyed.pop(case_id, None)

    def owners(self, partition: int, case_id: str, names: Sequence[bytes], after: int = 0) -> list[str | None]:
        """See `ports.ChunkStore.owners`."""
        known = self.states[partition].owners
        return [known.get((case_id, after, name)) for name in names]

    def bodies(self, partition: int, case_id: str, digests: Sequence[str]) -> list[Chunk]:
        """See `ports.ChunkStore.bodies`."""
        return [self.reader(partition).body(case_id, digest) for digest in digests]

    def put_chunks(self, partition: int, chunks: Iterable[tuple[Chunk, Sequence[bytes]]]) -> list[bool]:
        """See `ports.ChunkStore.put_chunks`."""
        state = self.states[partition]
        written = []
        for chunk, names in chunks:
            digest = chunk.digest
            owners = {state.owners.get((chunk.case_id, chunk.after, name), digest) for name in names}
            written.append(owners <= {digest})
            if written[-1]:
                state.bodies[chunk.case_id, digest] = chunk
                state.owners |= {(chunk.case_id, chunk.after, name): digest for name in names}
        return written


class MemoryNotaryStore:
    """What the notary has seen."""

    def __init__(self) -> None:
        self.positions: dict[int, Position] = {}
        self.seen: dict[str, dict[int, str]] = defaultdict(dict)

    def position(self, partition: int) -> Position | None:
        """See `ports.NotaryStore.position`."""
        return self.positions.get(partition)

    def known(self, case_ids: Sequence[str]) -> dict[str, dict[int, str]]:
        """See `ports.NotaryStore.known`."""
        return {case_id: dict(self.seen.get(case_id, {})) for case_id in case_ids}

    def write(
        self,
        partition: int,
        before: Position | None,
        after: Position,
        seen: Mapping[str, Mapping[int, str]],
        forgotten: Collection[str] = (),
    ) -> None:
        """See `ports.NotaryStore.write`."""
        if self.positions.get(partition) != before:
            raise Fenced("the notary's state is newer than this process believes")
        self.positions[partition] = after
        for case_id in forgotten:
            self.seen.pop(case_id, None)
        for case_id, facts in seen.items():
            self.seen[case_id] |= facts


class UnsafeMemoryVault:
    """Seals nothing, and draws salts from a counter: for tests only."""

    def __init__(self) -> None:
        self._drawn = 0

    def salt(self) -> str:
        """See `ports.Vault.salt`."""
        self._drawn += 1
        return name("salt", self._drawn) * 2

    def seal_for(self, public_key: str, plain: bytes) -> str:
        """See `ports.Vault.seal_for`."""
        return digest(public_key, plain).hex()

    def seal_dead_letter(self, place: str, payload: bytes) -> str:
        """See `ports.Vault.seal_dead_letter`."""
        return digest(place, payload).hex()


class MemoryMetrics:
    """Counters that a test can read."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], float] = defaultdict(float)
        self.gauges: dict[tuple[str, str], float] = {}

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""
        self.counts[name, label] += amount

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """See `ports.Metrics.gauge`."""
        self.gauges[name, label] = value


class MemoryLosses:
    """Partitions that stand still."""

    def __init__(self) -> None:
        self.places: dict[Place, Loss] = {}
        self.words: dict[Place, Word] = {}

    def note(self, place: Place, loss: Loss) -> None:
        """See `ports.logs.Losses.note`."""
        self.places[place] = loss

    def known(self) -> dict[Place, Loss]:
        """See `ports.logs.Losses.known`."""
        return dict(self.places)

    def acknowledge(self, place: Place, word: Word) -> None:
        """See `ports.logs.Losses.acknowledge`."""
        self.words[place] = word

    def word(self, place: Place) -> Word | None:
        """See `ports.logs.Losses.word`."""
        return self.words.get(place)

    def settled(self, place: Place) -> None:
        """See `ports.logs.Losses.settled`."""
        self.places.pop(place, None)
        self.words.pop(place, None)


class MemorySuspects:
    """What has ended processes."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, int], Suspect] = {}
        self.parks: dict[tuple[str, int, int], str] = {}

    def known(self) -> dict[tuple[str, int], Suspect]:
        """See `ports.Suspects.known`."""
        return dict(self.places)

    def note(self, topic: str, partition: int, suspect: Suspect) -> None:
        """See `ports.Suspects.note`."""
        self.places[topic, partition] = suspect

    def forget(self, topic: str, partition: int) -> None:
        """See `ports.Suspects.forget`."""
        self.places.pop((topic, partition), None)

    def parked(self) -> dict[tuple[str, int, int], str]:
        """See `ports.Suspects.parked`."""
        return dict(self.parks)

    def park(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """See `ports.Suspects.park`."""
        self.parks[topic, partition, offset] = reason

    def unpark(self, topic: str, partition: int, offset: int) -> bool:
        """See `ports.Suspects.unpark`."""
        return self.parks.pop((topic, partition, offset), None) is not None


class NoWait:
    """Time does not pass."""

    def wait(self, seconds: float) -> None:
        """See `ports.Waiter.wait`."""


class MemoryPolicies:
    """Policies by digest, all in memory. See `domain.planning.policy.rules.Policies`."""

    def __init__(self, current: Policy, *pinned: Policy) -> None:
        self.current = current
        self._known = {policy.digest: policy for policy in (current, *pinned)}

    def change(self, policy: Policy) -> None:
        """From now on, this one."""
        self.current = policy
        self._known[policy.digest] = policy

    def restore(self, digest: str, policy: Policy) -> None:
        """One that cases are bound to."""
        self._known[digest] = policy

    def of(self, digest: str) -> Policy:
        """A policy by its digest.

        Raises:
            Unavailable: nobody has named it here.
        """
        if digest not in self._known:
            raise Unavailable("a policy that a case is bound to is not known here")
        return self._known[digest]
