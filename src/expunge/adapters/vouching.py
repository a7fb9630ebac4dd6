"""Others who vouch for a checkpoint, over HTTP: witnesses (C2SP tlog-witness) and a time-stamping authority (RFC 3161).

None of them is waited for for long: each has seconds to answer, and one that does not is asked again ever later. What
they answer is checked before it is kept.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import structlog
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response
from rfc3161_client.tsp import PKIStatus

from expunge.domain.backoff import doubled
from expunge.domain.evidence.notes import checkpoint_of
from expunge.domain.evidence.witnesses import Witness, asked, cosigned, is_cosigned
from expunge.ports import Metrics
from expunge.ports.evidence import Proof

ANSWER_SECONDS = 3.0
MOST_BYTES = 65_536
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 60.0, 3600.0
GRANTED, CONFLICT = 200, 409
TIME_STAMPS = "time stamps"
Said = TypeVar("Said")

log = structlog.get_logger()


class Answer(NamedTuple):
    """What somebody answered."""

    status: int
    body: bytes


class Refused(Exception):
    """Somebody answered, and did not do what they were asked."""


def post(url: str, kind: str, body: bytes, seconds: Callable[[], float] = time.monotonic) -> Answer:
    """Ask somebody, who has ANSWER_SECONDS for all of the answer. Nothing is followed to another place.

    Raises:
        OSError: nobody answered, or not in time.
        Refused: the answer is none, or too long.
    """
    parts, until = urlsplit(url), seconds() + ANSWER_SECONDS
    kinds = {"https": http.client.HTTPSConnection, "http": http.client.HTTPConnection}
    connection = kinds[parts.scheme](parts.netloc, timeout=ANSWER_SECONDS)
    try:
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        connection.request("POST", path, body, {"Content-Type": kind})
        response, found = connection.getresponse(), b""
        while piece := response.read1(MOST_BYTES):
            found += piece
            if len(found) > MOST_BYTES:
                raise Refused("the answer is too long")
            if seconds() > until:
                raise TimeoutError("no whole answer in time")
        return Answer(response.status, found)
    except http.client.HTTPException as error:
        raise Refused(f"no answer of HTTP ({type(error).__name__})") from None
    finally:
        connection.close()


@dataclass
class _Party:
    """Somebody who is asked, and how they have answered lately."""

    name: str
    url: str
    failures: int = 0
    again_at: float = 0.0


class HttpVouchers:
    """See `ports.evidence.Vouchers`.

    Args:
        witnesses: where each is asked (the prefix of its `add-checkpoint`), and its key.
        timestamps: where the time-stamping authority is asked; empty: there is none.
        metrics: counts who could not be reached, or refused.
        seconds: a clock that only goes forward.
    """

    def __init__(
        self,
        witnesses: Sequence[tuple[str, Witness]],
        timestamps: str,
        metrics: Metrics,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._witnesses = [(_Party(witness.name, url.rstrip("/")), witness) for url, witness in witnesses]
        self._authority = _Party(TIME_STAMPS, timestamps)
        self._metrics, self._seconds = metrics, seconds
        self._known: dict[tuple[str, str], int] = {}
        """How large each witness knows each log to be."""

    def cosign(self, note: str, proof: Proof) -> str:
        """See `ports.evidence.Vouchers.cosign`."""
        for party, witness in self._witnesses:
            if not is_cosigned(note, witness):
                note = self._asked(party, partial(self._cosigned, party.url, witness, note, proof)) or note
        return note

    def stamp(self, note: str) -> bytes | None:
        """See `ports.evidence.Vouchers.stamp`."""
        url = self._authority.url
        return self._asked(self._authority, partial(_stamped, url, note)) if url else None

    def _asked(self, party: _Party, question: Callable[[], Said]) -> Said | None:
        """What somebody answers; None if they do not, or have not lately."""
        if self._seconds() < party.again_at:
            return None
        try:
            found = question()
        except (OSError, ValueError, Refused) as error:
            party.again_at = self._seconds() + doubled(FIRST_REST_SECONDS, party.failures, LONGEST_REST_SECONDS)
            party.failures += 1
            self._metrics.count("vouching_failures", label=party.name)
            log.warning("a checkpoint is not vouched for", who=party.name, reason=str(error) or type(error).__name__)
            return None
        party.failures = 0
        return found

    def _cosigned(self, url: str, witness: Witness, note: str, proof: Proof) -> str:
        """The note with a witness' signature. It says how large it knows the log to be, if we do not know."""
        log_at, here = checkpoint_of(note), (witness.name, checkpoint_of(note).origin)
        for _ in range(2):
            before = self._known.get(here, 0)
            body = asked(before, proof(before), note).encode()
            answer = post(f"{url}/add-checkpoint", "text/plain; charset=utf-8", body, self._seconds)
            if answer.status != CONFLICT:
                break
            self._known[here] = int(answer.body)
            if not 0 <= self._known[here] <= log_at.size:
                raise Refused(f"it has signed a log of {int(answer.body)} leaves, and this one has {log_at.size}")
        if answer.status != GRANTED:
            self._known.pop(here, None)
            raise Refused(f"it answered {answer.status}")
        found = cosigned(note, answer.body.decode(errors="replace"), witness)
        if found == note:
            raise Refused("it answered without the signature of the key that is declared")
        self._known[here] = log_at.size
        return found


def _stamped(url: str, note: str) -> bytes:
    """What a time-stamping authority answers, if it is about this checkpoint; who it is, others may check."""
    request = TimestampRequestBuilder().data(note.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
    answer = post(url, "application/timestamp-query", request.as_bytes())
    if answer.status != GRANTED:
        raise Refused(f"it answered {answer.status}")
    said = decode_timestamp_response(answer.body)
    if PKIStatus(said.status) is not PKIStatus.GRANTED:
        raise Refused(f"it stamps nothing ({PKIStatus(said.status).name.lower()})")
    stamped = said.tst_info
    if stamped.message_imprint.message != hashlib.sha256(note.encode()).digest() or stamped.nonce != request.nonce:
        raise Refused("it stamped something else")
    return answer.body
