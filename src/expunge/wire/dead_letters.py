"""`dead-letters`: what was set aside."""

from __future__ import annotations

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
    sealed: str | None = None


SET_ASIDE = "expunge.message.set_aside.v1"
