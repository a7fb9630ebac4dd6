"""Consuming as one member of a role's group: committed transactions only, offsets committed by hand."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import IllegalStateError, KafkaError
from kafka.structs import OffsetAndMetadata

from expunge.adapters.kafka.client import common, connected, translated
from expunge.adapters.kafka.records import Broken, install
from expunge.adapters.records import Portion, first_offsets, moment
from expunge.domain.events import Position, Record, millis

CALL_MS = 5_000
CLOSE_MS = 1_000
QUIET_WAIT = 0.1
SHORT_SECONDS = 0.2

log = structlog.get_logger()


class KafkaRecords:
    """The records of a role's partitions. See `ports.Source` for what each method promises."""

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
        client_id: str = "",
    ) -> None:
        self._prefix = prefix
        self._topics = [prefix + topic for topic in topics]
        self._committed: dict[TopicPartition, int] = {}
        self._silence = 2 * session_timeout_ms / 1000
        heartbeat_ms = max(1000, session_timeout_ms // 4)
        self._late = heartbeat_ms / 1000 + QUIET_WAIT
        self._portion = Portion(max_records)
        self._settings = common(bootstrap_servers, options) | {
            "group_id": prefix + group,
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "earliest",
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "max_poll_interval_ms": 300_000,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": heartbeat_ms,
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": 4_194_304,
            "allow_auto_create_topics": False,
        }
        self._settings |= {"client_id": client_id} if client_id else {}
        install()
        self._consumer: Any = None
        self._joined_at = 0.0
        self.revocations = 0
        """How often partitions were taken away: what was read before may have been answered by others since."""

    @property
    def _member(self) -> Any:
        """The consumer of this process, made when there is none.

        It knows its topics before it joins the group: one that does not is given nothing at first and joins again at
        once, and that second join has been seen to hang (kafka-python 3.0.12).
        """
        if self._consumer is None:
            with translated("answer"):
                consumer = connected(KafkaConsumer, self._settings)
                try:
                    consumer.subscribe(self._topics, listener=_Revocations(self))
                    for topic in self._topics:
                        consumer.partitions_for_topic(topic)
                except BaseException:
                    _closed(consumer)
                    raise
            self._consumer, self._joined_at, self._committed = consumer, time.monotonic(), {}
        return self._consumer

    def _drop(self) -> None:
        """Let go of a consumer that is of no use any more; nothing of it is used again."""
        consumer, self._consumer = self._consumer, None
        self.revocations += 1
        if consumer is not None:
            _closed(consumer)

    def _watch(self) -> None:
        """Start over with a new consumer if this one has silently fallen out of its group.

        Nothing that was handed over is lost: this is called before a poll, when no batch is outstanding, and the new
        consumer reads on from what is committed. Its own silence is measured, and not what its metrics say, which are
        empty when it is closed.
        """
        if self._consumer is None or time.monotonic() - self._joined_at < self._silence:
            return
        if self.silent_seconds() >= self._silence:
            log.warning("no heartbeat; joining the group anew", group=self._settings["group_id"])
            self._drop()

    def poll(self, seconds: float) -> list[Record]:
        """See `ports.Source.poll`."""
        self._watch()
        with translated("hand over records"):
            try:
                polled = self._polled(seconds)
            except IllegalStateError:
                self._drop()  # whatever brought it into this state, no poll of it will ever be better
                raise
        batch = [self._record(record) for records in polled.values() for record in records]
        self._portion.follow(batch)
        return batch

    def _polled(self, seconds: float) -> dict[Any, list[Any]]:
        """One poll that also waits while the broker is silent.

        With a heartbeat that is due and not answered the library's poll does not wait, it asks again at once until its
        time is over: a broker that hangs would cost each role a third of a processor (kafka-python 3.0.12).
        """
        member = self._member
        quiet = self.silent_seconds() >= self._late
        wait_ms = 0 if quiet else int(seconds * 1000)
        polled: dict[Any, list[Any]] = member.poll(timeout_ms=wait_ms, max_records=self._portion.records)
        if quiet and not polled:
            time.sleep(min(seconds, QUIET_WAIT))
        return polled

    def silent_seconds(self) -> float:
        """How long ago the group last answered this member's heartbeat."""
        if self._consumer is None:
            return time.monotonic() - self._joined_at
        heartbeat = self._consumer._coordinator.heartbeat  # noqa: SLF001 - its metric counts what was sent, answered or not
        return time.monotonic() - float(max(heartbeat.last_receive, heartbeat.last_reset))

    def _record(self, record: Any) -> Record:
        return as_record(record, self._prefix)

    def partitions(self) -> list[int]:
        """See `ports.Source.partitions`."""
        return sorted({each.partition for each in self._held()})

    def _held(self) -> set[TopicPartition]:
        return self._consumer.assignment() if self._consumer is not None else set()

    def commit(self) -> None:
        """See `ports.Source.commit`: the positions, not last record + 1 (rule "applied")."""
        with translated("commit offsets"):
            held = self._held()
            positions = {each: self._consumer.position(each, timeout_ms=CALL_MS) for each in held}
            moved = {tp: at for tp, at in positions.items() if at is not None and self._committed.get(tp) != at}
            if moved:
                self._consumer.commit(
                    {each: OffsetAndMetadata(at, "", -1) for each, at in moved.items()}, timeout_ms=CALL_MS
                )
            self._committed = {tp: at for tp, at in positions.items() if at is not None}

    def rewind(self, batch: Sequence[Record]) -> None:
        """See `ports.Source.rewind`."""
        held = self._held()
        for place, offset in first_offsets(batch, self._prefix).items():
            partition = TopicPartition(*place)
            if partition in held:
                self._consumer.seek(partition, offset)

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """See `ports.Source.rewind_to_committed`."""
        with translated("say what was committed"):
            for topic, number in {(record.topic, record.partition) for record in batch}:
                partition = TopicPartition(self._prefix + topic, number)
                if partition in self._held():
                    offset = self._consumer.committed(partition, timeout_ms=CALL_MS)
                    if offset is None:
                        self._consumer.seek_to_beginning(partition)
                    else:
                        self._consumer.seek(partition, offset)
                    self._committed.pop(partition, None)

    def rest(self, seconds: float) -> None:
        """See `ports.Source.rest`."""
        held = self._held()
        if self._consumer is None:
            return
        with translated("keep the group together"):
            if held:
                self._consumer.pause(*held)
            try:
                polled = self._polled(seconds)
                # Partitions that were assigned just now are not paused yet: what they handed over is read again.
                self.rewind([self._record(record) for records in polled.values() for record in records])
            finally:
                paused = self._consumer.paused()
                if paused:
                    self._consumer.resume(*paused)

    def close(self) -> None:
        """Leave the group."""
        self._drop()


class _Revocations(ConsumerRebalanceListener):  # type: ignore[misc]
    """Counts what is taken away from a member."""

    def __init__(self, records: KafkaRecords) -> None:
        self._records = records

    def on_partitions_assigned(self, assigned: Any) -> None:
        """See the library."""

    def on_partitions_revoked(self, revoked: Any) -> None:
        """See the library."""
        self._records.revocations += bool(revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        """See the library."""
        self._records.revocations += bool(lost)


def _closed(consumer: Any) -> None:
    """Close a consumer in a bounded time, whether or not anybody answers."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError, RuntimeError):
        consumer.close(autocommit=False, timeout_ms=CLOSE_MS)


def as_record(record: Any, prefix: str) -> Record:
    """A message of the client as Expunge's own."""
    headers = record.headers or ()
    kind = next((value for key, value in headers if key.lower() == "content-type"), None)
    broken = next((value for _, value in headers if isinstance(value, Broken)), b"")
    return Record(
        topic=record.topic.removeprefix(prefix),
        partition=record.partition,
        position=Position(record.leader_epoch if record.leader_epoch is not None else -1, record.offset),
        appended_at=moment(record.timestamp),
        key=record.key,
        value=record.value,
        content_type=kind.decode("latin-1") if kind else None,
        unreadable=broken.decode("latin-1") if broken else "",
    )


class KafkaReader:
    """Reads topics from a moment on, in no group, committing nothing: for people who look."""

    def __init__(
        self, bootstrap_servers: str, options: dict[str, Any], prefix: str, topics: Sequence[str], since: datetime
    ) -> None:
        self._prefix = prefix
        with translated("hand over records"):
            install()
            settings = common(bootstrap_servers, options)
            settings |= {"isolation_level": "read_committed", "fetch_max_wait_ms": 50}
            self._consumer: Any = connected(KafkaConsumer, settings)
            try:
                self._seek(topics, millis(since))
            except BaseException:
                self.close()
                raise

    def _seek(self, topics: Sequence[str], since_ms: int) -> None:
        partitions = [
            TopicPartition(self._prefix + topic, number)
            for topic in topics
            for number in self._consumer.partitions_for_topic(self._prefix + topic) or ()
        ]
        self._consumer.assign(partitions)
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

    def to_the_end(self) -> Iterator[Record]:
        """Everything that lies on the topics."""
        while self.behind():
            yield from self.poll(SHORT_SECONDS)

    def behind(self) -> bool:
        """Whether more lies on the topics than was handed over."""
        with translated("say how far it is"):
            held = self._consumer.assignment()
            ends = self._consumer.end_offsets(list(held))
            return any(self._consumer.position(each, timeout_ms=CALL_MS) < end for each, end in ends.items())

    def close(self) -> None:
        """Let go of the connection."""
        _closed(self._consumer)


def record_at(
    bootstrap_servers: str, options: dict[str, Any], topic: str, partition: int, offset: int
) -> Record | None:
    """The record at a place, for people; None: it is not there any more. `topic` is given with its prefix."""
    install()
    settings = common(bootstrap_servers, options) | {"isolation_level": "read_committed", "max_poll_records": 1}
    with translated("hand over a record"):
        consumer = connected(KafkaConsumer, settings)
        try:
            place = TopicPartition(topic, partition)
            consumer.assign([place])
            if not consumer.beginning_offsets([place])[place] <= offset < consumer.end_offsets([place])[place]:
                return None
            consumer.seek(place, offset)
            found = consumer.poll(timeout_ms=CALL_MS).get(place, ())
        finally:
            _closed(consumer)
    record = as_record(found[0], "") if found else None
    return record if record is not None and record.position.offset == offset else None
