"""What is said of suppressions: words for them, and what was read back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from expunge.domain.values import Hex, Value
from expunge.wire.cases.said import Aggregate, CaseEvent


class PurposeWord(Value):
    """One word about one purpose."""

    purpose: str
    at_ms: int
    """`received_at`, in milliseconds since 1970."""
    word: Literal["revoked", "granted", "cancelled", "ended"]
    """`ended`: what had an end by `at_ms` stands no longer."""
    until: int = 0
    """Of a revocation: only what was collected up to here (seconds since 1970) is meant; 0: everything."""
    case_id: str = ""
    """The case that carries a revocation out, or that was cancelled."""
    ends_ms: int = 0
    """When a revocation ends by policy, in milliseconds since 1970; 0: never."""


class ForSuppression(CaseEvent):
    """A message for one suppression."""

    aggregate = Aggregate.SUPPRESSION
    suppression: Hex

    @property
    def key(self) -> str:
        """Of the aggregate."""
        return self.suppression


class Suppress(ForSuppression):
    """Words for one suppression, on `cases`."""

    data_source: str = ""
    """Set for a data source; else the key is a person's."""
    words: tuple[PurposeWord, ...]


class Published(ForSuppression):
    """What was read back from `suppressions`: whoever finds less there than it knows publishes again.

    See rule "nothing overwritten".
    """

    sequence: Annotated[int, Field(ge=0, lt=2**63)]
    lifted: bool = False
    """A tombstone was read: nothing is suppressed there."""
