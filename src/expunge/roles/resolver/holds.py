"""Which targets of a command a hold covers.

A hold on an asset covers it under all its names. One on a person covers what names the person, one on a data source
what states it, and both what was made from that; but a container (a data set, a model) only if it says so itself:
everybody else's data is in it, too. Where a row keeps only some of its parents, nobody can say that the hold does not
cover it, so it is kept. A holding is covered if it is asked for that very person or data source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from expunge.domain.identity import Keys
from expunge.domain.limits import KEPT_PARENTS
from expunge.domain.lineage.row import Row
from expunge.domain.planning.chunks import Chunk
from expunge.domain.scope import SHARDS, Group, GroupKind, names_of_person
from expunge.ports import Index
from expunge.roles.exclusions import names_of
from expunge.wire.cases.case import Covered
from expunge.wire.cases.words import HoldKind
from expunge.wire.tasks import HoldAsked


def covered(
    index: Index, keys: Keys, case_id: str, chunks: Sequence[Chunk], holds: Sequence[HoldAsked]
) -> tuple[Covered, ...]:
    """For each chunk, the ordinals that holds cover; no chunk is left out, so that all are answered.

    Every row that is looked at notes that this case did. The note and the reading are one step, as are writing a row
    and reading the notes: whichever of look and statement comes second sees the other (rule "holds").
    """
    targets = {keys.asset(asset) for chunk in chunks if not chunk.holding for asset in chunk.assets}
    lineage = _Lineage(index, keys, case_id, targets)
    kept = {hold.hold_id: lineage.below(_named(index, keys, lineage, hold)) for hold in holds}

    def ordinals(chunk: Chunk, hold: HoldAsked) -> tuple[int, ...]:
        if chunk.holding and hold.scope.kind is not HoldKind.ASSET:
            if hold.scope.kind is HoldKind.SUBJECT:
                return (0,) if keys.is_one(names_of_person(chunk.root), names_of_person(hold.scope.value)) else ()
            return (0,) if chunk.root == hold.scope.value else ()
        return tuple(at for at, asset in enumerate(chunk.assets) if keys.asset(asset) in kept[hold.hold_id])

    return tuple(
        Covered(
            chunk=chunk.digest,
            covered=tuple((hold.hold_id, found) for hold in holds if (found := ordinals(chunk, hold))),
        )
        for chunk in chunks
    )


class _Lineage:
    """Assets and what they were made from, upwards, up to containers."""

    def __init__(self, index: Index, keys: Keys, case_id: str, targets: Iterable[bytes]) -> None:
        self.rows: dict[bytes, Row] = {}
        self.unknown: set[bytes] = set()
        """Assets of which not all parents are kept."""
        self.children: dict[bytes, set[bytes]] = defaultdict(set)
        level = sorted(targets)
        while level:
            found = zip(level, index.watch(case_id, level), strict=True)
            read = {key: row for key, row in found if row is not None}
            self.rows |= read
            above: set[bytes] = set()
            for key, row in read.items():
                names = {keys.asset(name) for name in row.aliases}
                for name in names:  # the same asset: what is said of one name is said of all
                    self.children[name].add(key)
                    self.children[key].add(name)
                if not row.container:
                    above.update(row.parents)
                    for parent in row.parents:
                        self.children[parent].add(key)
                    if len(row.parents) >= KEPT_PARENTS:
                        self.unknown.add(key)
                above |= names
            level = sorted(above - self.rows.keys())

    def below(self, named: set[bytes]) -> set[bytes]:
        """These assets, and what was made from them."""
        found, waiting = set(named), list(named)
        while waiting:
            key = waiting.pop()
            row = self.rows.get(key)
            fresh = set() if row is not None and row.container else self.children[key] - found
            found |= fresh
            waiting += fresh
        return found


def _named(index: Index, keys: Keys, lineage: _Lineage, hold: HoldAsked) -> set[bytes]:
    """The assets that a hold names itself."""
    value = hold.scope.value
    if hold.scope.kind is HoldKind.ASSET:
        names = names_of(index, keys, [bytes.fromhex(value)])
        made = {child for name in names for child in index.members(Group(GroupKind.CHILDREN, name), range(SHARDS))}
        return names | (made & lineage.unknown)
    if hold.scope.kind is HoldKind.SUBJECT:
        nodes = keys.nodes([bytes.fromhex(name) for name in names_of_person(value)])
        people = [Group(GroupKind.SUBJECT, node) for node in nodes]
        return {key for each in people for key in index.members(each, range(SHARDS))} | lineage.unknown
    return lineage.unknown | {key for key, row in lineage.rows.items() if value in row.combination.data_sources}
