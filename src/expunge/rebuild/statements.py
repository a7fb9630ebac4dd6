"""From `assets` to rows, edges and memberships: the same writes as the indexer's, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from expunge.domain.digest import hidden
from expunge.domain.events import Record, millis
from expunge.domain.identity import Keys
from expunge.domain.lineage.row import Row
from expunge.ports import Index, Said
from expunge.wire.assets import stated


class Told(NamedTuple):
    """What a batch of statements says: rows, edges, who is named, holdings."""

    said: list[Said]
    edges: list[tuple[bytes, bytes]]
    members: list[tuple[bytes, bytes]]
    holdings: list[bytes]

    def __repr__(self) -> str:
        return hidden(self)


class Statements:
    """Writes statements into the index. Marks that lie there note that their assets were stated, and when."""

    def __init__(self, index: Index, keys: Keys) -> None:
        self._index, self._keys = index, keys

    def read(self, records: Sequence[Record]) -> Told:
        """What messages say."""
        key = self._keys.asset
        told = Told([], [], [], [])
        for said in filter(None, map(stated, records)):
            each, at = said.statement.renamed(self._keys.newest), said.at  # it may be of an earlier secret
            asset, parents = each.node(key), each.parents_of(key)
            told.said.append(Said(asset, each.row(parents), 0 if each.removed else millis(at)))
            told.edges.extend((parent, asset) for parent in parents)
            told.members.extend((named.pseudonym, asset) for named in each.subjects)
            for alias in each.aliases:
                other = key(alias)
                told.said.append(Said(other, Row(alias, aliases=(each.asset,)), 0))
                told.edges.extend(((asset, other), (other, asset)))
            if each.holding is not None:
                told.holdings.append(asset)
        return told

    def write(self, told: Told) -> None:
        """Rows with their data sources, then edges, then who is named."""
        for holding in told.holdings:
            self._index.add_holding(holding)
        self._index.put(told.said)
        self._index.link_children(told.edges)
        self._index.link_subjects(told.members)
