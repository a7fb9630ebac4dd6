"""One pass over topics that are kept for ever: what nobody needs any more is taken away.

Of `plans` and `assets` that is what named people and assets for forgotten cases alone; of `suppressions` it is what has
ended.

A pass decides on each message by itself, by what stands of its case now, and whatever it does may be done twice. It may
die anywhere, run beside another pass, and beside all roles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import orjson

from expunge.domain.aggregates.case.state import Case
from expunge.domain.digest import hidden
from expunge.domain.events import EARLIEST, Outgoing, Record, millis
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import MarkState, is_gone
from expunge.domain.lineage.row import Row
from expunge.domain.lineage.statement import Statement
from expunge.domain.partition import partition_of
from expunge.domain.scope import SHARDS, Group, GroupKind
from expunge.errors import ConfigurationError
from expunge.ports import Index, Sender, Topics
from expunge.ports.logs import Logs, Since
from expunge.roles.common import suppress_message
from expunge.sweep.ports import Forgotten
from expunge.wire.assets import Stated, said_anew, stated, taken_away
from expunge.wire.cases.suppression import PurposeWord, Suppress
from expunge.wire.suppressions import SuppressionSet

PATIENCE = timedelta(days=1)
"""So long after a case was forgotten: until then what stands may be set back to before that, and needs all of it."""
MOST_YOUNG = 100_000
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
    suppressions: int = 0
    """Of `suppressions`, which have ended: their owners are told."""
    young: int = 0
    """Messages of cases that were forgotten less than a day ago, or are not committed: for a later pass."""


class _Stated(NamedTuple):
    record: Record
    node: bytes
    at: datetime
    statement: Statement

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
        self._young: set[str] = set()
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
        for batch in self._batches("suppressions"):
            self._suppressions(batch)
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
            old = {k: case for k, case in known.items() if self._is_long_ago(partition, case.forgotten_at)}
            found |= old
            self._young = (self._young | (known.keys() - old.keys())) if len(self._young) < MOST_YOUNG else self._young
        return found

    def _is_long_ago(self, partition: int, moment: datetime | None) -> bool:
        committed_ms = self._committed.get(partition, 0)
        return moment is not None and moment <= self._until and millis(moment) <= committed_ms

    def _parts(self, batch: Sequence[Record]) -> None:
        parts = [(record, *_case_and_part(record)) for record in batch if record.value is not None]
        cases = self._forgotten({case_id for _, case_id, _ in parts if case_id})
        goes = [r for r, case_id, part in parts if case_id in cases and _goes(cases[case_id], part, r.appended_at)]
        self._swept.young += sum(case_id in self._young for _, case_id, _ in parts)
        self._send(map(taken_away, goes))
        self._swept.parts += len(goes)

    def _statements(self, batch: Sequence[Record]) -> None:
        stated = [each for record in batch if (each := self._read(record)) is not None]
        gone, cases = self._gone({each.node for each in stated})
        forgotten = self._forget(gone, cases)
        dead = [each for each in stated if each.node in forgotten and _is_of_before(each, gone[each.node])]
        self._send(self._without_ids(each) for each in dead)
        self._send(taken_away(each.record) for each in dead)
        self._swept.statements += len(dead)

    def _without_ids(self, each: _Stated) -> Outgoing:
        bare = each.statement.without_ids(self._keys.asset).renamed(self._keys.risen)
        return said_anew(Stated(bare, each.at), each.node, each.record.partition, SOURCE)

    def _suppressions(self, batch: Sequence[Record]) -> None:
        """Their owners take them away: nobody else writes there."""
        until = millis(self._until)
        said = [
            Suppress(suppression=(record.key or b"").decode(), words=words)
            for record in batch
            if record.value is not None and (words := _ended(record.value, until))
        ]
        self._send(suppress_message(each, self._until, SOURCE) for each in said)
        self._swept.suppressions += len(said)

    def _read(self, record: Record) -> _Stated | None:
        said = stated(record)
        return _Stated(record, said.statement.node(self._keys.asset), said.at, said.statement) if said else None

    def _gone(self, nodes: Collection[bytes]) -> tuple[dict[bytes, int], set[str]]:
        """Those of some nodes that are gone for good, since when (milliseconds since 1970); and the forgotten cases."""
        ordered = sorted(nodes)
        found = dict(zip(ordered, self._index.marks(ordered), strict=True))
        purged = {n: m for n, m in found.items() if any(each.state is MarkState.GONE for each in m)}
        known = self._forgotten({mark.case_id for marks in purged.values() for mark in marks})
        cases = {case_id for case_id, case in known.items() if case.is_forgotten}
        since = {node: max(m.since_ms for m in marks if m.state is MarkState.GONE) for node, marks in purged.items()}
        first = self._index.notes_returns_since() if purged else 0
        return {n: at for n, at in since.items() if at >= first and is_gone(purged[n], cases)}, cases

    def _forget(self, nodes: Collection[bytes], cases: Collection[str]) -> set[bytes]:
        """Take the ids out of rows; those of which no row has one any more.

        An asset that several systems have, or that has other names, keeps its id: what one of them has purged says
        nothing of the others. So does one that something was made from that stands, which must be told by name what to
        leave out, and a holding, which is asked again.
        """
        rows = {n: r for n, r in zip(sorted(nodes), self._index.rows(sorted(nodes)), strict=True) if r is not None}
        done = {node for node, row in rows.items() if row.is_forgotten and not row.asset}
        alone = {node: row for node, row in rows.items() if node not in done and _stands_alone(row)}
        wanted = {node: row for node, row in alone.items() if not self._has_children(node)}
        if wanted:
            done |= {node for node, goes in zip(wanted, self._index.forget(wanted, cases), strict=True) if goes}
        return done

    def _has_children(self, node: bytes) -> bool:
        """Whether something stands that was made from an asset."""
        children = self._index.members(Group(GroupKind.CHILDREN, node), range(SHARDS))
        rows = dict(zip(children, self._index.rows(children), strict=True))
        left = {key: row for key, row in rows.items() if row is None or not row.is_forgotten}
        gone, _ = self._gone(left) if left else ({}, set())
        return any(key not in gone or row is None or not _stands_alone(row) for key, row in left.items())

    def _send(self, outgoing: Iterable[Outgoing]) -> None:
        messages = list(outgoing)
        if messages and (refused := self._sender.send(messages)):
            raise ConfigurationError(f"Kafka refuses what a sweep writes ({refused[0].reason})")


def _ended(value: bytes, until_ms: int) -> tuple[PurposeWord, ...]:
    """Words for those purposes of a published suppression that have ended by a moment."""
    entries = SuppressionSet.model_validate(orjson.loads(value)["data"]).entries
    over = [each for each in entries if 0 < each.ends_ms <= until_ms]
    return tuple(PurposeWord(purpose=each.purpose, at_ms=each.ends_ms, word="ended") for each in over)


def _stands_alone(row: Row) -> bool:
    return len(row.combination.systems) <= 1 and not row.aliases and row.holding is None


def _is_of_before(each: _Stated, since_ms: int) -> bool:
    """Whether a statement with ids speaks of what is gone: not that it is there again."""
    return not each.statement.forgotten and (each.statement.removed or millis(each.at) <= since_ms)


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
        return not digest or case.is_forgotten or int(number) <= case.forgotten
    if kind == "aside":  # nothing waits when a case is forgotten, so what is later is news
        return case.forgotten_at is not None and at <= case.forgotten_at
    if kind in {"claims", "received"}:
        return case.is_forgotten or (case.forgotten_at is not None and at <= case.forgotten_at)
    return False
