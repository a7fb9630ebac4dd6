"""`expunge run`: roles as processes, restarted when they die, drained on SIGTERM."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Annotated, Any

import structlog
import typer

from expunge import preflight, serve
from expunge.adapters.system import END_SECONDS, PrometheusMetrics, configure_logs, end_on_signals
from expunge.bootstrap import Installation
from expunge.cli import sweep
from expunge.cli.common import ANEW, DIED, NO_SERVER, WRONG, installation, say_error
from expunge.config import Settings
from expunge.domain.backoff import doubled
from expunge.errors import Changed, ConfigurationError, Unavailable, place_of
from expunge.roles import ROLES

RESTART_SECONDS, MAX_RESTART_SECONDS = 0.2, 10.0
DRAIN_SECONDS = END_SECONDS + 1
SWEEP_AFTER_SECONDS, SWEEP_EVERY_SECONDS = 600.0, 86_400.0
"""When the first sweep begins, or one that has failed another time; and the next ones."""
AGAIN_SECONDS = 2.0
"""So long a role that ended to begin anew must have run to be started at once."""
HEALTHY_SECONDS = 30.0
"""After this the wait before a restart is short again."""

log = structlog.get_logger()


def run(
    role: Annotated[list[str] | None, typer.Option("--role", help=f"One of {', '.join(ROLES)}; repeatable.")] = None,
) -> None:
    """Run every role, or those named. SIGTERM finishes what is under way and exits 0."""
    expunge = installation()
    configure_logs(expunge.settings.log_level)
    roles = list(dict.fromkeys(role or ROLES))
    if unknown := set(roles) - set(ROLES):
        raise ConfigurationError(f"unknown role {min(unknown)}: one of {', '.join(ROLES)}")
    stop = threading.Event()
    if len(roles) == 1:
        end_on_signals(stop)
        sys.exit(_serve(expunge, roles[0], stop))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if serve.start(partial(preflight.refuse_if_wrong, expunge), "expunge run", stop, PrometheusMetrics()):
        expunge.close()
        sys.exit(_supervise(expunge.settings, roles, stop))


@dataclass
class _Child:
    """One role's process, and when it may be started again."""

    role: str
    process: Any = None
    pipe: Connection | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0


def _supervise(settings: Settings, roles: list[str], stop: threading.Event) -> int:
    """Keep the roles running until told to stop; a role that is configured wrongly ends everything."""
    context = multiprocessing.get_context("spawn")
    children = [_Child(role) for role in roles]
    sweeps = _Sweeps(context, settings) if set(roles) == set(ROLES) else None
    code = 0
    while not stop.is_set():
        for child in children:
            if child.process is None and time.monotonic() >= child.start_at:
                _start(context, settings, child)
        wait([child.process.sentinel for child in children if child.process is not None], timeout=0.2)
        for child in children:
            if child.process is not None and not child.process.is_alive():
                code = code or _ended(child)
        if sweeps is not None:
            sweeps.go_on()
        if code:
            stop.set()
    if sweeps is not None:
        sweeps.end()
    return max(code, _drain(children))


class _Sweeps:
    """Once a day what forgotten cases have left on topics is swept away, by a process that ends with that."""

    def __init__(self, context: Any, settings: Settings) -> None:
        self._context, self._settings = context, settings
        self._process: Any = None
        self._next = time.monotonic() + SWEEP_AFTER_SECONDS

    def go_on(self) -> None:
        """Begin a pass that is due."""
        if self._process is not None and not self._process.is_alive():
            self._process.join()
            if self._process.exitcode:
                self._next = min(self._next, time.monotonic() + SWEEP_AFTER_SECONDS)
            self._process = None
        if self._process is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + SWEEP_EVERY_SECONDS
            self._process = self._context.Process(target=_sweep, args=(self._settings,), daemon=True)
            self._process.start()

    def end(self) -> None:
        """A pass that is under way ends where it is: the next one does the rest."""
        if self._process is not None:
            self._process.terminate()


def _sweep(settings: Settings) -> None:
    """The body of a pass: it ends when it is told to, wherever it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs(settings.log_level)
    sys.exit(0 if sweep.daily(Installation(settings)) else 1)


def _start(context: Any, settings: Settings, child: _Child) -> None:
    ours, theirs = context.Pipe()
    child.process = context.Process(target=_role, args=(settings, child.role, theirs), name=f"expunge-{child.role}")
    child.process.start()
    theirs.close()
    child.pipe, child.started = ours, time.monotonic()
    log.info("role process", role=child.role, pid=child.process.pid)


def _ended(child: _Child) -> int:
    """Note that a process ended; an exit status if everything must end."""
    code = child.process.exitcode
    child.process = None
    if code == WRONG:
        return WRONG
    if code == ANEW:
        log.info("role begins anew", role=child.role)
        ran = time.monotonic() - child.started
        child.failures, child.start_at = 0, time.monotonic() + (0 if ran > AGAIN_SECONDS else AGAIN_SECONDS)
        return 0
    healthy = time.monotonic() - child.started > HEALTHY_SECONDS
    child.failures = 0 if healthy else child.failures + 1
    pause = doubled(RESTART_SECONDS, child.failures, MAX_RESTART_SECONDS)
    child.start_at = time.monotonic() + pause
    log.error("role ended; starting it again", role=child.role, exit_status=code, seconds=round(pause, 1))
    return 0


def _drain(children: list[_Child]) -> int:
    for child in children:
        if child.process is not None:
            child.process.terminate()
    failed, until = 0, time.monotonic() + DRAIN_SECONDS
    for child in children:
        if child.process is not None:
            child.process.join(max(0.1, until - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                failed = NO_SERVER
    return failed


def _role(settings: Settings, role: str, pipe: Connection) -> None:
    """The body of a role's process."""
    stop = threading.Event()
    end_on_signals(stop)
    threading.Thread(target=_follow, args=(pipe, stop), daemon=True).start()
    configure_logs(settings.log_level)
    os._exit(_serve(Installation(settings), role, stop))


def _serve(expunge: Installation, role: str, stop: threading.Event) -> int:
    """Run a role to its end; the exit status. What kills it is said by class and place only: texts may be personal."""
    try:
        serve.run(expunge, role, stop)
    except ConfigurationError as error:
        say_error(f"{role}: {error}")
        return WRONG
    except Unavailable as error:
        log.error("role could not start", role=role, reason=str(error))
        return NO_SERVER
    except Changed as error:
        log.info("role ends, to begin anew", role=role, reason=str(error))
        return ANEW
    except Exception as error:  # noqa: BLE001 - the last frame: say what died, by type and place only, and die
        log.critical("role died", role=role, error=type(error).__name__, where=place_of(error))
        return DIED
    return 0


def _follow(pipe: Connection, stop: threading.Event) -> None:
    """Stop when the parent is gone: its end of the pipe closes even when it was killed."""
    try:
        pipe.recv()
    except (EOFError, OSError):
        stop.set()
