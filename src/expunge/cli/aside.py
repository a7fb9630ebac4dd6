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
from expunge.runtime.loop import OUTWARD

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
    more = f", {len(frozen.further)} more are set aside" if frozen.further else ""
    return f"frozen since {stamp(frozen.since)} by {place} ({frozen.reason}); {frozen.waiting} messages wait{more}"


def thaw(
    case_id: Annotated[str, typer.Argument(help="The case, as `expunge doctor` names it.")],
    operator: Operator,
    reason: Annotated[str | None, typer.Option(help="What was mended; it stands on the topic of controls.")] = None,
    without: Annotated[
        bool, typer.Option("--without", help="Do not publish again the message that another role has set aside.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Let a frozen case go on: what waited for it is handled in order.

    What other roles had set aside of it is published again, and comes once they have read it. What still cannot be
    handled freezes the case again. Saying it twice does no harm.
    """
    expunge = installation()
    refuse_unless_declared(expunge, operator, "decide")
    frozen = frozen_of(expunge, case_id)
    if frozen is None:
        raise ConfigurationError(f"{case_id} is not frozen: `expunge doctor` lists what is")
    others = [place for place in frozen.places if place[0] != expunge.settings.prefix + "cases"]
    if not without:
        expunge.sender.publish([_again(expunge, *place) for place in others])
    said = {"case_id": case_id} | ({"reason": reason} if reason else {})
    identity = say_word(expunge, "expunge.case.thawed.v1", case_id, operator, "decide", said)
    expunge.close()
    if json_output:
        print_json({"control_id": identity, "case_id": case_id})
    else:
        console.print(f"said; `expunge case show {case_id}` shows what came of it")


def _again(expunge: Installation, topic: str, partition: int, offset: int) -> Outgoing:
    """The message that was set aside, as it is published once more."""
    kafka = expunge.settings.kafka
    record = record_at(kafka.bootstrap_servers, kafka.options, topic, partition, offset)
    if record is None or record.unreadable or record.value is None or record.key is None:
        raise ConfigurationError(
            f"the message at {topic} partition {partition} offset {offset} is gone or unreadable: "
            "go on without it with --without, and ask its publisher to say it again"
        )
    said = _Verbatim("", "", "", record.appended_at, {}, record.value)
    return Outgoing(topic.removeprefix(expunge.settings.prefix), record.key.decode(), said, record.partition)


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
    reason: Annotated[str, typer.Option(help="Why, without personal data: it stands in the dead letter, unsealed.")],
    json_output: Json = False,
) -> None:
    """Have one message set aside unread: its role writes a dead letter in its place, and goes on behind it.

    For a message that holds up everybody and will never be right, such as one from a clock that runs ahead. The
    role that reads the topic hears of this within a second or, while it waits, when it next tries.
    """
    expunge = installation()
    name = topic.removeprefix(expunge.settings.prefix)
    if name.startswith(OUTWARD):
        raise ConfigurationError(f"{name} is read by systems and publishers, no role of Expunge would set it aside")
    count = expunge.topics.partitions(name)
    if partition >= count:
        raise ConfigurationError(f"{name} has {count} partitions, numbered from 0")
    suspects = RedisSuspects(expunge.server)
    known = suspects.known().get((name, partition))
    if known is not None and not known.first <= offset <= known.last:
        raise ConfigurationError(
            f"{name} partition {partition} has a suspect already, offsets {known.first} to {known.last}: its role "
            "comes to that first; say this again after that"
        )
    suspect = Suspect(offset, offset, MOST_DEATHS, reason[:200])
    suspects.note(name, partition, suspect)
    expunge.close()
    if json_output:
        print_json({"topic": name, "partition": partition, "offset": offset})
    else:
        console.print("noted; the role that reads this topic sets it aside when it comes to it")
