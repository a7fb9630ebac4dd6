"""Every port in memory, for tests of the pure core. It passes the same contract suites as the real adapters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from expunge.domain.case.messages import Root
from expunge.domain.case.state import Case, ChunkState
from expunge.domain.digest import digest, name
from expunge.domain.events import Position
from expunge.domain.plan import MAX_EXCLUDED, Chunk
from expunge.domain.scope import Arrival
from expunge.domain.statement import CONTAINER_FLAG, DIGEST_BYTES, PASS_THROUGH_FLAG, Row, Statement, reach_of
from expunge.domain.vocabulary import CLOSED
from expunge.domain.walk import Step, Visit
from expunge.errors import Fenced, Unavailable
from expunge.ports import SHARDS, Changes, IndexStats, Mark, MetricName, Offsets, TimerKey


@dataclass(slots=True)
class _Marked:
    owner: str
    reach: Arrival
    digest: bytes
    widened: str = ""
    clean_since: int = 0


class MemoryIndex:
    """The lineage index as dictionaries."""

    def __init__(self) -> None:
        self.raw: dict[bytes, bytes] = {}
        self.children: dict[bytes, list[bytes]] = defaultdict(list)
        self.subjects: dict[bytes, list[bytes]] = defaultdict(list)
        self.sources: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self.marked: dict[bytes, dict[str, _Marked]] = defaultdict(dict)
        self.held: list[bytes] = []
        self.exclusions: dict[tuple[str, bytes], set[bytes]] = defaultdict(set)

    def put(self, statements: Sequence[tuple[bytes, Statement]]) -> list[Row]:
        """See `ports.Index.put`."""
        for key, statement in statements:
            known = self.raw.get(key)
            row = (Row.decode(known) if known else Row(statement.asset)).merged(statement)
            self.raw[key] = row.encode()
            for source in statement.data_sources:
                _add(self.sources[source, key[0] % SHARDS], key)
        return [Row.decode(self.raw[key]) for key, _ in statements]

    def link_children(self, edges: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """See `ports.Index.link_children`."""
        for parent, child in edges:
            _add(self.children[parent], child)
        return self.marks([parent for parent, _ in edges])

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """See `ports.Index.link_subjects`."""
        for subject, asset in members:
            _add(self.subjects[subject], asset)
        return self.marks([subject for subject, _ in members])

    def marks(self, nodes: Sequence[bytes]) -> list[list[Mark]]:
        """See `ports.Index.marks`."""
        return [
            [
                Mark(case, (marked.owner[:16], marked.widened[:16]), marked.reach, marked.digest, marked.clean_since)
                for case, marked in self.marked.get(node, {}).items()
            ]
            for node in nodes
        ]

    def set_clean(self, case_id: str, nodes: Sequence[bytes], since_ms: int) -> None:
        """See `ports.Index.set_clean`."""
        for node in nodes:
            if case_id in self.marked[node]:
                self.marked[node][case_id].clean_since = since_ms

    def mark_roots(self, case_id: str, task_id: str, nodes: Sequence[bytes]) -> None:
        """See `ports.Index.mark_roots`."""
        for node in nodes:
            self.marked[node].setdefault(case_id, _Marked(task_id, Arrival.THROUGH, b""))

    def subject_assets(self, subject: bytes) -> list[bytes]:
        """See `ports.Index.subject_assets`."""
        return list(self.subjects.get(subject, ()))

    def source_sizes(self, data_source: str) -> list[int]:
        """See `ports.Index.source_sizes`."""
        return [len(self.sources.get((data_source, shard), ())) for shard in range(SHARDS)]

    def source_assets(self, data_source: str, shard: int) -> list[bytes]:
        """See `ports.Index.source_assets`."""
        return list(self.sources.get((data_source, shard), ()))

    def visit(
        self, case_id: str, task_id: str, steps: Sequence[Step], *, bounded: bool, again: bool, lease_until_ms: int
    ) -> list[Visit]:
        """See `ports.Index.visit`; memory has no clock, so a lease never passes."""
        del lease_until_ms
        return [self._visit(case_id, task_id, step, bounded=bounded, again=again) for step in steps]

    def _visit(self, case_id: str, task_id: str, step: Step, *, bounded: bool, again: bool) -> Visit:
        key, arrival, own = step
        raw = self.raw.get(key)
        flags = raw[DIGEST_BYTES] if raw else PASS_THROUGH_FLAG
        if bounded and arrival is Arrival.CONTAINERS and not flags:
            return Visit(key, seen=False, skipped=True, reach=arrival, row=None, children=())
        mark = self._mark(case_id, task_id, key, reach_of(arrival, flags, bounded=bounded))
        seen = task_id not in {mark.owner, mark.widened} and not own
        if not seen:
            mark.digest = raw[:DIGEST_BYTES] if raw else b""
        reread = again and bool(flags & CONTAINER_FLAG)
        if reread:
            mark.clean_since = 0
        children = () if seen and not reread else tuple(self.children.get(key, ()))
        row = Row.decode(raw) if raw else None
        return Visit(key, seen=seen, skipped=False, reach=mark.reach, row=row, children=children)

    def _mark(self, case_id: str, task_id: str, key: bytes, reach: Arrival) -> _Marked:
        mark = self.marked[key].setdefault(case_id, _Marked(task_id, reach, b""))
        if reach.width > mark.reach.width:
            mark.reach = reach
            mark.widened = mark.widened if mark.owner == task_id else task_id
        return mark

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.rows`."""
        return [Row.decode(self.raw[key]) if key in self.raw else None for key in keys]

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        _add(self.held, key)

    def holdings(self) -> list[bytes]:
        """See `ports.Index.holdings`."""
        return list(self.held)

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """See `ports.Index.exclude`."""
        for container, keys in parents.items():
            kept = self.exclusions[case_id, container]
            kept.update(sorted(set(keys) - kept)[: max(0, MAX_EXCLUDED + 1 - len(kept))])

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """See `ports.Index.excluded`."""
        return sorted(self.exclusions[case_id, container])

    def stats(self) -> IndexStats:
        """See `ports.Index.stats`."""
        return IndexStats(
            assets=len(self.raw),
            edges=sum(map(len, self.children.values())),
            subjects=len(self.subjects),
            marks=sum(map(len, self.marked.values())),
            buckets=1,
        )


def _add(members: list[bytes], key: bytes) -> None:
    if key not in members:
        members.append(key)


@dataclass(slots=True)
class _Partition:
    position: Position | None = None
    cases: dict[str, Case] = field(default_factory=dict)
    roots: dict[str, Root] = field(default_factory=dict)
    chunks: dict[tuple[str, str], ChunkState] = field(default_factory=dict)
    bodies: dict[tuple[str, str], Chunk] = field(default_factory=dict)
    owners: dict[tuple[str, bytes], str] = field(default_factory=dict)
    timers: dict[TimerKey, datetime] = field(default_factory=dict)
    flow: Counter[str] = field(default_factory=Counter)


class _Reader:
    """The large part of one partition's state."""

    def __init__(self, state: _Partition) -> None:
        self._state = state

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        return self._state.chunks.get((case_id, digest))

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        mine = (chunk for (case, _), chunk in self._state.chunks.items() if case == case_id)
        return next((chunk for chunk in mine if chunk.command_id == command), None)

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
            if (case, chunk.generation, chunk.summary.stage) == (case_id, generation, stage)
            and chunk.commandable
            and not chunk.attempt
        )[:limit]


class MemoryCaseStore:
    """The coordinator's state, and the bodies of chunks beside it."""

    def __init__(self) -> None:
        self.states: dict[int, _Partition] = defaultdict(_Partition)

    def position(self, partition: int) -> Position | None:
        """See `ports.CaseStore.position`."""
        return self.states[partition].position

    def cases(self, partition: int, case_ids: Sequence[str]) -> dict[str, Case]:
        """See `ports.CaseStore.cases`."""
        known = self.states[partition].cases
        return {case_id: known[case_id] for case_id in case_ids if case_id in known}

    def root(self, partition: int, case_id: str) -> Root | None:
        """See `ports.CaseStore.root`."""
        return self.states[partition].roots.get(case_id)

    def reader(self, partition: int) -> _Reader:
        """See `ports.CaseStore.reader`."""
        return _Reader(self.states[partition])

    def write(self, partition: int, before: Position | None, after: Position, changes: Changes) -> None:
        """See `ports.CaseStore.write`."""
        state = self.states[partition]
        if state.position != before:
            raise Fenced("the state of this partition is newer than this process believes")
        state.position = after
        state.cases |= changes.cases
        state.roots |= changes.roots
        state.chunks |= changes.chunks
        state.flow.update(changes.flow)
        for key, at in changes.timers.items():
            if at is None:
                state.timers.pop(key, None)
            else:
                state.timers[key] = at

    def due(self, partition: int, now: datetime, limit: int) -> list[tuple[TimerKey, datetime]]:
        """See `ports.CaseStore.due`."""
        found = sorted((at, key) for key, at in self.states[partition].timers.items() if at <= now)
        return [(key, at) for at, key in found[:limit]]

    def waiting_for_index(self, partition: int) -> list[tuple[str, Offsets]]:
        """See `ports.CaseStore.waiting_for_index`."""
        return [(case.case_id, case.watermark) for case in self.states[partition].cases.values() if case.watermark]

    def flow(self, partition: int) -> dict[str, int]:
        """See `ports.CaseStore.flow`."""
        return dict(self.states[partition].flow)

    def open_cases(self, partition: int, after: str, limit: int) -> list[str]:
        """See `ports.CaseStore.open_cases`."""
        cases = self.states[partition].cases.values()
        return sorted(c.case_id for c in cases if c.status not in CLOSED and c.case_id > after)[:limit]

    def owners(self, partition: int, case_id: str, names: Sequence[bytes]) -> list[str | None]:
        """See `ports.ChunkStore.owners`."""
        known = self.states[partition].owners
        return [known.get((case_id, name)) for name in names]

    def bodies(self, partition: int, case_id: str, digests: Sequence[str]) -> list[Chunk]:
        """See `ports.ChunkStore.bodies`."""
        return [self.reader(partition).body(case_id, digest) for digest in digests]

    def put_chunks(self, partition: int, chunks: Sequence[tuple[Chunk, Sequence[bytes]]]) -> list[bool]:
        """See `ports.ChunkStore.put_chunks`."""
        state = self.states[partition]
        written = []
        for chunk, names in chunks:
            digest = chunk.digest
            owners = {state.owners.get((chunk.case_id, name), digest) for name in names}
            written.append(owners <= {digest})
            if written[-1]:
                state.bodies[chunk.case_id, digest] = chunk
                state.owners |= {(chunk.case_id, name): digest for name in names}
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
        self, partition: int, before: Position | None, after: Position, seen: Mapping[str, Mapping[int, str]]
    ) -> None:
        """See `ports.NotaryStore.write`."""
        if self.positions.get(partition) != before:
            raise Fenced("the notary's state is newer than this process believes")
        self.positions[partition] = after
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

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""
        self.counts[name, label] += amount


class NoWait:
    """Time does not pass."""

    def wait(self, seconds: float) -> None:
        """See `ports.Waiter.wait`."""
