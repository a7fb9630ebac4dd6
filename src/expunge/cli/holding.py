"""`expunge holding declare|list`: systems that find a person's data themselves, and want to be asked."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from expunge.adapters.system import SystemClock
from expunge.cli.common import Json, console, installation, print_json, print_table
from expunge.domain.admission import registrations
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.lineage.row import Holding, Row
from expunge.domain.vocabulary import Kind
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.wire.registrations import DECLARED, HoldingDeclared

app = typer.Typer(help="Systems that find data themselves.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Systems that find data themselves."""


@app.command()
def declare(
    holding: Annotated[str, typer.Argument(help="What the system is asked by: an id of its own choice.")],
    system: Annotated[str, typer.Option(help="The declared system.")],
    kind: Annotated[Kind, typer.Option(help="What it holds.")] = Kind.RECORD,
    namespace: Annotated[list[str] | None, typer.Option(help="Whose ids it can look for; * for all.")] = None,
    data_source: Annotated[list[str] | None, typer.Option(help="The same for data sources.")] = None,
    purpose: Annotated[list[str] | None, typer.Option(help="What the data is used for; repeatable.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="What sort of data it is; repeatable.")] = None,
    source: Annotated[str, typer.Option(help="CloudEvents source to declare as.")] = "/expunge/cli",
    json_output: Json = False,
) -> None:
    """Have a system asked about every person (or data source), whatever the index knows of them."""
    expunge = installation()
    if expunge.settings.registry().system(system) is None:
        known = ", ".join(each.name for each in expunge.settings.systems) or "none"
        raise ConfigurationError(f"system {system} is not declared; declared: {known}")
    lists = {"namespaces": namespace, "data_sources": data_source, "purposes": purpose, "categories": category}
    data: dict[str, Any] = {"holding": holding, "system": system, "kind": kind.value}
    data |= {field: list(values) for field, values in lists.items() if values}
    if not (namespace or data_source):
        raise ConfigurationError("a holding answers for --namespace, --data-source, or both")
    now = SystemClock().now()
    try:
        registrations.check(expunge.door, HoldingDeclared, data, now)
    except InvalidMessage as error:
        raise ConfigurationError(f"it would not be taken: {error}") from None
    identity = name(DECLARED, *(str(each) for each in sorted(data.items())))
    expunge.sender.publish([Outgoing("registrations", identity, Event(DECLARED, source, identity, now, data))])
    if json_output:
        print_json(data)
    else:
        console.print("declared; open cases and later ones ask it")


@app.command("list")
def list_holdings(json_output: Json = False) -> None:
    """What is declared, as the index has it."""
    expunge = installation()
    rows = [row for row in expunge.index.rows(expunge.index.holdings()) if row and row.holding and row.holding.active]
    found = [_shown(row) for row in rows]
    if json_output:
        print_json(found)
        return
    lines = [
        (
            each["holding"],
            ", ".join(each["systems"]),
            ", ".join(each["kinds"]),
            ", ".join(each["namespaces"]),
            ", ".join(each["data_sources"]),
        )
        for each in found
    ]
    columns = ("holding", "system", "kind", "namespaces", "data sources")
    print_table(columns, lines, empty="no holdings are declared")


def _shown(row: Row) -> dict[str, Any]:
    held = row.holding or Holding()
    return {
        "holding": row.asset,
        "systems": sorted(row.combination.systems),
        "kinds": sorted(row.combination.kinds),
        "namespaces": list(held.namespaces),
        "data_sources": list(held.data_sources),
        "declared_at": held.declared,
    }
