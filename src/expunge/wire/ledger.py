"""Facts as they stand on the ledger: the type of the event says which fact it is, and its data holds the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from expunge.domain.aggregates.case import facts
from expunge.domain.aggregates.retraining import facts as retraining
from expunge.domain.values import Hex, Value

PREFIX = "expunge.ledger."
B = TypeVar("B", bound=Value)


def type_of(fact: type[Value]) -> str:
    """The type of the events that carry a fact."""
    return f"{PREFIX}{fact.fact}.v1"  # type: ignore[attr-defined]


FACTS: Mapping[str, type[Value]] = {type_of(fact): fact for fact in (*facts.ALL, *retraining.ALL)}
"""Event type -> the fact, of cases and of models that are made anew for several of them."""


class LedgerCause(BaseModel):
    """The message on `cases` that led to a fact."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: int
    leader_epoch: int
    offset: int


class LedgerEntry(BaseModel):
    """What all facts say: of which case or aggregate they are, and what led to them under which policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case_id: Hex
    sequence: int
    cause: LedgerCause
    policy: Hex


class LedgerFact(LedgerEntry, Generic[B]):
    """One fact of a case, or of what concerns many cases."""

    body: B


def read(kind: str, body: Mapping[str, Any]) -> Value:
    """A fact from its event's type and body; what earlier versions repeated of the type in it is passed over.

    Raises:
        KeyError: this version knows no such fact.
        ValueError: it is not of that form.
    """
    return FACTS[kind].model_validate(body)
