"""Cases as people name them, and a line of what is known of each."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.common import NO, quiet_console, say_error
from expunge.domain.aggregates.case import confirm
from expunge.domain.aggregates.case.forgetting import may_be_forgotten, time_of
from expunge.domain.aggregates.case.state import Case
from expunge.domain.events import stamp
from expunge.domain.vocabulary import CLOSED
from expunge.errors import ExpungeError

CaseId = Annotated[str, typer.Argument(help="The case.")]


def find(expunge: Installation, name: str) -> Case:
    """A case by its id, or by that of its request; or an error for people."""
    case = queries.case(expunge, name)
    if case is not None:
        return case
    found = list(
        {each.case_id: each for each in _of_request(expunge, name) + _forgotten_request(expunge, name)}.values()
    )
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{each.case_id} (from {each.publisher})" for each in found)
        say_error(f"{name} is the id of {len(found)} requests: name the case, {several}")
    else:
        say_error(f"no case and no request {name}: `expunge case list` shows those that exist")
    raise typer.Exit(NO)


def _of_request(expunge: Installation, request_id: str) -> list[Case]:
    partitions = range(expunge.settings.kafka.partitions)
    return [each for p in partitions for each in expunge.cases.listed(p) if each.request_id == request_id]


def _forgotten_request(expunge: Installation, request_id: str) -> list[Case]:
    """Cases of a request that do not say so any more: their ids follow from it, and from who has made it."""
    ids = [expunge.keys.case(each.source, request_id) for each in expunge.settings.publishers]
    return [case for case_id in ids if (case := queries.case(expunge, case_id)) is not None]


def case_to_name(expunge: Installation, name: str) -> str:
    """The id of a case, or of a request's case, for a word about it.

    A case may not be open yet, or Redis be away: an id of a case is taken as it is, with a warning.
    """
    if re.fullmatch(r"[0-9a-f]{32}", name) is None:
        return find(expunge, name).case_id
    try:
        if queries.case(expunge, name) is not None:
            return name
        found = bool(_of_request(expunge, name))
    except ExpungeError:
        quiet_console.print(
            f"whether there is a case {name} cannot be seen now: it is said for that id", style="yellow"
        )
        return name
    if found:
        return find(expunge, name).case_id
    quiet_console.print(f"no case {name} is known yet: it is said for when there is", style="yellow")
    return name


def all_cases(expunge: Installation) -> list[Case]:
    """Every case, oldest first."""
    found = [case for p in range(expunge.settings.kafka.partitions) for case in expunge.cases.listed(p)]
    return sorted(found, key=lambda case: (case.received_at, case.case_id))


def kind(case: Case) -> str:
    """What it is about, and whether nothing is carried out."""
    return f"{case.scope.value}, dry run" if case.dry_run else case.scope.value


def due(case: Case) -> str:
    """Its due date, and whether that has passed."""
    day = case.due_at.date().isoformat()
    return f"{day} overdue" if case.overdue and case.status not in CLOSED else day


def kept(case: Case) -> str:
    """Until when what names people and assets in it is kept, or since when it is not; empty while it goes on."""
    if case.is_forgotten and case.forgotten_at is not None:
        return f"forgotten on {case.forgotten_at.date().isoformat()}"
    until = time_of(case)
    if until is not None:
        return f"kept until {until.date().isoformat()}"
    return "kept until it is forgotten by word" if may_be_forgotten(case) else ""  # it ended before there was a period


def line(case: Case) -> dict[str, Any]:
    """What is said of it by `--json`."""
    return {
        "case_id": case.case_id,
        "request_id": case.request_id,
        "scope": case.scope.value,
        "status": case.status.value,
        "publisher": case.publisher,
        "regime": case.regime.value,
        "received_at": stamp(case.received_at),
        "due_at": case.due_at.isoformat(timespec="seconds"),
        "clock": case.clock,
        "dry_run": case.dry_run,
        "kept_until": stamp(until) if (until := time_of(case)) else None,
        "forgotten_at": stamp(case.forgotten_at) if case.forgotten_at else None,
        "counts": confirm.counts(case),
    }
