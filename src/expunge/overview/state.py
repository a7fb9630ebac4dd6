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
    """Open obligations: not answered, failed, or not asked for yet."""
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
    oldest_seconds: float | None = 0.0
    """How long ago the oldest of them was appended; None: that could not be looked up."""
    retention_seconds: float | None = None
    """For how long the topic keeps messages; None: it keeps them as long as they say something."""

    @property
    def left_seconds(self) -> float | None:
        """How long it is until retention takes what is unread; None where it takes nothing, or nobody can say."""
        if self.retention_seconds is None or self.oldest_seconds is None or not self.unread:
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
    pauses = {scope for each in standing for scope in each.pauses if each.is_paused(scope)}
    counted, waits = _Counted(now), {name: InSystem(name, assets=number) for name, number in assets.items()}
    for case in cases:
        if not case.dry_run:
            counted.take(case)
            _owed(case, now, waits)
    return Overview(
        now,
        counted.cases,
        {days: counted.due[days] for days in DUE_DAYS},
        counted.overdue,
        sum(number for (status, _), number in counted.cases.items() if status is Status.AWAITING_APPROVAL),
        sum(len(each.frozen) for each in standing),
        counted.out,
        tuple(sorted(pauses)),
        len({hold.hold_id for each in standing for hold in each.active}),
        tuple(waits[name] for name in sorted(waits)),
        tuple(behind),
        dict(letters),
    )


class _Counted:
    """What is counted of cases, which go by one by one: there may be very many."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.cases: Counter[tuple[Status, Regime]] = Counter()
        self.due: Counter[int] = Counter()
        self.overdue = self.out = 0

    def take(self, case: Case) -> None:
        """One more case."""
        self.cases[case.status, case.regime] += 1
        self.out += case.out
        if case.status not in CLOSED:
            self.overdue += case.due_at < self._now
            for days in DUE_DAYS:
                self.due[days] += self._now <= case.due_at <= self._now + timedelta(days=days)


def _owed(case: Case, now: datetime, waits: dict[str, InSystem]) -> None:
    """Add what a case waits for to its systems; one that is not declared any more is among them, too."""
    owed: Counter[str] = Counter()
    for line, number in case.counts:
        if line.system:
            owed[line.system] += number if line.claim in UNDONE else 0
    age = (now - case.received_at).total_seconds()
    for system, number in owed.items():
        before = waits.get(system, InSystem(system))
        if number:
            oldest = max(before.oldest_seconds, age)
            before = before._replace(open=before.open + number, cases=before.cases + 1, oldest_seconds=oldest)
        waits[system] = before


def first_unread(log: Log, reached: int | None) -> int | None:
    """The offset of the first message that nobody has read; None: there is none."""
    first = log.first if reached is None else max(log.first, reached)
    return first if first < log.end else None


def behind_on(
    role: str,
    logs: Mapping[Place, Log],
    reached: Mapping[Place, int],
    ages: Mapping[Place, float | None],
    retention: Mapping[str, float | None],
) -> list[Behind]:
    """How far a role is behind on each of its topics.

    Args:
        role: the role.
        logs: what lies in each of its partitions.
        reached: the offset that it reads next, where it has committed one.
        ages: of the first unread messages of partitions, in seconds; None: it could not be looked up.
        retention: topic -> for how long it keeps messages, in seconds.
    """
    unread: Counter[str] = Counter({topic: 0 for topic, _ in logs})
    for place, log in logs.items():
        first = first_unread(log, reached.get(place))
        unread[place[0]] += 0 if first is None else log.end - first
    return [Behind(role, topic, unread[topic], _oldest(topic, ages), retention.get(topic)) for topic in sorted(unread)]


def _oldest(topic: str, ages: Mapping[Place, float | None]) -> float | None:
    mine = [age for place, age in ages.items() if place[0] == topic]
    known = [age for age in mine if age is not None]
    return max(known) if known else (None if mine else 0.0)
