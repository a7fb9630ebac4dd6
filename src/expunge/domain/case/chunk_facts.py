"""Facts about one chunk: what was commanded, and what was answered. They name targets by ordinals, never by ids."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from expunge.domain.case.chunks import Note
from expunge.domain.scope import Hex, Value
from expunge.domain.task import Replacement


class Commanded(Value):
    """A command was sent (grade E0), for the first time or again."""

    fact: ClassVar[str] = "commanded"
    chunk: Hex
    command_id: Hex
    attempt: int
    next_at: datetime


class Joined(Value):
    """A command waits to be one with those of other cases: the model's owner has not been told yet."""

    fact: ClassVar[str] = "joined"
    chunk: Hex
    command_id: Hex
    attempt: int
    next_at: datetime


class ReplacementAsked(Value):
    """A resolver was asked to look at the model that took a target's place."""

    fact: ClassVar[str] = "replacement_asked"
    chunk: Hex
    replacement: Hex
    """Its key."""
    looks: int
    next_at: datetime


class ReplacementJudged(Value):
    """What the index says of it. Only if it is clean the model counts as made anew."""

    fact: ClassVar[str] = "replacement_judged"
    chunk: Hex
    replacement: Hex
    verdict: Replacement


class Produced(Value):
    """Assets that a joint command produced lie under marks of the case: whether they are clean is not known yet."""

    fact: ClassVar[str] = "produced"
    chunk: Hex
    assets: tuple[Hex, ...]
    """Their keys."""


class ProducedPlanned(Value):
    """What was produced and was not found to be clean is planned itself."""

    fact: ClassVar[str] = "produced_planned"
    chunk: Hex
    assets: tuple[Hex, ...]


class Barred(Value):
    """The stage of a chunk has come, and its command may not leave: paused, held, or still being looked into."""

    fact: ClassVar[str] = "barred"
    chunk: Hex


class CommandRefused(Value):
    """The broker took a command for good reasons not: it never left, and its obligations are open for that reason."""

    fact: ClassVar[str] = "command_refused"
    chunk: Hex
    command_id: Hex
    attempt: int
    reason: str
    next_at: datetime


class Recalled(Value):
    """A command was withdrawn: its system is told not to carry it out, and is told again until it answers."""

    fact: ClassVar[str] = "recalled"
    chunk: Hex
    command_id: Hex
    words: tuple[str, ...]
    """What it was withdrawn for: `cancel`, `pause:...`, `hold:...`."""
    next_at: datetime


class Withdrawn(Value):
    """The system will not carry out a withdrawn command any more; what it had done by then it has said."""

    fact: ClassVar[str] = "withdrawn"
    chunk: Hex
    attempt: int
    sequence: int


class HoldsAsked(Value):
    """A resolver was asked which targets of a chunk some holds cover."""

    fact: ClassVar[str] = "holds_asked"
    chunk: Hex
    holds: tuple[str, ...]
    number: int
    """Of the last of them."""
    next_at: datetime | None = None
    """When to ask once more."""
    after: int = 0
    """How many changes of the index the case had heard of."""
    asked_at: datetime | None = None
    """Since when it waits for the answer."""


class HoldsFound(Value):
    """Which targets of a chunk, by ordinal, holds cover; one that covers none is not named."""

    fact: ClassVar[str] = "holds_found"
    chunk: Hex
    covered: tuple[tuple[str, tuple[int, ...]], ...]
    number: int = 0
    """Of the last hold that was looked into; 0: those that need no look."""
    after: int = 0
    """How many changes of the index the case had heard of when it asked."""
    ahead: bool = False
    """The indexers had not passed what lay before the holds: the command waited for them for as long as it may."""


class HoldEnded(Value):
    """A hold was released: what it alone covered is open again."""

    fact: ClassVar[str] = "hold_ended"
    chunk: Hex
    hold: str


class Spared(Value):
    """What was to be restricted need not be: consent was given again, or the restriction lifted, before it was."""

    fact: ClassVar[str] = "spared"
    chunk: Hex


class Exempted(Value):
    """What could not be commanded is kept: an operator decided so."""

    fact: ClassVar[str] = "exempted"
    chunk: Hex


class LiftDue(Value):
    """What was restricted for these purposes must be let go again."""

    fact: ClassVar[str] = "lift_due"
    chunk: Hex
    purposes: tuple[str, ...]


class Deferred(Value):
    """Policy puts a command off: for what a schedule replaces anyway, or because a law wants something kept."""

    fact: ClassVar[str] = "deferred"
    chunk: Hex
    until: datetime | None
    """None: until something happens."""
    reason: str


class DeferralEnded(Value):
    """What policy had put off is open again, and commanded."""

    fact: ClassVar[str] = "deferral_ended"
    chunk: Hex


class Exhausted(Value):
    """All repetitions of a command are used up; it goes on once a day."""

    fact: ClassVar[str] = "exhausted"
    chunk: Hex


class Accepted(Value):
    """A system took a command and says by when it will answer (still E0)."""

    fact: ClassVar[str] = "accepted"
    chunk: Hex
    attempt: int
    sequence: int
    next_at: datetime
    joint: str = ""
    """Of a command for several cases: its id."""
    begun: bool = False
    """Of such a command: it has left."""


class Answered(Value):
    """A system answered. Obligations are named by chunk and ordinal: a letter each in `answers`."""

    fact: ClassVar[str] = "answered"
    chunk: Hex
    attempt: int
    sequence: int
    grade: Literal["E1"] = "E1"
    receipt: Hex
    answers: str
    notes: tuple[Note, ...]
    next_at: datetime | None
