"""One decision in progress: facts recorded so far are already applied, effects wait in order."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.effects import Effect
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, apply
from expunge.domain.aggregates.case.overlay import Overlay
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.aggregates.decision import Context
from expunge.domain.planning.chunks import Chunk
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.registry import System
from expunge.wire.cases.case import Root


class Turn:
    """The state as this decision sees it, and what it has decided so far.

    Attributes:
        now: the later of the case's own time and the message's append time (rule "time and ids").
        chunks: those that this decision has changed.
        facts: with their sequence numbers.
        to_look_into: holds, and whether to wait for the indexers no longer -> chunks.
        to_look_at: chunks for which something has changed, in order: what follows for them is decided when all is
            recorded.
    """

    def __init__(self, case: Case | None, reader: CaseReader, context: Context) -> None:
        self.now: datetime = max(case.now, context.at) if case else context.at
        self.case_or_none = case.model_copy(update={"now": self.now}) if case else None
        self.registry, self.standing, self._policies = context.registry, context.standing, context.policies
        self.keys = context.keys
        self.chunks: dict[str, ChunkState] = {}
        self._reader = Overlay(reader, {case.case_id: self.chunks} if case else {})
        self.facts: list[tuple[int, CaseFact]] = []
        self.effects: list[Effect] = []
        self.to_look_into: dict[tuple[tuple[str, ...], bool], list[str]] = {}
        self.to_look_at: dict[str, None] = {}

    @property
    def case(self) -> Case:
        """The case with every recorded fact applied; it exists by now."""
        if self.case_or_none is None:
            raise RuntimeError("turn: the case is not open yet")
        return self.case_or_none

    def open(self, case: Case, fact: CaseFact) -> None:
        """Record the first fact, with the case that it begins."""
        self.case_or_none = case.model_copy(update={"told_at": case.now})
        self.facts.append((case.sequence, fact))

    def record(self, fact: CaseFact) -> None:
        """Record a fact and apply it."""
        known = {fact.chunk: self._known(fact.chunk)} if isinstance(fact, ChunkFact) else {}
        case, touched = apply(self.case, known, fact)
        self.case_or_none = case.model_copy(update={"told_at": self.now})
        self.chunks.update(touched)
        self.facts.append((self.case.sequence, fact))

    def change(self, fact: ChunkFact) -> ChunkState:
        """Record what happened to a chunk; the chunk after it."""
        self.record(fact)
        return self.chunks[fact.chunk]

    def look_at(self, digest: str) -> None:
        """Hold what stands against a chunk once everything is recorded (`decide`)."""
        self.to_look_at[digest] = None

    def emit(self, effect: Effect) -> None:
        """Put an effect behind those that wait."""
        self.effects.append(effect)

    def policy_of(self, digest: str) -> Policy:
        """A policy that cases may be bound to."""
        return self._policies.of(digest)

    @property
    def policy(self) -> Policy:
        """The policy that the case is bound to."""
        return self._policies.of(self.case.policy)

    def system(self, chunk: ChunkState) -> System:
        """A chunk's system as configured; one that was removed since keeps the defaults until it has answered."""
        return self.registry.system(chunk.summary.system) or System(name=chunk.summary.system)

    def chunk(self, digest: str) -> ChunkState | None:
        """A chunk with this turn's facts applied."""
        return self._reader.chunk(self.case.case_id, digest)

    def _known(self, digest: str) -> ChunkState:
        found = self.chunk(digest)
        if found is None:
            raise RuntimeError("turn: a fact about a chunk that is not there")
        return found

    def chunk_of(self, command: str) -> ChunkState | None:
        """The chunk that a command carries, with this turn's facts applied."""
        return self._reader.chunk_of(self.case.case_id, command)

    def body(self, chunk: ChunkState) -> Chunk:
        """The targets of a chunk."""
        return self._reader.body(self.case.case_id, chunk.summary.digest)

    @property
    def root(self) -> Root | None:
        """What the case was opened with."""
        return self._reader.root(self.case.case_id)

    def digests(self, generation: int) -> list[str]:
        """All chunks of a generation."""
        return self._reader.digests(self.case.case_id, generation)

    def waiting(self, generation: int, stage: int, limit: int) -> list[ChunkState]:
        """Chunks to which their stage has not come yet, in order, at most `limit`."""
        return self._chunks(self._reader.waiting(self.case.case_id, generation, stage, limit))

    def live(self, after: str, limit: int) -> list[ChunkState]:
        """Live chunks behind `after`, in order, at most `limit`."""
        return self._chunks(self._reader.live(self.case.case_id, after, limit))

    def _chunks(self, digests: list[str]) -> list[ChunkState]:
        return [chunk for digest in digests if (chunk := self.chunk(digest))]
