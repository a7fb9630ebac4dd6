"""Reading a receipt: from a system's words to one letter for each obligation of a chunk.

See design: "Nothing false is said".

Nothing false is said here: an empty receipt, an unknown asset, zero rows or a claim that does not answer the action
leaves the obligation open or failed, never done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from expunge.domain.aggregates.case.chunks import (
    ENDING_LETTERS,
    HELD_LETTER,
    LETTERS,
    OPEN_LETTERS,
    UNCHECKED,
    ChunkState,
    Note,
    Phase,
)
from expunge.domain.events import stamp
from expunge.domain.limits import MOST_REASONS
from expunge.domain.planning.chunks import Chunk
from expunge.domain.planning.policy.rules import Refusal
from expunge.domain.vocabulary import (
    ANSWERS,
    DEFERRALS,
    DONE_WORTH,
    MEANINGS,
    OPEN,
    OPEN_LETTER,
    OPEN_WORTH,
    Action,
    Claim,
    Regime,
)
from expunge.wire.cases.case import Receipted
from expunge.wire.receipts import Outcome

_WORTH = {OPEN_LETTER: OPEN_WORTH} | {meaning.letter: meaning.worth for meaning in MEANINGS.values()}
_OPEN_LETTER = LETTERS[OPEN]
_NOT_FOUND = LETTERS[Claim.NOT_FOUND]


@dataclass(frozen=True, slots=True)
class Standard:
    """What policy does not let count as done in one case."""

    refusals: tuple[Refusal, ...]
    regime: Regime
    below: str = ""
    """The rule of policy that asks for a better grade than the receipt has; empty where it has that."""

    def refused(self, body: Chunk, outcome: Outcome) -> str:
        """The id of the row that refuses an answer; empty where none does."""
        if self.below and outcome.claim not in {Claim.FAILED, *DEFERRALS}:
            return self.below
        found = (row.id for row in self.refusals if row.covers(body.kind, self.regime, outcome.claim, outcome.method))
        return next(found, "")


OTHER = "other"


@dataclass(frozen=True, slots=True)
class KnownWords:
    """Reasons and days that a case knows already: each is a line of its counts, so there is a bound for them."""

    reasons: frozenset[str] = frozenset()
    days: frozenset[str] = frozenset()

    def bounded(self, claims: Iterable[tuple[int, str, str, str]]) -> Iterator[tuple[int, str, str, str]]:
        """(ordinal, letter, reason, until) of each, with no more new words than there is room for."""
        reasons, days = set(self.reasons), set(self.days)
        for ordinal, letter, reason, until in claims:
            said, day = _room(reasons, reason, OTHER), _room(days, until, "")
            yield ordinal, letter, said, day


def _room(known: set[str], word: str, instead: str) -> str:
    if word in known or len(known) < MOST_REASONS:
        known.add(word)
        return word
    return instead


def next_answers(
    chunk: ChunkState,
    body: Chunk,
    receipt: Receipted,
    standard: Standard,
    spoken: KnownWords = KnownWords(),
) -> tuple[str, tuple[Note, ...]]:
    """The answers of a chunk after one more receipt.

    The later (attempt, sequence) stands; an earlier one only fills what is open; of two different receipts with the
    same number the worse stands (rule "later answer"). A later `not_found` never replaces a deletion (rule "returns").
    """
    place = (receipt.attempt, receipt.sequence)
    contradiction = place == chunk.receipt and receipt.content != chunk.receipt_content and bool(chunk.receipt_content)
    letters = list(chunk.answers)
    said = {ordinal: (note.reason, note.until) for note in chunk.notes for ordinal in note.ordinals}
    if chunk.lifting and receipt.command_id != chunk.command_id:
        return chunk.answers, chunk.notes  # it speaks of what was restricted before it was let go
    remains = bool(set(body.purposes) - set(chunk.lifted))
    clean = bool(chunk.clean) and receipt.replacement_of(body.assets[0]) == chunk.clean
    read = _Reader(body, standard, chunk.action, remains, clean)
    held, named = chunk.held, frozenset(chunk.ordinals_of(receipt.command_id))
    for ordinal, letter, reason, until in spoken.bounded(_claims(body, receipt, read, named)):
        if chunk.phase is Phase.BARRED and letter in ENDING_LETTERS:
            continue  # it will not be done by a command that was withdrawn
        is_earlier = receipt.command_id != chunk.command_id and ordinal in chunk.disproved
        if letter not in OPEN_LETTERS and (is_earlier or chunk.is_disproved(ordinal, receipt.attempt)):
            continue  # somebody has looked since
        if ordinal in held and letters[ordinal] == HELD_LETTER:
            stands = (
                _rank(letter) >= MEANINGS[Claim.NOT_FOUND].worth
            )  # what is gone is gone, whatever should have been kept
        elif place < chunk.receipt and said.get(ordinal, ("", ""))[0] == UNCHECKED:
            stands = False  # it was answered, if not believed yet
        else:
            stands = _stands(letters[ordinal], letter, later=place > chunk.receipt, contradiction=contradiction)
        if stands:
            letters[ordinal] = letter
            said[ordinal] = (reason, until)
    grouped: dict[tuple[str, str], list[int]] = defaultdict(list)
    for ordinal, words in sorted(said.items()):
        if any(words):
            grouped[words].append(ordinal)
    notes = tuple(Note(reason=r, until=u, ordinals=tuple(ordinals)) for (r, u), ordinals in sorted(grouped.items()))
    return "".join(letters), notes


def _stands(before: str, after: str, *, later: bool, contradiction: bool) -> bool:
    if contradiction:
        return before == _OPEN_LETTER or _rank(after) < _rank(before)
    if before == _OPEN_LETTER:
        return True
    if after == _NOT_FOUND and _rank(before) == DONE_WORTH:
        return False
    return later


def _rank(letter: str) -> int:
    return _WORTH.get(letter, DONE_WORTH)


def _claims(
    body: Chunk, receipt: Receipted, reader: _Reader, named: frozenset[int]
) -> Iterator[tuple[int, str, str, str]]:
    """(ordinal, letter, reason, until) for every target that the receipt speaks of.

    What it says of `all` it says of those that its command named.
    """
    single: dict[str, tuple[str, str, str]] = {}
    for answer in receipt.answers:  # of two answers for one asset the worse stands
        said, before = reader.read(answer.outcome), single.get(answer.asset)
        if before is None or _rank(said[0]) < _rank(before[0]):
            single[answer.asset] = said
    every = reader.read(receipt.all) if receipt.all else None
    for ordinal, asset in enumerate(body.assets):
        read = single.get(asset, every if ordinal in named else None)
        if read is not None:
            yield ordinal, *read
        elif receipt.status == "failed" and ordinal in named:
            yield ordinal, LETTERS[Claim.FAILED], "failed", ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what a system claims of one chunk's targets."""

    body: Chunk
    standard: Standard
    action: Action
    remains: bool
    """Of a restriction that is let go of for some purposes: it remains for others."""
    clean: bool
    """The model that takes another's place was looked at, and is clean."""

    def read(self, outcome: Outcome) -> tuple[str, str, str]:
        """(letter, reason, until) of a claim."""
        claim, reason = outcome.claim, outcome.reason_code or ""
        if claim not in ANSWERS[self.action]:
            claim, reason = Claim.FAILED, "claim_does_not_answer"
        elif claim is Claim.IMPOSSIBLE and not reason:
            claim, reason = Claim.FAILED, "impossible_without_reason"
        elif claim is Claim.ANONYMISED_WITH_PROOF and not (outcome.artefact_digest and outcome.until):
            claim, reason = Claim.FAILED, "anonymity_without_evidence"
        elif claim is Claim.RETRAINED_WITHOUT and outcome.replacement is None:
            claim, reason = Claim.FAILED, "no_replacement"
        elif rule := self.standard.refused(self.body, outcome):
            claim, reason = Claim.FAILED, rule
        elif claim is not Claim.FAILED:
            claim, reason = _counted(claim, reason, outcome, holding=self.body.holding)
        # The day is enough for people and keeps the counts of a case few; Expunge asks again at its beginning.
        until = stamp(outcome.until)[:10] if outcome.until and claim in DEFERRALS else ""
        still = claim is Claim.LIFTED and self.remains
        if claim is Claim.RETRAINED_WITHOUT and not self.clean:
            return _OPEN_LETTER, UNCHECKED, ""
        return LETTERS[Claim.RESTRICTED if still else claim], reason, until


_ERASING = frozenset({Claim.DELETED, Claim.KEY_DESTROYED})
_NOTHING_CHANGED = frozenset({Claim.EXEMPT, Claim.NOT_FOUND, *DEFERRALS})
"""Claims that say themselves that nothing was changed."""


def _counted(claim: Claim, reason: str, outcome: Outcome, *, holding: bool) -> tuple[Claim, str]:
    """What a system says of rows is held against its claim, of an asset and a holding alike.

    Where none was found nothing was deleted, and nothing of what a holding was asked for was there; where fewer were
    changed than found, or none, the claim fails.
    """
    if outcome.matched == 0 and (holding or claim in _ERASING):
        return (Claim.NOT_FOUND if claim not in DEFERRALS else claim), reason
    if claim in _NOTHING_CHANGED or outcome.affected is None:
        return claim, reason
    if outcome.affected < (outcome.matched or 0):
        return Claim.FAILED, "fewer_affected_than_matched"
    if outcome.affected == 0 and outcome.matched is None:
        return Claim.FAILED, "nothing_affected"
    return claim, reason
