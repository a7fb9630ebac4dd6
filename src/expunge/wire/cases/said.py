"""How everything on `cases` is said: for which aggregate, and where and when."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple

from expunge.domain.digest import name
from expunge.domain.values import Hex, Value

SaidAt = tuple[int, int, str]
"""The message on `cases` that made a case speak, and who spoke: leader epoch, offset, id. It rises in one partition."""


class Place(Value):
    """Where a message lies, for whoever must find it again."""

    topic: str
    partition: int
    offset: int


class Order(NamedTuple):
    """When and where an operator's word was appended: the later of two words about one thing holds.

    Of two on one partition that is the one behind, whatever clocks say; words about one thing belong under one key.
    """

    appended_ms: int
    partition: int
    offset: int
    leader_epoch: int = 0

    def is_after(self, other: Order) -> bool:
        """Whether it was said later."""
        if self.partition == other.partition:
            return (self.leader_epoch, self.offset) > (other.leader_epoch, other.offset)
        return self > other


class Aggregate(StrEnum):
    """What has one writer, and decides on the messages that are for it (design: "One writer")."""

    CASE = "case"
    RATE = "rate"
    SUPPRESSION = "suppression"
    RETRAINING = "retraining"
    STANDING = "standing"
    """What every case of a partition must obey: each partition has one, and messages for it have no key."""


RATES = name("rates")
"""Under this key lies all that is said to rates: a plan asks once for all that is counted of it."""


def rate_id(of: str) -> str:
    """The key of what is counted: `publisher:NAME` or `system:NAME`. It begins as `RATES` does."""
    return among_rates(name("rate", of))


def among_rates(key: str) -> str:
    """A key by which something is known where the rates are."""
    return RATES[:16] + key[:16]


def home_of(key: str) -> str:
    """The key that says on which partition an aggregate lives: its own, but for rates (those of 0.1 have theirs)."""
    return RATES if key.startswith(RATES[:16]) else key


class CaseEvent(Value):
    """A message on `cases`. Which aggregate it is for is said by its type, and by its key which one of them."""

    aggregate: ClassVar[Aggregate]
    or_else: ClassVar[Aggregate | None] = None
    """Who hears a message for a case where the key is no case's but that of such an aggregate: outside, one that stands
    for several cases is spoken to as if it were a case."""

    @property
    def key(self) -> str:
        """Of the aggregate; empty for what every case is told."""
        return ""

    @property
    def address(self) -> str:
        """The key of its record: what is counted across cases is all told under one."""
        return home_of(self.key)


class ForCase(CaseEvent):
    """A message for one case."""

    aggregate = Aggregate.CASE
    case_id: Hex

    @property
    def key(self) -> str:
        """Of the case."""
        return self.case_id


class ForCaseOrModel(ForCase):
    """A message for a case, or for a model that is made anew for several."""

    or_else = Aggregate.RETRAINING


class ForCaseOrGroup(ForCase):
    """A message for a case, or for the group in which plans of several wait."""

    or_else = Aggregate.RATE


class ForEverybody(CaseEvent):
    """A message for every case of a partition, told page by page."""

    aggregate = Aggregate.STANDING
    after: str = ""
    """The last case that was told; the broadcast goes on behind it."""
