"""`expunge case list`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from expunge import queries
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.case.found import all_cases, due, kind, line
from expunge.cli.common import Json, installation, print_json, print_table, status_text
from expunge.cli.person import person
from expunge.domain.aggregates.case.state import Case
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import CLOSED, UNDONE, Status
from expunge.errors import ConfigurationError


def list_cases(
    status: Annotated[Status | None, typer.Option(help="Only cases in this state.")] = None,
    due_within: Annotated[
        str | None,
        typer.Option(help="Only open cases that are due within this time: 7d, 36h, 2w; what is overdue, too."),
    ] = None,
    waits_for: Annotated[str, typer.Option(help="Only cases that are open for something in this system.")] = "",
    request_id: Annotated[str, typer.Option(help="Only the cases of this request.")] = "",
    data_source: Annotated[str, typer.Option(help="Only cases that withdraw this data source.")] = "",
    subject: Annotated[
        str, typer.Option(help="- to read one NAMESPACE:ID from standard input: only this person's cases.")
    ] = "",
    dry_runs: Annotated[bool, typer.Option("--dry-runs", help="Dry runs, too, which carry out nothing.")] = False,
    json_output: Json = False,
) -> None:
    """List cases, oldest first."""
    until = _moment_in(due_within) if due_within else None
    expunge = installation()
    if waits_for and expunge.settings.registry().system(waits_for) is None:
        raise ConfigurationError(f"no system {waits_for} is declared under [[systems]]")
    theirs = _of_person(expunge, subject) if subject else None

    def wanted(case: Case) -> bool:
        near = until is None or (case.due_at <= until and case.status not in CLOSED)
        mine = theirs is None or case.case_id in theirs
        asked = not request_id or case.request_id == request_id
        fits = near and mine and asked and status in (None, case.status) and (dry_runs or not case.dry_run)
        return fits and (not waits_for or _is_open_in(case, waits_for)) and _withdraws(expunge, case, data_source)

    cases = [case for case in all_cases(expunge) if wanted(case)]
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


def _is_open_in(case: Case, system: str) -> bool:
    return any(number and line.system == system and line.claim in UNDONE for line, number in case.counts)


def _withdraws(expunge: Installation, case: Case, data_source: str) -> bool:
    """Whether a case was opened for a data source; without one, any is."""
    if not data_source:
        return True
    root = queries.root(expunge, case.case_id) if case.scope is ScopeKind.WITHDRAWAL else None
    return root is not None and data_source in root.scope.data_sources


def _of_person(expunge: Installation, subject: str) -> set[str]:
    """The cases that were opened about a person, under any name that follows from the one that is read.

    Raises:
        ConfigurationError: it was not to be read from standard input, or is no identity here.
    """
    _, names = person(expunge, subject, "--subject")
    return queries.cases_about(expunge, names)


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
