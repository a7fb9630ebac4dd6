"""`expunge rebuild`: Redis from what lies on topics."""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from expunge import preflight
from expunge.adapters.redis.covered import IndexCovered
from expunge.adapters.redis.server import buckets_for
from expunge.adapters.redis.survey import Survey
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.common import Json, console, installation, print_json, quiet_console
from expunge.cli.shares import spread
from expunge.errors import Unavailable
from expunge.rebuild.rebuild import Into, Rebuild

STEPS = {
    "plans": "plans",
    "ledger": "facts",
    "assets": "statements",
    "cases": "told to cases",
}
"""Topic -> what its records are called here."""
AGAIN_SECONDS = 1.0
CORES = min(os.cpu_count() or 1, 8)


def rebuild(
    checksum: Annotated[
        bool, typer.Option("--checksum/--no-checksum", help="Read all of it once more, as `expunge index check` does.")
    ] = True,
    processes: Annotated[
        int, typer.Option(min=1, help="How many write statements at once; no more than `assets` has partitions.")
    ] = CORES,
    json_output: Json = False,
) -> None:
    """Write an empty Redis anew from Kafka: the index, its marks, cases, and all that stands.

    Roles may go on running: they wait, and go on when it is done, each case as if nothing had happened. Interrupted,
    it goes on where it was; while Redis or Kafka is away it waits. The number of buckets follows from
    redis.expected_assets, so another cut of the index, or a move to another Redis, is a rebuild, too.
    """
    expunge = installation()
    preflight.refuse_wrong_topics(expunge)
    expunge.server.compares = True
    began = SystemClock().seconds()
    counted = _run(expunge, processes, quiet=json_output)
    took = SystemClock().seconds() - began
    systems = {system.name for system in expunge.settings.systems}
    found = Survey(expunge.server, expunge.index, systems).check(examples=0).checksum if checksum else ""
    expunge.server.end_rebuild()  # behind the checksum: from here on roles write
    if json_output:
        print_json({"seconds": round(took, 1), "read": counted, "checksum": found or None})
        return
    for topic, number in counted.items():
        console.print(f"{number:>12,} {STEPS[topic]}")
    console.print(f"rebuilt in [bold]{took:,.1f} s[/bold]; roles that wait go on now")
    if found:
        console.print(f"checksum [bold]{found}[/bold]")


def _run(expunge: Installation, processes: int, *, quiet: bool) -> dict[str, int]:
    """All steps, with what was read of each topic; while a server is away it waits, and goes on from where it was."""
    counted = dict.fromkeys(STEPS, 0)
    buckets = buckets_for(expunge.settings.redis.expected_assets)
    waits = ""
    with _progress(quiet=quiet) as progress:
        bars = {topic: progress.add_task(STEPS[topic], total=_size(expunge, topic)) for topic in STEPS}

        def tell(topic: str, number: int) -> None:
            counted[topic] += number
            progress.update(bars[topic], completed=counted[topic])

        while True:
            try:
                if expunge.server.begin_rebuild(buckets, expunge.keys.check):
                    quiet_console.print("a rebuild was begun here before: going on with it")
                into = Into(expunge.index, expunge.cases, expunge.policies, IndexCovered(expunge.server))
                more = (into, expunge.door, expunge.topics, expunge.sender, tell)
                others = partial(spread, expunge, processes, tell) if processes > 1 else None
                Rebuild(expunge.since, expunge.topics, *more, others).run()
            except Unavailable as error:
                if str(error) != waits:
                    waits = str(error)
                    quiet_console.print(f"waiting: {waits}", markup=False, soft_wrap=True)
                expunge.server.accept()  # whatever it holds: how far that reaches stands there, too
                threading.Event().wait(AGAIN_SECONDS)
            else:
                return counted


def _size(expunge: Installation, topic: str) -> int | None:
    """How many records lie on a topic, about; None: that follows from the others."""
    if topic == "cases":
        return None
    places = [(topic, partition) for partition in range(expunge.topics.partitions(topic))]
    return sum(log.end - log.first for log in expunge.topics.logs(places).values())


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=quiet or not sys.stdout.isatty(), transient=True)
