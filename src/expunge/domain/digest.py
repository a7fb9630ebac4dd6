"""Digests that name things: the same content has the same name, on every machine and after every rebuild."""

from __future__ import annotations

import contextlib
import hashlib
import re

import orjson
import rfc8785

SIZE = 16
"""Bytes of a name: 128 bits, enough that two of 10,000,000,000 assets do not meet by chance."""


def digest(*parts: str | bytes | int, key: bytes = b"") -> bytes:
    """BLAKE2b-128 (RFC 7693) of the parts, each behind its length, so that no two lists run together."""
    behind_lengths: list[bytes] = []
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        behind_lengths += (len(raw).to_bytes(8, "big"), raw)
    return hashlib.blake2b(b"".join(behind_lengths), digest_size=SIZE, key=key).digest()


def name(*parts: str | bytes | int) -> str:
    """`digest` in hexadecimal, for ids that people and topics see."""
    return digest(*parts).hex()


_PLAIN = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_UNSURE = re.compile(rb"[^\x00-\x7f]|(?:^|[:,\[])-?\d+(?:[.eE]|\d{15})")
"""What the fast writer of JSON may spell otherwise: text beyond ASCII (the order of keys), fractions, large numbers."""


def canonical(value: object) -> bytes:
    """A value as RFC 8785 (JSON Canonicalization Scheme) spells it, so that the same content has the same digest.

    Numbers are finite, as in whatever was read from JSON.

    Raises:
        rfc8785.CanonicalizationError: it holds what JSON cannot carry exactly.
        UnicodeEncodeError: it holds halves of characters.
    """
    with contextlib.suppress(TypeError):
        raw = orjson.dumps(value, option=_PLAIN)
        if not _UNSURE.search(raw):
            return raw
    return rfc8785.dumps(value)  # type: ignore[arg-type]


def hidden(value: object) -> str:
    """What the `repr` of a value with ids in it shows: its type, and nothing of what it says."""
    return f"{type(value).__name__}(...)"
