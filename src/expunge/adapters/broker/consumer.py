"""Consuming as one member of a role's group: committed transactions only, offsets committed by hand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from expunge.adapters.broker.client import common, translated
from expunge.domain.events import Position, Record, millis

CALL_MS = 10_000
FIRST_RECORDS = 32
BATCH_BYTES = 2_000_000
"""What a batch should hold at most, about: how many records a poll takes follows the size of the last ones."""

log = structlog.get_logger()


class KafkaRecords:
    """The records of a role's partitions. See `runtime.Source` for what each method promises."""

    def __init__(
        self,
        bootstrap_servers: str,
        options: dict[str, Any],
        prefix: str,
        group: str,
        topics: Sequence[str],
        *,
        max_records: int,
        session_timeout_ms: int,
    ) -> None:
        self._prefix = prefix
        self._topics = [prefix + topic for topic in topics]
        self._committed: dict[TopicPartition, int] = {}
        self._silence = 2 * session_timeout_ms / 1000
        self._most = max_records
        self._records = min(FIRST_RECORDS, max_records)
        self._settings = common(bootstrap_servers, options) | {
            "group_id": prefix + group,
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "earliest",
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "max_poll_interval_ms": 300_000,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": max(1000, session_timeout_ms // 4),
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": 4_194_304,
            "allow_auto_create_topics": False,
        }
        self._consumer: Any = None
        self._join()

    def _join(self) -> None:
        """A consumer that knows its topics before it joins the group.

        One that does not is given nothing at first and joins again at once, and that second join has been seen to hang
        (kafka-python 3.0.12).
        """
        with translated("answer"):
            self._consumer = KafkaConsumer(**self._settings)
            self._consumer.subscribe(self._topics)
            for topic in self._topics:
                self._consumer.partitions_for_topic(topic)
        self._joined_at = time.monotonic()
        self._committed = {}

    def _watch(self) -> None:
        """Start over with a new consumer if this one has silently fallen out of its group.

        Nothing that was handed over is lost: this is called before a poll, when no batch is outstanding, and the new
        consumer reads on from what is committed.
        """
        if time.monotonic() - self._joined_at < self._silence:
            return
        metrics = self._consumer.metrics().get("consumer-coordinator-metrics", {})
        if metrics.get("last-heartbeat-seconds-ago", 0) < self._silence:
            return
        log.warning("no heartbeat; joining the group anew", group=self._settings["group_id"])
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            self._consumer.close(autocommit=False, timeout_ms=1000)
        self._join()

    def poll(self, seconds: float) -> list[Record]:
        """See `runtime.Source.poll`."""
        self._watch()
        with translated("hand over records"):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=self._records)
        batch = [self._record(record) for records in polled.values() for record in records]
        if batch:
            mean = max(1, sum(len(record.value or b"") for record in batch) // len(batch))
            self._records = max(1, min(self._most, 2 * self._records, BATCH_BYTES // mean))
        return batch

    def silent_seconds(self) -> float:
        """How long ago the group last answered this member's heartbeat."""
        heartbeat = self._consumer._coordinator.heartbeat  # noqa: SLF001 - its metric counts what was sent, answered or not
        return time.monotonic() - float(max(heartbeat.last_receive, heartbeat.last_reset))

    def _record(self, record: Any) -> Record:
        return as_record(record, self._prefix)

    def partitions(self) -> list[int]:
        """See `runtime.Source.partitions`."""
        return sorted({each.partition for each in self._consumer.assignment()})

    def commit(self) -> None:
        """See `runtime.Source.commit`: the positions, not last record + 1 (PROTOCOLS 21)."""
        with translated("commit offsets"):
            held = self._consumer.assignment()
            positions = {each: self._consumer.position(each, timeout_ms=CALL_MS) for each in held}
            moved = {tp: at for tp, at in positions.items() if at is not None and self._committed.get(tp) != at}
            if moved:
                self._consumer.commit(
                    {each: OffsetAndMetadata(at, "", -1) for each, at in moved.items()}, timeout_ms=CALL_MS
                )
            self._committed = {tp: at for tp, at in positions.items() if at is not None}

    def rewind(self, batch: Sequence[Record]) -> None:
        """See `runtime.Source.rewind`."""
        first: dict[TopicPartition, int] = {}
        for record in batch:
            partition = TopicPartition(self._prefix + record.topic, record.partition)
            first[partition] = min(record.position.offset, first.get(partition, record.position.offset))
        held = self._consumer.assignment()
        for partition, offset in first.items():
            if partition in held:
                self._consumer.seek(partition, offset)

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """See `runtime.Source.rewind_to_committed`."""
        with translated("say what was committed"):
            for topic, number in {(record.topic, record.partition) for record in batch}:
                partition = TopicPartition(self._prefix + topic, number)
                if partition in self._consumer.assignment():
                    offset = self._consumer.committed(partition, timeout_ms=CALL_MS)
                    if offset is None:
                        self._consumer.seek_to_beginning(partition)
                    else:
                        self._consumer.seek(partition, offset)
                    self._committed.pop(partition, None)

    def rest(self, seconds: float) -> None:
        """See `runtime.Source.rest`."""
        held = self._consumer.assignment()
        with translated("keep the group together"):
            if held:
                self._consumer.pause(*held)
            try:
                polled = self._consumer.poll(timeout_ms=int(seconds * 1000))
                # Partitions that were assigned just now are not paused yet: what they handed over is read again.
                self.rewind([self._record(record) for records in polled.values() for record in records])
            finally:
                paused = self._consumer.paused()
                if paused:
                    self._consumer.resume(*paused)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=CALL_MS)


def as_record(record: Any, prefix: str) -> Record:
    """A message of the client as Expunge's own."""
    kind = next((value for key, value in record.headers or () if key.lower() == "content-type"), None)
    return Record(
        topic=record.topic.removeprefix(prefix),
        partition=record.partition,
        position=Position(record.leader_epoch if record.leader_epoch is not None else -1, record.offset),
        appended_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key,
        value=record.value,
        content_type=kind.decode("latin-1") if kind else None,
    )


class KafkaReader:
    """Reads topics from a moment on, in no group, committing nothing: for people who look."""

    def __init__(
        self, bootstrap_servers: str, options: dict[str, Any], prefix: str, topics: Sequence[str], since: datetime
    ) -> None:
        self._prefix = prefix
        with translated("hand over records"):
            self._consumer: Any = KafkaConsumer(
                **common(bootstrap_servers, options), isolation_level="read_committed", fetch_max_wait_ms=50
            )
            partitions = [
                TopicPartition(prefix + topic, number)
                for topic in topics
                for number in self._consumer.partitions_for_topic(prefix + topic) or ()
            ]
            self._consumer.assign(partitions)
            since_ms = millis(since)
            found = self._consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
            ends = self._consumer.end_offsets(partitions)
            for partition in partitions:
                place = found.get(partition)
                self._consumer.seek(partition, place.offset if place else ends[partition])

    def poll(self, seconds: float) -> list[Record]:
        """Records that came, waiting up to `seconds`."""
        with translated("hand over records"):
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000))
        return [as_record(record, self._prefix) for records in polled.values() for record in records]

    def behind(self) -> bool:
        """Whether more lies on the topics than was handed over."""
        with translated("say how far it is"):
            held = self._consumer.assignment()
            ends = self._consumer.end_offsets(list(held))
            return any(self._consumer.position(each, timeout_ms=CALL_MS) < end for each, end in ends.items())

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()
