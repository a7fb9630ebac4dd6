"""One person, read from standard input: on a command line an identity would be kept in histories."""

from __future__ import annotations

from expunge import preflight
from expunge.bootstrap import Installation
from expunge.cli.common import identity
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.wire import inlets
from expunge.wire.form import Identity


def person(expunge: Installation, said: str, what: str) -> tuple[Identity, list[bytes]]:
    """Who is named there, and every name that they have in the index.

    Args:
        expunge: the installation.
        said: what was said where - is expected.
        what: that place, for people.

    Raises:
        ConfigurationError: it was not -, or what was read is no identity here.
    """
    if said != "-":
        raise ConfigurationError(f"{what} takes - alone: an identity on the command line would be kept in histories")
    preflight.refuse_other_secret(expunge)
    try:
        who = inlets.check(Identity, identity("-"))
        return who, expunge.door.pseudonyms(who)
    except InvalidMessage as error:
        raise ConfigurationError(f"that is no identity here: {error}") from None
