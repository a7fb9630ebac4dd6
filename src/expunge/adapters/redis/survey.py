"""The whole index, read for people: statistics, checks, a checksum. Nothing blocks the server, however large it is.

Buckets are read in pipelines of plain commands, so writers go on meanwhile; what they change while a survey runs may be
counted or not.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from expunge.adapters.redis.index import SPILLED, RedisIndex, unpack_marks
from expunge.adapters.redis.server import ASSETS_PER_BUCKET, TAGS, Server
from expunge.domain.digest import SIZE, hidden
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.row import FORGOTTEN, Row

BUCKETS_PER_TRIP = 64
SAMPLES = 256
FULLEST = 5
FULL = 2 * ASSETS_PER_BUCKET
"""Assets in a bucket, on average, from which on another cut of the index is worth a rebuild."""
PARTS = {"a": "rows", "c": "edges", "s": "subjects", "o": "data sources", "m": "marks"}


class Field(NamedTuple):
    """One field of a bucket: what it is of, and what it holds, members of hubs included."""

    part: str
    node: bytes
    value: bytes

    def __repr__(self) -> str:
        return hidden(self)


@dataclass(slots=True)
class Stats:
    """What the index holds.

    Attributes:
        bytes_by_part: Redis memory by part, estimated from a sample of buckets.
        fullest: (bucket, assets) of the fullest buckets.
        unowned: assets of systems that are not declared.
        unproven: assets that state no data source and were made from nothing that is known.
    """

    buckets: int
    counts: Counter[str] = field(default_factory=Counter)
    bytes_by_part: dict[str, int] = field(default_factory=dict)
    fullest: list[tuple[str, int]] = field(default_factory=list)
    combinations: int = 0
    unowned: int = 0
    unproven: int = 0

    @property
    def bytes_per_asset(self) -> float:
        """Without marks, which come and go with cases."""
        total = sum(size for part, size in self.bytes_by_part.items() if part != "marks")
        return total / max(1, self.counts["assets"])

    @property
    def advice(self) -> str:
        """When to cut the index anew; empty while it is well cut."""
        assets = self.counts["assets"]
        if assets <= FULL * self.buckets:
            return ""
        return (
            f"{assets // self.buckets} assets in a bucket, made for {ASSETS_PER_BUCKET}: set redis.expected_assets to "
            f"{2 * assets} and rebuild the index into an empty Redis"
        )


@dataclass(slots=True)
class Check:
    """What is not as it should be, by a few examples, and the checksum of all that a rebuild must restore."""

    checksum: str = ""
    disagreeing: int = 0
    """Assets of which statements name different kinds; the strictest rule holds."""
    dangling: int = 0
    """Parents that nobody has registered."""
    unowned: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)


class Survey:
    """Reads every bucket once."""

    def __init__(self, server: Server, index: RedisIndex, systems: Collection[str]) -> None:
        self._server, self._index, self._systems = server, index, frozenset(systems)

    def stats(self) -> Stats:
        """See `Stats`."""
        stats = Stats(self._server.meta.buckets, bytes_by_part=self._bytes())
        fullest: Counter[str] = Counter()
        for place, fields in self._buckets("acsom"):
            for part, _, value in fields:
                stats.counts["subjects"] += part == "s"
                stats.counts["edges"] += len(value) // SIZE if part == "c" else 0
                stats.counts["marks"] += len(unpack_marks(value)) if part == "m" else 0
                if part == "a":
                    row = self._index.decode(value)
                    stats.counts["assets" if row.combination.systems else "names"] += 1
                    stats.unowned += self._is_unowned(row)
                    stats.unproven += is_unproven(row)
            fullest[place] = sum(1 for each in fields if each.part == "a")
            fullest = Counter(dict(fullest.most_common(FULLEST)))
        stats.fullest = fullest.most_common(FULLEST)
        stats.combinations = self._server.guarded(lambda client: client.hlen(self._server.key(0, "combinations")))
        return stats

    def assets(self, *, unproven: bool = False, unowned: bool = False) -> Iterator[Row]:
        """All rows; only those of unproven origin or of undeclared systems, if that is asked for."""
        for _, fields in self._buckets("a"):
            for _, _, value in fields:
                row = self._index.decode(value)
                if (is_unproven(row) or not unproven) and (self._is_unowned(row) or not unowned):
                    yield row

    def check(self, examples: int = 10) -> Check:
        """See `Check`. The checksum is a sum of digests, so the order in which buckets are read does not matter."""
        check = Check(examples={"disagreeing": [], "dangling": [], "unowned": []})
        total = self._cases()
        for _, fields in self._buckets("acsom"):
            known = {node for part, node, _ in fields if part == "a"}
            for each in fields:
                total += _digest(each)
                self._look_at(each, known, check, examples)
        check.checksum = f"{total % (1 << 8 * SIZE):032x}"
        return check

    def _look_at(self, each: Field, known: Collection[bytes], check: Check, most: int) -> None:
        def note(what: str, example: str) -> None:
            setattr(check, what, getattr(check, what) + 1)
            if len(check.examples[what]) < most:
                check.examples[what].append(example)

        if each.part == "a":
            row = self._index.decode(each.value)
            if len(row.combination.kinds) > 1:
                note("disagreeing", row.asset or FORGOTTEN)
            if self._is_unowned(row):
                note("unowned", row.asset)
        if each.part == "c" and each.node not in known:  # a node's row lies beside its children
            names = [child.asset or FORGOTTEN for child in self._index.rows([each.value[:SIZE]]) if child]
            note("dangling", f"a parent of {names[0]}" if names else "a parent of nothing known")

    def _is_unowned(self, row: Row) -> bool:
        return bool(row.combination.systems - self._systems)

    def _buckets(self, parts: str) -> Iterator[tuple[str, list[Field]]]:
        """Every bucket with its fields: the hashes of one bucket lie together, so they are read together."""
        places = [(tag, place) for tag in range(TAGS) for place in range(self._server.width)]
        for start in range(0, len(places), BUCKETS_PER_TRIP):
            trip = places[start : start + BUCKETS_PER_TRIP]
            found = iter(self._pipelined("hgetall", [self._key(part, *each) for each in trip for part in parts]))
            for tag, place in trip:
                fields = [
                    Field(part, node, self._whole(self._key(part, tag, place), part, node, value))
                    for part in parts
                    for node, value in next(found).items()
                ]
                yield f"{{{tag}}}:{place}", fields

    def _whole(self, key: bytes, part: str, node: bytes, value: bytes) -> bytes:
        """A field with what was spilled from it."""
        if value != SPILLED:
            return value
        spilled = key + b":" + node
        inner: Mapping[bytes, bytes] = self._server.guarded(lambda client: client.hgetall(spilled))
        if part == "m":
            return b"".join(inner.values())
        deep = [spilled + b":" + at for at, packed in inner.items() if packed == SPILLED]
        plain = [packed for packed in inner.values() if packed != SPILLED]
        return b"".join((*plain, *(member for members in self._pipelined("smembers", deep) for member in members)))

    def _key(self, part: str, tag: int, place: int) -> bytes:
        return self._server.key(tag, f"{part}:{place}")

    def _pipelined(self, command: str, keys: list[bytes]) -> list[Any]:
        def read(client: Any) -> list[Any]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                getattr(pipe, command)(key)
            return list(pipe.execute())

        return list(self._server.guarded(read))

    def _bytes(self) -> dict[str, int]:
        """Memory by part, from buckets spread over all tags; hubs and what belongs to cases are left out."""
        places = [(tag, place) for place in range(self._server.width) for tag in range(TAGS)]
        step = max(1, len(places) // SAMPLES)
        sample = places[::step]
        return {
            name: round(
                sum(size or 0 for size in self._pipelined("memory_usage", [self._key(part, *each) for each in sample]))
                * len(places)
                / len(sample)
            )
            for part, name in PARTS.items()
        }

    def _cases(self) -> int:
        """The cases' states, as the coordinator keeps them."""

        def read(client: Any) -> list[tuple[bytes, bytes]]:
            keys = sorted(set(client.scan_iter(match=f"{self._server.prefix}{{*}}case:*", count=1000)))
            return [each for start in range(0, len(keys), 1000) for each in of(client, keys[start : start + 1000])]

        def of(client: Any, keys: Sequence[bytes]) -> Iterable[tuple[bytes, bytes]]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.get(key)
            return zip(keys, pipe.execute(), strict=True)

        found = self._server.guarded(read)
        return sum(_digest(Field("case", key.rpartition(b":")[2], _lasting(value))) for key, value in found if value)


def _lasting(case: bytes) -> bytes:
    """A case without when it last heard something, which nothing follows from."""
    state = orjson.loads(case)
    del state["now"]
    return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)


def is_unproven(row: Row) -> bool:
    """Whether nobody says where it came from: no data source, and nothing that it was made from."""
    if row.holding is not None or not row.combination.kinds:
        return False
    return not row.combination.data_sources and not row.parents


def _digest(each: Field) -> int:
    """A field as a number: members in order, marks without their tasks and without what only passes.

    See rule "checksum".
    """
    part, node, value = each
    if part in "cso":
        value = b"".join(sorted(value[at : at + SIZE] for at in range(0, len(value), SIZE)))
    if part == "m":
        marks = [
            (m.case_id, int(m.reach), m.digest, *((m.state, m.since_ms) if m.state in _LASTING else ()), m.until)
            for m in unpack_marks(value)
        ]
        value = repr(sorted(marks)).encode()
    digest = hashlib.blake2b(digest_size=SIZE)
    for piece in (part.encode(), node, value):
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return int.from_bytes(digest.digest(), "big")


_LASTING = frozenset({MarkState.CLEAN, MarkState.GONE})
