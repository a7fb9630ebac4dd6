"""`expunge acknowledge-loss`: a role goes on behind what is gone, and the ledger says who let it."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from expunge.adapters.redis.losses import RedisLosses
from expunge.adapters.system import SystemClock
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.words import refuse_unless_declared
from expunge.errors import ConfigurationError
from expunge.ports.logs import Word

ROLE = "decide"
"""What an operator must be declared for."""
PATIENCE = 10.0
MOST_REASON = 500


def acknowledge_loss(
    topic: Annotated[str, typer.Argument(help="The topic, with or without the deployment's prefix.")],
    partition: Annotated[int, typer.Argument(min=0, help="Its partition.")],
    operator: Annotated[str, typer.Option(help="Who says so: declared in [[operators]] with the role decide.")],
    reason: Annotated[str, typer.Option(help="What happened, without personal data: it stays in the ledger.")],
    json_output: Json = False,
) -> None:
    """Let a role go on behind a part of a topic that is gone.

    Where records have expired before they were read, or a log ends before what was read, its role stands still there:
    what was in them is lost, unless whoever published it does so again. `expunge doctor` lists such places. The role
    hears of this within a second; that it went on, behind which offsets, and who let it, is a fact on the ledger.
    """
    expunge = installation()
    refuse_unless_declared(expunge, operator, ROLE)
    place = (topic.removeprefix(expunge.settings.prefix), partition)
    losses, clock = RedisLosses(expunge.server), SystemClock()
    known = losses.known().get(place)
    if known is None:
        raise ConfigurationError(f"nothing is known to be lost of {place[0]} partition {partition}: see expunge doctor")
    if not reason.strip():
        raise ConfigurationError("a reason is needed: whoever reads the ledger asks why")
    word = Word(operator, reason.strip()[:MOST_REASON], known.lost.since, known.lost.until)
    losses.acknowledge(place, word)
    until, waiter = clock.seconds() + PATIENCE, threading.Event()
    while (waits := place in losses.known()) and clock.seconds() < until:
        waiter.wait(0.2)
    if json_output:
        print_json({"topic": place[0], "partition": partition, "lost": str(known), "goes_on": not waits})
    elif waits:
        console.print(f"noted: {known.role} goes on behind it ({known}) once it runs")
    else:
        console.print(f"{known.role} goes on behind it ({known}); the ledger says so")
