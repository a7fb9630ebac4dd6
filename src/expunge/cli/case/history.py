"""`expunge case history`: what happened in a case, as sentences."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from expunge.bootstrap import Installation
from expunge.cli.case.found import find
from expunge.cli.common import Json, console, installation, print_json, print_table, quiet_console, to_the_minute
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case
from expunge.domain.events import AHEAD_AT_MOST, stamp
from expunge.domain.partition import partition_of
from expunge.report.history import told
from expunge.roles.certifying import facts_in


def history(
    case_id: Annotated[str, typer.Argument(help="The case, or its request's id.")], json_output: Json = False
) -> None:
    """Tell a case as sentences with times (UTC), from its facts on the ledger.

    Of what a message says only who, how much and when is told: no person, and no asset.
    """
    expunge = installation()
    case = find(expunge, case_id)
    facts = list(_facts(expunge, case))
    if len(facts) < case.sequence:
        text = f"{case.sequence - len(facts):,} of {case.sequence:,} facts are not on the ledger as it lies there"
        quiet_console.print(text, style="yellow")
    sentences = list(told(facts))
    if json_output:
        for each in sentences:
            print_json({"at": stamp(each.at), "text": each.text, "facts": each.facts})
        return
    day, rows = "", list[tuple[str, str, str]]()
    for each in sentences:
        date, time = to_the_minute(stamp(each.at)).split(" ")
        rows.append((date if date != day else "", time, each.text))
        day = date
    print_table(("day", "time", "what happened"), rows, empty="the ledger holds no fact of it")
    console.print(f"{len(facts):,} facts; `expunge case show {case.case_id}` says what is left", style="dim")


def _facts(expunge: Installation, case: Case) -> Iterator[tuple[datetime, CaseFact]]:
    """The facts of a case, each once, in order."""
    partition = partition_of(case.case_id, expunge.topics.partitions("ledger"))
    found: dict[int, tuple[datetime, CaseFact]] = {}
    for record in expunge.since("ledger", case.opened_at - AHEAD_AT_MOST, [partition]):
        if record.key != case.case_id.encode():
            continue
        with suppress(ValueError):  # what cannot be read there is the notary's to find
            for each in facts_in(record.value or b"", case.case_id, sys.maxsize):
                found.setdefault(each.sequence, (each.at, each.fact))
    yield from (found[number] for number in sorted(found))
