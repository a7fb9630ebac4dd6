"""`expunge index import|lookup|list|stats|check`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from expunge import preflight
from expunge.adapters.redis.survey import Survey
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import (
    NO,
    Json,
    console,
    identity,
    installation,
    print_json,
    print_table,
    quiet_console,
    safe,
    say_error,
    visible,
)
from expunge.cli.imports import Batch, Bookmark, batches, problems
from expunge.cli.lineage import Lineage, brief
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.lineage.row import Row
from expunge.domain.scope import SHARDS, Group, GroupKind
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.ports import Offsets
from expunge.wire import inlets
from expunge.wire.form import Identity
from expunge.wire.registrations import DECLARED, MANY_REGISTERED
from expunge.wire.tasks import reached

app = typer.Typer(help="The lineage index.", no_args_is_help=True)
MESSAGES_PER_SEND = 20
MOST_SAID = 100
"""So many wrong lines are said one by one."""


@app.callback()
def root() -> None:
    """The lineage index."""


@app.command("import")
def import_files(
    files: Annotated[
        list[Path], typer.Argument(help="JSON Lines, one registration a line; or CSV, its columns on the first line.")
    ],
    source: Annotated[str, typer.Option(help="CloudEvents source to register as.")] = "/expunge/import",
    restart: Annotated[bool, typer.Option("--restart", help="From the start, even if part was imported.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Write wrong lines to FILE.bad, and import the others.")
    ] = False,
    wait: Annotated[float, typer.Option(help="How many seconds to wait for the indexers at the end.")] = 60.0,
) -> None:
    """Register assets and holdings from files, through Kafka. Interrupted, it goes on where it was.

    Every line is checked before anything is published, and all that is wrong is said at once.
    """
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"no such file: {file}")
    expunge = installation()
    into = f"{expunge.settings.kafka.bootstrap_servers} {expunge.settings.prefix} {source}"
    marks = {file: Bookmark(file, into) for file in files}
    starts = {file: (0, 0) if restart else marks[file].read() for file in files}
    bad = {file: _look(expunge, file, skip_bad=skip_bad) for file in files}
    if any(bad.values()) and not skip_bad:
        quiet_console.print("nothing was published: mend these lines, or leave them out with --skip-bad")
        raise typer.Exit(NO)
    before, began, count = expunge.topics.end_offsets(), SystemClock().now(), 0
    with _progress() as progress:
        for file in files:
            task = progress.add_task(file.name, total=file.stat().st_size, completed=starts[file][0])
            if starts[file][0]:
                console.print(f"{safe(file)}: going on behind line {starts[file][1]:,}")
            found = batches(file, *starts[file], bad[file])
            count += _publish(expunge, source, found, marks[file], partial(_tell, progress, task))
    console.print(f"{count:,} registrations published")
    done = not count or _print_outcome(expunge, before, began, wait)
    if not done:
        raise typer.Exit(NO)


def _tell(progress: Progress, task: TaskID, end: int) -> None:
    progress.update(task, completed=end)


def _progress() -> Progress:
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.percentage:>3.0f}%",
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars = [TextColumn(each) if isinstance(each, str) else each for each in columns]
    return Progress(*bars, console=console, disable=not sys.stdout.isatty(), transient=True)


def _look(expunge: Installation, file: Path, *, skip_bad: bool) -> set[int]:
    """Say what is wrong with a file, or write it beside the file; the numbers of the wrong lines.

    All of it is looked at, though part was imported before: what is beside it must hold every line that was left out.
    """
    wrong: set[int] = set()
    aside = file.with_name(file.name + ".bad")
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(open(aside, "wb", opener=_private)) if skip_bad else None
        for row, why in problems(expunge.door, file, SystemClock().now()):
            wrong.add(row.line)
            if len(wrong) <= MOST_SAID:
                quiet_console.print(visible(f"{file}:{row.line}: {why}"), markup=False, soft_wrap=True)
            if kept is not None:
                kept.write(row.raw if row.raw.endswith(b"\n") else row.raw + b"\n")
    if len(wrong) > MOST_SAID:
        quiet_console.print(f"{file}: {len(wrong) - MOST_SAID:,} more wrong lines", markup=False)
    if skip_bad and wrong:
        console.print(f"{len(wrong):,} wrong lines are in {safe(aside)}")
    elif skip_bad:
        aside.unlink()
    return wrong


def _private(path: str, flags: int) -> int:
    """Wrong lines name people, too."""
    found = os.open(path, flags, 0o600)
    os.fchmod(found, 0o600)
    return found


def _publish(
    expunge: Installation, source: str, found: Iterable[Batch], mark: Bookmark, tell: Callable[[int], None]
) -> int:
    count = 0
    waiting: list[Outgoing] = []
    declared = {each.name for each in expunge.settings.systems}
    unowned: Counter[str] = Counter()
    for batch in found:
        unowned.update(each["system"] for each in batch.assets if each["system"] not in declared)
        waiting.append(_message(source, batch.assets))
        count += len(batch.assets)
        if len(waiting) >= MESSAGES_PER_SEND:
            expunge.sender.publish(waiting)
            waiting = []
            mark.write(batch.end, batch.lines)
            tell(batch.end)
    expunge.sender.publish(waiting)
    mark.remove()
    for system, number in sorted(unowned.items()):
        text = f"{number:,} are of {visible(system)}, which is none of [[systems]]: nobody can be told to purge them"
        quiet_console.print(text, style="yellow", markup=False, soft_wrap=True)
    return count


def _print_outcome(expunge: Installation, before: Offsets, began: datetime, wait: float) -> bool:
    """Say what became of what was published; whether nothing of it was set aside."""
    clock, waiter, ends = SystemClock(), threading.Event(), expunge.topics.end_offsets()
    until = clock.seconds() + wait
    while not reached(expunge.progress.applied(), ends):
        if clock.seconds() >= until:
            say_error("the indexers have not read all of it yet: `expunge doctor` says what is wrong")
            return not wait
        waiter.wait(0.2)
    letters = sum(1 for each in _set_aside(expunge, began) if _lies_between(expunge, each, before, ends))
    if letters:
        console.print(f"{letters:,} dead letters of what was published meanwhile: do roles have this configuration?")
        return False
    console.print("the indexers have read all of it, and nothing became a dead letter")
    return True


def _set_aside(expunge: Installation, since: datetime) -> Iterator[dict[str, Any]]:
    """Dead letters of indexers since a moment."""
    reader = expunge.reader(["dead-letters"], since - timedelta(seconds=5))
    try:
        for record in reader.to_the_end():
            said = json.loads(record.value or b"{}").get("data", {})
            if said.get("role") == "indexer":
                yield said
    finally:
        reader.close()


def _lies_between(expunge: Installation, letter: dict[str, Any], before: Offsets, ends: Offsets) -> bool:
    topic, partition = letter["topic"].removeprefix(expunge.settings.prefix), str(letter["partition"])
    if topic != "registrations":  # nothing is imported onto other inlets
        return False
    first, end = before.get(topic, {}).get(partition, 0), ends.get(topic, {}).get(partition, 0)
    return bool(first <= letter["offset"] < end)


def _message(source: str, batch: list[dict[str, Any]]) -> Outgoing:
    (kind, data) = (MANY_REGISTERED, {"assets": batch})
    if "holding" in batch[0]:
        kind, data = DECLARED, batch[0]
    identity = name(kind, json.dumps(batch, sort_keys=True))
    return Outgoing("registrations", identity, Event(kind, source, identity, SystemClock().now(), data))


@app.command()
def lookup(
    asset: Annotated[str | None, typer.Argument(help="The asset's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="- to read NAMESPACE:ID from standard input.")] = None,
    json_output: Json = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="A Mermaid chart, for documents.")] = False,
) -> None:
    """Show what an asset was made from, what was made from it, and the cases that touched it; or a person's assets."""
    if (asset is None) == (subject is None):
        raise ConfigurationError("lookup takes an asset, or --subject -")
    expunge = installation()
    preflight.refuse_other_secret(expunge)
    if subject is not None:
        _lookup_person(expunge, subject, as_json=json_output)
        return
    lineage, key = Lineage(expunge), expunge.keys.asset(asset or "")
    row = lineage.row(key)
    if row is None:
        say_error("that asset is not in the index")
        raise typer.Exit(NO)
    if json_output:
        print_json(lineage.data(key, row))
    elif mermaid:
        sys.stdout.write(lineage.mermaid(key, row) + "\n")
    else:
        console.print(lineage.tree(key, row))


def _lookup_person(expunge: Installation, subject: str, *, as_json: bool) -> None:
    if subject != "-":
        raise ConfigurationError("--subject takes - alone: an identity on the command line would be kept in histories")
    try:
        names = expunge.door.pseudonyms(inlets.check(Identity, identity("-")))
    except InvalidMessage as error:
        raise ConfigurationError(f"that is no identity here: {error}") from None
    groups = [Group(GroupKind.SUBJECT, name) for name in names]
    keys = {key for group in groups for key in expunge.index.members(group, range(SHARDS))}
    rows = [row for row in expunge.index.rows(sorted(keys)) if row]
    if as_json:
        for row in rows:
            print_json(brief(row))
    else:
        title = "Assets that name this person"
        print_table(_COLUMNS, map(_cells, rows), empty="no asset names this person", title=title)
    if not rows:
        raise typer.Exit(NO)


_COLUMNS = ("asset", "kind", "system", "data source", "purposes", "categories")


def _cells(row: Row) -> list[str]:
    return [text if isinstance(text, str) else ", ".join(text) for text in brief(row).values()]


@app.command("list")
def list_assets(
    unproven: Annotated[bool, typer.Option("--unproven", help="Only assets of unproven origin.")] = False,
    unowned: Annotated[bool, typer.Option("--unowned", help="Only assets of systems that are not declared.")] = False,
    limit: Annotated[int, typer.Option(help="How many to show; 0: all.")] = 100,
    json_output: Json = False,
) -> None:
    """List assets, one after the other; with --json one document a line."""
    expunge = installation()
    found: list[Row] = []
    for number, row in enumerate(_survey(expunge).assets(unproven=unproven, unowned=unowned)):
        if limit and number >= limit:
            break
        if json_output:
            print_json(brief(row))
        else:
            found.append(row)
    if not json_output:
        print_table(_COLUMNS, map(_cells, found), empty="no such assets")


def _survey(expunge: Installation) -> Survey:
    if forgotten := preflight.lost(expunge):
        raise ConfigurationError(f"{forgotten.problem}: {forgotten.mend}")
    return Survey(expunge.server, expunge.index, {system.name for system in expunge.settings.systems})


@app.command()
def stats(json_output: Json = False) -> None:
    """Count the index, weigh it, and say when it should be cut anew."""
    found = _survey(installation()).stats()
    counted = {part: found.counts[part] for part in ("assets", "edges", "subjects", "marks")}
    data: dict[str, Any] = counted | {
        "buckets": found.buckets,
        "combinations": found.combinations,
        "bytes_per_asset": round(found.bytes_per_asset, 1),
        "bytes": found.bytes_by_part,
        "fullest_buckets": dict(found.fullest),
        "unowned": found.unowned,
        "unproven_origin": found.unproven,
        "advice": found.advice,
    }
    if json_output:
        print_json(data)
        return
    rows = [(part, f"{number:,}") for part, number in counted.items()]
    rows += [
        ("of undeclared systems (index list --unowned)", f"{found.unowned:,}"),
        ("of unproven origin (index list --unproven)", f"{found.unproven:,}"),
        ("bytes per asset, marks apart", f"{found.bytes_per_asset:,.0f}"),
        *((f"  bytes of {part}", f"{size:,}") for part, size in found.bytes_by_part.items()),
        ("combinations of names", f"{found.combinations:,}"),
        ("buckets", f"{found.buckets:,}"),
        ("assets in the fullest bucket", ", ".join(str(size) for _, size in found.fullest[:1])),
    ]
    print_table(("what", "how many"), rows)
    if found.advice:
        console.print(f"[yellow]{found.advice}[/yellow]")


@app.command()
def check(json_output: Json = False) -> None:
    """Find what does not fit together, and compute the checksum that a rebuilt index must have."""
    found = _survey(installation()).check()
    whats = {
        "disagreeing": "statements name different kinds (the strictest rule holds)",
        "dangling": "something was made from an asset that nobody has registered",
        "unowned": "its system is not declared: nobody can be told to purge it",
    }
    numbers = {what: getattr(found, what) for what in whats}
    if json_output:
        print_json({"checksum": found.checksum, **numbers, "examples": found.examples})
    else:
        for what, meaning in whats.items():
            if numbers[what]:
                console.print(f"[bold]{numbers[what]:,} {what}:[/bold] {meaning}")
                rows = [(example,) for example in found.examples[what]]
                print_table(("for example",), rows)
        if not any(numbers.values()):
            console.print("[green]everything fits together[/green]")
        console.print(f"checksum [bold]{found.checksum}[/bold]")
    if any(numbers.values()):
        raise typer.Exit(NO)
