"""Pseudonyms and partitions against published vectors: other languages check themselves with the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expunge.domain.identity import Epochs, Keys, normalise
from expunge.domain.partition import murmur2, partition_of
from expunge.errors import ConfigurationError, InvalidMessage, Unavailable

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "identity.json").read_text())
KEYS = Keys(bytes.fromhex(VECTORS["secret"]))

# From Kafka's own UtilsTest.testMurmur2.
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


@pytest.mark.parametrize(("text", "signed"), JAVA.items())
def test_murmur2_is_the_java_clients(text: str, signed: int) -> None:
    assert murmur2(text.encode()) == signed & 0xFFFFFFFF


def test_partitions_stay_in_range() -> None:
    assert {partition_of(str(number), 7) for number in range(500)} == set(range(7))


@pytest.mark.parametrize("vector", VECTORS["pseudonyms"])
def test_pseudonyms(vector: dict[str, Any]) -> None:
    named, version = (vector["tenant"], vector["namespace"], vector["normaliser"], vector["id"]), vector["version"]
    assert KEYS.pseudonym(*named, version).hex() == vector["pseudonym"]
    assert normalise(vector["normaliser"], vector["id"], version) == vector["normalised"]


@pytest.mark.parametrize("vector", VECTORS["pseudonyms"])
def test_pseudonyms_under_a_second_secret(vector: dict[str, Any]) -> None:
    """They follow from those under the first, so nobody's id is needed."""
    both = Keys(bytes.fromhex(VECTORS["secret"]), bytes.fromhex(VECTORS["second_secret"]))
    named, version = (vector["tenant"], vector["namespace"], vector["normaliser"], vector["id"]), vector["version"]
    assert both.newest(bytes.fromhex(vector["pseudonym"])).hex() == vector["under_the_second"]
    assert both.pseudonym(*named, version).hex() == vector["under_the_second"]
    assert both.check == VECTORS["second_check"]
    assert [both.epoch_of(each) for each in (VECTORS["check"], both.check, "other")] == [1, 2, 0]


def test_what_was_made_with_a_later_secret_than_is_in_use_is_waited_for() -> None:
    """To look for it, and find nothing, would look like an answer."""
    secrets = (b"x" * 32, b"y" * 32)
    later = Keys(*secrets).pseudonym("t", "n", "exact", "a")
    keys = Keys(*secrets, epochs=lambda: Epochs(1, 1))
    for ask in (keys.live, keys.newest):
        with pytest.raises(Unavailable, match="expunge keys rotate"):
            ask(later)


def test_a_person_is_one_whatever_secret_their_name_was_made_with() -> None:
    keys = Keys(b"x" * 32, b"y" * 32)
    ann, bob = (keys.first("t", "n", "exact", each) for each in ("ann", "bob"))
    assert keys.is_one([keys.newest(ann).hex()], [bob.hex(), ann.hex()])
    assert not keys.is_one([keys.newest(ann).hex()], [bob.hex()])


@pytest.mark.parametrize("vector", VECTORS["assets"])
def test_asset_keys(vector: dict[str, str]) -> None:
    assert KEYS.asset(vector["asset"]).hex() == vector["key"]


def test_cases_and_the_check_value() -> None:
    vector = VECTORS["case"]
    assert KEYS.case(vector["source"], vector["request_id"]) == vector["case_id"]
    assert KEYS.check == VECTORS["check"]


def test_another_secret_gives_other_pseudonyms() -> None:
    assert Keys(b"x" * 32).pseudonym("t", "n", "exact", "a") != Keys(b"y" * 32).pseudonym("t", "n", "exact", "a")


def test_parts_do_not_run_together() -> None:
    assert KEYS.pseudonym("ab", "c", "exact", "d") != KEYS.pseudonym("a", "bc", "exact", "d")


@pytest.mark.parametrize(
    ("normaliser", "text"),
    [("email", "no-at"), ("email", "a b@c"), ("e164", "12"), ("uuid", "xyz"), ("exact", ""), ("exact", "x" * 1025)],
)
def test_what_is_not_of_the_form_is_refused(normaliser: str, text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        normalise(normaliser, text)
    assert text == "" or text not in str(refused.value)


def test_a_short_secret_is_refused_and_never_shown() -> None:
    with pytest.raises(ConfigurationError):
        Keys(b"short")
    assert "s" * 32 not in repr(Keys(b"s" * 32))
