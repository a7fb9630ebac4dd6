"""What a case came to, told by its facts alone: nothing else that Expunge remembers is believed for a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from expunge.domain.aggregates.case.chunks import CLAIMS, GONE, ChunkState
from expunge.domain.aggregates.case.closing import Closed
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, apply
from expunge.domain.aggregates.case.opening import Opened
from expunge.domain.aggregates.case.probing import Probed
from expunge.domain.aggregates.case.receipts import Answered
from expunge.domain.aggregates.case.replacement import ReplacementJudged
from expunge.domain.aggregates.case.state import Case
from expunge.domain.digest import hidden
from expunge.domain.vocabulary import OPEN_LETTER, Grade
from expunge.wire.cases.case import Root

UNANSWERED = "E0"
"""The grade where a command is durable, and nobody has answered it."""
DECIDED = ""
"""The grade of what was decided here, by policy, a hold or an operator: it rests on no system's answer."""


class Told(NamedTuple):
    """A fact as the ledger tells it."""

    sequence: int
    fact: CaseFact
    at: datetime

    def __repr__(self) -> str:
        return hidden(self)


class Obligation(NamedTuple):
    """One obligation as it stands, named by chunk and ordinal."""

    chunk: ChunkState
    ordinal: int
    claim: str
    grade: str
    reason: str
    until: str

    def __repr__(self) -> str:
        return hidden(self)


class History(NamedTuple):
    """A case after some of its facts."""

    case: Case
    chunks: dict[str, ChunkState]
    grades: dict[str, list[str]]
    """Chunk -> what the answer of each ordinal rests on."""
    facts: Sequence[Told]
    ended_at: datetime | None
    """When it ended last; None: it has not."""

    def __repr__(self) -> str:
        return hidden(self)

    def obligations(self) -> Iterator[Obligation]:
        """All of them, in the order of their chunks' names."""
        for digest, chunk in sorted(self.chunks.items()):
            noted = {ordinal: note for note in chunk.notes for ordinal in note.ordinals}
            for ordinal, letter in enumerate(chunk.answers):
                note = noted.get(ordinal)
                reason, until = (note.reason, note.until) if note else (chunk.summary.reason, "")
                grade = self.grades[digest][ordinal]
                if grade == DECIDED and letter == OPEN_LETTER and chunk.attempt and not chunk.refused:
                    grade = UNANSWERED
                yield Obligation(chunk, ordinal, CLAIMS[letter], grade, reason, until)


def history(root: Root, told: Iterable[Told]) -> History:
    """Replay facts, each number once.

    Args:
        root: what the case was opened with.
        told: its facts; those that are said twice say the same.

    Raises:
        ValueError: one is missing.
    """
    case: Case | None = None
    ended_at: datetime | None = None
    chunks: dict[str, ChunkState] = {}
    grades: dict[str, list[str]] = {}
    said: dict[str, str] = {}
    kept: list[Told] = []
    for each in sorted(told, key=lambda one: one.sequence):
        if kept and each.sequence == kept[-1].sequence:
            continue
        if each.sequence != len(kept) + 1:
            raise ValueError("a fact is missing")
        kept.append(each)
        if isinstance(each.fact, Opened):
            case = each.fact.begin(root, each.at)
            continue
        if case is None:
            raise ValueError("facts of a case that was not opened")
        before = chunks.get(each.fact.chunk) if isinstance(each.fact, ChunkFact) else None
        case, touched = apply(case, chunks, each.fact)
        chunks |= touched
        ended_at = each.at if isinstance(each.fact, Closed) else ended_at
        for digest, chunk in touched.items():
            grade = _grade(each.fact, said, digest)
            grades[digest] = _grades(before, chunk, grade, grades.get(digest))
            if isinstance(each.fact, Probed):
                _look(chunk, each.fact, grades[digest])
    if case is None:
        raise ValueError("no facts")
    return History(case, chunks, grades, kept, ended_at)


def _grade(fact: CaseFact, said: dict[str, str], digest: str) -> str:
    """What rests on a fact; `said` are the grades of the last receipts of chunks."""
    if isinstance(fact, Answered):
        said[digest] = str(fact.grade.value)
    elif isinstance(fact, Probed):  # of what it found
        return Grade.E3.value
    elif not isinstance(fact, ReplacementJudged):  # that is what became of the last receipt
        return DECIDED
    return said.get(digest, DECIDED)


def _grades(before: ChunkState | None, after: ChunkState, grade: str, known: list[str] | None) -> list[str]:
    """What answers rest on after a fact: one that only repeats an earlier answer does not make it better."""
    if before is None or known is None:
        return [DECIDED] * after.summary.size
    return [old if was == now else grade for was, now, old in zip(before.answers, after.answers, known, strict=True)]


def _look(chunk: ChunkState, fact: Probed, grades: list[str]) -> None:
    """What is called gone, and was not found, rests on more than its system's word."""
    for ordinal in fact.absent:
        if chunk.answers[ordinal] in GONE:
            grades[ordinal] = Grade.E3.value
