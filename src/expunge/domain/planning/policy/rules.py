"""The form of a policy file: every rule is a row with an id, so that whatever is done can name its rule."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, Protocol

import orjson
from dateutil.relativedelta import relativedelta
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from expunge.domain.digest import digest
from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.form import PolicyRow, RuleId, many
from expunge.domain.planning.policy.limits import RateRule, Threshold
from expunge.domain.planning.policy.models import Models
from expunge.domain.planning.policy.stages import StageRule, check_stages
from expunge.domain.planning.policy.terms import LegalClock, Term, zone_name
from expunge.domain.vocabulary import CONTAINERS, KEEPING, STRICTNESS, Action, Claim, Grade, Kind, Regime


class Basis(StrEnum):
    """What is left of the purposes of an asset when the revoked ones are taken away."""

    NONE = "none"
    OTHER = "other"
    UNSTATED = "unstated"
    """Nobody said for what the asset is used, so nobody said that another purpose does not remain."""


class Sources(StrEnum):
    """Which data sources an asset states when some are withdrawn."""

    ONLY = "only"
    """None but the withdrawn ones."""
    OTHERS = "others"
    UNSTATED = "unstated"


class When(PolicyRow):
    """On what a rule depends: all of its conditions together. One that is left out is met by everything.

    Attributes:
        holding: whether the owner finds the data itself when it is asked.
        named: whether the request names this very asset.
        shared: whether other people's data is in it, too; containers and holdings of many people always are.
    """

    scope: Annotated[tuple[About, ...], BeforeValidator(many)] = ()
    kind: Annotated[tuple[Kind, ...], BeforeValidator(many)] = ()
    category: Annotated[tuple[str, ...], BeforeValidator(many)] = ()
    regime: Annotated[tuple[Regime, ...], BeforeValidator(many)] = ()
    basis: Annotated[tuple[Basis, ...], BeforeValidator(many)] = ()
    sources: Annotated[tuple[Sources, ...], BeforeValidator(many)] = ()
    holding: bool | None = None
    named: bool | None = None
    shared: bool | None = None

    @property
    def unconditional(self) -> bool:
        """Whether it is met by everything."""
        return self == When()


_ANEW = frozenset({Action.REBUILD_WITHOUT, Action.RETRAIN_WITHOUT})


def _disposition(action: Action) -> Action:
    if action not in STRICTNESS:
        raise ValueError(f"{action} is nothing that a policy can ask for: one of {', '.join(STRICTNESS)}")
    return action


def _keeps(action: Action) -> Action:
    if action not in KEEPING:
        raise ValueError(
            f"first: {action} is no step before another: one of {', '.join(sorted(KEEPING - {Action.LIFT}))}"
        )
    return action


class Awaited(StrEnum):
    """What ends a waiting, if it happens to the asset: its owner or an operator says so, or the index shows it."""

    RESTORE = "restore"
    """It is restored to a system in use, or looked into (CCPA 7022(d))."""
    SCHEDULE = "schedule"
    """Its schedule has replaced it."""


class DispositionRule(PolicyRow):
    """What must happen to an asset. Of all rules the first whose conditions are met decides."""

    id: RuleId
    when: When = When()
    then: Annotated[Action, AfterValidator(_disposition)]
    defer_days: int = Field(0, ge=0, le=3650)
    """Only so many days after the plan is let go: what a schedule replaces anyway. Until then it is `deferred`."""
    defer_until: Awaited | None = None
    """Only when this has happened. A day of `defer_days` that comes earlier ends the waiting, too."""
    keep: Term | None = None
    """Only so long after it was collected: a law wants it kept until then."""
    first: Annotated[Action, AfterValidator(_keeps)] | None = None
    """What its system is told at once, in a stage of its own, before this: that a model is served no longer."""
    legal_basis: str = ""
    """Of `exempt` and `keep`: the provision that lets it be kept; requesters and reports are told."""
    why: str = ""
    """For people who read a preview or a report."""

    @model_validator(mode="after")
    def _based(self) -> DispositionRule:
        kept = self.then is Action.EXEMPT or self.keep is not None
        if kept != bool(self.legal_basis):
            raise ValueError("`then: exempt` and `keep` need legal_basis, and nothing else has one")
        if self.keep and self.keep.business_days:
            raise ValueError("`keep` counts in months or days")
        return self


class Reach(PolicyRow):
    """How far an erasure reaches what is collected after it was asked for."""

    everything: tuple[Regime, ...] = ()
    """Regimes under which it reaches whatever is collected later, too."""
    tail_days: int = Field(7, ge=0, le=365)
    """Elsewhere it reaches what was collected up to the request and so much longer: for systems that collect in
    batches. Who signs up again after that is a new customer."""


class Seen(StrEnum):
    """How much of a hold a requester is told."""

    DEFERRED = "deferred"
    """That something is not done yet, not why."""
    HELD = "held"


class GradeRule(PolicyRow):
    """The least that an answer about some kinds must rest on."""

    id: RuleId
    kind: Annotated[tuple[Kind, ...], BeforeValidator(many)] = Field(min_length=1)
    regime: Annotated[tuple[Regime, ...], BeforeValidator(many)] = ()
    minimum: Grade
    why: str = ""


class Grace(PolicyRow):
    """Between a request's first plan and its first command, so long in which it can be taken back."""

    id: RuleId
    scope: Annotated[tuple[About, ...], BeforeValidator(many)] = ()
    regime: Annotated[tuple[Regime, ...], BeforeValidator(many)] = ()
    hours: int = Field(ge=1, le=720)
    why: str = ""


class Retention(PolicyRow):
    """What is kept of a case."""

    case_months: int = Field(24, ge=1, le=1200)
    """How long its record is kept after it has ended; requesters are told."""
    suppression_months: int | None = Field(None, ge=1, le=1200)
    """How long after a request its person must not be collected again; None: as long as nobody lifts that."""

    def suppressed_until(self, received: datetime) -> datetime | None:
        """When the suppression of a person ends whose request was received at a moment; None: it has no end."""
        return received + relativedelta(months=self.suppression_months) if self.suppression_months else None

    def until(self, end: datetime) -> datetime:
        """Until when what names people and assets in a case is kept that has ended at a moment."""
        return end + relativedelta(months=self.case_months)


class Holds(PolicyRow):
    """How holds are dealt with."""

    requester_sees: Seen = Seen.DEFERRED


class NotFound(PolicyRow):
    """From when on an operator must look at a system that does not find what it registered itself."""

    share: float = Field(0.01, ge=0, le=1)
    misses: int = Field(10, ge=1)


class Refusal(PolicyRow):
    """An answer that does not count as done: it is read as `failed`, with the id of this row as its reason."""

    id: RuleId
    kind: Annotated[tuple[Kind, ...], BeforeValidator(many)] = ()
    regime: Annotated[tuple[Regime, ...], BeforeValidator(many)] = ()
    claim: Annotated[tuple[Claim, ...], BeforeValidator(many)] = ()
    method: Annotated[tuple[str, ...], BeforeValidator(many)] = ()
    """What the system says of how it did it."""
    why: str = ""

    @model_validator(mode="after")
    def _names_something(self) -> Refusal:
        if not (self.claim or self.method):
            raise ValueError("name a claim or a method")
        return self

    def covers(self, kind: Kind, regime: Regime, claim: Claim, method: str | None) -> bool:
        """Whether it refuses this answer."""
        return (
            (not self.kind or kind in self.kind)
            and (not self.regime or regime in self.regime)
            and (not self.claim or claim in self.claim)
            and (not self.method or method in self.method)
        )


class Policy(PolicyRow):
    """A whole policy. A case is bound to one, by its digest, for good (rule "pinned policy")."""

    policy: Literal[1]
    """The version of this form."""
    name: str
    dispositions: tuple[DispositionRule, ...] = Field(min_length=1)
    stages: tuple[StageRule, ...] = Field(min_length=1)
    clocks: tuple[LegalClock, ...] = Field(min_length=1)
    zones: dict[Annotated[str, AfterValidator(str.upper)], Annotated[str, AfterValidator(zone_name)]] = {}
    """Jurisdiction (ISO 3166) -> zone, where it is not the clock's."""
    refusals: tuple[Refusal, ...] = ()
    guard: tuple[Threshold, ...] = Field(min_length=1)
    """There is always one: no switch turns the guard off."""
    rates: tuple[RateRule, ...] = ()
    reach: Reach = Reach()
    not_found: NotFound = NotFound()
    holds: Holds = Holds()
    grades: tuple[GradeRule, ...] = ()
    grace: tuple[Grace, ...] = ()
    models: Models = Models()
    retention: Retention = Retention()

    def grace_of(self, about: About, regime: Regime) -> timedelta:
        """How long a plan waits so that its request can be taken back: the first row that fits."""
        fits = (
            row
            for row in self.grace
            if (not row.scope or about in row.scope) and (not row.regime or regime in row.regime)
        )
        return timedelta(hours=next((row.hours for row in fits), 0))

    def minimum_grade(self, kind: Kind, regime: Regime) -> tuple[Grade, str]:
        """The least that an answer must rest on, and the rule that says so: the first that fits."""
        for rule in self.grades:
            if kind in rule.kind and (not rule.regime or regime in rule.regime):
                return rule.minimum, rule.id
        return Grade.E1, ""

    @cached_property
    def digest(self) -> str:
        """The name of this policy: a digest of all that it says; comments and order of keys are no part of it."""
        return digest("policy", self.encode()).hex()

    def encode(self) -> bytes:
        """The policy as JSON, as it is kept."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        self._check_ids()
        self._check_dispositions()
        if all(row.kind or row.scope or row.share for row in self.guard):
            raise ValueError("guard: at least one row must count everything (no kind, no scope, no share)")
        return self

    def check_complete(self) -> None:
        """Hold a policy that is loaded from a file, and none that is kept, to all kinds and laws of this version.

        A case is bound to its policy for good, and a later version may know more than that policy could.

        Raises:
            ValueError: what is missing.
        """
        check_stages(self.stages)
        self._check_clocks()

    def _check_ids(self) -> None:
        ids = [
            *(rule.id for rule in self.dispositions),
            *(clock.id for clock in self.clocks),
            *(threshold.id for threshold in self.guard),
            *(refusal.id for refusal in self.refusals),
            *(rate.id for rate in self.rates),
            *(grade.id for grade in self.grades),
            *(grace.id for grace in self.grace),
        ]
        twice = sorted(name for name, number in Counter(ids).items() if number > 1)
        if twice:
            raise ValueError(f"two rules have the id {twice[0]}")

    def _check_dispositions(self) -> None:
        *others, last = self.dispositions
        if not last.when.unconditional:
            raise ValueError(
                f"dispositions: the last rule ({last.id}) must have no `when`, so that nothing falls through"
            )
        early = next((rule.id for rule in others if rule.when.unconditional), None)
        if early:
            raise ValueError(f"dispositions: no rule behind {early} can ever be met, for it has no `when`")
        for rule in others:
            if rule.then in _ANEW and not (rule.when.kind and set(rule.when.kind) <= CONTAINERS):
                raise ValueError(f"dispositions: {rule.id} makes anew what may hold nothing else: name kinds that do")

    def _check_clocks(self) -> None:
        for regime in Regime:
            rows = sorted((row for row in self.clocks if regime in row.regime), key=lambda row: row.effective_from)
            if not rows:
                raise ValueError(f"clocks: none for regime {regime}")
            if rows[0].effective_from != date.min:
                raise ValueError(f"clocks: for regime {regime} none is in force before {rows[0].effective_from}")
            if rows[-1].effective_to != date.max:
                raise ValueError(f"clocks: for regime {regime} none is in force after {rows[-1].effective_to}")
            for before, after in pairwise(rows):
                if before.effective_to.toordinal() + 1 != after.effective_from.toordinal():
                    raise ValueError(f"clocks: {before.id} and {after.id} overlap or leave days between them")


class KeptPolicy(PolicyRow):
    """A policy as it stands on `plans`, for whoever must find what cases are bound to."""

    policy: str
    """Its digest."""
    rules: Policy


class Policies(Protocol):
    """Policies by digest: the current one, and those that are pinned in cases."""

    @property
    def current(self) -> Policy:
        """The policy of this process: requests that it takes are bound to it."""

    def of(self, digest: str) -> Policy:
        """A policy by its digest.

        Raises:
            Unavailable: nobody kept it where this process looks.
        """
