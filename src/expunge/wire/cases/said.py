"""Where and when something was said."""

from __future__ import annotations

from typing import NamedTuple

from expunge.domain.values import Value

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
