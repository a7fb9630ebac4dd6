"""Consuming as one member of a role's group: committed transactions only, offsets committed by hand.

The library's own position is that of the last message which it handed over. What lies behind it without being one (the
markers of transactions) is passed over silently, but the end of a partition is told, with its offset: so positions are
kept here (rule "applied").
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from expunge.adapters.confluent.client import (
    BOOTSTRAP_SECONDS,
    CALL_SECONDS,
    KAFKA,
    common,
    failure,
    made,
    name_of,
    translated,
)
from expunge.adapters.records import Last, Portion, ReaderToTheEnd, Trail, first_offsets, moment, reached, remembered
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Position, Record, millis
from expunge.errors import ConfigurationError, Unavailable

RESET = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
END = KafkaError._PARTITION_EOF  # noqa: SLF001 - so are the names of local errors spelled
BROKEN = frozenset(
    {
        KafkaError._BAD_MSG,  # noqa: SLF001
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
        KafkaError.INVALID_MSG,
    }
)
"""Errors that stand for what lies at a place: it cannot be read, and the partition goes on behind it."""


class ConfluentRecords:
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
        self._silence = 2 * session_timeout_ms / 1000
        self._portion = Portion(max_records)
        self._settings = common(bootstrap_servers, options) | {
            "group.id": prefix + group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest" if begins else "error",
            "partition.assignment.strategy": "cooperative-sticky",
            "max.poll.interval.ms": 300_000,
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": max(1000, session_timeout_ms // 4),
            "fetch.wait.max.ms": 100,
            "max.partition.fetch.bytes": 4_194_304,
            "queued.max.messages.kbytes": 16_384,
            "allow.auto.create.topics": False,
            "check.crcs": True,
            "statistics.interval.ms": 500,
            "stats_cb": self._told,
            "on_commit": self._answered,
        }
        self._settings |= {"client.id": client_id} if client_id else {}
        self._consumer: Any = None
        self._joined_at = 0.0
        self._answered_at = -1.0
        """When the coordinator of the group last answered a member of it; below zero: it has not yet."""
        self._positions: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._fresh: set[Place] = set()
        self._trail = Trail[Place]()
        self._refusal: KafkaError | None = None
        """Why the last commit was refused."""
        self.revocations = 0
        """How often partitions were taken away: what was read before may have been answered by others since."""

    @property
    def _member(self) -> Any:
        """The consumer of this process, made when there is none."""
        if self._consumer is None:
            consumer = made(Consumer, self._settings)
            with translated("answer"):
                try:
                    consumer.list_topics(timeout=BOOTSTRAP_SECONDS)
                    consumer.subscribe(self._topics, on_assign=self._given, on_revoke=self._taken, on_lost=self._taken)
                except BaseException:
                    consumer.close()
                    raise
            self._consumer, self._joined_at, self._answered_at = consumer, time.monotonic(), -1.0
            self._refusal = None
        return self._consumer

    def _given(self, consumer: Any, places: Sequence[Any]) -> None:
        """Partitions that are this member's from now on.

        One that was taken away while it was paused would come back paused, and be read by nobody. What is not to be
        read yet begins somewhere, for the library would look for where, and it is paused.
        """
        if self._begins:
            consumer.incremental_assign(list(places))
            consumer.resume(list(places))
        else:
            somewhere = [TopicPartition(each.topic, each.partition, 0) for each in places]
            consumer.incremental_assign(somewhere)
            consumer.pause(somewhere)
            self._fresh |= {(each.topic, each.partition) for each in places}

    def _taken(self, consumer: Any, places: Sequence[Any]) -> None:
        """Partitions that are another's from now on."""
        self.revocations += bool(places)
        for each in places:
            self._forget((each.topic, each.partition))
            self._committed.pop((each.topic, each.partition), None)
            self._fresh.discard((each.topic, each.partition))
        consumer.incremental_unassign(list(places))

    def _told(self, raw: str) -> None:
        """What the library says of itself twice a second: when the coordinator last answered, if this is a member."""
        said = orjson.loads(raw)
        group = said.get("cgrp") or {}
        if group.get("join_state") == "steady" and group.get("state") == "up":
            idle = [each["rxidle"] for each in said.get("brokers", {}).values() if each.get("source") == "logical"]
            known = [micros for micros in idle if micros >= 0]
            if known:
                # By its own clock, which is ours: this is heard late where a batch took long.
                self._answered_at = max(self._answered_at, (said["ts"] - min(known)) / 1e6)

    def _drop(self) -> None:
        """Let go of a consumer that is of no use any more; nothing of it is used again."""
        consumer, self._consumer = self._consumer, None
        self._positions, self._committed, self._fresh = {}, {}, set()
        self._trail.forget()
        self.revocations += 1
        if consumer is not None:
            consumer.close()

    def poll(self, seconds: float) -> list[Record]:
        """See `ports.logs.Source.poll`."""
        self._trail.begin()
        batch = self._polled(seconds)
        self._portion.follow(batch)
        return batch

    def _polled(self, seconds: float) -> list[Record]:
        member, until = self._member, time.monotonic() + seconds
        batch: list[Record] = []
        with translated("hand over records"):
            while not batch:
                first = member.poll(max(0.0, until - time.monotonic()))
                if first is None:
                    self._expect_an_answer()
                    return []
                try:
                    for message in (first, *member.consume(self._portion.records - 1, 0)):
                        batch += self._taken_in(message)
                except BaseException:
                    self._drop()  # what it has handed over besides would be passed over: another one reads it again
                    raise
        return batch

    def _expect_an_answer(self) -> None:
        """See that somebody keeps the group together: the library waits for a broker that hangs without a word.

        Raises:
            Unavailable: nobody has answered for two session time-outs.
        """
        if self.silent_seconds() >= self._silence:
            raise Unavailable("Kafka did not keep the group together (no answer)", server=KAFKA)

    def _taken_in(self, message: Any) -> list[Record]:
        error, place = message.error(), (message.topic(), message.partition())
        if place in self._fresh:  # it was on its way when the partition was stopped
            return []
        if error is None:
            record = as_record(message, self._prefix)
            self._positions[place] = message.offset() + 1
            self._trail.handed(place, Last(record.position, millis(record.appended_at)))
            return [record]
        if error.code() == RESET:  # what lay there is gone: nobody but whoever compares says where to go on
            self._hold_back({place})
            return []
        if error.code() == END:
            self._positions[place] = message.offset()
            return []
        if error.code() in BROKEN and place[0] is not None and message.offset() is not None and message.offset() >= 0:
            self._positions[place] = message.offset() + 1
            return [as_record(message, self._prefix, unreadable=name_of(error))]
        raise failure(error, "hand over records")

    def silent_seconds(self) -> float:
        """How long ago the group's coordinator last answered this member."""
        return time.monotonic() - max(self._answered_at, self._joined_at)

    def partitions(self) -> list[int]:
        """See `ports.logs.Source.partitions`."""
        return sorted({partition for _, partition in self._held()})

    def _held(self) -> set[Place]:
        """What is this member's and was begun."""
        if self._consumer is None:
            return set()
        return {(each.topic, each.partition) for each in self._consumer.assignment()} - self._fresh

    def took(self, number: int, seconds: float) -> None:
        """See `ports.logs.Source.took`."""
        self._portion.took(number, seconds)

    def fresh(self) -> list[Place]:
        """See `ports.logs.Source.fresh`."""
        return [(topic.removeprefix(self._prefix), number) for topic, number in sorted(self._fresh)]

    def begin(self, place: Place, offset: int) -> None:
        """See `ports.logs.Source.begin`."""
        named = (self._prefix + place[0], place[1])
        if named not in self._fresh:
            return
        try:
            with translated("begin a partition"):
                self._consumer.incremental_unassign([TopicPartition(*named)])
                self._consumer.incremental_assign([TopicPartition(*named, offset)])
                self._consumer.resume([TopicPartition(*named)])
        except (Unavailable, ConfigurationError):
            self._drop()  # another one is given its partitions anew
            raise
        self._fresh.discard(named)
        self._committed.pop(named, None)
        self._trail.forget(named)
        self._positions[named] = offset

    def stop(self, places: Collection[Place] | None = None) -> None:
        """See `ports.logs.Source.stop`."""
        named = None if places is None else {(self._prefix + topic, number) for topic, number in places}
        self._hold_back(self._held() if named is None else named & self._held())

    def _hold_back(self, places: Collection[Place]) -> None:
        if places:
            self._consumer.pause([TopicPartition(*place) for place in places])
        for place in places:
            self._forget(place)
        self._fresh |= set(places)

    def _forget(self, place: Place) -> None:
        self._positions.pop(place, None)
        self._trail.forget(place)

    def moved(self) -> dict[Place, Reached]:
        """See `ports.logs.Source.moved`."""
        held = self._held()
        return {
            (place[0].removeprefix(self._prefix), place[1]): reached(at, self._trail.last(place))
            for place, at in self._positions.items()
            if place in held and self._committed.get(place) != at
        }

    def commit(self, moved: Mapping[Place, Reached]) -> None:
        """See `ports.logs.Source.commit`."""
        failed, self._refusal = self._refusal, None
        if failed is not None:
            raise failure(failed, "commit offsets")
        if moved:
            with translated("commit offsets"):
                offsets = [
                    TopicPartition(self._prefix + topic, number, at.next, metadata=remembered(at))
                    for (topic, number), at in moved.items()
                ]
                self._consumer.commit(offsets=offsets)

    def _answered(self, error: KafkaError | None, places: Sequence[Any]) -> None:
        """What became of a commit; it waits for nobody, and a broker that is away is heard of with the next one."""
        self._refusal = error or next((each.error for each in places if each.error is not None), None)
        self._committed |= {(each.topic, each.partition): each.offset for each in places if each.error is None}

    def rewind(self, batch: Sequence[Record]) -> None:
        """See `ports.logs.Source.rewind`."""
        held = self._held()
        try:
            with translated("go back"):
                for place, offset in first_offsets(batch, self._prefix).items():
                    if place in held:
                        self._seek(place, offset)
        except (Unavailable, ConfigurationError):
            self._drop()  # another one reads on from what is committed
            raise

    def _seek(self, place: Place, offset: int) -> None:
        self._consumer.seek(TopicPartition(*place, offset))
        self._positions.pop(place, None)
        self._trail.back(place, offset)
        if offset >= 0:
            self._positions[place] = offset

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """See `adapters.broker.Records.rewind_to_committed`."""
        places = {(self._prefix + record.topic, record.partition) for record in batch} & self._held()
        with translated("say what was committed"):
            asked = [TopicPartition(*place) for place in sorted(places)]
            for each in self._consumer.committed(asked, timeout=CALL_SECONDS) if asked else ():
                place = (each.topic, each.partition)
                start = each.offset if each.offset >= 0 else OFFSET_BEGINNING
                self._seek(place, start)
                self._committed.pop(place, None)

    def rest(self, seconds: float) -> None:
        """See `ports.logs.Source.rest`."""
        if self._consumer is None:
            return
        with translated("keep the group together"):
            paused = [TopicPartition(*place) for place in self._held()]
            self._consumer.pause(paused)
            try:
                # Partitions that were assigned just now are not paused yet: what they handed over is read again.
                self.rewind(self._polled(seconds))
            finally:
                held = self._held()
                if held:
                    self._consumer.resume([each for each in paused if (each.topic, each.partition) in held])

    def close(self) -> None:
        """Leave the group."""
        self._drop()


def as_record(message: Any, prefix: str, unreadable: str = "") -> Record:
    """A message of the client as Expunge's own."""
    kind = next((value for key, value in message.headers() or () if key.lower() == "content-type"), None)
    epoch, (_, stamp) = message.leader_epoch(), message.timestamp()
    return Record(
        topic=message.topic().removeprefix(prefix),
        partition=message.partition(),
        position=Position(epoch if epoch is not None else -1, message.offset()),
        appended_at=moment(stamp),
        key=message.key(),
        value=None if unreadable else message.value(),
        content_type=kind.decode("latin-1") if kind else None,
        unreadable=unreadable,
    )


def _reading(bootstrap_servers: str, options: dict[str, Any]) -> Any:
    """A consumer that is in no group."""
    settings = common(bootstrap_servers, options) | {
        "group.id": f"reader-{uuid.uuid4().hex}",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
    }
    return made(Consumer, settings)


READ_AT_ONCE = 4_999


class ConfluentReader(ReaderToTheEnd):
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
        self._consumer = _reading(bootstrap_servers, options)
        self._positions: dict[Place, int] = {}
        with translated("hand over records"):
            try:
                self._seek(topics, millis(since))
            except BaseException:
                self.close()
                raise

    def _seek(self, topics: Sequence[str], since_ms: int) -> None:
        known = self._consumer.list_topics(timeout=BOOTSTRAP_SECONDS).topics
        names = [self._prefix + topic for topic in topics]
        places = [
            (name, number)
            for name in names
            if name in known
            for number in known[name].partitions
            if self._only is None or number in self._only
        ]
        asked = [TopicPartition(*place, since_ms) for place in places]
        found = self._consumer.offsets_for_times(asked, timeout=CALL_SECONDS) if asked else []
        starts = []
        for each in found:
            start = each.offset if each.offset >= 0 else self._end(each)
            starts.append(TopicPartition(each.topic, each.partition, start))
            self._positions[each.topic, each.partition] = start
        self._consumer.assign(starts)

    def _end(self, place: Any) -> int:
        return int(self._consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), CALL_SECONDS)[1])

    def poll(self, seconds: float) -> list[Record]:
        """Records that came, waiting up to `seconds`."""
        with translated("hand over records"):
            first = self._consumer.poll(seconds)
            return [] if first is None else self._good([first, *self._consumer.consume(READ_AT_ONCE, 0)])

    def _good(self, messages: Sequence[Any]) -> list[Record]:
        found = []
        for each in messages:
            error = each.error()
            if error is not None and error.code() != END:
                raise failure(error, "hand over records")
            self._positions[each.topic(), each.partition()] = each.offset() + (error is None)
            found += [] if error is not None else [as_record(each, self._prefix)]
        return found

    def _ends(self) -> dict[Place, int]:
        with translated("say how far it is"):
            return {place: self._end(TopicPartition(*place)) for place in self._positions}

    def _is_before(self, ends: Mapping[Any, int]) -> bool:
        return any(self._positions[place] < end for place, end in ends.items())

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


class ConfluentPlaces:
    """Looks up single records, for people, over one connection."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any]) -> None:
        self._consumer = _reading(bootstrap_servers, options)

    def behind(self, topic: str, partition: int, offset: int) -> Record | None:
        """See `adapters.broker.Places.behind`."""
        with translated("hand over a record"):
            first, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), CALL_SECONDS)
            if not first <= offset < end:
                return None
            self._consumer.assign([TopicPartition(topic, partition, offset)])
            message = self._consumer.poll(CALL_SECONDS)
        if message is None or message.error() is not None:
            raise Unavailable("Kafka has not handed over a record in time", server=KAFKA)
        return as_record(message, "")

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()
