"""JSON in which no two readers can disagree about what was said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.events import DuplicateKey, Position, Record, decode, loaded
from expunge.errors import InvalidMessage
from tests.simulation import START, World

TWICE = [
    b'{"dry_run":true,"dry_run":false}',
    b'{"dry_run" :true,"dry_run":false}',
    b'{"dry_run"\n:true,"dry_run":false}',
    b'{"dry_run":true,"dry_r\\u0075n":false}',
    b'{"dry_run":true,"dry_run":false,"note":"\\u0022:"}',
    b'{"a":[{"b":1,"b":1}]}',
    b'{"note":"t\\"\\u003a7","dry_run":true,"dry_run":false}',
    b'{"note":"t\\"\\u003A7","dry_run":true,"dry_run":false}',
    b'{"note":"\\ud800","dry_run":true,"dry_run":false}',
    b'{"a":{"b":"\\":","b":2}}',
]


@pytest.mark.parametrize("raw", TWICE)
def test_a_key_that_is_said_twice_is_refused(raw: bytes) -> None:
    """edges 2: of `dry_run` said twice the last one counted, and it was carried out."""
    if b"ud800" not in raw:
        with pytest.raises(DuplicateKey):
            loaded(raw)
    envelope = b'{"specversion":"1.0","id":"i","source":"/app","type":"t","data":' + raw + b"}"
    with pytest.raises(InvalidMessage, match="duplicate_key"):
        decode(Record("requests", 0, Position(0, 0), START, None, envelope))


def test_a_request_that_says_something_twice_is_a_dead_letter() -> None:
    world = World()
    said = '{"request_id":"r","received_at":"2026-11-01T00:00:00Z","dry_run":true,"dry_run":false,'
    said += '"subjects":[{"namespace":"user_id","id":"ann"}]}'
    event = '{"specversion":"1.0","id":"i","source":"/app","type":"expunge.erasure.requested.v1","data":' + said + "}"
    world.broker.append("requests", "k", event.encode(), 0)
    world.settle()
    assert [letter["reason"] for letter in world.dead_letters()] == ["duplicate_key"]
    assert not world.commanded


words = st.text(alphabet='ab": \\\t\n,{}\u00e9', max_size=6)
values = st.recursive(
    words | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 2]), st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]))
def test_what_says_each_key_once_is_read_as_it_is(value: Any, indent: int | None, separators: tuple[str, str]) -> None:
    raw = json.dumps(value, indent=indent, separators=separators).encode()
    if all(-(2**63) <= number < 2**64 for number in numbers(value)):
        assert loaded(raw) == value


@given(st.dictionaries(words, values, min_size=1, max_size=4), st.sampled_from([(",", ":"), (", ", ": "), (",", " :")]))
def test_whatever_else_is_said_a_key_that_comes_twice_is_found(
    value: dict[str, Any], separators: tuple[str, str]
) -> None:
    first = next(iter(value))
    body = json.dumps(value, separators=separators)
    again = body[:-1] + separators[0] + json.dumps(first) + separators[1] + "7}"
    if all(-(2**63) <= number < 2**64 for number in numbers(value)):
        with pytest.raises(DuplicateKey):
            loaded(again.encode())


def numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in numbers(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in numbers(inner)]
    return [value] if isinstance(value, int) else []


@pytest.mark.parametrize("depth", [250, 260, 600, 1100, 100_000])
@pytest.mark.parametrize("topic", ["requests", "controls", "registrations", "receipts.photos"])
def test_what_is_nested_deeply_is_a_dead_letter_and_ends_nobody(topic: str, depth: int) -> None:
    """A message of 600 bytes ended intake, and could not even be set aside, for that read it again."""
    world = World()
    data = "[" * depth + "]" * depth
    event = '{"specversion":"1.0","id":"i","source":"/app","type":"expunge.erasure.requested.v1","data":' + data + "}"
    world.broker.append(topic, "k", event.encode(), 0)
    world.settle()
    assert world.deaths == 0
    assert len(world.dead_letters()) == 1
    for role in ("intake", "indexer", "coordinator"):
        world.roles[role].park(Record(topic, 0, Position(0, 0), START, b"k", event.encode()), "x")
