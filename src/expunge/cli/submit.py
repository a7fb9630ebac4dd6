"""`expunge submit`: publish a request, and wait for its confirmations if asked to."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from expunge import preflight
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import (
    NO,
    console,
    identities,
    installation,
    moment_of,
    print_json,
    say_error,
    status_text,
    visible,
)
from expunge.cli.signing import key_file, signer_of
from expunge.client import Client
from expunge.domain.admission.requests import JURISDICTIONS
from expunge.domain.registry import Publisher
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import Regime
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.wire import inlets
from expunge.wire.form import Identity
from expunge.wire.requests import LIFT as LIFTED
from expunge.wire.requests import REQUESTS, RestrictionLifted

FINAL = ("completed", "completed_with_deferrals", "partially_completed", "refused", "cancelled")


LIFT = "lift"
Kind = StrEnum("Kind", [*((kind.name, kind.value) for kind in ScopeKind), ("LIFT", LIFT)])  # type: ignore[misc]
"""What is asked for: every kind of request, and that a restriction be lifted, which opens no case."""
TYPES = {kind.value: event_type for event_type, (kind, _) in REQUESTS.items()} | {LIFT: LIFTED}
MODELS = {kind.value: model for kind, model in REQUESTS.values()} | {LIFT: RestrictionLifted}
NAMED = ("subjects", "data_sources", "assets", "purposes")
"""Fields by which requests say what they are about; each is an option."""


def submit(
    kind: Annotated[Kind, typer.Argument(help="What is asked for.")],
    subject: Annotated[
        list[str] | None, typer.Option(help="- to read the person's ids from standard input, NAMESPACE:ID a line.")
    ] = None,
    data_source: Annotated[list[str] | None, typer.Option(help="A data source to withdraw.")] = None,
    asset: Annotated[list[str] | None, typer.Option(help="An asset to withdraw.")] = None,
    purpose: Annotated[list[str] | None, typer.Option(help="A purpose that is revoked.")] = None,
    publisher: Annotated[
        str | None, typer.Option(help="Speak as this declared publisher (default: the first).")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="The request's own id (default: a new one).")] = None,
    received_at: Annotated[
        str | None, typer.Option(help="When the person asked: 2026-11-23, or a time with its zone (default: now).")
    ] = None,
    regime: Annotated[Regime | None, typer.Option(help="The law (default: the publisher's).")] = None,
    jurisdiction: Annotated[
        str | None, typer.Option(help="Where the person is, which says the law: DE, GB, US-CA.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose customer the person is.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan, say what would be done, and stop.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the final confirmation.")] = False,
    timeout: Annotated[float, typer.Option(help="With --wait: seconds after which to give up (exit status 1).")] = 300,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Publish a request for erasure, revocation, withdrawal of a source, or withdrawal of assets.

    All ids are one person's: name all that you know.
    """
    expunge = installation()
    preflight.refuse_other_secret(expunge)
    speaker = _publisher(expunge, publisher)
    data = _data(kind, subject or [], data_source or [], asset or [], purpose or [])
    if tenant:
        data["subjects"] = [person | {"tenant": tenant} for person in data.get("subjects", ())]
    now = SystemClock().now()
    about: dict[str, Any] = {"request_id": request_id or f"cli-{uuid.uuid4()}", "regime": regime}
    about |= {"jurisdiction": jurisdiction, "dry_run": dry_run, "received_at": _moment(received_at, now)}
    if kind == LIFT and wait:
        raise ConfigurationError("lift opens no case to wait for: `case show` of the case that restricted says lifted")
    case_id = publish(expunge, speaker, kind, data, about)
    if kind == LIFT:
        case_id = ""
    if json_output:
        print_json({"case_id": case_id or None, "request_id": about["request_id"]})
    else:
        case = (", case ", (case_id, "bold")) if case_id else (": it opens no case",)
        console.print(Text.assemble("request ", (visible(about["request_id"]), "bold"), *case))
    final = _wait(expunge, speaker, case_id, now, timeout, dry_run=dry_run, as_json=json_output) if wait else True
    if not final:
        raise typer.Exit(NO)


def _moment(text: str | None, now: datetime) -> datetime:
    """When somebody asked; a day alone is its beginning in UTC.

    Raises:
        ConfigurationError: it is no moment, or lies ahead.
    """
    if text is None:
        return now
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"--received-at {text!r} is no date: 2026-11-23, or 2026-11-23T09:00+01:00") from None
    moment = moment_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC), "--received-at")
    if moment > now:
        raise ConfigurationError(f"--received-at {text!r} lies ahead: a request counts from when it came")
    return moment


def _publisher(expunge: Installation, name: str | None) -> Publisher:
    publishers = expunge.settings.registry().publishers
    if not publishers:
        raise ConfigurationError("no [[publishers]] are declared: a request needs one to speak for")
    found = next((each for each in publishers if each.name == (name or publishers[0].name)), None)
    if found is None:
        raise ConfigurationError(f"publisher {name} is not declared; declared: {', '.join(p.name for p in publishers)}")
    return found


def _data(
    kind: Kind, subjects: list[str], sources: list[str], assets: list[str], purposes: list[str]
) -> dict[str, Any]:
    given = dict(zip(NAMED, (subjects, sources, assets, purposes), strict=True))
    fields = {field: given[field] for field in NAMED if field in MODELS[kind].model_fields}
    for field, values in fields.items():
        if not values:
            raise ConfigurationError(f"submit {kind} needs --{field.rstrip('s').replace('_', '-')}")
    for field, texts in given.items():
        if texts and field not in fields:
            raise ConfigurationError(f"submit {kind} takes no --{field.rstrip('s').replace('_', '-')}")
    return fields | ({"subjects": identities(subjects)} if subjects else {})


def publish(expunge: Installation, speaker: Publisher, kind: str, data: dict[str, Any], about: dict[str, Any]) -> str:
    """Publish a request as a declared publisher; the id of its case.

    Raises:
        ConfigurationError: it would be refused.
    """
    _refuse_what_the_door_would(expunge, data, about)
    kafka = expunge.settings.kafka
    prefix = expunge.settings.prefix
    if speaker.key:
        signer_of(expunge, speaker)  # refused here, it need not be refused there
    with Client(
        kafka.bootstrap_servers,
        speaker.source,
        prefix=prefix,
        options=kafka.options,
        client=kafka.client,
        signing_key=key_file(expunge, speaker) if speaker.key else None,
        publisher=speaker.name if speaker.own_topic else None,
    ) as client:
        try:
            request_id = client.request(TYPES[kind], data, **about)
        except InvalidMessage as error:
            raise ConfigurationError(f"that would be refused: {error}") from None
    return expunge.keys.case(speaker.source, request_id)


def _refuse_what_the_door_would(expunge: Installation, data: dict[str, Any], about: dict[str, Any]) -> None:
    """See that names are declared and ids of their form, before anybody is told that a request is on its way.

    Raises:
        ConfigurationError: they are not; what is declared.
    """
    registry = expunge.settings.registry()
    declared = {
        "namespace": [each.name for each in registry.namespaces],
        "purpose": list(registry.purposes),
        "data source": list(registry.data_sources),
    }
    try:
        for person in data.get("subjects", ()):
            expunge.door.pseudonyms(inlets.check(Identity, person))
        expunge.door.check_data_sources(data.get("data_sources", ()))
        for purpose in data.get("purposes", ()):
            if purpose not in registry.purposes:
                raise InvalidMessage("undeclared_purpose")
    except InvalidMessage as error:
        what = error.reason.removeprefix("undeclared_").replace("_", " ")
        known = f"; declared: {', '.join(declared[what]) or 'none'}" if what in declared else ""
        raise ConfigurationError(f"that would be refused: {error}{known}") from None
    jurisdiction = about.get("jurisdiction")
    if jurisdiction is not None and jurisdiction.upper() not in JURISDICTIONS:
        known = ", ".join(sorted(JURISDICTIONS))
        raise ConfigurationError(f"--jurisdiction {jurisdiction} is none whose law is known: one of {known}")


def _wait(
    expunge: Installation,
    speaker: Publisher,
    case_id: str,
    since: datetime,
    timeout: float,
    *,
    dry_run: bool,
    as_json: bool,
) -> bool:
    """Show confirmations until a final one; True if the case is completed (or planned, for a dry run)."""
    ends = ("planned",) if dry_run else FINAL
    for event in confirmations(expunge, speaker.name, since, timeout):
        if event is None or _case_of(expunge, speaker, event["data"]) != case_id:
            continue
        _show(event, as_json=as_json)
        milestone = event["type"].split(".")[2]
        if milestone in ends or milestone == "rejected":
            return milestone not in {"partially_completed", "refused", "cancelled", "rejected"}
    say_error(f"no final confirmation within {timeout:g} s; `expunge case show {case_id}` follows it")
    return False


def _case_of(expunge: Installation, speaker: Publisher, data: dict[str, Any]) -> str:
    """The case that a confirmation or a rejection is about."""
    known = data.get("case_id")
    return str(known) if known else expunge.keys.case(speaker.source, data.get("request_id") or "")


def _show(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(event)
        return
    milestone = event["type"].split(".")[2]
    data = event["data"]
    if milestone == "rejected":
        console.print(Text.assemble(("rejected", "red"), visible(f": {data['reason']} {data.get('where', '')}")))
        return
    counts = "; ".join(
        f"{kind}: " + ", ".join(f"{number} {claim}" for claim, number in claims.items())
        for kind, claims in data.get("counts", {}).items()
    )
    found = counts if counts or milestone not in FINAL else "nothing was found: is it spelled as it was registered?"
    console.print(Text.assemble(status_text(milestone), " ", found))


def confirmations(
    expunge: Installation, publisher: str, since: datetime, timeout: float, *, idle: bool = False
) -> Iterator[dict[str, Any] | None]:
    """Confirmations to a publisher since a moment, until the time is up; with `idle`, None where none came."""
    reader = expunge.reader([f"confirmations.{publisher}"], since - timedelta(seconds=5))
    clock = SystemClock()
    until = clock.seconds() + timeout
    try:
        while clock.seconds() < until:
            for record in reader.poll(0.2):
                yield json.loads(record.value or b"null")
            if idle:
                yield None
    finally:
        reader.close()
