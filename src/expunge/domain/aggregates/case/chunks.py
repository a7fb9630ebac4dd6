"""How far each chunk of a plan has come, and what was answered for its targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from expunge.domain.aggregates.standing.state import hold_word
from expunge.domain.limits import KEPT_COMMANDS, TARGETS_PER_MESSAGE
from expunge.domain.planning.chunks import ChunkSummary
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import DEFERRALS, MEANINGS, OPEN, OPEN_LETTER, UNDONE, Action, After, Claim

UNCHECKED = "replacement_unchecked"
"""Why an obligation is open: a system says that it made a model anew, and nobody has looked at that one yet."""
EMISSION_REFUSED = "emission_refused"
"""What the reason begins with of an obligation whose command the broker does not take."""
GRANTED_AGAIN = "granted_again"
"""Why an obligation was spared: consent was given again, or the restriction lifted, before anything was done."""
LETTERS: dict[str, str] = {OPEN: OPEN_LETTER, **{claim: meaning.letter for claim, meaning in MEANINGS.items()}}
"""One letter for each claim: a chunk's answers are a string with the letter of each target at its ordinal."""

CLAIMS: dict[str, str] = {letter: claim for claim, letter in LETTERS.items()}
OPEN_LETTERS = frozenset(LETTERS[claim] for claim in UNDONE)
ENDING_LETTERS = frozenset(LETTERS[claim] for claim in DEFERRALS)
"""Of answers that end one day, a hold among them."""
_UNSETTLED_LETTERS = OPEN_LETTERS | ENDING_LETTERS
HELD_LETTER, FAILED_LETTER = LETTERS[Claim.HELD], LETTERS[Claim.FAILED]
GONE = frozenset(each.letter for each in MEANINGS.values() if each.after is After.GONE)
"""Answers after which an asset that is stated again has come back."""
CLEAN = frozenset(each.letter for each in MEANINGS.values() if each.after is After.CLEAN)
"""Answers after which an asset goes on without the case's data."""


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


class Looked(Value):
    """What the last probe that asked about a chunk has heard of it, by ordinals."""

    number: int
    """Of the probe."""
    silent: tuple[int, ...]
    """Asked about, and not answered for."""
    unknown: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    """Asked about, and not called gone all the time since: that they were not there is no news."""

    def asked(self) -> frozenset[int]:
        """All that the probe has asked about and not found."""
        return frozenset((*self.silent, *self.unknown, *self.absent))

    def after(self, before: str, now: str) -> Looked:
        """The same when answers have changed."""
        moved = {at for at, letter in enumerate(before) if letter in GONE and now[at] not in GONE}
        return self.model_copy(update={"moved": tuple(sorted({*self.moved, *moved}))}) if moved else self


class Disproved(NamedTuple):
    """That a probe found something which its system had called gone."""

    number: int
    """Of the probe: said again, it is the same."""
    attempt: int
    """Of the last command by then: no answer to it, or to one before it, counts."""


class Phase(StrEnum):
    """Where a chunk stands between its stage and its system."""

    WAITING = "waiting"
    """Its stage has not come."""
    BARRED = "barred"
    """Its stage has come, and something holds its command back."""
    PUT_OFF = "put_off"
    """Its stage has come, and policy has put its command off."""
    SENT = "sent"
    """Its command is with its system."""
    RECALLED = "recalled"
    """Its command was withdrawn, and the system has not said yet what it had done by then."""


_WITH_SYSTEM = frozenset({Phase.SENT, Phase.RECALLED})


class ChunkState(Value):
    """How far one chunk has come."""

    summary: ChunkSummary
    generation: int
    command_id: Hex
    """Of the last command, or of the first one to come."""
    answers: str
    notes: tuple[Note, ...] = ()
    phase: Phase = Phase.WAITING
    attempt: int = 0
    """Of the last command sent; 0 before the first. It goes on rising when a command takes another's place."""
    round: int = 0
    """How often another command has taken the place of one that was withdrawn or that had left something out."""
    used: int = 0
    """Attempts of earlier rounds."""
    by_hand: int = 0
    """Attempts of this round that an operator has had made: they use up none of the repetitions of its system."""
    named: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Command id -> the ordinals that it names; one that does not stand here names all."""
    recalled_for: tuple[str, ...] = ()
    """The words (of operators) for which its command was withdrawn."""
    recalls: int = 0
    """How often its command was withdrawn without an answer."""
    holds: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Hold -> the ordinals that it covers; those that cover nothing do not stand here."""
    looked_at: int = 0
    """The number of the last hold that was looked into for it."""
    looked_after: int = 0
    """How many changes of the index the case had heard of then: after a later one the look is worth nothing."""
    asking: int = 0
    """The number of the last hold that a resolver is looking into for it; 0: none."""
    asked_at: datetime | None = None
    """Since when it waits for that."""
    lifting: tuple[str, ...] = ()
    """Of a restriction: the purposes for which its last command lets go again."""
    lifted: tuple[str, ...] = ()
    """All purposes for which it was let go of."""
    asked: tuple[str, ...] = ()
    """Holds that a resolver is looking into for it."""
    begun: bool = False
    """Of a command that is one with those of other cases: its system has been told."""
    replacement: str = ""
    """The key of the model that took the target's place, as its system says; it is being looked at."""
    looks: int = 0
    """How often it was looked at."""
    clean: str = ""
    """The key of a replacement to which the case's data was found not to lead."""
    produced: tuple[str, ...] = ()
    """Keys of what joint commands produced that may hold the case's data; planned, unless it is found to be clean."""
    walked: str = ""
    """The key of a replacement that was made too early: it is planned itself."""
    receipt: tuple[int, int] = (0, 0)
    """(attempt, sequence) of the receipt that stands."""
    receipt_content: str = ""
    refused: str = ""
    """Why the broker did not take its last command for good; empty where it did."""
    exhausted: bool = False
    """All repetitions are used up; work goes on once a day."""
    next_at: datetime | None = None
    """When to act again: a repetition, or the end of a deferral."""
    looked: Looked | None = None
    """What the last probe has heard of it."""
    disproved: dict[int, Disproved] = Field(default_factory=dict)
    """By ordinal, what a probe found that had been called gone."""

    @property
    def action(self) -> Action:
        """What the last command, or the one to come, tells its system to do."""
        return Action.LIFT if self.lifting else self.summary.action

    @property
    def pooled(self) -> bool:
        """Whether its command is one with those of other cases (`domain.aggregates.retraining`)."""
        return self.action is Action.RETRAIN_WITHOUT

    @property
    def commandable(self) -> bool:
        """Whether a command can be sent for it."""
        return not self.summary.reason

    @property
    def waits(self) -> bool:
        """Whether its stage must still come to it."""
        return self.commandable and self.phase is Phase.WAITING

    @property
    def tries(self) -> int:
        """Attempts of this round."""
        return self.attempt - self.used

    def counted(self, attempt: int) -> int:
        """How many attempts of this round were made by an attempt's time, without those that an operator had made."""
        return attempt - self.used - self.by_hand

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The ordinals that the last command names."""
        return self.ordinals_of(self.command_id)

    def carries(self, command: str) -> bool:
        """Whether a command was, or will be, the chunk's."""
        return command == self.command_id or command in self.named

    def ordinals_of(self, command: str) -> tuple[int, ...]:
        """The ordinals that a command named."""
        return self.named.get(command, tuple(range(self.summary.size)))

    def naming(self, command: str, ordinals: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The latest commands in order, with one more: the one before it stands in front of that."""
        earlier = {each: named for each, named in self.named.items() if each not in (self.command_id, command)}
        named = {**earlier, self.command_id: self.ordinals, command: ordinals}
        return dict(list(named.items())[-KEPT_COMMANDS:])

    @property
    def left(self) -> tuple[int, ...]:
        """The ordinals that a command must name now: without an answer that counts, and not held."""
        return tuple(ordinal for ordinal, letter in enumerate(self.answers) if letter in OPEN_LETTERS)

    @property
    def refusals(self) -> dict[int, str]:
        """By ordinal, why the last answer about a target is no end of it, as its system or Expunge says."""
        said = ((each, note.reason) for note in self.notes if note.reason for each in note.ordinals)
        return {each: reason for each, reason in said if self.answers[each] == FAILED_LETTER}

    def is_held(self, ordinal: int) -> bool:
        """Whether a target is kept, and nobody has answered for it."""
        return self.answers[ordinal] == HELD_LETTER

    @property
    def unnamed(self) -> bool:
        """Whether something is to be done that the last command does not say.

        A hold kept it back then, or its system has carried the command out, and a probe found that it has not.
        """
        return not set(self.left) <= set(self.ordinals) or any(map(self.is_disproved, self.left))

    def is_disproved(self, ordinal: int, attempt: int = 0) -> bool:
        """Whether a probe found a target after an attempt was answered; the last attempt, where none is given."""
        found = self.disproved.get(ordinal)
        return found is not None and (attempt or self.attempt) <= found.attempt

    @property
    def held(self) -> frozenset[int]:
        """The ordinals that a hold covers."""
        return frozenset(ordinal for covered in self.holds.values() for ordinal in covered)

    @property
    def not_kept(self) -> frozenset[int]:
        """Of what holds cover, that which its system may still act on."""
        return frozenset(each for each in self.held if self.answers[each] in _UNSETTLED_LETTERS - {HELD_LETTER})

    @property
    def out(self) -> bool:
        """Whether its system has a command that it may still carry out."""
        looked_at = bool(self.replacement) and self.phase is Phase.SENT  # it has said all, and is not believed yet
        return (
            not looked_at
            and self.phase in _WITH_SYSTEM
            and any(self.answers[each] in _UNSETTLED_LETTERS for each in self.ordinals)
        )

    @property
    def ticks(self) -> bool:
        """Whether it has something to do at a moment of its own: to send or look again, or to end a deferral."""
        waits = bool(self.open and (self.replacement or self.refused))
        return self.phase is Phase.PUT_OFF or self.out or waits or bool(self.asked)

    @property
    def live(self) -> bool:
        """Whether its stage has come and something is still to be done or to end: what operators say may concern it."""
        return self.phase is not Phase.WAITING and bool(self.open or self.deferred)

    @property
    def unsettles(self) -> frozenset[str]:
        """The words that are not in force yet because a system may still act against them."""
        words = (*self.recalled_for, *(hold_word(each) for each in self.asked))
        return frozenset(words) if self.out else frozenset()

    @property
    def open(self) -> int:
        """Targets without an answer that counts."""
        return sum(self.answers.count(letter) for letter in OPEN_LETTERS)

    @property
    def deferred(self) -> int:
        """Targets whose answer ends one day."""
        return sum(self.answers.count(letter) for letter in ENDING_LETTERS)

    @property
    def settled(self) -> bool:
        """Whether the stage need not wait for it: answered, not commandable, or failed for good."""
        silent = "." in self.answers and not self.refused
        return not self.commandable or not self.open or (self.exhausted and not silent)

    @property
    def finished(self) -> bool:
        """Whether nothing more can be expected of it now: as `settled`, or silent with all repetitions used up."""
        return self.settled or self.exhausted

    @property
    def said(self) -> tuple[str, tuple[Note, ...]]:
        """What was answered: the chunk's part of the case's counts follows from it."""
        return self.answers, self.notes

    def tally(self) -> Mapping[Tally, int]:
        """The chunk's part of the case's counts."""
        if not self.notes:
            reason, letters = self.summary.reason, set(self.answers)
            return {self._line(CLAIMS[letter], reason, ""): self.answers.count(letter) for letter in letters}
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


def at_once(sizes: Iterable[int]) -> int:
    """How many chunks of these sizes one decision takes: so many that others need not wait long, and one at least."""
    number, targets = 0, 0
    for size in sizes:
        targets += size
        if targets > TARGETS_PER_MESSAGE:
            break
        number += 1
    return max(1, number)
