"""Sealing with well-kept libraries: libsodium sealed boxes for systems, AES-256-GCM for dead letters."""

from __future__ import annotations

import base64
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from expunge.domain.identity import Keys
from expunge.errors import ConfigurationError, InvalidMessage

NONCE_BYTES = 12


class LibraryVault:
    """See `ports.Vault`."""

    def __init__(self, keys: Keys) -> None:
        self._key = keys.derive("dead-letters")

    def salt(self) -> str:
        """See `ports.Vault.salt`."""
        return secrets.token_hex(32)

    def seal_for(self, public_key: str, plain: bytes) -> str:
        """See `ports.Vault.seal_for`."""
        return seal_for(public_key, plain)

    def seal_dead_letter(self, place: str, payload: bytes) -> str:
        """See `ports.Vault.seal_dead_letter`.

        The nonce is derived from place and payload, so the same message sealed again gives the same bytes and no
        nonce ever serves two messages.
        """
        nonce = hmac.digest(self._key, place.encode() + b"\0" + payload, "sha256")[:NONCE_BYTES]
        return base64.b64encode(nonce + AESGCM(self._key).encrypt(nonce, payload, place.encode())).decode()

    def open_dead_letter(self, place: str, sealed: str) -> bytes:
        """The payload of a dead letter.

        Raises:
            InvalidMessage: another key sealed it, or it was changed.
        """
        raw = base64.b64decode(sealed)
        try:
            return AESGCM(self._key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise InvalidMessage("not_openable", "dead letter") from None


def seal_for(public_key: str, plain: bytes) -> str:
    """Seal to a system's X25519 key (libsodium sealed box), in base64."""
    box = SealedBox(PublicKey(bytes.fromhex(public_key)))
    return base64.b64encode(box.encrypt(plain)).decode()


class Opener:
    """Opens what was sealed to one system; `repr` shows nothing."""

    def __init__(self, private_key: str) -> None:
        try:
            self._box = SealedBox(PrivateKey(bytes.fromhex(private_key.strip())))
        except (ValueError, TypeError, CryptoError):
            raise ConfigurationError("the opening key is not an X25519 private key of 64 hexadecimal digits") from None

    def __repr__(self) -> str:
        return "Opener(...)"

    def open(self, sealed: str) -> bytes:
        """The plain bytes.

        Raises:
            InvalidMessage: it was sealed to another key, or changed.
        """
        try:
            return self._box.decrypt(base64.b64decode(sealed))
        except (CryptoError, ValueError):
            raise InvalidMessage("not_openable", "sealed identity") from None


def is_pair(public: str, private: str) -> bool:
    """Whether what is sealed to a public key is opened by a private one; both hexadecimal."""
    try:
        return bytes(PrivateKey(bytes.fromhex(private)).public_key).hex() == public.lower()
    except (ValueError, TypeError, CryptoError):
        return False


def new_key_pair() -> tuple[str, str]:
    """A fresh X25519 pair for a system: (private, public), hexadecimal."""
    private = PrivateKey.generate()
    return bytes(private).hex(), bytes(private.public_key).hex()
