"""`expunge rebuild`: Redis from what lies on topics."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from expunge import preflight
from expunge.adapters.redis.rebuilding import Rebuilding
from expunge.adapters.redis.server import buckets_for
from expunge.adapters.redis.survey import Survey
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli import rotating, shares
from expunge.cli.common import Json, console, installation, print_json, quiet_console
from expunge.domain.identity import ROTATION
from expunge.errors import ConfigurationError, Unavailable
from expunge.rebuild.rebuild import refuse_another_secret

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
        int | None, typer.Option(min=1, help="How many write statements at once; as many as there are cores.")
    ] = None,
    forget_holds_and_pauses: Annotated[
        bool, typer.Option("--forget-holds-and-pauses", help="Also where nobody has kept those, as 0.1 did not.")
    ] = False,
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
    steps = _Steps(expunge, processes or CORES, checksum=checksum, quiet=json_output, forgets=forget_holds_and_pauses)
    steps.run()
    took = SystemClock().seconds() - began
    if json_output:
        print_json({"seconds": round(took, 1), "read": steps.counted, "checksum": steps.checksum or None})
        return
    for topic, number in steps.counted.items():
        console.print(f"{number:>12,} {STEPS[topic]}")
    console.print(f"rebuilt in [bold]{took:,.1f} s[/bold]; roles that wait go on by themselves")
    if steps.checksum:
        console.print(f"checksum [bold]{steps.checksum}[/bold]")


class _Steps:
    """All of it; while a server is away it waits, and goes on from where it was."""

    def __init__(self, expunge: Installation, processes: int, *, checksum: bool, quiet: bool, forgets: bool) -> None:
        self._expunge, self._processes, self._quiet = expunge, processes, quiet
        self._summed, self._forgets = checksum, forgets
        self._rebuilding = Rebuilding(expunge.server)
        self.counted = dict.fromkeys(STEPS, 0)
        """Topic -> what was read of it."""
        self.checksum = ""

    def run(self) -> None:
        """Until it is done."""
        waits = ""
        with progress_bars(quiet=self._quiet) as progress:
            bars = {topic: progress.add_task(STEPS[topic], total=None) for topic in STEPS}
            while True:
                try:
                    for topic, bar in bars.items():
                        progress.update(bar, total=_size(self._expunge, topic))
                    self._once(lambda topic: progress.update(bars[topic], completed=self.counted[topic]))
                except Unavailable as error:
                    if error.server in {"", ROTATION}:
                        raise ConfigurationError(str(error)) from None
                    if str(error) != waits:
                        waits = str(error)
                        quiet_console.print(f"waiting: {waits}", markup=False, soft_wrap=True)
                    threading.Event().wait(AGAIN_SECONDS)
                else:
                    return

    def _once(self, show: Callable[[str], None]) -> None:
        expunge = self._expunge
        expunge.server.accept()  # whatever it holds: how far that reaches stands there, too

        def tell(topic: str, number: int) -> None:
            if topic in STEPS:
                self.counted[topic] += number
                show(topic)

        refuse_another_secret(expunge.since, expunge.keys)
        newest = max(1, rotating.secrets_said(expunge))
        check, buckets = expunge.keys.checks[newest - 1], buckets_for(expunge.settings.redis.expected_assets)
        if self._rebuilding.begin(buckets, check, newest):
            if self._rebuilding.has_ended:
                return
            self.counted = dict.fromkeys(STEPS, 0)  # what was read before a wait is not read again
            quiet_console.print("a rebuild was begun here before: going on with it")
        number, epoch = self._processes, self._rebuilding.epoch
        others = partial(shares.spread, expunge, epoch, number, tell) if number > 1 else None
        shares.of(expunge, expunge.since, tell, spread=others, forgets=self._forgets).run()
        if self._summed:
            systems = {system.name for system in expunge.settings.systems}
            self.checksum = Survey(expunge.server, expunge.index, systems).check(examples=0).checksum
        expunge.server.look()
        if expunge.server.is_another:
            raise Unavailable("Redis is another one, or was started anew", server="Redis")
        self._rebuilding.end()  # behind the checksum: from here on roles write


def _size(expunge: Installation, topic: str) -> int | None:
    """How many records a step reads, about; None: that follows from the others."""
    return None if topic == "cases" else records_on(expunge, topic)


def records_on(expunge: Installation, topic: str) -> int:
    """How many records lie on a topic, about."""
    places = [(topic, partition) for partition in range(expunge.topics.partitions(topic))]
    return sum(log.end - log.first for log in expunge.topics.logs(places).values())


def progress_bars(*, quiet: bool) -> Progress:
    """Bars on a terminal, and nothing elsewhere."""
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=quiet or not sys.stdout.isatty(), transient=True)
