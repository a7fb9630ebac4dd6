"""Terms of laws, as rows of a policy: how long, from when to when they are in force, and where their days begin."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from zoneinfo import ZoneInfo

import holidays
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from expunge.domain.planning.policy.form import PolicyRow, RuleId, many
from expunge.domain.vocabulary import Regime


class Term(PolicyRow):
    """A length of time as laws count it: exactly one of the three."""

    months: int = Field(0, ge=0, le=24)
    days: int = Field(0, ge=0, le=730)
    business_days: int = Field(0, ge=0, le=250)

    @model_validator(mode="after")
    def _one(self) -> Term:
        if sum(map(bool, (self.months, self.days, self.business_days))) != 1:
            raise ValueError("give one of months, days, business_days")
        return self


def zone_name(name: str) -> str:
    """An IANA name, if it is one."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone: Europe/Brussels, America/Los_Angeles, UTC") from None
    return name


def _calendar(name: str) -> str:
    if not name:
        return name
    country, _, subdivision = name.partition("-")
    try:
        holidays.country_holidays(country, subdiv=subdivision or None)
    except NotImplementedError:
        raise ValueError(f"no holidays are known for {name}: a country and perhaps a part of it, US-CA, DE") from None
    return name


class LegalClock(PolicyRow):
    """A term of a law, in force for requests received from one day to another."""

    id: RuleId
    regime: Annotated[tuple[Regime, ...], BeforeValidator(many)] = Field(min_length=1)
    effective_from: date = date.min
    effective_to: date = date.max
    """The last day."""
    zone: Annotated[str, AfterValidator(zone_name)]
    """IANA name: where the days of this clock begin, unless the request's jurisdiction has a zone of its own."""
    calendar: Annotated[str, AfterValidator(_calendar)] = ""
    """Country and perhaps subdivision (`US-CA`) whose holidays are no business days."""
    acknowledge: Term | None = None
    respond: Term
    extend: Term | None = None
    """By how much an operator may extend, once and with reasons, before the first term has ended."""
    warn_days: int = Field(7, ge=0, le=365)
    """So many days before the due date a case that is still open is pointed out."""
    why: str = ""

    @model_validator(mode="after")
    def _counts(self) -> LegalClock:
        terms = [term for term in (self.acknowledge, self.respond, self.extend) if term]
        if any(term.business_days for term in terms) and not self.calendar:
            raise ValueError("business_days need a calendar")
        if self.extend and [bool(self.extend.months), bool(self.extend.days)] != [
            bool(self.respond.months),
            bool(self.respond.days),
        ]:
            raise ValueError("extend counts in another unit than respond")
        if self.effective_to < self.effective_from:
            raise ValueError("effective_to lies before effective_from")
        return self

    def in_force(self, day: date) -> bool:
        """Whether it holds for a request received on this day."""
        return self.effective_from <= day <= self.effective_to
