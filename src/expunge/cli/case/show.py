"""`expunge case show`: one case, what was answered, and why it is not done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from expunge import queries
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.case.found import due, find, kept, kind, line
from expunge.cli.case.spoken import Spoken, forgotten_before, spoken
from expunge.cli.case.thaw import frozen_line
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
from expunge.domain.aggregates.case import confirm
from expunge.domain.aggregates.case.chunks import ChunkState, Phase
from expunge.domain.aggregates.case.forgetting import covers
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.events import stamp
from expunge.domain.evidence.sentences import looked
from expunge.domain.partition import partition_of
from expunge.domain.vocabulary import OVER
from expunge.errors import Unavailable
from expunge.wire.cases.words import HoldKind, Pause


def show(
    case_id: Annotated[str, typer.Argument(help="The case, or its request's id.")], json_output: Json = False
) -> None:
    """Show one case: its plan, what was answered, and why it is not done."""
    expunge = installation()
    case = find(expunge, case_id)
    words = _spoken(expunge, case)
    body = line(case) | confirm.body(case, outcome=confirm.outcome_of(case))
    if json_output:
        hidden = {"announced", "answered", "pending"}
        state = {
            "generations": [each.model_dump(mode="json", exclude=hidden) for each in case.generations],
            "waits_for_index": case.awaits_index,
            "kept_by_holds": _keeping(expunge, case),
            "kept_back": _kept_back(expunge, case),
            "probe": case.probe.model_dump(mode="json", exclude={"seed", "after", "passed"}) if case.probe else None,
            "probes_due": [stamp(each.at) for each in case.probes_due],
            "said": [_said(word) for word in words] if words is not None else None,
        }
        print_json(body | state)
        return
    _print_head(expunge, case)
    print_table(*claims_table(body["counts"]), empty="nothing was found", title="Claims by kind")
    if case.status not in OVER and not case.dry_run and (rows := _under_way(expunge, case)):
        columns = ("stage", "system", "kind", "action", "left", "because", "told", "again at")
        print_table(columns, rows, title="Waits for")
    _print_words(expunge, case, words or [])
    missing = "Not done" if case.status in OVER else "Open"
    for title, key in (("Deferred", "deferrals"), (missing, "failures")):
        said = [field for field in LINE if any(each.get(field) for each in body[key])]
        if said:
            print_table(said, [tuple(each.get(field, "") for field in said) for each in body[key]], title=title)


def _print_head(expunge: Installation, case: Case) -> None:
    console.print(f"case [bold]{case.case_id}[/bold] ({kind(case)}, {case.regime})")
    console.print("state", status_text(case.status.value))
    console.print(
        f"request {safe(case.request_id) or '(forgotten)'} from {safe(case.publisher)}, "
        f"received {stamp(case.received_at)}, due {due(case)}"
    )
    if until := kept(case):
        held = f", and as long as these holds stand: {', '.join(holds)}" if (holds := _keeping(expunge, case)) else ""
        console.print(f"what names people and assets: {until}{safe(held)}")
    for said in _probed(case):
        console.print(said)
    if case.probing is not None and (away := _no_prober(expunge, case)):
        console.print(f"nobody answers for {safe(', '.join(away))}: expunge agent probe {away[0]}", style="yellow")
    for generation in case.generations:
        plan = generation.plan_digest or "being resolved"
        console.print(f"plan {generation.number}: {generation.obligations:,} obligations, digest {plan}")
    for why in _kept_back(expunge, case):
        console.print(Text(visible(why), style="yellow"))
    if case.awaits_index:
        console.print("waits until the indexers have applied what was registered before the request")


def _probed(case: Case) -> list[str]:
    """What the last probe has found so far, and when there is another."""
    lines = []
    if (probe := case.probe) is not None:
        said = probe.model_dump() | {"ended_at": probe.is_over, "sample": probe.sample or None}
        until = "" if probe.is_over else f", waited for until {to_the_minute(stamp(probe.ends_at))}"
        lines.append(f"probe {probe.number}: {looked(said)}{until}")
    if case.probes_due:
        days = ", ".join(stamp(each.at)[:10] for each in case.probes_due)
        lines.append(f"looked into again on {days}")
    return lines


def _keeping(expunge: Installation, case: Case) -> list[str]:
    """The holds that keep the record of a case, whatever its age."""
    reader = expunge.cases.reader(partition_of(case.case_id, expunge.settings.kafka.partitions))
    standing = reader.standing
    root, key = queries.root(expunge, case.case_id), expunge.keys.asset
    if case.is_forgotten:
        return []
    on_assets = {each.hold_id: each.scope.value for each in standing.active if each.scope.kind is HoldKind.ASSET}
    targets = _targets(reader, case, key) if on_assets else set()
    found = [each.hold_id for each in standing.active if covers(each, case, root, expunge.keys)]
    return found + [hold for hold, value in on_assets.items() if value in targets and hold not in found]


def _targets(reader: CaseReader, case: Case, key: Callable[[str], bytes]) -> set[str]:
    """The keys of all that a case has planned, as holds have them."""
    digests = (digest for each in case.generations for digest in reader.digests(case.case_id, each.number))
    return {key(asset).hex() for digest in digests for asset in reader.body(case.case_id, digest).assets}


def _print_words(expunge: Installation, case: Case, words: Sequence[Spoken]) -> None:
    if words:
        rows = [(to_the_minute(stamp(w.at)), w.who, w.what, w.why, "yes" if w.heard else "no") for w in words]
        print_table(("when", "who", "what", "why", "heard"), rows, title="Said by operators")
    if gone := forgotten_before(expunge, case, SystemClock().now()):
        said = f"words from before {to_the_minute(stamp(gone))} are on the ledger only, for `controls` lets them go"
        console.print(said, style="dim")


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


def _no_prober(expunge: Installation, case: Case) -> list[str]:
    """Systems that are asked about and that nobody looks into now; none where Kafka cannot be asked."""
    asked = sorted({line.system for line, _ in case.counts})
    probed = [each for each in asked if (system := expunge.settings.registry().system(each)) and system.is_probed]
    try:
        return [each for each in probed if not expunge.probers(each)]
    except Unavailable:
        return []


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
    for chunk in queries.chunks(expunge, case.case_id):
        if chunk.commandable and (chunk.open or chunk.deferred):
            summary = chunk.summary
            key = (summary.system, summary.kind.value, chunk.action.value.replace("_", " "), summary.stage, chunk.phase)
            lines[key].append(chunk)
    told = {system for system, _, _, _, phase in lines if phase in WITH_SYSTEM}
    away = _silent(expunge, told)
    rows: list[tuple[object, ...]] = []
    for (system, what, action, stage, phase), chunks in sorted(lines.items(), key=lambda line: line[0][3]):
        left = sum(chunk.open + chunk.deferred for chunk in chunks)
        tries, next_at = (
            max(each.tries for each in chunks),
            min((each.next_at for each in chunks if each.next_at), default=None),
        )
        when = to_the_minute(stamp(next_at)) if next_at else ""
        because = WORDS[phase] + ("; no agent in its group" if phase in WITH_SYSTEM and system in away else "")
        rows.append((stage, system, what.replace("_", " "), action, left, because, tries or "", when))
    return rows


def _said(word: Spoken) -> dict[str, Any]:
    return {"at": stamp(word.at), "operator": word.who, "word": word.what, "reason": word.why, "heard": word.heard}


def _kept_back(expunge: Installation, case: Case) -> list[str]:
    """What keeps a case from going on: what froze it, and what operators have said."""
    frozen = queries.frozen(expunge, case.case_id)
    waits = [f"{frozen_line(frozen)}: expunge case thaw {case.case_id} --operator NAME"] if frozen else []
    return waits + ([] if case.status in OVER else _held_up(expunge, case))


def _held_up(expunge: Installation, case: Case) -> list[str]:
    if case.cancelling:
        return [f"being cancelled: systems hold {case.out} commands that they have not let go of"]
    standing = expunge.cases.reader(partition_of(case.case_id, expunge.settings.kafka.partitions)).standing
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
