"""People's names on topics that are kept for ever, from one secret to the next; and in rows, as statements say them.

A pass finds everything by looking at everything. It may die anywhere, run twice, and beside all roles: what is taken
away is written anew before. What a rebuild restores does not depend on it; whether a row names one person or two does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

import orjson

from expunge.domain.digest import hidden
from expunge.domain.events import EARLIEST, Event, Outgoing, Record
from expunge.domain.identity import Keys
from expunge.domain.lineage.statement import Statement, identity_of, in_row
from expunge.errors import ConfigurationError
from expunge.ports import Index, Sender
from expunge.ports.logs import Since
from expunge.ports.people import People
from expunge.wire.assets import Stated, said_anew, stated, taken_away
from expunge.wire.cases.case import Root

SOURCE = "/expunge/rotation"
AT_ONCE = 1_000
FORGOTTEN_ROOT = b":root:forgotten"
MOST_GONE = 2_000_000
"""Keys of messages that were taken away and lie there still; of more it is written anew what they had said."""


class _Named(NamedTuple):
    """A statement, its asset, and what it says under the newest secret."""

    record: Record
    said: Stated
    node: bytes
    after: Statement
    is_old: bool

    def __repr__(self) -> str:
        return hidden(self)


class Renaming:
    """Writes anew, under the newest secret, what names people under an earlier one.

    Args:
        since: reads a topic to its end.
        people: people's names in the index.
        index: the index.
        sender: writes.
        keys: which know all secrets.
        tell: is told how many records were looked at since the last time.
    """

    def __init__(
        self, since: Since, people: People, index: Index, sender: Sender, keys: Keys, tell: Callable[[int], None]
    ) -> None:
        self._since, self._people, self._index, self._sender = since, people, index, sender
        self._keys, self._tell = keys, tell
        self.written = 0
        """How many statements were written anew."""

    def rows(self, *, writes: bool = True) -> int:
        """A pass over `assets`; how many rows name people otherwise now.

        Args:
            writes: whether statements are written anew, too. What was written lies there beside what it replaces until
                Kafka has compacted that, so a pass that is made again does not write again.

        Raises:
            Unavailable: a server is away. What was done by then is done.
            ConfigurationError: Kafka refuses what is written.
        """
        gone = self._gone("assets")
        changed = 0
        for batch in self._batches("assets"):
            stands = (record for record in batch if record.key not in gone)
            named = list(filter(None, map(self._named, stands)))
            changed += self._rows(named)
            if writes:
                self._write(named)
        return changed

    def roots(self) -> None:
        """A pass over `plans`: what stays of forgotten cases. The record of any other is evidence, and stays as it is.

        Raises:
            Unavailable: as above.
            ConfigurationError: as above.
        """
        for batch in self._batches("plans"):
            kept = [record for record in batch if record.value and (record.key or b"").endswith(FORGOTTEN_ROOT)]
            self._send(each for record in kept if (each := self._root(record)) is not None)

    def _gone(self, topic: str) -> set[bytes]:
        """The keys of what was taken away, and is there until Kafka has compacted it: nobody says it any more."""
        gone: set[bytes] = set()
        for record in self._since(topic, EARLIEST):
            key = record.key or b""
            if record.value is not None:
                gone.discard(key)
            elif len(gone) < MOST_GONE:
                gone.add(key)
        return gone

    def _batches(self, topic: str) -> Iterator[Sequence[Record]]:
        records = self._since(topic, EARLIEST)
        while batch := list(islice(records, AT_ONCE)):
            yield batch
            self._tell(len(batch))

    def _named(self, record: Record) -> _Named | None:
        """A statement that names somebody under an earlier secret, or one person perhaps by several names."""
        said = stated(record)
        if said is None:
            return None
        after = said.statement.renamed(self._keys.risen)
        is_old = after is not said.statement
        node = said.statement.node(self._keys.asset)
        return _Named(record, said, node, after, is_old) if is_old or len(after.subjects) > 1 else None

    def _rows(self, named: Iterable[_Named]) -> int:
        """Who names whom follows from what is said, by whatever secret it was said."""
        rows: dict[bytes, list[Statement]] = defaultdict(list)
        for each in named:
            rows[each.node].append(each.after)
        return self._people.rename({node: partial(in_row, some, self._keys.risen) for node, some in rows.items()})

    def _write(self, named: Iterable[_Named]) -> None:
        """An asset that no case has been at cannot have come back: what is said of it later takes this one's place.

        Of any other both stand: the later one may say that it is there again, and its moment must not go back.
        """
        old = [each for each in named if each.is_old]
        nodes = sorted({each.node for each in old})
        marked = dict(zip(nodes, map(bool, self._index.marks(nodes)), strict=True)) if nodes else {}
        self._send(_anew(each, apart=marked[each.node]) for each in old)
        self._send(taken_away(each.record) for each in old)
        self.written += len(old)

    def _root(self, record: Record) -> Outgoing | None:
        event = orjson.loads(record.value or b"")
        before = Root.model_validate(event["data"])
        after = before.renamed(self._keys.risen)
        if after == before:
            return None
        at, data = datetime.fromisoformat(event["time"]), after.model_dump(mode="json")
        said = Event(event["type"], SOURCE, event["id"], at, data)
        return Outgoing(record.topic, (record.key or b"").decode(), said, record.partition)

    def _send(self, outgoing: Iterable[Outgoing]) -> None:
        messages = list(outgoing)
        if messages and (refused := self._sender.send(messages)):
            raise ConfigurationError(f"Kafka refuses what a rotation writes ({refused[0].reason})")


def _anew(each: _Named, *, apart: bool) -> Outgoing:
    """Under the name that an indexer gives it, unless it is to stand apart; what stands apart goes on to do so."""
    plain = (each.node.hex() + identity_of(each.said.statement.data())).encode()
    said = Stated(each.after, each.said.at)
    return said_anew(said, each.node, each.record.partition, SOURCE, apart=apart or each.record.key != plain)
