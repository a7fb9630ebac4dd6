"""`expunge dead-letters park|unpark`: a message that is set aside unread, so that everything else goes on."""

from __future__ import annotations

from typing import Annotated

import typer

from expunge.adapters.redis.suspects import RedisSuspects
from expunge.bootstrap import Installation
from expunge.cli.common import Json, console, installation, print_json
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError

app = typer.Typer(help="Messages that are set aside.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Messages that are set aside."""


@app.command()
def park(
    topic: Annotated[str, typer.Option(help="Where the message lies, with or without the deployment's prefix.")],
    partition: Annotated[int, typer.Option(min=0, help="Its partition.")],
    offset: Annotated[int, typer.Option(min=0, help="Its offset.")],
    reason: Annotated[str, typer.Option(help="Why, without personal data: it stands in the dead letter, unsealed.")],
    json_output: Json = False,
) -> None:
    """Have one message set aside unread: its role writes a dead letter in its place, and goes on behind it.

    For a message that holds up everybody and will never be right, such as one from a clock that runs ahead. The
    role that reads the topic hears of this within a second or, while it waits, when it next tries. `unpark` takes it
    back.
    """
    expunge, name, role = _reader_of(topic, partition)
    if not reason.strip():
        raise ConfigurationError("a reason is needed: it is all that anybody will know of the message")
    read, end = expunge.topics.span(name, partition, role)
    if offset < read:
        raise ConfigurationError(f"{role} has read {name} partition {partition} up to {read}: it comes there no more")
    if offset >= end:
        raise ConfigurationError(f"{name} partition {partition} ends at {end}: there is no message at {offset}")
    RedisSuspects(expunge.server).park(name, partition, offset, reason[:200])
    if json_output:
        print_json({"topic": name, "partition": partition, "offset": offset})
    else:
        console.print(f"noted; {role} sets it aside when it comes to it")


@app.command()
def unpark(
    topic: Annotated[str, typer.Option(help="Where the message lies, with or without the deployment's prefix.")],
    partition: Annotated[int, typer.Option(min=0, help="Its partition.")],
    offset: Annotated[int, typer.Option(min=0, help="Its offset.")],
) -> None:
    """Take a `park` back: the message is handled when its role comes to it."""
    expunge, name, _ = _reader_of(topic, partition)
    known = RedisSuspects(expunge.server).unpark(name, partition, offset)
    if not known:
        raise ConfigurationError(f"no message is parked at {name} partition {partition} offset {offset}")
    console.print("taken back; it is handled when its role comes to it")


def _reader_of(topic: str, partition: int) -> tuple[Installation, str, str]:
    """The installation, the topic without prefix, and the role that reads it.

    Raises:
        ConfigurationError: no role of Expunge reads it, or it has no such partition.
    """
    expunge = installation()
    name = topic.removeprefix(expunge.settings.prefix)
    role = role_of(name)
    if role is None:
        raise ConfigurationError(f"no role of Expunge reads {name or 'a topic without a name'}: it sets nothing aside")
    count = expunge.topics.partitions(name)
    if partition >= count:
        raise ConfigurationError(f"{name} has {count} partitions, numbered from 0")
    return expunge, name, role
