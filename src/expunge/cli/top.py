"""`expunge top`: what goes on in a deployment, on one live screen."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Annotated, Any

import typer
from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from expunge.adapters.system import SystemClock, end_on_signals
from expunge.cli.common import (
    Json,
    console,
    installation,
    print_json,
    quiet_console,
    status_text,
    to_the_second,
    visible,
)
from expunge.cli.looking import Lookout
from expunge.domain.events import stamp
from expunge.errors import Changed, Unavailable
from expunge.overview.alarms import age_of, alarms_of
from expunge.overview.gauges import samples
from expunge.overview.state import Overview


def top(
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    json_output: Json = False,
) -> None:
    """Show cases, systems, roles and alarms, again and again, until Ctrl-C. Nothing is written.

    Without a terminal, or with --once or --json, it looks once. See also `expunge monitor`, for Prometheus.
    """
    lookout, clock = Lookout(installation()), SystemClock()
    try:
        if json_output:
            print_json(_as_json(lookout.look(clock.now())))
        elif once or not console.is_terminal:
            console.print(screen(lookout.look(clock.now())))
        else:
            _live(lookout, clock, every)
    finally:
        lookout.close()


def _live(lookout: Lookout, clock: SystemClock, every: float) -> None:
    stop = threading.Event()
    end_on_signals(stop)
    seen = lookout.look(clock.now())
    with Live(screen(seen), console=console, screen=True, auto_refresh=False) as live:
        while not stop.wait(every):
            try:
                seen = lookout.look(clock.now())
                live.update(screen(seen), refresh=True)
            except (Unavailable, Changed) as error:
                lookout.begin_anew()
                live.update(screen(seen, away=str(error)), refresh=True)
    quiet_console.print("ended; nothing was changed", style="dim")


def screen(seen: Overview, away: str = "") -> RenderableType:
    """The whole screen.

    Args:
        seen: what was seen last.
        away: why nothing newer could be seen; empty: it could.
    """
    head = Text.assemble(("expunge ", "bold"), to_the_second(stamp(seen.at)), " UTC")
    if away:
        head.append(f"   nothing newer: {visible(away)}", style="red")
    alarms = [Text(f"! {visible(each)}", style="red") for each in alarms_of(seen)] or [Text("no alarms", style="green")]
    side = Columns([_cases(seen), _due(seen)], padding=(0, 4))
    return Group(head, Text(), *alarms, Text(), side, Text(), _systems(seen), Text(), _roles(seen))


def _table(title: str, *columns: str) -> Table:
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title, title_justify="left", title_style="bold", **look)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    return table


def _cases(seen: Overview) -> Table:
    table = _table("Live cases", "state", "cases")
    counted: Counter[str] = Counter()
    for (status, _), number in seen.cases.items():
        counted[status.value] += number
    for state, number in counted.most_common():
        table.add_row(status_text(state), f"{number:,}")
    table.add_row("all", f"{sum(counted.values()):,}", style="bold")
    return table


def _due(seen: Overview) -> Table:
    table = _table("Due", "", "cases")
    for days, number in seen.due_within.items():
        table.add_row(f"within {days} day{'s' if days > 1 else ''}", f"{number:,}")
    table.add_row("overdue", f"{seen.overdue:,}", style="red" if seen.overdue else "")
    table.add_row("holds in force", f"{seen.holds:,}")
    table.add_row("commands out", f"{seen.out:,}")
    return table


def _systems(seen: Overview) -> Table:
    table = _table("Systems", "system", "open", "cases", "oldest", "registered")
    for each in seen.systems:
        row = (
            f"{each.open:,}",
            f"{each.cases:,}",
            age_of(each.oldest_seconds) if each.cases else "",
            f"{each.assets:,}",
        )
        table.add_row(Text(visible(each.system)), *row)
    return table


def _roles(seen: Overview) -> Table:
    table = _table("Roles that are behind", "role", "topic", "unread", "oldest", "until retention")
    behind = [each for each in seen.behind if each.unread]
    for each in behind:
        oldest = "?" if each.oldest_seconds is None else age_of(each.oldest_seconds)
        left = "" if each.left_seconds is None else age_of(each.left_seconds)
        table.add_row(each.role, Text(visible(each.topic)), f"{each.unread:,}", oldest, left)
    if not behind:
        table.add_row("none", "", "", "", "")
    return table


def _as_json(seen: Overview) -> dict[str, Any]:
    """What monitors get, as one document."""
    found: dict[str, Any] = {"at": stamp(seen.at), "alarms": list(alarms_of(seen)), "pauses": list(seen.pauses)}
    for name, values in samples(seen).items():
        if name != "looked_at_seconds":
            found[name] = {"/".join(labels): value for labels, value in values} if _has_labels(values) else values[0][1]
    return found


def _has_labels(values: list[tuple[tuple[str, ...], float]]) -> bool:
    return not values or bool(values[0][0])
