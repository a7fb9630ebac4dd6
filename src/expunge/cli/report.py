"""`expunge report`: pages for people, from certificates and from the published log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from expunge.adapters import files
from expunge.cli.common import NO, Json, console, print_json, print_table, say_error
from expunge.cli.logs import events
from expunge.cli.verify import files_of, place_of, read, refuse_unless_key
from expunge.domain.evidence import verify
from expunge.domain.evidence.period import Requests, ccpa_metrics, requests
from expunge.domain.evidence.period import period as counted
from expunge.errors import ConfigurationError
from expunge.report.page import page
from expunge.report.period import period_page

app = typer.Typer(help="Reports for people, made from certificates and the published log.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Reports for people, made from certificates and the published log."""


@app.command()
def case(
    certificate: Annotated[Path, typer.Argument(help="A certificate: its file, or the directory it lies in.")],
    key: Annotated[str, typer.Option(help="The public key of the log (`expunge certificate key`).")],
    to: Annotated[Path, typer.Option(help="The page: a new file that stands alone.")],
) -> None:
    """Write what a certificate says as one HTML page with figures, which prints well.

    The certificate is checked first: no page is made of one that does not hold. It needs no server.
    """
    if to.exists():
        raise ConfigurationError(f"{to} is there already: name a new file")
    place = place_of(certificate)
    envelope = read(place)
    steps = verify.verify(files_of(place, envelope, key))
    if not all(step.passed for step in steps):
        worst = next(step for step in steps if not step.passed)
        say_error(f"the certificate does not hold, or not all of it is there ({worst.name}): expunge verify says more")
        raise typer.Exit(NO)
    payload = verify.payload(envelope)
    text = page(json.loads(payload), key, hashlib.sha256(payload).hexdigest())
    files.write(to, text.encode())
    console.print(f"{to.absolute()}", soft_wrap=True)


Log = Annotated[
    list[Path],
    typer.Option(
        help="The published log: the directory with `checkpoint`. Of logs that follow each other, all in order."
    ),
]
Key = Annotated[str, typer.Option(help="The public key of the log (`expunge certificate key`).")]


@app.command()
def period(
    log: Log,
    key: Key,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day (UTC).")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day after it.")],
    to: Annotated[Path | None, typer.Option(help="The page: a new file that stands alone.")] = None,
    json_output: Json = False,
) -> None:
    """Count what was asked in a span of time, how long it took, and what came of it: as a page, or with --json.

    It reads the published log alone, all of which must be there as its checkpoint says. It needs no server.
    """
    if until <= since:
        raise ConfigurationError("--until is the first day after the span, and lies behind --since")
    if to is None and not json_output:
        raise ConfigurationError("name a file for the page (--to report.html), or print figures (--json)")
    if to is not None and to.exists():
        raise ConfigurationError(f"{to} is there already: name a new file")
    notes: list[str] = []
    logged = _requests(log, key, until.date(), notes)
    if logged.at < since.replace(tzinfo=UTC).timestamp():
        raise ConfigurationError("the log ends before that span begins: there is nothing to be counted")
    said = counted(logged, since.date(), until.date())
    if json_output:
        print_json(said.model_dump(mode="json"))
    if to is not None:
        files.write(to, period_page(said, key, notes).encode())
        if not json_output:
            console.print(f"{to.absolute()}", soft_wrap=True)


@app.command("ccpa-metrics")
def metrics(
    log: Log,
    key: Key,
    year: Annotated[int, typer.Option(min=2020, max=9998, help="The calendar year.")],
    json_output: Json = False,
) -> None:
    """Count the requests to delete of a year, as 11 CCR 7102(a)(1) has them, out of the published log.

    What other systems answer (to correct, to know, to opt out, to limit) is not known here, and null.
    """
    said = ccpa_metrics(_requests(log, key, date(year + 1, 1, 1), []), year)
    if json_output:
        print_json(said.model_dump(mode="json"))
        return
    deletes = said.requests_to_delete
    rows = [
        ("received", deletes.received),
        ("complied with in whole or in part", deletes.complied_in_whole_or_in_part),
        ("answered that all of it stays for now", deletes.put_off),
        ("answered that nothing was found", deletes.nothing_found),
        ("denied", deletes.denied),
        ("taken back, or overtaken by a consent", deletes.taken_back),
        (f"not answered by the end of {year}", deletes.pending),
        ("median days to the answer", deletes.median_days if deletes.median_days is not None else "none"),
        ("mean days to the answer", deletes.mean_days if deletes.mean_days is not None else "none"),
    ]
    print_table((f"requests to delete, {year}", ""), rows)
    console.print("to correct, to know, to opt out, to limit: not known here", style="dim")


def _requests(log: Sequence[Path], key: str, until: date, notes: list[str]) -> Requests:
    refuse_unless_key(key)
    try:
        return requests(events(log, key, notes), until)
    except verify.UNFIT as error:
        raise ConfigurationError(
            f"the log holds a fact of another form than this version knows ({type(error).__name__})"
        ) from None
