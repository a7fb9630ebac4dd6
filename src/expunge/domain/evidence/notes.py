"""Checkpoints: how large a log is, and its root, as notes that others check (C2SP signed-note, tlog-checkpoint)."""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

from expunge.domain.signatures import Sign, is_by

ED25519 = b"\x01"
"""The kind of a key, as verifiers spell it."""
SIGNED_BY = "\u2014 "
"""What a line with a signature begins with."""


class Checkpoint(NamedTuple):
    """A log as it is at some moment."""

    origin: str
    """The name of the log, unique in the world: a URL without its scheme."""
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def key_hash(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def verifier(name: str, public: bytes) -> str:
    """A public key as those who check notes hold it: `name+hash+key`."""
    return f"{name}+{key_hash(name, public).hex()}+{base64.b64encode(ED25519 + public).decode()}"


def signed(checkpoint: Checkpoint, public: bytes, sign: Sign) -> str:
    """A checkpoint with the log's own signature; the key bears the name of the log."""
    signature = base64.b64encode(key_hash(checkpoint.origin, public) + sign(checkpoint.body.encode())).decode()
    return f"{checkpoint.body}\n{SIGNED_BY}{checkpoint.origin} {signature}\n"


def is_signed(note: str, public: bytes) -> bool:
    """Whether a note is signed with a key."""
    body, _, lines = note.partition("\n\n")
    for line in lines.splitlines():
        try:
            raw = base64.b64decode(line.rpartition(" ")[2], validate=True)
        except ValueError:
            continue
        if is_by(public.hex(), raw[4:], f"{body}\n".encode()):
            return True
    return False


def checkpoint_of(note: str) -> Checkpoint:
    """What a note says; who has signed it is another matter.

    Raises:
        ValueError: it is no checkpoint.
    """
    origin, size, root, *_ = note.split("\n")
    if not (origin and size.isascii() and size.isdigit() and (size == "0" or size[0] != "0")):
        raise ValueError("no checkpoint")
    return Checkpoint(origin, int(size), base64.b64decode(root, validate=True))


SUCCESSION = "expunge/key-succession/v1"
"""The second line of a note by which one key of a log follows another."""


class Party(NamedTuple):
    """A key, and who has it."""

    public: bytes
    sign: Sign


def succession(last: Checkpoint, origin: str, old: Party, new: Party) -> str:
    """The word of a key that another takes its place, signed by both.

    Args:
        last: the last checkpoint that was signed with the old one.
        origin: what both keys are called by: the name of the deployment's first log.
        old: the key that was used until then.
        new: the key that is used from then on.
    """
    lines = (origin, SUCCESSION, verifier(origin, old.public), verifier(origin, new.public), last.body)
    body = "\n".join(lines)
    signed_by = [(key_hash(origin, each.public) + each.sign(body.encode())) for each in (old, new)]
    return body + "\n" + "".join(f"{SIGNED_BY}{origin} {base64.b64encode(raw).decode()}\n" for raw in signed_by)
