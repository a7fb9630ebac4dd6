"""What confluent-kafka's consumer is held to where a broker would have to misbehave for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from expunge.adapters.confluent import consumer as module
from expunge.adapters.confluent.consumer import ConfluentRecords
from expunge.domain.events import Position, Record
from expunge.errors import Unavailable


class Message:
    """A message, or an error in its place."""

    def __init__(self, offset: int, error: int | None = None) -> None:
        self._offset, self._error = offset, KafkaError(error) if error is not None else None

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return "t.cases"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes]]:
        return []

    def leader_epoch(self) -> int:
        return 3

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_760_000_000_000

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"


class Consumer:
    """The library's consumer, with what it has fetched."""

    def __init__(self, fetched: Sequence[Message], seek: Callable[[Any], None] = lambda _: None) -> None:
        self.fetched, self.seek, self.closed = list(fetched), seek, False

    def list_topics(self, timeout: float) -> None: ...

    def subscribe(self, topics: list[str], **listeners: Any) -> None: ...

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition("t.cases", 0)]

    def poll(self, seconds: float) -> Message | None:
        return self.fetched.pop(0) if self.fetched else None

    def consume(self, number: int, seconds: float) -> list[Message]:
        found, self.fetched = self.fetched[:number], self.fetched[number:]
        return found

    def pause(self, places: list[TopicPartition]) -> None: ...

    def resume(self, places: list[TopicPartition]) -> None: ...

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Callable[[Consumer], ConfluentRecords]:
    def with_consumer(consumer: Consumer) -> ConfluentRecords:
        monkeypatch.setattr(module, "made", lambda *_: consumer)
        return ConfluentRecords("x:1", {}, "t.", "g", ["cases"], max_records=100, session_timeout_ms=6_000)

    return with_consumer


def test_an_error_among_records_passes_none_of_them_over(records: Callable[[Consumer], ConfluentRecords]) -> None:
    """Those before it counted as handed over, and were committed with the next."""
    consumer = Consumer([Message(0), Message(1), Message(2, KafkaError.UNKNOWN), Message(3)])
    source = records(consumer)
    with pytest.raises(Unavailable):
        source.poll(0.1)
    assert consumer.closed  # another one reads on from what is committed
    assert source.partitions() == []


def test_a_seek_that_fails_reads_again_from_what_is_committed(records: Callable[[Consumer], ConfluentRecords]) -> None:
    def refuse(_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    consumer = Consumer([Message(0), Message(1)], refuse)
    source = records(consumer)
    batch = source.poll(0.1)
    assert [record.position for record in batch] == [Position(3, 0), Position(3, 1)]
    with pytest.raises(Unavailable):
        source.rewind(batch)
    assert consumer.closed


def test_what_cannot_be_read_says_so_wherever_it_lies(records: Callable[[Consumer], ConfluentRecords]) -> None:
    """At offset 0 it was an outage without end."""
    (record,) = records(Consumer([Message(0, KafkaError._BAD_COMPRESSION)])).poll(0.1)
    assert isinstance(record, Record)
    assert (record.unreadable, record.value) == ("_BAD_COMPRESSION", None)


def test_a_rest_during_which_the_consumer_is_lost_is_an_outage(records: Callable[[Consumer], ConfluentRecords]) -> None:
    source = records(Consumer([Message(0)]))
    source.poll(0.1)
    source._consumer.fetched = [Message(1, KafkaError._FATAL)]
    with pytest.raises(Unavailable):
        source.rest(0.1)


def test_a_commit_that_was_refused_is_heard_of_with_the_next(records: Callable[[Consumer], ConfluentRecords]) -> None:
    source = records(Consumer([Message(0)]))
    source.poll(0.1)
    source._answered(KafkaError(KafkaError.UNKNOWN_MEMBER_ID), [])
    with pytest.raises(Unavailable, match="commit offsets"):
        source.commit(source.moved())


def test_an_answer_is_as_old_as_the_library_says_however_late_it_is_heard_of(
    records: Callable[[Consumer], ConfluentRecords],
) -> None:
    source = records(Consumer([Message(0)]))
    source.poll(0.1)
    source._told(
        '{"ts": 5000000, "cgrp": {"state": "up", "join_state": "steady"},'
        ' "brokers": {"GroupCoordinator": {"source": "logical", "rxidle": 1000000}}}'
    )
    assert source._answered_at == 4.0
