"""The dispatcher: one message, one state, one decision. Pure; the same input gives the same output for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from expunge.domain.case import closing, purging, walking
from expunge.domain.case.facts import Fact
from expunge.domain.case.messages import (
    Applied,
    CaseMessage,
    Continue,
    GrantedAgain,
    HoldingDeclared,
    Late,
    LateAsset,
    Opened,
    Planned,
    Receipted,
    TimerFired,
)
from expunge.domain.case.state import Case, CaseReader, ChunkState
from expunge.domain.case.turn import Emission, SetAside, Turn
from expunge.domain.registry import Registry
from expunge.domain.scope import Arrival
from expunge.domain.vocabulary import Status
from expunge.domain.walk import TaskKind


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """What one message leads to."""

    case: Case | None
    chunks: dict[str, ChunkState]
    facts: tuple[tuple[int, Fact], ...]
    """With their sequence numbers."""
    emissions: tuple[Emission, ...]


def decide(
    case: Case | None, reader: CaseReader, message: CaseMessage, appended_at: datetime, registry: Registry
) -> Decision:
    """The decision on one message.

    Args:
        case: the case as it stands; None if it does not exist.
        reader: the rest of the state.
        message: what happened.
        appended_at: when the broker took the message: the only clock there is.
        registry: who exists and what they can do.
    """
    now = max(case.now, appended_at) if case else appended_at
    turn = Turn(case.model_copy(update={"now": now}) if case else None, now, reader, registry)
    if isinstance(message, Opened):
        walking.opened(turn, message)
    elif case is not None:
        _known(turn, message)
    elif isinstance(message, Receipted):
        turn.emit(SetAside(message.place, message.content, "receipt_without_case"))
    after = turn.case_or_none if turn.facts else case
    return Decision(after, turn.chunks, tuple(turn.facts), tuple(turn.emissions))


def _known(turn: Turn, message: CaseMessage) -> None:
    match message:
        case Planned():
            walking.planned(turn, message)
        case Receipted():
            purging.receipted(turn, message)
        case Late():
            walking.late(turn, message)
        case HoldingDeclared():
            _ask_holding(turn, message)
        case TimerFired():
            _fired(turn, message.timer)
        case Continue():
            purging.go_on(turn, message)
        case GrantedAgain():
            walking.granted(turn, message)
        case Applied():
            if closing.applied(turn, message):
                purging.advance(turn)


def _ask_holding(turn: Turn, message: HoldingDeclared) -> None:
    asset = LateAsset(key=message.holding, arrival=Arrival.THROUGH)
    walking.late(turn, Late(case_id=turn.case.case_id, assets=(asset,)), TaskKind.HOLDING)


def _fired(turn: Turn, timer: str) -> None:
    name, _, rest = timer.partition(":")
    if name == "walk":
        walking.walk_again(turn)
    elif name == "settle":
        walking.fix_if_walked(turn)
    elif name == "due":
        purging.due(turn)
    elif name == "stage":
        purging.advance(turn)
    elif name == "chunk":
        purging.repeat(turn, rest)


def timers(case: Case) -> dict[str, datetime]:
    """When the case must be looked at again, by timer: a function of its state, so a rebuild has them too."""
    wanted = {"walk": case.walk_retry_at}
    finished = case.status in {Status.COMPLETED, Status.COMPLETED_WITH_DEFERRALS}
    if not (case.overdue or finished or case.dry_run):
        wanted["due"] = case.due_at
    if case.open_generation is not None:
        wanted["settle"] = case.open_generation.settles_at
    for generation in case.generations:
        if generation.fixed and not generation.done:
            wanted[f"stage:{generation.number}"] = generation.stage_ends_at
    return {name: at for name, at in wanted.items() if at is not None}
