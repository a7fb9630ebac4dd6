"""Whether a partition may be gone on with: what was known of it is compared with what lies there.

A Redis that was restored or whose replica was promoted may have lost its last writes; a log may have lost its beginning
to retention, or its end with a broker's disk. Neither says so: a client reads on where it stands, and what lay between
is nobody's (rule "compared"). So each role compares, whenever it is given a partition and whenever its Redis is another
one, how far it has come by all who remember it, and where the log begins and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    witnesses: tuple[Reached, ...] = ()
    """What is known of records that were handled and must lie there still, which proves that this is the log that was
    read: the last one by each who remembers it, the earliest first."""
    again: bool = False
    """Whether the first record that is read is one that was handled."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Part of a log is gone: a person must know before anybody goes on."""

    why: Why
    since: int
    """The first offset that is missing; of a log that was cut the first at which it may differ."""
    until: int
    """The offset behind the last that is missing, or that was handled."""
    at_ms: int = 0
    """Of a log that was cut: when the last record was appended that was handled, in milliseconds since 1970; what was
    appended after that is new. 0: not known, and everything may be."""


def earliest(known: Sequence[Reached]) -> Reached:
    """How far a role has come by whoever remembers least: what comes twice changes nothing."""
    reached = min(known, key=lambda each: (each.next, each.last is None), default=Reached(0))
    at_ms = next((each.at_ms for each in known if each.next == reached.next and each.at_ms), 0)
    return reached._replace(at_ms=at_ms)


def compared(known: Sequence[Reached], log: Log) -> GoOn | Lost:
    """Where to go on.

    Args:
        known: how far the role has come by each who remembers it; none: it has handled nothing.
        log: what lies there.
    """
    reached = earliest(known)
    furthest = max((each.next for each in known), default=0)
    if reached.next < log.first:
        return Lost(Why.EXPIRED, reached.next, log.first)
    if furthest > log.end:  # also where the store has forgotten that it was there
        return Lost(Why.CUT, log.end, furthest, reached.at_ms)
    there = (each for each in known if each.last is not None and log.first <= each.last.offset < each.next)
    witnesses = tuple(sorted(there, key=lambda each: each.next))
    if witnesses and witnesses[0].last is not None and witnesses[0].next == reached.next:
        return GoOn(witnesses[0].last.offset, witnesses, again=True)
    return GoOn(reached.next, witnesses)


def still(cut: Lost, known: Sequence[Reached], first: int) -> Lost:
    """A log that was cut, as things stand now: the store may have forgotten more, and more may have expired."""
    return replace(cut, at_ms=min(cut.at_ms, earliest(known).at_ms), until=max(cut.until, first))


def forgotten_since(covered: Reached | None, committed: Reached | None) -> int | None:
    """What a store has forgotten that a role had committed.

    Returns:
        The moment since when, in milliseconds since 1970 (0: nobody knows, so all of it may be); None: nothing.
    """
    if covered is None or committed is None or covered.next >= committed.next:
        return None
    return covered.at_ms


def contradicts(witness: Reached, met: Position, met_ms: int, first: int) -> Lost | None:
    """What the first record met at the place of the last handled one, or behind it, says of the log.

    Where a log was cut and written anew, another leader epoch or another moment stands at the same offset. Where
    nothing lies at that offset any more (compaction, retention) nothing is said.

    Args:
        witness: what is known of the last record that was handled.
        met: the first one that was handed over from its place on.
        met_ms: when that was appended, in milliseconds since 1970.
        first: the first offset of the log.
    """
    last = witness.last
    if last is None or met.offset != last.offset:
        return None
    known = last.leader_epoch >= 0 and met.leader_epoch >= 0
    is_another = known and met.leader_epoch != last.leader_epoch
    if is_another or (witness.at_ms and met_ms != witness.at_ms):
        return Lost(Why.CUT, first, last.offset + 1, witness.at_ms)
    return None
