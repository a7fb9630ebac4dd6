"""The agent's loop: commands in, purge, remember, receipts out, commit. In this order and no other."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from expunge.adapters.broker.admin import KafkaTopics
from expunge.adapters.broker.consumer import KafkaRecords
from expunge.adapters.broker.producer import KafkaSender
from expunge.adapters.system import SystemClock
from expunge.adapters.vault import Opener
from expunge.agent.memory import Kept, Memory
from expunge.agent.types import Person, Purger, Result, Target, failed
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Position, Record, decode, stamp
from expunge.domain.vocabulary import Action, Kind
from expunge.errors import InvalidMessage, Unavailable
from expunge.ports import GaugeName, MetricName
from expunge.runtime.outage import Outage

COMMANDED = "expunge.purge.commanded.v1"
WITHDRAWN = "expunge.purge.withdrawn.v1"
RECEIPTED = "expunge.purge.receipted.v1"
MAX_COMMAND_BYTES = 4_194_304
REST_SECONDS = 1.0
START_SECONDS = 60.0
RESULTS_BYTES = 700_000
"""Bytes of results in one receipt; a longer answer is cut into several."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class _Command:
    raw: str
    data: dict[str, Any]
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class _Withdrawal:
    command_id: str
    case_id: str
    attempt: int

    @classmethod
    def of(cls, command: _Command) -> _Withdrawal:
        """For a command that was withdrawn before it came."""
        data = command.data
        return cls(data["command_id"], data["case_id"], data["attempt"])


def _withdrawals(read: Sequence[_Command | _Withdrawal]) -> list[_Withdrawal]:
    return [word for word in read if isinstance(word, _Withdrawal)]


class Agent:
    """Serves one system.

    Args:
        system: the system's name, as configured in Expunge.
        purger: what purges.
        bootstrap_servers: Kafka's addresses.
        prefix: of the deployment's topics.
        state: the file in which answers are remembered; it must survive restarts.
        opening_key: the system's private X25519 key (hexadecimal), where identities are revealed to it.
        batch_targets: targets that `purge` is given at most.
        batch_seconds: how long to gather before a smaller batch is purged.
        options: security settings under kafka-python's names.
    """

    def __init__(
        self,
        system: str,
        purger: Purger,
        *,
        bootstrap_servers: str,
        state: Path,
        prefix: str = "expunge.",
        opening_key: str | None = None,
        batch_targets: int = 500,
        batch_seconds: float = 0.2,
        session_timeout_ms: int = 10_000,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._system, self._purger = system, purger
        self._opener = Opener(opening_key) if opening_key else None
        self._batch_targets, self._batch_seconds = batch_targets, batch_seconds
        self._memory, self._clock = Memory(state), SystemClock()
        self._outage = Outage(f"agent of {system}", self._clock, _NoMetrics())
        self._waits_until = self._clock.seconds() + START_SECONDS
        """Until when a broker that was never reached is waited for."""
        self.purging = False
        """Whether the purger is at work: it should not be cut off."""
        topics = KafkaTopics(bootstrap_servers, options or {}, prefix)
        self._sender = KafkaSender(bootstrap_servers, options or {}, prefix, topics)
        self._records = KafkaRecords(
            bootstrap_servers,
            options or {},
            prefix,
            f"agent.{system}",
            [f"commands.{system}"],
            max_records=100,
            session_timeout_ms=session_timeout_ms,
        )

    def run(self, stop: threading.Event | None = None) -> None:
        """Serve until `stop` is set; the batch under way is finished first."""
        stop = stop or threading.Event()
        log.info("agent started", system=self._system)
        try:
            while not stop.is_set():
                self.turn(stop.wait)
        finally:
            self._records.close()
            self._sender.close()
            self._memory.close()
            log.info("agent stopped", system=self._system)

    def turn(self, wait: Callable[[float], object] = time.sleep) -> None:
        """One batch of commands, or one wait for them; then what was promised for now.

        Raises:
            Unavailable: the broker was never reached, for a minute.
        """
        records: list[Record] = []
        try:
            self._gather(records)
            read = [word for record in records if (word := self._read(record.value or b""))]
            self.serve([word for word in read if isinstance(word, _Command)], withdrawn=_withdrawals(read))
            self._records.commit()
            due = [self._read(raw.encode()) for raw in self._memory.pending(self._clock.now())]
            self.serve([word for word in due if isinstance(word, _Command)])
            self._waits_until = math.inf
            self._outage.ends()
        except Unavailable as error:
            if self._clock.seconds() >= self._waits_until:
                raise
            self._pause(records, error, wait)

    def _pause(self, records: Sequence[Record], error: Unavailable, wait: Callable[[float], object]) -> None:
        """Back to the start of the batch, and a rest that depends on nobody; see `runtime.loop`."""
        self._outage.goes_on(error)
        until = self._clock.seconds() + REST_SECONDS
        try:
            self._records.rewind(records)
            self._records.rest(REST_SECONDS)
        except Unavailable as again:
            self._outage.goes_on(again)
        left = until - self._clock.seconds()
        if left > 0:
            wait(left)

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        if refused := self._sender.send(outgoing):
            topic, reason = refused[0].outgoing.topic, refused[0].reason
            raise Unavailable(f"Kafka refuses receipts for {topic} ({reason})", server="Kafka")

    def _gather(self, records: list[Record]) -> None:
        """Records until there are enough targets or the time is up; nothing more is read while a batch is purged.

        They are put into the caller's list as they come, so that all of them are read again if a later poll fails.
        """
        until = self._clock.seconds() + self._batch_seconds
        targets = 0
        while targets < self._batch_targets:
            found = self._records.poll(max(0.01, until - self._clock.seconds()))
            records += found
            targets += sum(max(1, (record.value or b"").count(b'"asset":')) for record in found)
            if self._clock.seconds() >= until:
                break

    def _read(self, raw: bytes) -> _Command | _Withdrawal | None:
        record = Record("commands", 0, Position(-1, -1), self._clock.now(), None, raw)
        try:
            event = decode(record, max_bytes=MAX_COMMAND_BYTES)
        except InvalidMessage as error:
            log.error("not a command; skipped", system=self._system, reason=error.reason)
            return None
        if event.type == WITHDRAWN:
            return _Withdrawal(event.data["command_id"], event.data["case_id"], event.data["attempt"])
        if event.type != COMMANDED:
            log.warning("a type that this version does not carry out; skipped", system=self._system, type=event.type)
            return None
        data = event.data
        targets = tuple(self._target(data, target) for target in data["targets"])
        return _Command(raw.decode(), data, targets)

    def _target(self, command: dict[str, Any], target: dict[str, Any]) -> Target:
        exclude = command.get("exclude", {})
        seals = {each["pseudonym"]: each["sealed"] for each in command.get("people", ())}
        return Target(
            command_id=command["command_id"],
            case_id=command["case_id"],
            asset=target["asset"],
            kind=Kind(target["kind"]),
            action=Action(command["action"]),
            purposes=tuple(command.get("purposes", ())),
            people=tuple(self._person(subject, seals) for subject in target.get("subjects", ())),
            data_sources=tuple(target.get("data_sources", ())),
            excluded_assets=frozenset(exclude.get("assets", ())),
            excluded_data_sources=frozenset(exclude.get("data_sources", ())),
            attributes=target.get("attributes", {}),
        )

    def _person(self, subject: dict[str, Any], seals: dict[str, str]) -> Person:
        """A person; a command of an earlier version repeats the sealed identity in every target."""
        sealed = seals.get(subject["pseudonym"]) or subject.get("sealed")
        if self._opener is None or sealed is None:
            return Person(subject["pseudonym"], subject.get("ref"))
        try:
            identity = json.loads(self._opener.open(sealed))
        except InvalidMessage:  # sealed to another key: the purger sees a person without an id and must fail the target
            log.warning("an identity was sealed to another key", system=self._system)
            return Person(subject["pseudonym"], subject.get("ref"))
        spelled = identity.get("given", identity["id"])
        return Person(subject["pseudonym"], subject.get("ref"), identity["namespace"], identity["id"], spelled)

    def serve(self, commands: Sequence[_Command], withdrawn: Sequence[_Withdrawal] = ()) -> None:
        """Answer commands: from memory what is answered, by purging what is not.

        What is withdrawn is so before anything else in the batch is done, and for good: a command may come after its
        withdrawal, from a process that had fallen asleep.
        """
        for each in withdrawn:
            self._memory.withdraw(each.command_id)
        taken_back = [c for c in commands if self._memory.is_withdrawn(c.data["command_id"])]
        for each in (*withdrawn, *(_Withdrawal.of(command) for command in taken_back)):
            self._send(self._let_go(each))
        commands = [command for command in commands if command not in taken_back]
        wanted = {target.identity: target for command in commands for target in command.targets}
        known = self._memory.answers(wanted.values())
        now = self._clock.now()
        fresh = [
            target
            for identity, target in wanted.items()
            if not (_answered(target, known.get(identity)) or self._memory.waits(identity, now))
        ]
        raw = {command.data["command_id"]: command.raw for command in commands}
        unfinished: dict[str, Result] = {}
        for start in range(0, len(fresh), self._batch_targets):
            unfinished |= self._purge(fresh[start : start + self._batch_targets], raw)
        for command in commands:
            self._answer(command, unfinished)

    def _purge(self, targets: Sequence[Target], raw: dict[str, str]) -> dict[str, Result]:
        """Purge and remember; results that are not final, and so are sent but not answered from memory."""
        interrupted = self._memory.begin(targets)
        interrupted |= self._memory.answers(targets).keys()
        batch = [replace(target, interrupted=target.identity in interrupted) for target in targets]
        self.purging = True
        try:
            results = {result.target.identity: result for result in self._purger.purge(batch)}
        finally:
            self.purging = False
        kept = [results.get(target.identity) or failed(target, "no_result") for target in batch]
        self._memory.keep(kept, raw)
        return {result.target.identity: result for result in kept if not result.final}

    def _answer(self, command: _Command, unfinished: dict[str, Result]) -> None:
        """Receipts for a command: what is known, and a promise for what is not."""
        answers = self._memory.answers(command.targets)
        results: list[dict[str, Any]] = []
        promise: datetime | None = None
        for target in command.targets:
            result = unfinished.get(target.identity)
            waits = self._memory.waits(target.identity, self._clock.now())
            if target.identity in answers:
                results.append(answers[target.identity].result | {"asset": target.asset})
            elif waits is not None:
                due = datetime.fromtimestamp(waits, UTC)
                promise = max(promise, due) if promise else due
            elif result is not None and result.claim is not None:
                results.append(result.wire())
        outgoing = [self._receipt(command, "done", results=part) for part in _parts(results)]
        if promise is not None:
            outgoing.append(self._receipt(command, "accepted", expected_by=stamp(promise)))
        self._send(outgoing)

    def _let_go(self, withdrawal: _Withdrawal) -> list[Outgoing]:
        """The answer to a withdrawal: what was done by then, and what had been begun when the process died.

        A long one is cut; only the last part says that the command is let go of.
        """
        *parts, last = _parts(self._memory.done_for(withdrawal.command_id)) or [[]]
        each = (withdrawal.command_id, withdrawal.case_id, withdrawal.attempt)
        done = [self._wrapped(*each, "done", results=part) for part in parts]
        return [*done, self._wrapped(*each, "withdrawn", results=last)]

    def _receipt(self, command: _Command, status: str, **fields: Any) -> Outgoing:
        data = command.data
        return self._wrapped(data["command_id"], data["case_id"], data["attempt"], status, **fields)

    def _wrapped(self, command_id: str, case_id: str, attempt: int, status: str, **fields: Any) -> Outgoing:
        sequence = self._memory.next_sequence(command_id, attempt)
        now = self._clock.now()
        data = {
            "command_id": command_id,
            "case_id": case_id,
            "system": self._system,
            "attempt": attempt,
            "sequence": sequence,
            "status": status,
            "performed_at": stamp(now),
            **fields,
        }
        identity = name(RECEIPTED, command_id, attempt, sequence)
        event = Event(RECEIPTED, f"/systems/{self._system}", identity, now, data)
        return Outgoing(f"receipts.{self._system}", command_id, event)


class _NoMetrics:
    """An agent counts nothing yet."""

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """See `ports.Metrics.gauge`."""


def _answered(target: Target, kept: Kept | None) -> bool:
    """Whether memory answers for a target.

    A deletion that another command asks for is looked at again: the asset may have come back. If it has not, its purger
    finds nothing and, as it is marked `interrupted`, says again that it is deleted.
    """
    return kept is not None and (kept.command_id == target.command_id or target.action is not Action.DELETE)


def _parts(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    parts: list[list[dict[str, Any]]] = []
    size = RESULTS_BYTES
    for result in results:
        weight = len(json.dumps(result))
        if size + weight > RESULTS_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(result)
        size += weight
    return parts
