"""The notary reads the ledger: every fact of a case once, in order, without contradiction (rule "sequences").

Where evidence is kept it makes a Merkle log of the ledger besides, signs checkpoints of it, and issues a certificate
when a case has ended (rule "logged").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import Field, StrictInt

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.closing import Closed
from expunge.domain.aggregates.case.forgetting import Forgotten
from expunge.domain.aggregates.case.probing import ProbeEnded
from expunge.domain.continuity import Reached
from expunge.domain.digest import canonical, name
from expunge.domain.events import Outgoing, Position, Record, decode, millis
from expunge.domain.topics import read_by
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import FINAL
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, NotaryStore, Refused, Result, Vault
from expunge.ports.evidence import Due, Leaf
from expunge.roles.certifying import LOSSES, Evidence
from expunge.roles.dead_letters import DeadLetters
from expunge.wire import ledger, operations

FORGOTTEN, CLOSED, PROBED = (ledger.type_of(each) for each in (Forgotten, Closed, ProbeEnded))
FLOOR = 0
"""Among the numbers of a case's facts: up to where they are known no more, for the case was forgotten then."""


@dataclass(slots=True, repr=False)
class _Write:
    before: Position | None
    after: Position | None
    """None: all of it was known before, but for the log."""
    leaves: list[Leaf] = field(default_factory=list)
    seen: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    forgotten: set[str] = field(default_factory=set)
    """Cases of which only what is seen now stays known."""


class _Told(NamedTuple):
    """A record, and what it tells of; nothing where it cannot be read."""

    record: Record
    facts: list[tuple[_Fact, str, str, dict[str, Any]]] | None
    is_loss: bool = False

    def leaf(self) -> Leaf:
        """The record as a leaf of the log."""
        record = self.record
        reached = Reached(record.position.offset + 1, record.position, millis(record.appended_at))
        facts = self.facts or ()
        keys = [fact.case_id for fact, *_ in facts] + ([LOSSES] if self.is_loss else [])
        ends = [
            Due(fact.case_id, fact.sequence, record.appended_at) for fact, _, kind, data in facts if is_end(kind, data)
        ]
        return Leaf(reached, record.value or b"", tuple(keys), tuple(ends))


def is_end(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a certificate is made of what was said up to a fact: the case ended, or was probed after that."""
    body = data.get("body")
    return kind == CLOSED or (kind == PROBED and isinstance(body, dict) and body.get("status") in FINAL)


class _Fact(Value):
    """What the notary looks at in a fact."""

    case_id: Hex
    sequence: Annotated[StrictInt, Field(ge=1)]


class Notary:
    """See `ports.Role`."""

    name = "notary"
    keeps_time = False
    cuts_batches = False
    topics = read_by(name)

    def __init__(
        self, door: Door, store: NotaryStore, vault: Vault, metrics: Metrics, evidence: Evidence | None = None
    ) -> None:
        self._store, self._metrics, self._evidence = store, metrics, evidence
        self._dead = DeadLetters(self.name, door, vault, metrics)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Check the facts of a batch against what was seen before; alarms are metrics, the ledger cannot be mended."""
        writes: dict[int, _Write] = {}
        outgoing: list[Outgoing] = []
        for partition in sorted({record.partition for record in batch}):
            before = self._store.position(partition)
            told = [_told(record) for record in batch if record.partition == partition]
            new = [each for each in told if before is None or each.record.position > before]
            write = _Write(before, new[-1].record.position if new else None)
            if self._evidence is not None:
                write.leaves = [each.leaf() for each in told]
            outgoing += self._check(new, write)
            writes[partition] = write
        return Result((tuple(outgoing),), dict(writes))

    def _check(self, told: Sequence[_Told], write: _Write) -> list[Outgoing]:
        dead = [self._dead.of(each.record, InvalidMessage("bad_fact")) for each in told if each.facts is None]
        facts = [fact for each in told for fact in each.facts or ()]
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
            if not isinstance(write, _Write):
                continue
            if self._evidence is not None:
                self._evidence.log(write.leaves)
            if write.after is not None:
                self._store.write(partition, write.before, write.after, write.seen, write.forgotten)

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`."""
        before = self._store.position(record.partition)
        is_new = before is None or record.position > before
        write = _Write(before, record.position if is_new else None)
        if self._evidence is not None:
            write.leaves = [_Told(record, None).leaf()]
        return Result(((self._dead.parked(record, error),) if is_new else (),), {record.partition: write})

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Where evidence is kept: a checkpoint, once a minute at least, and the certificates that are due."""
        return self._evidence.tick(now) if self._evidence is not None and partitions else ()

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""
        if self._evidence is not None:
            self._evidence.ticked()


def _told(record: Record) -> _Told:
    try:
        event = decode(record, max_bytes=1_048_576)
        facts = [_read(each) for each in ledger.facts_of({"type": event.type, "data": event.data})]
        return _Told(record, facts, event.type == operations.LOSS)
    except (InvalidMessage, ValueError, TypeError, RecursionError):
        return _Told(record, None)


def _read(event: Mapping[str, Any]) -> tuple[_Fact, str, str, dict[str, Any]]:
    data = event["data"]
    return _Fact.model_validate(data), name_of(data), event["type"], data


def name_of(data: dict[str, Any]) -> str:
    """A fact by what it says without its cause: a repetition says the same."""
    return name(canonical(_said(data)))


def name_in_0_1(kind: str, data: dict[str, Any]) -> str:
    """What 0.1 called a fact, whose bodies repeated which fact they were."""
    said = _said(data)
    body = said["body"] | {"fact": kind.removeprefix(operations.PREFIX).removesuffix(".v1")}
    if body.get("control") == "":  # of a plan that nobody had to let go
        del body["control"]
    return name(canonical(said | {"body": body}))


def _said(data: dict[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in data.items() if key != "cause"}
    return said | {"body": {key: value for key, value in dict(said.get("body") or {}).items() if key != "fact"}}
