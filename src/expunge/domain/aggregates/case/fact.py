"""What is recorded of a case: each fact says what it changes, so a case's facts, replayed, give its state back.

A fact holds counts, digests and moments, never a name of a person or an asset: nobody ever has to erase from the
ledger (rule "no names"). What belongs to a fact but may not stand there lies in `plans`. Facts stand in the slice of
which they tell; `facts` lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

from expunge.domain.aggregates.case.chunks import ENDING_LETTERS, HELD_LETTER, LETTERS, ChunkState, Note, Tally
from expunge.domain.aggregates.case.state import Case
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import OPEN

Chunks = dict[str, ChunkState]
"""Chunks that a fact changes, by digest."""
OPEN_ONE = LETTERS[OPEN]
PUT_OFF_LETTERS = ENDING_LETTERS - {HELD_LETTER}
"""Put off by policy or by a system; what a hold of ours covers is not."""


class CaseFact(Value):
    """Something that happened to a case."""

    fact: ClassVar[str]
    """Its name: the type of its event on the ledger (`wire.ledger`)."""

    def change(self, case: Case) -> Case:
        """The case after it."""
        raise NotImplementedError

    def apply(self, case: Case, chunks: Chunks) -> tuple[Case, Chunks]:
        """The case after it, and the chunks that it changes, of which it finds the earlier state in `chunks`."""
        del chunks
        return self.change(case), {}


class ChunkFact(CaseFact):
    """Something that happened to one chunk. It names targets by their ordinals."""

    chunk: Hex

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """Fields of the chunk, as they are after it."""
        raise NotImplementedError

    def apply(self, case: Case, chunks: Chunks) -> tuple[Case, Chunks]:
        """The chunk after it, and the case with its counts."""
        before = chunks[self.chunk]
        after = before.model_copy(update=self.changes(before))
        if after.looked is not None and after.answers != before.answers:
            after = after.model_copy(update={"looked": after.looked.after(before.answers, after.answers)})
        if after.next_at is not None and not after.ticks:
            after = after.model_copy(update={"next_at": None})
        return recounted(_in_generation(case, before, after), [before], [after]), {self.chunk: after}


def apply(case: Case, chunks: Chunks, fact: CaseFact) -> tuple[Case, Chunks]:
    """The state after one more fact: the case, and the chunks that the fact changed.

    Args:
        case: the state before.
        chunks: at least the chunk that the fact names.
        fact: any but the first (`opening.Opened.begin`).
    """
    after, touched = fact.apply(case, chunks)
    return after.model_copy(update={"sequence": case.sequence + 1}), touched


def _in_generation(case: Case, before: ChunkState, after: ChunkState) -> Case:
    """What a stage counts: chunks to which it has come, and chunks that are not settled."""
    generation, stage, changes = case.numbered(before.generation), before.summary.stage, {}
    if before.waits and not after.waits:
        changes["sent"] = dict(Counter(generation.sent) + Counter({stage: 1}))
    if before.settled != after.settled:
        unsettled = Counter(generation.unsettled)
        unsettled[stage] += 1 if before.settled else -1
        changes["unsettled"] = dict(unsettled)
    return case.with_generation(before.generation, **changes) if changes else case


def recounted(case: Case, before: Sequence[ChunkState], after: Sequence[ChunkState]) -> Case:
    """The case with its counts after some chunks have changed."""
    sums: dict[str, Any] = {"unfinished": case.unfinished, "out": case.out, "live": case.live}
    words: dict[str, int] = dict(case.unsettled)
    for sign, chunks in ((-1, before), (1, after)):
        for chunk in chunks:
            for word in chunk.unsettles:
                words[word] = words.get(word, 0) + sign
            sums["unfinished"] += sign * (not chunk.finished)
            sums["out"] += sign * chunk.out
            sums["live"] += sign * chunk.live
    sums["unsettled"] = {word: number for word, number in sorted(words.items()) if number}
    if [each.said for each in before] != [each.said for each in after]:
        sums["counts"] = _tallied(case, before, after)
    return case.model_copy(update=sums)


def _tallied(case: Case, before: Sequence[ChunkState], after: Sequence[ChunkState]) -> tuple[tuple[Tally, int], ...]:
    counts = dict(case.counts)
    for sign, chunks in ((-1, before), (1, after)):
        for chunk in chunks:
            for line, number in chunk.tally().items():
                counts[line] = counts.get(line, 0) + sign * number
    return tuple(sorted((line, number) for line, number in counts.items() if number))


def reread(
    chunk: ChunkState, letters: Collection[str], becomes: str, among: Collection[int] | None = None
) -> dict[str, Any]:
    """Answers and notes of a chunk when some letters become another: what was said with them no longer holds.

    Args:
        chunk: as it was.
        letters: those that change.
        becomes: what they become.
        among: the ordinals that are meant; all of them, where none are given.
    """
    wanted = range(chunk.summary.size) if among is None else among
    changed = {each for each in wanted if chunk.answers[each] in letters}
    answers = "".join(becomes if at in changed else letter for at, letter in enumerate(chunk.answers))
    return {"answers": answers, "notes": without(chunk.notes, changed)}


def without(notes: Iterable[Note], ordinals: Collection[int]) -> tuple[Note, ...]:
    """Notes that speak of some ordinals no longer."""
    left = (note.model_copy(update={"ordinals": tuple(sorted({*note.ordinals} - {*ordinals}))}) for note in notes)
    return tuple(note for note in left if note.ordinals)


def heard(case: Case, control: str) -> Case:
    """The case when an operator's word was taken: said again it is the same."""
    return case.model_copy(update={"controls": tuple(sorted({*case.controls, control}))})
