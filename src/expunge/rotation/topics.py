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

import orjson

from expunge.domain.events import EARLIEST, Event, Outgoing, Record
from expunge.domain.identity import Keys
from expunge.domain.lineage.statement import Statement, identity_of, in_row
from expunge.errors import ConfigurationError
from expunge.ports import Sender
from expunge.ports.logs import Since
from expunge.ports.people import People
from expunge.wire.assets import Stated, said_anew, stated, taken_away
from expunge.wire.cases.case import Root

SOURCE = "/expunge/rotation"
AT_ONCE = 1_000
FORGOTTEN_ROOT = b":root:forgotten"
MOST_GONE = 2_000_000
"""Keys of messages that were taken away and lie there still; of more it is written anew what they had said."""


class Renaming:
    """Writes anew, under the newest secret, what names people under an earlier one.

    Args:
        since: reads a topic to its end.
        people: people's names in the index.
        sender: writes.
        keys: which know all secrets.
        tell: is told how many records were looked at since the last time.
    """

    def __init__(self, since: Since, people: People, sender: Sender, keys: Keys, tell: Callable[[int], None]) -> None:
        self._since, self._people, self._sender, self._keys, self._tell = since, people, sender, keys, tell

    def run(self) -> int:
        """The whole pass; how many messages were written anew, and rows changed.

        The record of a case that is not forgotten is evidence, and stays as it was written.

        Raises:
            Unavailable: a server is away. What was done by then is done.
            ConfigurationError: Kafka refuses what is written.
        """
        gone = self._gone("assets")
        stands = ([each for each in batch if each.key not in gone] for batch in self._batches("assets"))
        return sum(map(self._statements, stands)) + sum(map(self._roots, self._batches("plans")))

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

    def _statements(self, batch: Sequence[Record]) -> int:
        """Rows first: who names whom follows from what is said, by whatever secret it was said."""
        old, new = list[Record](), list[Outgoing]()
        rows: dict[bytes, list[Statement]] = defaultdict(list)
        newest, key = self._keys.newest, self._keys.asset
        for record in batch:
            said = stated(record)
            if said is None or not said.statement.subjects:
                continue
            after, node = said.statement.renamed(newest), said.statement.node(key)
            if after is not said.statement or len(after.subjects) > 1:
                rows[node].append(after)
            if after is not said.statement:
                name = (node.hex() + identity_of(said.statement.data())).encode()
                old.append(record)
                new.append(said_anew(Stated(after, said.at), node, record.partition, SOURCE, apart=record.key != name))
        changed = self._people.rename({node: partial(in_row, some, newest) for node, some in rows.items()})
        self._send(new)
        self._send(map(taken_away, old))
        return changed + len(old)

    def _roots(self, batch: Sequence[Record]) -> int:
        kept = [record for record in batch if record.value and (record.key or b"").endswith(FORGOTTEN_ROOT)]
        renamed = [each for record in kept if (each := self._root(record)) is not None]
        self._send(renamed)
        return len(renamed)

    def _root(self, record: Record) -> Outgoing | None:
        event = orjson.loads(record.value or b"")
        before = Root.model_validate(event["data"])
        after = before.renamed(self._keys.newest)
        if after == before:
            return None
        at, data = datetime.fromisoformat(event["time"]), after.model_dump(mode="json")
        said = Event(event["type"], SOURCE, event["id"], at, data)
        return Outgoing(record.topic, (record.key or b"").decode(), said, record.partition)

    def _send(self, outgoing: Iterable[Outgoing]) -> None:
        messages = list(outgoing)
        if messages and (refused := self._sender.send(messages)):
            raise ConfigurationError(f"Kafka refuses what a rotation writes ({refused[0].reason})")
