"""`expunge sweep`: what forgotten cases have left on topics is taken away."""

from __future__ import annotations

from dataclasses import asdict

import structlog

from expunge import preflight
from expunge.adapters.redis.sweeps import RedisSweeps
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli import rotating
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.rebuild import progress_bars, records_on
from expunge.errors import ExpungeError
from expunge.sweep.sweep import Sweep, Swept, Tell

TOPICS = ("plans", "assets", "suppressions")

log = structlog.get_logger()


def sweep(json_output: Json = False) -> None:
    """Take off topics that are kept for ever what forgotten cases have left there; Kafka then compacts it away.

    `expunge run` without --role does so once a day. Where roles run apart, have this run as often: it needs the secret,
    Kafka and Redis, may be interrupted, and may run beside anything.
    """
    expunge = installation()
    preflight.refuse_wrong_topics(expunge)
    preflight.refuse_other_secret(expunge)
    rotated = rotating.go_on(expunge.settings, lambda: None)
    with progress_bars(quiet=json_output) as progress:
        bars = {topic: progress.add_task(topic, total=records_on(expunge, topic)) for topic in TOPICS}
        swept = passed(expunge, lambda topic, number: progress.advance(bars[topic], number))
    if json_output:
        print_json(asdict(swept))
        return
    if rotated.has_done_something:
        ends = "has ended" if rotated.is_over else "goes on: expunge keys rotate"
        console.print(f"the rotation of the secret that was under way {ends}")
    console.print(f"{swept.parts:>12,} parts of forgotten cases taken off `plans`")
    console.print(f"{swept.statements:>12,} statements about what they had purged on `assets` name keys now")
    console.print(f"{swept.suppressions:>12,} suppressions that policy has let end are lifted")
    console.print(f"{swept.young:>12,} parts left for a later pass: their cases were forgotten less than a day ago")


def passed(expunge: Installation, tell: Tell) -> Swept:
    """What one pass over this installation's topics has taken away."""
    where, now = (expunge.cases, expunge.index, expunge.topics, expunge.sender, expunge.keys), SystemClock().now()
    swept = Sweep(expunge.since, expunge.topics, *where, now, tell).run()
    RedisSweeps(expunge.server).ended(now)
    return swept


def daily(expunge: Installation) -> bool:
    """A pass in a process of its own; whether it came to its end. What goes wrong is logged."""
    try:
        preflight.refuse_other_secret(expunge)
        rotating.go_on(expunge.settings, lambda: None)
        swept = passed(expunge, lambda *_: None)
        log.info("swept", **asdict(swept))
        expunge.close()
    except ExpungeError as error:
        log.warning("not swept; it is tried again in some minutes", reason=str(error))
        return False
    return True
