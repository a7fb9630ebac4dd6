"""What the rest of Expunge takes from a client of Kafka. Another client is a folder beside this one, with such a class.

`[kafka] client` names the folder; tests/contract/test_broker.py holds every client to the same promises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from expunge.adapters.broker import Compression
from expunge.adapters.kafka.admin import KafkaTopics
from expunge.adapters.kafka.consumer import KafkaReader, KafkaRecords, record_at
from expunge.adapters.kafka.producer import KafkaSender
from expunge.domain.events import Record

PLAIN = Compression()


class Broker:
    """A cluster, and the prefix under which the topics of a deployment stand."""

    def __init__(self, bootstrap_servers: str, options: Mapping[str, Any] | None = None, prefix: str = "") -> None:
        self._to = (bootstrap_servers, dict(options or {}), prefix)

    @cached_property
    def topics(self) -> KafkaTopics:
        """Topics, groups, and how far they have come."""
        return KafkaTopics(*self._to)

    def sender(self, compression: Compression = PLAIN) -> KafkaSender:
        """A producer; see `ports.Sender`."""
        return KafkaSender(*self._to, self.topics, compression)

    def records(
        self, group: str, topics: Sequence[str], *, max_records: int, session_timeout_ms: int, client_id: str = ""
    ) -> KafkaRecords:
        """A member of a group; see `runtime.loop.Source`."""
        return KafkaRecords(
            *self._to,
            group,
            topics,
            max_records=max_records,
            session_timeout_ms=session_timeout_ms,
            client_id=client_id,
        )

    def reader(self, topics: Sequence[str], since: datetime) -> KafkaReader:
        """A reader outside of any group."""
        return KafkaReader(*self._to, topics, since)

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at a place, for people; `topic` with its prefix. None: it is not there any more."""
        servers, options, _ = self._to
        return record_at(servers, options, topic, partition, offset)

    def close(self) -> None:
        """Let go of the connection for topics, if there is one."""
        if "topics" in self.__dict__:
            self.topics.close()
