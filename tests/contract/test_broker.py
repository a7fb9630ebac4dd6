"""What every client of Kafka promises, as source and as sink. A further client is one more word in CLIENTS."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from expunge.adapters.broker import broker
from expunge.adapters.system import SystemClock
from expunge.domain.continuity import Log, Reached
from expunge.domain.events import Event, Outgoing, Record, millis
from expunge.domain.partition import partition_of
from expunge.domain.topics import FOR_EVER, Topic
from expunge.errors import ConfigurationError, Unavailable
from tests.servers import Servers
from tests.simulation import Broker as Memory

CLIENTS = ("kafka", "confluent")
PARTITIONS = 4
TOPIC = "things"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(params=CLIENTS)
def cluster(request: pytest.FixtureRequest, real: Servers) -> Iterator[Any]:
    prefix = f"contract-{uuid.uuid4().hex[:8]}."
    made = broker(real.kafka, {}, prefix, request.param)
    made.topics.create([Topic(TOPIC, PARTITIONS, "delete", FOR_EVER)])
    yield made
    made.topics.delete([prefix + TOPIC])
    made.close()


def message(key: str, text: str = "", partition: int | None = None, topic: str = TOPIC) -> Outgoing:
    return Outgoing(topic, key, Event("t", "/s", key, NOW, {"said": text}), partition)


def member(cluster: Any, group: str = "g", most: int = 100, *, begins: bool = True) -> Any:
    return cluster.records(group, [TOPIC], max_records=most, session_timeout_ms=6_000, begins=begins)


def begun(cluster: Any, offset: int = 0) -> Any:
    """A member that is told where to begin, and has begun every partition at an offset."""
    source = member(cluster, begins=False)
    until(lambda: len(source.fresh()) == PARTITIONS, source)
    for place in source.fresh():
        source.begin(place, offset)
    return source


def polled(source: Any, number: int) -> list[Record]:
    """At least so many records, in a bounded number of polls."""
    found: list[Record] = []
    for _ in range(150):
        found += source.poll(0.2)
        if len(found) >= number:
            return found
    raise AssertionError(f"{len(found)} of {number} records came")


PATIENCE_SECONDS = 60
"""A broker under load may lose the leader of a group for longer than a session."""


def until(holds: Callable[[], bool], *sources: Any, resting: Sequence[Any] = ()) -> None:
    """Polls, or has members rest, until something holds, for a group is formed meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to that")
        for each in resting:
            each.rest(0.1)
        for source in sources:
            source.poll(0.1)


# -- A sink: what was sent is there when it returns, and what is refused costs nobody else anything


def test_what_was_sent_is_durable_in_order_and_where_its_key_says(cluster: Any) -> None:
    sender = cluster.sender()
    sent = [message(f"k{number % 3}", str(number)) for number in range(30)]
    assert list(sender.send(sent)) == []
    since = SystemClock().now() - timedelta(minutes=1)
    reader = cluster.reader([TOPIC], since)
    found = list(reader.to_the_end())
    reader.close()
    sender.close()
    assert len(found) == len(sent)
    for key in ("k0", "k1", "k2"):
        mine = [record for record in found if record.key == key.encode()]
        assert [record.value for record in mine] == [each.value for each in sent if each.key == key]
        assert {record.partition for record in mine} == {partition_of(key, PARTITIONS)}
        assert [record.position for record in mine] == sorted(record.position for record in mine)
    assert all(record.appended_at >= since for record in found)
    assert {record.topic for record in found} == {TOPIC}


def test_a_partition_that_is_given_holds_whatever_the_key_says_and_a_tombstone_has_no_value(cluster: Any) -> None:
    sender = cluster.sender()
    sender.send([message("k", partition=number) for number in range(PARTITIONS)])
    sender.send([Outgoing(TOPIC, "gone", None)])
    reader = cluster.reader([TOPIC], SystemClock().now() - timedelta(minutes=1))
    found = list(reader.to_the_end())
    reader.close()
    sender.close()
    assert sorted(record.partition for record in found if record.key == b"k") == list(range(PARTITIONS))
    assert [record.value for record in found if record.key == b"gone"] == [None]


def test_what_is_refused_for_good_is_named_and_everything_else_is_taken(cluster: Any) -> None:
    sender = cluster.sender()
    wave = [message("a"), message("b", secrets.token_hex(1_500_000)), message("c", topic="nowhere"), message("d")]
    refused = sender.send(wave)
    assert [(each.outgoing.key, each.reason) for each in refused] == [("b", "too_large"), ("c", "unknown_topic")]
    with pytest.raises(ConfigurationError, match="unknown_topic"):
        sender.publish([message("c", topic="nowhere")])
    reader = cluster.reader([TOPIC], SystemClock().now() - timedelta(minutes=1))
    assert {record.key for record in reader.to_the_end()} >= {b"a", b"d"}
    reader.close()
    sender.close()


def test_the_simulations_sink_answers_alike() -> None:
    """What tests believe of a sink is what a real one does."""
    memory = Memory(refuses=lambda each: "unknown_topic" if each.topic == "nowhere" else "")
    (refused,) = memory.send([message("a"), message("c", topic="nowhere"), message("d", partition=1)])
    assert (refused.outgoing.key, refused.reason) == ("c", "unknown_topic")
    assert len(memory.logs[TOPIC, 1]) >= 1


# -- A source: nothing is passed over, and nobody else's is taken


def test_what_is_not_committed_is_handed_over_again_and_what_is_committed_is_not(cluster: Any) -> None:
    sender = cluster.sender()
    sender.send([message(f"k{number}") for number in range(20)])
    first = member(cluster)
    assert len(polled(first, 20)) == 20
    first.close()
    second = member(cluster)
    assert len(polled(second, 20)) == 20
    second.commit(second.moved())
    sender.send([message("new")])
    assert [record.key for record in polled(second, 1)] == [b"new"]
    second.close()
    third = member(cluster)
    assert [record.key for record in polled(third, 1)] == [b"new"]
    third.close()
    sender.close()


def test_a_batch_is_read_again_from_its_start_or_from_what_was_committed(cluster: Any) -> None:
    sender, source = cluster.sender(), member(cluster)
    sender.send([message("k", str(number)) for number in range(6)])
    batch = polled(source, 6)
    source.commit(source.moved())
    sender.send([message("k", str(number)) for number in range(6, 9)])
    more = polled(source, 3)
    source.rewind(more)
    assert [record.position for record in polled(source, 3)] == [record.position for record in more]
    source.rewind_to_committed(more)
    assert [record.position for record in polled(source, 3)] == [record.position for record in more]
    source.rewind(batch)
    assert [record.position for record in polled(source, 9)] == [record.position for record in (*batch, *more)]
    source.close()
    sender.close()


def test_a_batch_is_bounded_and_a_rest_takes_nothing(cluster: Any) -> None:
    sender, source = cluster.sender(), member(cluster, most=5)
    sender.send([message("k", str(number)) for number in range(20)])
    batches: list[list[Record]] = []
    while sum(map(len, batches)) < 20:
        source.rest(0.2)
        batches.append(source.poll(0.5))
    assert max(map(len, batches)) <= 5
    offsets = [record.position.offset for batch in batches for record in batch]
    assert offsets == list(range(20))
    source.close()
    sender.close()


def test_the_partitions_of_a_topic_are_shared_and_of_one_who_leaves_taken_over(cluster: Any) -> None:
    first, second = member(cluster), member(cluster)
    every = list(range(PARTITIONS))
    until(lambda: bool(first.partitions() and second.partitions()), first, second)
    until(lambda: sorted([*first.partitions(), *second.partitions()]) == every, first, second)
    until(lambda: first.silent_seconds() < 3, first, second)  # whoever keeps the group together answers again
    first.close()
    until(lambda: second.partitions() == every, second)
    second.close()


def test_what_is_taken_from_somebody_who_rests_is_read_when_it_comes_back(cluster: Any) -> None:
    """Of Kafka killed for sixteen seconds: a partition that had been taken away while it was paused stayed silent."""
    sender, source, other = cluster.sender(), member(cluster), member(cluster)
    every = list(range(PARTITIONS))
    until(lambda: source.partitions() == every, source)

    def shared() -> bool:
        return bool(other.partitions()) and sorted([*source.partitions(), *other.partitions()]) == every

    until(shared, other, resting=[source])
    other.close()
    until(lambda: source.partitions() == every, resting=[source])
    sender.send([message(str(number), partition=number) for number in every])
    assert {record.partition for record in polled(source, PARTITIONS)} == set(every)
    source.close()
    sender.close()


# -- Where to begin: whoever compares what is known says it, and nobody else


def test_nothing_is_handed_over_before_it_is_begun_and_all_of_it_from_there_on(cluster: Any) -> None:
    sender = cluster.sender()
    sender.send([message(str(n), str(n), partition=0) for n in range(5)])
    source = member(cluster, begins=False)
    until(lambda: len(source.fresh()) == PARTITIONS, source)
    assert source.poll(0.5) == []
    assert (source.partitions(), source.moved()) == ([], {})
    source.begin((TOPIC, 0), 3)
    assert [record.position.offset for record in polled(source, 2)] == [3, 4]
    assert source.partitions() == [0]
    source.rest(0.2)
    assert source.poll(0.5) == []  # a rest begins nothing
    source.close()
    sender.close()


def test_what_is_stopped_is_handed_over_again_from_where_it_is_begun_anew(cluster: Any) -> None:
    sender, source = cluster.sender(), begun(cluster)
    sender.send([message(str(n), str(n), partition=n % 2) for n in range(10)])
    assert len(polled(source, 10)) == 10
    source.stop([(TOPIC, 0)])
    assert source.fresh() == [(TOPIC, 0)]
    sender.send([message("more", partition=0), message("more", partition=1)])
    assert [record.partition for record in polled(source, 1)] == [1]
    assert (TOPIC, 0) not in source.moved()
    source.begin((TOPIC, 0), 4)
    assert [record.position.offset for record in polled(source, 2)] == [4, 5]
    source.stop()
    assert len(source.fresh()) == PARTITIONS
    source.close()
    sender.close()


def test_what_was_committed_says_which_record_was_handled_last_and_when(cluster: Any) -> None:
    sender, source = cluster.sender(), begun(cluster)
    assert cluster.topics.committed_by("g") == {}
    sender.send([message(str(n), str(n), partition=0) for n in range(3)])
    last = polled(source, 3)[-1]
    moved = source.moved()
    assert moved[TOPIC, 0] == Reached(3, last.position, millis(last.appended_at))
    source.commit(moved)
    until(lambda: not source.moved(), source)
    assert cluster.topics.committed_by("g")[TOPIC, 0] == moved[TOPIC, 0]
    assert cluster.topics.logs([(TOPIC, 0), (TOPIC, 1)]) == {(TOPIC, 0): Log(0, 3), (TOPIC, 1): Log(0, 0)}
    source.close()
    sender.close()


def test_a_place_that_is_not_there_is_asked_for_again(cluster: Any) -> None:
    """Expired records were jumped over: the client went to the first that was left, and said nothing."""
    sender, source = cluster.sender(), begun(cluster, offset=50)
    sender.send([message(str(n), partition=0) for n in range(3)])
    until(lambda: len(source.fresh()) == PARTITIONS, source)
    source.begin((TOPIC, 0), 0)
    assert len(polled(source, 3)) == 3
    source.close()
    sender.close()


# -- Topics and groups, and a broker that is not there


def test_a_topic_is_there_at_once_and_empty_and_what_is_set_otherwise_is_said(cluster: Any) -> None:
    assert cluster.topics.partitions(TOPIC) == PARTITIONS
    assert cluster.topics.ends([TOPIC]) == {TOPIC: {str(number): 0 for number in range(PARTITIONS)}}
    assert cluster.topics.empty([TOPIC])
    wanted = Topic(TOPIC, PARTITIONS, "compact", FOR_EVER)
    assert not cluster.topics.check([Topic(TOPIC, PARTITIONS, "delete", FOR_EVER)])
    assert any("cleanup.policy" in finding.problem for finding in cluster.topics.check([wanted]))
    with pytest.raises(ConfigurationError):
        cluster.topics.partitions("nowhere")


def test_members_are_known_by_what_they_call_themselves_and_a_record_is_found_at_its_place(cluster: Any) -> None:
    sender = cluster.sender()
    sender.send([message("k", "here", partition=2)])
    source = cluster.records("g", [TOPIC], max_records=10, session_timeout_ms=6_000, client_id="somebody", begins=True)
    (record,) = polled(source, 1)
    prefix = cluster._to[2]
    prefixed = prefix + TOPIC
    assert cluster.topics.members(f"{prefix}g") == ["somebody"]
    found = cluster.record_at(prefixed, 2, record.position.offset)
    assert (found.key, found.value) == (record.key, record.value)
    assert cluster.record_at(prefixed, 2, record.position.offset + 1) is None
    source.close()
    sender.close()


def test_a_member_that_rests_takes_nothing_also_after_a_full_poll(cluster: Any) -> None:
    sender = cluster.sender()
    sender.send([message(f"{p}-{n}", partition=p) for p in range(PARTITIONS) for n in range(30)])
    source = member(cluster, most=10, begins=False)
    until(lambda: len(source.fresh()) == PARTITIONS, source)
    for place in source.fresh():
        source.begin(place, 0)
    found = polled(source, 20)
    before = source.moved()
    for _ in range(3):
        source.rest(0.1)
    assert source.moved() == before
    source.rewind(found[-3:])
    back = {(record.topic, record.partition): record.position for record in found[:-3]}
    for place, at in source.moved().items():
        assert place not in back or at.last == back[place]  # it can name the last record that was handled
    whole = [*found[:-3], *polled(source, PARTITIONS * 30 - len(found) + 3)]
    assert sorted((record.partition, record.position.offset) for record in whole) == [
        (p, n) for p in range(PARTITIONS) for n in range(30)
    ]
    source.close()
    sender.close()


@pytest.mark.parametrize("cluster", ["kafka"], indirect=True)
def test_what_lies_in_one_partition_keeps_nobody_waiting_in_another(cluster: Any) -> None:
    """Receipts of one order lay in front of everybody's requests. confluent-kafka hands over what came first."""
    sender, numbers = cluster.sender(), [400, 30, 3, 200]
    sender.send([message(f"{p}-{n}", partition=p) for p, number in enumerate(numbers) for n in range(number)])
    source = member(cluster, most=20, begins=False)
    until(lambda: len(source.fresh()) == PARTITIONS, source)
    for place in source.fresh():
        source.begin(place, 0)
    batches: list[list[Record]] = []
    while sum(map(len, batches)) < sum(numbers) and len(batches) < 150:
        batches.append(source.poll(0.2))
    batches += [source.poll(0.2) for _ in range(3)]  # nothing comes twice
    assert [sum(record.partition == p for batch in batches for record in batch) for p in range(PARTITIONS)] == numbers
    full = [{record.partition for record in batch} for batch in batches if batch]
    small = max(at for at, partitions in enumerate(full) if 2 in partitions)
    assert small <= 2 * PARTITIONS
    assert any(full[at] != full[at + 1] for at in range(small, len(full) - 3))
    for p in range(PARTITIONS):
        offsets = [record.position.offset for batch in batches for record in batch if record.partition == p]
        assert offsets == sorted(offsets)
    source.close()
    sender.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_that_is_away_is_waited_for_and_a_setting_that_is_none_is_an_error_for_people(client: str) -> None:
    """A mistyped option looked like an outage, and was waited for without end."""
    away = broker("127.0.0.1:9", {}, "x.", client)
    with pytest.raises(Unavailable):
        away.topics.all()
    with pytest.raises(Unavailable):
        away.sender().send([message("k")])
    uses: tuple[Callable[[Any], object], ...] = (
        lambda wrong: wrong.topics.all(),
        lambda wrong: wrong.sender().send([message("k")]),
        lambda wrong: member(wrong).poll(0.1),
    )
    for use in uses:
        with pytest.raises(ConfigurationError, match=r"no\.such\.setting"):
            use(broker("127.0.0.1:9", {"no.such.setting": 1}, "x.", client))


def test_a_client_that_nobody_has_made_is_an_error_for_people() -> None:
    with pytest.raises(ConfigurationError, match=r"kafka\.client: there is no client 'nobody'"):
        broker("127.0.0.1:9", client="nobody")
