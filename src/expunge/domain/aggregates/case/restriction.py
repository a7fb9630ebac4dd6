"""The end of a restriction: consent that is given again, or a restriction that is lifted.

What was restricted is let go again, by a command of its own; what was not yet restricted need not be any more.
"""

from __future__ import annotations

from typing import Any

from expunge.domain.aggregates.case.chunks import GRANTED_AGAIN, LETTERS, OPEN_LETTERS, ChunkState, Note, Phase
from expunge.domain.aggregates.case.fact import OPEN_ONE, CaseFact, ChunkFact, reread
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.suppression import RESTRICTED
from expunge.domain.scope import Granted
from expunge.domain.vocabulary import RESTRICTING, Action, Claim

GRANTED = "granted"
"""As a word for which a command is withdrawn, and that is held against all chunks."""
_RESTRICTED = frozenset(LETTERS[claim] for claim in RESTRICTING)


class PurposeGranted(CaseFact):
    """A revoked purpose was granted again: what is collected from then on is not the case's."""

    fact = "purpose_granted"
    granted: Granted

    def change(self, case: Case) -> Case:
        """Of two grants of one purpose the later stands."""
        others = tuple(each for each in case.granted if each.purpose != self.granted.purpose)
        return case.model_copy(update={"granted": (*others, self.granted)})


class Spared(ChunkFact):
    """What was to be restricted need not be: consent was given again, or the restriction lifted, before it was."""

    fact = "spared"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What is open is exempt."""
        after = reread(chunk, OPEN_LETTERS, LETTERS[Claim.EXEMPT])
        if chunk.left:
            after["notes"] = (*after["notes"], Note(reason=GRANTED_AGAIN, ordinals=chunk.left))
        return after | {"phase": Phase.BARRED}


class LiftDue(ChunkFact):
    """What was restricted for these purposes must be let go again."""

    fact = "lift_due"
    purposes: tuple[str, ...]

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """Whatever may have been restricted is to be let go: also what its system failed to answer for."""
        lifted = tuple(sorted({*chunk.lifted, *self.purposes}))
        after = {"lifting": self.purposes, "lifted": lifted, "phase": Phase.BARRED, "next_at": None}
        return after | reread(chunk, OPEN_LETTERS | _RESTRICTED, OPEN_ONE) | {"exhausted": False}


def end(turn: Turn, chunk: ChunkState) -> ChunkState:
    """The chunk after what was granted again was held against it. While its command is out, nothing changes."""
    purposes = turn.case.granted and _due(turn, chunk)
    if not purposes or chunk.out:
        return chunk
    if chunk.attempt:
        return turn.change(LiftDue(chunk=chunk.summary.digest, purposes=purposes))
    if not set(purposes) >= set(_restricted_for(turn, chunk)):
        return chunk  # it is restricted for another purpose, too: then for all, and let go for this one
    return turn.change(Spared(chunk=chunk.summary.digest))


def against(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """The word against a command that restricts for nothing any more."""
    if not turn.case.granted or chunk.lifting or not chunk.attempt:
        return ()
    return (GRANTED,) if set(_due(turn, chunk)) >= set(_restricted_for(turn, chunk)) else ()


def _due(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """The purposes for which a chunk must be let go of, and was not yet."""
    if chunk.summary.action is not Action.RESTRICT or not chunk.commandable:
        return ()
    again = {each.purpose for each in turn.case.granted} - set(chunk.lifted)
    return tuple(sorted(again.intersection(_restricted_for(turn, chunk))))


def _restricted_for(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    if chunk.summary.action is not Action.RESTRICT:
        return (RESTRICTED,)
    return turn.body(chunk).purposes or (RESTRICTED,)
