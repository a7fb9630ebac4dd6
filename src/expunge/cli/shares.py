"""Statements are written by several processes at once, each with partitions of its own: a rebuild's one long part."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from expunge.adapters.redis.covered import IndexCovered
from expunge.adapters.redis.rebuilding import Rebuilding
from expunge.bootstrap import Installation
from expunge.cli.common import installation
from expunge.errors import ConfigurationError, ExpungeError, Unavailable
from expunge.rebuild.rebuild import Into, Rebuild, Tell

LOOK_SECONDS = 0.5


class Gave(NamedTuple):
    """Why a process gave up."""

    error: str
    """Which of Expunge's errors; empty: what nobody foresaw, and where."""
    text: str
    server: str = ""


def spread(expunge: Installation, epoch: str, processes: int, tell: Tell) -> None:
    """Write all statements.

    Raises:
        Unavailable: a server is away. What was written is known by then.
    """
    partitions = range(expunge.topics.partitions("assets"))
    shares = [share for number in range(processes) if (share := list(partitions)[number::processes])]
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    mine = epoch, told, os.getpid()
    others = [context.Process(target=_write, args=(share, *mine), daemon=True) for share in shares]
    for each in others:
        each.start()
    gave = _heard(others, told, tell)
    for each in others:
        each.join()
    if gave is None and any(each.exitcode for each in others):
        gave = Gave("", "a process that wrote statements has ended")
    match gave:
        case Gave("Unavailable", text, server):
            raise Unavailable(text, server=server)
        case Gave("", text):
            raise RuntimeError(text)
        case Gave(_, text):
            raise ConfigurationError(text)


def _heard(others: Collection[Any], told: Any, tell: Tell) -> Gave | None:
    """Pass on what is told, as long as somebody may tell; why somebody gave up."""
    gave = None
    while True:
        alive = any(each.is_alive() for each in others)  # before the look: what was told before it ended is there
        try:
            said = told.get(timeout=LOOK_SECONDS if alive else 0.05)
        except queue.Empty:
            if not alive:
                return gave
            continue
        if isinstance(said, Gave):
            gave = gave or said
        else:
            tell("assets", said)


def _write(partitions: Collection[int], epoch: str, told: Any, parent: int) -> None:
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
        Rebuilding(expunge.server).join(epoch)
        into = Into(expunge.index, expunge.cases, expunge.policies, IndexCovered(expunge.server))
        more = (into, expunge.door, expunge.topics, expunge.sender, tell)
        Rebuild(since, expunge.topics, *more).statements()
    except ExpungeError as error:
        server = error.server if isinstance(error, Unavailable) else ""
        told.put(Gave(type(error).__name__, str(error), server))
    except Exception as error:  # noqa: BLE001 - it is told, without what it may hold
        told.put(Gave("", f"{type(error).__name__} in a process that wrote statements"))
    finally:
        expunge.close()
