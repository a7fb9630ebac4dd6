"""Setting a message aside: where it lies, why it can never be right, and its sealed content (DESIGN 4.6)."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.admission.door import Door
from expunge.domain.case.messages import Place
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Record
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, Vault

MAX_SEALED_BYTES = 1_400_000
"""Above this only place and digest are kept: base64 must stay below the topic's 2 MiB (PROTOCOLS 39)."""
TYPE = "expunge.message.set_aside.v1"


class DeadLetters:
    """Makes dead letters for one role."""

    def __init__(self, role: str, door: Door, vault: Vault, metrics: Metrics) -> None:
        self._role, self._door, self._vault, self._metrics = role, door, vault, metrics

    def of(self, record: Record, error: InvalidMessage) -> Outgoing:
        """The dead letter of a record."""
        payload = record.value or b""
        place = self._door.place_of(record)
        sealed = None
        if payload and len(payload) <= MAX_SEALED_BYTES:
            sealed = self._vault.seal_dead_letter(_spell(place), payload)
        return self.at(
            place, error.reason, self._door.keys.content(payload), record.appended_at, where=error.where, sealed=sealed
        )

    def at(
        self,
        place: Place,
        reason: str,
        content: str,
        time: datetime,
        *,
        where: str = "",
        sealed: str | None = None,
    ) -> Outgoing:
        """A dead letter of which only place and digest are known."""
        self._metrics.count("dead_letters", label=f"{self._role}:{reason}")
        data = {
            "reason": reason,
            "where": where,
            "role": self._role,
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset,
            "digest": content,
            "sealed": sealed,
        }
        event = Event(
            type=TYPE,
            source=f"/expunge/{self._role}",
            id=name("dead-letter", self._role, _spell(place), reason),
            time=time,
            data={key: value for key, value in data.items() if value is not None},
        )
        return Outgoing("dead-letters", content, event)


def _spell(place: Place) -> str:
    return f"{place.topic}/{place.partition}/{place.offset}"
