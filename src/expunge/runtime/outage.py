"""What a process says while a server is away: what it waits for and since when, seldom, and when that is over."""

from __future__ import annotations

from typing import Protocol

import structlog

from expunge.errors import Unavailable
from expunge.ports import Metrics

SAY_AGAIN_SECONDS = 20.0
"""So that an outage of minutes is a few lines, and one that comes and goes is no more."""

log = structlog.get_logger()


class Ticks(Protocol):
    """A clock that only goes forward."""

    def seconds(self) -> float:
        """Seconds since some moment."""


class Outage:
    """Follows one process through what it has to wait for.

    Args:
        who: the role or the agent, for people.
        clock: of the process.
        metrics: where the waiting shows as `waiting_seconds`.
    """

    def __init__(self, who: str, clock: Ticks, metrics: Metrics) -> None:
        self._who, self._clock, self._metrics = who, clock, metrics
        self._since: float | None = None
        self._failed_at = 0.0
        self._said_at = -SAY_AGAIN_SECONDS
        self._said = False
        self.failures = 0

    def goes_on(self, error: Unavailable) -> None:
        """Something failed (again) because a server is away."""
        now = self._clock.seconds()
        self.failures += 1
        self._since = now if self._since is None else self._since
        self._failed_at = now
        self._metrics.gauge("waiting_seconds", now - self._since, label=self._who)
        if now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at, self._said = now, True
            waits = {"waits_for": error.server or "what it needs", "seconds": round(now - self._since)}
            log.warning("waiting", who=self._who, reason=str(error), failures=self.failures, **waits)

    def ends(self, silent: float = 0.0) -> None:
        """Everything was done, and the broker has answered since: a poll of one that is away ends without a word.

        Args:
            silent: for how many seconds the broker has not answered.
        """
        if self._since is None or self._clock.seconds() - self._failed_at < silent:
            return
        if self._said:
            log.info("goes on", who=self._who, seconds=round(self._clock.seconds() - self._since))
        self._since, self._said, self.failures = None, False, 0
        self._metrics.gauge("waiting_seconds", 0, label=self._who)
