"""What a publisher hears of a request that is not taken."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing

SOURCE = "/expunge/intake"


def rejection(publisher: str, *, key: str, time: datetime, data: dict[str, Any]) -> Outgoing:
    """What a publisher hears of a request that cannot be taken."""
    kind = "expunge.request.rejected.v1"
    event = Event(
        type=kind,
        source=SOURCE,
        id=name(str(data["source"]), str(data["id"]), kind, str(data["reason"])),
        time=time,
        data={field: value for field, value in data.items() if value is not None},
    )
    return Outgoing(f"confirmations.{publisher}", key, event)
