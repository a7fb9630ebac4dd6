"""What others say of a checkpoint is checked with their keys, offline, and only with theirs."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from expunge.adapters.memory.stores import MemoryMetrics
from expunge.adapters.signing import Signer
from expunge.adapters.system import SystemClock
from expunge.adapters.vouching import HttpVouchers
from expunge.domain.evidence.certificate import NO_CLOCK, NO_WITNESS
from expunge.domain.evidence.notes import SIGNED_BY
from expunge.domain.evidence.witnesses import asked, cosigned, is_cosigned, witness_of
from expunge.ports.evidence import Proof
from tests.simulation import STRANGER, World, signer
from tests.unit.test_certificates import Certificate, failed
from tests.vouching import WITNESS, authority, witness_key

SIGNER = signer("a witness")
KEY = witness_key(bytes.fromhex(SIGNER.public))


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bytes]]:
    with authority(tmp_path_factory.mktemp("tsa") / "tsa") as (url, root):
        yield url, root.read_bytes()


def line(note: str, at: datetime, who: Signer = SIGNER, key: str = KEY) -> str:
    """A witness' signature."""
    seconds = int(at.timestamp())
    signed = who.sign(f"cosignature/v1\ntime {seconds}\n{note.partition(chr(10) * 2)[0]}\n".encode())
    raw = witness_of(key).id + seconds.to_bytes(8, "big") + signed
    return f"{SIGNED_BY}{WITNESS} {base64.b64encode(raw).decode()}"


class Vouchers:
    """A witness beside a real authority."""

    def __init__(self, url: str, at: datetime | None) -> None:
        self.at, self._stamps = at, HttpVouchers([], url, MemoryMetrics())

    def cosign(self, note: str, proof: Proof) -> str:
        assert len(proof(0)) == 0
        return cosigned(note, line(note, self.at), witness_of(KEY)) if self.at else note

    def stamp(self, note: str) -> bytes | None:
        return self._stamps.stamp(note)


def certified(folder: Path, vouchers: Vouchers | None) -> Certificate:
    world = World(signs=True, evidence=folder, vouchers=vouchers)
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    return Certificate(world, case_id)


NOW = SystemClock().now()


@pytest.fixture
def vouched(tmp_path: Path, clock: tuple[str, bytes]) -> Certificate:
    return certified(tmp_path / "evidence", Vouchers(clock[0], NOW))


def step(certificate: Certificate, **more: Any) -> tuple[bool | None, str]:
    (found,) = [each for each in certificate.verified(**more) if each.name == "vouched for"]
    return found.passed, found.text


def test_a_witness_and_a_clock_are_shown_to_whoever_has_their_keys(
    vouched: Certificate, clock: tuple[str, bytes]
) -> None:
    everything: dict[str, Any] = {"witnesses": [KEY], "authorities": [clock[1]]}
    assert all(each.passed for each in vouched.verified(**everything))
    _, text = step(vouched, **everything)
    assert f"signed by {WITNESS} at {NOW:%Y-%m-%d %H:%M:%S} UTC" in text
    assert f"stamped at {NOW:%Y-}" in text
    assert not {NO_CLOCK, NO_WITNESS} & {*vouched.statement["predicate"]["not_shown"]}
    assert step(vouched) == (
        True,
        "1 more signatures, by whom nobody has said (--witness); a time stamp, by whom nobody has said (--tsa)",
    )


def test_a_certificate_says_plainly_where_there_is_none(tmp_path: Path, clock: tuple[str, bytes]) -> None:
    alone = certified(tmp_path / "evidence", None)
    assert {NO_CLOCK, NO_WITNESS} <= {*alone.statement["predicate"]["not_shown"]}
    assert step(alone) == (True, "nobody was to vouch for it, and nobody has")
    passed, text = step(alone, witnesses=[KEY], authorities=[clock[1]])
    assert passed is None
    assert f"{WITNESS} has not signed" in text
    assert "no independent clock" in text


def _note(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def made(said: dict[str, Any]) -> None:
        said["predicate"]["log"]["checkpoint"] = change(said["predicate"]["log"]["checkpoint"])

    return made


def _with(made: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    """Another signature in the place of the witness'."""
    return _note(lambda note: "".join(f"{each}\n" for each in [*note.splitlines()[:-1], made(note)]))


def _stamp_of_another(said: dict[str, Any]) -> None:
    said["predicate"]["log"]["checkpoint"] += line("another\n\n", NOW, STRANGER) + "\n"


def _no_stamp(said: dict[str, Any]) -> None:
    said["predicate"]["log"]["timestamp"] = None


LONG_AGO = datetime(2026, 10, 1, tzinfo=UTC)
TAMPERINGS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_with(lambda note: line(note, NOW, STRANGER)), "vouched for"),
    (_with(lambda _: line("another\n\n", NOW)), "vouched for"),
    (_with(lambda note: line(note, LONG_AGO)), "vouched for"),
    (_with(lambda _: f"{SIGNED_BY}{WITNESS} !"), "vouched for"),
    (_stamp_of_another, "vouched for"),
    (_no_stamp, "statement"),
]


@pytest.mark.parametrize(("change", "found"), TAMPERINGS, ids=range(len(TAMPERINGS)))
def test_what_is_not_theirs_is_found(
    vouched: Certificate, clock: tuple[str, bytes], change: Callable[[dict[str, Any]], None], found: str
) -> None:
    """Also where the issuer signs it: it has no key of theirs."""
    said = vouched.statement
    change(said)
    vouched.state(said)
    assert failed(vouched.verified(witnesses=[KEY], authorities=[clock[1]])) == found


def test_a_clock_is_believed_with_its_own_root_alone(vouched: Certificate, tmp_path: Path) -> None:
    with authority(tmp_path / "another") as (_, root):
        assert failed(vouched.verified(authorities=[root.read_bytes()])) == "vouched for"


def test_a_witness_is_another_with_another_key(vouched: Certificate) -> None:
    another = witness_key(bytes.fromhex(STRANGER.public))
    passed, text = step(vouched, witnesses=[another])
    assert (passed, text.split("; ")[0]) == (None, f"{WITNESS} has not signed the checkpoint")
    note = vouched.statement["predicate"]["log"]["checkpoint"]
    assert not is_cosigned(note, witness_of(another))


@pytest.mark.parametrize("key", ["", "a+b", f"{WITNESS}+00000000+BAAA", KEY.replace("+", "-", 1), f"x{KEY}"])
def test_a_key_that_is_none_is_no_witness(key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        witness_of(key)


def test_what_is_asked_is_what_the_protocol_says() -> None:
    assert asked(5, [b"\0" * 32], "log\n7\nAA==\n\n\u2014 log AAAA\n").split("\n")[:4] == [
        "old 5",
        "A" * 43 + "=",
        "",
        "log",
    ]


def test_a_deployment_that_lost_nobody_signs_before_its_cases_end(tmp_path: Path, clock: tuple[str, bytes]) -> None:
    late = certified(tmp_path / "evidence", Vouchers(clock[0], NOW - timedelta(days=60)))
    assert failed(late.verified(witnesses=[KEY])) == "vouched for"
