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
    oldest_seconds: float = 0.0
    """How long ago the oldest of them was appended, as far as that could be looked up."""
    retention_seconds: float | None = None
    """For how long the topic keeps messages; None: it keeps them as long as they say something."""

    @property
    def left_seconds(self) -> float | None:
        """How long it is until retention takes what is unread; None where it takes nothing of that."""
        if self.retention_seconds is None or not self.unread:
            return None
        return max(0.0, self.retention_seconds - self.oldest_seconds)


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


def first_unread(log: Log, reached: int | None) -> int | None:
    """The offset of the first message that nobody has read; None: there is none."""
    first = log.first if reached is None else max(log.first, reached)
    return first if first < log.end else None


def behind_on(
    role: str,
    logs: Mapping[Place, Log],
    reached: Mapping[Place, int],
    ages: Mapping[Place, float],
    retention: Mapping[str, float | None],
) -> list[Behind]:
    """How far a role is behind on each of its topics.

    Args:
        role: the role.
        logs: what lies in each of its partitions.
        reached: the offset that it reads next, where it has committed one.
        ages: of the first unread messages of partitions, in seconds.
        retention: topic -> for how long it keeps messages, in seconds.
    """
    unread: Counter[str] = Counter({topic: 0 for topic, _ in logs})
    for place, log in logs.items():
        first = first_unread(log, reached.get(place))
        unread[place[0]] += 0 if first is None else log.end - first
    oldest = {topic: max((age for place, age in ages.items() if place[0] == topic), default=0.0) for topic in unread}
    return [Behind(role, topic, unread[topic], oldest[topic], retention.get(topic)) for topic in sorted(unread)]
