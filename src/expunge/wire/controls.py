"""What operators may say: the data of every event on `controls`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import Field, StrictInt, StrictStr, StringConstraints, model_validator

from expunge.domain.events import Instant
from expunge.domain.limits import MAX_AGAIN_DAYS, MAX_SAMPLE, MOST_PLACES
from expunge.wire.form import AssetId, Hex16, Identity, Inlet, Short, Strict, SystemName, Word

Reason = Annotated[Short, Field(min_length=1)]
HoldId = Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""As the operator numbers it; it stands in the ledger for ever."""


class Control(Strict):
    """What an operator says."""

    operator: Word


class CaseControl(Control):
    """What an operator says of one case."""

    case_id: Hex16


class PlanApproval(CaseControl):
    """What this very plan says may be done."""

    plan_digest: Hex16
    reason: Short | None = None


class PlanRejection(CaseControl):
    """What this very plan says must not be done."""

    plan_digest: Hex16
    reason: Reason


class DeadlineExtended(CaseControl):
    """More time is taken, as far as the law lets it be, and the requester is told why."""

    reason: Reason


class RequestCancelled(CaseControl):
    """The request was taken back: nothing more is done for it, and what is with systems is withdrawn."""

    reason: Reason


class SetAsidePlace(Inlet):
    """Where a message lies that was set aside; the topic is named in full."""

    topic: Word
    partition: Annotated[StrictInt, Field(ge=0, lt=2**31)]
    offset: Annotated[StrictInt, Field(ge=0, lt=2**53)]


class CaseThawed(CaseControl):
    """A case that a message had frozen goes on: what waited for it is handled in order."""

    reason: Short | None = None
    places: Annotated[tuple[SetAsidePlace, ...], Field(max_length=MOST_PLACES + 1)] = ()
    """What other roles had set aside of it and was published again, or is left out for good: it goes on without that.

    While something that was set aside is named in no thaw, the case stays frozen.
    """
    skip: Word | None = None
    """Leave out the message that is the next to be handled, which no version ever will: as `expunge case thaw` saw it.

    So a word that is said twice leaves out one message.
    """


class CaseForgotten(CaseControl):
    """A case that has ended is forgotten before its evidence period has passed: ids go, digests and counts stay."""

    reason: Reason


class ProbeRequested(CaseControl):
    """Somebody else than its agent looks in each system that has a prober whether what was said to be gone is gone."""

    sample: Annotated[StrictInt, Field(ge=1, le=MAX_SAMPLE)] | None = None
    """So many obligations; all of them, where it is not given."""
    again_days: Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=MAX_AGAIN_DAYS)], ...], Field(max_length=12)] = ()
    """After so many days each it is done once more. A later word of this kind takes the place of what was planned."""


class CaseRetried(CaseControl):
    """What would be tried later is tried now: commands that are open go out once more."""

    system: SystemName | None = None
    """Only there; wherever something is open, where none is named."""
    reason: Short | None = None


class Option(StrEnum):
    """What an operator may decide about what is open in a system."""

    ACCEPT_NOT_FOUND = "accept_not_found"
    """The system does not find much of what it registered, and that is right."""
    EXEMPT = "exempt"
    """What nobody can be told to do there is kept, for the reason that the operator gives."""
    RESTORED = "restored"
    """Something there was restored to use, or looked into: what waited for that goes on."""
    SCHEDULE_ENDED = "schedule_ended"
    """Its schedule has replaced what it had: what waited for that goes on."""
    RETRAIN_NOW = "retrain_now"
    """A model that waits for other requests is made anew at once."""
    RETRAIN_BY = "retrain_by"
    """A model is made anew from `due_at` on, or as late as the due date of the case lets it be."""

    @property
    def of_a_model(self) -> bool:
        """Whether it is about one model, by its id, and not about a system."""
        return self in {Option.RETRAIN_NOW, Option.RETRAIN_BY}


class ObligationDecided(CaseControl):
    """What is open in a system, or when a model is made anew, is settled by a person who answers for it."""

    asset: AssetId | None = None
    system: SystemName | None = None
    option: Option
    rationale: Reason
    due_at: Instant | None = None

    @model_validator(mode="after")
    def _about_what(self) -> ObligationDecided:
        if self.option.of_a_model != (self.asset is not None):
            raise ValueError(f"{self.option} names {'an asset' if self.option.of_a_model else 'no asset'}")
        if not self.option.of_a_model and self.system is None:
            raise ValueError(f"{self.option} names a system")
        if (self.option is Option.RETRAIN_BY) != (self.due_at is not None):
            raise ValueError("retrain_by needs due_at (--by), and nothing else has one")
        return self


class _OneOf(Strict):
    """A scope names exactly one thing."""

    @model_validator(mode="after")
    def _one(self) -> _OneOf:
        if sum(getattr(self, field) is not None for field in type(self).model_fields) != 1:
            raise ValueError(f"name exactly one of {', '.join(type(self).model_fields)}")
        return self


class PauseScope(_OneOf):
    """Whose commands are paused."""

    all: Literal[True] | None = None
    system: SystemName | None = None
    publisher: SystemName | None = None
    case_id: Hex16 | None = None


class EmissionPaused(Control):
    """No command leaves for this scope, and what is with systems is withdrawn, until it is resumed."""

    scope: PauseScope
    reason: Reason


class EmissionResumed(Control):
    """Commands for this scope may leave again."""

    scope: PauseScope
    reason: Short | None = None


class HoldScope(_OneOf):
    """What a hold covers."""

    case_id: Hex16 | None = None
    subject: Identity | None = None
    data_source: Word | None = None
    asset: AssetId | None = None
    system: SystemName | None = None


class HoldPlaced(Control):
    """Something must be kept, whatever requests say, until the hold is released."""

    hold_id: HoldId
    scope: HoldScope
    basis: Reason
    custodian: Reason
    review_by: Instant | None = None


class HoldReleased(Control):
    """A hold has ended: what it covered is carried out."""

    hold_id: HoldId
    reason: Short | None = None


AnyControl = (
    PlanApproval
    | PlanRejection
    | DeadlineExtended
    | RequestCancelled
    | ObligationDecided
    | CaseThawed
    | CaseForgotten
    | ProbeRequested
    | CaseRetried
    | EmissionPaused
    | EmissionResumed
    | HoldPlaced
    | HoldReleased
)
CONTROLS: dict[str, tuple[str, type[AnyControl]]] = {
    "expunge.plan.approved.v1": ("approve", PlanApproval),
    "expunge.plan.rejected.v1": ("approve", PlanRejection),
    "expunge.deadline.extended.v1": ("decide", DeadlineExtended),
    "expunge.request.cancelled.v1": ("decide", RequestCancelled),
    "expunge.obligation.decided.v1": ("decide", ObligationDecided),
    "expunge.case.thawed.v1": ("decide", CaseThawed),
    "expunge.case.forgotten.v1": ("decide", CaseForgotten),
    "expunge.probe.requested.v1": ("probe", ProbeRequested),
    "expunge.case.retried.v1": ("decide", CaseRetried),
    "expunge.emission.paused.v1": ("pause", EmissionPaused),
    "expunge.emission.resumed.v1": ("pause", EmissionResumed),
    "expunge.hold.placed.v1": ("hold", HoldPlaced),
    "expunge.hold.released.v1": ("hold", HoldReleased),
}
"""Event type -> the role that an operator needs for it, and its data."""

KNOWN_FIELDS = frozenset(
    name for model in (*get_args(AnyControl), PauseScope, HoldScope, Identity) for name in model.model_fields
)
"""Names that may be repeated in a dead letter."""
