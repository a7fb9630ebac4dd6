"""What was decided, laid over what is stored: a batch over the store, a decision over its batch."""

from __future__ import annotations

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import CaseReader
from expunge.domain.planning.chunks import Chunk
from expunge.wire.cases.case import Root

Changed = dict[str, dict[str, ChunkState]]
"""Case -> digest -> a chunk that was changed."""


class Overlay:
    """See `CaseReader`: what was changed stands in the place of what lies below."""

    def __init__(self, below: CaseReader, changed: Changed) -> None:
        self._below, self._changed = below, changed

    def _mine(self, case_id: str) -> dict[str, ChunkState]:
        return self._changed.get(case_id, {})

    def root(self, case_id: str) -> Root | None:
        """What a case was opened with."""
        return self._below.root(case_id)

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """The state of one chunk."""
        return self._mine(case_id).get(digest) or self._below.chunk(case_id, digest)

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """The chunk that a command carries; a command that it has forgotten since is nobody's."""
        mine = self._mine(case_id)
        found = next((chunk for chunk in mine.values() if chunk.carries(command)), None)
        if found is None and (found := self._below.chunk_of(case_id, command)) is not None:
            found = mine.get(found.summary.digest, found)
        return found if found is not None and found.carries(command) else None

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk, which never change."""
        return self._below.body(case_id, digest)

    def digests(self, case_id: str, generation: int) -> list[str]:
        """All chunks of a generation."""
        mine = {digest for digest, chunk in self._mine(case_id).items() if chunk.generation == generation}
        return sorted({*self._below.digests(case_id, generation), *mine})

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """Chunks to which their stage has not come yet, in order, at most `limit`."""
        mine = self._mine(case_id)
        stored = self._below.waiting(case_id, generation, stage, limit + len(mine))
        here = (generation, stage)
        fresh = [d for d, chunk in mine.items() if chunk.waits and (chunk.generation, chunk.summary.stage) == here]
        return sorted({*fresh, *(digest for digest in stored if digest not in mine)})[:limit]

    def live(self, case_id: str, after: str, limit: int) -> list[str]:
        """Chunks that are live, in order, behind `after`, at most `limit`."""
        mine = {digest: chunk for digest, chunk in self._mine(case_id).items() if digest > after}
        stored = self._below.live(case_id, after, limit + len(mine))
        fresh = [digest for digest, chunk in mine.items() if chunk.live]
        return sorted({*fresh, *(digest for digest in stored if digest not in mine)})[:limit]
