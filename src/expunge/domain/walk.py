"""The walk over derived-from edges, level by level: what to visit next, and what each visited node owes.

The walk itself is pure; a resolver feeds it what the index answers. Marks are set by the index in the same step that
reads a node (PROTOCOLS 11), so a statement that comes later finds the mark, and one that came before is seen here.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from expunge.domain.digest import SIZE, digest
from expunge.domain.plan import Obligation
from expunge.domain.policy import Disposition, dispose, dispose_holding
from expunge.domain.scope import Arrival, Hex, Scope, ScopeKind, Value
from expunge.domain.statement import Row
from expunge.domain.vocabulary import Action, Kind, stage_of

MAX_FRONTIER = 40_000
"""Nodes in one task message (PROTOCOLS 20): 17 bytes each, below a topic's 1 MiB in base64."""

_WITHOUT = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT})


class TaskKind(StrEnum):
    """What a task starts from."""

    ROOTS = "roots"
    SHARD = "shard"
    FRONTIER = "frontier"
    LATE = "late"
    HOLDING = "holding"
    """A holding declared while the case was open: a node of its walk only if it answers for one of its roots."""
    CONTAINERS = "containers"


class Task(Value):
    """One bounded piece of a walk, as it stands on `tasks`."""

    case_id: Hex
    task_id: Hex
    generation: int
    kind: TaskKind
    scope: Scope
    nodes: str = ""
    """A packed frontier, see `pack`."""
    data_source: str = ""
    shard: int = 0
    shard_end: int = 0
    """Shards `shard` to `shard_end` (excluded) of the data source."""
    watermark: dict[str, dict[str, int]] = {}
    """End offsets of the registration inlets when the request arrived: topic -> partition -> offset."""
    people_bytes: dict[str, int] = {}
    """System -> bytes that naming the case's people adds to each target of its commands."""
    force: bool = False
    """Plan what is known, without waiting for the indexers any longer."""


class Step(NamedTuple):
    """A node to visit: how the walk came there, and whether it is one of the task's own roots."""

    key: bytes
    arrival: Arrival
    own: bool


class PlannedStatus(StrEnum):
    """How a task ended."""

    DONE = "done"
    PART = "part"
    """Some of its chunks; more of the same task follow."""
    NOT_READY = "not_ready"


@dataclass(frozen=True, slots=True, repr=False)
class Visit:
    """What the index answers for one node of a frontier."""

    key: bytes
    seen: bool
    """Another task of the same case has marked it before: it is that task's to plan. Own roots are never `seen`."""
    skipped: bool
    """A boundary: the node was reached from a container and is none itself."""
    reach: Arrival
    row: Row | None
    children: tuple[bytes, ...]


def reached(applied: Mapping[str, Mapping[str, int]], wanted: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the indexers have come at least as far as wanted."""
    return all(
        applied.get(topic, {}).get(partition, 0) >= offset
        for topic, partitions in wanted.items()
        for partition, offset in partitions.items()
    )


def task_id(parent: str, *content: str | bytes | int) -> str:
    """The id of a task: a digest of what it came from and what it starts with (PROTOCOLS 13)."""
    return digest("task", parent, *content).hex()


def pack(nodes: Mapping[bytes, Arrival]) -> str:
    """A frontier as text: 16 bytes of key and one of arrival each, sorted, in base64."""
    return base64.b64encode(b"".join(key + bytes([arrival]) for key, arrival in sorted(nodes.items()))).decode()


def unpack(text: str) -> dict[bytes, Arrival]:
    """The frontier of `pack`."""
    raw = base64.b64decode(text)
    step = SIZE + 1
    return {raw[at : at + SIZE]: Arrival(raw[at + SIZE]) for at in range(0, len(raw), step)}


@dataclass(slots=True, repr=False)
class Walk:
    """The state of one task's walk: what waits, what was found, which containers must be made anew without what."""

    scope: Scope
    roots: frozenset[bytes]
    """The task's own roots: planned even if another task has marked them."""
    frontier: dict[bytes, Arrival] = field(default_factory=dict)
    found: dict[tuple[bytes, str, str], Obligation] = field(default_factory=dict)
    containers: set[bytes] = field(default_factory=set)
    visited: int = 0
    _done: dict[bytes, Arrival] = field(default_factory=dict)
    _parents: dict[bytes, set[bytes]] = field(default_factory=dict)
    _covered: set[bytes] = field(default_factory=set)
    """Nodes that state a withdrawn data source themselves: whoever leaves the source out leaves them out."""
    _holders: set[bytes] = field(default_factory=set)
    """Containers met on the way."""

    def reach(self, nodes: Iterable[bytes], arrival: Arrival, parent: bytes | None = None) -> None:
        """Put nodes on the frontier; a wider arrival replaces a narrower one."""
        for key in nodes:
            if parent is not None:
                self._parents.setdefault(key, set()).add(parent)
            known = self._done.get(key, self.frontier.get(key))
            if known is None or arrival.width > known.width:
                self.frontier[key] = arrival

    @property
    def obligations(self) -> list[Obligation]:
        """What was found to be done, each once however often its node was visited."""
        return list(self.found.values())

    def take(self, limit: int, among: Collection[bytes] | None = None) -> list[Step]:
        """The next nodes to visit, in order of their keys, at most `limit`; only those in `among`, if it is given."""
        waiting = sorted(item for item in self.frontier.items() if among is None or item[0] in among)
        chosen = waiting[:limit]
        for key, arrival in chosen:
            del self.frontier[key]
            self._done[key] = arrival
        return [Step(key, arrival, key in self.roots) for key, arrival in chosen]

    def absorb(self, visits: Iterable[Visit]) -> None:
        """Take in what the index answered: obligations of new nodes, and their children for the next level."""
        for visit in visits:
            self.visited += 1
            if visit.skipped:
                continue
            if visit.row is not None and covered(self.scope, visit.row):
                self._covered.add(visit.key)
            if visit.seen:
                self.meet(visit.key, visit.row)
            elif visit.row is not None:
                self._plan(visit.key, visit.row, withdrawn=visit.reach is Arrival.ROOT)
            self.reach(visit.children, visit.reach.onward, parent=visit.key)

    def meet(self, key: bytes, row: Row | None) -> None:
        """A node that is another task's: if it is a container, reached from here too, it has more to leave out."""
        if row is None or not row.container:
            return
        self._holders.add(key)
        disposition = dispose(self.scope, row)
        if disposition is not None and disposition.action in _WITHOUT and row.holding is None:
            self.containers.add(key)

    def exclusions(self) -> dict[bytes, set[bytes]]:
        """What each container that was met must leave out, as far as this walk has come from there."""
        found = {key: self._parents.get(key, set()) - self._covered for key in self._holders}
        return {key: parents for key, parents in found.items() if parents}

    def _plan(self, key: bytes, row: Row, *, withdrawn: bool) -> None:
        if row.container:
            self._holders.add(key)
        if row.holding is not None and not withdrawn:
            return  # holdings are planned by root, not by reach
        disposition = dispose(self.scope, row, withdrawn=withdrawn)
        if disposition is None:
            return
        if disposition.action in _WITHOUT:
            self.containers.add(key)
            return
        self._add(obligations_of(self.scope, key, row, disposition))

    def plan_holding(self, key: bytes, row: Row) -> None:
        """One obligation for every root that a holding answers for; it becomes a node of the walk."""
        holding = row.holding
        if holding is None or not holding.active:
            return
        roots = [s.pseudonym for s in self.scope.subjects if holding.matches_namespace(s.namespace)]
        if self.scope.kind is ScopeKind.WITHDRAWAL:
            roots += [name for name in self.scope.data_sources if holding.matches_data_source(name)]
        disposition = dispose_holding(self.scope, row)
        if not roots or disposition is None:
            return
        for root in roots:
            self._add(obligations_of(self.scope, key, row, disposition, holding=True, root=root))
        self.reach([key], Arrival.THROUGH)

    def _add(self, obligations: Iterable[Obligation]) -> None:
        for each in obligations:
            self.found[each.key, each.system, each.root] = each


def covered(scope: Scope, row: Row) -> bool:
    """Whether an asset need not be listed among what to leave out: its data source is."""
    return bool(row.data_sources & set(scope.data_sources))


def obligations_of(
    scope: Scope,
    key: bytes,
    row: Row,
    disposition: Disposition,
    *,
    holding: bool = False,
    root: str = "",
    excluded: tuple[str, ...] = (),
) -> list[Obligation]:
    """One obligation for each system that is said to hold the asset: every named system is commanded."""
    people = {subject.pseudonym for subject in scope.subjects}
    kind = min((Kind(kind) for kind in row.kinds), key=lambda each: (stage_of(each, holding=holding), each))
    return [
        Obligation(
            key=key,
            asset=row.asset,
            kind=kind,
            system=system,
            disposition=disposition,
            holding=holding,
            root=root,
            attributes=row.attributes,
            refs=frozenset(ref for ref in row.refs if ref[0] in people),
            excluded=excluded,
        )
        for system in sorted(row.systems)
    ]
