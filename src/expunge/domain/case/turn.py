"""One decision in progress: facts recorded so far are already applied, emissions wait in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from expunge.domain.case import apply as replay
from expunge.domain.case import facts as ledger
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.messages import Place, Root
from expunge.domain.case.state import Case, CaseReader
from expunge.domain.policy.rules import Policies, Policy
from expunge.domain.rates import Limit
from expunge.domain.registry import Registry, System
from expunge.domain.standing import Hold, Standing
from expunge.domain.task import Found, TaskKind


@dataclass(frozen=True, slots=True, repr=False)
class WriteRoot:
    """Keep the root part of a case in `plans`."""

    root: Root


@dataclass(frozen=True, slots=True, repr=False)
class SuppressAgain:
    """Say what must not be collected again."""


@dataclass(frozen=True, slots=True, repr=False)
class StartTask:
    """Give a task to the resolvers."""

    kind: TaskKind
    task_id: str
    generation: int
    nodes: str = ""
    returned: int = 0
    force: bool = False
    found: tuple[Found, ...] = ()
    """Of what a system discovered; `system` is that."""
    system: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class SendCommand:
    """Send the command of a chunk."""

    chunk: ChunkState
    attempt: int


@dataclass(frozen=True, slots=True, repr=False)
class WithdrawCommand:
    """Tell a system not to carry out the command of a chunk, or to say what it has done already."""

    chunk: ChunkState
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Reschedule:
    """Say by when a model must be begun that waits to be made anew for several cases."""

    system: str
    model: str
    """Its key."""
    begin_by: datetime
    word: tuple[Place, str] | None
    """Place and keyed digest of the word, for the dead letters if nothing waits; None: it may be about another."""


@dataclass(frozen=True, slots=True, repr=False)
class LookIntoHolds:
    """Ask a resolver which targets of some chunks the holds cover."""

    chunks: tuple[str, ...]
    holds: tuple[Hold, ...]
    after: int
    """How many changes of the index the case has heard of."""
    force: bool
    """It has waited for the indexers for as long as it may."""


@dataclass(frozen=True, slots=True, repr=False)
class LookIntoReplacement:
    """Ask a resolver whether the case's data leads to a model that took another's place."""

    chunk: str
    replacement: str
    """Its key."""
    looks: int
    made_after_ms: int
    """When the plan was fixed: what was made before was made for nobody's request."""


@dataclass(frozen=True, slots=True, repr=False)
class AskRate:
    """Ask whether a plan may go, counted with those of other cases."""

    of: str
    generation: int
    obligations: int
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True, repr=False)
class LeaveRate:
    """Say that plans of the case wait in a group no longer."""

    rate: str
    group: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ReconsiderOn:
    """Go on holding a word against the chunks of the case, in a message behind whatever waits."""

    word: str
    after: str
    serial: int


@dataclass(frozen=True, slots=True, repr=False)
class SuppressNoLonger:
    """Say that the request no longer asks for anything not to be collected."""


@dataclass(frozen=True, slots=True, repr=False)
class WriteClaims:
    """Keep what a receipt said, with its details, in `plans`."""

    chunk: str
    sequence: int


@dataclass(frozen=True, slots=True, repr=False)
class NoteAnswers:
    """Note on the marks of a chunk's targets what their system said of them, and when."""

    chunk: str
    clean: tuple[str, ...]
    """The case's data is out of these (rule "own products")."""
    gone: tuple[str, ...]
    """These are deleted: stated again, they have come back (rule "returns")."""
    at_ms: int


@dataclass(frozen=True, slots=True, repr=False)
class Confirm:
    """Tell the publisher about a milestone."""

    milestone: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Reject:
    """Tell the publisher that a request cannot be taken, and keep its place in the dead letters."""

    root: Root
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class SetAside:
    """Keep the place of a message that can never be right in the dead letters."""

    place: Place
    content: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class ContinueStage:
    """Go on with a stage in a message of its own, behind whatever waits."""

    generation: int
    stage: int


Emission = (
    WriteRoot
    | SuppressAgain
    | StartTask
    | SendCommand
    | WithdrawCommand
    | Reschedule
    | LookIntoHolds
    | LookIntoReplacement
    | AskRate
    | LeaveRate
    | ReconsiderOn
    | SuppressNoLonger
    | WriteClaims
    | NoteAnswers
    | Confirm
    | Reject
    | SetAside
    | ContinueStage
)


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
    facts: list[tuple[int, ledger.Fact]] = field(default_factory=list)
    emissions: list[Emission] = field(default_factory=list)
    to_look_into: dict[tuple[tuple[str, ...], bool], list[str]] = field(default_factory=dict)
    """Holds, and whether to wait for the indexers no longer -> chunks."""

    @property
    def case(self) -> Case:
        """The case, which exists by now."""
        if self.case_or_none is None:
            raise RuntimeError("turn: the case is not open yet")
        return self.case_or_none

    def open(self, fact: ledger.Opened, root: Root) -> None:
        """Record the first fact."""
        self.case_or_none = replay.open_case(fact, root, self.now)
        self.facts.append((1, fact))

    def record(self, fact: ledger.Fact, *named: ChunkState) -> None:
        """Record a fact and apply it; `named` are the chunks that it speaks of."""
        known = {chunk.summary.digest: chunk for chunk in named}
        self.case_or_none, touched = replay.apply(self.case, known, fact)
        self.chunks.update(touched)
        self.facts.append((self.case.sequence, fact))

    @property
    def policy(self) -> Policy:
        """The policy that the case is bound to."""
        return self.policies.of(self.case.policy)

    def system(self, chunk: ChunkState) -> System:
        """A chunk's system as configured; one that was removed since keeps the defaults until it has answered."""
        return self.registry.system(chunk.summary.system) or System(name=chunk.summary.system)

    def emit(self, emission: Emission) -> None:
        """Put an emission behind those that wait."""
        self.emissions.append(emission)

    def chunk(self, digest: str) -> ChunkState | None:
        """A chunk with this turn's facts applied."""
        return self.chunks.get(digest) or self.reader.chunk(self.case.case_id, digest)

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
