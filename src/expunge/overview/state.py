"""An overview of a deployment at one moment. Pure: whoever makes one has read what it is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.continuity import Log, Place
from expunge.domain.vocabulary import CLOSED, UNDONE, Regime, Status

DUE_DAYS = (1, 7, 30)
"""Within so many days cases are counted that are due."""


class InSystem(NamedTuple):
    """What live cases wait for in one system."""

    system: str
    open: int = 0
    """Obligations that nothing has answered yet."""
    cases: int = 0
    """Cases that have any."""
    oldest_seconds: float = 0.0
    """How long ago the request of the oldest of them came."""
    assets: int = 0
    """Assets that it has registered, about."""


class Behind(NamedTuple):
    """How far a role is behind on one topic."""

    role: str
    topic: str
    unread: int
    """Messages that it has not read yet."""
    margin: int
    """Of the partition of which retention is nearest: messages that retention would take before it takes an unread
    one. 0 where something is unread: the next that it takes is lost."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A deployment at one moment; cases are those that something may still concern, without dry runs."""

    at: datetime
    cases: Mapping[tuple[Status, Regime], int] = field(default_factory=dict)
    due_within: Mapping[int, int] = field(default_factory=dict)
    """Days -> open cases that are due by then, and are not overdue."""
    overdue: int = 0
    awaiting_approval: int = 0
    frozen: int = 0
    out: int = 0
    """Commands that systems may still carry out."""
    pauses: tuple[str, ...] = ()
    """Scopes of which commands are paused."""
    holds: int = 0
    """Holds in force."""
    systems: tuple[InSystem, ...] = ()
    behind: tuple[Behind, ...] = ()
    letters: Mapping[str, int] = field(default_factory=dict)
    """Reason -> dead letters that nobody has seen to."""


def overview(
    cases: Iterable[Case],
    standing: Collection[Standing],
    assets: Mapping[str, int],
    behind: Iterable[Behind],
    letters: Mapping[str, int],
    now: datetime,
) -> Overview:
    """The overview of what was read.

    Args:
        cases: those that are alive.
        standing: what stands in each partition of `cases`.
        assets: system -> assets that it has registered; every declared system is among them.
        behind: how far roles are behind.
        letters: reason -> dead letters that nobody has seen to.
        now: when it was read.
    """
    every = [case for case in cases if not case.dry_run]
    known = {line.system for case in every for line, _ in case.counts} | assets.keys()
    due = [case for case in every if case.status not in CLOSED]
    pauses = {scope for each in standing for scope in each.pauses if each.is_paused(scope)}
    return Overview(
        now,
        Counter((case.status, case.regime) for case in every),
        {days: _due_by(due, now, timedelta(days=days)) for days in DUE_DAYS},
        sum(case.due_at < now for case in due),
        sum(case.status is Status.AWAITING_APPROVAL for case in every),
        sum(len(each.frozen) for each in standing),
        sum(case.out for case in every),
        tuple(sorted(pauses)),
        len({hold.hold_id for each in standing for hold in each.active}),
        tuple(_in_system(system, assets.get(system, 0), every, now) for system in sorted(known - {""})),
        tuple(behind),
        dict(letters),
    )


def _due_by(cases: Iterable[Case], now: datetime, within: timedelta) -> int:
    return sum(now <= case.due_at <= now + within for case in cases)


def _in_system(system: str, assets: int, cases: Iterable[Case], now: datetime) -> InSystem:
    owing = [(case, number) for case in cases if (number := _owed(case, system))]
    oldest = max(((now - case.received_at).total_seconds() for case, _ in owing), default=0.0)
    return InSystem(system, sum(number for _, number in owing), len(owing), oldest, assets)


def _owed(case: Case, system: str) -> int:
    return sum(number for line, number in case.counts if line.system == system and line.claim in UNDONE)


def behind_on(role: str, ends: Mapping[Place, Log], reached: Mapping[Place, int]) -> list[Behind]:
    """How far a role is behind on each of its topics.

    Args:
        role: the role.
        ends: what lies in each of its partitions.
        reached: the offset that it reads next, where it has committed one.
    """
    found = []
    for topic in sorted({topic for topic, _ in ends}):
        nexts = {
            place: (log, max(log.first, reached.get(place, log.first)))
            for place, log in ends.items()
            if place[0] == topic
        }
        unread = sum(max(0, log.end - read) for log, read in nexts.values())
        waiting = [read - log.first for log, read in nexts.values() if log.end > read]
        everything = sum(log.end - log.first for log, _ in nexts.values())
        found.append(Behind(role, topic, unread, min(waiting, default=everything)))
    return found
