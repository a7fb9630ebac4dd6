"""Who somebody is, without saying it: normalised ids become keyed pseudonyms (design: "Identity and privacy").

The published vectors in tests/vectors/identity.json let other languages check their own implementation.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from functools import cached_property, lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from expunge.domain.digest import SIZE
from expunge.domain.limits import MAX_ID_BYTES, MIN_SECRET_BYTES
from expunge.domain.normalisers import NORMALISERS, newest, was_meant_once
from expunge.errors import ConfigurationError, InvalidMessage

EPOCH = 1
"""The live epoch of the keys; its byte leads every pseudonym, so that a later epoch can live beside it."""


def normalise(normaliser: str, text: str, version: int = 0) -> str:
    """The one spelling of an id: Unicode NFC first, then what the namespace's normaliser does.

    Args:
        normaliser: its name.
        text: the id as somebody spells it.
        version: of the normaliser; 0: the newest.

    Raises:
        InvalidMessage: the id is empty, too long, or not of the namespace's form.
    """
    check_size(text)
    plain = NORMALISERS[normaliser][version or newest(normaliser)](unicodedata.normalize("NFC", text))
    if not plain:
        raise InvalidMessage("bad_identity", "an empty id")
    return plain


def check_size(text: str) -> None:
    """Hold a person's id to its largest size.

    Raises:
        InvalidMessage: it is too long, or no text.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        raise InvalidMessage("id_too_long", f"at most {MAX_ID_BYTES} bytes")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):  # noqa: PLR2004 - the surrogates
        raise InvalidMessage("bad_identity", "not Unicode text")


def versions(normaliser: str, text: str) -> list[int]:
    """The versions under which an id may have been registered, the newest first.

    Raises:
        InvalidMessage: nobody can mean it (`was_meant_once`); why the newest does not take it. See `normalise`.
    """
    taken: list[int] = []
    for version in NORMALISERS[normaliser]:
        try:
            normalise(normaliser, text, version)
        except InvalidMessage:  # a version that refuses it has registered nobody by it
            if version == newest(normaliser) and not was_meant_once(normaliser, text):
                raise
        else:
            taken.append(version)
    if not taken:
        raise InvalidMessage("bad_identity")
    return taken


def framed(*parts: str | int) -> bytes:
    """The parts in UTF-8, each with its length in four bytes in front."""
    raw = [str(part).encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


class SuppressionKey:
    """The key under which people are suppressed: a key of its own, so that ingesters may hold it.

    See design: "Identity and privacy".
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "SuppressionKey(...)"

    def hex(self) -> str:
        """The key itself, for whoever must hold it."""
        return self._key.hex()

    def of(self, tenant: str, namespace: str, normaliser: str, text: str, version: int = 0) -> str:
        """The suppression pseudonym of an id, in hexadecimal.

        Raises:
            InvalidMessage: see `normalise`.
        """
        return _pseudonym(self._key, tenant, namespace, normaliser, text, version).hex()


class Keys:
    """The keys derived from one secret, by purpose and epoch (HKDF-SHA-256, RFC 5869). `repr` shows nothing."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ConfigurationError(f"the secret has {len(secret)} bytes: it needs at least {MIN_SECRET_BYTES}")
        self._secret = secret

    def __repr__(self) -> str:
        return "Keys(...)"

    def derive(self, purpose: str, epoch: int = EPOCH) -> bytes:
        """A 32-byte key for one purpose."""
        info = f"expunge/v1/{purpose}/{epoch}".encode()
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(self._secret)

    @cached_property
    def _subject(self) -> bytes:
        return self.derive("subject")

    @cached_property
    def _asset(self) -> bytes:
        return self.derive("asset")

    @cached_property
    def _content(self) -> bytes:
        return self.derive("content")

    @cached_property
    def _case(self) -> bytes:
        return self.derive("case")

    @cached_property
    def suppression(self) -> SuppressionKey:
        """What suppressions are keyed with."""
        return SuppressionKey(self.derive("suppression"))

    @cached_property
    def check(self) -> str:
        """A value that two holders of the same secret share; it stands beside the index to catch another secret."""
        return hmac.digest(self.derive("check"), b"check", "sha256").hex()[:32]

    def pseudonym(self, tenant: str, namespace: str, normaliser: str, text: str, version: int = 0) -> bytes:
        """The 16-byte pseudonym of an id: the epoch's byte, then 120 bits of HMAC-SHA-256.

        Raises:
            InvalidMessage: see `normalise`.
        """
        return _pseudonym(self._subject, tenant, namespace, normaliser, text, version)

    def asset(self, asset_id: str) -> bytes:
        """The 16-byte key of an asset: keyed BLAKE2b-128 of its id."""
        return _keyed(self._asset, asset_id)

    def case(self, source: str, request_id: str) -> str:
        """The id of the case that a request opens: who knows only the id cannot guess the request."""
        return hmac.digest(self._case, framed(source, request_id), "sha256").hex()[:32]

    def content(self, raw: bytes) -> str:
        """A keyed digest of content: equal for equal content, and no use to guess it with."""
        return hashlib.blake2b(raw, key=self._content, digest_size=SIZE).hexdigest()


@lru_cache(maxsize=65_536)
def _pseudonym(key: bytes, tenant: str, namespace: str, normaliser: str, text: str, version: int) -> bytes:
    """People recur in the records that lie next to each other, so the last ones are remembered, in memory alone."""
    message = framed(tenant, namespace, version or newest(normaliser), normalise(normaliser, text, version))
    return bytes([EPOCH]) + hmac.digest(key, message, "sha256")[: SIZE - 1]


@lru_cache(maxsize=65_536)
def _keyed(key: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=SIZE).digest()
