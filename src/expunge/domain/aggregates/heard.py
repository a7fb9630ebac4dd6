"""What cases say to an aggregate is heard once, however often it is said: a crash, or one who woke up, repeats it."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from expunge.domain.values import Value
from expunge.wire.cases.said import SaidAt


class Hearing(Value):
    """Part of the state of an aggregate that cases speak to."""

    seen: dict[int, SaidAt] = Field(default_factory=dict)
    """Partition -> the last that was heard from there: in one partition it rises."""

    def has_heard(self, partition: int, said_at: SaidAt) -> bool:
        """Whether this was said before."""
        known = self.seen.get(partition)
        return known is not None and tuple(said_at) <= tuple(known)

    def having_heard(self, partition: int, said_at: SaidAt) -> Self:
        """The same after this was heard."""
        return self.model_copy(update={"seen": {**self.seen, partition: said_at}})
