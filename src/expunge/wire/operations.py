"""Facts on the ledger that are of no case: what operators have said and done about topics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from expunge.domain.continuity import Lost, Place, Why
from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Outgoing
from expunge.domain.signatures import Envelope
from expunge.domain.values import Hex

PREFIX = "expunge.ledger."
OPERATORS = "/operators"


class LossAcknowledged(BaseModel):
    """Part of a topic is gone, and an operator has let its role go on without it; it is a fact of no case alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: str
    topic: str
    partition: int
    why: Why
    since: int
    until: int
    resume: int
    operator: str
    reason: str


LOSS = f"{PREFIX}loss_acknowledged.v1"


def loss_acknowledged(role: str, place: Place, lost: Lost, resume: int, operator: str, reason: str) -> Outgoing:
    """That fact: the broker's time is what counts, and a repetition is the same message."""
    topic, partition = place
    said = LossAcknowledged(
        role=role,
        topic=topic,
        partition=partition,
        why=lost.why,
        since=lost.since,
        until=lost.until,
        resume=resume,
        operator=operator,
        reason=reason,
    )
    data = said.model_dump(mode="json")
    key = f"{topic}/{partition}"
    return Outgoing("ledger", key, Event(LOSS, f"/expunge/{role}", name(LOSS, key, str(data)), EARLIEST, data))


class Replayed(BaseModel):
    """An operator has messages of an inlet, or dead letters, handled once more; said before the first of them is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replay: Hex
    """What the replay is called: each message that it leads to bears this in a header."""
    topic: str
    """Without the prefix; `dead-letters` where what was set aside is meant."""
    selection: Hex
    """A keyed digest of what was asked for: who has the secret can hold a selection against it."""
    operator: str
    reason: str
    word: Envelope | None = None
    """The same, signed by the operator, where one is declared with a key."""


class Discarded(BaseModel):
    """An operator has said that a message that was set aside is not to be handled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    letter: Hex
    """The id of the dead letter."""
    topic: str
    """In full, as in the letter."""
    partition: int
    offset: int
    operator: str
    reason: str
    word: Envelope | None = None
    """As in `Replayed`."""


class Rewritten(Discarded):
    """An operator has another message published in the place of one that was set aside; said before it is."""

    message: Hex
    """The keyed digest of what is published instead."""


class Parked(BaseModel):
    """An operator has a message set aside unread when its role comes to it; said before the role can hear of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    """In full."""
    partition: int
    offset: int
    operator: str
    reason: str
    word: Envelope | None = None
    """As in `Replayed`."""


REPLAYED, DISCARDED, REWRITTEN, PARKED = (
    f"{PREFIX}{what}.v1" for what in ("replayed", "discarded", "rewritten", "parked")
)
OF_NO_CASE = frozenset({LOSS, REPLAYED, DISCARDED, REWRITTEN, PARKED})


def replayed(said: Replayed, at: datetime) -> Outgoing:
    """That fact."""
    return _fact(REPLAYED, said.replay, said, at)


def discarded(said: Discarded, at: datetime) -> Outgoing:
    """That fact."""
    return _fact(DISCARDED, said.letter, said, at)


def rewritten(said: Rewritten, at: datetime) -> Outgoing:
    """That fact."""
    return _fact(REWRITTEN, said.letter, said, at)


def parked(said: Parked, at: datetime) -> Outgoing:
    """That fact."""
    return _fact(PARKED, f"{said.topic}/{said.partition}/{said.offset}", said, at)


def _fact(kind: str, key: str, said: BaseModel, at: datetime) -> Outgoing:
    data: dict[str, Any] = said.model_dump(mode="json", exclude_none=True)
    return Outgoing("ledger", key, Event(kind, OPERATORS, name(kind, key, data["operator"], str(at)), at, data))
