"""What plans of cases ask for together, and what operators say of it."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from expunge.domain.events import Position
from expunge.domain.planning.policy.limits import Per
from expunge.domain.values import Hex, Value
from expunge.wire.cases.said import RATES, Aggregate, CaseEvent, SaidAt, among_rates, home_of


class Limit(Value):
    """A row of the asking case's policy."""

    rule: str
    per: Per
    more_than: int
    approvals: int


def in_a_list(said: Any, field: str, of: type[Value]) -> Any:
    """What 0.1 said of a single rate, in the form that speaks of several."""
    if not isinstance(said, dict) or "rate" not in said:
        return said
    return {**said, field: ({each: said[each] for each in of.model_fields if each in said},)}


class Ask(Value):
    """What is counted of a plan for one publisher or system, and the limits that hold there."""

    rate: Hex
    of: str
    obligations: int
    limits: tuple[Limit, ...]


THAWED = -1
"""In the place of a partition: of what was set aside and taken up again, in the order in which it was."""


class RateAsked(CaseEvent):
    """A plan asks whether it may go, of all that is counted of it."""

    aggregate = Aggregate.RATE
    partition: int
    cause: SaidAt
    case_id: Hex
    generation: int
    asks: tuple[Ask, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_one(cls, said: Any) -> Any:
        """0.1 asked for each rate by itself."""
        return in_a_list(said, "asks", Ask)

    @property
    def key(self) -> str:
        """Of whoever asks: an ask that cannot be handled is set aside by itself. One of 0.1 has that of its rate."""
        of = self.asks[0].rate if self.asks else RATES
        return among_rates(self.case_id) if home_of(of) == RATES else of

    def taken_up(self, position: Position) -> RateAsked:
        """The same, as heard when it was thawed: what others have said since has not overtaken it."""
        return self.model_copy(
            update={"partition": THAWED, "cause": (position.leader_epoch, position.offset, self.case_id)}
        )


class RateAnswer(Value):
    """A plan may go as far as one rate is concerned, or it waits at a place in a group."""

    rate: Hex
    group: int = 0
    place: int = 0
    rules: tuple[str, ...] = ()


class RateLeft(CaseEvent):
    """Plans of a case wait no longer: it was cancelled, or they were rejected elsewhere."""

    aggregate = Aggregate.RATE
    rate: Hex
    partition: int
    cause: SaidAt
    group: int
    places: tuple[int, ...]

    @property
    def key(self) -> str:
        """Of the rate."""
        return self.rate


class GroupVerdict(Value):
    """Operators' word about the members of a group up to a number."""

    group: int
    up_to: int
    let_go: bool
    operator: str = ""
    control: str = ""
    reason: str = ""
