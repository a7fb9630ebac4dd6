"""What got slower between two files of results.

`python benchmarks/compare.py OLD NEW [--by 0.1]`

Figures of everyday requests are held against the floor of their own run, so that a slower machine is not taken for
slower code. Ends with status 1 where something got slower by more than that share, and names it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RATES = {"rate", "registrations", "imported", "planned", "load", "walk", "hub walk"}
"""Figures of which more is better; of all others less is."""
RAW = ("kafka-python", "redis-py")
"""What the names of the raw clients' rates begin with."""
FLOOR = "floor"


def figures(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and median of every figure, everyday requests as multiples of their floor."""
    for part, runs in results.items():
        if not isinstance(runs, list) or not runs or part.startswith(FLOOR):
            continue
        floor = _medians(results.get(f"{FLOOR} {part.split()[1]}", [])) if part.startswith("everyday") else {}
        for name, value in _medians(runs).items():
            yield f"{part}: {name}", value / floor[name] if floor.get(name) else value


def _medians(runs: list[Mapping[str, Any]]) -> dict[str, float]:
    numbers = [name for name, value in (runs[0] if runs else {}).items() if isinstance(value, int | float)]
    return {name: statistics.median(run[name] for run in runs) for name in numbers}


def slower(old: Mapping[str, Any], new: Mapping[str, Any], by: float) -> list[str]:
    """A line for every figure that got worse by more than a share."""
    before, lines = dict(figures(old)), []
    for name, now in figures(new):
        was = before.get(name)
        if not was or not now:
            continue
        figure = name.partition(": ")[2]
        worse = was / now if figure in RATES or figure.startswith(RAW) else now / was
        if worse > 1 + by:
            lines.append(f"{name}: {was:,.3g} before, {now:,.3g} now ({(worse - 1):.0%} worse)")
    return lines


def main() -> int:
    """Compare, and say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--by", type=float, default=0.1)
    given = parser.parse_args()
    lines = slower(json.loads(given.old.read_text()), json.loads(given.new.read_text()), given.by)
    print("\n".join(lines) or f"nothing got slower by more than {given.by:.0%}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
