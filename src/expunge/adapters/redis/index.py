"""The lineage index on Redis: packed rows, edges, memberships and marks in small bucketed hashes."""

from __future__ import annotations

import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby, islice
from typing import Any, TypeVar

from expunge.adapters.redis.server import TAGS, Call, Server
from expunge.domain.digest import SIZE
from expunge.domain.limits import MAX_EXCLUDED
from expunge.domain.lineage.marks import TASK_DIGITS, Mark, MarkState
from expunge.domain.lineage.row import DIGEST_BYTES, Combination, Row, combination_of
from expunge.domain.lineage.walk import Trip, Visit
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, data_source_node, place_of, shard_of
from expunge.errors import Unavailable
from expunge.ports import Gone, Made, Peek, Put, Rule, Said

T = TypeVar("T")
NODES_PER_CALL = 1000
"""A script serves others while it does not run: about five milliseconds of work."""
LINKS_PER_CALL = 2500
"""More than of other steps: the marks of a parent are read once a call, and there may be ten thousand of them."""
SOURCE_BYTES = 8
SAMPLED_BUCKETS = 256
SPILLED = b"S"
"""Stands for members or marks that are too many for their field, and lie beside it."""
POPULATION_SECONDS = 60.0
"""How long a count of the systems' assets is taken for true."""
_NO_ROW = bytes(DIGEST_BYTES)
_LETTERS = {GroupKind.CHILDREN: "c", GroupKind.SUBJECT: "s", GroupKind.SOURCE: "o"}
_ARRIVALS = {str(int(arrival)).encode()[0]: arrival for arrival in Arrival}
_ALIKE = struct.Struct(">IHB")
_SAID = struct.Struct(">I16s5s6sI")
_LINK = struct.Struct(">I16s16sB6s")
_REPLACED = struct.Struct(">I16s5sI")
_UNKNOWN = Made(container=True, derived_ms=0)
_TURNED = bytes(255 - byte for byte in range(256))
"""Turns the id of a case over: what it watches is no mark of its own (lua/watch.lua)."""
_WATCHED, _REACHES = 3, 4
_OWNER, _WIDENED, _SINCE, _UNTIL = 16, 32, 64, 128
_PARTS = ((_OWNER, 2), (_WIDENED, 2), (_SINCE, 6), (_UNTIL, 5))
"""What may stand behind flags, case and digest of a mark: the flag that says so, and its size."""
_FRESH, _KNOWN, _SEEN, _BOUNDARY = b"fksb"


class RedisIndex:
    """See `ports.Index` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._combinations: dict[bytes, Combination] = {}
        self._kept: tuple[int, set[bytes]] = server.runs, set()
        """Combinations that this process has written, and to which run of the server."""
        self._population: dict[str, int] = {}
        self._counted_at = -POPULATION_SECONDS

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """See `ports.Index.begin`."""
        return self._server.begin(work)

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
            written |= {key: Put(raw[key], *found[key][1:]) if key in found else Put(raw[key], ()) for key in before}
            before = {key: other[:DIGEST_BYTES] for key, (other, *_) in found.items() if other}
            for key in before:
                rows[key] = rows[key].merged(self.decode(found[key][0]))
        return [written[key] for key, _, _ in said]

    def _put(
        self,
        before: Mapping[bytes, bytes],
        raw: Mapping[bytes, bytes],
        rows: Mapping[bytes, Row],
        stated: Mapping[bytes, int],
    ) -> dict[bytes, tuple[bytes, list[Mark], list[tuple[str, bytes]]]]:
        """Key -> the row that stands instead of the one expected, or marks and watchers; only where there is any."""

        def packed(key: bytes, bucket: int) -> bytes:
            row = raw[key]
            head = _SAID.pack(bucket, key, before[key], stated[key].to_bytes(6, "big"), len(row))
            return head + row + _packed_sources(rows[key].combination.data_sources)

        found = {}
        for keys, reply in self.on_nodes("put", (), list(raw), packed):
            for at in range(0, len(reply), 3):
                packed_marks = reply[at + 2]
                found[keys[reply[at] - 1]] = (reply[at + 1], unpack_marks(packed_marks), _watchers(packed_marks))
        return found

    def _calls(
        self, script: str, head: Sequence[Any], nodes: Iterable[bytes], pack: Callable[[bytes, int], bytes]
    ) -> tuple[list[list[bytes]], list[Call]]:
        """Calls of a script over nodes, sorted by bucket; and the nodes of each call."""
        parts = self._server.parts(sorted(nodes, key=place_of), _tag, NODES_PER_CALL)
        bucket = self._server.bucket
        return parts, [
            Call(script, _tags(part), (*head, b"".join([pack(node, bucket(node)) for node in part]))) for part in parts
        ]

    def on_nodes(
        self, script: str, head: Sequence[Any], nodes: Sequence[bytes], pack: Callable[[bytes, int], bytes]
    ) -> Iterable[tuple[list[bytes], Any]]:
        """Run a script over nodes: (nodes, reply) of each call."""
        parts, calls = self._calls(script, head, nodes, pack)
        return zip(parts, self._server.run(calls), strict=True)

    def link_children(self, edges: Sequence[tuple[bytes, bytes]], made: Sequence[Made] = ()) -> list[Sequence[Mark]]:
        """See `ports.Index.link_children`."""
        return self._link("c", edges, made)

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """See `ports.Index.link_subjects`."""
        return self._link("s", members)

    def _link(self, kind: str, links: Sequence[tuple[bytes, bytes]], made: Sequence[Made] = ()) -> list[Sequence[Mark]]:
        found: list[Sequence[Mark]] = [()] * len(links)
        order = sorted(range(len(links)), key=lambda number: (place_of(links[number][0]), links[number][0]))
        parts = self._server.parts(order, lambda number: links[number][0][1], LINKS_PER_CALL)
        bucket, pack = self._server.bucket, _LINK.pack
        calls = []
        for part in parts:
            blob: list[bytes] = []
            for number in part:
                node, member = links[number]
                container, derived_ms = made[number] if made else _UNKNOWN
                blob.append(pack(bucket(node), node, member, container, derived_ms.to_bytes(6, "big")))
            calls.append(Call("link", _tags(links[number][0] for number in part), (kind, b"".join(blob))))
        for numbers, reply in zip(parts, self._server.run(calls), strict=True):
            for at in range(0, len(reply), 3):
                first, marks = reply[at] - 1, unpack_marks(reply[at + 2])
                for number in numbers[first : first + reply[at + 1]]:
                    found[number] = marks
        return found

    def marks(self, nodes: Sequence[bytes]) -> list[Sequence[Mark]]:
        """See `ports.Index.marks`."""
        found = self._marked(nodes)
        unpacked_once = {node: unpack_marks(packed) for node, packed in found.items()}
        return [unpacked_once[node] for node in nodes]

    def watchers(self, keys: Sequence[bytes]) -> list[Sequence[tuple[str, bytes]]]:
        """See `ports.Index.watchers`."""
        found = self._marked(keys)
        return [_watchers(found[key]) for key in keys]

    def _marked(self, nodes: Sequence[bytes]) -> dict[bytes, bytes]:
        """What cases have left on nodes, packed."""
        calls = self.on_nodes("marks", (), list(set(nodes)), placed)
        return {key: packed for keys, reply in calls for key, packed in zip(keys, reply, strict=True)}

    def set_state(
        self,
        case_id: str,
        nodes: Sequence[bytes],
        state: MarkState,
        since_ms: int,
        lease_until_ms: int = 0,
        task_id: str = "",
    ) -> list[bytes]:
        """See `ports.Index.set_state`."""
        head = _state_head(case_id, state, since_ms, lease_until_ms, task_id)
        return [node for _, reply in self.on_nodes("set_state", head, list(set(nodes)), placed) for node in reply]

    def set_gone(self, gone: Sequence[Gone], lease_until_ms: int = 0) -> list[list[bytes]]:
        """See `ports.Index.set_gone`."""
        made: list[list[Call]] = []
        for case_id, nodes, since_ms, again in gone:
            head = _state_head(case_id, MarkState.GONE, since_ms, lease_until_ms, again=again)
            made.append(self._calls("set_state", head, set(nodes), placed)[1])
        replies = iter(self._server.run([call for calls in made for call in calls]))
        return [[node for reply in islice(replies, len(calls)) for node in reply] for calls in made]

    def mark_roots(
        self, case_id: str, task_id: str, nodes: Sequence[bytes], until: int, lease_until_ms: int = 0
    ) -> None:
        """See `ports.Index.mark_roots`."""
        head = (lease_until_ms, bytes.fromhex(case_id), _task(task_id), until.to_bytes(5, "big") if until else b"")
        self.on_nodes("mark_roots", head, nodes, placed)

    def sizes(self, group: Group) -> list[int]:
        """See `ports.Index.sizes`."""
        sizes = [0] * SHARDS
        for reply in self._server.run([Call("sizes", [tag], place) for tag, place in self._places(group)]):
            for at in range(0, len(reply), 5):
                sizes[reply[at]] += int.from_bytes(reply[at + 1 : at + 5], "big")
        return sizes

    def members(self, group: Group, shards: range) -> list[bytes]:
        """See `ports.Index.members`."""
        wanted = (shards.start, shards.stop - 1)
        calls = [Call("members", [tag], (*place, *wanted)) for tag, place in self._places(group, shards)]
        return [key for packed in self._server.run(calls) for key in unpacked(packed)]

    def are_members(self, links: Sequence[tuple[Group, bytes]]) -> list[bool]:
        """See `ports.Index.are_members`: what lies in one place is read once, however often it is asked for."""
        calls = {self._shard_of(group, member): None for group, member in links}
        every = [Call("members", [tag], (*place, shard, shard)) for tag, place, shard in calls]
        found = zip(calls, self._server.run(every), strict=True)
        members = {place: frozenset(unpacked(packed)) for place, packed in found}
        return [member in members[self._shard_of(group, member)] for group, member in links]

    def _shard_of(self, group: Group, member: bytes) -> tuple[int, tuple[Any, ...], int]:
        """Where a member of a group lies: its tag, place and shard. Those of a data source lie beside their rows."""
        shard = shard_of(member)
        if group.kind is GroupKind.SOURCE:
            bucket = self._server.bucket(member)
            return shard, ("o", group.node[:SOURCE_BYTES], bucket, bucket), shard
        ((tag, place),) = self._places(group)
        return tag, place, shard

    def _places(self, group: Group, shards: range = range(SHARDS)) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Where a group's members lie: a tag each, and kind, field, first and last bucket for the scripts.

        Those of a data source lie in the buckets of its assets, those of other groups all in the bucket of the node.
        """
        if group.kind is GroupKind.SOURCE:
            for tag in shards:
                first = tag << 24
                yield tag, ("o", group.node[:SOURCE_BYTES], first, first + self._server.width - 1)
        else:
            bucket = self._server.bucket(group.node)
            yield group.node[1], (_LETTERS[group.kind], group.node, bucket, bucket)

    def hubs(self, nodes: Sequence[bytes]) -> list[bytes]:
        """See `ports.Index.hubs`."""
        place = self._server.in_bucket
        found = self._server.read([(key[1], ("HGET", place("c", key), key)) for key in nodes])
        return [key for key, packed in zip(nodes, found, strict=True) if packed == SPILLED]

    def visit(self, case_id: str, task_id: str, trips: Sequence[Trip], rule: Rule) -> Iterator[list[Visit]]:
        """See `ports.Index.visit`."""
        back = rule.returned.to_bytes(6, "big") if rule.returned else b""
        bounds = (int(rule.bounded), int(rule.again), rule.until, back)
        who = (bytes.fromhex(case_id), _task(task_id), *bounds)
        sent: deque[list[list[bytes]]] = deque()

        def calls(trip: Trip) -> list[Call]:
            parts, made = self._visit_calls(trip, (rule.lease(), *who))
            sent.append(parts)
            return made

        for replies in self._server.stream(map(calls, trips), len(trips)):
            yield [
                visit for nodes, reply in zip(sent.popleft(), replies, strict=True) for visit in _visits(nodes, reply)
            ]

    def _visit_calls(self, trip: Trip, head: Sequence[Any]) -> tuple[list[list[bytes]], list[Call]]:
        """A trip packed for `visit.lua`: nodes of one bucket together; and the nodes of each call."""
        word, bucket = trip.arrival + 8 * trip.own, self._server.bucket
        parts = self._server.parts(trip.keys, _tag, NODES_PER_CALL)
        calls = []
        for part in parts:
            blob: list[bytes] = []
            for number, nodes in groupby(part, key=bucket):
                few = list(nodes)
                blob += [_ALIKE.pack(number, len(few), word), *few]
            calls.append(Call("visit", _tags(part), (*head, b"".join(blob))))
        return parts, calls

    def peek(self, case_id: str, nodes: Sequence[bytes]) -> list[Peek]:
        """See `ports.Index.peek`."""
        found = {}
        for keys, reply in self.on_nodes("peek", (bytes.fromhex(case_id),), list(set(nodes)), placed):
            heads = iter(reply)
            for key, head, row in zip(keys, heads, heads, strict=True):
                mark = unpack_marks(head[1:])
                found[key] = Peek(head[0], row or None, mark[0] if mark else None)
        return [found[node] for node in nodes]

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.rows`."""
        place = self._server.in_bucket
        found = self._server.read([(key[1], ("HGET", place("a", key), key)) for key in keys])
        return [self.decode(raw) if raw else None for raw in found]

    def forget(self, rows: Mapping[bytes, Row], cases: Collection[str]) -> list[bool]:
        """See `ports.Index.forget`."""
        bare = {node: row.forgotten() for node, row in rows.items()}
        self._keep_combinations({row.combination for row in bare.values()})
        known = b"".join(bytes.fromhex(case_id) for case_id in sorted(cases))
        wanted = {node: (row.encode(), bare[node].encode()) for node, row in rows.items()}
        gone = self.replace("forget", (known,), wanted)
        return [node in gone for node in rows]

    def replace(self, script: str, head: Sequence[Any], rows: Mapping[bytes, tuple[bytes, bytes]]) -> set[bytes]:
        """Run a script that puts rows in the place of those that were read, if they stand there still; where it did."""

        def packed(node: bytes, bucket: int) -> bytes:
            before, after = rows[node]
            return _REPLACED.pack(bucket, node, before[:DIGEST_BYTES], len(after)) + after

        replies = self.on_nodes(script, head, list(rows), packed)
        return {node for nodes, reply in replies for node, word in zip(nodes, reply, strict=True) if word == ord("1")}

    def notes_returns_since(self) -> int:
        """See `ports.Index.notes_returns_since`: in an index of an earlier version, since somebody asked first."""
        return self._server.notes_returns_since()

    def watch(self, case_id: str, keys: Sequence[bytes]) -> list[Row | None]:
        """See `ports.Index.watch`."""
        head = (bytes.fromhex(case_id).translate(_TURNED),)
        found = {
            key: raw
            for nodes, reply in self.on_nodes("watch", head, list(set(keys)), placed)
            for key, raw in zip(nodes, reply, strict=True)
        }
        return [self.decode(found[key]) if found[key] else None for key in keys]

    def decode(self, raw: bytes) -> Row:
        """The row that the index holds as these bytes."""
        return Row.decode(raw, self.combination(combination_of(raw)))

    def combination(self, digest: bytes) -> Combination:
        """See `ports.Index.combination`: few, and the same for ever, so they are remembered."""
        known = self._combinations.get(digest)
        if known is None:
            raw = next((found for tag in self._homes() if (found := self._kept_in(tag, digest))), None)
            if raw is None:
                raise Unavailable("a combination of the index is missing in Redis: it has forgotten; rebuild")
            known = self._combinations[digest] = Combination.decode(raw)
        return known

    def _homes(self) -> Sequence[int]:
        """The tags in which a combination lies: on a cluster all, or a row might outlive what it names."""
        return range(TAGS) if self._server.is_cluster else (0,)

    def _kept_in(self, tag: int, digest: bytes) -> bytes | None:
        found: bytes | None = self._server.read_one(tag, "HGET", self._server.key(tag, "combinations"), digest)
        return found

    def combinations(self) -> list[Combination]:
        """Every combination of names that rows share, for people."""
        keys, found = [self._server.key(tag, "combinations") for tag in self._homes()], dict[bytes, bytes]()
        for key in keys:
            found |= self._server.guarded(partial(_scanned, key))
        return [Combination.decode(raw) for raw in found.values()]

    def _keep_combinations(self, combinations: Iterable[Combination]) -> None:
        """Write combinations before rows that name them."""
        if self._kept[0] != self._server.runs:  # what an earlier one was told may be forgotten
            self._kept = self._server.runs, set()
        _, kept = self._kept
        fresh = [each for each in combinations if each.digest not in kept]
        if not fresh:
            return
        keys = [(tag, self._server.key(tag, "combinations")) for tag in self._homes()]
        self._server.run([Call("commit", [tag], ["", "-", *_named_once(key, fresh)], [key]) for tag, key in keys])
        for each in fresh:
            if self.combination(each.digest) != each:
                raise RuntimeError("index: two combinations of names share a digest")
        kept.update(each.digest for each in fresh)

    def population(self) -> dict[str, int]:
        """See `ports.Index.population`: counted in a sample of buckets, over which keys are spread evenly."""
        if time.monotonic() - self._counted_at > POPULATION_SECONDS:
            places = [(tag, place) for place in range(self._server.width) for tag in range(TAGS)]
            sample = places[:: max(1, len(places) // SAMPLED_BUCKETS)]
            reads = [(tag, ("HVALS", self._server.key(tag, f"a:{place}"))) for tag, place in sample]
            found = Counter(combination_of(raw) for raws in self._server.read(reads) for raw in raws)
            systems: Counter[str] = Counter()
            for digest, number in found.items():
                systems.update(dict.fromkeys(self.combination(digest).systems, number))
            self._population = {name: n * len(places) // len(sample) for name, n in sorted(systems.items())}
            self._counted_at = time.monotonic()
        return self._population

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        place = self._server.key(0, "holdings")
        self._server.run([Call("commit", [0], ["", "-", 3, b"SADD", place, key], [place])])

    def holdings(self) -> list[bytes]:
        """See `ports.Index.holdings`."""
        return sorted(self._server.read_one(0, "SMEMBERS", self._server.key(0, "holdings")))

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """See `ports.Index.exclude`."""
        bound = MAX_EXCLUDED + 1
        self._server.run(
            [
                Call(
                    "exclude",
                    [container[1]],
                    [bound, *sorted(keys)[:bound]],
                    [self._exclusion_key(case_id, container)],
                )
                for container, keys in sorted(parents.items())
            ]
        )

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """See `ports.Index.excluded`."""
        return sorted(self._server.read_one(container[1], "SMEMBERS", self._exclusion_key(case_id, container)))

    def _exclusion_key(self, case_id: str, container: bytes) -> bytes:
        return self._server.key(container[1], f"x:{case_id}:") + container


def _visits(nodes: Sequence[bytes], reply: tuple[bytes, Sequence[bytes | None], Sequence[Any]]) -> list[Visit]:
    """The reply of `visit.lua`."""
    words, rows, found = reply
    children: list[bytes] = [b""] * len(nodes)
    for at in range(0, len(found), 2):
        children[found[at] - 1] = found[at + 1]
    return [
        Visit(
            key,
            word == _SEEN,
            word == _BOUNDARY,
            _ARRIVALS[reach],
            row,
            b"" if kids == SPILLED else kids,
            word == _KNOWN,
            kids == SPILLED,
        )
        for key, word, reach, row, kids in zip(nodes, words[::2], words[1::2], rows, children, strict=True)
    ]


def _scanned(key: bytes, client: Any) -> dict[bytes, bytes]:
    """A hash, read bit by bit."""
    return dict(client.hscan_iter(key, count=1000))


def _named_once(key: bytes, combinations: Iterable[Combination]) -> list[Any]:
    """Words of a commit that write combinations which are not there yet."""
    return [word for each in combinations for word in (4, b"HSETNX", key, each.digest, each.encode())]


@lru_cache(maxsize=4096)
def _packed_sources(names: frozenset[str]) -> bytes:
    """How many, and their digests."""
    return len(names).to_bytes(2, "big") + b"".join(sorted(data_source_node(name)[:SOURCE_BYTES] for name in names))


def _tag(node: bytes) -> int:
    return node[1]


def _tags(nodes: Iterable[bytes]) -> list[int]:
    return sorted({node[1] for node in nodes})


def _state_head(
    case_id: str, state: MarkState, since_ms: int, lease_until_ms: int, task_id: str = "", *, again: bool = False
) -> tuple[Any, ...]:
    """What `set_state.lua` takes before the nodes."""
    owner = _task(task_id) if task_id else b""
    return (
        lease_until_ms,
        bytes.fromhex(case_id),
        int(state),
        since_ms.to_bytes(6, "big"),
        owner,
        b"1" if again else b"",
    )


def placed(node: bytes, bucket: int) -> bytes:
    """A node as scripts take it."""
    return bucket.to_bytes(4, "big") + node


def _task(task_id: str) -> bytes:
    return bytes.fromhex(task_id[:TASK_DIGITS])


def unpacked(packed: bytes) -> list[bytes]:
    """Members as a field holds them."""
    return [packed[at : at + SIZE] for at in range(0, len(packed), SIZE)]


def unpack_marks(packed: bytes) -> list[Mark]:
    """The marks as `prelude.lua` packs them."""
    found, at = [], 0
    while at < len(packed):
        flags, case, digest = packed[at], packed[at + 1 : at + 17], packed[at + 17 : at + 22]
        at += 22
        parts: list[bytes] = []
        for bit, size in _PARTS:
            parts.append(packed[at : at + size] if flags & bit else b"")
            at += len(parts[-1])
        owner, widened, since, until = parts
        if flags % _REACHES == _WATCHED:
            continue
        state = MarkState(flags >> 2 & 3)
        gone = state is MarkState.GONE
        found.append(
            Mark(
                case_id=case.hex(),
                tasks=(owner.hex(), widened.hex()),
                reach=Arrival(flags & 3),
                digest=digest if any(digest) else b"",
                state=state,
                since_ms=int.from_bytes(since, "big"),
                stated_again=gone and bool(until),
                until=0 if gone else int.from_bytes(until, "big"),
            )
        )
    return found


def _watchers(packed: bytes) -> list[tuple[str, bytes]]:
    """The cases that watch a row, and how it looked to them. What they leave has no more than id and digest."""
    found, at = [], 0
    while at < len(packed):
        flags = packed[at]
        if flags % _REACHES == _WATCHED:
            found.append((packed[at + 1 : at + 17].translate(_TURNED).hex(), packed[at + 17 : at + 22]))
        at += 22 + sum(size for bit, size in _PARTS if flags & bit)
    return found
