"""Statements are written by several processes at once, each with partitions of its own: a rebuild's one long part."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any

from expunge.adapters.redis.covered import IndexCovered
from expunge.bootstrap import Installation
from expunge.cli.common import installation
from expunge.errors import Unavailable
from expunge.rebuild.rebuild import Into, Rebuild, Tell

AWAY = 75
"""A server was away (EX_TEMPFAIL): whoever asks again goes on."""
LOOK_SECONDS = 0.5


def spread(expunge: Installation, processes: int, tell: Tell) -> None:
    """Write all statements.

    Raises:
        Unavailable: a server is away. What was written is known by then.
    """
    partitions = range(expunge.topics.partitions("assets"))
    shares = [share for number in range(processes) if (share := list(partitions)[number::processes])]
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    others = [context.Process(target=_write, args=(share, told, os.getpid()), daemon=True) for share in shares]
    for each in others:
        each.start()
    away = _heard(others, told, tell)
    for each in others:
        each.join()
    if any(each.exitcode not in {0, AWAY} for each in others):
        raise RuntimeError("a process that wrote statements has ended")
    if any(each.exitcode == AWAY for each in others):
        raise Unavailable(away or "a server is away", server="Redis")


def _heard(others: Collection[Any], told: Any, tell: Tell) -> str:
    """Pass on what is told, as long as somebody may tell; why somebody gave up."""
    away = ""
    while True:
        alive = any(each.is_alive() for each in others)  # before the look: what was told before it ended is there
        try:
            said = told.get(timeout=LOOK_SECONDS if alive else 0.05)
        except queue.Empty:
            if not alive:
                return away
            continue
        if isinstance(said, str):
            away = said
        else:
            tell("assets", said)


def _write(partitions: Collection[int], told: Any, parent: int) -> None:
    """One process: it ends with whoever began it."""
    expunge = installation()
    expunge.server.compares = True

    def tell(topic: str, number: int) -> None:
        del topic
        if os.getppid() != parent:
            os._exit(1)
        told.put(number)

    since: Callable[[str, datetime], Any] = partial(expunge.since, partitions=partitions)
    try:
        expunge.server.join_rebuild()
        into = Into(expunge.index, expunge.cases, expunge.policies, IndexCovered(expunge.server))
        more = (into, expunge.door, expunge.topics, expunge.sender, tell)
        Rebuild(since, expunge.topics, *more).statements()
    except Unavailable as error:
        told.put(str(error))
        told.close()
        told.join_thread()
        raise SystemExit(AWAY) from None
    finally:
        expunge.close()
