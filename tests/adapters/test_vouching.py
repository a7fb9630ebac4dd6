"""Who vouches for checkpoints: what they answer is checked, and nobody is waited for for long."""

from __future__ import annotations

import contextlib
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from expunge.adapters import vouching
from expunge.adapters.ledger_log import DirectoryLog
from expunge.adapters.memory.stores import MemoryMetrics
from expunge.adapters.system import SystemClock
from expunge.adapters.vouching import FIRST_REST_SECONDS, HttpVouchers
from expunge.domain.continuity import Reached
from expunge.domain.evidence.notes import is_signed, verifier
from expunge.domain.evidence.witnesses import is_cosigned, witness_of
from expunge.ports.evidence import Leaf
from tests.simulation import NOTARY, STRANGER
from tests.vouching import authority, serving, witness, witness_key

ORIGIN = "expunge.example.org/ledger"


CLOCK = SystemClock()


class Still:
    """A clock that stands still, unless a test says otherwise."""

    at = 0.0

    def now(self) -> datetime:
        return CLOCK.now()

    def seconds(self) -> float:
        return self.at


def log_of(folder: Path, size: int) -> DirectoryLog:
    log = DirectoryLog(folder, ORIGIN, NOTARY)
    grow(log, 0, size)
    return log


def grow(log: DirectoryLog, begin: int, end: int) -> str:
    log.append([Leaf(Reached(number + 1), b"%d" % number, ()) for number in range(begin, end)])
    note = log.checkpoint()
    assert note is not None
    return note


def _never(before: int) -> list[bytes]:
    raise AssertionError(before)


def test_a_witness_signs_what_has_only_grown_and_refuses_another_history(tmp_path: Path) -> None:
    if shutil.which("go") is None or shutil.which("ssh-agent") is None:
        pytest.skip("no Go or no OpenSSH here: no real witness was asked; what it answers is tested beside this")
    key = verifier(ORIGIN, bytes.fromhex(NOTARY.public))
    with witness(tmp_path / "witness", ORIGIN, key) as (url, public):
        party, metrics, log = witness_of(public), MemoryMetrics(), log_of(tmp_path / "log", 3)
        for begin, end in ((3, 5), (5, 300), (300, 300)):
            note = grow(log, begin, end)
            vouchers = HttpVouchers(
                [(f"{url}/", party)], "", metrics, CLOCK
            )  # one that knows nothing of what it has signed
            more = vouchers.cosign(note, lambda before, note=note: log.grown(before, note))  # type: ignore[misc]
            assert is_cosigned(more, party)
            assert is_signed(more, bytes.fromhex(NOTARY.public))
            log.cosigned(more)
            assert log.checkpoint() == more  # it is published with it, and asked for once
            assert vouchers.cosign(more, _never) == more
        assert not metrics.counts
        vouchers = HttpVouchers([(url, party)], "", metrics, CLOCK)
        other = log_of(tmp_path / "other", 400)
        another = grow(other, 400, 401)
        assert vouchers.cosign(another, lambda before: other.grown(before, another)) != another  # the same leaves
        bent = DirectoryLog(tmp_path / "bent", ORIGIN, NOTARY)
        bent.append([Leaf(Reached(number + 1), b"-%d" % number, ()) for number in range(500)])
        note = bent.checkpoint() or ""
        assert vouchers.cosign(note, lambda before: bent.grown(before, note)) == note
        assert metrics.counts["vouching_failures", party.name] == 1


def test_an_authority_stamps_a_checkpoint(tmp_path: Path) -> None:
    with authority(tmp_path / "tsa") as (url, _):
        metrics = MemoryMetrics()
        assert HttpVouchers([], url, metrics, CLOCK).stamp("a checkpoint\n")
        assert not metrics.counts


class Said(BaseHTTPRequestHandler):
    """Answers what a test says."""

    status, body = 200, b""
    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def said() -> Iterator[tuple[str, type[Said]]]:
    kind = type("Here", (Said,), {})
    with serving(kind) as url:
        yield url, kind


LIES: dict[str, tuple[int, Callable[[str], bytes]]] = {
    "nothing": (200, lambda _: b""),
    "no text": (200, lambda _: bytes(range(256))),
    "no signature": (200, lambda _: "\u2014 witness.example.org AAAA\n".encode()),
    "somebody else's": (200, lambda note: f"{note.splitlines()[-1]}\n".encode()),
    "too much": (200, lambda _: b"x" * 70_000),
    "another place": (302, lambda _: b""),
    "a larger log": (409, lambda _: b"1000000\n"),
    "a size that is none": (409, lambda _: b"-1\n"),
    "no size": (409, lambda _: b"9" * 10_000),
    "the same size for ever": (409, lambda _: b"2\n"),
    "a failure": (500, lambda _: b""),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_others_answer_is_not_believed_and_never_stops_anything(
    tmp_path: Path, said: tuple[str, type[Said]], lie: str
) -> None:
    url, here = said
    log, clock, metrics = log_of(tmp_path / "log", 3), Still(), MemoryMetrics()
    note = log.checkpoint() or ""
    here.status, here.body = LIES[lie][0], LIES[lie][1](note)
    party = witness_of(witness_key(bytes.fromhex(STRANGER.public)))
    vouchers = HttpVouchers([(url, party)], url, metrics, clock)
    assert vouchers.cosign(note, lambda before: log.grown(before, note)) == note
    assert vouchers.stamp(note) is None
    assert metrics.counts["vouching_failures", party.name] == metrics.counts["vouching_failures", "time stamps"] == 1
    asked = here.asked
    assert vouchers.cosign(note, lambda before: log.grown(before, note)) == note
    assert here.asked == asked  # not again so soon
    clock.at += FIRST_REST_SECONDS
    vouchers.cosign(note, lambda before: log.grown(before, note))
    assert here.asked > asked


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "the status": (b"", b"H"),
    "going on": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "the body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "the size of a piece": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "what follows": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_who_answers_for_ever_is_done_without(monkeypatch: pytest.MonkeyPatch, drip: str) -> None:
    monkeypatch.setattr(vouching, "ANSWER_SECONDS", 0.2)
    first, again = DRIPS[drip]
    over, metrics, clock = threading.Event(), MemoryMetrics(), Still()

    class Slow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.request.sendall(first)
                while not over.wait(0.02):
                    self.request.sendall(again)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        vouchers = HttpVouchers([], f"http://127.0.0.1:{server.server_address[1]}", metrics, clock)
        assert vouchers.stamp("note") is None
        clock.at += FIRST_REST_SECONDS
        assert vouchers.stamp("note") is None  # also while its last answer goes on
        over.set()
        server.shutdown()
    assert metrics.counts["vouching_failures", "time stamps"] == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:80x/", "http://user:secret@127.0.0.1/"])
def test_who_is_not_there_is_done_without(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = MemoryMetrics()
    assert HttpVouchers([], url, metrics, CLOCK).stamp("note") is None
    assert "secret" not in capsys.readouterr().out
    assert metrics.counts["vouching_failures", "time stamps"] == 1


def test_a_file_that_the_log_lacks_costs_a_witness_alone(tmp_path: Path, said: tuple[str, type[Said]]) -> None:
    url, here = said
    log, metrics = log_of(tmp_path / "log", 3001), MemoryMetrics()
    note = log.checkpoint() or ""
    (log.folder / "tile/0/003").unlink()
    here.status, here.body = 409, b"900\n"
    party = witness_of(witness_key(bytes.fromhex(STRANGER.public)))
    vouchers = HttpVouchers([(url, party)], "", metrics, CLOCK)
    assert vouchers.cosign(note, lambda before: log.grown(before, note)) == note
    assert metrics.counts["vouching_failures", party.name] == 1


def test_a_stamp_of_somebody_else_or_of_another_time_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority(tmp_path / "tsa") as (url, root), authority(tmp_path / "another") as (other, _):
        roots = load_pem_x509_certificates(root.read_bytes())
        assert HttpVouchers([], url, MemoryMetrics(), CLOCK, roots).stamp("note")
        assert HttpVouchers([], other, MemoryMetrics(), CLOCK, roots).stamp("note") is None
        monkeypatch.setattr(Still, "now", lambda _: CLOCK.now() + timedelta(minutes=10))
        assert HttpVouchers([], url, MemoryMetrics(), Still(), roots).stamp("note") is None
