"""Keys to sign with, in files: Ed25519, as PKCS #8 in PEM (RFC 8410), readable by their owner alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from expunge.adapters import files
from expunge.adapters.system import refuse_if_readable
from expunge.domain import signatures
from expunge.domain.events import Event
from expunge.errors import ConfigurationError


class Signer:
    """Signs with one key; `repr` shows nothing of it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.sign = key.sign
        """The signature of some bytes."""
        self.public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        """The public key, hexadecimal."""

    def __repr__(self) -> str:
        return "Signer(...)"

    def event(self, event: Event) -> Event:
        """The same event, signed."""
        return signatures.sealed(event, self.public, self.sign)

    @classmethod
    def of(cls, file: Path) -> Signer:
        """The key in a file.

        Raises:
            ConfigurationError: it is not there, others can read it, or it is no such key.
        """
        try:
            raw = file.read_bytes()
        except OSError as error:
            mend = f"expunge keys create {file.stem} --directory {file.absolute().parent}"
            raise ConfigurationError(f"signing key {file.absolute()}: {error.strerror}; {mend}") from None
        refuse_if_readable(file, "signing key")
        try:
            key = load_pem_private_key(raw, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"signing key {file.absolute()} is no Ed25519 key in PEM without a password")
        return cls(key)


def create(file: Path) -> Signer:
    """A new key, in a file that must not be there yet: whole from the moment at which it is there.

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_new(file, raw, "signing key")
    return Signer(key)


def write_new(file: Path, raw: bytes, what: str) -> None:
    """Write a secret that must not be there yet, whole and readable by its owner alone (mode 0600).

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.") as made:
            made.write(raw)
            files.flush(made)
            os.link(made.name, file)
        files.sync(file.parent)
    except FileExistsError:
        raise ConfigurationError(f"{what} {file.absolute()} is there already: move it away first") from None
    except OSError as error:
        raise ConfigurationError(f"{what} {file.absolute()} cannot be written: {error.strerror}") from None
