"""The lineage index on Redis: packed rows, edges, memberships and marks in small bucketed hashes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from expunge.adapters.store.server import TAGS, Server
from expunge.domain.digest import SIZE, digest
from expunge.domain.plan import MAX_EXCLUDED
from expunge.domain.scope import Arrival
from expunge.domain.statement import Row, Statement
from expunge.domain.walk import Step, Visit
from expunge.ports import SHARDS, IndexStats, Mark

T = TypeVar("T")
_MARK = 49
_MARK_PARTS = struct.Struct(">16s8s8s1s8sQ")
_SPILLED = b"S"


class _Calls:
    """One call of a script for each tag that is touched, and the way back to the order of the items."""

    def __init__(self, server: Server, script: str, kinds: str, head: Sequence[Any]) -> None:
        self._server, self._script, self._kinds, self._head = server, script, kinds, head
        self._keys: dict[int, list[bytes]] = {}
        self._first: dict[int, int] = {}
        self._arguments: dict[int, list[Any]] = {}
        self._items: dict[int, list[int]] = {}

    def add(self, item: int, node: bytes, *arguments: Any) -> None:
        """An item that concerns a node: its bucket's keys, then the node, then the arguments."""
        bucket = self._server.bucket(node)
        tag = bucket % TAGS
        keys = self._keys.setdefault(tag, [])
        if bucket not in self._first:
            self._first[bucket] = len(keys) + 2
            keys += [self._server.key(tag, f"{kind}:{bucket}") for kind in self._kinds]
        self._arguments.setdefault(tag, list(self._head)).extend((self._first[bucket], node, *arguments))
        self._items.setdefault(tag, []).append(item)

    def send(self) -> list[Any]:
        """Run the calls; one reply for each tag."""
        calls = [(self._script, self._keys[tag], self._arguments[tag]) for tag in self._keys]
        return self._server.run(calls, list(self._keys))

    def run(self, width: int = 1) -> dict[int, list[Any]]:
        """Item -> the `width` values that the script answered for it."""
        answers: dict[int, list[Any]] = {}
        for tag, reply in zip(self._keys, self.send(), strict=True):
            for at, item in enumerate(self._items[tag]):
                answers[item] = reply[at * width : (at + 1) * width]
        return answers


class RedisIndex:
    """See `ports.Index` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def put(self, statements: Sequence[tuple[bytes, Statement]]) -> list[Row]:
        """See `ports.Index.put`: read, merge, compare and set; whoever changed a row in between makes it read again."""
        merged: dict[bytes, Row] = {}
        grouped: dict[bytes, list[Statement]] = {}
        for key, statement in statements:
            grouped.setdefault(key, []).append(statement)
        waiting = list(grouped)
        while waiting:
            calls = _Calls(self._server, "put", "ao", ())
            for item, (key, raw) in enumerate(zip(waiting, self._raw_rows(waiting), strict=True)):
                row = Row.decode(raw) if raw else Row(grouped[key][0].asset)
                for statement in grouped[key]:
                    row = row.merged(statement)
                merged[key] = row
                sources = [_source(name) for name in sorted(row.data_sources)]
                calls.add(item, key, raw or b"", row.encode(), len(sources), *sources)
            answers = calls.run()
            waiting = [key for item, key in enumerate(waiting) if not answers[item][0]]
        return [merged[key] for key, _ in statements]

    def link_children(self, edges: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """See `ports.Index.link_children`."""
        return self._link("cm", edges)

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """See `ports.Index.link_subjects`."""
        return self._link("sm", members)

    def _link(self, kinds: str, links: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """Write every link; the marks of a node are read once, with its last link."""
        last = {node: item for item, (node, _) in enumerate(links)}
        calls = _Calls(self._server, "link", kinds, ())
        for item, (node, member) in enumerate(links):
            calls.add(item, node, member, int(last[node] == item))
        answers = calls.run()
        marks = {node: _marks(answers[item][0]) for node, item in last.items()}
        return [marks[node] for node, _ in links]

    def marks(self, nodes: Sequence[bytes]) -> list[list[Mark]]:
        """See `ports.Index.marks`."""
        return self._members("m", "marks", nodes, _marks)

    def _members(self, kind: str, what: str, nodes: Sequence[bytes], read: Callable[[bytes], T]) -> list[T]:
        calls = _Calls(self._server, "members", kind, (what,))
        for item, node in enumerate(nodes):
            calls.add(item, node)
        answers = calls.run()
        return [read(answers[item][0]) for item in range(len(nodes))]

    def mark_roots(self, case_id: str, task_id: str, nodes: Sequence[bytes]) -> None:
        """See `ports.Index.mark_roots`."""
        self._on_marks("mark_roots", (0, bytes.fromhex(case_id), _task(task_id)), nodes)

    def set_clean(self, case_id: str, nodes: Sequence[bytes], since_ms: int) -> None:
        """See `ports.Index.set_clean`."""
        self._on_marks("set_clean", (bytes.fromhex(case_id), since_ms.to_bytes(8, "big")), nodes)

    def _on_marks(self, script: str, head: Sequence[Any], nodes: Sequence[bytes]) -> None:
        calls = _Calls(self._server, script, "m", head)
        for item, node in enumerate(nodes):
            calls.add(item, node)
        calls.send()

    def subject_assets(self, subject: bytes) -> list[bytes]:
        """See `ports.Index.subject_assets`."""
        return self._members("s", "members", [subject], _unpacked)[0]

    def source_sizes(self, data_source: str) -> list[int]:
        """See `ports.Index.source_sizes`."""
        replies = self._server.run([self._source_call(data_source, shard) for shard in range(SHARDS)], range(SHARDS))
        return [sum(len(packed) for packed in reply) // SIZE for reply in replies]

    def source_assets(self, data_source: str, shard: int) -> list[bytes]:
        """See `ports.Index.source_assets`: a shard is the range of buckets that share a tag."""
        (reply,) = self._server.run([self._source_call(data_source, shard)], [shard])
        return [key for packed in reply for key in _unpacked(packed)]

    def _source_call(self, data_source: str, shard: int) -> tuple[str, list[bytes], list[Any]]:
        field = _source(data_source)
        keys = [self._server.key(shard, f"o:{bucket}") for bucket in range(shard, self._server.meta.buckets, TAGS)]
        arguments: list[Any] = ["members"]
        for at in range(len(keys)):
            arguments += [at + 2, field]
        return "members", keys, arguments

    def visit(
        self, case_id: str, task_id: str, steps: Sequence[Step], *, bounded: bool, again: bool, lease_until_ms: int
    ) -> list[Visit]:
        """See `ports.Index.visit`."""
        head = (lease_until_ms, bytes.fromhex(case_id), _task(task_id), int(bounded), int(again))
        calls = _Calls(self._server, "visit", "amc", head)
        for item, step in enumerate(steps):
            calls.add(item, step.key, int(step.arrival), int(step.own))
        answers = calls.run(width=4)
        return [_visit(step.key, answers[item]) for item, step in enumerate(steps)]

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.rows`."""
        return [Row.decode(raw) if raw else None for raw in self._raw_rows(keys)]

    def _raw_rows(self, keys: Sequence[bytes]) -> list[bytes | None]:
        server = self._server

        def read(client: Any) -> list[bytes | None]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                bucket = server.bucket(key)
                pipe.hget(server.key(bucket % TAGS, f"a:{bucket}"), key)
            return list(pipe.execute())

        found: list[bytes | None] = server.guarded(read)
        return found

    def children(self, key: bytes) -> list[bytes]:
        """What was made from an asset, for people."""
        return self._members("c", "members", [key], _unpacked)[0]

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        words = (3, b"SADD", self._server.key(0, "holdings"), key)
        self._server.run([("commit", [self._server.key(0, "holdings")], ["", "-", *words])], [0])

    def holdings(self) -> list[bytes]:
        """See `ports.Index.holdings`."""
        found = self._server.guarded(lambda client: client.smembers(self._server.key(0, "holdings")))
        return sorted(found)

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """See `ports.Index.exclude`."""
        items = [(container, sorted(keys)[: MAX_EXCLUDED + 1]) for container, keys in sorted(parents.items())]
        calls = [
            ("exclude", [self._exclusion_key(case_id, container)], [MAX_EXCLUDED + 1, *keys])
            for container, keys in items
        ]
        self._server.run(calls, [self._server.bucket(container) % TAGS for container, _ in items])

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """See `ports.Index.excluded`."""
        found = self._server.guarded(lambda client: client.smembers(self._exclusion_key(case_id, container)))
        return sorted(found)

    def _exclusion_key(self, case_id: str, container: bytes) -> bytes:
        return self._server.key(self._server.bucket(container) % TAGS, f"x:{case_id}:") + container

    def stats(self) -> IndexStats:
        """See `ports.Index.stats`: reads every bucket once, so it is for people, not for loops."""
        buckets = self._server.meta.buckets
        counts = dict.fromkeys("asmc", 0)
        step = 1024
        for start in range(0, buckets, step):
            for kind, number in self._count(range(start, min(start + step, buckets))):
                counts[kind] += number
        return IndexStats(
            assets=counts["a"], edges=counts["c"], subjects=counts["s"], marks=counts["m"], buckets=buckets
        )

    def _count(self, buckets: range) -> list[tuple[str, int]]:
        server = self._server
        widths = {"c": SIZE, "m": _MARK}

        def read(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for bucket in buckets:
                for kind in "as":
                    pipe.hlen(server.key(bucket % TAGS, f"{kind}:{bucket}"))
                for kind in "cm":
                    pipe.hgetall(server.key(bucket % TAGS, f"{kind}:{bucket}"))
            return list(pipe.execute())

        replies = iter(server.guarded(read))
        found: list[tuple[str, int]] = []
        for bucket in buckets:
            found += [(kind, next(replies)) for kind in "as"]
            for kind in "cm":
                packed = next(replies)
                plain = sum(len(value) // widths[kind] for value in packed.values() if value != _SPILLED)
                found.append((kind, plain + self._spilled(bucket, kind, packed)))
        return found

    def _spilled(self, bucket: int, kind: str, packed: Mapping[bytes, bytes]) -> int:
        key = self._server.key(bucket % TAGS, f"{kind}:{bucket}")
        nodes = [node for node, value in packed.items() if value == _SPILLED]
        size = "scard" if kind == "c" else "hlen"

        def read(client: Any) -> int:
            return sum(getattr(client, size)(key + b":" + node) for node in nodes)

        return int(self._server.guarded(read))


def _source(name: str) -> bytes:
    return digest("data-source", name)[:8]


def _task(task_id: str) -> bytes:
    return bytes.fromhex(task_id)[:8]


def _unpacked(packed: bytes) -> list[bytes]:
    return [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)]


def _marks(packed: bytes) -> list[Mark]:
    found = []
    for at in range(0, len(packed), _MARK):
        case, owner, widened, reach, row, clean = _MARK_PARTS.unpack_from(packed, at)
        tasks = (owner.hex(), widened.hex() if any(widened) else "")
        found.append(Mark(case.hex(), tasks, Arrival(int(reach)), row if any(row) else b"", clean))
    return found


def _visit(key: bytes, answer: Sequence[bytes]) -> Visit:
    word, reach, raw, children = answer
    return Visit(
        key=key,
        seen=word == b"s",
        skipped=word == b"b",
        reach=Arrival(int(reach)),
        row=Row.decode(raw) if raw else None,
        children=tuple(_unpacked(children)),
    )
