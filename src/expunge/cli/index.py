"""`expunge index import|lookup|stats`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.tree import Tree

from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import NO, Json, console, installation, print_json, print_table, say_error
from expunge.domain import inlets
from expunge.domain.digest import name
from expunge.domain.events import MAX_PAYLOAD_BYTES, Event, Outgoing
from expunge.domain.row import Row
from expunge.errors import ConfigurationError, InvalidMessage

app = typer.Typer(help="The lineage index.", no_args_is_help=True)
BATCH_ASSETS = 500
BATCH_BYTES = MAX_PAYLOAD_BYTES // 2
MESSAGES_PER_SEND = 20
MAX_DRAWN = 20


@app.callback()
def root() -> None:
    """The lineage index."""


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines: one registration (asset, kind, ...) a line.")],
    source: Annotated[str, typer.Option(help="CloudEvents source to register as.")] = "/expunge/import",
) -> None:
    """Register assets from files, through Kafka; every line is checked before anything of its batch is sent."""
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"no such file: {file}")
    expunge = installation()
    total = sum(file.stat().st_size for file in files)
    count = 0
    with Progress(console=console, disable=not sys.stdout.isatty(), transient=True) as progress:
        task = progress.add_task("registering", total=total)
        waiting: list[Outgoing] = []
        for batch, size in _batches(files):
            waiting.append(_message(source, batch))
            count += len(batch)
            progress.advance(task, size)
            if len(waiting) >= MESSAGES_PER_SEND:
                expunge.sender.send(waiting)
                waiting = []
        expunge.sender.send(waiting)
    console.print(f"{count} registrations published")
    expunge.close()


def _batches(files: list[Path]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                batch.append(_checked(line, file, number))
                size += len(line)
                if len(batch) >= BATCH_ASSETS or size >= BATCH_BYTES:
                    yield batch, size
                    batch, size = [], 0
    if batch:
        yield batch, size


def _checked(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        inlets.check(inlets.Registered, entry)
    except ValueError:
        raise ConfigurationError(f"{file}:{number}: not JSON; nothing of this batch was registered") from None
    except InvalidMessage as error:
        raise ConfigurationError(f"{file}:{number}: {error}; nothing of this batch was registered") from None
    else:
        return dict(entry)


def _message(source: str, batch: list[dict[str, Any]]) -> Outgoing:
    kind = "expunge.assets.registered.v1"
    identity = name(kind, json.dumps(batch, sort_keys=True))
    event = Event(kind, source, identity, SystemClock().now(), {"assets": batch})
    return Outgoing("registrations", identity, event)


@app.command()
def lookup(asset: Annotated[str, typer.Argument(help="The asset's id.")], json_output: Json = False) -> None:
    """Show what is known about an asset, what it was made from, and what was made from it."""
    expunge = installation()
    key = expunge.keys.asset(asset)
    (row,) = expunge.index.rows([key])
    if row is None:
        say_error("that asset is not in the index")
        raise typer.Exit(NO)
    children = expunge.index.children(key)
    if json_output:
        print_json(_row(row) | {"children": [_name(child) for child in expunge.index.rows(children)]})
        return
    tree = Tree(f"[bold]{row.asset}[/bold] ({_kinds(row)})")
    about = [
        ("systems", row.systems),
        ("data sources", row.data_sources),
        ("purposes", row.purposes),
        ("categories", row.categories),
        ("made from (as far as kept)", row.parents),
    ]
    for title, values in about:
        if values:
            tree.add(f"{title}: {', '.join(sorted(values))}")
    if row.shared or row.container:
        tree.add("shared by several people")
    made = tree.add(f"made from it: {len(children)}") if children else tree
    grow(expunge, made, children, {key})
    console.print(tree)


def grow(expunge: Installation, tree: Tree, keys: list[bytes], seen: set[bytes]) -> None:
    """Draw what was made from assets, each once, up to a bound per level."""
    rows = expunge.index.rows(keys)
    for key, row in list(zip(keys, rows, strict=True))[:MAX_DRAWN]:
        label = f"{row.asset} ({_kinds(row)})" if row else "an asset that nobody has registered"
        branch = tree.add(label + (" (see above)" if key in seen else ""))
        if key not in seen:
            seen.add(key)
            grow(expunge, branch, expunge.index.children(key), seen)
    if len(keys) > MAX_DRAWN:
        tree.add(f"and {len(keys) - MAX_DRAWN} more")


def _kinds(row: Row) -> str:
    return ", ".join(sorted(row.kinds)) or "unknown"


def _name(row: Row | None) -> str | None:
    return row.asset if row else None


def _row(row: Row) -> dict[str, Any]:
    return {
        "asset": row.asset,
        "kinds": sorted(row.kinds),
        "systems": sorted(row.systems),
        "data_sources": sorted(row.data_sources),
        "purposes": sorted(row.purposes),
        "categories": sorted(row.categories),
        "parents": list(row.parents),
        "shared": row.shared or row.container,
    }


@app.command()
def stats(json_output: Json = False) -> None:
    """Count assets, edges, subjects and marks."""
    found = installation().index.stats()
    data = {
        "assets": found.assets,
        "edges": found.edges,
        "subjects": found.subjects,
        "marks": found.marks,
        "buckets": found.buckets,
    }
    if json_output:
        print_json(data)
        return
    print_table("Index", ("what", "how many"), [(key, f"{value:,}") for key, value in data.items()], empty="")
