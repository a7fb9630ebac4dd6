"""Consuming as one member of a role's group: committed transactions only, offsets committed by hand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import IllegalStateError, KafkaError, KafkaTimeoutError, LogTruncationError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from expunge.adapters.kafka.client import common, connected, translated
from expunge.adapters.kafka.records import Broken, install
from expunge.adapters.records import Last, Portion, ReaderToTheEnd, Trail, first_offsets, moment, reached, remembered
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Position, Record, millis
from expunge.errors import Unavailable

CALL_MS = 5_000
CLOSE_MS = 1_000
QUIET_WAIT = 0.1

log = structlog.get_logger()


class KafkaRecords:
    """The records of a role's partitions. See `ports.logs.Source` for what each method promises."""

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
        begins: bool = False,
    ) -> None:
        self._prefix, self._begins = prefix, begins
        self._topics = [prefix + topic for topic in topics]
        self._committed: dict[TopicPartition, int] = {}
        self._fresh: set[TopicPartition] = set()
        self._assigning = threading.RLock()
        """What is given and taken is told by the library's own thread, also while nobody polls."""
        self._trail = Trail[TopicPartition]()
        self._served: set[TopicPartition] = set()
        """Partitions that have had their turn (`_in_turn`)."""
        self._silence = 2 * session_timeout_ms / 1000
        heartbeat_ms = max(1000, session_timeout_ms // 4)
        self._late = heartbeat_ms / 1000 + QUIET_WAIT
        self._portion = Portion(max_records)
        self._settings = common(bootstrap_servers, options) | {
            "group_id": prefix + group,
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "earliest" if begins else "none",
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
                self._consumer, self._joined_at = consumer, time.monotonic()
                try:
                    consumer.subscribe(self._topics, listener=_Revocations(self))
                    for topic in self._topics:
                        consumer.partitions_for_topic(topic)
                except BaseException:
                    self._consumer = None
                    _closed(consumer)
                    raise
        return self._consumer

    def _drop(self) -> None:
        """Let go of a consumer that is of no use any more; nothing of it is used again."""
        with self._assigning:
            consumer, self._consumer = self._consumer, None
            self._committed, self._fresh = {}, set()
            self._trail.forget()
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
        """See `ports.logs.Source.poll`."""
        self._watch()
        with translated("hand over records"):
            try:
                polled = self._polled(seconds)
            except IllegalStateError:
                self._drop()  # whatever brought it into this state, no poll of it will ever be better
                raise
        with self._assigning:
            self._trail.begin()
            for place, records in polled.items():
                for record in records:
                    self._trail.handed(place, _last(record))
        batch = [self._record(record) for records in polled.values() for record in records]
        self._portion.follow(batch)
        return batch

    def _polled(self, seconds: float) -> dict[Any, list[Any]]:
        """One poll that also waits while the broker is silent.

        With a heartbeat that is due and not answered the library's poll does not wait, it asks again at once until its
        time is over: a broker that hangs would cost each role a third of a processor (kafka-python 3.0.12).
        """
        member = self._member
        _keep_joined(member._coordinator)  # noqa: SLF001 - see there
        quiet = self.silent_seconds() >= self._late
        wait_ms = 0 if quiet else int(seconds * 1000)
        try:
            polled = self._in_turn(member, wait_ms, self._portion.records)
        except (LogTruncationError, OffsetOutOfRangeError) as error:
            # What lay there is gone: whoever compares says where to go on.
            self._hold_back(error.divergent_offsets if isinstance(error, LogTruncationError) else error.args[0])
            return {}
        if quiet and not polled:
            time.sleep(min(seconds, QUIET_WAIT))
        return polled

    def _in_turn(self, member: Any, wait_ms: int, most: int) -> dict[Any, list[Any]]:
        """One poll, in which partitions that filled the last ones come after all others that hold something.

        The library hands over what it has fetched of one partition before anything of the next: behind a thousand
        answers to one order everybody else would wait. What it has fetched of a paused partition it keeps.
        """
        polled: dict[Any, list[Any]] = {}
        if self._served:
            with self._assigning:
                paused = self._served & (member.assignment() - self._fresh)
                member.pause(*paused)
            try:
                polled = _polled(member, 0, most)
            finally:
                with self._assigning:
                    member.resume(*paused & (member.assignment() - self._fresh))
        if not polled:
            self._served = set()
            polled = _polled(member, wait_ms, most)
        is_full = sum(map(len, polled.values())) >= most
        self._served = self._served | polled.keys() if is_full else set()
        return polled

    def silent_seconds(self) -> float:
        """How long ago the group last answered this member's heartbeat."""
        if self._consumer is None:
            return time.monotonic() - self._joined_at
        heartbeat = self._consumer._coordinator.heartbeat  # noqa: SLF001 - its metric counts what was sent, answered or not
        return time.monotonic() - float(max(heartbeat.last_receive, heartbeat.last_reset))

    def _record(self, record: Any) -> Record:
        return as_record(record, self._prefix)

    def took(self, number: int, seconds: float) -> None:
        """See `ports.logs.Source.took`."""
        self._portion.took(number, seconds)

    def partitions(self) -> list[int]:
        """See `ports.logs.Source.partitions`."""
        return sorted({each.partition for each in self._held()})

    def _held(self) -> set[TopicPartition]:
        """What is this member's and was begun."""
        with self._assigning:
            return self._consumer.assignment() - self._fresh if self._consumer is not None else set()

    def fresh(self) -> list[Place]:
        """See `ports.logs.Source.fresh`."""
        with self._assigning:
            return [(each.topic.removeprefix(self._prefix), each.partition) for each in sorted(self._fresh)]

    def begin(self, place: Place, offset: int) -> None:
        """See `ports.logs.Source.begin`."""
        partition = TopicPartition(self._prefix + place[0], place[1])
        with self._assigning, translated("begin a partition"):
            if self._consumer is None or partition not in self._fresh or partition not in self._consumer.assignment():
                return  # it was taken away meanwhile
            self._consumer.seek(partition, offset)
            self._consumer.resume(partition)
            self._fresh.discard(partition)
            self._committed.pop(partition, None)
            self._trail.forget(partition)

    def stop(self, places: Collection[Place] | None = None) -> None:
        """See `ports.logs.Source.stop`."""
        named = None if places is None else {TopicPartition(self._prefix + topic, number) for topic, number in places}
        self._hold_back(self._held() if named is None else named & self._held())

    def _hold_back(self, partitions: Collection[TopicPartition]) -> None:
        """Read nothing of partitions. They get a position, for the library would ask for one and raise otherwise."""
        with self._assigning:
            held = set(partitions) & self._consumer.assignment() if self._consumer is not None else set()
            for each in held:
                self._consumer.seek(each, 0)
            if held:
                self._consumer.pause(*held)
            self._fresh |= held

    def given(self, partitions: Collection[TopicPartition]) -> None:
        """Partitions are this member's from now on."""
        if not self._begins:
            self._hold_back(partitions)

    def taken(self, partitions: Collection[TopicPartition]) -> None:
        """Partitions are another's from now on."""
        self.revocations += bool(partitions)
        with self._assigning:
            self._fresh -= set(partitions)
            for each in partitions:
                self._trail.forget(each)
                self._committed.pop(each, None)

    def moved(self) -> dict[Place, Reached]:
        """See `ports.logs.Source.moved`: the positions, not last record + 1 (rule "applied")."""
        with translated("say how far it is"):
            positions = {each: self._consumer.position(each, timeout_ms=CALL_MS) for each in self._held()}
        return {
            (each.topic.removeprefix(self._prefix), each.partition): reached(at, self._trail.last(each))
            for each, at in positions.items()
            if at is not None and self._committed.get(each) != at
        }

    def commit(self, moved: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Source.commit`."""
        said = {TopicPartition(self._prefix + topic, number): each for (topic, number), each in moved.items()}
        if said:
            with translated("commit offsets"):
                offsets = {place: OffsetAndMetadata(at.next, remembered(at), -1) for place, at in said.items()}
                self._consumer.commit(offsets, timeout_ms=CALL_MS)
            self._committed |= {place: at.next for place, at in said.items()}

    def rewind(self, batch: Sequence[Record]) -> None:
        """See `ports.logs.Source.rewind`."""
        held = self._held()
        for place, offset in first_offsets(batch, self._prefix).items():
            partition = TopicPartition(*place)
            if partition in held:
                self._consumer.seek(partition, offset)
                with self._assigning:
                    self._trail.back(partition, offset)

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """See `adapters.broker.Records.rewind_to_committed`."""
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
                    self._trail.forget(partition)

    def rest(self, seconds: float) -> None:
        """See `ports.logs.Source.rest`."""
        held = self._held()
        if self._consumer is None:
            return
        with translated("keep the group together"):
            if held:
                self._consumer.pause(*held)
            self._served = set()  # nobody has a turn
            try:
                polled = self._polled(seconds)
                # Partitions that were assigned just now are not paused yet: what they handed over is read again.
                self.rewind([self._record(record) for records in polled.values() for record in records])
            finally:
                with self._assigning:
                    paused = self._consumer.paused() - self._fresh
                    if paused:
                        self._consumer.resume(*paused)

    def close(self) -> None:
        """Leave the group."""
        self._drop()


class _Unheard:
    """A join of a group under way, whose end is heard by the next poll, also if it has come before that."""

    def __init__(self, future: Any) -> None:
        self._future = future

    @property
    def is_done(self) -> bool:
        """Whether it is to be begun anew: a time that was over is taken for the poll's own, and heard for ever."""
        return bool(self._future.is_done) and isinstance(self._future.exception, KafkaTimeoutError)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._future, name)

    def __await__(self) -> Any:
        return self._future.__await__()


def _keep_joined(coordinator: Any) -> None:
    """Have a member hear the end of its join.

    What ends between two polls the library throws away, and joins anew (kafka-python 3.0.12, `join_group_async`): where
    that takes others along, who join anew in their turn, nobody is ever given a partition.
    """
    task = coordinator._join_task  # noqa: SLF001 - nothing public holds it
    if task is not None and not isinstance(task, _Unheard):
        coordinator._join_task = _Unheard(task)  # noqa: SLF001 - see above


def _polled(member: Any, wait_ms: int, most: int) -> dict[Any, list[Any]]:
    """One poll, which also hands over what was fetched of a partition before that was paused.

    The library looks there only while it has no records in line, and takes such as it has handed over for some
    (kafka-python 3.0.12, `fetched_records`): the partition would be read no further.
    """
    fetcher = member._fetcher  # noqa: SLF001 - nothing public holds what is in line
    if not fetcher._next_partition_records:  # noqa: SLF001 - see above
        fetcher._next_partition_records = None  # noqa: SLF001 - see above
    found: dict[Any, list[Any]] = member.poll(timeout_ms=wait_ms, max_records=most)
    return found


class _Revocations(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells a member what is its own."""

    def __init__(self, records: KafkaRecords) -> None:
        self._records = records

    def on_partitions_assigned(self, assigned: Any) -> None:
        """See the library."""
        self._records.given(assigned)

    def on_partitions_revoked(self, revoked: Any) -> None:
        """See the library."""
        self._records.taken(revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        """See the library."""
        self._records.taken(lost)


def _closed(consumer: Any) -> None:
    """Close a consumer in a bounded time, whether or not anybody answers."""
    with contextlib.suppress(KafkaError, OSError, TimeoutError, RuntimeError):
        consumer.close(autocommit=False, timeout_ms=CLOSE_MS)


def _position(record: Any) -> Position:
    return Position(record.leader_epoch if record.leader_epoch is not None else -1, record.offset)


def _last(record: Any) -> Last:
    return Last(_position(record), record.timestamp)


def as_record(record: Any, prefix: str) -> Record:
    """A message of the client as Expunge's own."""
    headers = record.headers or ()
    kind = next((value for key, value in headers if key.lower() == "content-type"), None)
    broken = next((value for _, value in headers if isinstance(value, Broken)), b"")
    return Record(
        topic=record.topic.removeprefix(prefix),
        partition=record.partition,
        position=_position(record),
        appended_at=moment(record.timestamp),
        key=record.key,
        value=record.value,
        content_type=kind.decode("latin-1") if kind else None,
        unreadable=broken.decode("latin-1") if broken else "",
    )


READ_AT_ONCE = 5_000


class KafkaReader(ReaderToTheEnd):
    """Reads topics from a moment on, in no group, committing nothing: for people who look."""

    def __init__(
        self,
        bootstrap_servers: str,
        options: dict[str, Any],
        prefix: str,
        topics: Sequence[str],
        since: datetime,
        partitions: Collection[int] | None = None,
    ) -> None:
        self._prefix, self._only = prefix, partitions
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
            if self._only is None or number in self._only
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
            polled = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=READ_AT_ONCE)
        return [as_record(record, self._prefix) for records in polled.values() for record in records]

    def _ends(self) -> dict[TopicPartition, int]:
        with translated("say how far it is"):
            return dict(self._consumer.end_offsets(list(self._consumer.assignment())))

    def _is_before(self, ends: Mapping[Any, int]) -> bool:
        with translated("say how far it is"):
            return any(self._consumer.position(each, timeout_ms=CALL_MS) < end for each, end in ends.items())

    def close(self) -> None:
        """Let go of the connection."""
        _closed(self._consumer)


class KafkaPlaces:
    """Looks up single records, for people, over one connection."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any]) -> None:
        install()
        settings = common(bootstrap_servers, options) | {"isolation_level": "read_committed", "max_poll_records": 1}
        with translated("hand over a record"):
            self._consumer = connected(KafkaConsumer, settings)

    def behind(self, topic: str, partition: int, offset: int) -> Record | None:
        """See `adapters.broker.Places.behind`."""
        place = TopicPartition(topic, partition)
        with translated("hand over a record"):
            self._consumer.assign([place])
            first, end = self._consumer.beginning_offsets([place])[place], self._consumer.end_offsets([place])[place]
            if not first <= offset < end:
                return None
            self._consumer.seek(place, offset)
            found = self._consumer.poll(timeout_ms=CALL_MS).get(place, ())
            if not found and self._consumer.position(place) <= offset:
                raise Unavailable("Kafka has not handed over a record in time", server="Kafka")
        return as_record(found[0], "") if found else None

    def close(self) -> None:
        """Let go of the connection."""
        _closed(self._consumer)
