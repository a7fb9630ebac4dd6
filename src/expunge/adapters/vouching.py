"""Others who vouch for a checkpoint, over HTTP: witnesses (C2SP tlog-witness) and a time-stamping authority (RFC 3161).

None of them is waited for for long: each has seconds to answer, and one that does not is asked again ever later. What
they answer is checked before it is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import structlog
from cryptography.x509 import Certificate
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.tsp import PKIStatus

from expunge.domain.backoff import doubled
from expunge.domain.evidence.notes import checkpoint_of
from expunge.domain.evidence.witnesses import Witness, asked, cosigned, is_cosigned
from expunge.errors import Unavailable
from expunge.ports import Metrics
from expunge.ports.evidence import Proof

ANSWER_SECONDS, TURN_SECONDS = 3.0, 6.0
"""For one answer; and behind so many seconds nobody else is asked in this turn."""
MOST_BYTES = 65_536
MOST_APART = timedelta(minutes=5)
"""Whoever vouches with another clock vouches for nothing."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 60.0, 3600.0
GRANTED, CONFLICT = 200, 409
TIME_STAMPS = "time stamps"
Said = TypeVar("Said")

log = structlog.get_logger()


class Clock(Protocol):
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def seconds(self) -> float:
        """Seconds that only go forward."""


class Answer(NamedTuple):
    """What somebody answered."""

    status: int
    body: bytes


class Refused(Exception):
    """Somebody answered, and did not do what they were asked."""


def _posted(connection: http.client.HTTPConnection, path: str, kind: str, body: bytes) -> Answer:
    """Ask somebody, however long that takes. Nothing is followed to another place, or read beyond MOST_BYTES.

    Raises:
        OSError: nobody answered.
        Refused: the answer is none, or too long.
    """
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        found = response.read(MOST_BYTES + 1)
        if len(found) > MOST_BYTES:
            raise Refused("the answer is too long")
        return Answer(response.status, found)
    except http.client.HTTPException as error:
        raise Refused(f"no answer of HTTP ({type(error).__name__})") from None
    finally:
        connection.close()


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not opened yet, and the path to ask for."""
    parts = urlsplit(url)
    kinds = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    try:
        made = kinds[parts.scheme](parts.netloc, timeout=ANSWER_SECONDS)
    except http.client.HTTPException as error:
        raise Refused(f"its address is none ({type(error).__name__})") from None
    return made, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"


@dataclass
class _Party:
    """Somebody who is asked, and how they have answered lately."""

    name: str
    url: str
    failures: int = 0
    again_at: float = 0.0
    waiting: threading.Thread | None = None
    """Waits for the last answer still, if that never ends."""

    def post(self, path: str, kind: str, body: bytes) -> Answer:
        """Ask, and wait for ANSWER_SECONDS.

        A thread of its own asks, which nobody waits for any longer: whoever answers a byte now and then would hold up
        a socket for ever, whatever its own time-out is.

        Raises:
            OSError: nobody answered, or not in time.
            Refused: the answer is none, or too long.
        """
        if self.waiting is not None and self.waiting.is_alive():
            raise TimeoutError("its last answer has not ended yet")
        connection, whole = _connection(f"{self.url}{path}")
        found: Future[Answer] = Future()

        def ask() -> None:
            try:
                found.set_result(_posted(connection, whole, kind, body))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                found.set_exception(error)

        self.waiting = threading.Thread(target=ask, daemon=True)
        self.waiting.start()
        try:
            return found.result(ANSWER_SECONDS)
        except FutureTimeout:
            with contextlib.suppress(OSError, AttributeError):  # there may be no socket yet, or no more
                connection.sock.shutdown(socket.SHUT_RDWR)  # its thread reads no further
            raise TimeoutError("no whole answer in time") from None


class HttpVouchers:
    """See `ports.evidence.Vouchers`.

    Args:
        witnesses: where each is asked (the prefix of its `add-checkpoint`), and its key.
        timestamps: where the time-stamping authority is asked; empty: there is none.
        metrics: counts who could not be reached, or refused.
        clock: this machine's, from which nobody's may be far.
        roots: of the authority; none: whoever checks sees whose stamp it is.
    """

    def __init__(
        self,
        witnesses: Sequence[tuple[str, Witness]],
        timestamps: str,
        metrics: Metrics,
        clock: Clock,
        roots: Sequence[Certificate] = (),
    ) -> None:
        self._witnesses = [(_Party(witness.name, url.rstrip("/")), witness) for url, witness in witnesses]
        self._authority = _Party(TIME_STAMPS, timestamps)
        self._metrics, self._seconds, self._now = metrics, clock.seconds, clock.now
        self._roots = roots
        self._known: dict[tuple[str, str], int] = {}
        """How large each witness knows each log to be."""

    def cosign(self, note: str, proof: Proof) -> str:
        """See `ports.evidence.Vouchers.cosign`."""
        until = self._seconds() + TURN_SECONDS
        for party, witness in self._witnesses:
            if not is_cosigned(note, witness) and self._seconds() < until:
                note = self._asked(party, partial(self._cosigned, party, witness, note, proof)) or note
        return note

    def stamp(self, note: str) -> bytes | None:
        """See `ports.evidence.Vouchers.stamp`."""
        return self._asked(self._authority, partial(self._stamped, note)) if self._authority.url else None

    def _asked(self, party: _Party, question: Callable[[], Said]) -> Said | None:
        """What somebody answers; None if they do not, or have not lately."""
        if self._seconds() < party.again_at:
            return None
        try:
            found = question()
        except (OSError, ValueError, Refused, Unavailable) as error:
            party.again_at = self._seconds() + doubled(FIRST_REST_SECONDS, party.failures, LONGEST_REST_SECONDS)
            party.failures += 1
            self._metrics.count("vouching_failures", label=party.name)
            log.warning("a checkpoint is not vouched for", who=party.name, reason=str(error) or type(error).__name__)
            return None
        party.failures = 0
        return found

    def _cosigned(self, party: _Party, witness: Witness, note: str, proof: Proof) -> str:
        """The note with a witness' signature. It says how large it knows the log to be, if we do not know."""
        log_at, here = checkpoint_of(note), (witness.name, checkpoint_of(note).origin)
        for _ in range(2):
            before = self._known.get(here, 0)
            body = asked(before, proof(before), note).encode()
            answer = party.post("/add-checkpoint", "text/plain; charset=utf-8", body)
            if answer.status != CONFLICT:
                break
            self._known[here] = int(answer.body)
            if not 0 <= self._known[here] <= log_at.size:
                raise Refused(f"it has signed a log of {int(answer.body)} leaves, and this one has {log_at.size}")
        if answer.status != GRANTED:
            self._known.pop(here, None)
            raise Refused(f"it answered {answer.status}")
        found = cosigned(note, answer.body.decode(errors="replace"), witness, self._now())
        if found == note:
            raise Refused("it answered without a signature of now by the key that is declared")
        self._known[here] = log_at.size
        return found

    def _stamped(self, note: str) -> bytes:
        """What a time-stamping authority answers, if it is about this checkpoint; who it is, others may check."""
        request = TimestampRequestBuilder().data(note.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
        answer = self._authority.post("", "application/timestamp-query", request.as_bytes())
        if answer.status != GRANTED:
            raise Refused(f"it answered {answer.status}")
        said = decode_timestamp_response(answer.body)
        if PKIStatus(said.status) is not PKIStatus.GRANTED:
            raise Refused(f"it stamps nothing ({PKIStatus(said.status).name.lower()})")
        stamped = said.tst_info
        if stamped.message_imprint.message != hashlib.sha256(note.encode()).digest() or stamped.nonce != request.nonce:
            raise Refused("it stamped something else")
        if abs(stamped.gen_time - self._now()) > MOST_APART:
            raise Refused("its clock is another than this machine's")
        if self._roots and not any(_is_of(said, note, root) for root in self._roots):
            raise Refused("it is not who evidence.timestamps_root names")
        return answer.body


def _is_of(said: TimeStampResponse, note: str, root: Certificate) -> bool:
    try:
        return VerifierBuilder().add_root_certificate(root).build().verify_message(said, note.encode())
    except VerificationError:
        return False
