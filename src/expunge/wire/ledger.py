"""Facts as they stand on the ledger: the type of the event says which fact it is, and its data holds the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field

from expunge.domain.aggregates.case import facts
from expunge.domain.aggregates.retraining import facts as retraining
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing
from expunge.domain.limits import MAX_FACTS, MAX_FACTS_BYTES
from expunge.domain.values import Hex, Value
from expunge.wire.operations import OF_NO_CASE, PREFIX

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


class LedgerFacts(BaseModel):
    """Facts of one case or model, in order: whole events of the types of facts, as each would stand by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    facts: Annotated[tuple[CloudEvent, ...], Field(min_length=2, max_length=MAX_FACTS)]


SEVERAL = f"{PREFIX}facts.v1"
"""The type of events that carry several facts. How facts share records means nothing; a repetition may share others."""


def records(key: str, facts: Sequence[Event]) -> Iterator[Outgoing]:
    """Facts of one case or model in as few records as their size allows."""
    part: list[tuple[Event, bytes]] = []
    for fact in facts:
        raw = fact.encode()
        if part and (len(part) == MAX_FACTS or sum(len(each) for _, each in part) + len(raw) > MAX_FACTS_BYTES):
            yield _record(key, part)
            part = []
        part.append((fact, raw))
    if part:
        yield _record(key, part)


def _record(key: str, part: Sequence[tuple[Event, bytes]]) -> Outgoing:
    (first, _), (last, _) = part[0], part[-1]
    if len(part) == 1:
        return Outgoing("ledger", key, first)
    data = {"facts": [orjson.Fragment(raw) for _, raw in part]}
    return Outgoing("ledger", key, Event(SEVERAL, last.source, name(SEVERAL, first.id, last.id), last.time, data))


def facts_of(event: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The facts of cases that an event on the ledger carries, each as an event.

    Raises:
        ValueError: it is none.
    """
    if event["type"] in OF_NO_CASE:
        return ()
    if event["type"] != SEVERAL:
        return (event,)
    facts = event["data"].get("facts") if isinstance(event["data"], dict) else None
    if not isinstance(facts, list) or not all(map(_is_event, facts)):
        raise ValueError("no facts")
    return facts


def _is_event(said: object) -> bool:
    return isinstance(said, dict) and isinstance(said.get("type"), str) and "data" in said


def read(kind: str, body: Mapping[str, Any]) -> Value:
    """A fact from its event's type and body; what earlier versions repeated of the type in it is passed over.

    Raises:
        KeyError: this version knows no such fact.
        ValueError: it is not of that form.
    """
    return FACTS[kind].model_validate(body)
