"""What made an aggregate speak, and the messages that it leads to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record, millis
from expunge.domain.values import Value
from expunge.roles.common import COORDINATOR, on_cases
from expunge.wire import ledger
from expunge.wire.cases.said import CaseEvent, SaidAt


@dataclass(slots=True, repr=False)
class Waves:
    """Messages in the order in which they must become durable: what a fact or a confirmation speaks of comes first.

    See rule "refused records".
    """

    first: list[Outgoing] = field(default_factory=list)
    last: list[Outgoing] = field(default_factory=list)
    facts: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    """By case or model, in order: they leave last, with what else does."""

    def take(self, others: Waves) -> None:
        """Add what another part of the work leads to."""
        self.first += others.first
        self.last += others.last
        for key, facts in others.facts.items():
            self.facts[key] += facts

    @property
    def size(self) -> int:
        """How many messages and facts there are."""
        return len(self.first) + len(self.last) + sum(map(len, self.facts.values()))

    def all(self) -> tuple[tuple[Outgoing, ...], ...]:
        """The waves that hold something."""
        on_ledger = (record for key, facts in self.facts.items() for record in ledger.records(key, facts))
        return tuple(wave for wave in (tuple(self.first), (*self.last, *on_ledger)) if wave)


@dataclass(frozen=True, slots=True, repr=False)
class Cause:
    """The message on `cases` that is decided on."""

    record: Record
    event: CloudEvent

    @property
    def at(self) -> datetime:
        """When the broker took it."""
        return self.record.appended_at

    @property
    def at_ms(self) -> int:
        """The same in milliseconds since 1970."""
        return millis(self.at)

    def said_at(self, who: str) -> tuple[int, SaidAt]:
        """The partition, and what rises in it with everything that its cases say."""
        position = self.record.position
        return self.record.partition, (position.leader_epoch, position.offset, who)

    def output(self, kind: str, *content: str | int) -> str:
        """The id of an event that it leads to (rule "time and ids")."""
        return name(self.event.source, self.event.id, kind, *content)

    def say(
        self, message: CaseEvent, *content: str | int, key: str = "", partition: int | None = None, whole: bool = True
    ) -> Outgoing:
        """A message on `cases` that it leads to; see `on_cases`."""
        cause = (self.event.source, self.event.id)
        return on_cases(message, self.at, COORDINATOR, *content, cause=cause, key=key, partition=partition, whole=whole)

    def facts(self, key: str, policy: str, facts: Iterable[tuple[int, Value]], at: datetime) -> Iterator[Event]:
        """Facts for the ledger: named by aggregate and sequence, with what caused them and the policy."""
        position = self.record.position
        cause = {
            "partition": self.record.partition,
            "leader_epoch": position.leader_epoch,
            "offset": position.offset,
        }
        for sequence, fact in facts:
            kind = ledger.type_of(type(fact))
            data = {
                "case_id": key,
                "sequence": sequence,
                "cause": cause,
                "policy": policy,
                "body": fact.model_dump(mode="json"),
            }
            yield Event(kind, COORDINATOR, name(kind, key, sequence), at, data)
