"""What a sweep needs beside the ports of roles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from expunge.domain.aggregates.case.state import Case


class Forgotten(Protocol):
    """Which cases are forgotten."""

    def forgotten(self, partition: int, case_ids: Collection[str]) -> dict[str, Case]:
        """Those of some cases of which at least the first generations are forgotten."""
