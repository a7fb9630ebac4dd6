"""What a rebuild needs beside the ports of roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from expunge.domain.planning.policy.rules import Policy
from expunge.ports import CaseStore, ChunkStore
from expunge.wire.forgotten import ChunksForgotten, KeyedChunk


class States(CaseStore, ChunkStore, Protocol):
    """The state of `cases` partitions, to be written anew."""

    def case_ids(self, partition: int) -> Iterator[str]:
        """Every case of a partition."""

    def put_keyed(self, partition: int, kept: ChunksForgotten) -> None:
        """Keep what stands for chunks that are forgotten, until the rebuild is done with their case."""

    def keyed(self, partition: int, case_id: str) -> dict[str, KeyedChunk]:
        """The same by the digest of the chunk."""

    def drop_keyed(self, partition: int, case_id: str) -> None:
        """The rebuild is done with the case."""


class KeptPolicies(Protocol):
    """The policies that cases are bound to."""

    def restore(self, digest: str, policy: Policy) -> None:
        """Put one where roles find it, under the digest by which cases name it."""
