"""The notary reads the ledger: every fact of a case once, in order, without contradiction (rule "sequences")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StrictInt

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.forgetting import Forgotten
from expunge.domain.digest import canonical, name
from expunge.domain.events import Outgoing, Position, Record, decode
from expunge.domain.topics import read_by
from expunge.domain.values import Hex, Value
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, NotaryStore, Refused, Result, Vault
from expunge.roles.dead_letters import DeadLetters
from expunge.wire import ledger

FORGOTTEN = f"{ledger.PREFIX}{Forgotten.fact}.v1"
FLOOR = 0
"""Among the numbers of a case's facts: up to where they are known no more, for the case was forgotten then."""


@dataclass(slots=True, repr=False)
class _Write:
    before: Position | None
    after: Position
    seen: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    forgotten: set[str] = field(default_factory=set)
    """Cases of which only what is seen now stays known."""


class _Fact(Value):
    """What the notary looks at in a fact."""

    case_id: Hex
    sequence: Annotated[StrictInt, Field(ge=1)]


class Notary:
    """See `ports.Role`."""

    name = "notary"
    keeps_time = False
    topics = read_by(name)

    def __init__(self, door: Door, store: NotaryStore, vault: Vault, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._dead = DeadLetters(self.name, door, vault, metrics)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Check the facts of a batch against what was seen before; alarms are metrics, the ledger cannot be mended."""
        writes: dict[int, _Write] = {}
        outgoing: list[Outgoing] = []
        for partition in sorted({record.partition for record in batch}):
            before = self._store.position(partition)
            records = [r for r in batch if r.partition == partition and (before is None or r.position > before)]
            if records:
                writes[partition] = _Write(before, records[-1].position)
                outgoing += self._check(records, writes[partition])
        return Result((tuple(outgoing),), dict(writes))

    def _check(self, records: Sequence[Record], write: _Write) -> list[Outgoing]:
        facts: list[tuple[_Fact, str, str, dict[str, Any]]] = []
        dead = []
        for record in records:
            try:
                event = decode(record, max_bytes=1_048_576)
                facts += map(_read, ledger.facts_of({"type": event.type, "data": event.data}))
            except (InvalidMessage, ValueError, TypeError, RecursionError):
                dead.append(self._dead.of(record, InvalidMessage("bad_fact")))
        known = self._store.known(sorted({fact.case_id for fact, *_ in facts}))
        for fact, called, kind, data in facts:
            seen, sequence = known[fact.case_id], fact.sequence
            if sequence < int(seen.get(FLOOR, "0")):  # nobody can say any more whether it is the same
                continue
            if kind == FORGOTTEN and sequence not in seen and sequence - 1 in seen:
                seen.clear()
                seen |= {FLOOR: str(sequence), sequence: called}
                write.seen[fact.case_id] = dict(seen)
                write.forgotten.add(fact.case_id)
            elif sequence not in seen:
                if sequence > 1 and sequence - 1 not in seen:
                    self._metrics.count("ledger_alarms", label="gap")
                seen[sequence] = write.seen[fact.case_id][sequence] = called
            elif seen[sequence] not in {called, name_in_0_1(kind, data)}:
                self._metrics.count("ledger_alarms", label="contradiction")
        return dead

    def write(self, result: Result) -> None:
        """Keep what was seen, under the ledger's position."""
        for partition, write in result.writes.items():
            if isinstance(write, _Write):
                self._store.write(partition, write.before, write.after, write.seen, write.forgotten)

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`."""
        before = self._store.position(record.partition)
        if before is not None and record.position <= before:
            return Result()
        return Result(((self._dead.parked(record, error),),), {record.partition: _Write(before, record.position)})

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""


def _read(event: Mapping[str, Any]) -> tuple[_Fact, str, str, dict[str, Any]]:
    data = event["data"]
    return _Fact.model_validate(data), name_of(data), event["type"], data


def name_of(data: dict[str, Any]) -> str:
    """A fact by what it says without its cause: a repetition says the same."""
    return name(canonical(_said(data)))


def name_in_0_1(kind: str, data: dict[str, Any]) -> str:
    """What 0.1 called a fact, whose bodies repeated which fact they were."""
    said = _said(data)
    body = said["body"] | {"fact": kind.removeprefix(ledger.PREFIX).removesuffix(".v1")}
    if body.get("control") == "":  # of a plan that nobody had to let go
        del body["control"]
    return name(canonical(said | {"body": body}))


def _said(data: dict[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in data.items() if key != "cause"}
    return said | {"body": {key: value for key, value in dict(said.get("body") or {}).items() if key != "fact"}}
