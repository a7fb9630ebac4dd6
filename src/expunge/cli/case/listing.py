"""`expunge case list`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from expunge.adapters.system import SystemClock
from expunge.cli.case.found import all_cases, due, kind, line
from expunge.cli.common import Json, installation, print_json, print_table, status_text
from expunge.domain.aggregates.case.state import Case
from expunge.domain.vocabulary import CLOSED, Status


def list_cases(
    status: Annotated[Status | None, typer.Option(help="Only cases in this state.")] = None,
    due_within: Annotated[
        str | None,
        typer.Option(help="Only open cases that are due within this time: 7d, 36h, 2w; what is overdue, too."),
    ] = None,
    dry_runs: Annotated[bool, typer.Option("--dry-runs", help="Dry runs, too, which carry out nothing.")] = False,
    json_output: Json = False,
) -> None:
    """List cases, oldest first."""
    until = _moment_in(due_within) if due_within else None

    def wanted(case: Case) -> bool:
        near = until is None or (case.due_at <= until and case.status not in CLOSED)
        return near and status in (None, case.status) and (dry_runs or not case.dry_run)

    cases = [case for case in all_cases(installation()) if wanted(case)]
    if json_output:
        for case in cases:
            print_json(line(case))
        return
    rows = [
        (case.case_id, case.request_id, kind(case), status_text(case.status.value), *_numbers(case), due(case))
        for case in cases
    ]
    columns = ("case", "request", "kind", "state", "size", "open", "due")
    print_table(columns, rows, empty="no cases")


UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _moment_in(text: str) -> datetime:
    try:
        return SystemClock().now() + _span(text)
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is longer than the calendar", param_hint="--due-within") from None


def _span(text: str) -> timedelta:
    number, unit = text[:-1], UNITS.get(text[-1:])
    if unit is None or not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is no time: 36h, 7d, 2w", param_hint="--due-within")
    return timedelta(**{unit: int(number)})


def _numbers(case: Case) -> tuple[int, int]:
    return sum(number for _, number in case.counts), case.count(frozenset({"open", "failed"}))
