"""What the Kafka client does, and what is done about it: no server is needed for that."""

from __future__ import annotations

import pytest
from kafka.partitioner.default import murmur2 as client_murmur2

from expunge.adapters.kafka.client import common
from expunge.adapters.kafka.records import TolerantBatch
from expunge.domain.events import Record
from expunge.domain.partition import murmur2
from expunge.errors import ConfigurationError


class BadName(str):
    """A header's name that is not UTF-8, as the protocol allows."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        del encoding, errors
        return b"\xff\xfe\x80"


def packed(records: list[tuple[bytes, list[tuple[str, bytes]]]], compression: int = 0) -> bytearray:
    from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1_000_000,
    )
    for offset, (value, headers) in enumerate(records):
        builder.append(offset, 1_000, b"k", value * 1000, headers)
    raw = bytearray(builder.build())
    assert DefaultRecordBatch(raw).compression_type == compression
    return raw


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_every_codec_and_every_header_can_be_read(compression: int) -> None:
    raw = packed([(b"one", [(BadName("x"), b"y"), ("content-type", b"t")]), (b"two", [])], compression)
    batch = TolerantBatch(raw)
    assert batch.validate_crc()
    found = list(batch)
    assert [record.value for record in found] == [b"one" * 1000, b"two" * 1000]
    assert found[0].headers[1] == ("content-type", b"t")


def test_a_batch_that_cannot_be_unpacked_is_as_many_records_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = packed([(b"one", []), (b"two", []), (b"three", [])], 4)
    monkeypatch.setattr("kafka.codec.zstd", None)
    batch = TolerantBatch(raw)
    assert batch.validate_crc()
    found = [(record.offset, record.value, record.headers) for record in batch]
    assert found == [(offset, None, [("", b"UnsupportedCodecError")]) for offset in range(3)]


def test_a_batch_with_a_wrong_checksum_is_fetched_again_and_then_given_up() -> None:
    raw = packed([(b"one", [])])
    raw[-1] ^= 1
    assert [TolerantBatch(raw).validate_crc() for _ in range(2)] == [False, False]
    third = TolerantBatch(raw)
    assert third.validate_crc()
    assert [record.value for record in third] == [None]


def test_what_only_looks_like_an_unreadable_record_is_an_ordinary_one() -> None:
    """Anybody could send the header that marked one, and put any text into a dead letter without a seal."""
    from expunge.adapters.kafka.consumer import as_record

    class Sent:
        topic, partition, offset, leader_epoch, timestamp = "t.requests", 0, 7, 0, 0
        key, value, headers = b"k", None, [("expunge-unreadable", b"ann"), ("", b"ann")]

    record: Record = as_record(Sent(), "t.")
    assert record.unreadable == ""


@pytest.mark.parametrize("text", ["21", "foobar", "a-little-bit-long-string", "ünï", ""])
def test_murmur2_is_the_clients(text: str) -> None:
    assert murmur2(text.encode()) == client_murmur2(text.encode()) & 0xFFFFFFFF


# What an operator sets


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"security_protocol": "ssl"}, "security_protocol is one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"linger_s": 1}, "linger_s is not among the settings of connections and security"),
        ({"group_instance_id": "one"}, "group_instance_id is not among"),
        ({"bootstrap_servers": "b:9092", "kafka_client": "x"}, "bootstrap_servers, kafka_client is not among"),
    ],
)
def test_a_setting_that_would_be_misunderstood_is_refused(options: dict[str, str], says: str) -> None:
    """The library spoke without encryption where the protocol's name was misspelt, and said nothing."""
    with pytest.raises(ConfigurationError, match=says):
        common("localhost:9092", options)


def test_what_every_client_has_is_given_to_each() -> None:
    given = common("a:1,b:2", {"client_id": "erasure", "sasl_mechanism": "PLAIN", "reconnect_backoff_max_ms": 50})
    assert given["bootstrap_servers"] == ["a:1", "b:2"]
    assert (given["client_id"], given["sasl_mechanism"], given["reconnect_backoff_max_ms"]) == ("erasure", "PLAIN", 50)
