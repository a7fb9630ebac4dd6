"""Who somebody is, without saying it: normalised ids become keyed pseudonyms (design: "Identity and privacy").

The published vectors in tests/vectors/identity.json let other languages check their own implementation.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Collection
from functools import cached_property, lru_cache
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from expunge.domain.digest import SIZE
from expunge.domain.limits import MAX_ID_BYTES, MIN_SECRET_BYTES
from expunge.domain.normalisers import NORMALISERS, newest, was_meant_once
from expunge.errors import ConfigurationError, InvalidMessage, Unavailable

EPOCH = 1
"""Of the first secret. The byte of the secret that a pseudonym was made with last leads it."""
MOST_SECRETS = 255


class Epochs(NamedTuple):
    """Under which secrets people stand in the index, by their numbers: while one takes another's place, under both."""

    oldest: int
    newest: int


ROTATION = "a rotation of the secret"
"""What is waited for where somebody is named by a secret that the index does not know yet."""
SET_BACK = (
    "somebody is named here under a later secret alone than people stand under in the index, which was set back to "
    "before that: `expunge keys rotate` takes it there again"
)


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
    """The keys derived from the secrets, by purpose and epoch (HKDF-SHA-256, RFC 5869). `repr` shows nothing.

    People's pseudonyms follow from all secrets: that of an epoch is the keyed digest of the one before, so what stands
    under an earlier secret can be taken to a later one without anybody's id, and never back (ADR 31). All else follows
    from the first secret.

    Args:
        secret: the first.
        later: those that have taken its place since, in order.
        epochs: says which of them people stand under; asked once, for the first person. None: under the last alone.
    """

    def __init__(self, secret: bytes, *later: bytes, epochs: Callable[[], Epochs] | None = None) -> None:
        self._secrets = (secret, *later)
        for number, each in enumerate(self._secrets, start=EPOCH):
            if len(each) < MIN_SECRET_BYTES:
                text = f"secret {number} has {len(each)} bytes: it needs at least {MIN_SECRET_BYTES}"
                raise ConfigurationError(text)
        self._said = epochs

    def __repr__(self) -> str:
        return "Keys(...)"

    def derive(self, purpose: str, epoch: int = EPOCH) -> bytes:
        """A 32-byte key for one purpose."""
        info = f"expunge/v1/{purpose}/{epoch}".encode()
        secret = self._secrets[epoch - EPOCH]
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)

    @property
    def last(self) -> int:
        """The number of the last secret that is at hand."""
        return len(self._secrets)

    @cached_property
    def epochs(self) -> Epochs:
        """Under which secrets people stand."""
        return self._said() if self._said else Epochs(self.last, self.last)

    @cached_property
    def _subject(self) -> list[bytes]:
        return [self.derive("subject", epoch) for epoch in range(EPOCH, self.last + 1)]

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
    def checks(self) -> list[str]:
        """For each secret a value that two share who hold the same, up to that one: it stands beside the index."""
        found = ["check"]
        for epoch in range(EPOCH, self.last + 1):
            found.append(hmac.digest(self.derive("check", epoch), found[-1].encode(), "sha256").hex()[:32])
        return found[1:]

    @property
    def check(self) -> str:
        """That of the last secret."""
        return self.checks[-1]

    def epoch_of(self, check: str) -> int:
        """Of which secret a check value is; 0: of none that is at hand."""
        return self.checks.index(check) + EPOCH if check in self.checks else 0

    def pseudonym(self, tenant: str, namespace: str, normaliser: str, text: str, version: int = 0) -> bytes:
        """The 16-byte pseudonym of an id: the epoch's byte, then 120 bits of HMAC-SHA-256.

        Raises:
            InvalidMessage: see `normalise`.
        """
        return self.newest(self.first(tenant, namespace, normaliser, text, version))

    def first(self, tenant: str, namespace: str, normaliser: str, text: str, version: int = 0) -> bytes:
        """The pseudonym of an id under the first secret; see `pseudonym`."""
        return _pseudonym(self._subject[0], tenant, namespace, normaliser, text, version)

    def newest(self, pseudonym: bytes) -> bytes:
        """The same person under the newest secret that the index knows.

        Raises:
            Unavailable: it was made with a later one.
        """
        return self.until(pseudonym, self.epochs.newest)

    def risen(self, pseudonym: bytes) -> bytes:
        """The same person under the newest secret that the index knows, or under a later one that made it already.

        For whoever writes names anew: an index that was set back is taken to one secret after the other.
        """
        return pseudonym if pseudonym[0] > self.epochs.newest else self.newest(pseudonym)

    def live(self, pseudonym: bytes) -> tuple[bytes, ...]:
        """Every name of a person in the index, the newest first, as far as they follow from one of them.

        Raises:
            Unavailable: it was made with a later secret than the index knows: nobody can tell what it was before, and
                to find nothing under it would look like an answer.
        """
        oldest, newest = self.epochs
        if pseudonym[0] > newest:
            raise Unavailable(SET_BACK, server=ROTATION)
        return tuple(self.until(pseudonym, epoch) for epoch in range(newest, max(oldest, pseudonym[0]) - 1, -1))

    def nodes(self, names: Collection[bytes]) -> list[bytes]:
        """Every name in the index of people who are to be found there, those under the newest secret first.

        Raises:
            Unavailable: see `live`; or of somebody only the name under the newer of two secrets is known, under which
                not everything stands yet: they were named when the older one was used no longer.
        """
        oldest, newest = self.epochs
        found = {each for name in names for each in self.live(name)}
        followed = {self.until(name, newest) for name in found if name[0] == oldest}
        if any(self.until(name, newest) not in followed for name in found):
            raise Unavailable(SET_BACK, server=ROTATION)
        return sorted(found, key=lambda name: (-name[0], name))

    def is_one(self, some: Collection[str], others: Collection[str]) -> bool:
        """Whether two lists of names, in hexadecimal, have somebody in common, whatever secrets they were made with."""
        newest = [{self.newest(bytes.fromhex(each)) for each in names} for names in (some, others)]
        return not newest[0].isdisjoint(newest[1])

    def until(self, pseudonym: bytes, epoch: int) -> bytes:
        """A pseudonym as it is under a secret, not before its own."""
        if pseudonym[0] > epoch:
            raise Unavailable(SET_BACK, server=ROTATION)
        for following in range(pseudonym[0] + 1, epoch + 1):
            pseudonym = _renamed(self._subject[following - EPOCH], following, pseudonym)
        return pseudonym

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
def _renamed(key: bytes, epoch: int, pseudonym: bytes) -> bytes:
    return bytes([epoch]) + hmac.digest(key, pseudonym, "sha256")[: SIZE - 1]


@lru_cache(maxsize=65_536)
def _keyed(key: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=SIZE).digest()
