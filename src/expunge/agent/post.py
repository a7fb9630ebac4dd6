"""What a system's agent and its prober have in common: words in from Kafka, answers out, and what outages do."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import structlog

from expunge.adapters.broker import DEFAULT, broker
from expunge.adapters.system import SystemClock
from expunge.agent.commands import Reader
from expunge.agent.metrics import AgentMetrics
from expunge.domain.events import Outgoing, Record
from expunge.errors import Fenced, InvalidMessage, Unavailable
from expunge.runtime.outage import Outage

REST_SECONDS = 1.0
START_SECONDS = 60.0

log = structlog.get_logger()

T = TypeVar("T")

Wait = Callable[[float], object]
"""Lets time pass; true when it is to stop, as `threading.Event.wait` says it."""


class Post:
    """One group's place at one topic.

    Args:
        system: the system's name, as configured in Expunge.
        role: `agent` or `prober`: the group is named by both.
        topic: what is read, without the prefix.
        metrics: where to count.
        bootstrap_servers: Kafka's addresses.
        prefix: of the deployment's topics.
        session_timeout_ms: after so much silence the broker gives this process up.
        options: settings of the Kafka client under its own names.
        client: the Kafka client.
        at_once: messages that are read at once, at most.
    """

    def __init__(
        self,
        system: str,
        role: str,
        topic: str,
        metrics: AgentMetrics,
        *,
        bootstrap_servers: str,
        prefix: str,
        session_timeout_ms: int,
        options: dict[str, Any] | None = None,
        client: str = DEFAULT,
        at_once: int = 100,
    ) -> None:
        self.system, self.topic, self._role, self.group = system, topic, role, f"{prefix}{role}.{system}"
        self.clock, self._metrics = SystemClock(), metrics
        self.session_seconds = session_timeout_ms / 1000
        self._outage = Outage(f"{role} of {system}", self.clock, metrics.of(system))
        self._waits_until = self.clock.seconds() + START_SECONDS
        """Until when a broker that was never reached is waited for."""
        kafka = broker(bootstrap_servers, options, prefix, client)
        self.topics, self._sender = kafka.topics, kafka.sender()
        self.records = kafka.records(
            f"{role}.{system}",
            [topic],
            max_records=at_once,
            session_timeout_ms=session_timeout_ms,
            begins=True,
        )  # what is gone before it was read is said again: its case waits for the answer

    def run(self, turn: Callable[[Wait], None], stop: threading.Event | None = None) -> None:
        """Take turns until `stop` is set, then close; the turn under way is finished first.

        Raises:
            Unavailable: the broker was not reached for a minute.
        """
        stop = stop or threading.Event()
        started, stopped = f"{self._role} started", f"{self._role} stopped"
        log.info(started, system=self.system)
        try:
            while not stop.is_set():
                turn(stop.wait)
        finally:
            self.close()
            log.info(stopped, system=self.system)

    def turn(self, work: Callable[[list[Record]], bool], wait: Wait = time.sleep) -> None:
        """Do some work, which puts what it reads into the list that it is given; what it cannot do is read again.

        Raises:
            Unavailable: the broker was not reached for a minute.
        """
        records: list[Record] = []
        try:
            if not work(records):
                return
            self._waits_until = math.inf
            self._outage.ends(self.records.silent_seconds())
            self._metrics.alive(self.system)
        except Fenced:
            log.warning("fell out of its group; reading again", system=self.system)
            self._read_again(records, wait)
        except Unavailable as error:
            if self.clock.seconds() >= self._waits_until:
                raise
            self._pause(records, error, wait)

    def words(self, records: Iterable[Record], reader: Reader, read: Callable[[bytes], T], skipped: str) -> list[T]:
        """What messages say; of one that says nothing the log has a line, and of identities that stay sealed.

        Args:
            records: the messages.
            reader: who reads them.
            read: as what it reads them.
            skipped: the line.
        """
        words, unopened = list[T](), reader.not_opened
        for record in records:
            try:
                words.append(read(record.value or b""))
            except InvalidMessage as error:
                log.error(skipped, system=self.system, place=record.place, reason=error.reason)
                self._metrics.skipped(self.system)
        if number := reader.not_opened - unopened:
            log.warning("identities were sealed to another key", system=self.system, number=number)
            self._metrics.not_opened(self.system, number)
        return words

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Publish answers.

        Raises:
            Unavailable: Kafka does not take one.
        """
        if refused := self._sender.send(outgoing):
            topic, reason = refused[0].outgoing.topic, refused[0].reason
            raise Unavailable(f"Kafka refuses what is said on {topic} ({reason})", server="Kafka")

    def close(self) -> None:
        """Leave the group, and let go of the connections."""
        self.records.close()
        self._sender.close()
        self.topics.close()

    def _pause(self, records: Sequence[Record], error: Unavailable, wait: Wait) -> None:
        """Back to the start of the batch, and a rest that depends on nobody; see `runtime.loop`."""
        self._outage.goes_on(error)
        until = self.clock.seconds() + REST_SECONDS
        try:
            self.records.rewind(records)
            self.records.rest(REST_SECONDS)
        except Unavailable as again:
            self._outage.goes_on(again)
        left = until - self.clock.seconds()
        if left > 0:
            wait(left)

    def _read_again(self, records: Sequence[Record], wait: Wait) -> None:
        """From where the group is now: another process may have answered, and heard a withdrawal, meanwhile."""
        try:
            self.records.rewind_to_committed(records)
        except Unavailable as error:
            self._pause(records, error, wait)
