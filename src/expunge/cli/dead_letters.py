"""`expunge dead-letters`: what was set aside is seen, handled once more, rewritten, or let be; `park` sets aside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

import click
import orjson
import typer

from expunge.adapters.redis.suspects import RedisSuspects
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import (
    NO,
    Json,
    Moment,
    console,
    installation,
    moment_of,
    print_json,
    print_table,
    say_error,
    to_the_second,
    visible,
)
from expunge.cli.replaying import Replay, Speaker, every_letter
from expunge.cli.settling import DEAD_LETTERS, Settling
from expunge.domain.events import EARLIEST, CloudEvent, envelope, stamp
from expunge.domain.signatures import carried
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.replay.forecast import Forecast, Outcome
from expunge.replay.form import form_of
from expunge.replay.letters import Letter
from expunge.wire.operations import Parked, parked

app = typer.Typer(help="Messages that are set aside.", no_args_is_help=True)
PARK = "expunge.message.parked.v1"
"""The type of what an operator signs."""
SHOWN = 12
"""Characters of a letter's id: as many as tell it from any other."""
MOST_LISTED = 100


@app.callback()
def root() -> None:
    """Messages that are set aside."""


Reason = Annotated[str, typer.Option("--reason", help="Only what was set aside for this reason.")]
Topic = Annotated[str, typer.Option("--topic", help="Only what lay on this topic.")]
OfRole = Annotated[str, typer.Option("--role", help="Only what this role has set aside.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Dead letters, by the first characters of their ids.")]
Every = Annotated[bool, typer.Option("--all", help="Every one that nobody has seen to.")]
Operator = Annotated[str, typer.Option(help="Who says so, declared with the role replay.")]
Why = Annotated[str, typer.Option("--why", help="Why, without personal data: it stays in the ledger.")]


@app.command("list")
def list_letters(
    reason: Reason = "",
    topic: Topic = "",
    role: OfRole = "",
    since: Annotated[datetime | None, Moment] = None,
    until: Annotated[datetime | None, Moment] = None,
    settled: Annotated[bool, typer.Option("--settled", help="Those, too, that somebody has seen to.")] = False,
    json_output: Json = False,
) -> None:
    """List what was set aside and nobody has seen to, with how many there are for each reason.

    Dead letters are kept for 90 days.
    """
    expunge = installation()
    begin = moment_of(since, "--since") if since is not None else EARLIEST
    found = [each for each in _chosen(expunge, reason, topic, role, begin, settled=settled) if each.at >= begin]
    if until is not None:
        found = [each for each in found if each.at < moment_of(until, "--until")]
    if json_output:
        for each in found:
            print_json(_told(each))
        return
    counts = Counter((each.reason, each.role) for each in found)
    rows = [(number, why.replace("_", " "), by) for (why, by), number in counts.most_common()]
    print_table(("messages", "reason", "role"), rows, empty="nothing is set aside that nobody has seen to")
    newest = found[-MOST_LISTED:]
    table = [(each.id[:SHOWN], to_the_second(stamp(each.at)), *_line(each)) for each in reversed(newest)]
    if table:
        print_table(("letter", "appended", "message", "reason", "where", "state"), table, title="The newest first")
    if len(found) > len(newest):
        console.print(f"… and {len(found) - len(newest):,} older: --json has every one", style="dim")


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="The first characters of its id.")],
    unseal: Annotated[bool, typer.Option("--unseal", help="Print what was sealed: it may name people.")] = False,
    json_output: Json = False,
) -> None:
    """Show one dead letter; with --unseal the message itself, which only who has the secret can open.

    Without it the message's form is shown, and none of its values.
    """
    expunge = installation()
    found = _one(every_letter(expunge), letter)
    payload = Settling(Speaker(expunge, "", "")).payload(found)
    body = None if payload is None else _body(payload, unseal=unseal)
    if json_output:
        print_json(_told(found) | {"message": body})
        return
    for name, value in _told(found).items():
        console.print(f"{name.replace('_', ' '):>12}  {visible(str(value or ''))}", markup=False, soft_wrap=True)
    if body is None:
        console.print("its message is not kept in it: it was too large, or a case has set it aside", style="dim")
    else:
        console.print(visible(json.dumps(body, indent=2, ensure_ascii=False)), markup=False, soft_wrap=True)
        if not unseal:
            console.print("values are hidden: --unseal shows them", style="dim")


@app.command()
def redrive(
    ids: Ids = None,
    every: Every = False,
    reason: Reason = "",
    topic: Topic = "",
    role: OfRole = "",
    operator: Operator = "",
    why: Why = "",
    edit: Annotated[bool, typer.Option("--edit", help="Change it in $EDITOR, and publish that instead.")] = False,
    per_second: Annotated[float, typer.Option(min=0.1, help="So many messages a second at most.")] = 50,
    json_output: Json = False,
) -> None:
    """Handle messages once more that were set aside: through the same door, each as it was when it came.

    One that is set aside again stays where it is. With --edit what the editor leaves is published as a new message on
    the same inlet, and the letter keeps the old one. Exit status 1 if any is set aside again.
    """
    expunge = installation()
    speaker = Speaker(expunge, operator, why, "--why")
    chosen = _named(expunge, ids, every=every, reason=reason, topic=topic, role=role)
    speaker.refuse_unless_declared()
    if edit:
        if len(chosen) != 1:
            raise ConfigurationError("--edit is about one letter: name it")
        again: Iterable[str] = [_rewritten(Settling(speaker), chosen[0])]
    else:
        ids_of = [each.id for each in chosen]
        doing = Replay(speaker, DEAD_LETTERS, orjson.dumps(sorted(ids_of)), set(ids_of), per_second)
        settling = Settling(speaker)
        again = (settling.redrive(each, doing) for each in chosen)
    left = 0
    for each, why_again in zip(chosen, again, strict=True):
        left += bool(why_again)
        if json_output:
            print_json({"letter": each.id, "redriven": not why_again, "why": why_again or None})
        elif why_again:
            say_error(f"{each.id[:SHOWN]} stays: {why_again.replace('_', ' ')}")
    if not json_output:
        console.print(f"{len(chosen) - left:,} of {len(chosen):,} were {'rewritten' if edit else 'handled once more'}")
    if left:
        raise typer.Exit(NO)


def _rewritten(settling: Settling, letter: Letter) -> str:
    record = settling.original(letter)
    return settling.rewrite(letter, record, _edited(record.value or b""), _agreed)


def _agreed(said: Forecast) -> bool:
    """Whether a person wants what would come of a message of now, where that is more than a request or a word."""
    if said.outcome not in {Outcome.LATE, Outcome.REOPENS}:
        return True
    text = "as of now this says that something is there (again) which a case has asked for: it will be commanded"
    return typer.confirm(f"{text}. Publish it?", err=True)


@app.command()
def discard(
    ids: Ids = None,
    every: Every = False,
    reason: Reason = "",
    topic: Topic = "",
    role: OfRole = "",
    operator: Operator = "",
    why: Why = "",
) -> None:
    """Say of messages that were set aside that they are not to be handled. The ledger keeps who said so, and why."""
    expunge = installation()
    speaker = Speaker(expunge, operator, why, "--why")
    chosen = _named(expunge, ids, every=every, reason=reason, topic=topic, role=role)
    settling = Settling(speaker)
    for each in chosen:
        settling.discard(each)
    console.print(f"{len(chosen):,} discarded")


def _chosen(
    expunge: Installation, reason: str, topic: str, role: str, since: datetime = EARLIEST, *, settled: bool = False
) -> list[Letter]:
    """Those that fit every filter."""
    name = expunge.settings.prefix + topic.removeprefix(expunge.settings.prefix)
    return [
        each
        for each in every_letter(expunge, since)
        if (settled or each.settled is None)
        and (not reason or each.reason == reason.replace(" ", "_"))
        and (not topic or each.topic == name)
        and (not role or each.role == role)
    ]


def _named(
    expunge: Installation, ids: Sequence[str] | None, *, every: bool, reason: str, topic: str, role: str
) -> list[Letter]:
    """Those that a command is about, of which nobody has seen to.

    Raises:
        ConfigurationError: none is named, or a name fits none, or several.
    """
    if ids and (every or reason or topic or role):
        raise ConfigurationError("name letters, or choose them by --reason, --topic, --role or --all: not both")
    if ids:
        known = every_letter(expunge)
        return list({each.id: each for each in (_unsettled(_one(known, name)) for name in ids)}.values())
    if not (every or reason or topic or role):
        raise ConfigurationError("name letters (expunge dead-letters list), or a filter, or --all")
    found = _chosen(expunge, reason, topic, role)
    if not found:
        raise ConfigurationError("no such message is set aside that nobody has seen to: expunge dead-letters list")
    return found


def _unsettled(letter: Letter) -> Letter:
    if letter.settled is not None:
        text = f"{letter.id[:SHOWN]} was {letter.settled.fate.value} by {letter.settled.operator} already"
        raise ConfigurationError(text)
    return letter


def _one(known: Sequence[Letter], name: str) -> Letter:
    found = [each for each in known if each.id.startswith(name)] if name else []
    if len(found) != 1:
        what = "several letters begin" if found else "no letter begins"
        raise ConfigurationError(f"{what} with {name!r}: expunge dead-letters list --settled")
    return found[0]


def _line(letter: Letter) -> tuple[str, str, str, str]:
    said = letter
    place = f"{said.topic}/{said.partition}/{said.offset}" if said.offset >= 0 else said.topic
    return place, said.reason.replace("_", " "), said.where, letter.settled.fate.value if letter.settled else "open"


def _told(letter: Letter) -> dict[str, object]:
    said, done = letter, letter.settled
    return {
        "letter": letter.id,
        "appended_at": stamp(letter.at),
        "reason": said.reason,
        "where": said.where or None,
        "role": said.role,
        "topic": said.topic,
        "partition": said.partition,
        "offset": said.offset,
        "part": said.part,
        "kept": said.is_sealed,
        "state": done.fate.value if done else "open",
        "by": done.operator if done else None,
        "why": done.reason if done else None,
    }


def _body(payload: bytes, *, unseal: bool) -> object:
    """A message, or its form: what is hidden says of which sort it is."""
    try:
        event = carried(envelope(payload))  # which refuses what is nested too deeply for anybody
        said: object = json.loads(payload)
    except (ValueError, InvalidMessage):
        return payload.decode(errors="replace") if unseal else f"{len(payload):,} bytes that are no event"
    if event.type != (said.get("type") if isinstance(said, dict) else None):  # signed: what was signed is what counts
        said = {**said, "data": _plain(event)} if isinstance(said, dict) else said
    return said if unseal else form_of(said)


def _plain(event: CloudEvent) -> dict[str, object]:
    return {"type": event.type, "data": event.data}


def _same(changed: str, text: str) -> bool:
    """Whether an editor has left what it was given, but for the end of its last line."""
    return changed.rstrip() == text.rstrip()


def _edited(payload: bytes) -> bytes:
    """What a person makes of a message in their editor.

    Raises:
        ConfigurationError: they have left it as it was.
    """
    try:
        envelope(payload)
        text = json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except (ValueError, InvalidMessage):
        text = payload.decode(errors="replace")
    changed = click.edit(text, extension=".json", require_save=True)
    if changed is None or _same(changed, text):
        raise ConfigurationError("nothing was changed, so nothing was published")
    return changed.encode()


@app.command()
def park(
    topic: Annotated[str, typer.Option(help="Where the message lies, with or without the deployment's prefix.")],
    partition: Annotated[int, typer.Option(min=0, help="Its partition.")],
    offset: Annotated[int, typer.Option(min=0, help="Its offset.")],
    reason: Annotated[str, typer.Option(help="Why, without personal data: it stands in the dead letter, unsealed.")],
    operator: Operator = "",
    json_output: Json = False,
) -> None:
    """Have one message set aside unread: its role writes a dead letter in its place, and goes on behind it.

    For a message that holds up everybody and will never be right, such as one from a clock that runs ahead. The
    role that reads the topic hears of this within a second or, while it waits, when it next tries. `unpark` takes it
    back. The ledger keeps who said so, and why.
    """
    expunge, name, role = _reader_of(topic, partition)
    speaker = Speaker(expunge, operator, reason)
    speaker.refuse_unless_declared()
    read, end = expunge.topics.span(name, partition, role)
    if offset < read:
        raise ConfigurationError(f"{role} has read {name} partition {partition} up to {read}: it comes there no more")
    if offset >= end:
        raise ConfigurationError(f"{name} partition {partition} ends at {end}: there is no message at {offset}")
    what = {"topic": expunge.settings.prefix + name, "partition": partition, "offset": offset}
    fact = Parked.model_validate(what | speaker.said(PARK, what))
    expunge.sender.publish([parked(fact, SystemClock().now())])
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
