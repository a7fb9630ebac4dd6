"""The decision on one message: what it says is recorded, then what follows for its chunks, then for the case.

Pure; the same input gives the same output for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from expunge.domain.aggregates.case import (
    approval,
    cancellation,
    deadlines,
    decisions,
    forgetting,
    gate,
    holds,
    late,
    opening,
    probing,
    receipts,
    replacement,
    resolution,
    stages,
    watermark,
    words,
)
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.effects import Effect, LookIntoHolds, SuppressAgain, TellRejected
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import Context, Decision, SetAside
from expunge.domain.vocabulary import CLOSED, OVER
from expunge.wire.cases.case import (
    Applied,
    Continue,
    EmissionRefused,
    ForgetGoesOn,
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
    TimerFired,
)
from expunge.wire.cases.table import CaseMessage
from expunge.wire.cases.words import (
    ApprovalSaid,
    CancellationSaid,
    DecisionSaid,
    ExtensionSaid,
    ForgetSaid,
    ProbeSaid,
    RejectionSaid,
    RetrySaid,
    ThawSaid,
)


class Stored(NamedTuple):
    """A case as it is stored: a bounded record, and the rest, which is read piece by piece."""

    case: Case | None
    reader: CaseReader


@dataclass(frozen=True, slots=True, repr=False)
class CaseDecision(Decision[Case, CaseFact, Effect]):
    """What one message leads to; of the chunks, those that it changes."""

    chunks: dict[str, ChunkState] = field(default_factory=dict)


def decide(stored: Stored, message: CaseMessage, context: Context) -> CaseDecision:
    """The decision on one message."""
    case, turn = stored.case, Turn(*stored, context)
    if isinstance(message, RequestTaken):
        opening.open_case(turn, message)
    elif case is None:
        _without_case(turn, message)
    elif _concerns(message, turn.case):
        _HANDLERS[type(message)](turn, message)
        _follow(turn, case)
    after = turn.case_or_none if turn.facts else case
    return CaseDecision(after, tuple(turn.facts), tuple(turn.effects), turn.chunks)


def _without_case(turn: Turn, message: CaseMessage) -> None:
    """What somebody outside says of a case that is not there is kept for a person to see."""
    if isinstance(message, RequestSetAside):
        turn.emit(TellRejected(message.publisher, message.rejection))
    if isinstance(message, Receipted):
        turn.emit(SetAside(message.place, message.content, "receipt_without_case"))
    elif isinstance(message, ProbeAnswered):
        turn.emit(SetAside(message.place, message.content, probing.NOT_PROBED))
    elif isinstance(message, CONTROLS):
        turn.emit(SetAside(message.place, message.content, "control_without_case"))


CONTROLS = (
    ApprovalSaid,
    RejectionSaid,
    ExtensionSaid,
    CancellationSaid,
    DecisionSaid,
    ThawSaid,
    ForgetSaid,
    ProbeSaid,
    RetrySaid,
)
"""What operators say of one case."""
_WHEN_OVER = (Receipted, RateAnswered, ProbeAnswered, TimerFired, ForgetGoesOn, *CONTROLS)
_WHILE_CANCELLING = (*_WHEN_OVER, Reconsider, HoldsSeen, EmissionRefused)
"""What still matters to a case that waits for systems to let go of its commands."""


def _concerns(message: CaseMessage, case: Case) -> bool:
    if case.status in OVER:
        return isinstance(message, _WHEN_OVER)
    return not case.cancelling or isinstance(message, _WHILE_CANCELLING)


def _follow(turn: Turn, before: Case) -> None:
    """What follows from all that was recorded: for the chunks that it concerns, then for the case."""
    for digest in turn.to_look_at:
        chunk = turn.chunk(digest)
        if chunk is not None:
            gate.look_again(turn, chunk)
        if not turn.case.cancelling:
            late.plan_produced(turn, digest)
    if turn.case.let_go and not before.let_go and not turn.case.dry_run:
        turn.emit(SuppressAgain())  # with the first plan that goes it is settled that the request is carried out
    stages.advance(turn)
    cancellation.end(turn)
    for (asked, force), digests in turn.to_look_into.items():
        which = tuple(turn.standing.holds[each] for each in asked)
        turn.emit(LookIntoHolds(tuple(digests), which, turn.case.index_changes, force))
    probing.end(turn)


def _fired(turn: Turn, message: TimerFired) -> None:
    name, _, rest = message.timer.partition(":")
    if name == FORGET:
        forgetting.is_due(turn)
    elif turn.case.status in OVER:
        return
    elif name == "chunk":
        stages.repeat(turn, rest)
    elif turn.case.cancelling:
        return
    elif name == "due" and rest:
        deadlines.end_provision(turn, rest)
    elif name in _TIMERS:
        _TIMERS[name](turn)


_TIMERS: dict[str, Callable[[Turn], None]] = {
    "walk": resolution.walk_again,
    "settle": resolution.fix_if_walked,
    "due": deadlines.end_term,
    "warn": deadlines.warn,
    "probe_again": probing.begin_again,
}
"""What a moment leads to by itself; to the end of a stage, a probe, of grace or of patience leads that time has passed.
"""


_HANDLERS: dict[type[Any], Callable[[Turn, Any], None]] = {
    Planned: resolution.take_answer,
    Applied: watermark.take_progress,
    Late: late.take_late,
    HoldingKnown: late.ask_holding,
    ApprovalSaid: approval.approve,
    RejectionSaid: approval.reject,
    RateAnswered: approval.take_rate_answer,
    Continue: stages.go_on,
    EmissionRefused: gate.take_refusal,
    Receipted: receipts.take_receipt,
    ReplacementSeen: replacement.take_verdict,
    HoldsSeen: holds.take_findings,
    LineageChanged: words.look_anew,
    GrantedAgain: words.grant,
    Reconsider: words.reconsider,
    CancellationSaid: cancellation.cancel,
    ExtensionSaid: deadlines.extend,
    DecisionSaid: decisions.settle,
    ThawSaid: decisions.thaw,
    ForgetSaid: forgetting.ask,
    ForgetGoesOn: forgetting.go_on,
    ProbeSaid: probing.ask,
    RetrySaid: words.retry,
    ProbeGoesOn: probing.go_on,
    ProbeAnswered: probing.take_answer,
    RequestSetAside: lambda *_: None,  # its case was opened by an earlier message
    TimerFired: _fired,
}


FORGET = "forget"
"""The timer at which a case is forgotten."""


def timers(case: Case) -> dict[str, datetime]:
    """When the case must be looked at again, by timer: a function of its state, so a rebuild has them too."""
    forget_at = forgetting.time_of(case)
    if case.status in OVER or case.cancelling:
        return {FORGET: forget_at} if forget_at else {}
    wanted: dict[str, datetime | None] = {FORGET: forget_at} | {"walk": case.walk_retry_at, "grace": case.grace_until}
    wanted |= {"probe": case.probing.ends_at if case.probing else None}
    wanted |= {"probe_again": case.probes_due[0].at if case.probes_due else None}
    if case.status not in CLOSED and not case.dry_run:
        wanted |= {"due": None if case.overdue else case.due_at, "warn": None if case.warned else case.warn_at}
        wanted |= {f"due:{each.provision}": None if each.ended else each.due_at for each in case.deadlines}
    if case.overdue and case.status not in CLOSED and case.now < case.patient_until:
        wanted["patience"] = case.patient_until
    if case.open_generation is not None and case.open_generation.walked:  # else an answer is awaited, and no moment
        wanted["settle"] = case.open_generation.settles_at
    for generation in case.generations:
        if generation.fixed and not generation.done:
            wanted[f"stage:{generation.number}"] = generation.stage_ends_at
    return {name: at for name, at in wanted.items() if at is not None}
