"""When everything stands in the index again: how far each case reaches, and whatever it may not have been told.

What a case has planned is known from its chunks; what else its walk has come through is not: names of assets, what a
purpose did not concern, and whatever lay behind a task that died half-way. All of that is told to the case as late
(rule "late assets"): a walk that finds nothing new says nothing to anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import CLEAN
from expunge.domain.aggregates.case.state import Case
from expunge.domain.digest import SIZE
from expunge.domain.events import EARLIEST, Outgoing
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import Mark, MarkState, Met, Thing, is_late
from expunge.domain.lineage.row import Row
from expunge.domain.lineage.walk import Visit, Walk
from expunge.domain.planning.chunks import names_of
from expunge.domain.planning.policy.dispose import Judge
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, Scope, data_source_node
from expunge.domain.vocabulary import OVER
from expunge.ports import Index, PartitionReader, Rule
from expunge.rebuild.marks import PER_VISIT, TASK, in_trips
from expunge.rebuild.ports import States
from expunge.rebuild.targets import Targets, TargetsOf, of_keyed
from expunge.roles.common import late_messages, on_cases
from expunge.roles.exclusions import left_out
from expunge.roles.resolver.purposes import Inheritance
from expunge.wire.cases.case import LateAsset, LineageChanged, Root

SOURCE = "/expunge/rebuild"


@dataclass(slots=True, repr=False)
class Coming:
    """What is on its way to a case: chunks and nodes of answers that it has not heard yet."""

    chunks: set[str] = field(default_factory=set)
    nodes: set[bytes] = field(default_factory=set)
    in_part: set[str] = field(default_factory=set)
    """Tasks that have answered in part."""
    whole: set[str] = field(default_factory=set)
    """Tasks that have answered all."""


class Settling:
    """Settles one case after the other."""

    def __init__(
        self, index: Index, store: States, door: Door, doubtful: Collection[bytes], *, doubts_all: bool
    ) -> None:
        # doubtful: assets of which a statement lies on `assets` that the indexers may not have handled yet.
        # doubts_all: whether any task that has not ended may have answered in part.
        self._index, self._store, self._door, self._doubtful = index, store, door, doubtful
        self.doubts_all = doubts_all

    def partition(self, partition: int, coming: Mapping[str, Coming]) -> Iterator[Outgoing]:
        """What the cases of a partition are told."""
        reader = self._store.reader(partition)
        holds = reader.standing.asks_the_index
        for case_id in self._store.case_ids(partition):
            reader = self._store.reader(partition)
            case, root = reader.cases([case_id]).get(case_id), reader.root(case_id)
            if case is None or root is None:
                continue
            targets = TargetsOf(self._store, reader, self.keys, partition, case_id)
            yield from _Settled(self, reader, case, root, targets, coming.get(case_id, Coming())).messages()
            if case.forgotten:  # who holds the obligations of what was planned since went with those of before
                self._put_again(partition, case)
            if targets.keyed:
                self._store.drop_keyed(partition, case_id)
            if holds and case.alive:  # what was looked at for holds is not known any more: it is looked at again
                changed = LineageChanged(case_id=case_id)
                yield on_cases(changed, EARLIEST, SOURCE, case_id, case.sequence)

    def _put_again(self, partition: int, case: Case) -> None:
        reader = self._store.reader(partition)
        digests = [digest for each in case.generations for digest in reader.digests(case.case_id, each.number)]
        bodies = self._store.bodies(partition, case.case_id, digests)
        self._store.put_chunks(partition, [(body, names_of(body, self.key)) for body in bodies])

    def walk(self, root: Root, case: Case) -> Walk:
        """A walk that judges as the case's resolvers do."""
        scope = root.scope.model_copy(update={"granted": case.granted})
        judge = Judge(self._door.policies.of(root.policy), scope, root.regime)
        people = scope.called(self.keys.live)
        return Walk(judge, frozenset(), self._index.combination, people, Inheritance(self._index).of)

    @property
    def index(self) -> Index:
        """The index."""
        return self._index

    @property
    def keys(self) -> Keys:
        """Digests of ids."""
        return self._door.keys

    def key(self, asset: str) -> bytes:
        """The key of an asset."""
        return self.keys.asset(asset)

    def is_doubtful(self, key: bytes) -> bool:
        """Whether something may have been said of an asset that nobody has compared with its marks."""
        return key in self._doubtful


class _Settled:
    """One case."""

    def __init__(
        self, all_: Settling, reader: PartitionReader, case: Case, root: Root, targets: TargetsOf, coming: Coming
    ) -> None:
        self._all, self._reader, self._case, self._root, self._coming = all_, reader, case, root, coming
        self._targets, self._withdrawn = targets, root.withdrawn_nodes(all_.key)
        self._met: dict[bytes, list[tuple[Arrival, bytes]]] = defaultdict(list)
        """Nodes that a marked one leads to -> how, and from which; none: from a root."""
        generations = [each.number for each in case.generations]
        self._planned = {each for number in generations for each in reader.digests(case.case_id, number)}
        """Its chunks."""

    @property
    def _scope(self) -> Scope:
        return self._root.scope

    def messages(self) -> Iterator[Outgoing]:
        """What it is told."""
        known = self._known()
        walk = self._all.walk(self._root, self._case)
        self._visit(walk, known)
        exclusions = walk.exclusions()
        if exclusions:
            self._all.index.exclude(self._case.case_id, exclusions)
        self._reopen()
        if self._case.status in OVER:
            return
        self._members(known)
        ways = self._late()
        self._mark_late(ways)
        late = {key: LateAsset(key=key.hex(), arrival=way) for key, way in ways.items()}
        doubtful = self._doubtful(known)
        if doubtful and self._case.forgotten:  # what is gone is not planned anew for a case that is forgotten
            self._all.index.set_state(self._case.case_id, doubtful, MarkState.OPEN, 0)
        for key in doubtful:
            late[key] = LateAsset(key=key.hex(), arrival=Arrival.THROUGH)
        yield from late_messages(self._case.case_id, late, EARLIEST, SOURCE)

    def _doubtful(self, known: Collection[bytes]) -> list[bytes]:
        """What it had planned as something else, perhaps; of what is forgotten, only what other systems have, too."""
        doubtful = sorted(filter(self._all.is_doubtful, known))
        if not self._case.forgotten:
            return doubtful
        answered: dict[bytes, set[str]] = defaultdict(set)
        for each in self._targets.keyed.values():
            for node in each.nodes:
                answered[node].add(each.system)
        rows = zip(doubtful, self._all.index.rows(doubtful), strict=True)
        return [key for key, row in rows if key not in answered or (row and row.combination.systems - answered[key])]

    def _known(self) -> set[bytes]:
        """The nodes that it has planned, or will hear of."""
        targets = [self._targets.of(digest) for digest in sorted(self._planned | self._coming.chunks)]
        targets += map(of_keyed, self._targets.keyed.values())
        known = {node for each in targets for node in each.nodes}
        known |= {bytes.fromhex(each) for one in self._case.generations for each in one.pending}
        return known | self._coming.nodes | set(self._withdrawn)

    def _reopen(self) -> None:
        """Only what was told to leave out all that is known by now is clean: see `roles.coordinator.effects`."""
        told: dict[bytes, list[frozenset[bytes]]] = defaultdict(list)
        for targets, answers in self._answered():
            for node, letter in zip(targets.nodes, answers, strict=True):
                if letter in CLEAN:
                    told[node].append(targets.left_out)
        nodes = sorted(told)
        reopened = [
            node
            for node, row in zip(nodes, self._all.index.rows(nodes), strict=True)
            if not any(self._leaves_out(node, row, excluded) for excluded in told[node])
        ]
        if reopened:
            self._all.index.set_state(self._case.case_id, reopened, MarkState.OPEN, 0, task_id=TASK)

    def _answered(self) -> Iterator[tuple[Targets, str]]:
        """The targets of chunks with what was answered, where some were made clean."""
        for digest in sorted(self._planned):
            chunk = self._reader.chunk(self._case.case_id, digest)
            if chunk is not None and not CLEAN.isdisjoint(chunk.answers):
                yield self._targets.of(digest), chunk.answers
        if self._case.forgotten:
            yield from ((of_keyed(each), each.answers) for each in self._targets.keyed.values())

    def _leaves_out(self, node: bytes, row: Row | None, excluded: frozenset[bytes]) -> bool:
        found = left_out(self._all.index, self._all.keys, self._case.case_id, self._scope, node, row)
        return not found.cut and excluded.issuperset(found.others)

    def _visit(self, walk: Walk, known: set[bytes]) -> None:
        """Read what stands at each node, and what it leads to; its mark says by now what its row says."""
        index, scope = self._all.index, self._scope
        named = set(self._withdrawn)
        walk.reach(sorted(known - named), Arrival.THROUGH)
        walk.reach(sorted(named), Arrival.ROOT)
        trips = [trip._replace(own=True) for trip in walk.level(len(known), PER_VISIT, sorted(known))]
        for visits in index.visit(self._case.case_id, TASK, trips, Rule(bounded=scope.bounded)) if trips else ():
            walk.absorb(visits)
            for planned in walk.lots.values():  # they are in its chunks
                planned.clear()
            # Of what is gone nobody owns the mark, so a visit says nothing of many children.
            hubs = set(index.hubs([each.key for each in visits if not each.children]))
            for each in visits:
                self._leads_to(walk, each, known, hub=each.key in hubs)
        walk.hubs.clear()

    def _leads_to(self, walk: Walk, visit: Visit, known: Collection[bytes], *, hub: bool) -> None:
        children = [visit.children[at : at + SIZE] for at in range(0, len(visit.children), SIZE)]
        if hub:
            children = self._all.index.members(Group(GroupKind.CHILDREN, visit.key), range(SHARDS))
            walk.reach(children, visit.reach.onward, visit.key)
        for child in children:
            if child not in known:
                self._met[child].append((visit.reach.onward, visit.key))

    def _members(self, known: Collection[bytes]) -> None:
        """What names the case's people, and what came from its data sources."""
        roots = [(GroupKind.SUBJECT, each, Arrival.MEMBER) for each in self._all.keys.nodes(self._scope.people)]
        roots += [(GroupKind.SOURCE, data_source_node(each), Arrival.THROUGH) for each in self._scope.data_sources]
        for kind, node, arrival in roots:
            for member in self._all.index.members(Group(kind, node), range(SHARDS)):
                if member not in known:
                    self._met[member].append((arrival, b""))

    def _late(self) -> dict[bytes, Arrival]:
        """What it must look at: all that it has not planned because there was nothing to plan, or nobody knows."""
        keys = sorted(self._met)
        rows = dict(zip(keys, self._all.index.rows(keys), strict=True))
        parents = sorted({parent for ways in self._met.values() for _, parent in ways if parent})
        marks = dict(zip(parents, self._all.index.marks(parents), strict=True))
        owed = set() if self._is_half_told() else self._owed(rows)
        late: dict[bytes, Arrival] = {}
        for key in keys:
            row = rows[key]
            thing = Thing(key, row.encode() if row else None, derived_ms=row.derived_ms if row else 0)
            ways = [Met(self._mark(marks.get(parent, ())), arrival, parent) for arrival, parent in self._met[key]]
            ways = [met for met in ways if is_late(thing, met, ())]
            if ways and key not in owed:
                late[key] = ways[0].arrival
                for met in ways[1:]:
                    late[key] = late[key].joined(met.arrival)
        return late

    def _mark_late(self, ways: Mapping[bytes, Arrival]) -> None:
        """Mark what is told as late: most likely the case has been there.

        The task that it leads to plans its own roots whatever their marks say. But the children of a hub are read by
        who owns its mark, so that is left to the task.
        """
        hubs, alike = set(self._all.index.hubs(sorted(ways))), defaultdict[Arrival, list[bytes]](list)
        for key, way in sorted(ways.items()):
            if key not in hubs:
                alike[way].append(key)
        trips = [trip for way, keys in sorted(alike.items()) for trip in in_trips(way, keys)]
        rule = Rule(bounded=self._scope.bounded, until=self._scope.until)
        for _ in self._all.index.visit(self._case.case_id, TASK, trips, rule) if trips else ():
            pass

    def _mark(self, marks: Collection[Mark]) -> Mark:
        """The case's own among the marks of a node; of a root, what stands for it."""
        mine = (mark for mark in marks if mark.case_id == self._case.case_id)
        root = Mark(self._case.case_id, ("", ""), Arrival.THROUGH, b"", until=self._scope.until)
        return next(mine, root)

    def _owed(self, rows: Mapping[bytes, Row | None]) -> set[bytes]:
        """Those that a walk would have planned: they are not here because they came later, and are said to be late."""
        walk = self._all.walk(self._root, self._case)
        walk.absorb(
            Visit(key, seen=False, skipped=False, reach=Arrival.THROUGH, row=row.encode())
            for key, row in rows.items()
            if row is not None
        )
        return walk.containers.union(*walk.lots.values())

    def _is_half_told(self) -> bool:
        """Whether a task has said part of what it had to say: what lies behind that, only it knows."""
        generations = self._case.generations
        answered = self._coming.whole.union(*(each.answered for each in generations))
        begun = self._coming.in_part
        if self._all.doubts_all:
            begun = begun.union(*(each.announced for each in generations))
        return bool(begun - answered)
