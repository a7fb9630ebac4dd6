"""`apply` for facts about one chunk: its state, and the counts of its case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from expunge.domain.case.chunk_facts import Accepted, Answered, Commanded, DeferralEnded, Deferred, Exhausted
from expunge.domain.case.chunks import LETTERS, ChunkState, Note, Tally
from expunge.domain.case.state import Case
from expunge.domain.vocabulary import OPEN, Claim

BY_POLICY = "by_policy"
Chunks = dict[str, ChunkState]
"""Chunk states that a fact changes, by digest."""


def _commanded(case: Case, chunks: Chunks, fact: Commanded) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(_sent(case, before), before, attempt=fact.attempt, next_at=fact.next_at)


def _sent(case: Case, chunk: ChunkState) -> Case:
    """One chunk fewer for which its stage must still do something."""
    if not chunk.waits:
        return case
    sent = Counter(case.numbered(chunk.generation).sent) + Counter({chunk.summary.stage: 1})
    return case.with_generation(chunk.generation, sent=dict(sent))


def _deferred(case: Case, chunks: Chunks, fact: Deferred) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    size, until = before.summary.size, fact.until.date().isoformat()
    note = Note(reason=BY_POLICY, until=until, ordinals=tuple(range(size)))
    answers = LETTERS[Claim.DEFERRED] * size
    return _changed(_sent(case, before), before, answers=answers, notes=(note,), next_at=fact.until)


def _deferral_ended(case: Case, chunks: Chunks, fact: DeferralEnded) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(case, before, answers=LETTERS[OPEN] * before.summary.size, notes=())


def _exhausted(case: Case, chunks: Chunks, fact: Exhausted) -> tuple[Case, Chunks]:
    return _changed(case, chunks[fact.chunk], exhausted=True)


def _accepted(case: Case, chunks: Chunks, fact: Accepted) -> tuple[Case, Chunks]:
    return _changed(case, chunks[fact.chunk], receipt=(fact.attempt, fact.sequence), next_at=fact.next_at)


def _answered(case: Case, chunks: Chunks, fact: Answered) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(
        case,
        before,
        receipt=max(before.receipt, (fact.attempt, fact.sequence)),
        receipt_content=fact.receipt,
        answers=fact.answers,
        notes=fact.notes,
        next_at=fact.next_at,
    )


def _changed(case: Case, before: ChunkState, **changes: Any) -> tuple[Case, Chunks]:
    after = before.model_copy(update=changes)
    if before.settled != after.settled:
        generation = case.numbered(before.generation)
        unsettled = Counter(generation.unsettled)
        unsettled[before.summary.stage] += 1 if before.settled else -1
        case = case.with_generation(before.generation, unsettled=dict(unsettled))
    return recount(case, [before], [after]), {before.summary.digest: after}


def recount(case: Case, before: list[ChunkState], after: list[ChunkState]) -> Case:
    """The case with its counts after some chunks have changed."""
    counts: Counter[Tally] = Counter(dict(case.counts))
    unfinished = case.unfinished
    for chunk in before:
        counts.subtract(chunk.tally())
        unfinished -= not chunk.finished
    for chunk in after:
        counts.update(chunk.tally())
        unfinished += not chunk.finished
    kept = tuple(sorted((line, number) for line, number in counts.items() if number))
    return case.model_copy(update={"counts": kept, "unfinished": unfinished})


APPLY: dict[type[Any], Callable[[Case, Chunks, Any], Case | tuple[Case, Chunks]]] = {
    Commanded: _commanded,
    Deferred: _deferred,
    DeferralEnded: _deferral_ended,
    Exhausted: _exhausted,
    Accepted: _accepted,
    Answered: _answered,
}
"""What each of these facts changes."""
