"""`suppressions`: what must not be collected again."""

from __future__ import annotations

from expunge.domain.values import Hex
from expunge.wire.form import Outlet


class SuppressionEntry(Outlet):
    """What must not be collected again for one purpose; `*` is every purpose."""

    purpose: str
    since_ms: int
    until: int
    """What was collected up to here, in seconds since 1970; 0: whenever it was collected."""
    ends_ms: int = 0
    """From when on it may be collected again, in milliseconds since 1970; 0: never by itself."""


class SuppressionSet(Outlet):
    """Everything that is suppressed of one person or data source. A tombstone lifts it."""

    pseudonym: Hex | None = None
    data_source: str | None = None
    sequence: int
    entries: tuple[SuppressionEntry, ...]


SUPPRESSION_SET = "expunge.suppression.set.v1"
