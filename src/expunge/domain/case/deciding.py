"""What an operator decides about what is open in a system, and answers for."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.case import chunk_facts, facts, walking
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.messages import Decided, Thawed
from expunge.domain.case.turn import ReconsiderOn, Reschedule, SetAside, Turn
from expunge.domain.controls import Option
from expunge.domain.plan import UNCOMMANDABLE
from expunge.domain.policy.rules import Event
from expunge.domain.vocabulary import OPEN, OVER, UNDONE, Action, Claim

DECIDED = "decided"
"""As a word that is held against all chunks."""
HAPPENED = "happened"
"""The same for what policy has put off."""
_EVENTS = {Option.RESTORED: Event.RESTORE, Option.SCHEDULE_ENDED: Event.SCHEDULE}


def decided(turn: Turn, message: Decided) -> None:
    """Settle misses, what nobody can be told to do (also what turns up later), what waits, or when a model is made."""
    case = turn.case
    if message.content in case.controls:
        return
    reason = "case_has_ended" if case.status in OVER or case.cancelling else ""
    if not reason and not _systems(turn, message):
        reason = "nothing_of_that_system" if message.system else "no_model_waits"
    if not reason:
        reason = _changes_nothing(turn, message)
    if reason:
        turn.emit(SetAside(message.place, message.content, reason))
        return
    begin_by = _begin_by(turn, message)
    turn.record(
        facts.Decided(
            system=message.system,
            model=message.model,
            option=message.option,
            begin_by=begin_by,
            operator=message.operator,
            control=message.content,
        )
    )
    event = _EVENTS.get(message.option)
    if begin_by is not None:
        systems = _systems(turn, message)
        word = (message.place, message.content) if len(systems) == 1 else None
        for system in systems:
            turn.emit(Reschedule(system, message.model, begin_by, word))
    elif event is not None:
        turn.record(facts.Happened(event=event, system=message.system))
        turn.emit(ReconsiderOn(HAPPENED, "", turn.case.sequence))
    else:
        turn.emit(ReconsiderOn(DECIDED, "", turn.case.sequence))


def _changes_nothing(turn: Turn, message: Decided) -> str:
    """Why a word would change nothing by now; empty where it does, or holds for what turns up later."""
    lines = [line for line, _ in turn.case.counts if line.system == message.system]
    barred = any(line.claim == OPEN and line.reason in UNCOMMANDABLE for line in lines)
    if message.option is Option.EXEMPT and not barred:
        return "nothing_to_exempt"
    if message.option is Option.ACCEPT_NOT_FOUND and not any(line.claim == Claim.NOT_FOUND for line in lines):
        return "nothing_is_missed"
    return ""


def thawed(turn: Turn, message: Thawed) -> None:
    """What waited for a frozen case is handled; that is the coordinator's to do. Here it is recorded who said so."""
    if message.content in turn.case.controls:
        return
    if turn.case.case_id not in turn.standing.frozen:
        turn.emit(SetAside(message.place, message.content, "case_is_not_frozen"))
        return
    if message.watermark:  # what is registered again lies before the word: the case waits until it is in the index
        turn.record(facts.WatermarkRaised(watermark=walking.later_marks(turn.case.watermark, message.watermark)))
    turn.record(facts.Thawed(operator=message.operator, control=message.content))


def _systems(turn: Turn, message: Decided) -> list[str]:
    """The systems that a word may be about."""
    lines = [line for line, _ in turn.case.counts]
    if message.model:
        lines = [line for line in lines if line.action == Action.RETRAIN_WITHOUT and line.claim in UNDONE]
    return sorted({line.system for line in lines if message.system in ("", line.system)})


def _begin_by(turn: Turn, message: Decided) -> datetime | None:
    """By when a model must be begun, as the operator says; the aggregate sees to it that due dates hold."""
    return max(turn.now, message.due_at or turn.now) if message.option.of_a_model else None


def exempt(turn: Turn, chunk: ChunkState) -> None:
    """Keep what cannot be commanded in a system of which an operator has decided so."""
    if chunk.summary.system in turn.case.exempted and not chunk.commandable and chunk.left:
        turn.record(chunk_facts.Exempted(chunk=chunk.summary.digest), chunk)
