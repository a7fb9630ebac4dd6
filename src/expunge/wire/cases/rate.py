"""What plans of cases ask for together, and what operators say of it."""

from __future__ import annotations

from expunge.domain.planning.policy.limits import Per
from expunge.domain.values import Hex, Value
from expunge.wire.cases.said import Aggregate, CaseEvent, SaidAt


class Limit(Value):
    """A row of the asking case's policy."""

    rule: str
    per: Per
    more_than: int
    approvals: int


class ForRate(CaseEvent):
    """A message for what is counted of one publisher or system."""

    aggregate = Aggregate.RATE
    rate: Hex

    @property
    def key(self) -> str:
        """Of the aggregate."""
        return self.rate


class RateAsked(ForRate):
    """A plan asks whether it may go."""

    partition: int
    cause: SaidAt
    of: str
    case_id: Hex
    generation: int
    obligations: int
    limits: tuple[Limit, ...]


class RateLeft(ForRate):
    """Plans of a case wait no longer: it was cancelled, or they were rejected elsewhere."""

    partition: int
    cause: SaidAt
    group: int
    places: tuple[int, ...]


class GroupVerdict(Value):
    """Operators' word about the members of a group up to a number."""

    group: int
    up_to: int
    let_go: bool
    operator: str = ""
    control: str = ""
    reason: str = ""
