"""The notary reads the ledger: every fact of a case once, in order, without contradiction (rule "sequences")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

import rfc8785
from pydantic import Field, StrictInt

from expunge.domain.admission.door import Door
from expunge.domain.digest import name
from expunge.domain.events import Outgoing, Position, Record, decode
from expunge.domain.topics import read_by
from expunge.domain.values import Hex, Value
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, NotaryStore, Refused, Result, Vault
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.ledger import PREFIX


@dataclass(slots=True, repr=False)
class _Write:
    before: Position | None
    after: Position
    seen: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))


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
        facts, dead = [], []
        for record in records:
            try:
                event = decode(record, max_bytes=1_048_576)
                said = _Fact.model_validate(event.data)
                facts.append((said.case_id, said.sequence, names_of(event.type, event.data)))
            except (InvalidMessage, ValueError, TypeError, RecursionError):
                dead.append(self._dead.of(record, InvalidMessage("bad_fact")))
        known = self._store.known(sorted({case_id for case_id, _, _ in facts}))
        for case_id, sequence, names in facts:
            seen = known[case_id]
            if sequence in seen and seen[sequence] not in names:
                self._metrics.count("ledger_alarms", label="contradiction")
            elif sequence not in seen and sequence > 1 and sequence - 1 not in seen:
                self._metrics.count("ledger_alarms", label="gap")
            if sequence not in seen:
                seen[sequence] = write.seen[case_id][sequence] = names[0]
        return dead

    def write(self, result: Result) -> None:
        """Keep what was seen, under the ledger's position."""
        for partition, write in result.writes.items():
            if isinstance(write, _Write):
                self._store.write(partition, write.before, write.after, write.seen)

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`."""
        return Result(((self._dead.parked(record, error),),))

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()


def names_of(kind: str, data: dict[str, Any]) -> tuple[str, str]:
    """A fact by what it says without its cause: a repetition says the same.

    Under the second name 0.1 kept it, whose bodies repeated which fact they were.
    """
    said = {key: value for key, value in data.items() if key != "cause"}
    body = {key: value for key, value in dict(said.get("body") or {}).items() if key != "fact"}
    repeated = body | {"fact": kind.removeprefix(PREFIX).removesuffix(".v1")}
    if repeated.get("control") == "":  # of a plan that nobody had to let go
        del repeated["control"]
    return name(rfc8785.dumps(said | {"body": body})), name(rfc8785.dumps(said | {"body": repeated}))
