"""`expunge case thaw` and `expunge dead-letters park`: what was set aside so that everything else goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from expunge.adapters.broker.consumer import record_at
from expunge.adapters.store.suspects import RedisSuspects
from expunge.bootstrap import Installation
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.words import Operator, refuse_unless_declared, say_word
from expunge.domain.events import Event, Outgoing, stamp
from expunge.domain.partition import partition_of
from expunge.domain.standing import Frozen
from expunge.errors import ConfigurationError
from expunge.ports import MOST_DEATHS, Suspect

OUTWARD = ("commands.", "confirmations.")
app = typer.Typer(help="Messages that are set aside.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Messages that are set aside."""


def frozen_of(expunge: Installation, case_id: str) -> Frozen | None:
    """Why a case waits; None: it does not."""
    return expunge.cases.standing(partition_of(case_id, expunge.settings.kafka.partitions)).frozen.get(case_id)


def frozen_line(frozen: Frozen) -> str:
    """What froze a case, for people."""
    place = f"{frozen.topic} partition {frozen.partition} offset {frozen.offset}"
    return f"frozen since {stamp(frozen.since)} by {place} ({frozen.reason}); {frozen.waiting} messages wait"


def thaw(
    case_id: Annotated[str, typer.Argument(help="The case, as `expunge doctor` names it.")],
    operator: Operator,
    reason: Annotated[str | None, typer.Option(help="What was mended; it stands on the topic of controls.")] = None,
    without: Annotated[
        bool, typer.Option("--without", help="Do not publish again the message that another role has set aside.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Let a frozen case go on: what waited for it is handled in order, the message that froze it first.

    What still cannot be handled freezes it again. Saying it twice does no harm.
    """
    expunge = installation()
    refuse_unless_declared(expunge, operator, "decide")
    frozen = frozen_of(expunge, case_id)
    if frozen is None:
        raise ConfigurationError(f"{case_id} is not frozen: `expunge doctor` lists what is")
    topic = frozen.topic.removeprefix(expunge.settings.prefix)
    if topic != "cases" and not without:
        expunge.sender.publish([_again(expunge, frozen, topic)])
    said = {"case_id": case_id} | ({"reason": reason} if reason else {})
    identity = say_word(expunge, "expunge.case.thawed.v1", case_id, operator, "decide", said)
    expunge.close()
    if json_output:
        print_json({"control_id": identity, "case_id": case_id})
    else:
        console.print(f"said; `expunge case show {case_id}` shows what came of it")


def _again(expunge: Installation, frozen: Frozen, topic: str) -> Outgoing:
    """The message that was set aside, as it is published once more."""
    kafka = expunge.settings.kafka
    record = record_at(kafka.bootstrap_servers, kafka.options, frozen.topic, frozen.partition, frozen.offset)
    if record is None or record.unreadable or record.value is None or record.key is None:
        raise ConfigurationError(
            f"the message at {frozen.topic} partition {frozen.partition} offset {frozen.offset} is gone or unreadable: "
            "go on without it with --without, and ask its publisher to say it again"
        )
    return Outgoing(
        topic, record.key.decode(), _Verbatim("", "", "", record.appended_at, {}, record.value), record.partition
    )


@dataclass(slots=True)
class _Verbatim(Event):
    """An event as it was published: said again in other bytes it would be another message."""

    raw: bytes

    def encode(self) -> bytes:
        """What was published."""
        return self.raw


@app.command()
def park(
    topic: Annotated[str, typer.Option(help="Where the message lies, with or without the deployment's prefix.")],
    partition: Annotated[int, typer.Option(min=0, help="Its partition.")],
    offset: Annotated[int, typer.Option(min=0, help="Its offset.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the dead letter.")],
    json_output: Json = False,
) -> None:
    """Have one message set aside unread: its role writes a dead letter in its place, and goes on behind it.

    For a message that holds up everybody and will never be right, such as one from a clock that runs ahead. A role that
    waits because of it hears of this by itself; one that runs hears of it when it next waits or starts.
    """
    expunge = installation()
    name = topic.removeprefix(expunge.settings.prefix)
    if name.startswith(OUTWARD):
        raise ConfigurationError(f"{name} is read by systems and publishers, no role of Expunge would set it aside")
    count = expunge.topics.partitions(name)
    if partition >= count:
        raise ConfigurationError(f"{name} has {count} partitions, numbered from 0")
    suspect = Suspect(offset, offset, MOST_DEATHS, reason[:200])
    RedisSuspects(expunge.server).note(name, partition, suspect)
    expunge.close()
    if json_output:
        print_json({"topic": name, "partition": partition, "offset": offset})
    else:
        console.print(
            "noted; a role that waits because of this message sets it aside now, one that runs must be started anew"
        )
