"""The dispatcher: one message, one state, one decision. Pure; the same input gives the same output for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from expunge.domain.case import (
    answering,
    closing,
    dates,
    deciding,
    guarding,
    purging,
    reconsidering,
    replacing,
    walking,
)
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.facts import Fact
from expunge.domain.case.messages import (
    Applied,
    Approved,
    Cancelled,
    CaseMessage,
    Continue,
    Decided,
    EmissionRefused,
    Extended,
    GrantedAgain,
    HoldingDeclared,
    HoldsSeen,
    IndexChanged,
    Late,
    LateAsset,
    Opened,
    Planned,
    RateAnswered,
    Receipted,
    Reconsider,
    Rejected,
    ReplacementSeen,
    Thawed,
    TimerFired,
)
from expunge.domain.case.state import Case, CaseReader
from expunge.domain.case.turn import Emission, LookIntoHolds, SetAside, Turn
from expunge.domain.policy.rules import Policies
from expunge.domain.registry import Registry
from expunge.domain.scope import Arrival
from expunge.domain.standing import Standing
from expunge.domain.task import TaskKind
from expunge.domain.vocabulary import CLOSED, OVER


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """What one message leads to."""

    case: Case | None
    chunks: dict[str, ChunkState]
    facts: tuple[tuple[int, Fact], ...]
    """With their sequence numbers."""
    emissions: tuple[Emission, ...]


def decide(
    case: Case | None,
    reader: CaseReader,
    message: CaseMessage,
    appended_at: datetime,
    registry: Registry,
    policies: Policies,
    standing: Standing,
) -> Decision:
    """The decision on one message.

    Args:
        case: the case as it stands; None if it does not exist.
        reader: the rest of the state.
        message: what happened.
        appended_at: when the broker took the message: the only clock there is.
        registry: who exists and what they can do.
        policies: what should happen, and by when.
        standing: what operators have said that holds for every case of the partition.
    """
    now = max(case.now, appended_at) if case else appended_at
    turn = Turn(case.model_copy(update={"now": now}) if case else None, now, reader, registry, policies, standing)
    if isinstance(message, Opened):
        walking.opened(turn, message)
    elif case is not None:
        _known(turn, message)
    elif isinstance(message, Receipted):
        turn.emit(SetAside(message.place, message.content, "receipt_without_case"))
    elif isinstance(message, CONTROLS):
        turn.emit(SetAside(message.place, message.content, "control_without_case"))
    for (asked, force), digests in turn.to_look_into.items():
        holds = tuple(standing.holds[each] for each in asked)
        turn.emit(LookIntoHolds(tuple(digests), holds, turn.case.index_changes, force))
    after = turn.case_or_none if turn.facts else case
    return Decision(after, turn.chunks, tuple(turn.facts), tuple(turn.emissions))


def _known(turn: Turn, message: CaseMessage) -> None:
    if turn.case.status in OVER and not isinstance(message, (Receipted, RateAnswered, *CONTROLS)):
        return
    if turn.case.cancelling and not isinstance(message, (*_WHILE_CANCELLING, *CONTROLS)):
        return
    handler = _HANDLERS.get(type(message))
    if handler is not None:
        handler(turn, message)


CONTROLS = (Approved, Rejected, Extended, Cancelled, Decided, Thawed)
"""What operators say of one case."""
_WHILE_CANCELLING = (Receipted, Reconsider, HoldsSeen, RateAnswered, TimerFired, EmissionRefused)
"""What still matters to a case that waits for systems to let go of its commands."""


def _applied(turn: Turn, message: Applied) -> None:
    if closing.applied(turn, message):
        purging.advance(turn)


def _ask_holding(turn: Turn, message: HoldingDeclared) -> None:
    if turn.case.status in CLOSED:  # it is alive for what its holds and deferrals may still ask for
        return
    asset = LateAsset(key=message.holding, arrival=Arrival.THROUGH)
    walking.late(turn, Late(case_id=turn.case.case_id, assets=(asset,)), TaskKind.HOLDING)


def _fired(turn: Turn, message: TimerFired) -> None:
    name, _, rest = message.timer.partition(":")
    if turn.case.cancelling and name != "chunk":
        return
    if name == "due" and rest:
        dates.provision_due(turn, rest)
        return
    if name == "walk":
        walking.walk_again(turn)
    elif name == "settle":
        walking.fix_if_walked(turn)
    elif name == "due":
        dates.due(turn)
    elif name == "warn":
        dates.warn(turn)
    elif name in {"stage", "grace", "patience"}:
        purging.advance(turn)
    elif name == "chunk":
        purging.repeat(turn, rest)


_HANDLERS: dict[type[Any], Callable[[Turn, Any], None]] = {
    Planned: walking.planned,
    Receipted: answering.receipted,
    Late: walking.late,
    HoldingDeclared: _ask_holding,
    TimerFired: _fired,
    Continue: purging.go_on,
    GrantedAgain: reconsidering.granted,
    Approved: guarding.approved,
    Rejected: guarding.rejected,
    Extended: dates.extended,
    Cancelled: reconsidering.cancelled,
    Decided: deciding.decided,
    Reconsider: reconsidering.reconsider,
    HoldsSeen: reconsidering.holds_seen,
    IndexChanged: reconsidering.index_changed,
    EmissionRefused: answering.refused,
    Thawed: deciding.thawed,
    ReplacementSeen: replacing.seen,
    RateAnswered: guarding.rate_answered,
    Applied: _applied,
}


def timers(case: Case) -> dict[str, datetime]:
    """When the case must be looked at again, by timer: a function of its state, so a rebuild has them too."""
    if case.status in OVER or case.cancelling:
        return {}
    wanted = {"walk": case.walk_retry_at, "grace": case.grace_until}
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
