"""The one loop that serves every role, in this order and no other (DESIGN 4.1).

    poll -> decode -> read state -> decide -> produce, flush, check every future -> write state -> commit offsets

Outputs are durable before state says so, and state before the offset does: a crash anywhere causes repetition, never
loss. What is unavailable is tried again while the consumer stays in its group; any other error ends the process before
the commit.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from expunge.domain.events import Outgoing, Record
from expunge.errors import Fenced, Unavailable
from expunge.ports import Metrics, Stage

POLL_SECONDS = 0.2
TICK_SECONDS = 0.5
MAX_REST_SECONDS = 5.0

log = structlog.get_logger()


class Source(Protocol):
    """Where a role's records come from."""

    def poll(self, seconds: float) -> list[Record]:
        """Records that came, at most a batch, waiting up to `seconds`."""

    def partitions(self) -> list[int]:
        """The partitions that this process holds."""

    def commit(self) -> None:
        """Commit the position of every partition held, where it has moved."""

    def rewind(self, batch: Sequence[Record]) -> None:
        """Read a batch again."""

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """Read the partitions of a batch again from where the group has committed."""

    def rest(self, seconds: float) -> None:
        """Let time pass without taking records, and stay in the group."""

    def close(self) -> None:
        """Leave the group."""


class Sink(Protocol):
    """Where messages go; see `ports.Sender.send`."""

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Produce a wave; all of it is durable when this returns."""

    def close(self) -> None:
        """Let go of the connection."""


class Clock(Protocol):
    """Time for the shell; decisions take theirs from messages."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def seconds(self) -> float:
        """Seconds that only go forward."""


class Loop:
    """One role's loop."""

    def __init__(self, stage: Stage, source: Source, sink: Sink, clock: Clock, metrics: Metrics) -> None:
        self._stage, self._source, self._sink, self._clock, self._metrics = stage, source, sink, clock, metrics
        self._failures = 0
        self._ticked = 0.0

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until told to stop; the batch under way is finished first."""
        log.info("role started", role=self._stage.name)
        try:
            while not stopping():
                self.turn()
        finally:
            self._source.close()
            self._sink.close()
            log.info("role stopped", role=self._stage.name)

    def turn(self) -> None:
        """One batch, or one wait for a batch; then what is due."""
        batch: list[Record] = []
        try:
            batch = self._source.poll(POLL_SECONDS)
            started = self._clock.seconds()
            if batch:
                taken = self._handle(batch)
                self._metrics.count("batch_seconds", self._clock.seconds() - started, label=self._stage.name)
                self._metrics.count("messages_handled", taken, label=self._stage.name)
            self._source.commit()
            self._tick()
            self._failures = 0
        except Unavailable as error:
            self._pause(batch, error)
        except Fenced as error:
            log.warning("another process owns the partition; reading again", role=self._stage.name, reason=str(error))
            self._source.rewind_to_committed(batch)

    def _handle(self, batch: Sequence[Record]) -> int:
        """Handle a batch, or as much of it as the stage takes; how many records that was."""
        result = self._stage.handle(batch)
        for wave in result.waves:
            self._sink.send(wave)
        self._stage.write(result)
        if result.taken is None:
            return len(batch)
        self._source.rewind(batch[result.taken :])
        return result.taken

    def _tick(self) -> None:
        if self._clock.seconds() - self._ticked < TICK_SECONDS:
            return
        self._ticked = self._clock.seconds()
        due = self._stage.tick(self._source.partitions(), self._clock.now())
        if due:
            self._sink.send(due)

    def _pause(self, batch: Sequence[Record], error: Unavailable) -> None:
        """Back to the start of the batch, and a rest that grows with every failure (full jitter)."""
        self._failures += 1
        self._metrics.count("pauses", label=self._stage.name)
        log.warning("unavailable; trying again", role=self._stage.name, reason=str(error), failures=self._failures)
        self._source.rewind(batch)
        longest = min(MAX_REST_SECONDS, 0.1 * 2 ** min(self._failures, 10))
        try:
            self._source.rest(random.uniform(0.05, longest))  # noqa: S311 - a wait, no secret
        except Unavailable as again:
            log.warning("unavailable; trying again", role=self._stage.name, reason=str(again))
