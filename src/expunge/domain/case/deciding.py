"""What an operator decides about what is open in a system, and answers for."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.case import chunk_facts, facts
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.messages import Decided
from expunge.domain.case.turn import ReconsiderOn, Reschedule, SetAside, Turn
from expunge.domain.controls import Option
from expunge.domain.policy.rules import Event
from expunge.domain.vocabulary import OVER, UNDONE, Action

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
