"""The walk over derived-from edges, level by level: what to visit next, and what each visited node owes.

The walk itself is pure; a resolver feeds it what the index answers. Marks are set by the index in the same step that
reads a node (rule "mark first"), so a statement that comes later finds the mark, and one that came before is seen here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from expunge.domain.digest import SIZE, hidden
from expunge.domain.limits import MAX_EXCLUDED
from expunge.domain.lineage.row import (
    CONTAINER,
    DIGEST_BYTES,
    EXTRA,
    PASS_THROUGH,
    SIGNATURE,
    Combination,
    Row,
    asset_of,
    combination_of,
)
from expunge.domain.planning.chunks import Detail, Lot, Obligation
from expunge.domain.planning.policy.dispose import Disposition, Judge, Nature
from expunge.domain.scope import Arrival, Scope, ScopeKind, one_person, place_of
from expunge.domain.vocabulary import Action, Kind, kind_of

ANEW = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT})


class Trip(NamedTuple):
    """Nodes to visit together: how the walk came there, and whether they are roots of the task's own."""

    arrival: Arrival
    own: bool
    keys: Sequence[bytes]

    def __repr__(self) -> str:
        return hidden(self)


class Visit(NamedTuple):
    """What the index answers for one node of a frontier."""

    key: bytes
    seen: bool
    """Another task of the same case has marked it before: it is that task's to plan. Own roots are never `seen`."""
    skipped: bool
    """A boundary: the case does not reach the node on this way."""
    reach: Arrival
    row: bytes | None
    children: bytes = b""
    """Keys, packed."""
    known: bool = False
    """The case had marked it before."""
    hub: bool = False
    """Its children are too many to come along: they are read in shards."""

    def __repr__(self) -> str:
        return hidden(self)


class NodeVerdict(NamedTuple):
    """What all rows with the same flags and combination have in common, for one case."""

    lots: tuple[Lot, ...] = ()
    """Where an obligation of such an asset goes: one for each system."""
    anew: bool = False
    """It must be made anew without something: planned when the walk has ended."""
    covered: bool = False
    """It states a withdrawn data source itself: whoever leaves the source out leaves it out."""
    special: bool = False
    """It is a container, or dated: there is more to note of it than its obligations."""
    dated: bool = False
    """When its command may leave depends on when it was collected: each row has its own."""


def reach_of(arrival: Arrival, flags: int, *, bounded: bool) -> Arrival:
    """How a walk goes on from a node: by how it arrived and what the node's row says (rule "containers").

    `visit.lua` keeps the same rule on the server. A node without a row passes the arrival through.
    """
    if arrival is Arrival.ROOT:
        return arrival
    if not bounded:
        return Arrival.THROUGH
    if flags & CONTAINER:
        return Arrival.CONTAINERS
    return Arrival.CONTAINERS if flags & PASS_THROUGH and arrival is Arrival.CONTAINERS else Arrival.THROUGH


def boundary(arrival: Arrival, flags: int, collected: int, *, bounded: bool, until: int) -> bool:
    """Whether a walk does not take a node on this way; the other half of the rule of `visit.lua`.

    From a container it takes only containers (rule "containers"), and from a person only what was collected in time.
    """
    too_late = bool(until and collected > until)
    inside = bounded and not flags & (CONTAINER | PASS_THROUGH)
    if arrival is Arrival.EITHER:
        return too_late and inside
    return too_late if arrival is Arrival.MEMBER else inside and arrival is Arrival.CONTAINERS


def _nothing(_: Row) -> frozenset[str]:
    return frozenset()


@dataclass(slots=True, repr=False)
class Walk:
    """The state of one task's walk: what waits, what was found, which containers must be made anew without what."""

    judge: Judge
    roots: frozenset[bytes]
    """The task's own roots: planned even if another task has marked them."""
    combination: Callable[[bytes], Combination]
    """The combination of a digest."""
    people: Mapping[str, Sequence[str]]
    """What the index calls those whom the case is about -> what the request calls them."""
    inherited: Callable[[Row], frozenset[str]] = _nothing
    """The purposes that a row has from what it was made from; asked only where a purpose is revoked."""
    returned: int = 0
    """The roots came back after they had been purged: when (milliseconds since 1970)."""
    lots: dict[Lot, dict[bytes, Obligation]] = field(default_factory=dict)
    containers: set[bytes] = field(default_factory=set)
    known: set[bytes] = field(default_factory=set)
    """Nodes that the case had marked before: they may be planned already, or have been clean."""
    hubs: list[tuple[bytes, Arrival, bool]] = field(default_factory=list)
    """Nodes whose children are still to be read: key, how those are arrived at, whether it is `covered`."""
    visited: int = 0
    children: int = 0
    """How many edges were followed."""
    _waiting: dict[bytes, Arrival] = field(default_factory=dict)
    _done: dict[bytes, Arrival] = field(default_factory=dict)
    _parents: dict[bytes, bytes] = field(default_factory=dict)
    _holders: set[bytes] = field(default_factory=set)
    """Containers met on the way, and names that may be names of containers."""
    _verdicts: dict[tuple[bytes, Arrival], NodeVerdict] = field(default_factory=dict)

    @property
    def scope(self) -> Scope:
        """What the case is about."""
        return self.judge.scope

    @property
    def waiting(self) -> int:
        """How many nodes are to be visited."""
        return len(self._waiting)

    def reach(self, nodes: Iterable[bytes], arrival: Arrival, parent: bytes | None = None) -> None:
        """Put nodes on the frontier; what is reached more widely than before is visited again.

        Args:
            nodes: keys.
            arrival: how the walk comes to them.
            parent: what they were made from, where a container among them must be told to leave it out.
        """
        done, following, parents = self._done, self._waiting, self._parents
        for key in nodes:
            if parent is not None:
                before = parents.get(key, b"")
                if parent not in before and len(before) <= MAX_EXCLUDED * SIZE:
                    parents[key] = before + parent
            known = following.get(key)
            if known is None:
                known = done.get(key)
            if known is None:
                following[key] = arrival
            elif known is not arrival and (wider := known.joined(arrival)) is not known:
                following[key] = wider

    def level(self, limit: int, trip: int, among: Collection[bytes] | None = None) -> list[Trip]:
        """The next level to visit, or `limit` nodes of it, in trips; of those `among`, if that is given, all."""
        if among is None:
            chosen = dict(islice(self._waiting.items(), limit)) if limit < len(self._waiting) else self._waiting
        else:
            chosen = {key: self._waiting[key] for key in among}
        self._waiting = (
            {}
            if chosen is self._waiting
            else {key: arrival for key, arrival in self._waiting.items() if key not in chosen}
        )
        self._done.update(chosen)
        alike: dict[tuple[Arrival, bool], list[bytes]] = defaultdict(list)
        roots = self.roots
        for key in sorted(chosen, key=place_of):  # neighbours in the index come together: one command serves many
            alike[chosen[key], key in roots].append(key)
        return [
            Trip(arrival, own, keys[start : start + trip])
            for (arrival, own), keys in sorted(alike.items())
            for start in range(0, len(keys), trip)
        ]

    def rest(self) -> dict[bytes, Arrival]:
        """Everything that waits."""
        return self._waiting

    def absorb(self, visits: Iterable[Visit]) -> None:
        """Take in what the index answered: obligations of new nodes, and their children for the next level."""
        plain = not (self.returned or self.scope.granted)
        verdicts, lots = self._verdicts, self.lots
        for key, seen, skipped, reach, raw, children, known, hub in visits:
            self.visited += 1
            if skipped:
                continue
            covered = False
            if raw is not None:
                verdict = verdicts.get((raw[SIGNATURE], reach)) if plain else None
                if verdict is None or verdict.special or seen:
                    covered = self._meet(key, raw, reach, seen=seen)
                else:  # the usual case, kept short
                    covered = verdict.covered
                    for lot in verdict.lots:
                        lots[lot][key] = Obligation(key, asset_of(raw))
                if known and not seen:
                    self.known.add(key)
            if hub:
                self.hubs.append((key, reach.onward, covered))
            elif children:
                self.children += len(children) // SIZE
                keys = [children[at : at + SIZE] for at in range(0, len(children), SIZE)]
                self.reach(keys, reach.onward, None if covered else key)

    def _meet(self, key: bytes, raw: bytes, reach: Arrival, *, seen: bool) -> bool:
        """Plan a node, or note that another task does; whether it is covered."""
        flags = raw[DIGEST_BYTES]
        withdrawn = reach is Arrival.ROOT
        if flags & EXTRA or self.returned or self.scope.granted or self._inherits(raw):
            return self._plan(key, self.decode(raw), withdrawn=withdrawn, seen=seen)
        verdict = self._verdicts.get((raw[SIGNATURE], reach))
        if verdict is None:
            verdict = self._verdicts[raw[SIGNATURE], reach] = self._judge(self.decode(raw), withdrawn=withdrawn)
        if verdict.dated:
            return self._plan(key, self.decode(raw), withdrawn=withdrawn, seen=seen)
        if flags & CONTAINER:
            self._holders.add(key)
        if verdict.anew:
            self.containers.add(key)
        elif not seen:
            for lot in verdict.lots:
                self.lots[lot][key] = Obligation(key, asset_of(raw))
        return verdict.covered

    def _plan(self, key: bytes, row: Row, *, withdrawn: bool, seen: bool) -> bool:
        verdict = self._judge(row, withdrawn=withdrawn, returned=self.returned if key in self.roots else 0)
        if row.container or row.aliases:  # what is found under one name of a container is in it under all
            self._holders.add(key)
        if row.holding is not None and not withdrawn:
            return verdict.covered  # holdings are planned by root, not by reach
        if verdict.anew:
            self.containers.add(key)
        elif not seen:
            self._owe(key, row, verdict.lots)
        return verdict.covered

    def _inherits(self, raw: bytes) -> bool:
        """Whether what must happen to it depends on what it was made from: rows that are alike are not, then."""
        return self.scope.kind is ScopeKind.REVOCATION and not self.combination(combination_of(raw)).purposes

    def decode(self, raw: bytes) -> Row:
        """A whole row."""
        return Row.decode(raw, self.combination(combination_of(raw)))

    def meet(self, key: bytes, raw: bytes) -> None:
        """A node that is left to another task: a container that is reached from here, too, has more to leave out."""
        self._meet(key, raw, Arrival.THROUGH, seen=True)

    def _judge(self, row: Row, *, withdrawn: bool, returned: int = 0) -> NodeVerdict:
        covered = is_covered(self.scope, row)
        if row.is_forgotten:
            return NodeVerdict(covered=covered, special=row.container)
        nature = nature_of(row, self.inherited if self.scope.kind is ScopeKind.REVOCATION else _nothing)
        disposition = self.judge.dispose(nature, collected=row.collected, named=withdrawn)
        if disposition is None:
            return NodeVerdict(covered=covered, special=row.container)
        lots = lots_of(row, disposition, self.judge, returned=returned)
        for lot in lots:
            self.lots.setdefault(lot, {})
        dated = disposition.keep is not None
        return NodeVerdict(lots, disposition.action in ANEW, covered, row.container or dated, dated)

    def _owe(self, key: bytes, row: Row, lots: Iterable[Lot]) -> None:
        for lot in lots:
            self.lots.setdefault(lot, {})[key] = obligation_of(self.people, key, row)

    def exclusions(self) -> dict[bytes, set[bytes]]:
        """What each container that was met must leave out, as far as this walk has come from there."""
        packed = {key: self._parents.get(key, b"") for key in self._holders}
        return {
            key: {parents[at : at + SIZE] for at in range(0, len(parents), SIZE)}
            for key, parents in packed.items()
            if parents
        }

    def plan_holding(self, key: bytes, row: Row) -> None:
        """One obligation for the person, or for every data source, that a holding answers for; it becomes a node."""
        roots = asked_of(row, self.scope)
        disposition = self.judge.dispose(nature_of(row)._replace(holding=True))
        if not roots or disposition is None:
            return
        for root in roots:
            self._owe(key, row, lots_of(row, disposition, self.judge, holding=True, root=root))
        self.reach([key], Arrival.THROUGH)


def asked_of(row: Row, scope: Scope) -> list[str]:
    """For what a holding must be asked: the person, all names at once, and data sources; nothing that it has not."""
    holding = row.holding
    if holding is None or not holding.active:
        return []
    person = {s.pseudonym for s in scope.subjects if holding.matches_namespace(s.namespace)}
    roots = [one_person(person)] if person else []
    if scope.kind is ScopeKind.WITHDRAWAL:
        roots += [name for name in scope.data_sources if holding.matches_data_source(name)]
    return roots


def nature_of(row: Row, inherited: Callable[[Row], frozenset[str]] = _nothing) -> Nature:
    """What policy looks at in a row, and in what it was made from."""
    purposes = frozenset() if row.combination.purposes else inherited(row)
    return Nature(row.combination, row.shared, row.container, inherited=purposes)


def is_covered(scope: Scope, row: Row) -> bool:
    """Whether an asset need not be listed among what to leave out: its data source is."""
    return bool(row.combination.data_sources & set(scope.data_sources))


def lots_of(
    row: Row, disposition: Disposition, judge: Judge, *, holding: bool = False, root: str = "", returned: int = 0
) -> tuple[Lot, ...]:
    """One lot for each system that is said to hold the asset: every named system is commanded.

    Two, where it is told something else first.
    """
    kinds = [kind_of(kind) for kind in row.combination.kinds]

    def told(action: Action) -> tuple[Lot, ...]:
        # What is a model, whatever else it is said to be, is guarded and judged as one.
        stage, _, kind = min(
            (judge.stage_of(each, action, holding=holding), each is not Kind.MODEL, each) for each in kinds
        )
        lot = Lot(
            "",
            action,
            kind,
            stage,
            disposition.rule,
            disposition.purposes if action is disposition.action else (),
            holding,
            root,
            returned,
            provision=judge.scope.provision_of(kind, row.combination.categories),
        )
        if action is disposition.action:
            lot = lot._replace(
                defer_days=disposition.defer_days,
                defer_until=disposition.defer_until,
                keep_until=disposition.kept_until(max(row.collected * 1000, row.derived_ms)),
            )
        return tuple(lot._replace(system=system) for system in sorted(row.combination.systems))

    first = told(disposition.first) if disposition.first else ()
    return first + told(disposition.action)


def obligation_of(
    people: Mapping[str, Sequence[str]], key: bytes, row: Row, excluded: tuple[str, ...] = (), *, cut: bool = False
) -> Obligation:
    """The obligation of one asset, with what its owner is told beside its id.

    Args:
        people: what the index calls whom the case is about -> what the request calls them.
        key: of the asset.
        row: what is known of it.
        excluded: what a container must leave out.
        cut: whether not all of that is known.
    """
    refs = tuple(sorted({(own, ref) for name, ref in row.refs for own in people.get(name, ())})) if row.refs else ()
    detail = Detail(attributes=dict(row.attributes), refs=refs) if row.attributes or refs else None
    return Obligation(key, row.asset, detail, excluded, cut)
