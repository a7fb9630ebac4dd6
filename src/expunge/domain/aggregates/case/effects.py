"""What a decision asks for beside facts: each effect is a message, or a note on marks, that the coordinator makes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.decision import SetAside
from expunge.wire.cases.case import Root
from expunge.wire.cases.rate import Ask
from expunge.wire.cases.said import Place
from expunge.wire.cases.words import Hold
from expunge.wire.confirmations import CaseConfirmed
from expunge.wire.tasks import Found, TaskKind


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
class AskProber:
    """Have somebody else than its agent look whether targets of a chunk are there."""

    chunk: ChunkState
    """Its `looked` says which."""
    answer_by: datetime


@dataclass(frozen=True, slots=True, repr=False)
class ProbeOn:
    """Go on with a probe behind a chunk, in a message behind whatever waits."""

    number: int
    after: str
    passed: int


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

    generation: int
    asks: tuple[Ask, ...]


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
    """Keep what a receipt said in `plans`, where the case has no part that is the receipt as it came."""

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
    said: CaseConfirmed


@dataclass(frozen=True, slots=True, repr=False)
class Reject:
    """Tell the publisher that a request cannot be taken, and keep its place in the dead letters."""

    root: Root
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class TellRejected:
    """Tell a publisher that a request was set aside before it became a case."""

    publisher: str
    rejection: dict[str, Any]
    """The data of `expunge.request.rejected.v1`."""


@dataclass(frozen=True, slots=True, repr=False)
class KeepKeys:
    """Keep in `plans` what must be known of some chunks when they are forgotten."""

    chunks: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ForgetOn:
    """Go on with forgetting behind a chunk, in a message behind whatever waits."""

    after: str
    serial: int
    holds: int


@dataclass(frozen=True, slots=True, repr=False)
class Forget:
    """Take away what the case was opened with, but for digests, and its chunks, which are these."""

    chunks: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class ContinueStage:
    """Go on with a stage in a message of its own, behind whatever waits."""

    generation: int
    stage: int


Effect = (
    WriteRoot
    | SuppressAgain
    | StartTask
    | SendCommand
    | WithdrawCommand
    | AskProber
    | ProbeOn
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
    | TellRejected
    | SetAside
    | KeepKeys
    | ForgetOn
    | Forget
    | ContinueStage
)
