"""The states of a model in a case, as regulators and orders speak of them: a view of its chunk, kept nowhere.

What there is to say of a model is in its chunk and in the case's counts; this names it. To stop serving it first is an
obligation of its own, with a chunk of its own.
"""

from __future__ import annotations

from enum import StrEnum

from expunge.domain.aggregates.case.chunks import LETTERS, UNCHECKED, ChunkState, Phase
from expunge.domain.aggregates.case.state import Case
from expunge.domain.vocabulary import OF_MODELS, OPEN, UNDONE, Action, Claim, Kind


class ModelState(StrEnum):
    """How far a model has come."""

    IDENTIFIED = "identified"
    """The case has reached it; its stage has not come, or nobody can be told."""
    QUARANTINED = "quarantined"
    """The same, and what serves it has been disabled."""
    KEPT_BACK = "kept_back"
    """Its stage has come, and an operator's word keeps its command back."""
    SCHEDULED = "scheduled"
    """It waits to be made anew together for other cases, too."""
    EXECUTING = "executing"
    """Its owner has been told."""
    ARTEFACTS_DESTROYED = "artefacts_destroyed"
    """Its owner says that it was made anew; whether its replacement is clean is not known, or it is not."""
    VERIFIED = "verified"
    """Its answer counts; something that is made with models of this case is still open."""
    CLOSED = "closed"
    """Its answer counts, and nothing that is made with models is open in the case."""
    ANONYMOUS = "anonymous"
    """Its owner says, with evidence, that nobody can be found in it."""
    DEFERRED = "deferred"
    HELD = "held"
    EXEMPT = "exempt"
    FAILED = "failed"


_ENDS = {
    LETTERS[Claim.HELD]: ModelState.HELD,
    LETTERS[Claim.EXEMPT]: ModelState.EXEMPT,
    LETTERS[Claim.ANONYMISED_WITH_PROOF]: ModelState.ANONYMOUS,
    LETTERS[Claim.DEFERRED]: ModelState.DEFERRED,
    LETTERS[Claim.BEYOND_USE]: ModelState.DEFERRED,
}


def is_model(chunk: ChunkState) -> bool:
    """Whether a chunk is about what becomes of models, and not about stopping to serve them."""
    return chunk.summary.kind is Kind.MODEL and chunk.summary.action is not Action.DISABLE


def state_of(case: Case, chunk: ChunkState) -> ModelState:
    """The state of the first model of a chunk; one that is made anew has a chunk of its own."""
    letter = chunk.answers[0]
    if letter in _ENDS:
        return _ENDS[letter]
    if letter not in {LETTERS[OPEN], LETTERS[Claim.FAILED]}:
        return ModelState.VERIFIED if _derivatives_open(case) else ModelState.CLOSED
    if chunk.replacement or any(note.reason == UNCHECKED for note in chunk.notes):
        return ModelState.ARTEFACTS_DESTROYED
    return _unanswered(case, chunk)


def _unanswered(case: Case, chunk: ChunkState) -> ModelState:
    if chunk.phase is Phase.WAITING:
        return ModelState.QUARANTINED if _disabled(case) else ModelState.IDENTIFIED
    if not chunk.out:
        return ModelState.KEPT_BACK
    if chunk.pooled and not chunk.begun:
        return ModelState.SCHEDULED
    return ModelState.FAILED if chunk.answers[0] == LETTERS[Claim.FAILED] else ModelState.EXECUTING


def _derivatives_open(case: Case) -> bool:
    return any(line.kind in OF_MODELS and line.claim in UNDONE for line, _ in case.counts)


def _disabled(case: Case) -> bool:
    return any(line.claim == Claim.DISABLED for line, _ in case.counts)
