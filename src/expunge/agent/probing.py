"""The prober's loop: questions in, a look, answers out, signed with a key that no agent has. Nothing is changed.

    class Looker:
        def probe(self, batch: Sequence[Target]) -> Sequence[Seen]:
            return [found(t) if shop.has(t.asset) else absent(t) for t in batch]

    ProbeAgent("shop", Looker(), signing_key=Path("prober.key"), bootstrap_servers="kafka:9092").run()

It remembers nothing: a question that is read again is answered again, and each finding counts once (rule "probed").
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from expunge.adapters.broker import DEFAULT
from expunge.adapters.signing import Signer
from expunge.adapters.vault import Opener
from expunge.agent.commands import UNSUPPORTED_KIND, Question, Reader
from expunge.agent.contained import reason_of
from expunge.agent.metrics import AgentMetrics
from expunge.agent.post import Post, Wait
from expunge.agent.types import Target
from expunge.domain.digest import canonical, name
from expunge.domain.events import Event, Outgoing, Record, stamp
from expunge.domain.runs import light_runs
from expunge.domain.vocabulary import WORST_FIRST, Finding
from expunge.errors import place_of
from expunge.wire.probes import ANSWERED, Found

MOST_RAISED = 40
"""So often a look at one question may raise; what is left then cannot be told."""
TARGETS_AT_ONCE, LOOK_SECONDS = 100, 120.0
RESULTS_BYTES = 600_000
"""Bytes of results in one answer; a longer one is cut into several."""
POLL_SECONDS = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class Seen:
    """What was seen of one target; made by the functions below."""

    target: Target
    finding: Finding
    reason: str = ""

    def wire(self) -> dict[str, Any]:
        """As it stands in an answer."""
        said = {"asset": self.target.asset, "finding": self.finding.value}
        return said | ({"reason_code": self.reason} if self.reason else {})


def absent(target: Target) -> Seen:
    """It is not there: of an asset, under that id; of a holding, nothing of the person up to `collected_until`."""
    return Seen(target, Finding.ABSENT)


def found(target: Target) -> Seen:
    """It is there: it will be commanded anew."""
    return Seen(target, Finding.FOUND)


def unknown(target: Target, reason: str) -> Seen:
    """It cannot be told; `reason` is a code of at most 64 lower-case letters, digits, `_`, `.` and `-`."""
    return Seen(target, Finding.UNKNOWN, reason)


class Prober(Protocol):
    """What somebody writes who looks into a system: best not who wrote its agent, and with rights to read alone."""

    def probe(self, batch: Sequence[Target]) -> Sequence[Seen]:
        """Look whether targets are there. Of one without an answer, or where something is raised, nothing is known.

        `Target.action` is `probe`; a person's id is revealed as it is to the agent, where the opening key is given.
        """


class ProbeAgent:
    """Answers what Expunge asks about one system. Several processes may serve it.

    Args:
        system: the system's name, as configured in Expunge, where its `probe_key` is this signing key.
        prober: what looks.
        signing_key: the file of the key with which answers are signed; never the agent's.
        bootstrap_servers: Kafka's addresses.
        prefix: of the deployment's topics.
        opening_key: the system's private X25519 key (hexadecimal), where identities are revealed to it.
        session_timeout_ms: after so much silence the broker gives this process up.
        options: settings of the Kafka client under its own names.
        client: the Kafka client, as `kafka.client` in a deployment's configuration.
        metrics: where to count.
    """

    def __init__(
        self,
        system: str,
        prober: Prober,
        *,
        signing_key: Path,
        bootstrap_servers: str,
        prefix: str = "expunge.",
        opening_key: str | None = None,
        session_timeout_ms: int = 10_000,
        options: dict[str, Any] | None = None,
        client: str = DEFAULT,
        metrics: AgentMetrics | None = None,
    ) -> None:
        self._system, self._prober, self._signer = system, prober, Signer.of(signing_key)
        self._reader = Reader(Opener(opening_key).open if opening_key else None)
        self._metrics = metrics or AgentMetrics()
        self._post = Post(
            system,
            "prober",
            f"probes.{system}",
            self._metrics,
            bootstrap_servers=bootstrap_servers,
            prefix=prefix,
            session_timeout_ms=session_timeout_ms,
            options=options,
            client=client,
            at_once=1,
        )
        self._is_there = False
        self.purging = False
        """Never: nothing is changed, so it may be cut off at any time."""

    def run(self, stop: threading.Event | None = None) -> None:
        """Serve until `stop` is set.

        Raises:
            ConfigurationError: its topic is missing.
            Unavailable: the broker was not reached for a minute.
        """
        self._post.run(self.turn, stop)

    def turn(self, wait: Wait = time.sleep) -> None:
        """One batch of questions, or one wait for them."""
        self._post.turn(self._work, wait)

    def _work(self, records: list[Record]) -> bool:
        if not self._is_there:  # a topic that is missing says so
            self._is_there = bool(self._post.topics.partitions(self._post.topic))
        found = self._post.records.poll(POLL_SECONDS)
        records += found
        for question in self._post.words(found, self._reader, self._reader.question, "not a question; skipped"):
            self._post.send(list(self._answers(question)))  # also when nobody waits any more: what is found counts
        self._post.records.commit(self._post.records.moved())
        return True

    def _answers(self, question: Question) -> Iterator[Outgoing]:
        seen: dict[str, Seen] = {}
        for each in look(self._system, self._prober, question.targets, self._post.clock.seconds):
            seen[each.target.asset] = min(each, seen.get(each.target.asset, each), key=_worth)
        every = [seen.get(each.asset) or unknown(each, "no_result") for each in question.targets]
        every += [unknown(each, UNSUPPORTED_KIND) for each in question.unsupported]
        counts = {each.value: sum(one.finding is each for one in every) for each in Finding}
        self._metrics.looked(self._system, counts)
        why = Counter(each.reason for each in every if each.finding is Finding.UNKNOWN)
        log.info("looked", system=self._system, **counts, **({"why": dict(why)} if why else {}))
        if counts[Finding.ABSENT] == len(every):
            yield self._answer(question, all=Finding.ABSENT.value)
            return
        for part in light_runs([each.wire() for each in every], _weight, RESULTS_BYTES):
            yield self._answer(question, results=part)

    def _answer(self, question: Question, **what: Any) -> Outgoing:
        now = self._post.clock.now()
        said = {
            "number": question.number,
            "case_id": question.case_id,
            "command_id": question.command_id,
            "system": self._system,
            "looked_at": stamp(now),
            **what,
        }
        event = Event(ANSWERED, f"/probers/{self._system}", name(ANSWERED, canonical(said)), now, said)
        return Outgoing(f"findings.{self._system}", question.command_id, self._signer.event(event))


def look(
    system: str, prober: Prober, targets: Sequence[Target], seconds: Callable[[], float] = time.monotonic
) -> list[Seen]:
    """What a prober sees; whatever it raises costs the target at which it does, and nobody else.

    It is given few at once, and no more once it has taken long: a question that takes longer than the broker waits for
    a member of its group would be read again for ever. What is left cannot be told.
    """
    begin, raised, seen = seconds(), 0, list[Seen]()
    parts = deque([targets[at : at + TARGETS_AT_ONCE] for at in range(0, len(targets), TARGETS_AT_ONCE)])
    while parts and raised < MOST_RAISED and seconds() - begin < LOOK_SECONDS:
        part = parts.popleft()
        try:
            seen += _sound(system, prober.probe(part), part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered by name
            raised += 1
            log.error("the prober raised", system=system, error=type(error).__name__, where=place_of(error))
            middle = len(part) // 2
            if middle:  # the culprit is found before others are tried
                parts.extendleft((part[middle:], part[:middle]))
            else:
                seen.append(unknown(part[0], reason_of(error)))
    why = "too_many_errors" if raised >= MOST_RAISED else "took_too_long"
    return [*seen, *(unknown(each, why) for part in parts for each in part)]


def _worth(seen: Seen) -> int:
    return WORST_FIRST.index(seen.finding)


def _sound(system: str, seen: Sequence[Seen], part: Sequence[Target]) -> list[Seen]:
    """What was seen, if it is of what was asked about; what could not be sent cannot be told.

    Raises:
        TypeError: something else was returned.
    """
    asked, told = {each.key for each in part}, list(seen)
    if not all(isinstance(each, Seen) and each.target.key in asked for each in told):
        raise TypeError("a prober returns what it has seen of the targets that it was given")
    return [each if _is_fit(system, each) else unknown(each.target, "invalid_result") for each in told]


def _is_fit(system: str, seen: Seen) -> bool:
    """Whether Expunge takes it. What was found is said whatever its reason is."""
    try:
        Found.model_validate(json.loads(json.dumps(seen.wire())))
    except (ValidationError, TypeError, ValueError, AttributeError) as error:
        log.error("not a finding that can be sent", system=system, error=type(error).__name__)
        return False
    return True


def _weight(result: dict[str, Any]) -> int:
    return len(json.dumps(result))
