"""The lineage index on Redis: packed rows, edges, memberships and marks in small bucketed hashes."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from expunge.adapters.store.server import Call, Server
from expunge.domain.digest import SIZE
from expunge.domain.marks import Mark, MarkState
from expunge.domain.plan import MAX_EXCLUDED
from expunge.domain.row import DIGEST_BYTES, Combination, Row, combination_of
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, data_source_node
from expunge.domain.walk import Step, Visit
from expunge.errors import Unavailable
from expunge.ports import Peek, Put, Rule, Said

NODES_PER_CALL = 1000
"""A script serves others while it does not run: about five milliseconds of work."""
SOURCE_BYTES = 8
_HUB = b"S"
_NO_ROW = bytes(DIGEST_BYTES)
_LETTERS = {GroupKind.CHILDREN: "c", GroupKind.SUBJECT: "s", GroupKind.SOURCE: "o"}
_ARRIVALS = {str(int(arrival)).encode()[0]: arrival for arrival in Arrival}
_SAID = struct.Struct(">I16s5s6sH")
_OWNER, _WIDENED, _SINCE, _UNTIL = 16, 32, 64, 128
_FRESH, _KNOWN, _SEEN, _BOUNDARY = b"fksb"


class RedisIndex:
    """See `ports.Index` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._combinations: dict[bytes, Combination] = {}

    def put(self, said: Sequence[Said]) -> list[Put]:
        """See `ports.Index.put`: compare and set; whoever finds another row there merges with it and tries again."""
        rows: dict[bytes, Row] = {}
        stated: dict[bytes, int] = {}
        for key, row, at_ms in said:
            known = rows.get(key)
            rows[key] = known.merged(row) if known else row
            stated[key] = max(stated.get(key, 0), at_ms)
        before = dict.fromkeys(rows, _NO_ROW)
        written: dict[bytes, Put] = {}
        while before:
            self._keep_combinations({rows[key].combination for key in before})
            raw = {key: rows[key].encode() for key in before}
            found = self._put(before, raw, rows, stated)
            written |= {key: Put(raw[key], found[key][1] if key in found else ()) for key in before}
            before = {key: other[:DIGEST_BYTES] for key, (other, _) in found.items() if other}
            for key in before:
                rows[key] = rows[key].merged(self._decode(found[key][0]))
        return [written[key] for key, _, _ in said]

    def _put(
        self,
        before: Mapping[bytes, bytes],
        raw: Mapping[bytes, bytes],
        rows: Mapping[bytes, Row],
        stated: Mapping[bytes, int],
    ) -> dict[bytes, tuple[bytes, list[Mark]]]:
        """Key -> the row that stands instead of the one expected, or the marks; only where there is either."""

        def packed(key: bytes, bucket: int) -> bytes:
            row, names = raw[key], rows[key].combination.data_sources
            head = _SAID.pack(bucket, key, before[key], stated[key].to_bytes(6, "big"), len(row))
            sources = b"".join(sorted(data_source_node(name)[:SOURCE_BYTES] for name in names))
            return b"".join((head, row, bytes([len(names)]), sources))

        found = {}
        for keys, reply in self._on_nodes("put", (), list(raw), packed):
            for at in range(0, len(reply), 3):
                found[keys[reply[at] - 1]] = (reply[at + 1], _marks(reply[at + 2]))
        return found

    def _on_nodes(
        self,
        script: str,
        head: Sequence[Any],
        nodes: Sequence[bytes],
        pack: Callable[[bytes, int], bytes],
    ) -> list[tuple[list[bytes], Any]]:
        """Run a script over nodes, those of one tag together and sorted by bucket: (nodes, reply) of each call."""
        buckets: dict[int, list[bytes]] = defaultdict(list)
        width = self._server.meta.buckets
        for node in nodes:
            buckets[int.from_bytes(node[1:5], "big") * width >> 32].append(node)
        by_tag: dict[int, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
        for bucket in sorted(buckets):
            for node in buckets[bucket]:
                keys, blobs = by_tag[node[1]]
                keys.append(node)
                blobs.append(pack(node, bucket))
        parts, calls = [], []
        for tag, (keys, blobs) in by_tag.items():
            for start in range(0, len(keys), NODES_PER_CALL):
                parts.append(keys[start : start + NODES_PER_CALL])
                calls.append(Call(script, tag, (*head, b"".join(blobs[start : start + NODES_PER_CALL]))))
        return list(zip(parts, self._server.run(calls), strict=True))

    def link_children(self, edges: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """See `ports.Index.link_children`."""
        return self._link("c", edges)

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """See `ports.Index.link_subjects`."""
        return self._link("s", members)

    def _link(self, kind: str, links: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        members: dict[int, tuple[list[int], list[bytes]]] = defaultdict(lambda: ([], []))
        width = self._server.meta.buckets
        for number, (node, member) in enumerate(links):
            numbers, blobs = members[node[1]]
            numbers.append(number)
            bucket = int.from_bytes(node[1:5], "big") * width >> 32
            blobs.append(bucket.to_bytes(4, "big") + node + member)
        parts, calls = [], []
        for tag, (numbers, blobs) in members.items():
            for start in range(0, len(numbers), NODES_PER_CALL):
                parts.append(numbers[start : start + NODES_PER_CALL])
                calls.append(Call("link", tag, (kind, b"".join(blobs[start : start + NODES_PER_CALL]))))
        found: list[Sequence[Mark]] = [()] * len(links)
        for numbers, reply in zip(parts, self._server.run(calls), strict=True):
            for at in range(0, len(reply), 2):
                found[numbers[reply[at] - 1]] = _marks(reply[at + 1])
        return found

    def marks(self, nodes: Sequence[bytes]) -> list[Sequence[Mark]]:
        """See `ports.Index.marks`."""
        found = {
            key: _marks(packed)
            for keys, reply in self._on_nodes("marks", (), list(set(nodes)), _place)
            for key, packed in zip(keys, reply, strict=True)
        }
        return [found[node] for node in nodes]

    def set_state(self, case_id: str, nodes: Sequence[bytes], state: MarkState, since_ms: int) -> list[bytes]:
        """See `ports.Index.set_state`."""
        head = (bytes.fromhex(case_id), int(state), since_ms.to_bytes(6, "big"))
        return [node for _, reply in self._on_nodes("set_state", head, list(set(nodes)), _place) for node in reply]

    def mark_roots(self, case_id: str, task_id: str, nodes: Sequence[bytes], until: int) -> None:
        """See `ports.Index.mark_roots`."""
        head = (0, bytes.fromhex(case_id), _task(task_id), until.to_bytes(5, "big") if until else b"")
        self._on_nodes("mark_roots", head, nodes, _place)

    def sizes(self, group: Group) -> list[int]:
        """See `ports.Index.sizes`."""
        sizes = [0] * SHARDS
        for reply in self._server.run([Call("sizes", *self._group(group, tag)) for tag in self._tags(group)]):
            for at in range(0, len(reply), 5):
                sizes[reply[at]] += int.from_bytes(reply[at + 1 : at + 5], "big")
        return sizes

    def members(self, group: Group, shards: range) -> list[bytes]:
        """See `ports.Index.members`."""
        calls = []
        for tag in self._tags(group, shards):
            place, arguments = self._group(group, tag)
            calls.append(Call("members", place, (*arguments, shards.start, shards.stop - 1)))
        return [key for packed in self._server.run(calls) for key in _unpacked(packed)]

    def _tags(self, group: Group, shards: range = range(SHARDS)) -> Iterable[int]:
        """The tags that hold members: of a data source those of its assets, of other groups that of the node."""
        return shards if group.kind is GroupKind.SOURCE else (self._server.tag(group.node),)

    def _group(self, group: Group, tag: int) -> tuple[int, tuple[Any, ...]]:
        """Where a group's members lie in a tag: the tag, and kind, field, first and last bucket for the scripts."""
        if group.kind is GroupKind.SOURCE:
            width = self._server.meta.buckets // SHARDS
            return tag, ("o", group.node[:SOURCE_BYTES], tag * width, (tag + 1) * width - 1)
        bucket = self._server.bucket(group.node)
        return tag, (_LETTERS[group.kind], group.node, bucket, bucket)

    def visit(self, case_id: str, task_id: str, steps: Sequence[Step], rule: Rule) -> list[Visit]:
        """See `ports.Index.visit`."""
        back = rule.returned.to_bytes(6, "big") if rule.returned else b""
        bounds = (int(rule.bounded), int(rule.again), rule.until, back)
        head = (rule.lease_until_ms, bytes.fromhex(case_id), _task(task_id), *bounds)
        words = {key: bytes((arrival + 4 * own,)) for key, arrival, own in steps}
        calls = self._on_nodes(
            "visit", head, list(words), lambda key, bucket: bucket.to_bytes(4, "big") + key + words[key]
        )
        visits = []
        for keys, reply in calls:
            heads = iter(reply)
            for key, said, children in zip(keys, heads, heads, strict=True):
                word = said[0]
                visits.append(
                    Visit(
                        key,
                        word == _SEEN,
                        word == _BOUNDARY,
                        _ARRIVALS[said[1]],
                        said[2:] or None,
                        children if children != _HUB else b"",
                        word == _KNOWN,
                        children == _HUB,
                    )
                )
        return visits

    def peek(self, case_id: str, nodes: Sequence[bytes]) -> list[Peek]:
        """See `ports.Index.peek`."""
        found = {}
        for keys, reply in self._on_nodes("peek", (bytes.fromhex(case_id),), list(set(nodes)), _place):
            heads = iter(reply)
            for key, head, row in zip(keys, heads, heads, strict=True):
                mark = _marks(head[1:])
                found[key] = Peek(head[0], row or None, mark[0] if mark else None)
        return [found[node] for node in nodes]

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.rows`."""
        server = self._server

        def read(client: Any) -> list[bytes | None]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.hget(server.key(server.tag(key), f"a:{server.bucket(key)}"), key)
            return list(pipe.execute())

        return [self._decode(raw) if raw else None for raw in server.guarded(read)]

    def _decode(self, raw: bytes) -> Row:
        return Row.decode(raw, self.combination(combination_of(raw)))

    def combination(self, digest: bytes) -> Combination:
        """See `ports.Index.combination`: few, and the same for ever, so they are remembered."""
        known = self._combinations.get(digest)
        if known is None:
            raw = self._server.guarded(lambda client: client.hget(self._server.key(0, "combinations"), digest))
            if raw is None:
                raise Unavailable("a combination of the index is missing in Redis: it has forgotten; rebuild")
            known = self._combinations[digest] = Combination.decode(raw)
        return known

    def _keep_combinations(self, combinations: Iterable[Combination]) -> None:
        """Write combinations before rows that name them."""
        fresh = [each for each in combinations if each.digest not in self._combinations]
        if not fresh:
            return
        key = self._server.key(0, "combinations")
        words: list[Any] = []
        for each in fresh:
            words += [4, b"HSETNX", key, each.digest, each.encode()]
        self._server.run([Call("commit", 0, ["", "-", *words], [key])])
        for each in fresh:
            if self.combination(each.digest) != each:
                raise RuntimeError("index: two combinations of names share a digest")

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        place = self._server.key(0, "holdings")
        self._server.run([Call("commit", 0, ["", "-", 3, b"SADD", place, key], [place])])

    def holdings(self) -> list[bytes]:
        """See `ports.Index.holdings`."""
        found = self._server.guarded(lambda client: client.smembers(self._server.key(0, "holdings")))
        return sorted(found)

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """See `ports.Index.exclude`."""
        bound = MAX_EXCLUDED + 1
        self._server.run(
            [
                Call(
                    "exclude",
                    self._server.tag(container),
                    [bound, *sorted(keys)[:bound]],
                    [self._exclusion_key(case_id, container)],
                )
                for container, keys in sorted(parents.items())
            ]
        )

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """See `ports.Index.excluded`."""
        found = self._server.guarded(lambda client: client.smembers(self._exclusion_key(case_id, container)))
        return sorted(found)

    def _exclusion_key(self, case_id: str, container: bytes) -> bytes:
        return self._server.key(self._server.tag(container), f"x:{case_id}:") + container


def _place(node: bytes, bucket: int) -> bytes:
    return bucket.to_bytes(4, "big") + node


def _task(task_id: str) -> bytes:
    return bytes.fromhex(task_id[:8])


def _unpacked(packed: bytes) -> list[bytes]:
    return [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)]


def _marks(packed: bytes) -> list[Mark]:
    """The marks as `prelude.lua` packs them."""
    found, at = [], 0
    while at < len(packed):
        flags, case, digest = packed[at], packed[at + 1 : at + 17], packed[at + 17 : at + 22]
        at += 22
        parts = []
        for bit, size in ((_OWNER, 4), (_WIDENED, 4), (_SINCE, 6), (_UNTIL, 5)):
            parts.append(packed[at : at + size] if flags & bit else b"")
            at += len(parts[-1])
        owner, widened, since, until = parts
        found.append(
            Mark(
                case_id=case.hex(),
                tasks=(owner.hex(), widened.hex()),
                reach=Arrival(flags & 3),
                digest=digest if any(digest) else b"",
                state=MarkState(flags >> 2 & 3),
                since_ms=int.from_bytes(since, "big"),
                until=int.from_bytes(until, "big"),
            )
        )
    return found
