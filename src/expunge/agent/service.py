"""The agent's loop: commands in, purge, remember, receipts out, commit. In this order and no other."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from expunge.adapters.broker import DEFAULT
from expunge.adapters.signing import Signer
from expunge.adapters.vault import Opener
from expunge.agent import contained
from expunge.agent.commands import MALFORMED, Command, Dismissal, Reader, Withdrawal, Word
from expunge.agent.memory import Memory
from expunge.agent.metrics import AgentMetrics
from expunge.agent.post import Post, Wait
from expunge.agent.types import Purger, Recalling, Result, Target, Withdrawable, failed
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Record, stamp
from expunge.domain.runs import light_runs
from expunge.domain.vocabulary import Claim
from expunge.errors import ConfigurationError, Fenced
from expunge.wire.receipts import RECEIPT, Answer

RESULTS_BYTES = 600_000
"""Bytes of results in one receipt; a longer answer is cut into several. An envelope makes a third more of them."""

Said = Command | Withdrawal | Dismissal

log = structlog.get_logger()


class Agent:
    """Serves one system, as its only process: answers are remembered in its state file and nowhere else.

    Args:
        system: the system's name, as configured in Expunge.
        purger: what purges.
        bootstrap_servers: Kafka's addresses.
        prefix: of the deployment's topics.
        state: the file in which answers are remembered; it must survive restarts.
        opening_key: the system's private X25519 key (hexadecimal), where identities are revealed to it.
        batch_targets: targets that `purge` is given at most.
        batch_seconds: how long to gather before a smaller batch is purged.
        session_timeout_ms: after so much silence the broker gives this process up.
        options: settings of the Kafka client under its own names; kafka-python's, for the client that comes along.
        client: the Kafka client, as `kafka.client` in a deployment's configuration.
        metrics: where to count; agents of one process share one. `metrics.registry` is for Prometheus.
        signing_key: the file of the key with which receipts are signed, where the system is declared with one.
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
        client: str = DEFAULT,
        metrics: AgentMetrics | None = None,
        signing_key: Path | None = None,
    ) -> None:
        self._system, self._purger = system, purger
        self._signer = Signer.of(signing_key) if signing_key else None
        self._reader = Reader(Opener(opening_key).open if opening_key else None)
        self._batch_targets, self._batch_seconds = batch_targets, batch_seconds
        self._memory, self._metrics = Memory(state), metrics or AgentMetrics()
        self.purging = False
        """Whether the purger is at work: it should not be cut off."""
        self._post = Post(
            system,
            "agent",
            f"commands.{system}",
            self._metrics,
            bootstrap_servers=bootstrap_servers,
            prefix=prefix,
            session_timeout_ms=session_timeout_ms,
            options=options,
            client=client,
        )
        self._clock, self._records = self._post.clock, self._post.records
        self._is_alone = False

    def run(self, stop: threading.Event | None = None) -> None:
        """Serve until `stop` is set; the batch under way is finished first.

        Raises:
            ConfigurationError: another process serves the system, or its topic is missing.
            Unavailable: the broker was not reached for a minute.
        """
        try:
            self._post.run(self.turn, stop)
        finally:
            self._memory.close()

    def turn(self, wait: Wait = time.sleep) -> None:
        """One batch of commands, or one wait for them; then what was promised for now."""
        self._post.turn(lambda records: self._work(records, wait), wait)

    def _work(self, records: list[Record], wait: Wait) -> bool:
        if not self._is_alone and not self._be_alone(wait):
            return False
        held = self._records.revocations
        self._gather(records)
        self._serve(self._read(records), held)
        self._records.commit(self._records.moved())
        if len(self._records.partitions()) == self._post.topics.partitions(self._post.topic):
            due = [self._reader.read(raw.encode()) for raw in self._memory.due(self._clock.now())]
            self._serve(due, held)
        return True

    def _be_alone(self, wait: Wait) -> bool:
        """Once, before the first command is read: whoever was killed a moment ago counts until its session ends.

        False when it was told to stop meanwhile (`wait` says so, as `threading.Event.wait` does).
        """
        if not self._post.topics.partitions(self._post.topic):  # a topic that is missing says so itself
            return True
        patience = self._clock.seconds() + 2 * self._post.session_seconds
        is_first = True
        while self._post.topics.members(self._post.group):
            if self._clock.seconds() >= patience:
                raise ConfigurationError(
                    f"another process serves {self._system} already (group {self._post.group}): stop it first. One "
                    "process serves a system, for what was done is remembered in its own state file"
                )
            if is_first:
                log.info("waits for another process of its system to end", system=self._system)
            is_first = False
            if wait(0.5):
                return False
        self._is_alone = True
        return True

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

    def _read(self, records: Sequence[Record]) -> list[Said]:
        return self._post.words(records, self._reader, self._reader.read, "not a command; skipped")

    def _serve(self, words: Sequence[Said], held: int) -> None:
        """Answer words: from memory what is answered, by purging what is not.

        What is withdrawn is so before anything else in the batch is done, and for good: a command may come after its
        withdrawal, from a process that had fallen asleep.
        """
        began = self._clock.seconds()
        for word in words:
            if isinstance(word, Withdrawal):
                self._withdraw(word)
            elif isinstance(word, Dismissal):
                self._memory.forget(word.command_ids)
        commands = [word for word in words if isinstance(word, Command)]
        for command in commands:
            self._memory.hear(command)
        raw = {command.command_id: command.raw for command in commands}
        unfinished: dict[str, Result] = {}
        in_vain, reason = 0, ""
        for batch in self._batches(commands):
            if in_vain >= contained.PARTS_WITHOUT_SUCCESS:  # the system is down: the others come first next time
                self._memory.postpone(batch, reason, raw, self._clock.now())
                continue
            results, raised = self._purge(batch, raw, held)
            unfinished |= {result.target.key: result for result in results if not result.final}
            in_vain, reason = (in_vain + 1, raised) if raised and not results else (0, "")
        for command in commands:
            if self._memory.is_withdrawn(command.command_id):
                self._post.send(self._let_go(command))
            else:
                self._answer(command, unfinished, self._clock.seconds() - began)

    def _withdraw(self, word: Withdrawal) -> None:
        self._memory.withdraw(word.command_id)
        if isinstance(self._purger, Withdrawable):
            try:
                self._purger.withdraw(word.command_id)
            except Exception as error:  # noqa: BLE001 - the withdrawal stands, and is answered, whatever it raises
                log.error("the purger raised", system=self._system, error=type(error).__name__, at="withdraw")
        self._post.send(self._let_go(word))

    def _batches(self, commands: Sequence[Command]) -> Iterator[list[Target]]:
        """What is to be purged, in batches; no target twice in one.

        What raised comes behind everything else, in ever smaller batches, and a culprit by itself.
        """
        now = self._clock.now().timestamp()
        targets = {target.key: target for command in commands for target in command.targets}
        known = self._memory.answers(targets.values())
        sizes: dict[int, list[tuple[float, Target]]] = defaultdict(list)
        for key, target in targets.items():
            waits = self._memory.waits(target)
            if key in known or (waits is not None and waits.due > now):
                continue
            tries = waits.tries if waits else 0
            size = 1 if waits and waits.alone else max(1, self._batch_targets >> 3 * tries)
            sizes[size].append((waits.due if waits else 0.0, target))
        for size, each in sorted(sizes.items(), reverse=True):
            # What has waited longest comes first, so that no culprit is always tried before somebody else.
            yield from _cut([target for _, target in sorted(each, key=lambda pair: pair[0])], size)

    def _purge(self, targets: Sequence[Target], raw: dict[str, str], held: int) -> tuple[list[Result], str]:
        """Purge and remember; the results, and the last thing that was raised."""
        if self._records.revocations != held or self._records.silent_seconds() >= self._post.session_seconds:
            raise Fenced("this process was a member of its group too long ago to purge")
        begun = self._memory.begin(targets)
        batch = [replace(each, interrupted=begun[each.key]) for each in targets if each.key in begun]
        began, self.purging = self._clock.seconds(), True
        try:
            recalled = self._recalled(batch)
            left = [target for target in batch if target.key not in recalled]
            results, troubles = contained.purge(self._system, self._purger, left) if left else ([], [])
        finally:
            self.purging = False
            self._metrics.purged(self._system, self._clock.seconds() - began)
        raised = {trouble.target.key for trouble in troubles}
        by_key = recalled | {result.target.key: result for result in results}
        answered = [by_key.get(each.key) or failed(each, "no_result") for each in batch if each.key not in raised]
        kept = [self._sound(result) for result in answered]
        self._memory.keep(kept, raw)
        self._memory.trouble(troubles, raw, self._clock.now())
        return kept, troubles[-1].reason if troubles else ""

    def _recalled(self, batch: Sequence[Target]) -> dict[str, Result]:
        """What the system itself has kept of tries that were cut off."""
        asked = [target for target in batch if target.interrupted]
        if not asked or not isinstance(self._purger, Recalling):
            return {}
        try:
            return {result.target.key: result for result in self._purger.recall(asked)}
        except Exception as error:  # noqa: BLE001 - without it they are purged again, as `interrupted`
            log.error("the purger raised", system=self._system, error=type(error).__name__, at="recall")
            return {}

    def _sound(self, result: Result) -> Result:
        """The result, if it is one that Expunge takes; else a failure that says so, instead of a receipt in vain."""
        if result.claim is None:
            return result if result.expected_by is not None else failed(result.target, "invalid_result")
        try:
            Answer.model_validate(json.loads(json.dumps(result.wire())))
        except (ValidationError, TypeError, ValueError) as error:
            log.error("not a result that can be sent", system=self._system, error=type(error).__name__)
            return failed(result.target, "invalid_result")
        return result

    def _answer(self, command: Command, unfinished: dict[str, Result], seconds: float) -> None:
        """Receipts for a command: what is known, and a promise for what is not."""
        if command.malformed:
            what = {"claim": Claim.FAILED, "reason_code": MALFORMED}
            self._post.send([self._receipt(command, "failed", all=what)])
            return
        answers = self._memory.answers(command.targets)
        results = [result.wire() for result in command.unsupported]
        promise: datetime | None = None
        for target in command.targets:
            result, waits = unfinished.get(target.key), self._memory.waits(target)
            if target.key in answers:
                results.append(answers[target.key] | {"asset": target.asset})
            elif waits is not None and waits.reason:
                results.append(failed(target, waits.reason).wire())
            elif waits is not None:
                due = datetime.fromtimestamp(waits.due, UTC)
                promise = max(promise, due) if promise else due
            elif result is not None:
                results.append(result.wire())
        outgoing = [self._receipt(command, "done", results=part) for part in _parts(results)]
        if promise is not None:
            outgoing.append(self._receipt(command, "accepted", expected_by=stamp(promise)))
        self._post.send(outgoing)
        claims = Counter(str(result["claim"]) for result in results)
        claims["promised"] = len(command.targets) + len(command.unsupported) - len(results)
        counts = {claim: number for claim, number in claims.items() if number}
        self._metrics.command(self._system, counts)
        log.info("command", system=self._system, action=command.action, **counts, seconds=round(seconds, 3))

    def _let_go(self, word: Word) -> list[Outgoing]:
        """The answer to a withdrawal: what was done by then, and what had been begun when the process died.

        A long one is cut; only the last part says that the command is let go of.
        """
        *parts, last = _parts(self._memory.done_for(word.command_id)) or [[]]
        done = [self._receipt(word, "done", results=part) for part in parts]
        return [*done, self._receipt(word, "withdrawn", results=last)]

    def _receipt(self, word: Word, status: str, **fields: Any) -> Outgoing:
        sequence = self._memory.next_sequence(word.command_id, word.attempt)
        now = self._clock.now()
        data = {
            "command_id": word.command_id,
            "case_id": word.case_id,
            "system": self._system,
            "attempt": word.attempt,
            "sequence": sequence,
            "status": status,
            "performed_at": stamp(now),
            **fields,
        }
        identity = name(RECEIPT, word.command_id, word.attempt, sequence)
        event = Event(RECEIPT, f"/systems/{self._system}", identity, now, data)
        said = self._signer.event(event) if self._signer else event
        return Outgoing(f"receipts.{self._system}", word.command_id, said)


def _slices(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A result; where it discovered more than one receipt holds, the same answer several times, each with a part."""
    found = result.get("discovered", ())
    if len(json.dumps(result)) <= RESULTS_BYTES or len(found) <= 1:
        yield result
        return
    middle = len(found) // 2
    for part in (found[:middle], found[middle:]):
        yield from _slices(result | {"discovered": list(part)})


def _cut(targets: Sequence[Target], size: int) -> Iterator[list[Target]]:
    """The targets in batches of at most a size, none of which names the same twice for two commands."""
    batch: dict[str, Target] = {}
    for target in targets:
        if len(batch) >= size or target.identity in batch:
            yield list(batch.values())
            batch = {}
        batch[target.identity] = target
    if batch:
        yield list(batch.values())


def _parts(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    slices = (slice_ for each in results for slice_ in _slices(each))
    return list(light_runs(slices, lambda each: len(json.dumps(each)), RESULTS_BYTES))
