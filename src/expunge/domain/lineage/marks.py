"""Marks: what a case leaves on every node that it reached, and when a statement comes too late for it.

Marks outlive the case, so an asset that turns up below one years later is still caught (design: "No asset escapes").
The rule of lateness stands here, once, for indexers and coordinators alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import NamedTuple

from expunge.domain.digest import hidden
from expunge.domain.lineage.row import CONTAINER, DIGEST_BYTES, collected_of, flags_of
from expunge.domain.lineage.walk import boundary, reach_of
from expunge.domain.scope import Arrival

TASK_DIGITS = 4
"""Of a task's id, in a mark: a task that takes another's node for its own walks a little further, and no less."""


class MarkState(IntEnum):
    """What is known of a node's obligation. `since` of a mark says since when."""

    OPEN = 0
    CLEAN = 1
    """Its system said that the case's data is out of it: redacted, rebuilt, retrained (rule "own products")."""
    GONE = 2
    """Its system said that it deleted it: a statement appended later means that it has come back (rule "returns")."""
    RESTATED = 3
    """Open, and stated once more under the mark: if that was after the receipt that is on its way, it came back."""


class Mark(NamedTuple):
    """A case's mark on a node."""

    case_id: str
    tasks: tuple[str, str]
    """The first TASK_DIGITS of the ids of the tasks that own the node: who marked it first, who widened its reach."""
    reach: Arrival
    digest: bytes
    """The digest of the row as it was planned; empty for roots and for nodes without a row."""
    state: MarkState = MarkState.OPEN
    since_ms: int = 0
    """Milliseconds since 1970; 0 where the state needs no moment."""
    stated_again: bool = False
    """Of what is gone: somebody has stated it since."""
    until: int = 0
    """Of a root that is a person: the case reaches only what was collected up to here (seconds since 1970)."""


class Thing(NamedTuple):
    """A node that may be late for a case: a stated asset, or an alias of one."""

    key: bytes
    raw: bytes | None
    """Its row."""
    stated_ms: int = 0
    """When the statement was appended; 0 for an alias, of which nothing was stated."""
    derived_ms: int = 0
    """When it was made, as far as known: what is not said was made long before it was registered."""
    collected: int = 0
    """What the statement itself says of its collection, in seconds since 1970; 0: nothing."""
    command_id: str = ""
    made_ms: int = 0
    """When the statement itself says that it was made; 0: it does not say."""

    def __repr__(self) -> str:
        return hidden(self)

    @property
    def digest(self) -> bytes:
        """The digest of its row as it is now."""
        return self.raw[:DIGEST_BYTES] if self.raw else b""


class Met(NamedTuple):
    """A mark that a thing lies under, and how the walk would have come to the thing from there."""

    mark: Mark
    arrival: Arrival
    parent: bytes = b""
    """Where the edge came from, if it was one."""

    def __repr__(self) -> str:
        return hidden(self)


def is_late(thing: Thing, met: Met, own: Sequence[Mark]) -> bool:
    """Whether a case must look at a thing again.

    It must if it has not planned it, not as the row now says, or not so widely; and at a container whenever something
    of the case is said to be in it, for it may not have been told to leave that out. It need not if the thing was made
    from something after that something was clean (rule "own products") or gone (what came back is walked on from), or
    lies beyond the case's reach.
    """
    mark, arrival, raw = met.mark, met.arrival, thing.raw
    flags = flags_of(raw)
    if raw and boundary(arrival, flags, collected_of(raw), bounded=True, until=mark.until):
        return False
    if met.parent and mark.state is MarkState.CLEAN and thing.derived_ms > mark.since_ms:
        return False
    return not is_planned(mark.case_id, raw, arrival, own) or bool(flags & CONTAINER and met.parent)


def is_planned(case_id: str, raw: bytes | None, arrival: Arrival, own: Sequence[Mark]) -> bool:
    """Whether a case has been at a thing, as its row now says, and as widely as it is reached now.

    Args:
        case_id: the case.
        raw: the thing's row.
        arrival: how the walk would come to it.
        own: the marks on the thing.
    """
    mine = next((known for known in own if known.case_id == case_id), None)
    if mine is None:
        return False
    wider = reach_of(arrival, flags_of(raw), bounded=True).width > mine.reach.width
    return mine.digest == (raw[:DIGEST_BYTES] if raw else b"") and not wider


def has_returned(mark: Mark, stated_ms: int) -> bool:
    """Whether a statement means that what the case purged is there again.

    It was appended after the receipt; a statement that is only read again (a rewound indexer) was not (rule "returns").
    """
    return mark.state is MarkState.GONE and stated_ms > mark.since_ms


def is_gone(marks: Sequence[Mark], forgotten: Collection[str]) -> bool:
    """Whether an asset is gone, and nobody asks for it any more: all cases that have been there are forgotten.

    What the latest of those says counts that had it purged: whoever has it stated again later says so there, too.
    `forget.lua` keeps the same rule on the server.
    """
    gone = [mark for mark in marks if mark.state is MarkState.GONE]
    last = max((mark.since_ms for mark in gone), default=0)
    stated = any(mark.stated_again for mark in gone if mark.since_ms == last)
    return bool(gone) and not stated and all(mark.case_id in forgotten for mark in marks)
