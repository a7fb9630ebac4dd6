"""The lineage index in memory; see `memory`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from expunge.domain.limits import MAX_EXCLUDED
from expunge.domain.lineage.marks import TASK_DIGITS, Mark, MarkState, is_gone
from expunge.domain.lineage.row import CONTAINER, DIGEST_BYTES, Combination, Row, collected_of, combination_of, flags_of
from expunge.domain.lineage.walk import Trip, Visit, boundary, reach_of
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, data_source_node, shard_of
from expunge.errors import Fenced
from expunge.ports import Gone, Made, Peek, Put, Rule, Said

T = TypeVar("T")
HUB = 128
"""Children that come along with a visit; more are read in shards."""


@dataclass(slots=True)
class _Marked:
    owner: str
    reach: Arrival
    digest: bytes
    widened: str = ""
    state: MarkState = MarkState.OPEN
    since_ms: int = 0
    until: int = 0
    again: bool = False
    """Of what is gone: it was stated since."""


class MemoryIndex:
    """The lineage index as dictionaries. Its clock stands at `now_ms`, for leases."""

    def __init__(self) -> None:
        self.now_ms, self.hub = 1, HUB
        self.raw: dict[bytes, bytes] = {}
        self.combinations: dict[bytes, Combination] = {}
        self.groups: dict[Group, dict[bytes, None]] = defaultdict(dict)
        self.marked: dict[bytes, dict[str, _Marked]] = defaultdict(dict)
        self.held: dict[bytes, None] = {}
        self.exclusions: dict[tuple[str, bytes], set[bytes]] = defaultdict(set)
        self.watched: dict[bytes, dict[str, bytes]] = defaultdict(dict)

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """See `ports.Index.begin`: done at once."""
        done = work()
        return lambda: done

    def put(self, said: Sequence[Said]) -> list[Put]:
        """See `ports.Index.put`."""
        for key, fresh, at_ms in said:
            (known,) = self.rows([key])
            row = known.merged(fresh) if known else fresh
            self.combinations[row.combination.digest] = row.combination
            self.raw[key] = row.encode()
            for source in row.combination.data_sources:
                self.groups[Group(GroupKind.SOURCE, data_source_node(source))][key] = None
            for mark in self.marked[key].values():
                if at_ms and mark.state in {MarkState.OPEN, MarkState.RESTATED}:
                    mark.state, mark.since_ms = MarkState.RESTATED, max(mark.since_ms, at_ms)
                elif mark.state is MarkState.GONE and at_ms > mark.since_ms:
                    mark.again = True
        return [Put(self.raw[key], self.marks([key])[0], list(self.watched[key].items())) for key, _, _ in said]

    def link_children(self, edges: Sequence[tuple[bytes, bytes]], made: Sequence[Made] = ()) -> list[Sequence[Mark]]:
        """See `ports.Index.link_children`; nothing is gained here by leaving marks out."""
        del made
        return self._link(GroupKind.CHILDREN, edges)

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """See `ports.Index.link_subjects`."""
        return self._link(GroupKind.SUBJECT, members)

    def _link(self, kind: GroupKind, links: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        for node, member in links:
            self.groups[Group(kind, node)][member] = None
        return self.marks([node for node, _ in links])

    def marks(self, nodes: Sequence[bytes]) -> list[Sequence[Mark]]:
        """See `ports.Index.marks`."""
        return [[_mark(case, marked) for case, marked in self.marked.get(node, {}).items()] for node in nodes]

    def watchers(self, keys: Sequence[bytes]) -> list[Sequence[tuple[str, bytes]]]:
        """See `ports.Index.watchers`."""
        return [list(self.watched.get(key, {}).items()) for key in keys]

    def _lease(self, until_ms: int) -> None:
        if until_ms and self.now_ms > until_ms:
            raise Fenced("the lease has passed")

    def set_state(
        self,
        case_id: str,
        nodes: Sequence[bytes],
        state: MarkState,
        since_ms: int,
        lease_until_ms: int = 0,
        task_id: str = "",
        *,
        again: bool = False,
    ) -> list[bytes]:
        """See `ports.Index.set_state`; of what is gone, `Gone.again`."""
        self._lease(lease_until_ms)
        returned = []
        for node in sorted(set(nodes)):
            mark = self.marked[node].get(case_id)
            later = mark and state is mark.state is MarkState.GONE and mark.since_ms >= since_ms
            if not mark or later or (state is MarkState.OPEN and mark.state is MarkState.RESTATED):
                continue
            if state is MarkState.GONE and mark.state is MarkState.RESTATED and mark.since_ms > since_ms:
                returned.append(node)
                continue
            if task_id and mark.state is not state:
                mark.widened = task_id
            mark.state, mark.since_ms = state, 0 if state is MarkState.OPEN else since_ms
            mark.again = (mark.again or again) and state is MarkState.GONE
            if state is MarkState.GONE:
                mark.owner = mark.widened = ""
        return returned

    def set_gone(self, gone: Sequence[Gone], lease_until_ms: int = 0) -> list[list[bytes]]:
        """See `ports.Index.set_gone`."""
        return [
            self.set_state(c, nodes, MarkState.GONE, at, lease_until_ms, again=again) for c, nodes, at, again in gone
        ]

    def mark_roots(
        self, case_id: str, task_id: str, nodes: Sequence[bytes], until: int, lease_until_ms: int = 0
    ) -> None:
        """See `ports.Index.mark_roots`."""
        self._lease(lease_until_ms)
        for node in nodes:
            self.marked[node].setdefault(case_id, _Marked(task_id, Arrival.THROUGH, b"", until=until))

    def sizes(self, group: Group) -> list[int]:
        """See `ports.Index.sizes`."""
        found = Counter(map(shard_of, self.groups.get(group, ())))
        return [found[shard] for shard in range(SHARDS)]

    def members(self, group: Group, shards: range) -> list[bytes]:
        """See `ports.Index.members`."""
        return [key for key in self.groups.get(group, ()) if shard_of(key) in shards]

    def are_members(self, links: Sequence[tuple[Group, bytes]]) -> list[bool]:
        """See `ports.Index.are_members`."""
        return [member in self.groups.get(group, ()) for group, member in links]

    def hubs(self, nodes: Sequence[bytes]) -> list[bytes]:
        """See `ports.Index.hubs`."""
        return [node for node in nodes if len(self.groups.get(Group(GroupKind.CHILDREN, node), ())) > self.hub]

    def visit(self, case_id: str, task_id: str, trips: Sequence[Trip], rule: Rule) -> Iterator[list[Visit]]:
        """See `ports.Index.visit`; nothing is gained by being ahead, but the order is that of the real index."""
        under_way: list[Visit] | None = None
        for trip in trips:
            self._lease(rule.lease())
            following = [self._visit(case_id, task_id, key, trip, rule) for key in trip.keys]
            if under_way is not None:
                yield under_way
            under_way = following
        if under_way is not None:
            yield under_way

    def _visit(self, case_id: str, task_id: str, key: bytes, trip: Trip, rule: Rule) -> Visit:
        arrival, own, _ = trip
        raw = self.raw.get(key)
        flags, collected = flags_of(raw), collected_of(raw) if raw else 0
        if boundary(arrival, flags, collected, bounded=rule.bounded, until=rule.until):
            return Visit(key, seen=False, skipped=True, reach=arrival, row=None)
        known = case_id in self.marked[key]
        reach = reach_of(arrival, flags, bounded=rule.bounded)
        wider = known and reach.width > self.marked[key][case_id].reach.width
        mark = self._mark(case_id, task_id, key, reach)
        seen = task_id not in {mark.owner, mark.widened} and not own
        digest = raw[:DIGEST_BYTES] if raw else b""
        clean = rule.again and bool(flags & CONTAINER) and mark.state is MarkState.CLEAN and not wider
        reread = rule.again and bool(flags & CONTAINER)
        back = own and mark.state is MarkState.GONE and mark.since_ms < rule.returned
        if back:
            mark.state, mark.since_ms, mark.again, mark.owner = MarkState.OPEN, 0, False, mark.owner or task_id
            if mark.owner != task_id:
                mark.widened = task_id  # should this task die now, it finds again that the children are its to read
        if not seen:
            mark.digest = digest
        children = () if clean or (seen and not reread) else self.groups.get(Group(GroupKind.CHILDREN, key), ())
        hub = len(children) > self.hub
        if hub and task_id not in {mark.owner, mark.widened}:
            hub, children = False, ()  # whoever owns the mark reads them; others would go round a cycle of hubs
        packed = b"" if hub else b"".join(children)
        return Visit(key, seen, False, mark.reach, raw, packed, known and not seen, hub)  # noqa: FBT003 - a tuple

    def _mark(self, case_id: str, task_id: str, key: bytes, reach: Arrival) -> _Marked:
        mark = self.marked[key].setdefault(case_id, _Marked(task_id, reach, b""))
        if reach.width > mark.reach.width:
            mark.reach = reach
            if not mark.owner:
                mark.owner = task_id
            elif mark.owner != task_id:
                mark.widened = task_id
        return mark

    def peek(self, case_id: str, nodes: Sequence[bytes]) -> list[Peek]:
        """See `ports.Index.peek`."""
        found = []
        for node in nodes:
            raw, mark = self.raw.get(node), self.marked.get(node, {}).get(case_id)
            flags = flags_of(raw)
            found.append(Peek(flags, raw if flags & CONTAINER else None, _mark(case_id, mark) if mark else None))
        return found

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.rows`."""
        found = (self.raw.get(key) for key in keys)
        return [Row.decode(raw, self.combination(combination_of(raw))) if raw else None for raw in found]

    def forget(self, rows: Mapping[bytes, Row], cases: Collection[str]) -> list[bool]:
        """See `ports.Index.forget`."""
        found = []
        for node, row in rows.items():
            goes = is_gone(self.marks([node])[0], cases) and self.raw.get(node) == row.encode()
            found.append(goes)
            if goes:
                bare = row.forgotten()
                self.combinations[bare.combination.digest] = bare.combination
                self.raw[node] = bare.encode()
        return found

    def notes_returns_since(self) -> int:
        """See `ports.Index.notes_returns_since`."""
        return 0

    def watch(self, case_id: str, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.watch`."""
        for key in keys:
            self.watched[key][case_id] = self.raw.get(key, bytes(DIGEST_BYTES))[:DIGEST_BYTES]
        return self.rows(keys)

    def combination(self, digest: bytes) -> Combination:
        """See `ports.Index.combination`."""
        return self.combinations[digest]

    def population(self) -> dict[str, int]:
        """See `ports.Index.population`."""
        rows = (self.combinations[combination_of(raw)] for raw in self.raw.values())
        return dict(Counter(system for each in rows for system in each.systems))

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        self.held[key] = None

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


def _mark(case_id: str, marked: _Marked) -> Mark:
    tasks = (marked.owner[:TASK_DIGITS], marked.widened[:TASK_DIGITS])
    return Mark(case_id, tasks, marked.reach, marked.digest, marked.state, marked.since_ms, marked.again, marked.until)
