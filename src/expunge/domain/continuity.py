"""Whether a partition may be gone on with: what was known of it is compared with what lies there.

A Redis that was restored or whose replica was promoted may have lost its last writes; a log may have lost its beginning
to retention, or its end with a broker's disk. Neither says so: a client reads on where it stands, and what lay between
is nobody's (rule "compared"). So each role compares, whenever it is given a partition and whenever its Redis is another
one, how far it has come by all who remember it, and where the log begins and ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from expunge.domain.events import Position

Place = tuple[str, int]
"""Topic (without prefix) and partition."""


class Reached(NamedTuple):
    """How far a role has come in a partition, as somebody remembers it."""

    next: int
    """The offset behind all that was handled: transaction markers and what has expired are passed, too."""
    last: Position | None = None
    """The last record that was handled; None: not known."""
    at_ms: int = 0
    """When that was appended, in milliseconds since 1970; 0: not known."""


class Log(NamedTuple):
    """What lies in a partition: the first offset that is there, and the one behind the last."""

    first: int
    end: int


class Why(StrEnum):
    """How part of a log was lost."""

    EXPIRED = "expired"
    """Retention took it before it was read."""
    CUT = "cut"
    """The log ends before what was read, or another record lies where that lay."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Read from an offset on."""

    offset: int
    witness: Position | None = None
    """The record that was handled last and must lie there still: it proves that this is the log that was read."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Part of a log is gone: a person must know before anybody goes on."""

    why: Why
    since: int
    """The first offset that is missing, or at which the log differs."""
    until: int
    """Behind the last such offset, as far as known."""
    resume: int
    """Where reading can go on once somebody has said so."""
    renewed: bool = False
    """Whether what lies at `resume` and behind has nothing in common with what was read: no position of the old log
    says anything about it."""


def compared(known: list[Reached], log: Log) -> GoOn | Lost:
    """Where to go on, by the earliest of what is remembered: what comes twice changes nothing.

    Args:
        known: how far the role has come by each who remembers it; none: it has handled nothing.
        log: what lies there.
    """
    reached = min(known, key=lambda each: each.next, default=Reached(0))
    if reached.next < log.first:
        return Lost(Why.EXPIRED, reached.next, log.first, log.first)
    if reached.next > log.end:
        return Lost(Why.CUT, log.end, reached.next, log.end, renewed=True)
    if reached.last is not None and log.first <= reached.last.offset < reached.next:
        return GoOn(reached.last.offset, reached.last)
    return GoOn(reached.next)


def forgotten_since(covered: Reached | None, committed: Reached | None) -> int | None:
    """What a store has forgotten that a role had committed.

    Returns:
        The moment since when, in milliseconds since 1970 (0: nobody knows, so all of it may be); None: nothing.
    """
    if covered is None or committed is None or covered.next >= committed.next:
        return None
    return covered.at_ms


def contradicts(witness: Position, met: Position, first: int) -> Lost | None:
    """What the first record met at the place of the last handled one, or behind it, says of the log.

    Where a log was cut and written anew, another leader epoch stands at the same offset. Where nothing lies at that
    offset any more (compaction, retention) nothing is said.

    Args:
        witness: the last record that was handled.
        met: the first one that was handed over from its place on.
        first: the first offset of the log.
    """
    known = witness.leader_epoch >= 0 and met.leader_epoch >= 0
    if not known or met.offset != witness.offset or met.leader_epoch == witness.leader_epoch:
        return None
    # What was handled before the cut is known by its position; a log whose epochs are lower is another log altogether.
    renewed = met.leader_epoch < witness.leader_epoch
    return Lost(Why.CUT, first, witness.offset + 1, first, renewed)
