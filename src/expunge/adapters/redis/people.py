"""People's names in the index on Redis; see `ports.people.People`."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from expunge.adapters.redis.index import SPILLED, RedisIndex, placed, unpacked
from expunge.adapters.redis.server import TAGS, Server
from expunge.domain.lineage.row import Row
from expunge.ports.people import Name

BUCKETS_PER_TRIP = 64
_ADOPTED = struct.Struct(">I16sI")


class RedisPeople:
    """See `ports.people.People`."""

    def __init__(self, server: Server, index: RedisIndex) -> None:
        self._server, self._index = server, index

    def named(self, epoch: int) -> Iterator[list[Name]]:
        """See `ports.people.People.named`: buckets are read with plain commands, a few at a time."""
        places = [(tag, place) for tag in range(TAGS) for place in range(self._server.width)]
        for start in range(0, len(places), BUCKETS_PER_TRIP):
            trip = places[start : start + BUCKETS_PER_TRIP]
            reads = [(tag, ("HKEYS", self._server.key(tag, f"{part}:{place}"))) for tag, place in trip for part in "sm"]
            found = [[node for node in nodes if node[0] == epoch] for nodes in self._server.read(reads)]
            people, marked = (sorted({node for nodes in found[at::2] for node in nodes}) for at in (0, 1))
            known = set(people)
            alone = [Name(node, has_members=False) for node in marked if node not in known]
            yield [*(Name(node, has_members=True) for node in people), *alone]

    def members(self, nodes: Sequence[bytes]) -> list[Sequence[bytes] | None]:
        """See `ports.people.People.members`."""
        place = self._server.in_bucket
        found = self._server.read([(node[1], ("HGET", place("s", node), node)) for node in nodes])
        return [None if packed == SPILLED else unpacked(packed or b"") for packed in found]

    def adopt_marks(self, names: Sequence[tuple[bytes, bytes]]) -> int:
        """See `ports.people.People.adopt_marks`."""
        old = sorted({before for before, _ in names})
        found = {
            node: packed
            for nodes, reply in self._index.on_nodes("marks", (), old, placed)
            for node, packed in zip(nodes, reply, strict=True)
        }
        given: dict[bytes, list[bytes]] = defaultdict(list)
        for before, after in names:
            if found[before]:
                given[after].append(found[before])

        def packed(node: bytes, bucket: int) -> bytes:
            marks = b"".join(given[node])
            return _ADOPTED.pack(bucket, node, len(marks)) + marks

        return sum(number for _, number in self._index.on_nodes("adopt", (), list(given), packed))

    def rename(self, changes: Mapping[bytes, Callable[[Row], Row]]) -> int:
        """See `ports.people.People.rename`: compare and set; what has changed meanwhile is read again."""
        left, number = list(changes), 0
        while left:
            rows = dict(zip(left, self._index.rows(left), strict=True))
            wanted = {node: (row, changes[node](row)) for node, row in rows.items() if row is not None}
            fresh = {node: (row.encode(), after.encode()) for node, (row, after) in wanted.items() if row != after}
            done = self._index.replace("rename", (), fresh)
            number += len(done)
            left = [node for node in fresh if node not in done]
        return number

    def drop(self, nodes: Sequence[bytes]) -> None:
        """See `ports.people.People.drop`."""
        self._index.on_nodes("drop", (), nodes, placed)
