"""The one formula for waiting: soon, and then ever later."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

_MOST_DOUBLINGS = 20
T = TypeVar("T", float, timedelta)


def doubled(first: T, times: int, longest: T) -> T:
    """Twice as long each time.

    Args:
        first: the wait at the first time; in seconds where it is a number.
        times: how often it was waited before.
        longest: no wait is longer.
    """
    factor: int = 2 ** min(max(times, 0), _MOST_DOUBLINGS)
    return min(first * factor, longest)
