"""Which messages of an inlet are meant: where they lie, when they were appended, and who says what in them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson

from expunge.domain.events import CloudEvent, Record, decode
from expunge.domain.registry import Registry
from expunge.domain.signatures import carried
from expunge.errors import InvalidMessage

Where = tuple[str, int, int]
"""Topic without prefix, partition and offset."""


@dataclass(frozen=True)
class Selection:
    """What is asked for; what is left out selects everything."""

    topic: str
    """Without the prefix."""
    partitions: frozenset[int] = frozenset()
    first: int = 0
    """The first offset that is meant, in each partition."""
    end: int | None = None
    """The first that is not."""
    since: datetime | None = None
    until: datetime | None = None
    publisher: str = ""
    system: str = ""
    request_id: str = ""
    places: frozenset[Where] | None = None
    """Only these, of which dead letters tell."""

    def canonical(self) -> bytes:
        """What is asked for in bytes, the same wherever it is asked."""
        places = None if self.places is None else sorted(self.places)
        return orjson.dumps(
            asdict(self) | {"partitions": sorted(self.partitions), "places": places}, option=orjson.OPT_SORT_KEYS
        )

    def meant(self, record: Record, registry: Registry) -> bool:
        """Whether a record is one of them."""
        return self._lies_there(record) and self._says_so(record, registry)

    def is_behind(self, record: Record) -> bool:
        """Whether nothing of its partition is meant from this record on."""
        ended = self.end is not None and record.position.offset >= self.end
        return ended or (self.until is not None and record.appended_at >= self.until)

    def _lies_there(self, record: Record) -> bool:
        offset = record.position.offset
        return (
            record.topic == self.topic
            and (not self.partitions or record.partition in self.partitions)
            and offset >= self.first
            and (self.since is None or record.appended_at >= self.since)
            and not self.is_behind(record)
            and (self.places is None or (record.topic, record.partition, offset) in self.places)
        )

    def _says_so(self, record: Record, registry: Registry) -> bool:
        if not (self.publisher or self.system or self.request_id):
            return True
        try:
            event = carried(decode(record, max_bytes=len(record.value or b"")))
        except InvalidMessage:  # nobody can say who said what in it
            return False
        publisher = registry.publisher_of(event.source)
        return (
            (not self.publisher or (publisher is not None and publisher.name == self.publisher))
            and (not self.system or self.system in _systems(record, event))
            and (not self.request_id or _data(event).get("request_id") == self.request_id)
        )


def _data(event: CloudEvent) -> dict[str, Any]:
    return event.data if isinstance(event.data, dict) else {}


def _systems(record: Record, event: CloudEvent) -> Collection[object]:
    """Of a receipt the system whose topic it lies on; of registrations every one that they name."""
    _, _, own = record.topic.partition(".")
    data = _data(event)
    common = data.get("common")
    parts = [data, common, *(data["assets"] if isinstance(data.get("assets"), list) else ())]
    return [own, *(each.get("system") for each in parts if isinstance(each, dict))]
