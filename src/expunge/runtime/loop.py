"""The one loop that serves every role, in this order and no other (design: "No deletion is lost").

    compare and begin -> poll -> decode -> read state -> decide -> produce, flush, check every future -> write state
    -> say in the store how far it reaches -> commit offsets

Outputs are durable before state says so, and state before the offset does: a crash anywhere causes repetition, never
loss. Offsets are committed a few times a second: what a crash repeats is a moment more, and a message that comes alone
costs less. What is unavailable is tried again while the consumer stays in its group; any other error ends the process
before the commit, and at the third death at one position its record is set aside (`suspicion`).

No wait depends on what is away: a rest is the process' own, and ends when it is told to stop.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import structlog

from expunge.domain.backoff import doubled
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Outgoing, Record, is_ahead
from expunge.errors import Changed, ConfigurationError, Fenced, Unavailable, Wedged
from expunge.ports import Metrics, Refused, Result, Role, Suspects, Waiter
from expunge.ports.logs import Source
from expunge.runtime.outage import Outage
from expunge.runtime.suspicion import Suspicion

POLL_SECONDS = 0.2
TICK_SECONDS = 0.5
COMMIT_SECONDS = 0.1
"""So long at most what was handled waits to be committed."""
FIRST_REST_SECONDS, MAX_REST_SECONDS = 0.1, 5.0
OUTWARD = ("commands.", "probes.", "confirmations.", "certificates")
"""Topics of others. What the broker refuses there for good is left out; what Expunge says to itself must be taken."""

log = structlog.get_logger()


class Sink(Protocol):
    """Where messages go; see `ports.Sender.send`."""

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        """Produce a wave; all of it is durable when this returns, but for what it answers."""

    def close(self) -> None:
        """Let go of the connection."""


class Clock(Protocol):
    """Time for the shell; decisions take theirs from messages."""

    def now(self) -> datetime:
        """The time of day, in UTC."""

    def seconds(self) -> float:
        """Seconds that only go forward."""


class Begun(Protocol):
    """Which partitions are begun, and where: see `runtime.continuity.Continuity`."""

    def settle(self) -> bool:
        """Begin what can be begun; True if all had to be stopped before."""

    def admitted(self, batch: Sequence[Record]) -> list[Record]:
        """Of what was handed over, what is to be handled."""

    def cover(self, moved: Mapping[Place, Reached]) -> Mapping[Place, Reached]:
        """Say in the store how far it reaches; what may be committed then."""


class Loop:
    """One role's loop."""

    def __init__(
        self,
        role: Role,
        source: Source,
        sink: Sink,
        clock: Clock,
        metrics: Metrics,
        suspects: Suspects,
        waiter: Waiter,
        begun: Begun,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._role, self._source, self._sink, self._clock, self._metrics = role, source, sink, clock, metrics
        self._suspicion, self._waiter = Suspicion(suspects, role.topics), waiter
        self._outage, self._begun = Outage(role.name, clock, metrics), begun
        self._ticked, self._decided = 0.0, 0.0
        self._commit_seconds, self._committed_at, self._commits_at_once = commit_seconds, -math.inf, False
        self._handled: dict[tuple[str, int], Record] = {}
        """The last record of each partition that was handled and is not committed."""
        self._led = ""
        """The topic that was first in the last batch of several."""
        self._said: set[tuple[str, ...]] = set()
        self._blocked_at = -math.inf
        self._blocked: list[Place] = []
        """Where records lie that could not be handled yet, the last one at the end."""

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn until told to stop; the batch under way is finished first."""
        log.info("role started", role=self._role.name)
        try:
            while not stopping():
                self.turn()
            with contextlib.suppress(Unavailable):  # then others do again what was handled since
                self._commit(at_once=True)
        finally:
            self._source.close()
            self._sink.close()
            log.info("role stopped", role=self._role.name)

    def turn(self) -> None:
        """One batch, or one wait for a batch; then what is due."""
        batch: list[Record] = []
        try:
            if self._begun.settle():
                self._handled = {}  # it is handled again
            batch = self._source.poll(self._patience())
            self._metrics.gauge("lag_seconds", self._lag(batch), label=self._role.name)
            batch = self.ordered(self._begun.admitted(batch))
            self._forget_blocked(batch)
            started, self._decided = self._clock.seconds(), 0.0
            taken = self._handle(batch) if batch else 0
            if batch:
                self._metrics.count("batch_seconds", self._clock.seconds() - started, label=self._role.name)
                self._metrics.count("messages_handled", taken, label=self._role.name)
                if taken and not self._role.cuts_batches:
                    self._source.took(taken, self._decided)
            self._handled |= {(record.topic, record.partition): record for record in batch[:taken]}
            batch = []  # what was handled is not read again, whatever fails from here on
            self._commit()
            self._tick()
            if not self._blocked:
                self._outage.ends(self._source.silent_seconds())
        except Unavailable as error:
            self._pause(batch, error)
        except Fenced as error:
            log.warning("another process owns the partition; reading again", role=self._role.name, reason=str(error))
            self._read_again(batch)

    def _lag(self, batch: Sequence[Record]) -> float:
        """How old the oldest message is that has come; where none has, for how long the broker has not answered."""
        if not batch:
            return self._source.silent_seconds()
        return max(0.0, (self._clock.now() - min(record.appended_at for record in batch)).total_seconds())

    def _patience(self) -> float:
        """How long to wait for records: no longer than what was handled may wait."""
        if not self._handled:
            return POLL_SECONDS
        return min(POLL_SECONDS, self._left(self._committed_at + self._commit_seconds))

    def _commit(self, *, at_once: bool = False) -> None:
        now = self._clock.seconds()
        if now - self._committed_at < self._commit_seconds and not (at_once or self._commits_at_once):
            return
        if moved := self._source.moved():
            self._source.commit(self._begun.cover(moved))
        passed, self._handled = list(self._handled.values()), {}
        self._committed_at, self._commits_at_once = now, False
        self._suspicion.passed(passed)

    def _handle(self, batch: Sequence[Record]) -> int:
        """Handle a batch part by part, or as much of it as the role takes; how many records that was.

        What was handled apart is committed before anything else is: a death behind it must not bring it back. What was
        handled before something that cannot be handled yet stays so. With every failure parts begin smaller: what one
        record needs may be what another one leads to.
        """
        done, most = 0, max(1, len(batch) >> self._outage.failures)
        while done < len(batch):
            part = self._next_part(batch[done:], most)
            apart = self._is_apart(part[0])
            try:
                taken = self._handle_part(part)
            except Unavailable:
                self._block(part[0])
                if not done:
                    raise
                self._source.rewind(batch[done:])
                break
            passed = {(record.topic, record.partition) for record in part[:taken]}
            self._blocked = [place for place in self._blocked if place not in passed]
            done, most = done + taken, 2 * most
            self._commits_at_once = self._commits_at_once or apart
            if taken < len(part) or (apart and done < len(batch)):
                self._source.rewind(batch[done:])
                break
        return done

    def ordered(self, batch: Sequence[Record]) -> list[Record]:
        """Topics take turns in being first, for a role may leave the end of a batch for the next one.

        Partitions at which something could not be handled come last: it may wait for what others lead to.
        """
        later = {place: number for number, place in enumerate(self._blocked)}
        topics = sorted({record.topic for record in batch})
        if len(topics) > 1:
            turns = [*(each for each in topics if each > self._led), *(each for each in topics if each <= self._led)]
            self._led, topics = turns[0], turns
        turn = {topic: number for number, topic in enumerate(topics)}

        def place(record: Record) -> tuple[int, int]:
            return later.get((record.topic, record.partition), -1), turn[record.topic]

        return sorted(batch, key=place)

    def _forget_blocked(self, batch: Sequence[Record]) -> None:
        """What is blocked comes again; what has not for a while is another's by now."""
        seen = {(record.topic, record.partition) for record in batch}
        if self._blocked and self._clock.seconds() - self._blocked_at > MAX_REST_SECONDS:
            self._blocked = [place for place in self._blocked if place in seen]

    def _block(self, record: Record) -> None:
        place, self._blocked_at = (record.topic, record.partition), self._clock.seconds()
        self._blocked = [*(each for each in self._blocked if each != place), place]

    def _next_part(self, batch: Sequence[Record], most: int) -> Sequence[Record]:
        """The records to handle together: at most so many, up to the first that is handled alone, or that one."""
        alone = (at for at, record in enumerate(batch[:most]) if self._is_apart(record))
        return batch[: max(1, next(alone, most))]

    def _is_apart(self, record: Record) -> bool:
        return bool(record.unreadable or self._suspicion.of(record)) or self._is_ahead(record)

    def _is_ahead(self, record: Record) -> bool:
        return self._role.keeps_time and is_ahead(record, self._clock.now())

    def _handle_part(self, part: Sequence[Record]) -> int:
        """Handle records together; how many of them the role took."""
        try:
            with self._deciding():
                result = self._result(part)
            waves = iter(result.waves)
            while True:
                with self._deciding():
                    wave = next(waves, None)
                if wave is None:
                    break
                self._send(wave)
            self._role.write(result)
        except (Unavailable, Fenced, ConfigurationError, Wedged, Changed):
            raise
        except Exception as error:
            self._suspicion.died(part, error)
            raise
        return len(part) if result.taken is None else result.taken

    @contextlib.contextmanager
    def _deciding(self) -> Iterator[None]:
        started = self._clock.seconds()
        yield
        self._decided += self._clock.seconds() - started

    def _result(self, part: Sequence[Record]) -> Result:
        first = part[0]
        suspect = self._suspicion.of(first)
        if first.unreadable or (suspect is not None and suspect.is_parked):
            reason = first.unreadable or (suspect.error if suspect else "")
            said = "as an operator said" if suspect is not None and suspect.by_operator else reason
            log.error("set aside", role=self._role.name, place=first.place, reason=said)
            now = self._clock.now()
            # What was stamped ahead would move a case into the future when it is taken up again.
            return self._role.park(replace(first, appended_at=now) if self._is_ahead(first) else first, reason)
        if self._is_ahead(first):
            ahead = (first.appended_at - self._clock.now()).total_seconds()
            self._metrics.gauge("clock_ahead_seconds", ahead, label=self._role.name)
            place = f"--topic {first.topic} --partition {first.partition} --offset {first.position.offset}"
            raise Unavailable(
                f"{first.place} was appended {round(ahead)} s ahead of this machine's clock: set the broker's clock or "
                f"this one right, or set that record aside: expunge dead-letters park {place} "
                "--operator NAME --reason TEXT",
                server="the broker's clock",
            )
        if self._role.keeps_time:
            self._metrics.gauge("clock_ahead_seconds", 0, label=self._role.name)
        return self._role.handle(part)

    def _send(self, wave: Sequence[Outgoing]) -> None:
        for refused in self._sink.send(wave):
            topic = refused.outgoing.topic
            if topic.startswith(OUTWARD):
                self._say_once("the broker refuses messages for good", topic=topic, reason=refused.reason)
                self._send(self._role.refused(refused))
            elif refused.reason == "too_large":
                raise RuntimeError(f"a message for {topic} is larger than its topic takes")
            else:
                text = f"Kafka refuses messages for {topic} ({refused.reason}): `expunge doctor` says what to do"
                raise Unavailable(text, server="Kafka")

    def _say_once(self, text: str, **what: str) -> None:
        """Each is counted, and a dead letter; a line for every one of thousands would help nobody."""
        if (line := (text, *what.values())) not in self._said:
            self._said.add(line)
            log.error(text, role=self._role.name, **what)

    def _tick(self) -> None:
        now = self._clock.seconds()
        if now - self._ticked < TICK_SECONDS:
            return
        self._suspicion.refresh()
        due = self._role.tick(self._source.partitions(), self._clock.now())
        if due:
            self._send(due)
        self._role.ticked()
        self._ticked = now

    def _read_again(self, batch: Sequence[Record]) -> None:
        """From where all who remember say: another process may have gone on, or the store is not what it was."""
        places = {(record.topic, record.partition) for record in batch}
        for place in places:  # with what was handled there since the last commit
            self._handled.pop(place, None)
        self._source.stop(places)

    def _pause(self, batch: Sequence[Record], error: Unavailable) -> None:
        """Back to the start of the batch, and a rest that grows with every failure (full jitter)."""
        self._outage.goes_on(error)
        self._metrics.count("pauses", label=self._role.name)
        longest = doubled(FIRST_REST_SECONDS, self._outage.failures, MAX_REST_SECONDS)
        until = self._clock.seconds() + random.uniform(0.05, longest)  # noqa: S311 - a wait, no secret
        try:
            self._suspicion.refresh()  # an operator may have parked what this role waits for
        except Unavailable as again:
            self._outage.goes_on(again)
        try:
            self._source.rewind(batch)
            self._source.rest(self._left(until))
        except Unavailable as again:
            self._outage.goes_on(again)
        self._waiter.wait(self._left(until))

    def _left(self, until: float) -> float:
        """The seconds up to a moment, or none: asking for suspects may have taken longer than the rest."""
        return max(0.0, until - self._clock.seconds())
