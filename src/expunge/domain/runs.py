"""Runs of things that together weigh no more than a message may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def light_runs(items: Iterable[T], weight: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The same things in order, in runs of at most so much weight; what weighs more by itself is a run of its own."""
    run, sum_ = list[T](), 0
    for item in items:
        more = weight(item)
        if run and sum_ + more > most:
            yield run
            run, sum_ = [], 0
        run.append(item)
        sum_ += more
    if run:
        yield run
