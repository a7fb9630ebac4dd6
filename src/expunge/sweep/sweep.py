"""One pass over `plans` and `assets`: what named people and assets there for forgotten cases alone is taken away.

A pass decides on each message by itself, by what stands of its case now, and whatever it does may be done twice. It may
die anywhere, run beside another pass, and beside all roles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import orjson

from expunge.domain.aggregates.case.state import Case
from expunge.domain.digest import hidden
from expunge.domain.events import EARLIEST, Event, Outgoing, Record, millis
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import Mark, MarkState
from expunge.domain.lineage.statement import Statement, identity_of
from expunge.domain.partition import partition_of
from expunge.errors import ConfigurationError
from expunge.ports import Index, Sender, Topics
from expunge.ports.logs import Logs
from expunge.sweep.ports import Forgotten, Since
from expunge.wire.assets import STATED

PATIENCE = timedelta(days=1)
"""So long after a case was forgotten: until then what stands may be set back to before that, and needs all of it."""
AT_ONCE = 1_000
"""Records that are looked up together."""
SOURCE, COORDINATOR = "/expunge/sweep", "coordinator"

Tell = Callable[[str, int], None]
"""Is told a topic, and how many of its records have been looked at since the last time."""


@dataclass(slots=True)
class Swept:
    """How many messages were taken away, or written anew without ids."""

    parts: int = 0
    """Of `plans`."""
    statements: int = 0
    """Of `assets`: keys stand in their place."""
    shortened: int = 0
    """Statements about other assets, which named forgotten ones as what they were made from."""


class _Stated(NamedTuple):
    record: Record
    node: bytes
    at: datetime
    statement: Statement
    parents: dict[str, bytes]

    def __repr__(self) -> str:
        return hidden(self)


class Sweep:
    """Takes away what nobody needs."""

    def __init__(
        self,
        since: Since,
        logs: Logs,
        store: Forgotten,
        index: Index,
        topics: Topics,
        sender: Sender,
        keys: Keys,
        now: datetime,
        tell: Tell,
    ) -> None:
        self._since, self._store, self._index, self._topics, self._sender = since, store, index, topics, sender
        self._keys, self._until, self._tell, self._swept = keys, now - PATIENCE, tell, Swept()
        reached = logs.committed_by(COORDINATOR)
        self._committed = {number: each.at_ms for (topic, number), each in reached.items() if topic == "cases"}
        """Partition -> until when a rebuild would restore it, as things are now (milliseconds since 1970)."""

    def run(self) -> Swept:
        """The whole pass.

        Raises:
            Unavailable: a server is away. What was done by then is done; the next pass does the rest.
            ConfigurationError: Kafka refuses to take messages away.
        """
        for batch in self._batches("plans"):
            self._parts(batch)
        for batch in self._batches("assets"):
            self._statements(batch)
        return self._swept

    def _batches(self, topic: str) -> Iterator[Sequence[Record]]:
        records = self._since(topic, EARLIEST)
        while batch := list(islice(records, AT_ONCE)):
            yield batch
            self._tell(topic, len(batch))

    def _forgotten(self, case_ids: Collection[str]) -> dict[str, Case]:
        """Those of some cases that have been forgotten for long enough, whatever stands may be set back to."""
        mine: dict[int, set[str]] = defaultdict(set)
        for case_id in case_ids:
            mine[partition_of(case_id, self._topics.partitions("cases"))].add(case_id)
        found: dict[str, Case] = {}
        for partition, ids in sorted(mine.items()):
            known = self._store.forgotten(partition, ids)
            found |= {k: case for k, case in known.items() if self._is_long_ago(partition, case.forgotten_at)}
        return found

    def _is_long_ago(self, partition: int, moment: datetime | None) -> bool:
        committed_ms = self._committed.get(partition, 0)
        return moment is not None and moment <= self._until and millis(moment) <= committed_ms

    def _parts(self, batch: Sequence[Record]) -> None:
        parts = [(record, *_case_and_part(record)) for record in batch if record.value is not None]
        cases = self._forgotten({case_id for _, case_id, _ in parts if case_id})
        goes = [r for r, case_id, part in parts if case_id in cases and _goes(cases[case_id], part, r.appended_at)]
        self._send(map(_taken_away, goes))
        self._swept.parts += len(goes)

    def _statements(self, batch: Sequence[Record]) -> None:
        stated = [each for record in batch if (each := self._read(record)) is not None]
        gone = self._gone({node for each in stated for node in (each.node, *each.parents.values())})
        dead = [each for each in stated if each.node in gone and millis(each.at) <= gone[each.node]]
        forgotten = self._forget({each.node for each in dead})
        dead = [each for each in dead if each.node in forgotten]
        self._forget_names(dead)
        self._replace((each, each.statement.without_ids(self._keys.asset)) for each in dead)
        self._swept.statements += len(dead)
        self._shorten([each for each in stated if each.node not in forgotten], gone)

    def _forget(self, nodes: Collection[bytes]) -> set[bytes]:
        """Take the ids out of rows; those of which none is there any more."""
        rows = {n: r for n, r in zip(sorted(nodes), self._index.rows(sorted(nodes)), strict=True) if r is not None}
        named = {node: row for node, row in rows.items() if not row.is_forgotten}
        done = {node for node, goes in zip(named, self._index.forget(named), strict=True) if goes}
        return done | (set(rows) - set(named))

    def _read(self, record: Record) -> _Stated | None:
        if record.value is None:
            return None
        event = orjson.loads(record.value)
        if event["type"] != STATED:
            return None
        statement, key = Statement.of(event["data"]), self._keys.asset
        parents = {each: key(each) for each in statement.parents}
        if statement.forgotten:
            return None
        return _Stated(record, key(statement.asset), datetime.fromisoformat(event["time"]), statement, parents)

    def _gone(self, nodes: Collection[bytes]) -> dict[bytes, int]:
        """Those of some nodes of which nobody needs more than their key, and since when they are gone (milliseconds).

        Every case that has been there had them purged, and is forgotten.
        """
        found = {n: m for n, m in zip(sorted(nodes), self._index.marks(sorted(nodes)), strict=True) if _are_gone(m)}
        cases = self._forgotten({mark.case_id for marks in found.values() for mark in marks})
        free = {case_id for case_id, case in cases.items() if case.is_forgotten}
        return {
            node: min(mark.since_ms for mark in marks)
            for node, marks in found.items()
            if all(mark.case_id in free for mark in marks)
        }

    def _forget_names(self, dead: Iterable[_Stated]) -> None:
        """Other names of what is gone are rows of their own, which name it."""
        owners = {alias: each.statement.asset for each in dead for alias in each.statement.aliases}
        names = {self._keys.asset(alias): owner for alias, owner in owners.items()}
        rows = zip(names, self._index.rows(list(names)), strict=True)
        bare = {n: row for n, row in rows if row and not row.combination.kinds and set(row.aliases) <= {names[n]}}
        if bare:
            self._index.forget_names(bare)

    def _shorten(self, stated: Iterable[_Stated], gone: Mapping[bytes, int]) -> None:
        """What stays names the keys of what it was made from, where that is gone."""
        found = [(each, {name: n for name, n in each.parents.items() if n in gone}) for each in stated]
        anew = [(each, each.statement.forgetting(forgotten)) for each, forgotten in found if forgotten]
        self._replace(anew)
        self._swept.shortened += len(anew)

    def _replace(self, anew: Iterable[tuple[_Stated, Statement]]) -> None:
        """Statements by others of the same moment: first the new message, then the old one goes."""
        both = list(anew)
        self._send(_stated_anew(each, statement) for each, statement in both)
        self._send(_taken_away(each.record) for each, _ in both)

    def _send(self, outgoing: Iterable[Outgoing]) -> None:
        messages = list(outgoing)
        if messages and (refused := self._sender.send(messages)):
            raise ConfigurationError(f"Kafka refuses what a sweep writes ({refused[0].reason})")


def _are_gone(marks: Sequence[Mark]) -> bool:
    return bool(marks) and all(mark.state is MarkState.GONE and not mark.stated_again for mark in marks)


def _case_and_part(record: Record) -> tuple[str, str]:
    """The case that a message of `plans` belongs to, and which part of it; empty where it belongs to none."""
    key = (record.key or b"").decode()
    if key.startswith("kept:aside:"):  # what waited for it while it was frozen
        return key.split(":")[2], "aside"
    case_id, _, part = key.partition(":")
    return (case_id, part) if part and case_id not in {"kept", "policy"} else ("", "")


def _goes(case: Case, part: str, at: datetime) -> bool:
    """Whether nobody needs a part of a case that is forgotten, and may have been opened again since."""
    kind, _, rest = part.partition(":")
    if part == "root":  # what stays of it lies beside it
        return True
    if kind == "chunk":  # 0.1 did not say of which generation
        number, _, digest = rest.partition(":")
        return not digest or int(number) <= case.forgotten
    if kind in {"claims", "received", "aside"}:
        return case.is_forgotten or (case.forgotten_at is not None and at <= case.forgotten_at)
    return False


def _taken_away(record: Record) -> Outgoing:
    return Outgoing(record.topic, (record.key or b"").decode(), None, record.partition)


def _stated_anew(each: _Stated, statement: Statement) -> Outgoing:
    """The statement under another name, as of the same moment."""
    data = statement.data()
    name = each.node.hex() + identity_of(data | {"since": millis(each.at)})
    return Outgoing("assets", name, Event(STATED, SOURCE, name, each.at, data), each.record.partition)
