"""`expunge report`: pages for people, from certificates and from the published log."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.adapters import files
from expunge.adapters.system import SystemClock
from expunge.cli.case.found import all_cases
from expunge.cli.certificate import ids_of
from expunge.cli.common import NO, Json, console, installation, print_json, print_table, say_error
from expunge.cli.logs import events
from expunge.cli.verify import files_of, place_of, read, refuse_unless_key
from expunge.domain.evidence import verify
from expunge.domain.evidence.order import Openings, Reconciled, order, reconcile
from expunge.domain.evidence.period import Requests, ccpa_metrics, requests
from expunge.domain.evidence.period import period as counted
from expunge.errors import ConfigurationError
from expunge.report.drop import DELETED, EXEMPTED, NOT_FOUND, rows
from expunge.report.page import page
from expunge.report.paper import paper
from expunge.report.period import period_page

app = typer.Typer(help="Reports for people, made from certificates and the published log.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Reports for people, made from certificates and the published log."""


class DropList(StrEnum):
    """The lists that DROP has, as its files are called."""

    EMAIL = "Email"
    PHONE = "Phone"
    MAID = "MAID"
    CTVID = "CTVID"
    NDZ = "NDZ"
    NAME_VIN = "NameVIN"


Certificate = Annotated[Path, typer.Argument(help="A certificate: its file, or the directory it lies in.")]
Key = Annotated[str, typer.Option(help="The public key of the log (`expunge certificate key`).")]
To = Annotated[Path | None, typer.Option(help="The page: a new file that stands alone, .html or .pdf.")]


@app.command()
def case(
    certificate: Certificate,
    key: Key,
    to: To = None,
    json_output: Json = False,
) -> None:
    """Write what a certificate says as one page with figures, as HTML or PDF, or print it as JSON.

    The certificate is checked first: nothing is made of one that does not hold. It needs no server.
    """
    if to is None and not json_output:
        raise ConfigurationError("name a file for the page (--to report.html or report.pdf), or print it (--json)")
    if to is not None:
        refuse_unless_new(to)
    said, name, _ = _held(certificate, key)
    if json_output:
        print_json(said)
    if to is not None:
        _write(to, page(said, key, name), _ended(said), quiet=json_output)


@app.command("order")
def order_report(
    certificate: Certificate,
    key: Key,
    to: To = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="The order's own list: the id of an asset in each line.")
    ] = None,
    openings: Annotated[
        Path | None, typer.Option(help="What opens the commitments of those (`expunge certificate openings`).")
    ] = None,
    never_registered: Annotated[
        Path | None, typer.Option(help="Write the ids of the list that were never registered into a new file.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Write what an order came to: provision by provision, against its own list, with a draft declaration.

    The certificate is checked first, as `expunge verify` does. It needs no server.
    """
    for file in (each for each in (to, never_registered) if each is not None):
        refuse_unless_new(file)
    if to is None and not json_output:
        raise ConfigurationError("name a file for the page (--to order.pdf), or print figures (--json)")
    if (listed is None) != (openings is None):
        raise ConfigurationError(
            "--list and --openings belong together: expunge certificate openings CASE --list FILE > openings.jsonl"
        )
    if never_registered is not None and listed is None:
        raise ConfigurationError("--never-registered is about a list: name it with --list")
    said, name, place = _held(certificate, key)
    found = _reconciled(listed, openings, place, said["predicate"]["case"]["id"]) if listed and openings else None
    made = order(said["predicate"], name, found[0] if found else None)
    if found and never_registered is not None:
        files.write(never_registered, "".join(f"{each}\n" for each in found[1]).encode())
    if json_output:
        print_json(made.model_dump(mode="json"))
    if to is not None:
        _write(to, page(said, key, name, made), _ended(said), quiet=json_output)


def _held(certificate: Path, key: str) -> tuple[dict[str, Any], str, Path]:
    """What a certificate states, what it is called, and where it lies.

    Raises:
        typer.Exit: it does not hold.
    """
    place = place_of(certificate)
    envelope = read(place)
    steps = verify.verify(files_of(place, envelope, key))
    if not all(step.passed for step in steps):
        worst = next(step for step in steps if not step.passed)
        say_error(f"the certificate does not hold, or not all of it is there ({worst.name}): expunge verify says more")
        raise typer.Exit(NO)
    payload = verify.payload(envelope)
    said: dict[str, Any] = json.loads(payload)
    return said, hashlib.sha256(payload).hexdigest(), place


def _reconciled(listed: Path, openings: Path, place: Path, case: str) -> tuple[Reconciled, list[str]]:
    """Hold a list against a certificate.

    Raises:
        ConfigurationError: the openings are of another case, or lack one; or the certificate commits to no assets.
    """
    try:
        with (place.parent / "obligations.jsonl").open() as lines, openings.open() as opened:
            known: dict[str, bytes] = {}
            for each in map(Openings.model_validate_json, opened):
                if each.case_id != case:
                    raise ConfigurationError(f"{openings} is of the case {each.case_id}, and the certificate of {case}")
                known[each.asset] = bytes.fromhex(each.opening)
            commitments = [json.loads(each).get("asset", "") for each in lines]
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{openings} is not what `expunge certificate openings` prints") from None
    if not all(commitments):
        text = "this certificate was made after the case was forgotten: nobody can say any more which assets these were"
        raise ConfigurationError(f"{text}; hold the list against an earlier one")
    try:
        return reconcile(ids_of(listed), known, commitments)
    except ValueError:
        again = f"expunge certificate openings {case} --list {listed}"
        raise ConfigurationError(f"{listed} lists what these openings do not open: {again}") from None


def refuse_unless_new(to: Path) -> None:
    """See that a page can be written.

    Raises:
        ConfigurationError: something is there already.
    """
    if to.exists():
        raise ConfigurationError(f"{to} is there already: name a new file")


def _ended(said: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(said["predicate"]["case"]["ended_at"])


def _write(to: Path, html: str, moment: datetime, *, quiet: bool = False) -> None:
    """A page as its name says."""
    files.write(to, paper(html, moment) if to.suffix.lower() == ".pdf" else html.encode())
    if not quiet:
        console.print(f"{to.absolute()}", soft_wrap=True)


Log = Annotated[
    list[Path],
    typer.Option(
        help="The published log: the directory with `checkpoint`. Of logs that follow each other, all in order."
    ),
]


@app.command()
def period(
    log: Log,
    key: Key,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day (UTC).")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day after it.")],
    to: To = None,
    json_output: Json = False,
) -> None:
    """Count what was asked in a span of time, how long it took, and what came of it: as a page, or with --json.

    It reads the published log alone, all of which must be there as its checkpoint says. It needs no server.
    """
    if until <= since:
        raise ConfigurationError("--until is the first day after the span, and lies behind --since")
    if to is None and not json_output:
        raise ConfigurationError("name a file for the page (--to report.html), or print figures (--json)")
    if to is not None:
        refuse_unless_new(to)
    notes: list[str] = []
    logged = _requests(log, key, until.date(), notes)
    if logged.at < since.replace(tzinfo=UTC).timestamp():
        raise ConfigurationError("the log ends before that span begins: there is nothing to be counted")
    said = counted(logged, since.date(), until.date())
    if json_output:
        print_json(said.model_dump(mode="json"))
    if to is not None:
        as_of = datetime.fromisoformat(said.as_of)
        _write(to, period_page(said, key, notes), as_of, quiet=json_output)


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
    lines = [
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
    print_table((f"requests to delete, {year}", ""), lines)
    console.print("to correct, to know, to opt out, to limit: not known here", style="dim")


@app.command("drop-status")
def drop_status(
    batch: Annotated[str, typer.Option(help="What the download was called: `batch` of its requests.")],
    broker: Annotated[str, typer.Option(help="The data broker's id, as DROP gives it.")],
    data_type: Annotated[DropList, typer.Option("--type", help="The list that was downloaded.")],
    to: Annotated[Path, typer.Option(help="The directory into which the file is written.")] = Path(),
    json_output: Json = False,
) -> None:
    """Write the file in which a data broker tells California's DROP what became of each row of a download.

    Rows are requests under `drop`, with the row's Id as `request_id`. Exit status 1 while rows are held, because
    nothing that DROP has a status for is true of them yet. It reads Redis.
    """
    if not to.is_dir():
        raise ConfigurationError(f"{to} is no directory: name one that is there with --to")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", broker):
        raise ConfigurationError("--broker is the id that DROP gives: letters, digits and -")
    found = rows(all_cases(installation()), batch)
    if not (found.said or found.held or found.taken_back):
        raise ConfigurationError(f"no request under `drop` names the batch {batch!r}, or they are forgotten")
    today = SystemClock().now().strftime("%Y%m%d")
    file = to / f"{today}_{broker}_{data_type.value}.csv"
    refuse_unless_new(file)
    files.write(file, found.csv().encode())
    counts = Counter(found.said.values())
    if json_output:
        said = {"file": str(file.absolute()), "deleted": counts[DELETED], "exempted": counts[EXEMPTED]}
        said |= {"not_found": counts[NOT_FOUND], "taken_back": len(found.taken_back), "held": found.held}
        print_json(said)
    else:
        console.print(f"{file.absolute()}", soft_wrap=True)
        console.print(f"{counts[DELETED]:,} deleted, {counts[EXEMPTED]:,} exempted, {counts[NOT_FOUND]:,} not found")
        if found.taken_back:
            console.print(f"{len(found.taken_back):,} were taken back: no answer is due")
        if found.held:
            print_table(("held", "why"), sorted(found.held.items()), title="Not in the file yet")
    if found.held:
        raise typer.Exit(NO)


def _requests(log: Sequence[Path], key: str, until: date, notes: list[str]) -> Requests:
    refuse_unless_key(key)
    try:
        return requests(events(log, key, notes), until)
    except verify.UNFIT as error:
        raise ConfigurationError(
            f"the log holds a fact of another form than this version knows ({type(error).__name__})"
        ) from None
