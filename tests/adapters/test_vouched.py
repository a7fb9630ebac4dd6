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
from expunge.domain.evidence.reading_notes import cosigned as cosigned_at
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
        self.at, self._stamps = at, HttpVouchers([], url, MemoryMetrics(), SystemClock())

    def cosign(self, note: str, proof: Proof) -> str:
        assert len(proof(0)) == 0
        return cosigned(note, line(note, self.at), witness_of(KEY), self.at) if self.at else note

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
        (
            "1 more lines of signatures, whose keys nobody has given (--witness); "
            "what is said to be a time stamp, by whom nobody has said (--tsa)"
        ),
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


def _another_stamp(said: dict[str, Any]) -> None:
    """Of the same checkpoint without its witness."""
    said["predicate"]["log"]["checkpoint"] += line("another\n\n", NOW, STRANGER) + "\n"


def _stamp(value: Any) -> Callable[[dict[str, Any]], None]:
    def made(said: dict[str, Any]) -> None:
        said["predicate"]["log"]["timestamp"] = value

    return made


def _no_longer(text: str) -> Callable[[dict[str, Any]], None]:
    def made(said: dict[str, Any]) -> None:
        said["predicate"]["not_shown"] = [each for each in said["predicate"]["not_shown"] if each != text]

    return made


LONG_AGO = datetime(2026, 10, 1, tzinfo=UTC)
FOREVER = 10**17


def _at(seconds: int) -> Callable[[str], str]:
    """Signed by the witness itself, at no moment that is one."""

    def made(note: str) -> str:
        signed = SIGNER.sign(f"cosignature/v1\ntime {seconds}\n{note.partition(chr(10) * 2)[0]}\n".encode())
        raw = witness_of(KEY).id + seconds.to_bytes(8, "big") + signed
        return f"{SIGNED_BY}{WITNESS} {base64.b64encode(raw).decode()}"

    return made


LINES: list[tuple[Callable[[str], str], str]] = [
    (lambda note: line(note, NOW, STRANGER), "is not by its key"),
    (lambda _: line("another\n\n", NOW), "is not by its key"),
    (lambda note: line(note, LONG_AGO), "is said to have ended after that"),
    (_at(FOREVER), "bears no date"),
    (lambda _: f"{SIGNED_BY}{WITNESS} AAAA", "has not signed"),
]


@pytest.mark.parametrize(("made", "text"), LINES, ids=range(len(LINES)))
def test_what_is_not_the_witness_own_is_found(tmp_path: Path, made: Callable[[str], str], text: str) -> None:
    """Without a time stamp, which would be of another note then: also where the issuer signs it."""
    vouched = certified(tmp_path / "evidence", Vouchers("", NOW))
    said = vouched.statement
    _with(made)(said)
    vouched.state(said)
    (found,) = [each for each in vouched.verified(witnesses=[KEY]) if each.name == "vouched for"]
    assert not found.passed
    assert text in found.text


STAMPS: list[Callable[[dict[str, Any]], None]] = [
    _another_stamp,
    _stamp(None),
    _stamp(""),
    _stamp("not even base64"),
    _stamp(base64.b64encode(b"no stamp").decode()),
]


@pytest.mark.parametrize("change", STAMPS, ids=range(len(STAMPS)))
def test_a_stamp_that_is_none_is_found_by_whoever_has_no_root_too(
    vouched: Certificate, change: Callable[[dict[str, Any]], None]
) -> None:
    said = vouched.statement
    change(said)
    vouched.state(said)
    assert failed(vouched.verified()) == "statement"


@pytest.mark.parametrize("text", [NO_CLOCK, NO_WITNESS])
def test_a_certificate_cannot_leave_out_what_it_lacks(tmp_path: Path, text: str) -> None:
    alone = certified(tmp_path / "evidence", None)
    said = alone.statement
    _no_longer(text)(said)
    alone.state(said)
    assert failed(alone.verified()) == "statement"


def test_a_line_that_is_none_does_no_harm_to_the_others(vouched: Certificate) -> None:
    said = vouched.statement
    note = said["predicate"]["log"]["checkpoint"].splitlines()
    rubbish = f"{SIGNED_BY}somebody !!!"
    said["predicate"]["log"]["checkpoint"] = "".join(f"{each}\n" for each in [*note[:-1], rubbish, note[-1]])
    assert cosigned_at(said["predicate"]["log"]["checkpoint"], KEY)[1] is not None


def test_what_a_witness_answers_is_kept_if_it_is_of_now_and_in_its_one_spelling() -> None:
    note, witness = "log\n7\nAA==\n\n\u2014 log AAAA\n", witness_of(KEY)
    good = line(note, NOW)
    assert cosigned(note, good, witness, NOW) == f"{note}{good}\n"
    assert cosigned(note, good, witness, NOW + timedelta(minutes=6)) == note
    assert cosigned(note, _at(0)(note), witness, NOW) == note
    other = "/" if good[-1] != "/" else "+"
    assert cosigned(note, good.rstrip("=")[:-1] + other + "=" * good.count("="), witness, NOW) == note


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
