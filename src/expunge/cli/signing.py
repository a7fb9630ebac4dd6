"""How a command signs: with the key of whoever it speaks for, where they are declared with one."""

from __future__ import annotations

from pathlib import Path

from expunge.adapters.signing import Signer
from expunge.bootstrap import Installation
from expunge.domain.events import Event
from expunge.domain.registry import Operator, Publisher
from expunge.errors import ConfigurationError


def signed(expunge: Installation, party: Operator | None, event: Event) -> Event:
    """An event, signed with its speaker's key, where they are declared with one.

    Raises:
        ConfigurationError: the private key is not at hand, or is another one than was declared.
    """
    if party is None or not party.key:
        return event
    return signer_of(expunge, party).event(event)


def key_file(expunge: Installation, party: Operator | Publisher) -> Path:
    """Where the key of somebody is expected."""
    return expunge.settings.keys_directory / f"{party.name}.key"


def signer_of(expunge: Installation, party: Operator | Publisher) -> Signer:
    """The key of somebody who is declared with one.

    Raises:
        ConfigurationError: it is not at hand, or is another one than was declared.
    """
    file = key_file(expunge, party)
    signer = Signer.of(file)
    if signer.public not in party.key:
        raise ConfigurationError(f"{file.absolute()} is not the key that {party.name} is declared with")
    return signer
