"""What an operator decides about what is open in a system, and answers for."""

from __future__ import annotations

from expunge.domain.case import chunk_facts, facts
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.messages import Decided
from expunge.domain.case.turn import ReconsiderOn, SetAside, Turn
from expunge.domain.vocabulary import OVER

DECIDED = "decided"
"""As a word that is held against all chunks."""


def decided(turn: Turn, message: Decided) -> None:
    """Settle misses, or what nobody can be told to do: also what turns up later in the same system."""
    case = turn.case
    if message.content in case.controls:
        return
    reason = "case_has_ended" if case.status in OVER or case.cancelling else ""
    if not reason and all(line.system != message.system for line, _ in case.counts):
        reason = "nothing_of_that_system"
    if reason:
        turn.emit(SetAside(message.place, message.content, reason))
        return
    fact = facts.Decided(
        system=message.system, option=message.option, operator=message.operator, control=message.content
    )
    turn.record(fact)
    turn.emit(ReconsiderOn(DECIDED, "", turn.case.sequence))


def exempt(turn: Turn, chunk: ChunkState) -> None:
    """Keep what cannot be commanded in a system of which an operator has decided so."""
    if chunk.summary.system in turn.case.exempted and not chunk.commandable and chunk.left:
        turn.record(chunk_facts.Exempted(chunk=chunk.summary.digest), chunk)
