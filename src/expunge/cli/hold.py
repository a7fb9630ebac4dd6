"""`expunge hold place|release|list`: what must be kept, whatever requests say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.case.found import case_to_name
from expunge.cli.common import Json, console, identity, installation, moment_of, print_json, print_table, quiet_console
from expunge.cli.words import Operator, Wait, await_word, say_word, standing
from expunge.domain.aggregates.standing.state import Standing, hold_word
from expunge.domain.events import stamp
from expunge.errors import ConfigurationError, ExpungeError
from expunge.wire.cases.words import Hold, HoldKind

app = typer.Typer(help="Holds: what must be kept, whatever requests say.", no_args_is_help=True)

HoldId = Annotated[str, typer.Argument(help="The id of the hold, as you number it: it is used once.")]


@app.callback()
def root() -> None:
    """Holds: what must be kept, whatever requests say."""


@app.command()
def place(
    hold_id: HoldId,
    operator: Operator,
    basis: Annotated[str, typer.Option(help="Its legal basis.")],
    custodian: Annotated[str, typer.Option(help="Who answers for it.")],
    subject: Annotated[str | None, typer.Option(help="A person, NS:ID; - reads it from input.")] = None,
    data_source: Annotated[str | None, typer.Option(help="A data source.")] = None,
    asset: Annotated[str | None, typer.Option(help="An asset.")] = None,
    system: Annotated[str | None, typer.Option(help="Everything in a system.")] = None,
    case: Annotated[str | None, typer.Option(help="Everything in a case.")] = None,
    review_by: Annotated[
        datetime | None, typer.Option(help="Reported as overdue after this day; never lifted by itself.")
    ] = None,
    wait: Wait = 60,
    json_output: Json = False,
) -> None:
    """Keep a person, a data source, an asset, a system or a case. What it does not cover goes on.

    Commands that are with systems and touch it are withdrawn. Exit status 1: it was said, and is not in force yet.
    """
    given = {"data_source": data_source, "asset": asset, "system": system, "case_id": case}
    scope: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if subject is not None:
        scope["subject"] = identity(subject)
    if len(scope) != 1:
        raise ConfigurationError("name exactly one of --subject, --data-source, --asset, --system, --case")
    expunge = installation()
    if "case_id" in scope:
        scope["case_id"] = case_to_name(expunge, scope["case_id"])
    data: dict[str, Any] = {"hold_id": hold_id, "scope": scope, "basis": basis, "custodian": custodian}
    if review_by is not None:
        data["review_by"] = stamp(moment_of(review_by, "--review-by"))
    word = say_word(expunge, "expunge.hold.placed.v1", hold_id, operator, "hold", data)

    def heard(standing: Standing) -> bool:
        known = standing.holds.get(hold_id)  # an id is used for one hold only: under this one may stand another
        return known is not None and (known.word == word.name or (not known.word and word.before(known.placed_at)))

    if "asset" in scope:
        _say_if_unknown(expunge, scope["asset"])
    await_word(expunge, word, hold_word(hold_id), heard, wait, as_json=json_output)


def _say_if_unknown(expunge: Installation, asset: str) -> None:
    """A hold on what is not there yet is right, and a hold on what is misspelt keeps nothing."""
    try:
        known = expunge.index.rows([expunge.keys.asset(asset)])[0] is not None
    except ExpungeError:
        return
    if not known:
        quiet_console.print("that asset is not in the index: the hold covers it once it is registered", style="yellow")


@app.command()
def release(
    hold_id: HoldId,
    operator: Operator,
    reason: Annotated[str | None, typer.Option(help="Why; it stands on the topic of controls.")] = None,
    wait: Wait = 60,
    json_output: Json = False,
) -> None:
    """End a hold: exactly what it alone covered is carried out now."""
    expunge = installation()
    in_vain = f"hold {hold_id} had ended before, as far as is known" if _has_ended(expunge, hold_id) else ""
    data = {"hold_id": hold_id} | ({"reason": reason} if reason else {})
    word = say_word(expunge, "expunge.hold.released.v1", hold_id, operator, "hold", data)

    def heard(standing: Standing) -> bool:
        known = standing.release_of(hold_id)
        return known is not None and (known.word == word.name or word.before(known.at))

    await_word(expunge, word, hold_word(hold_id), heard, wait, as_json=json_output, in_vain=in_vain)


def _has_ended(expunge: Installation, hold_id: str) -> bool:
    """Whether every partition has heard its end, as far as is known."""
    try:
        return all(each.release_of(hold_id) is not None for each in standing(expunge))
    except ExpungeError:
        return False


@app.command("list")
def list_holds(
    released: Annotated[bool, typer.Option("--released", help="Those that have ended, too.")] = False,
    json_output: Json = False,
) -> None:
    """List holds; those past their review first."""
    found = standing(installation())
    holds = {name: hold for each in found for name, hold in each.holds.items()}
    now = SystemClock().now()
    rows = [_line(hold, found, now) for _, hold in sorted(holds.items())]
    rows = [row for row in rows if released or row["state"] != "released"]
    rows.sort(key=lambda row: (not row["review_overdue"], row["placed_at"]))
    if json_output:
        for row in rows:
            print_json(row)
        return
    columns = ("hold", "covers", "basis", "custodian", "placed", "review by", "state")
    print_table(columns, [_cells(row) for row in rows], empty="no holds")
    late = sum(row["review_overdue"] for row in rows)
    if late:
        console.print(f"{late} past their review: they hold until somebody releases them", style="yellow")


def _line(hold: Hold, found: list[Standing], now: datetime) -> dict[str, Any]:
    word, ended = hold_word(hold.hold_id), any(each.release_of(hold.hold_id) for each in found)
    taken = all(hold.hold_id in each.holds and each.in_force(word) for each in found)
    overdue = hold.review_by is not None and hold.review_by <= now and not ended
    named = hold.scope.kind in {HoldKind.DATA_SOURCE, HoldKind.SYSTEM, HoldKind.CASE}
    return {
        "hold_id": hold.hold_id,
        "kind": hold.scope.kind.value,
        "value": hold.scope.value if named else None,
        "basis": hold.basis,
        "custodian": hold.custodian,
        "placed_at": stamp(hold.placed_at),
        "review_by": stamp(hold.review_by) if hold.review_by else None,
        "review_overdue": overdue,
        "state": "released" if ended else "in force" if taken else "taking effect",
        "cases_unsettled": sum(each.unsettled.get(word, 0) for each in found),
    }


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    review = Text((row["review_by"] or "")[:10], style="red" if row["review_overdue"] else "")
    covers = f"{row['kind'].replace('_', ' ')} {row['value'] or ''}".strip()
    return row["hold_id"], covers, row["basis"], row["custodian"], row["placed_at"][:10], review, row["state"]
