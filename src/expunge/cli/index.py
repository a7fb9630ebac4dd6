"""`expunge index import|lookup|list|stats|check`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from expunge.adapters.store.survey import Survey
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, Json, console, identity, installation, print_json, print_table, say_error
from expunge.cli.imports import Bookmark, batches
from expunge.cli.lineage import Lineage, brief
from expunge.domain import inlets
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.row import Row
from expunge.domain.scope import SHARDS, Group, GroupKind
from expunge.errors import ConfigurationError, InvalidMessage

app = typer.Typer(help="The lineage index.", no_args_is_help=True)
MESSAGES_PER_SEND = 20


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
) -> None:
    """Register assets from files, through Kafka. Interrupted, it goes on where it was."""
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"no such file: {file}")
    expunge = installation()
    count = 0
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.percentage:>3.0f}%",
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars = [TextColumn(each) if isinstance(each, str) else each for each in columns]
    with Progress(*bars, console=console, disable=not sys.stdout.isatty(), transient=True) as progress:
        for file in files:
            count += _import(expunge, file, source, progress, restart=restart)
    console.print(f"{count:,} registrations published")
    expunge.close()


def _import(expunge: Installation, file: Path, source: str, progress: Progress, *, restart: bool) -> int:
    mark = Bookmark(file, f"{expunge.settings.kafka.bootstrap_servers} {expunge.settings.prefix} {source}")
    start, lines = (0, 0) if restart else mark.read()
    if start:
        console.print(f"{file}: going on behind line {lines:,}")
    task = progress.add_task(file.name, total=file.stat().st_size, completed=start)
    count = 0
    waiting: list[Outgoing] = []
    for batch in batches(file, start, lines):
        waiting.append(_message(source, batch.assets))
        count += len(batch.assets)
        if len(waiting) >= MESSAGES_PER_SEND:
            expunge.sender.publish(waiting)
            waiting = []
            mark.write(batch.end, batch.lines)
            progress.update(task, completed=batch.end)
    expunge.sender.publish(waiting)
    mark.remove()
    return count


def _message(source: str, batch: list[dict[str, Any]]) -> Outgoing:
    kind = "expunge.assets.registered.v1"
    identity = name(kind, json.dumps(batch, sort_keys=True))
    event = Event(kind, source, identity, SystemClock().now(), {"assets": batch})
    return Outgoing("registrations", identity, event)


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
        person = expunge.door.pseudonym(inlets.Identity.model_validate(identity("-")))
    except InvalidMessage as error:
        raise ConfigurationError(f"that is no identity here: {error}") from None
    keys = expunge.index.members(Group(GroupKind.SUBJECT, person), range(SHARDS))
    rows = [row for row in expunge.index.rows(sorted(keys)) if row]
    if as_json:
        for row in rows:
            print_json(brief(row))
    else:
        print_table("Assets that name this person", _COLUMNS, map(_cells, rows), empty="no asset names this person")
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
        print_table("Assets", _COLUMNS, map(_cells, found), empty="no such assets")


def _survey(expunge: Installation) -> Survey:
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
    print_table("Index", ("what", "how many"), rows, empty="")
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
                print_table("", ("for example",), rows, empty="")
        if not any(numbers.values()):
            console.print("[green]everything fits together[/green]")
        console.print(f"checksum [bold]{found.checksum}[/bold]")
    if any(numbers.values()):
        raise typer.Exit(NO)
