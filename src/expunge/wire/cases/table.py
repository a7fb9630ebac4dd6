"""Every message on `cases`, by its type."""

from __future__ import annotations

from expunge.domain.values import Value
from expunge.wire.cases import retraining
from expunge.wire.cases.case import (
    Applied,
    Continue,
    EmissionRefused,
    ForgetGoesOn,
    Froze,
    GrantedAgain,
    HoldingKnown,
    HoldsSeen,
    Late,
    LineageChanged,
    Planned,
    ProbeAnswered,
    ProbeGoesOn,
    RateAnswered,
    Receipted,
    Reconsider,
    ReplacementSeen,
    RequestSetAside,
    RequestTaken,
    ThawOn,
    TimerFired,
)
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.suppression import Published, Suppress
from expunge.wire.cases.words import (
    ApprovalSaid,
    CancellationSaid,
    Control,
    DecisionSaid,
    ExtensionSaid,
    ForgetSaid,
    GroupSaid,
    HoldReadBack,
    HoldSaid,
    PauseSaid,
    ProbeSaid,
    RejectionSaid,
    ReleaseSaid,
    RetrySaid,
    Said,
    ThawSaid,
)

CaseMessage = (
    RequestTaken
    | Planned
    | Receipted
    | Late
    | HoldingKnown
    | TimerFired
    | Continue
    | Applied
    | GrantedAgain
    | Reconsider
    | HoldsSeen
    | ReplacementSeen
    | RateAnswered
    | LineageChanged
    | EmissionRefused
    | RequestSetAside
    | ForgetGoesOn
    | ProbeGoesOn
    | ProbeAnswered
    | Control
)

_OfNoCase = Froze | ThawOn | Suppress | Published | HoldReadBack | RateAsked | RateLeft

Message = CaseMessage | Said | _OfNoCase | retraining.Message

TYPES: dict[str, type[Message]] = {
    "expunge.internal.opened.v1": RequestTaken,
    "expunge.internal.planned.v1": Planned,
    "expunge.internal.receipted.v1": Receipted,
    "expunge.internal.late.v1": Late,
    "expunge.internal.holding.v1": HoldingKnown,
    "expunge.internal.timer.v1": TimerFired,
    "expunge.internal.continue.v1": Continue,
    "expunge.internal.applied.v1": Applied,
    "expunge.internal.granted.v1": GrantedAgain,
    "expunge.internal.approved.v1": ApprovalSaid,
    "expunge.internal.rejected.v1": RejectionSaid,
    "expunge.internal.extended.v1": ExtensionSaid,
    "expunge.internal.cancelled.v1": CancellationSaid,
    "expunge.internal.decided.v1": DecisionSaid,
    "expunge.internal.forget.v1": ForgetSaid,
    "expunge.internal.forget_on.v1": ForgetGoesOn,
    "expunge.internal.probe.v1": ProbeSaid,
    "expunge.internal.probe_on.v1": ProbeGoesOn,
    "expunge.internal.probed.v1": ProbeAnswered,
    "expunge.internal.retry.v1": RetrySaid,
    "expunge.internal.reconsider.v1": Reconsider,
    "expunge.internal.holds_seen.v1": HoldsSeen,
    "expunge.internal.replacement_seen.v1": ReplacementSeen,
    "expunge.internal.retrain_joined.v1": retraining.JoinAsked,
    "expunge.internal.retrain_left.v1": retraining.LeaveAsked,
    "expunge.internal.retrain_scheduled.v1": retraining.ScheduleAsked,
    "expunge.internal.pause.v1": PauseSaid,
    "expunge.internal.hold_placed.v1": HoldSaid,
    "expunge.internal.hold_released.v1": ReleaseSaid,
    "expunge.internal.hold_read_back.v1": HoldReadBack,
    "expunge.internal.rate_asked.v1": RateAsked,
    "expunge.internal.rate_left.v1": RateLeft,
    "expunge.internal.rate_answered.v1": RateAnswered,
    "expunge.internal.group.v1": GroupSaid,
    "expunge.internal.index_changed.v1": LineageChanged,
    "expunge.internal.emission_refused.v1": EmissionRefused,
    "expunge.internal.froze.v1": Froze,
    "expunge.internal.thawed.v1": ThawSaid,
    "expunge.internal.request_set_aside.v1": RequestSetAside,
    "expunge.internal.thaw_on.v1": ThawOn,
    "expunge.internal.suppress.v1": Suppress,
    "expunge.internal.published.v1": Published,
}

TYPE_OF: dict[type[Value], str] = {model: name for name, model in TYPES.items()}
