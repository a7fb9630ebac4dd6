"""`expunge replay`: what handling messages once more would do; with --execute it is done."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, NamedTuple

import typer
from rich.progress import BarColumn, Progress, TextColumn

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
    quiet_console,
    to_the_second,
)
from expunge.cli.replaying import Replay, Speaker, every_letter
from expunge.domain.continuity import Log
from expunge.domain.events import EARLIEST, Record, stamp
from expunge.domain.topics import read_by, role_of
from expunge.errors import ConfigurationError
from expunge.replay.forecast import INLET_ROLES, Forecast, Outcome
from expunge.replay.letters import Letter, aside
from expunge.replay.selection import Selection, Where

MEANINGS = {
    Outcome.OPENS: "opens a case",
    Outcome.REOPENS: "reopens a case",
    Outcome.LATE: "an asset that a case has not commanded yet",
    Outcome.CHANGES: "changes a case, a hold, a pause or a suppression",
    Outcome.WAITS: "waits for a frozen case: expunge case thaw, then look once more",
    Outcome.INDEXES: "the index learns something",
    Outcome.DEAD_LETTER: "is set aside, or a part of it",
    Outcome.POISON: "ends its role, which sets it aside the third time",
    Outcome.ASIDE: "was set aside: expunge dead-letters, or --dead",
    Outcome.NOTHING: "nothing: it was handled",
    Outcome.UNREAD: "its role has not come to it yet, and will",
}
LEFT_OUT = frozenset(
    {Outcome.NOTHING, Outcome.UNREAD, Outcome.ASIDE, Outcome.DEAD_LETTER, Outcome.POISON, Outcome.WAITS}
)
"""What handling once more changes nothing about, or not as anybody wants it: whatever waits would wait twice."""
QUIET = frozenset({Outcome.NOTHING, Outcome.UNREAD, Outcome.ASIDE})
"""What nobody need see to, or has been told of elsewhere."""
LINES = 40
"""Messages that are listed for people; `--json` has all."""


def replay(
    topic: Annotated[str, typer.Option(help="The inlet, with or without the deployment's prefix.")],
    partition: Annotated[list[int] | None, typer.Option(min=0, help="Only this partition.")] = None,
    first: Annotated[int, typer.Option("--from", min=0, help="The first offset, in each partition.")] = 0,
    end: Annotated[int | None, typer.Option("--to", min=0, help="The first offset that is not meant.")] = None,
    since: Annotated[datetime | None, Moment] = None,
    until: Annotated[datetime | None, Moment] = None,
    publisher: Annotated[str, typer.Option(help="Only what this declared publisher has said.")] = "",
    system: Annotated[str, typer.Option(help="Only what is about this system.")] = "",
    request_id: Annotated[str, typer.Option(help="Only this request.")] = "",
    dead: Annotated[bool, typer.Option("--dead", help="Only what was set aside, and nobody has seen to yet.")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Handle them once more, and do not only look.")] = False,
    operator: Annotated[str, typer.Option(help="With --execute: who has it done, declared with the role replay.")] = "",
    reason: Annotated[
        str, typer.Option(help="With --execute: why, without personal data: it stays in the ledger.")
    ] = "",
    per_second: Annotated[float, typer.Option(min=0.1, help="With --execute: so many messages a second at most.")] = 50,
    json_output: Json = False,
) -> None:
    """Say for each message that lies on an inlet what handling it once more would do, or do it.

    Nothing is published on the inlet, for that would be another message: the roles handle the same records, as they
    were when they came. What was handled changes nothing. Exit status 1 if anything would be done, or set aside.
    """
    expunge = installation()
    name = topic.removeprefix(expunge.settings.prefix)
    _refuse_unless_inlet(expunge, name, partition or [])
    selection = Selection(
        topic=name,
        partitions=frozenset(partition or ()),
        first=first,
        end=end,
        since=moment_of(since, "--since") if since else None,
        until=moment_of(until, "--until") if until else None,
        publisher=publisher,
        system=system,
        request_id=request_id,
    )
    _refuse_unknown(expunge, selection)
    known = every_letter(expunge)
    if dead:
        selection = replace(selection, places=_dead(expunge, known, name))
    speaker, ids = Speaker(expunge, operator, reason), {each.id for each in known}
    doing = Replay(speaker, name, selection.canonical(), ids, per_second) if execute else None
    found = _Found(json_output, is_done=execute)
    logs = expunge.topics.logs([(name, each) for each in _partitions(expunge, selection)])
    missing = _missing(selection, logs)
    for each in _read(expunge, selection, logs, frozenset() if dead else aside(known), quiet=json_output):
        found.take(each)
        if doing is not None and each.said.outcome not in LEFT_OUT:
            doing.handle(each.record)
    found.summarise(missing)
    if any(each not in QUIET for each in found.counted) and not execute:
        raise typer.Exit(NO)


class _Each(NamedTuple):
    record: Record
    said: Forecast


class _Found:
    """What was found, for people or machines."""

    def __init__(self, as_json: bool, *, is_done: bool) -> None:
        self._as_json, self._is_done = as_json, is_done
        self.counted: Counter[Outcome] = Counter()
        self._rows: list[tuple[object, ...]] = []

    def take(self, each: _Each) -> None:
        record, said = each
        self.counted[said.outcome] += 1
        place = {"partition": record.partition, "offset": record.position.offset}
        if self._as_json:
            told = {"outcome": said.outcome.value, "cases": said.cases, "why": said.why}
            print_json({"topic": record.topic, **place, "appended_at": stamp(record.appended_at), **told})
        elif said.outcome is not Outcome.NOTHING and len(self._rows) < LINES:
            at, about = to_the_second(stamp(record.appended_at)), "\n".join(said.cases[:3])
            row = (f"{record.partition}/{record.position.offset}", at, said.outcome.value.replace("_", " "))
            self._rows.append((*row, about, ", ".join(said.why).replace("_", " ")))

    def summarise(self, missing: list[str]) -> None:
        """The whole, and what is missing of it."""
        for line in missing:
            quiet_console.print(line, style="yellow")
        if self._as_json:
            return
        if self._rows:
            print_table(("place", "appended", "outcome", "case", "why"), self._rows)
            shown = sum(self.counted.values()) - self.counted[Outcome.NOTHING]
            if shown > len(self._rows):
                console.print(f"… and {shown - len(self._rows):,} more: --json has every one", style="dim")
        lines = [(self.counted[each], each.value.replace("_", " "), MEANINGS[each]) for each in Outcome]
        title = "What came of them" if self._is_done else "What handling them once more would do"
        print_table(
            ("messages", "outcome", ""), [each for each in lines if each[0]], empty="no message is meant", title=title
        )
        console.print(self._last())

    def _last(self) -> str:
        """What to do now, or what was done."""
        handled = sum(number for outcome, number in self.counted.items() if outcome not in LEFT_OUT)
        if handled and self._is_done:
            return f"{handled:,} were handled once more; what came of them bears the replay's name in a header"
        if handled:
            return "nothing was done: --execute --operator NAME --reason TEXT does it"
        if self.counted[Outcome.ASIDE] or self.counted[Outcome.DEAD_LETTER]:
            return "nothing is left to be done but what is set aside: expunge dead-letters list"
        return "nothing is left to be done"


def _read(
    expunge: Installation,
    selection: Selection,
    logs: dict[tuple[str, int], Log],
    left: Collection[tuple[str, int, int]],
    *,
    quiet: bool,
) -> Iterator[_Each]:
    """The messages that are meant, each with what handling it would do; those that are left are set aside."""
    asked, registry, prefix = expunge.forecaster(), expunge.door.registry, expunge.settings.prefix
    read = {place: each.next for place, each in expunge.topics.committed_by(role_of(selection.topic) or "").items()}
    clock = SystemClock()
    bars = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,}")
    with Progress(*bars, console=quiet_console, disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(selection.topic, total=sum(max(0, each.end - each.first) for each in logs.values()))
        for place in sorted(logs):
            for record in _of(expunge, selection, place, logs[place]):
                progress.advance(task)
                if not selection.meant(record, registry):
                    continue
                if record.position.offset >= read.get(place, 0):
                    said = Forecast(Outcome.UNREAD)
                elif (prefix + record.topic, record.partition, record.position.offset) in left:
                    said = Forecast(Outcome.ASIDE)
                else:
                    said = asked.of(record, clock.now())
                yield _Each(record, said)


def _of(expunge: Installation, selection: Selection, place: tuple[str, int], log: Log) -> Iterator[Record]:
    """What lies in one partition by now, from where it can be meant."""
    if log.end <= log.first:
        return
    start = selection.since or EARLIEST
    for record in expunge.since(place[0], start, [place[1]]):
        if record.position.offset >= log.end or selection.is_behind(record):
            return
        yield record


def _partitions(expunge: Installation, selection: Selection) -> list[int]:
    return sorted(selection.partitions) or list(range(expunge.topics.partitions(selection.topic)))


def _missing(selection: Selection, logs: dict[tuple[str, int], Log]) -> list[str]:
    """What retention has taken of what is meant."""
    return [
        f"{topic} partition {number}: offsets {selection.first} to {log.first - 1} are there no more"
        for (topic, number), log in sorted(logs.items())
        if log.first > selection.first and (selection.end is None or selection.end > selection.first)
    ]


def _dead(expunge: Installation, known: Sequence[Letter], topic: str) -> frozenset[Where]:
    """Where messages of a topic lie that were set aside, and that nobody has seen to."""
    full = expunge.settings.prefix + topic
    mine = (each for each in known if each.settled is None and each.topic == full)
    return frozenset((topic, each.partition, each.offset) for each in mine)


def _refuse_unless_inlet(expunge: Installation, topic: str, partitions: list[int]) -> None:
    inlets = [name for role in INLET_ROLES for name in read_by(role, expunge.door.registry)]
    inlets = [each for each in inlets if each not in {"holds", "suppressions"}]  # what Expunge itself writes there
    if topic not in inlets:
        raise ConfigurationError(f"{topic or 'a topic without a name'} is no inlet: one of {', '.join(inlets)}")
    count = expunge.topics.partitions(topic)
    if wrong := [each for each in partitions if each >= count]:
        raise ConfigurationError(f"{topic} has {count} partitions, numbered from 0: there is no {wrong[0]}")


def _refuse_unknown(expunge: Installation, selection: Selection) -> None:
    registry = expunge.door.registry
    if selection.publisher and all(each.name != selection.publisher for each in registry.publishers):
        raise ConfigurationError(f"no publisher {selection.publisher} is declared under [[publishers]]")
    if selection.system and registry.system(selection.system) is None:
        raise ConfigurationError(f"no system {selection.system} is declared under [[systems]]")
    if selection.end is not None and selection.end <= selection.first:
        raise ConfigurationError("--to is the first offset behind what is meant: it lies behind --from")
    if selection.since and selection.until and selection.until <= selection.since:
        raise ConfigurationError("--until is the first moment that is not meant: it lies behind --since")
