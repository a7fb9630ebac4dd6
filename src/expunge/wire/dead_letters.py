"""`dead-letters`: what was set aside."""

from __future__ import annotations

from enum import StrEnum

from expunge.domain.values import Hex
from expunge.wire.form import Outlet


class MessageSetAside(Outlet):
    """A dead letter. `sealed` opens with the deployment's secret alone."""

    reason: str
    where: str
    role: str
    topic: str
    partition: int
    offset: int
    digest: str
    part: int | None = None
    """The number of the one of many things in the message that is meant, of which others were taken."""
    sealed: str | None = None


SET_ASIDE = "expunge.message.set_aside.v1"


class Fate(StrEnum):
    """What an operator has decided of a message that was set aside."""

    REDRIVEN = "redriven"
    """It was handled once more."""
    REWRITTEN = "rewritten"
    """Another message was published in its place."""
    DISCARDED = "discarded"
    """It is not to be handled."""


class MessageSettled(Outlet):
    """That a dead letter needs nobody any more; it lies behind it on the same partition."""

    letter: Hex
    """The id of the dead letter's event."""
    fate: Fate
    operator: str
    reason: str


SETTLED = "expunge.message.settled.v1"
