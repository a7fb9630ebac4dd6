"""What a chunk was about, whether its ids are still there or only their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from expunge.domain.digest import hidden
from expunge.domain.identity import Keys
from expunge.errors import Unavailable
from expunge.ports import PartitionReader
from expunge.rebuild.ports import States
from expunge.wire.forgotten import KeyedChunk


class Targets(NamedTuple):
    """The targets of a chunk by their keys, in the order of their ordinals."""

    nodes: Sequence[bytes]
    left_out: frozenset[bytes]
    """What they were told to leave out."""
    holding: bool
    returned: int

    def __repr__(self) -> str:
        return hidden(self)


def of_keyed(chunk: KeyedChunk) -> Targets:
    """Of a chunk that is forgotten."""
    return Targets(chunk.nodes, frozenset(chunk.left_out), chunk.holding, chunk.returned)


class TargetsOf:
    """The targets of one case's chunks."""

    def __init__(self, store: States, reader: PartitionReader, keys: Keys, partition: int, case_id: str) -> None:
        self._store, self._reader, self._key = store, reader, keys.asset
        self._partition, self._case_id = partition, case_id
        self._keyed: dict[str, KeyedChunk] | None = None

    def of(self, digest: str) -> Targets:
        """The targets of a chunk.

        Raises:
            Unavailable: neither the chunk lies on `plans` nor what is kept of one that is forgotten.
        """
        try:
            body = self._reader.body(self._case_id, digest)
        except Unavailable as error:
            if error.server or digest not in self.keyed:
                raise
            return of_keyed(self.keyed[digest])
        left_out = frozenset(map(self._key, body.excluded))
        return Targets([self._key(asset) for asset in body.assets], left_out, body.holding, body.returned)

    @property
    def keyed(self) -> dict[str, KeyedChunk]:
        """What is kept of chunks that are forgotten, or were about to be."""
        if self._keyed is None:
            self._keyed = self._store.keyed(self._partition, self._case_id)
        return self._keyed
