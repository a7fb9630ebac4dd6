"""What an operator decides about what is open in a system, or about a case that waits, and answers for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from expunge.domain.aggregates.case import deferral, watermark
from expunge.domain.aggregates.case.chunks import LETTERS, OPEN_LETTERS, ChunkState, Note
from expunge.domain.aggregates.case.effects import ReconsiderOn, Reschedule
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, heard, reread
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.planning.chunks import UNCOMMANDABLE
from expunge.domain.planning.policy.rules import Awaited
from expunge.domain.values import Hex
from expunge.domain.vocabulary import OPEN, OVER, UNDONE, Action, Claim
from expunge.wire.cases.words import DecisionSaid, ThawSaid
from expunge.wire.controls import Option

DECIDED = "decided"
"""As a word that is held against all chunks, and as the reason why something is kept."""
_EVENTS = {Option.RESTORED: Awaited.RESTORE, Option.SCHEDULE_ENDED: Awaited.SCHEDULE}
_LISTS = {Option.ACCEPT_NOT_FOUND: "accepted", Option.EXEMPT: "exempted"}
"""Where systems are listed of which something was decided."""


class Decided(CaseFact):
    """An operator settled what is open in a system, or when a model is made anew."""

    fact = "decided"
    system: str
    model: str = ""
    """The key of the model that is meant."""
    option: Option
    begin_by: datetime | None = None
    """Of a model."""
    operator: str
    control: Hex

    def change(self, case: Case) -> Case:
        """It holds for what turns up later, too."""
        case, field = heard(case, self.control), _LISTS.get(self.option)
        if field is None:
            return case
        return case.model_copy(update={field: tuple(sorted({*getattr(case, field), self.system}))})


class Exempted(ChunkFact):
    """What could not be commanded is kept: an operator decided so."""

    fact = "exempted"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What is open is exempt."""
        after = reread(chunk, OPEN_LETTERS, LETTERS[Claim.EXEMPT])
        return after | {"notes": (*after["notes"], Note(reason=DECIDED, ordinals=chunk.left))}


class Thawed(CaseFact):
    """An operator let a case go on that a message had frozen."""

    fact = "thawed"
    operator: str
    control: Hex

    def change(self, case: Case) -> Case:
        """Said again it is the same."""
        return heard(case, self.control)


def settle(turn: Turn, message: DecisionSaid) -> None:
    """Settle misses, what nobody can be told to do (also what turns up later), what waits, or when a model is made."""
    if message.content in turn.case.controls:
        return
    if reason := _why_not(turn, message):
        turn.emit(SetAside(message.place, message.content, reason))
        return
    begin_by = max(turn.now, message.due_at or turn.now) if message.option.of_a_model else None
    turn.record(
        Decided(
            system=message.system,
            model=message.model,
            option=message.option,
            begin_by=begin_by,
            operator=message.operator,
            control=message.content,
        )
    )
    if begin_by is not None:  # the aggregate of the model sees to it that due dates hold
        systems = _systems(turn, message)
        word = (message.place, message.content) if len(systems) == 1 else None
        for system in systems:
            turn.emit(Reschedule(system, message.model, begin_by, word))
    elif event := _EVENTS.get(message.option):
        deferral.note_event(turn, event, message.system)
    else:
        turn.emit(ReconsiderOn(DECIDED, "", turn.case.sequence))


def _why_not(turn: Turn, message: DecisionSaid) -> str:
    """Why a word changes nothing by now; empty where it does, or holds for what turns up later."""
    if turn.case.status in OVER or turn.case.cancelling:
        return "case_has_ended"
    if not _systems(turn, message):
        return "nothing_of_that_system" if message.system else "no_model_waits"
    lines = [line for line, _ in turn.case.counts if line.system == message.system]
    barred = any(line.claim == OPEN and line.reason in UNCOMMANDABLE for line in lines)
    if message.option is Option.EXEMPT and not barred:
        return "nothing_to_exempt"
    if message.option is Option.ACCEPT_NOT_FOUND and not any(line.claim == Claim.NOT_FOUND for line in lines):
        return "nothing_is_missed"
    return ""


def _systems(turn: Turn, message: DecisionSaid) -> list[str]:
    """The systems that a word may be about."""
    lines = [line for line, _ in turn.case.counts]
    if message.model:
        lines = [line for line in lines if line.action == Action.RETRAIN_WITHOUT and line.claim in UNDONE]
    return sorted({line.system for line in lines if message.system in ("", line.system)})


def exempt(turn: Turn, chunk: ChunkState) -> None:
    """Keep what cannot be commanded in a system of which an operator has decided so."""
    if chunk.summary.system in turn.case.exempted and not chunk.commandable and chunk.left:
        turn.record(Exempted(chunk=chunk.summary.digest))


def thaw(turn: Turn, message: ThawSaid) -> None:
    """What waited for a frozen case is handled; that is the coordinator's to do. Here it is recorded who said so."""
    if message.content in turn.case.controls:
        return
    if turn.case.case_id not in turn.standing.frozen:
        turn.emit(SetAside(message.place, message.content, "case_is_not_frozen"))
        return
    # What is registered again lies before the word: the case waits until it is in the index.
    watermark.wait_for(turn, message.watermark)
    turn.record(Thawed(operator=message.operator, control=message.content))
