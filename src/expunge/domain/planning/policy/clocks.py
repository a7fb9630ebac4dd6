"""When a request must be answered: terms of laws, counted as laws count them.

A month is a calendar month: from the 31st to the last day of a shorter month (Regulation (EEC) No 1182/71, article
3(2)(c); the ICO counts alike). Where a law moves the end of a term to the next working day, the earlier day is kept:
nobody is answered too late by it. Terms keep the time of day of the place where they run.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import holidays
from dateutil.relativedelta import relativedelta

from expunge.domain.planning.policy.rules import Policy
from expunge.domain.planning.policy.terms import LegalClock, Term
from expunge.domain.vocabulary import Regime

SATURDAY = 5


class Deadlines(NamedTuple):
    """The moments of one request, in the zone of its clock, and the rule that they come from."""

    clock: str
    due: datetime
    warning: timedelta
    """How long before the due date an open case is pointed out."""
    acknowledge: datetime | None
    extended: datetime | None
    """The due date after an extension; None where the law knows none."""


def clock_of(policy: Policy, regime: Regime, received_at: datetime, zone: str = "") -> LegalClock:
    """The row in force when a request was received; a policy has exactly one."""
    rows = [row for row in policy.clocks if regime in row.regime]
    return next(row for row in rows if row.in_force(_local(received_at, zone or row.zone).date()))


def deadlines(policy: Policy, regime: Regime, jurisdiction: str | None, received_at: datetime) -> Deadlines:
    """When a request must be acknowledged, answered, and answered at the latest."""
    own = policy.zones.get((jurisdiction or "").upper(), "")
    clock = clock_of(policy, regime, received_at, own)
    received = _local(received_at, own or clock.zone)
    due = after(received, clock.respond, clock.calendar)
    return Deadlines(
        clock=clock.id,
        due=due,
        warning=timedelta(days=clock.warn_days),
        acknowledge=after(received, clock.acknowledge, clock.calendar) if clock.acknowledge else None,
        extended=after(received, _both(clock.respond, clock.extend), clock.calendar) if clock.extend else None,
    )


def after(start: datetime, term: Term, calendar: str = "") -> datetime:
    """The end of a term that begins at a moment. The day of the event itself does not count."""
    if not term.business_days:
        return start + relativedelta(months=term.months, days=term.days)
    day, left = start.date(), term.business_days
    while left:
        day += timedelta(days=1)
        left -= is_business_day(day, calendar)
    return datetime.combine(day, start.timetz())


def is_business_day(day: date, calendar: str) -> bool:
    """Whether a day is neither of a weekend nor a holiday of a place."""
    return day.weekday() < SATURDAY and day not in _holidays(calendar, day.year)


@lru_cache(maxsize=256)
def _holidays(calendar: str, year: int) -> holidays.HolidayBase:
    country, _, subdivision = calendar.partition("-")
    return holidays.country_holidays(country, subdiv=subdivision or None, years=year)


def _local(moment: datetime, zone: str) -> datetime:
    return moment.astimezone(ZoneInfo(zone))


def _both(first: Term, second: Term) -> Term:
    """An extension is counted from the beginning: one month and two more are three, not one and then two."""
    return Term.model_construct(
        months=first.months + second.months,
        days=first.days + second.days,
        business_days=first.business_days + second.business_days,
    )
