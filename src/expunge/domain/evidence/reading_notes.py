"""Signed notes as whoever checks a certificate reads them: keys, checkpoints, witnesses, time stamps.

Written apart from what writes them (`notes`, `witnesses`), by what others have published: C2SP signed-note and
tlog-cosignature, RFC 3161. It imports nothing of Expunge.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_certificates

SIGNED_BY = "\u2014 "
ED25519, COSIGNATURE = 1, 4
TIME_BYTES = 8
LATEST_SECONDS = 253_402_300_799
"""The last second of the year 9999."""


class Wrong(Exception):
    """What a step found."""


def cosigned(note: str, verifier: str) -> tuple[str, float | None]:
    """The name of a witness, and when it says that it signed; None: it has not."""
    name, public = key_of(verifier, COSIGNATURE)
    text, _, lines = note.partition("\n\n")
    for line in lines.splitlines():
        signer, _, signature = line.removeprefix(SIGNED_BY).rpartition(" ")
        if not line.startswith(SIGNED_BY) or signer != name:
            continue
        raw = raw_of(signature)
        if raw[:4].hex() == verifier.strip().split("+", 2)[1]:
            at = int.from_bytes(raw[4 : 4 + TIME_BYTES], "big")
            if not is_by(public, raw[4 + TIME_BYTES :], f"cosignature/v1\ntime {at}\n{text}\n".encode()):
                raise Wrong(f"the signature of {name} is not by its key")
            if at > LATEST_SECONDS:
                raise Wrong(f"the signature of {name} bears no date")
            return name, float(at)
    return name, None


def signers(note: str) -> Iterator[str]:
    """The names that stand at lines that are spelled like signatures; who has signed is another matter."""
    for line in note.partition("\n\n")[2].splitlines():
        name, _, signature = line.removeprefix(SIGNED_BY).rpartition(" ")
        with suppress(ValueError):
            if line.startswith(SIGNED_BY) and name and raw_of(signature):
                yield name


def is_about(stamp: bytes, note: str) -> bool:
    """Whether a time stamp is of a checkpoint; whose it is is another matter."""
    from rfc3161_client import decode_timestamp_response  # noqa: PLC0415 - seldom

    imprint = decode_timestamp_response(stamp).tst_info.message_imprint.message
    return imprint in {hashlib.new(name, note.encode()).digest() for name in ("sha256", "sha384", "sha512")}


def stamped(note: str, stamp: bytes, authorities: Sequence[bytes]) -> float:
    """When an independent clock stamped the checkpoint.

    Raises:
        Wrong: none of these authorities did.
    """
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415 - seldom

    said = decode_timestamp_response(stamp)
    for root in (each for pem in authorities for each in load_pem_x509_certificates(pem)):
        verifier = VerifierBuilder().add_root_certificate(root).build()
        with suppress(VerificationError):
            if verifier.verify_message(said, note.encode()):
                return said.tst_info.gen_time.timestamp()
    raise Wrong("its time stamp is not of this checkpoint, or not by that authority")


def raw_of(text: str) -> bytes:
    """Base64 in the one spelling that it has.

    Raises:
        ValueError: it is none.
    """
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found).decode() != text:
        raise ValueError("another spelling")
    return found


def key_of(verifier: str, kind: int = ED25519) -> tuple[str, bytes]:
    """Name and public key of a verifier's line `name+hash+key`, whose hash must be right."""
    name, hash_, key = verifier.strip().split("+", 2)
    raw = raw_of(key)
    if raw[0] != kind or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != hash_:
        raise Wrong("the key is not of the form name+hash+key, or its hash is another's")
    return name, raw[1:]


SUCCESSION = "expunge/key-succession/v1"
SUCCESSION_LINES = 7
"""Name, what it is, the two keys, and the last checkpoint of the old one: name, size and root."""


def succession_of(note: str) -> tuple[str, str]:
    """The two keys of which one has followed the other, as both have signed.

    Raises:
        Wrong: one of them has not.
    """
    text, _, lines = note.partition("\n\n")
    said = text.split("\n")
    if len(said) != SUCCESSION_LINES or said[1] != SUCCESSION or not text.startswith(f"{said[0]}\n"):
        raise Wrong("it is no word of one key about another")
    raws = [raw_of(line.rpartition(" ")[2])[4:] for line in lines.splitlines() if line.startswith(SIGNED_BY)]
    for key in said[2:4]:
        name, public = key_of(key)
        if name != said[0] or not any(is_by(public, raw, f"{text}\n".encode()) for raw in raws):
            raise Wrong("a key is said to follow another, and one of the two has not signed that")
    return said[2], said[3]


def following(key: str, notes: Sequence[str]) -> list[str]:
    """A key, and those that follow it, each by the word of the one before.

    Raises:
        Wrong: a word that begins with one of them is not signed by both.
    """
    found = [key.strip()]
    for note in notes:
        if note.split("\n")[2:3] == [found[-1]]:
            found.append(succession_of(note)[1])
    return found


def checkpoint_of(note: str, public: bytes) -> tuple[str, int, bytes]:
    """Name, size and root in a checkpoint that is signed with a key."""
    body, _, signatures = note.partition("\n\n")
    body += "\n"
    origin, size, root, *_ = body.split("\n")
    for line in signatures.splitlines():
        if not line.startswith(SIGNED_BY):
            raise Wrong("the checkpoint is no signed note")
        if is_by(public, raw_of(line.removeprefix(SIGNED_BY).rpartition(" ")[2])[4:], body.encode()):
            return origin, int(size), raw_of(root)
    raise Wrong("the checkpoint is not signed with that key")


def alone(note: str, public: bytes) -> str:
    """A checkpoint with the signature of its log alone: whatever else stands there is in nobody's name yet."""
    text, _, lines = note.partition("\n\n")
    for line in lines.splitlines():
        with suppress(ValueError):
            raw = raw_of(line.removeprefix(SIGNED_BY).rpartition(" ")[2])
            if line.startswith(SIGNED_BY) and is_by(public, raw[4:], f"{text}\n".encode()):
                body = "\n".join(text.split("\n")[:3])
                return f"{body}\n\n{line}\n" if body == text else ""
    return ""


def is_by(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is by a key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
