"""Witnesses: others who sign a log's checkpoint when it has only grown since they last did.

As C2SP has them: what they are asked and answer (https://c2sp.org/tlog-witness), and their signatures, which bear their
own time (https://c2sp.org/tlog-cosignature). So a log that shows two histories to two people needs them to lie, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from expunge.domain.evidence.notes import SIGNED_BY
from expunge.domain.signatures import is_by

COSIGNATURE = b"\x04"
"""The kind of a witness' key: what it signs bears a time."""
TIME_BYTES = 8
MOST_SECONDS_APART = 300
"""Whoever signs with another clock would make whoever checks doubt all of it."""


class Witness(NamedTuple):
    """Somebody who signs checkpoints."""

    name: str
    id: bytes
    """The four bytes by which a signature names the key."""
    public: bytes


def witness_of(verifier: str) -> Witness:
    """A witness by its public key as those who check notes hold it: `name+hash+key`.

    Raises:
        ValueError: it is none.
    """
    name, hash_, key = verifier.strip().split("+", 2)
    raw = base64.b64decode(key, validate=True)
    identity = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if raw[:1] != COSIGNATURE or len(raw) != 1 + 32 or identity.hex() != hash_ or not name:
        raise ValueError("no key of a witness")
    return Witness(name, identity, raw[1:])


def asked(before: int, proof: Sequence[bytes], note: str) -> str:
    """What a witness is asked: to sign a checkpoint, with the proof that the log has only grown since a size."""
    hashes = [base64.b64encode(each).decode() for each in proof]
    return "\n".join([f"old {before}", *hashes, "", note])


def is_cosigned(note: str, witness: Witness) -> bool:
    """Whether a checkpoint bears the signature of a witness."""
    text, _, lines = note.partition("\n\n")
    return any(_signed_at(line, f"{text}\n", witness) is not None for line in lines.splitlines())


def cosigned(note: str, answer: str, witness: Witness, now: datetime) -> str:
    """A checkpoint with the signature that a witness has answered; as it was, where it is none, or not of now.

    It may answer with several lines, for it may have several keys: only the one of its own key is kept.
    """
    text = note.partition("\n\n")[0]
    for line in answer.splitlines():
        at = _signed_at(line, f"{text}\n", witness)
        if at is not None and abs(at - now.timestamp()) <= MOST_SECONDS_APART and not is_cosigned(note, witness):
            return f"{note}{line}\n"
    return note


def _signed_at(line: str, text: str, witness: Witness) -> int | None:
    """When a witness says that it signed; None: the line is not by it."""
    name, _, signature = line.removeprefix(SIGNED_BY).rpartition(" ")
    try:
        raw = base64.b64decode(signature, validate=True)
    except (ValueError, binascii.Error):
        return None
    canonical = base64.b64encode(raw).decode() == signature  # others read it in its one spelling
    if not (canonical and line.startswith(SIGNED_BY) and name == witness.name and raw[:4] == witness.id):
        return None
    moment, signed = raw[4 : 4 + TIME_BYTES], raw[4 + TIME_BYTES :]
    at = int.from_bytes(moment, "big")
    message = f"cosignature/v1\ntime {at}\n{text}".encode()
    return at if is_by(witness.public.hex(), signed, message) else None
