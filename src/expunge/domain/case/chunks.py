"""How far each chunk of a plan has come, and what was answered for its targets."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from expunge.domain.plan import ChunkSummary
from expunge.domain.scope import Hex, Value
from expunge.domain.vocabulary import DEFERRALS, OPEN, UNDONE, Claim

LETTERS: dict[str, str] = {
    OPEN: ".",
    Claim.DELETED: "d",
    Claim.KEY_DESTROYED: "k",
    Claim.REDACTED: "r",
    Claim.REBUILT_WITHOUT: "b",
    Claim.RETRAINED_WITHOUT: "t",
    Claim.DISABLED: "x",
    Claim.RESTRICTED: "q",
    Claim.ANONYMISED_WITH_PROOF: "a",
    Claim.BEYOND_USE: "u",
    Claim.DEFERRED: "p",
    Claim.EXEMPT: "e",
    Claim.HELD: "h",
    Claim.NOT_FOUND: "n",
    Claim.NOTIFIED: "o",
    Claim.INSTRUCTED_ONLY: "i",
    Claim.IMPOSSIBLE: "m",
    Claim.FAILED: "f",
}
"""One letter for each claim: a chunk's answers are a string with the letter of each target at its ordinal."""

CLAIMS: dict[str, str] = {letter: claim for claim, letter in LETTERS.items()}
_OPEN_LETTERS = frozenset(LETTERS[claim] for claim in UNDONE)
_DEFERRED_LETTERS = frozenset(LETTERS[claim] for claim in DEFERRALS)


class Tally(NamedTuple):
    """What is counted of a case: one obligation each. `holding` is `holding`, or `returned` for what came back."""

    system: str
    kind: str
    holding: str
    action: str
    claim: str
    reason: str
    until: str
    provision: str = ""


class Note(Value):
    """What was said with the claims of some targets, named by their ordinals; never by their ids."""

    reason: str = ""
    until: str = ""
    ordinals: tuple[int, ...]


class ChunkState(Value):
    """How far one chunk has come."""

    summary: ChunkSummary
    generation: int
    command_id: Hex
    answers: str
    notes: tuple[Note, ...] = ()
    attempt: int = 0
    """Of the last command sent; 0 before the first."""
    receipt: tuple[int, int] = (0, 0)
    """(attempt, sequence) of the receipt that stands."""
    receipt_content: str = ""
    exhausted: bool = False
    """All repetitions are used up; work goes on once a day."""
    next_at: datetime | None = None
    """When to act again: a repetition, or the end of a deferral."""

    @property
    def commandable(self) -> bool:
        """Whether a command can be sent for it."""
        return not self.summary.reason

    @property
    def waits(self) -> bool:
        """Whether it is its stage's turn to send its command, or to put it off."""
        return self.commandable and not self.attempt and self.next_at is None

    @property
    def open(self) -> int:
        """Targets without an answer that counts."""
        return sum(self.answers.count(letter) for letter in _OPEN_LETTERS)

    @property
    def deferred(self) -> int:
        """Targets whose answer ends one day."""
        return sum(self.answers.count(letter) for letter in _DEFERRED_LETTERS)

    @property
    def settled(self) -> bool:
        """Whether the stage need not wait for it: answered, not commandable, or failed for good."""
        silent = "." in self.answers
        return not self.commandable or not self.open or (self.exhausted and not silent)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be expected of it now: as `settled`, or silent with all repetitions used up."""
        return self.settled or self.exhausted

    def tally(self) -> Counter[Tally]:
        """The chunk's part of the case's counts."""
        noted = {ordinal: note for note in self.notes for ordinal in note.ordinals}
        plain = Note(reason=self.summary.reason, ordinals=())
        said = Counter((letter, noted.get(ordinal, plain)) for ordinal, letter in enumerate(self.answers))
        counts: Counter[Tally] = Counter()
        for (letter, note), number in said.items():
            counts[self._line(CLAIMS[letter], note.reason, note.until)] += number
        return counts

    def _line(self, claim: str, reason: str, until: str) -> Tally:
        summary = self.summary
        holding = "holding" if summary.holding else "returned" if summary.returned else ""
        return Tally(summary.system, summary.kind, holding, summary.action, claim, reason, until, summary.provision)
