"""`expunge policy check|explain|show`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.adapters.policy_file import SHIPPED, load_policy, shipped
from expunge.adapters.system import SystemClock
from expunge.cli.common import Json, console, installation, print_json, print_table, safe
from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.clocks import Deadlines, deadlines
from expunge.domain.planning.policy.explain import Given, Possible, possible
from expunge.domain.planning.policy.rules import Basis, DispositionRule, Policy, Sources
from expunge.domain.planning.policy.stages import stage_of
from expunge.domain.vocabulary import Kind, Regime

app = typer.Typer(help="Policy: what must happen to each asset, and by when.", no_args_is_help=True)
File = Annotated[Path | None, typer.Argument(help="A policy file (default: the one in force).", show_default=False)]


@app.callback()
def root() -> None:
    """Policy: what must happen to each asset, and by when."""


@app.command()
def show(
    as_shipped: Annotated[bool, typer.Option("--shipped", help="The one that comes with Expunge.")] = False,
) -> None:
    """Print the policy in force, to read or to begin one's own with."""
    path = None if as_shipped else installation().settings.policy_file
    load_policy(path)
    typer.echo(path.read_text() if path else shipped(), nl=False)


@app.command()
def check(file: File = None, json_output: Json = False) -> None:
    """Check a policy; what is wrong is said with line and key (exit status 2)."""
    path = file or installation().settings.policy_file
    policy = load_policy(path)
    if json_output:
        print_json({"file": str(path or SHIPPED), "name": policy.name, "digest": policy.digest})
        return
    console.print(
        f"{safe(path or SHIPPED)}: policy [bold]{safe(policy.name)}[/bold] is in order, digest {policy.digest}",
        highlight=False,
        soft_wrap=True,
    )
    rows = (policy.dispositions, policy.stages, policy.clocks, policy.guard, policy.rates, policy.refusals)
    names = ("dispositions", "stages", "clocks", "thresholds", "rates", "refusals")
    sizes = ", ".join(f"{len(part)} {name}" for name, part in zip(names, rows, strict=True))
    console.print(sizes, style="dim")


@app.command()
def explain(
    kind: Annotated[Kind, typer.Option(help="Of the asset.")],
    scope: Annotated[
        str, typer.Option(help=f"What the request is about: {', '.join(each.replace('_', '-') for each in About)}.")
    ],
    regime: Annotated[Regime | None, typer.Option(help="Of the request.")] = None,
    category: Annotated[str | None, typer.Option(help="Of the asset.")] = None,
    basis: Annotated[Basis | None, typer.Option(help="With --scope purpose: which other purpose is left.")] = None,
    sources: Annotated[Sources | None, typer.Option(help="With --scope data-source: which the asset states.")] = None,
    shared: Annotated[bool | None, typer.Option("--shared/--sole", help="Whose data is in it.")] = None,
    holding: Annotated[bool | None, typer.Option("--holding/--asset", help="Who finds the data.")] = None,
    named: Annotated[bool | None, typer.Option("--named/--derived", help="With --scope asset.")] = None,
    jurisdiction: Annotated[str | None, typer.Option(help="Of the request, for its time zone.")] = None,
    file: Annotated[Path | None, typer.Option(help="A policy file (default: the one in force).")] = None,
    json_output: Json = False,
) -> None:
    """Say what would be done with an asset, and which rule says so; what is not said stays open."""
    policy = load_policy(file or installation().settings.policy_file)
    given = Given(_about(scope), kind, regime, category, basis, sources, holding, named, shared)
    found = possible(policy, given)
    dates = deadlines(policy, regime, jurisdiction, SystemClock().now()) if regime else None
    if json_output:
        print_json({"rules": [_rule(policy, each, kind) for each in found], "clock": _dates(dates)})
        return
    rows = [
        (
            "; ".join(each.conditions) or ("in any case" if len(found) == 1 else "otherwise"),
            _then(each.rule),
            each.rule.id,
            _stage(policy, kind, each)["name"],
            each.rule.why,
        )
        for each in found
    ]
    columns = ("if", "then", "rule", "stage", "why")
    width = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    title = f"{kind.replace('_', ' ')}, request about a {scope.replace('-', ' ').replace('_', ' ')}"
    title += f", {regime}" if regime else ""
    print_table(columns[:width], [row[:width] for row in rows], title=title)
    if dates:
        for name, value in _dates(dates).items():
            console.print(f"{name.replace('_', ' ')}: {value}")


def _about(text: str) -> About:
    try:
        return About(text.replace("-", "_"))
    except ValueError:
        words = ", ".join(each.replace("_", "-") for each in About)
        raise typer.BadParameter(f"{text!r} is none of {words}", param_hint="--scope") from None


def _then(rule: DispositionRule) -> str:
    """What a rule asks for, and when, in words."""
    said = rule.then.replace("_", " ")
    waits = [f"{rule.defer_days} days"] if rule.defer_days else []
    waits += [f"at its {rule.defer_until}"] if rule.defer_until else []
    kept = next((f"{n} {unit}" for unit, n in rule.keep.model_dump().items() if n), "") if rule.keep else ""
    return (
        (f"{rule.first}, then " if rule.first else "")
        + said
        + (f" after {' or '.join(waits)}" if waits else "")
        + (f", kept for {kept} ({rule.legal_basis})" if kept else "")
    )


def _stage(policy: Policy, kind: Kind, found: Possible) -> dict[str, Any]:
    holding = found.rule.when.holding is True
    stage = policy.stages[stage_of(policy.stages, kind, found.rule.then, holding=holding) - 1]
    return {"name": stage.name, "share": stage.share}


def _rule(policy: Policy, found: Possible, kind: Kind) -> dict[str, Any]:
    return {
        "if": list(found.conditions),
        "then": found.rule.then,
        "first": found.rule.first,
        "defer_days": found.rule.defer_days,
        "defer_until": found.rule.defer_until,
        "keep": found.rule.keep.model_dump(exclude_defaults=True) if found.rule.keep else None,
        "legal_basis": found.rule.legal_basis or None,
        "rule": found.rule.id,
        "stage": _stage(policy, kind, found),
        "why": found.rule.why,
    }


def _dates(dates: Deadlines | None) -> dict[str, str]:
    """The dates of a request that is received now."""
    if dates is None:
        return {}
    named: dict[str, datetime | None] = {
        "acknowledge_by": dates.acknowledge,
        "due": dates.due,
        "extendable_to": dates.extended,
    }
    return {"clock": dates.clock} | {name: at.isoformat(timespec="minutes") for name, at in named.items() if at}
