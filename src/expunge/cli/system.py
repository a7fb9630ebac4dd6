"""`expunge system`: the declared systems, and what each is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import Json, console, installation, print_json, print_table, visible
from expunge.cli.looking import in_systems
from expunge.domain.registry import System
from expunge.errors import ConfigurationError
from expunge.overview.alarms import age_of
from expunge.overview.state import InSystem

app = typer.Typer(help="Systems that own data.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Systems that own data."""


@app.command("list")
def list_systems(json_output: Json = False) -> None:
    """List the declared systems: who answers for each, what is open there and since when."""
    expunge = installation()
    waits, agents = in_systems(expunge, SystemClock().now()), _agents(expunge)
    found = [_line(system, waits.get(system.name), agents[system.name]) for system in expunge.settings.systems]
    if json_output:
        for each in found:
            print_json(each)
        return
    rows = [
        (
            each["system"],
            ", ".join(each["actions"]) if each["integrated"] else "none: not integrated",
            each["agents"] or Text("none", style="red" if each["integrated"] and each["open"] else "dim"),
            each["open"],
            age_of(each["oldest_seconds"]) if each["cases"] else "",
            each["registered"],
        )
        for each in found
    ]
    columns = ("system", "can", "agents", "open", "oldest", "registered")
    print_table(columns, rows, empty="no systems are declared under [[systems]]")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The system, as it is declared.")], json_output: Json = False
) -> None:
    """Show how one system is declared, and what it is waited for."""
    expunge = installation()
    system = expunge.settings.registry().system(name)
    if system is None:
        known = ", ".join(each.name for each in expunge.settings.systems) or "none is"
        raise ConfigurationError(f"no system {name} is declared under [[systems]]: {known}")
    waits = in_systems(expunge, SystemClock().now()).get(name)
    line = _line(system, waits, len(expunge.agents(name))) | _declared(system)
    if json_output:
        print_json(line)
        return
    for key, value in line.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value if value is not None else "")
        shown = age_of(float(text)) if key == "oldest_seconds" else text
        label = key.replace("oldest_seconds", "oldest").replace("_", " ")
        console.print(f"{label:>16}  {visible(shown)}", markup=False, soft_wrap=True)
    if line["open"]:
        console.print(f"expunge case list --waits-for {name} names the cases", style="dim")


def _agents(expunge: Installation) -> Mapping[str, int]:
    return {each.name: len(expunge.agents(each.name)) for each in expunge.settings.systems}


def _line(system: System, waits: InSystem | None, agents: int) -> dict[str, Any]:
    seen = waits or InSystem(system.name)
    return {
        "system": system.name,
        "actions": [each.value for each in system.actions],
        "integrated": system.integrated,
        "agents": agents,
        "open": seen.open,
        "cases": seen.cases,
        "oldest_seconds": round(seen.oldest_seconds),
        "registered": seen.assets,
    }


def _declared(system: System) -> dict[str, Any]:
    """What it is told how, and who says so; of keys only whether there are any."""
    return {
        "owner": system.owner or None,
        "reason": system.reason or None,
        "third_party": system.third_party,
        "batch_size": system.batch_size,
        "timeout_seconds": system.timeout_seconds,
        "retry_seconds": system.retry_seconds,
        "retries": system.retries,
        "reveals": list(system.reveal),
        "receipts_signed": bool(system.key),
        "probed": system.is_probed,
    }
