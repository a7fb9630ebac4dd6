"""`expunge case thaw`: a case that a message had frozen goes on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.words import Operator, refuse_unless_declared, say_word
from expunge.domain.aggregates.standing.state import Frozen
from expunge.domain.events import AsReceived, Outgoing, stamp
from expunge.errors import ConfigurationError


def frozen_line(frozen: Frozen) -> str:
    """What froze a case, for people."""
    place = f"{frozen.topic} partition {frozen.partition} offset {frozen.offset}"
    more = len(frozen.places)
    elsewhere = f", {more} {'is' if more == 1 else 'are'} set aside by other roles" if more else ""
    return f"frozen since {stamp(frozen.since)} by {place} ({frozen.reason}); {frozen.waiting} wait{elsewhere}"


def thaw(
    case_id: Annotated[str, typer.Argument(help="The case, as `expunge doctor` names it.")],
    operator: Operator,
    reason: Annotated[str | None, typer.Option(help="What was mended; it stands on the topic of controls.")] = None,
    without: Annotated[
        bool, typer.Option("--without", help="Go on without what other roles have set aside and is gone by now.")
    ] = False,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out the first message that waits: nobody will ever handle it.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Let a frozen case go on: what waited for it is handled in order.

    What other roles had set aside of it is published again, and comes once they have read it. What still cannot be
    handled freezes the case again. Saying it twice does no harm.
    """
    expunge = installation()
    refuse_unless_declared(expunge, operator, "decide")
    frozen = queries.frozen(expunge, case_id)
    if frozen is None:
        raise ConfigurationError(f"{case_id} is not frozen, or no case: `expunge doctor` lists what is frozen")
    if skip and not frozen.waiting:
        raise ConfigurationError(f"nothing waits for {case_id} that could be left out: say it without --skip")
    found = {place: _again(expunge, case_id, *place) for place in frozen.places}
    gone = [place for place, again in found.items() if again is None]
    if gone and not without:
        topic, partition, offset = gone[0]
        raise ConfigurationError(
            f"{len(gone)} of {len(found)} messages are gone, the first at {topic} partition {partition} offset "
            f"{offset}: go on without them with --without, and ask their publishers to say them again"
        )
    if without and not gone:
        raise ConfigurationError("nothing is gone: say it without --without, and all of it is published again")
    expunge.sender.publish([again for again in found.values() if again is not None])
    said: dict[str, Any] = {"case_id": case_id} | ({"reason": reason} if reason else {})
    said |= {"places": [dict(zip(("topic", "partition", "offset"), place, strict=True)) for place in found]}
    said |= {"skip": frozen.turn} if skip else {}
    word = say_word(expunge, "expunge.case.thawed.v1", case_id, operator, "decide", said)
    if json_output:
        print_json(
            {"control_id": word.event.id, "case_id": case_id, "again": len(found) - len(gone), "without": len(gone)}
        )
    else:
        console.print(f"said; `expunge case show {case_id}` shows what came of it")


def _again(expunge: Installation, case_id: str, topic: str, partition: int, offset: int) -> Outgoing | None:
    """The message that was set aside, as it is published once more; None: it is gone, or nobody can read it."""
    record = expunge.broker.record_at(topic, partition, offset)
    if record is None or record.unreadable or record.value is None:
        return None
    said = AsReceived("", "", "", record.appended_at, {}, record.value)
    key = (record.key or case_id.encode()).decode(errors="replace")
    return Outgoing(topic.removeprefix(expunge.settings.prefix), key, said, record.partition)
