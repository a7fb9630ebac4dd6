"""One decision in progress: facts recorded so far are already applied, effects wait in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.effects import Effect
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, apply
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.aggregates.standing import Standing
from expunge.domain.planning.policy.rules import Policies, Policy
from expunge.domain.registry import Registry, System


@dataclass(slots=True, repr=False)
class Turn:
    """The state as this decision sees it, and what it has decided so far.

    Attributes:
        case: the case with every recorded fact applied; None before it is opened.
        now: the later of the case's own time and the message's append time (rule "time and ids").
    """

    case_or_none: Case | None
    now: datetime
    reader: CaseReader
    registry: Registry
    policies: Policies
    standing: Standing
    chunks: dict[str, ChunkState] = field(default_factory=dict)
    facts: list[tuple[int, CaseFact]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    to_look_into: dict[tuple[tuple[str, ...], bool], list[str]] = field(default_factory=dict)
    """Holds, and whether to wait for the indexers no longer -> chunks."""
    to_look_at: dict[str, None] = field(default_factory=dict)
    """Chunks for which something has changed, in order: what follows for them is decided when all is recorded."""

    @property
    def case(self) -> Case:
        """The case, which exists by now."""
        if self.case_or_none is None:
            raise RuntimeError("turn: the case is not open yet")
        return self.case_or_none

    def open(self, case: Case, fact: CaseFact) -> None:
        """Record the first fact, with the case that it begins."""
        self.case_or_none = case
        self.facts.append((case.sequence, fact))

    def record(self, fact: CaseFact) -> None:
        """Record a fact and apply it."""
        known = {fact.chunk: self._known(fact.chunk)} if isinstance(fact, ChunkFact) else {}
        self.case_or_none, touched = apply(self.case, known, fact)
        self.chunks.update(touched)
        self.facts.append((self.case.sequence, fact))

    def change(self, fact: ChunkFact) -> ChunkState:
        """Record what happened to a chunk; the chunk after it."""
        self.record(fact)
        return self.chunks[fact.chunk]

    def look_at(self, digest: str) -> None:
        """Hold what stands against a chunk once everything is recorded (`decide`)."""
        self.to_look_at[digest] = None

    @property
    def policy(self) -> Policy:
        """The policy that the case is bound to."""
        return self.policies.of(self.case.policy)

    def system(self, chunk: ChunkState) -> System:
        """A chunk's system as configured; one that was removed since keeps the defaults until it has answered."""
        return self.registry.system(chunk.summary.system) or System(name=chunk.summary.system)

    def emit(self, effect: Effect) -> None:
        """Put an effect behind those that wait."""
        self.effects.append(effect)

    def chunk(self, digest: str) -> ChunkState | None:
        """A chunk with this turn's facts applied."""
        return self.chunks.get(digest) or self.reader.chunk(self.case.case_id, digest)

    def _known(self, digest: str) -> ChunkState:
        found = self.chunk(digest)
        if found is None:
            raise RuntimeError("turn: a fact about a chunk that is not there")
        return found

    def chunk_of(self, command: str) -> ChunkState | None:
        """The chunk that a command carries, with this turn's facts applied."""
        found = self.reader.chunk_of(self.case.case_id, command)
        return self.chunks.get(found.summary.digest, found) if found else None

    def digests(self, generation: int) -> list[str]:
        """All chunks of a generation, this turn's included."""
        mine = {digest for digest, chunk in self.chunks.items() if chunk.generation == generation}
        return sorted({*self.reader.digests(self.case.case_id, generation), *mine})

    def waiting(self, generation: int, stage: int, limit: int) -> list[ChunkState]:
        """Chunks to which their stage has not come yet, in order, at most `limit`."""
        mine = {d for d, c in self.chunks.items() if c.generation == generation and c.summary.stage == stage}
        stored = self.reader.waiting(self.case.case_id, generation, stage, limit + len(mine))
        found = [chunk for digest in sorted({*stored, *mine}) if (chunk := self.chunk(digest))]
        return [chunk for chunk in found if chunk.waits][:limit]

    def live(self, after: str, limit: int) -> list[ChunkState]:
        """Live chunks behind `after`, in order, at most `limit`; as they stood before this turn."""
        found = self.reader.live(self.case.case_id, after, limit)
        return [chunk for digest in found if (chunk := self.chunk(digest))]
