"""Doing now what would be tried later: an operator knows that a system is well again, and no timer does."""

from __future__ import annotations

from typing import Any

from expunge.domain.aggregates.case import gate
from expunge.domain.aggregates.case.chunks import ChunkState, Phase
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, heard
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.values import Hex
from expunge.domain.vocabulary import UNDONE

RETRY = "retry:"
"""What the word begins with that is held against all chunks; the system follows, or nothing: every one is meant."""
NOTHING_TO_RETRY = "nothing_to_retry"


class Retried(CaseFact):
    """An operator has commands sent once more at once that would be repeated later."""

    fact = "retried"
    operator: str
    control: Hex
    system: str = ""
    """Only there; empty: wherever something is open."""

    def change(self, case: Case) -> Case:
        """Said again it is the same."""
        return heard(case, self.control)


class TriedByHand(ChunkFact):
    """An operator has the command of a chunk sent once more, before its time."""

    fact = "tried_by_hand"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """That counts for no repetition: who is asked too early must not be given up for it."""
        return {"by_hand": chunk.by_hand + 1}


def owes(case: Case, system: str) -> bool:
    """Whether something is open in a system, or anywhere."""
    return any(number and line.claim in UNDONE and system in {"", line.system} for line, number in case.counts)


def try_now(turn: Turn, chunk: ChunkState, system: str) -> None:
    """Send a command once more that nobody has answered for good, or that the broker did not take.

    Whatever stands against it holds it back as ever, and what policy or its system has put off is not due by this.
    """
    if system not in {"", chunk.summary.system} or chunk.pooled or chunk.replacement or chunk.asked:
        return
    if chunk.phase is Phase.BARRED and chunk.refused:
        gate.look_again(turn, chunk)
    elif chunk.phase is Phase.SENT and chunk.left:
        gate.look_again(turn, chunk)
        after = turn.chunks.get(chunk.summary.digest, chunk)
        if after.phase is Phase.SENT and after.attempt == chunk.attempt and not after.asked:
            gate.send(turn, turn.change(TriedByHand(chunk=chunk.summary.digest)))
    elif chunk.phase is Phase.RECALLED:  # as long as its system has not let go, nothing else is sent
        gate.look_again(turn, chunk)
        gate.recall_again(turn, turn.chunks.get(chunk.summary.digest, chunk))
