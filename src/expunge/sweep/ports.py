"""What a sweep needs beside the ports of roles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Protocol

from expunge.domain.aggregates.case.state import Case
from expunge.domain.events import Record

Since = Callable[[str, datetime], Iterator[Record]]
"""All that was appended to a topic from a moment on, up to its end as it is then."""


class Forgotten(Protocol):
    """Which cases are forgotten."""

    def forgotten(self, partition: int, case_ids: Collection[str]) -> dict[str, Case]:
        """Those of some cases of which at least the first generations are forgotten."""
