"""What is recorded of a case: the facts of the ledger; `apply` gives the state back from them.

A fact holds counts, digests and moments, never a name of a person or an asset: nobody ever has to erase from the
ledger (rule "no names"). What belongs to a fact but may not stand there lies in `plans`.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, get_args

from expunge.domain.case.chunk_facts import (
    Accepted,
    Answered,
    Barred,
    Commanded,
    CommandRefused,
    DeferralEnded,
    Deferred,
    Exempted,
    Exhausted,
    HoldEnded,
    HoldsAsked,
    HoldsFound,
    Joined,
    LiftDue,
    Produced,
    ProducedPlanned,
    Recalled,
    ReplacementAsked,
    ReplacementJudged,
    Spared,
    Withdrawn,
)
from expunge.domain.case.state import Held
from expunge.domain.controls import Option
from expunge.domain.plan import ChunkSummary
from expunge.domain.scope import Granted, Hex, ScopeKind, Value
from expunge.domain.vocabulary import Regime, Status


class Opened(Value):
    """A request became a case."""

    fact: ClassVar[str] = "opened"
    scope: ScopeKind
    regime: Regime
    publisher: str
    received_at: datetime
    clamped: bool
    clock: str
    """The rule of policy that the dates come from; they stand in the zone where its days begin."""
    acknowledge_by: datetime | None = None
    """Until when the requester must have heard that it was received, where the law says so."""
    acknowledged_late: bool = False
    due_at: datetime
    warn_at: datetime
    extendable_to: datetime | None = None
    extended_warn_at: datetime | None = None
    provisions: tuple[tuple[str, datetime], ...] = ()
    """Of an order: id and deadline of each."""
    dry_run: bool
    commitment: Hex
    """Digest of salt and content: it binds the ledger to the request without telling what it was."""


class WalkAnnounced(Value):
    """Tasks were given to the resolvers."""

    fact: ClassVar[str] = "walk_announced"
    generation: int
    tasks: tuple[Hex, ...]
    sealed: tuple[Hex, ...] = ()
    """Containers that these tasks plan."""
    settles_at: datetime | None = None
    """Until when the generation that begins here collects what is late, before its plan is fixed."""


class WalkWaits(Value):
    """The indexers were behind; the roots are asked again later."""

    fact: ClassVar[str] = "walk_waits"
    retry_at: datetime


class TaskAnswered(Value):
    """A resolver answered a task with chunks, further tasks, and containers to be planned last."""

    fact: ClassVar[str] = "task_answered"
    generation: int
    task: Hex
    spawned: tuple[Hex, ...] = ()
    chunks: tuple[ChunkSummary, ...] = ()
    containers: tuple[tuple[Hex, int], ...] = ()
    """With when they came back after they had been purged (milliseconds since 1970), or 0."""
    population: dict[str, int] = {}
    """System -> how many assets it has registered, about."""
    last: bool = True
    """Whether the answer ends the task; a long one comes in parts."""


class PlanFixed(Value):
    """The walk of a generation has ended; its plan never changes again."""

    fact: ClassVar[str] = "plan_fixed"
    generation: int
    plan_digest: Hex
    chunks: int
    obligations: int
    at: datetime
    """From here on what policy puts off is counted."""


class AwaitsApproval(Value):
    """A plan lies above thresholds of its policy: no command leaves until so many operators have approved it."""

    fact: ClassVar[str] = "awaits_approval"
    generation: int
    plan_digest: Hex
    rules: tuple[str, ...]
    approvals: int


class PlanApproved(Value):
    """An operator approved a plan."""

    fact: ClassVar[str] = "plan_approved"
    generation: int
    operator: str
    control: Hex
    """Keyed digest of the operator's word."""


class PlanRejected(Value):
    """An operator rejected a plan: it is not carried out."""

    fact: ClassVar[str] = "plan_rejected"
    generation: int
    operator: str
    control: Hex


class RatesAsked(Value):
    """It is being counted with other cases whether a plan may go."""

    fact: ClassVar[str] = "rates_asked"
    generation: int
    rates: tuple[Hex, ...]


class RateWaits(Value):
    """With other cases a plan is above a limit: it waits at a place in a group."""

    fact: ClassVar[str] = "rate_waits"
    generation: int
    rate: Hex
    group: int
    place: int
    rules: tuple[str, ...]


class RateCleared(Value):
    """A plan may go as far as one publisher or system is concerned."""

    fact: ClassVar[str] = "rate_cleared"
    generation: int
    rate: Hex
    operator: str = ""
    control: str = ""
    """The word by which an operator let it go, with others; empty where none was needed."""


class LateHeld(Value):
    """Late assets wait for the next generation: the open one has collected for long enough."""

    fact: ClassVar[str] = "late_held"
    assets: tuple[Held, ...]


class NothingFound(Value):
    """A later walk ended without anything new: there is no further generation."""

    fact: ClassVar[str] = "nothing_found"
    generation: int


class StageStarted(Value):
    """Commands of a stage begin to go out."""

    fact: ClassVar[str] = "stage_started"
    generation: int
    stage: int
    ends_at: datetime


class StageEnded(Value):
    """Everything in a stage is settled, or its share of the clock is over."""

    fact: ClassVar[str] = "stage_ended"
    generation: int
    stage: int
    by_clock: bool


class Purged(Value):
    """Every stage of a generation has ended."""

    fact: ClassVar[str] = "purged"
    generation: int


class WatermarkRaised(Value):
    """A system discovered assets: the case waits until the indexers have applied them."""

    fact: ClassVar[str] = "watermark_raised"
    watermark: dict[str, dict[str, int]]


class IndexApplied(Value):
    """Every statement that was on the inlets when the request arrived is in the index."""

    fact: ClassVar[str] = "index_applied"


class IndexChanged(Value):
    """The lineage of something changed that holds were held against: what was found then must be looked at anew."""

    fact: ClassVar[str] = "index_changed"


class PurposeGranted(Value):
    """A revoked purpose was granted again: what is collected from then on is not the case's."""

    fact: ClassVar[str] = "purpose_granted"
    granted: Granted


class Warned(Value):
    """The due date came near while something was open."""

    fact: ClassVar[str] = "warned"


class Extended(Value):
    """An operator put the due date off, and the requester was told why."""

    fact: ClassVar[str] = "extended"
    due_at: datetime
    warn_at: datetime
    operator: str
    control: Hex


class CancelAsked(Value):
    """An operator cancelled the request: nothing more is commanded, and what is with systems is withdrawn."""

    fact: ClassVar[str] = "cancel_asked"
    operator: str
    control: Hex


class Thawed(Value):
    """An operator let a case go on that a message had frozen."""

    fact: ClassVar[str] = "thawed"
    operator: str
    control: Hex


class Decided(Value):
    """An operator settled what is open in a system, or when a model is made anew."""

    fact: ClassVar[str] = "decided"
    system: str
    model: str = ""
    """The key of the model that is meant."""
    option: Option
    begin_by: datetime | None = None
    """Of a model."""
    operator: str
    control: Hex


class Happened(Value):
    """Something happened for which commands of the case wait; without a system, it may have been in any."""

    fact: ClassVar[str] = "happened"
    event: str
    system: str = ""


class GraceBegun(Value):
    """Until this moment the request can be taken back before anything is done for it."""

    fact: ClassVar[str] = "grace_begun"
    until: datetime


class GraceEnded(Value):
    """The time in which it could be taken back is over."""

    fact: ClassVar[str] = "grace_ended"


class Reconsidering(Value):
    """What an operator said is held against the chunks of a large case, page by page."""

    fact: ClassVar[str] = "reconsidering"
    word: str
    serial: int
    done: bool


class Overdue(Value):
    """The due date passed while something was open."""

    fact: ClassVar[str] = "overdue"


class ProvisionEnded(Value):
    """The deadline of an order's provision passed, with so many obligations open."""

    fact: ClassVar[str] = "provision_ended"
    provision: str
    open: int


class Closed(Value):
    """The case reached one of its final states."""

    fact: ClassVar[str] = "closed"
    status: Status


class Reopened(Value):
    """Something that belongs to the case turned up after it was closed, or an answer was taken back."""

    fact: ClassVar[str] = "reopened"
    status: Status = Status.RESOLVING


Fact = (
    Opened
    | WalkAnnounced
    | WalkWaits
    | TaskAnswered
    | PlanFixed
    | AwaitsApproval
    | PlanApproved
    | PlanRejected
    | RatesAsked
    | RateWaits
    | RateCleared
    | LateHeld
    | NothingFound
    | StageStarted
    | StageEnded
    | Purged
    | Commanded
    | CommandRefused
    | Joined
    | ReplacementAsked
    | ReplacementJudged
    | Produced
    | ProducedPlanned
    | Barred
    | Recalled
    | Withdrawn
    | HoldsAsked
    | HoldsFound
    | HoldEnded
    | Spared
    | Exempted
    | LiftDue
    | CancelAsked
    | Decided
    | Thawed
    | Happened
    | GraceBegun
    | GraceEnded
    | Reconsidering
    | Deferred
    | DeferralEnded
    | Exhausted
    | Accepted
    | Answered
    | WatermarkRaised
    | IndexApplied
    | IndexChanged
    | PurposeGranted
    | Warned
    | Extended
    | Overdue
    | ProvisionEnded
    | Closed
    | Reopened
)
ALL: tuple[type[Value], ...] = get_args(Fact)
"""Every kind of fact."""
