"""`expunge subject show -`: what is still held about a person, where, why, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.case.found import kept
from expunge.cli.common import Json, console, installation, print_json, print_table
from expunge.cli.lineage import brief
from expunge.cli.person import person
from expunge.domain.aggregates.suppression import EVERYTHING
from expunge.domain.lineage.marks import MarkState
from expunge.domain.scope import SHARDS, Group, GroupKind
from expunge.domain.topics import DAY_MS, FOR_EVER, SEGMENT_MS, Topic
from expunge.wire.form import Identity

app = typer.Typer(help="What is held about a person.", no_args_is_help=True)
SHOWN = 100
"""So many assets are listed for people; --json has all."""


@app.callback()
def root() -> None:
    """What is held about a person."""


@app.command()
def show(
    subject: Annotated[str, typer.Argument(help="- to read NAMESPACE:ID from standard input.")],
    json_output: Json = False,
) -> None:
    """Show everything that is still held about a person: assets, cases, suppressions, and topics with their retention.

    The answer to "what do you still have on me", as far as Expunge knows it: what systems hold that nobody has
    registered is not in it.
    """
    expunge = installation()
    found = held(expunge, *person(expunge, subject, "subject show"))
    if json_output:
        print_json(found)
    else:
        _print(found)


def held(expunge: Installation, who: Identity, names: Sequence[bytes]) -> dict[str, Any]:
    """What is held about a person, who has these names in the index, as JSON."""
    groups = [Group(GroupKind.SUBJECT, each) for each in names]
    keys = sorted({key for group in groups for key in expunge.index.members(group, range(SHARDS))})
    assets, forgotten = [], 0
    for row, marks in zip(expunge.index.rows(keys), expunge.index.marks(keys), strict=True):
        if row is not None and row.is_forgotten:
            forgotten += 1
        elif row is not None:
            purged = any(mark.state is MarkState.GONE for mark in marks)
            assets.append(brief(row) | {"purged": purged})
    cases = sorted(queries.cases_about(expunge, names))
    return {
        "assets": assets,
        "forgotten_assets": forgotten,
        "cases": [each for case_id in cases if (each := _case(expunge, case_id)) is not None],
        "suppressions": list(_suppressions(expunge, who)),
        "topics": list(_topics(expunge)),
    }


def _case(expunge: Installation, case_id: str) -> dict[str, Any] | None:
    case, opened = queries.case(expunge, case_id), queries.root(expunge, case_id)
    if case is None or opened is None:
        return None
    return {
        "case_id": case_id,
        "request_id": opened.request_id,
        "publisher": opened.publisher,
        "status": case.status.value,
        "received_at": opened.received_at.isoformat(),
        "sealed_to": sorted({seal.system for seal in opened.seals}),
        "kept": kept(case) or "open",
    }


def _suppressions(expunge: Installation, who: Identity) -> Iterator[dict[str, Any]]:
    """What must not be collected again; only while somebody's word stands."""
    for key in expunge.door.suppressions([who]):
        known = queries.suppression(expunge, key)
        for entry in known.entries if known else ():
            purpose = "every purpose" if entry.purpose == EVERYTHING else entry.purpose
            collected = datetime.fromtimestamp(entry.until, UTC).isoformat() if entry.until else ""
            since = datetime.fromtimestamp(entry.since_ms / 1000, UTC).isoformat()
            ends = datetime.fromtimestamp(entry.ends_ms / 1000, UTC).isoformat() if entry.ends_ms else ""
            yield {"purpose": purpose, "since": since, "collected_until": collected, "ends": ends}


def _topics(expunge: Installation) -> Iterator[dict[str, str]]:
    for topic in expunge.settings.topics():
        if topic.holds:
            yield {"topic": expunge.settings.prefix + topic.name, "may_hold": topic.holds, "until": _until(topic)}


def _until(topic: Topic) -> str:
    if topic.name in {"plans", "assets"}:
        return "the case is forgotten, the topic swept, and Kafka has compacted it"
    if topic.cleanup == "compact":
        return "replaced by a later word; else for ever"
    days = (topic.retention_ms + SEGMENT_MS) // DAY_MS + 1
    return "for ever" if topic.retention_ms == FOR_EVER else f"up to {days} days after it was said"


def _print(found: dict[str, Any]) -> None:
    assets, cases = found["assets"], found["cases"]
    more = f" (the first {SHOWN} of {len(assets)}; --json lists all)" if len(assets) > SHOWN else ""
    print_table(
        ("asset", "kind", "system", "state"),
        [
            (
                each["asset"],
                ", ".join(each["kinds"]),
                ", ".join(each["systems"]),
                "purged" if each["purged"] else "held",
            )
            for each in assets[:SHOWN]
        ],
        empty="the index knows no asset that names this person",
        title=f"Assets that name this person{more}",
    )
    if number := found["forgotten_assets"]:
        console.print(f"{number:,} purged assets that named this person are known by their keys alone")
    print_table(
        ("case", "request", "publisher", "status", "received", "ids sealed to", "record"),
        [
            (
                each["case_id"],
                each["request_id"] or "-",
                each["publisher"],
                each["status"],
                each["received_at"][:10],
                ", ".join(each["sealed_to"]) or "nobody",
                each["kept"],
            )
            for each in cases
        ],
        empty="no case is about this person",
        title="Cases about this person; a hold keeps them longer",
    )
    print_table(
        ("purpose", "since", "for data collected before", "until"),
        [
            (
                each["purpose"],
                each["since"][:10],
                each["collected_until"][:10] or "ever",
                each["ends"][:10] or "lifted",
            )
            for each in found["suppressions"]
        ],
        empty="nothing is suppressed",
        title="What must not be collected again",
    )
    print_table(
        ("topic", "may hold", "until"),
        [(each["topic"], each["may_hold"], each["until"]) for each in found["topics"]],
        title="Where else something may lie",
    )
    console.print()
    console.print(
        "Of a forgotten case pseudonyms, keyed digests of its assets, counts and dates stay: they catch what comes "
        "back. Ids of purged assets go when every case that purged them is forgotten, at the next `expunge sweep`; "
        "suppressions stay until they are lifted, or end by policy."
    )
