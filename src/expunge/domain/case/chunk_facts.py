"""Facts about one chunk: what was commanded, and what was answered. They name targets by ordinals, never by ids."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from expunge.domain.case.chunks import Note
from expunge.domain.scope import Hex, Value


class Commanded(Value):
    """A command was sent (grade E0), for the first time or again."""

    fact: Literal["commanded"] = "commanded"
    chunk: Hex
    command_id: Hex
    attempt: int
    next_at: datetime


class Deferred(Value):
    """Policy puts a command off, for what a schedule replaces anyway."""

    fact: Literal["deferred"] = "deferred"
    chunk: Hex
    until: datetime


class DeferralEnded(Value):
    """What policy had put off is open again, and commanded."""

    fact: Literal["deferral_ended"] = "deferral_ended"
    chunk: Hex


class Exhausted(Value):
    """All repetitions of a command are used up; it goes on once a day."""

    fact: Literal["exhausted"] = "exhausted"
    chunk: Hex


class Accepted(Value):
    """A system took a command and says by when it will answer (still E0)."""

    fact: Literal["accepted"] = "accepted"
    chunk: Hex
    attempt: int
    sequence: int
    next_at: datetime


class Answered(Value):
    """A system answered. Obligations are named by chunk and ordinal: a letter each in `answers`."""

    fact: Literal["answered"] = "answered"
    chunk: Hex
    attempt: int
    sequence: int
    grade: Literal["E1"] = "E1"
    receipt: Hex
    answers: str
    notes: tuple[Note, ...]
    next_at: datetime | None
