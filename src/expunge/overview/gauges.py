"""An overview as gauges: each with what it means and its labels; never an id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from expunge.overview.state import Overview


class Gauge(NamedTuple):
    """What one gauge means, and the names of its labels."""

    meaning: str
    labels: tuple[str, ...] = ()


GAUGES: Mapping[str, Gauge] = {
    "cases": Gauge("Cases that something may still concern", ("status", "regime")),
    "cases_due": Gauge("Open cases that are due within so many days, and not overdue", ("days",)),
    "cases_overdue": Gauge("Open cases whose due date has passed"),
    "cases_awaiting_approval": Gauge("Cases whose plan waits for an operator"),
    "cases_frozen": Gauge("Cases that wait for a person, for nobody can handle a message of theirs"),
    "commands_out": Gauge("Commands that systems may still carry out"),
    "paused_scopes": Gauge("Scopes of which commands are paused"),
    "holds": Gauge("Legal holds in force"),
    "open_obligations": Gauge("Open obligations: not answered, failed, or not asked for yet", ("system",)),
    "waiting_cases": Gauge("Live cases with open obligations", ("system",)),
    "oldest_open_seconds": Gauge("Since the request of the oldest of them came", ("system",)),
    "registered_assets": Gauge("Assets that a system has registered, about", ("system",)),
    "unread_messages": Gauge("Messages that a role has not read yet", ("role", "topic")),
    "oldest_unread_seconds": Gauge("Since the oldest of them was appended", ("role", "topic")),
    "retention_left_seconds": Gauge("Until retention takes the oldest of them", ("role", "topic")),
    "open_dead_letters": Gauge("Messages that were set aside, and nobody has seen to", ("reason",)),
    "looked_at_seconds": Gauge("When all of this was looked at, in seconds since 1970: an old one is no news"),
}
"""Name without `expunge_` -> what it is."""


def samples(seen: Overview) -> dict[str, list[tuple[tuple[str, ...], float]]]:
    """Name -> values, each behind the values of its labels, in the order of `GAUGES`."""
    found: dict[str, Iterable[tuple[tuple[str, ...], float]]] = {
        "cases": [((status.value, regime.value), number) for (status, regime), number in seen.cases.items()],
        "cases_due": [((str(days),), number) for days, number in seen.due_within.items()],
        "cases_overdue": [((), seen.overdue)],
        "cases_awaiting_approval": [((), seen.awaiting_approval)],
        "cases_frozen": [((), seen.frozen)],
        "commands_out": [((), seen.out)],
        "paused_scopes": [((), len(seen.pauses))],
        "holds": [((), seen.holds)],
        "open_obligations": [((each.system,), each.open) for each in seen.systems],
        "waiting_cases": [((each.system,), each.cases) for each in seen.systems],
        "oldest_open_seconds": [((each.system,), each.oldest_seconds) for each in seen.systems],
        "registered_assets": [((each.system,), each.assets) for each in seen.systems],
        "unread_messages": [((each.role, each.topic), each.unread) for each in seen.behind],
        "oldest_unread_seconds": [
            ((each.role, each.topic), each.oldest_seconds) for each in seen.behind if each.oldest_seconds is not None
        ],
        "retention_left_seconds": [
            ((each.role, each.topic), left) for each in seen.behind if (left := each.left_seconds) is not None
        ],
        "open_dead_letters": [((reason,), number) for reason, number in sorted(seen.letters.items())],
        "looked_at_seconds": [((), seen.at.timestamp())],
    }
    return {name: list(found[name]) for name in GAUGES}
