"""`expunge case list|show`; plans and words about them are in `plan`, what was set aside is in `aside`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli import aside
from expunge.cli import plan as plans
from expunge.cli.common import (
    Json,
    console,
    installation,
    print_json,
    print_table,
    safe,
    say_error,
    status_text,
    to_the_minute,
    visible,
)
from expunge.cli.spoken import Spoken, spoken
from expunge.domain.case import confirm
from expunge.domain.case.chunks import ChunkState, Phase
from expunge.domain.case.state import Case
from expunge.domain.events import stamp
from expunge.domain.partition import partition_of
from expunge.domain.standing import Pause
from expunge.domain.vocabulary import CLOSED, OVER, Status
from expunge.errors import Unavailable

app = typer.Typer(help="Cases: requests being carried out.", no_args_is_help=True)
for command in (plans.plan, plans.approve, plans.reject, plans.extend, plans.cancel, plans.decide, aside.thaw):
    app.command()(command)


@app.callback()
def root() -> None:
    """Cases: requests being carried out."""


def all_cases(expunge: Installation) -> list[Case]:
    """Every case, oldest first."""
    found = [case for p in range(expunge.settings.kafka.partitions) for case in expunge.cases.listed(p)]
    return sorted(found, key=lambda case: (case.received_at, case.case_id))


@app.command("list")
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
    until = SystemClock().now() + _span(due_within) if due_within else None

    def wanted(case: Case) -> bool:
        near = until is None or (case.due_at <= until and case.status not in CLOSED)
        return near and status in (None, case.status) and (dry_runs or not case.dry_run)

    cases = [case for case in all_cases(installation()) if wanted(case)]
    if json_output:
        for case in cases:
            print_json(_line(case))
        return
    rows = [
        (case.case_id, case.request_id, _kind(case), status_text(case.status.value), *_numbers(case), _date(case))
        for case in cases
    ]
    columns = ("case", "request", "kind", "state", "size", "open", "due")
    print_table(columns, rows, empty="no cases")


UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _span(text: str) -> timedelta:
    number, unit = text[:-1], UNITS.get(text[-1:])
    if unit is None or not number.isdecimal():
        raise typer.BadParameter(f"{text!r} is no time: 36h, 7d, 2w", param_hint="--due-within")
    return timedelta(**{unit: int(number)})


def _numbers(case: Case) -> tuple[int, int]:
    return sum(number for _, number in case.counts), case.count(frozenset({"open", "failed"}))


def _kind(case: Case) -> str:
    return f"{case.scope.value}, dry run" if case.dry_run else case.scope.value


def _date(case: Case) -> str:
    day = case.due_at.date().isoformat()
    return f"{day} overdue" if case.overdue and case.status not in CLOSED else day


def _line(case: Case) -> dict[str, Any]:
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
        "counts": confirm.counts(case),
    }


@app.command()
def show(
    case_id: Annotated[str, typer.Argument(help="The case, or its request's id.")], json_output: Json = False
) -> None:
    """Show one case: its plan, and what was answered."""
    expunge = installation()
    case = plans.find(expunge, case_id)
    words = _spoken(expunge, case)
    body = _line(case) | confirm.body(case, outcome=confirm.outcome_of(case))
    if json_output:
        generations = [
            g.model_dump(mode="json", exclude={"announced", "answered", "pending"}) for g in case.generations
        ]
        print_json(
            body
            | {"generations": generations, "waits_for_index": case.awaits_index}
            | {
                "kept_back": _kept_back(expunge, case),
                "said": [_said(word) for word in words] if words is not None else None,
            }
        )
        return
    console.print(f"case [bold]{case.case_id}[/bold] ({_kind(case)}, {case.regime})")
    console.print("state", status_text(case.status.value))
    console.print(
        f"request {safe(case.request_id)} from {safe(case.publisher)}, "
        f"received {stamp(case.received_at)}, due {_date(case)}"
    )
    for generation in case.generations:
        plan = generation.plan_digest or "being resolved"
        console.print(f"plan {generation.number}: {generation.obligations} obligations, digest {plan}")
    for line in _kept_back(expunge, case):
        console.print(Text(visible(line), style="yellow"))
    if case.awaits_index:
        console.print("waits until the indexers have applied what was registered before the request")
    print_table(*claims_table(body["counts"]), empty="nothing was found", title="Claims by kind")
    if case.status not in OVER and not case.dry_run and (rows := _under_way(expunge, case)):
        print_table(
            ("stage", "system", "kind", "action", "left", "because", "told", "again at"), rows, title="Waits for"
        )
    if words:
        rows = [(to_the_minute(stamp(w.at)), w.who, w.what, w.why, "yes" if w.heard else "no") for w in words]
        print_table(("when", "who", "what", "why", "heard"), rows, title="Said by operators")
    missing = "Not done" if case.status in OVER else "Open"
    for title, key in (("Deferred", "deferrals"), (missing, "failures")):
        rows = [tuple(line.get(field, "") for field in LINE) for line in body[key]]
        if rows:
            print_table(LINE, rows, title=title)


def _spoken(expunge: Installation, case: Case) -> list[Spoken] | None:
    """What operators have said; None where Kafka, which keeps that, cannot be asked now."""
    try:
        return spoken(expunge, case)
    except Unavailable as error:
        say_error(f"what operators have said cannot be shown: {error}")
        return None


def _silent(expunge: Installation, systems: Collection[str]) -> set[str]:
    """The systems that no agent serves now; none where Kafka cannot be asked."""
    try:
        return {system for system in systems if not expunge.agents(system)}
    except Unavailable as error:
        say_error(f"whether agents run cannot be shown: {error}")
        return set()


WORDS = {
    Phase.WAITING: "its stage has not come",
    Phase.BARRED: "kept back by a word or a rate",
    Phase.PUT_OFF: "put off by policy",
    Phase.SENT: "with the system",
    Phase.RECALLED: "taken back, not let go of yet",
}


WITH_SYSTEM = frozenset({Phase.SENT, Phase.RECALLED})


def _under_way(expunge: Installation, case: Case) -> list[tuple[object, ...]]:
    """Why a case is not done: for whom it waits, in which stage, how often they were told, and when they are again."""
    lines: dict[tuple[str, str, str, int, Phase], list[ChunkState]] = defaultdict(list)
    for chunk in expunge.chunks(case.case_id):
        if chunk.commandable and (chunk.open or chunk.deferred):
            summary = chunk.summary
            key = (summary.system, summary.kind.value, chunk.action.value.replace("_", " "), summary.stage, chunk.phase)
            lines[key].append(chunk)
    told = {system for system, _, _, _, phase in lines if phase in WITH_SYSTEM}
    away = _silent(expunge, told)
    rows: list[tuple[object, ...]] = []
    for (system, kind, action, stage, phase), chunks in sorted(lines.items(), key=lambda line: line[0][3]):
        left = sum(chunk.open + chunk.deferred for chunk in chunks)
        tries, next_at = (
            max(each.tries for each in chunks),
            min((each.next_at for each in chunks if each.next_at), default=None),
        )
        when = to_the_minute(stamp(next_at)) if next_at else ""
        because = WORDS[phase] + ("; no agent in its group" if phase in WITH_SYSTEM and system in away else "")
        rows.append((stage, system, kind.replace("_", " "), action, left, because, tries or "", when))
    return rows


def _said(word: Spoken) -> dict[str, Any]:
    return {"at": stamp(word.at), "operator": word.who, "word": word.what, "reason": word.why, "heard": word.heard}


def _kept_back(expunge: Installation, case: Case) -> list[str]:
    """What keeps a case from going on: what froze it, and what operators have said."""
    frozen = expunge.frozen(case.case_id)
    waits = [f"{aside.frozen_line(frozen)}: expunge case thaw {case.case_id} --operator NAME"] if frozen else []
    return waits + ([] if case.status in OVER else _held_up(expunge, case))


def _held_up(expunge: Installation, case: Case) -> list[str]:
    if case.cancelling:
        return [f"being cancelled: systems hold {case.out} commands that they have not let go of"]
    standing = expunge.cases.standing(partition_of(case.case_id, expunge.settings.kafka.partitions))
    systems = sorted({line.system for line, _ in case.counts})
    paused = {word for system in systems for word in standing.pauses_of(case.publisher, system, case.case_id)}
    return [_paused(standing.pauses[word.removeprefix("pause:")]) for word in sorted(paused)]


def _paused(pause: Pause) -> str:
    return f"paused by {pause.operator} since {to_the_minute(stamp(pause.at))}: {pause.scope.replace(':', ' ')}"


LINE = ("system", "kind", "claim", "reason", "until", "count")


def claims_table(counts: dict[str, dict[str, int]]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Columns and rows of a table of claims by kind."""
    claims = sorted({claim for each in counts.values() for claim in each})
    rows: list[tuple[object, ...]] = [
        (kind.replace("_", " "), *(each.get(claim) or "" for claim in claims), sum(each.values()))
        for kind, each in counts.items()
    ]
    return ("kind", *(claim.replace("_", " ") for claim in claims), "all"), rows
