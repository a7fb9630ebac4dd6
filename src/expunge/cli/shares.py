"""Statements are written by several processes at once, each with partitions of its own: a rebuild's one long part."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Collection
from functools import partial
from typing import Any, NamedTuple

from expunge.adapters.redis.covered import IndexCovered
from expunge.adapters.redis.rebuilding import Rebuilding
from expunge.bootstrap import Installation
from expunge.cli.common import installation
from expunge.errors import ConfigurationError, ExpungeError, Unavailable
from expunge.ports.logs import Since
from expunge.rebuild.rebuild import Into, Rebuild, Tell

LOOK_SECONDS = 0.5
AWAY, WRONG, FAULT = "away", "wrong", "fault"
"""A server; the installation; Expunge itself."""


class Gave(NamedTuple):
    """Why a process gave up."""

    why: str
    """AWAY, WRONG or FAULT."""
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
        gave = Gave(FAULT, "a process that wrote statements has ended")
    if gave is None:
        return
    if gave.why == AWAY:
        raise Unavailable(gave.text, server=gave.server)
    raise ConfigurationError(gave.text) if gave.why == WRONG else RuntimeError(gave.text)


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


def of(expunge: Installation, since: Since, tell: Tell, **more: Any) -> Rebuild:
    """A rebuild of this installation's Redis; see `Rebuild` for what more there is."""
    into = Into(expunge.index, expunge.cases, expunge.policies, IndexCovered(expunge.server))
    return Rebuild(since, expunge.topics, into, expunge.door, expunge.topics, expunge.sender, tell, **more)


def _write(partitions: Collection[int], epoch: str, told: Any, parent: int) -> None:
    """One process: it ends with whoever began it."""

    def tell(topic: str, number: int) -> None:
        del topic
        if os.getppid() != parent:
            os._exit(1)
        told.put(number)

    try:
        expunge = installation()
        expunge.server.compares = True
        expunge.server.accept()
        Rebuilding(expunge.server).join(epoch)
        of(expunge, partial(expunge.since, partitions=partitions), tell).statements()
        expunge.close()
    except Unavailable as error:
        told.put(Gave(AWAY, str(error), error.server))
    except ExpungeError as error:
        told.put(Gave(WRONG, str(error)))
    except Exception as error:  # noqa: BLE001 - it is told, without what it may hold
        told.put(Gave(FAULT, f"{type(error).__name__} in a process that wrote statements"))
