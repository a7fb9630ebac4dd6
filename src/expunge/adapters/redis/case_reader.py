"""The large part of one partition's state on Redis, read piece by piece; small cases whole, many in two round trips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from expunge.adapters.redis.server import TAGS, Call, Server
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.events import Position
from expunge.domain.planning.chunks import Chunk
from expunge.errors import NotUnderstood, Unavailable
from expunge.ports import Wanted
from expunge.wire.cases.case import Root

M = TypeVar("M", bound=BaseModel)


class CaseKeys:
    """The keys of one partition of `cases`."""

    def __init__(self, server: Server, partition: int) -> None:
        self.tag, self.partition = partition % TAGS, partition
        self._server = server

    def name(self, name: str, *parts: object) -> str:
        """`name:<partition>:<parts>`."""
        return ":".join([name, str(self.partition), *map(str, parts)])

    def of(self, name: str, *parts: object) -> bytes:
        """The same in the partition's slot."""
        return self._server.key(self.tag, self.name(name, *parts))


def parsed(model: type[M], raw: bytes) -> M:
    """What stands in Redis.

    Raises:
        NotUnderstood: a newer version wrote it.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError:
        raise NotUnderstood("unknown_state") from None


def parse_position(raw: bytes | None) -> Position | None:
    """A position as `format_position` wrote it."""
    if not raw:
        return None
    epoch, offset = raw.decode().split(":")
    return Position(int(epoch), int(offset))


def format_position(position: Position | None) -> str:
    """A position as it stands in Redis; empty for none."""
    return f"{position.leader_epoch}:{position.offset}" if position else ""


class Small:
    """Everything of a small case, as it stood when it was read."""

    def __init__(self, root: bytes | None, chunks: Mapping[str, bytes], bodies: Mapping[str, bytes | None]) -> None:
        self.root, self.bodies = root, bodies
        self._raw, self._chunks = chunks, dict[str, ChunkState]()

    @property
    def digests(self) -> list[str]:
        """All of its chunks, in order."""
        return sorted(self._raw)

    def chunk(self, digest: str) -> ChunkState | None:
        """See `CaseReader.chunk`."""
        if digest not in self._chunks and digest in self._raw:
            self._chunks[digest] = parsed(ChunkState, self._raw[digest])
        return self._chunks.get(digest)

    def those(self, wanted: Callable[[ChunkState], bool]) -> list[str]:
        """The chunks that are as somebody wants them, in order."""
        return [digest for digest in self.digests if (chunk := self.chunk(digest)) is not None and wanted(chunk)]


def load_call(keys: CaseKeys, wanted: Wanted) -> Call:
    """The call that reads what is wanted of one partition; its answer is for `RedisCaseReader.take`."""
    cases = sorted(wanted.cases)
    return Call("load", [keys.tag], [keys.partition, len(cases), *cases, *_names(keys, wanted)])


def _names(keys: CaseKeys, wanted: Wanted) -> list[str]:
    """The keys that are wanted besides cases, in order."""
    rates = [keys.name("rate", key) for key in sorted(wanted.rates)]
    return rates + [keys.name("suppression", key) for key in sorted(wanted.suppressions)]


def _small(root: bytes | None, pairs: Sequence[bytes], bodies: Sequence[bytes | None]) -> Small:
    """A small case from its root, the fields and values of its chunks, and their bodies in that order."""
    digests = [digest.decode() for digest in pairs[::2]]
    return Small(root, dict(zip(digests, pairs[1::2], strict=True)), dict(zip(digests, bodies, strict=True)))


def read_case(raw: bytes) -> Case | None:
    """A case; None for one that a newer version wrote."""
    try:
        return parsed(Case, raw)
    except NotUnderstood:
        return None


class RedisCaseReader:
    """See `ports.PartitionReader`."""

    def __init__(self, server: Server, partition: int) -> None:
        self._server, self._keys = server, CaseKeys(server, partition)
        self._cases: dict[str, Case | None] = {}
        self._small: dict[str, Small | None] = {}
        """Small cases that were read, and None for those that are large or not there."""
        self._values: dict[str, bytes | None] = {}
        """What was read of other keys of the partition, by their names."""

    def take(self, wanted: Wanted, answer: Sequence[Any]) -> None:
        """Know what a call has read (`load_call`)."""
        position, standing, cases, values = answer
        of, names = self._keys.name, _names(self._keys, wanted)
        read = {of("pos"): position, of("standing"): standing, **dict(zip(names, values, strict=True))}
        self._values = read | self._values  # what was read first stands: the position is that of all of it
        for case_id, (raw, *rest) in zip(sorted(wanted.cases), cases, strict=True):
            if raw:
                self._cases[case_id] = read_case(raw)
            if rest:
                self._small[case_id] = _small(*rest)
            elif not raw:
                self._small[case_id] = Small(None, {}, {})

    def _load(self, wanted: Wanted) -> None:
        (answer,) = self._server.run([load_call(self._keys, wanted)])
        self.take(wanted, answer)

    def _value(self, name: str, *parts: str) -> bytes | None:
        key = self._keys.name(name, *parts)
        if key not in self._values:
            self._values[key] = self._read("GET", self._keys.of(name, *parts))
        return self._values[key]

    @property
    def position(self) -> Position | None:
        """See `ports.PartitionReader.position`."""
        return parse_position(self._value("pos"))

    @property
    def standing(self) -> Standing:
        """See `ports.PartitionReader.standing`."""
        raw = self._value("standing")
        return parsed(Standing, raw) if raw else Standing()

    def cases(self, case_ids: Collection[str]) -> dict[str, Case | None]:
        """See `ports.PartitionReader.cases`."""
        if new := {each for each in case_ids if each not in self._cases and each not in self._small}:
            self._load(Wanted(new))
        return {case_id: self._cases[case_id] for case_id in case_ids if case_id in self._cases}

    def rate(self, key: str) -> Rate | None:
        """See `ports.PartitionReader.rate`."""
        raw = self._value("rate", key)
        return parsed(Rate, raw) if raw else None

    def suppression(self, key: str) -> Suppression | None:
        """See `ports.PartitionReader.suppression`."""
        raw = self._value("suppression", key)
        return parsed(Suppression, raw) if raw else None

    def retraining(self, key: str) -> Retraining | None:
        """See `ports.PartitionReader.retraining`."""
        raw = self._value("retraining", key)
        return parsed(Retraining, raw) if raw else None

    def _whole(self, case_id: str) -> Small | None:
        """A small case, as it was read; None for a large one.

        0.1 wrote no space in front of what it knew of a small case: that is read here.
        """
        case = self.cases([case_id]).get(case_id)
        if case_id not in self._small:
            self._small[case_id] = self._read_whole(case_id) if case is not None and case.small else None
        return self._small[case_id]

    def _read_whole(self, case_id: str) -> Small:
        tag, of = self._keys.tag, self._keys.of
        root, pairs = self._server.read(
            [(tag, ("GET", of("root", case_id))), (tag, ("HGETALL", of("chunks", case_id)))]
        )
        wanted = [(tag, ("GET", of("chunk", case_id, digest.decode()))) for digest in pairs[::2]]
        return _small(root, pairs, self._server.read(wanted))

    def root(self, case_id: str) -> Root | None:
        """See `ports.PartitionReader.root`."""
        small = self._small.get(case_id)
        raw = small.root if small else self._read("GET", self._keys.of("root", case_id))
        return parsed(Root, raw) if raw else None

    def _read(self, *command: Any) -> Any:
        return self._server.read_one(self._keys.tag, *command)

    def chunk(self, case_id: str, digest: str) -> ChunkState | None:
        """See `CaseReader.chunk`."""
        if small := self._small.get(case_id):
            return small.chunk(digest)
        raw = self._read("HGET", self._keys.of("chunks", case_id), digest)
        return parsed(ChunkState, raw) if raw else None

    def chunk_of(self, case_id: str, command: str) -> ChunkState | None:
        """See `CaseReader.chunk_of`."""
        if small := self._whole(case_id):
            return next(map(small.chunk, small.those(lambda chunk: chunk.carries(command))), None)
        digest = self._read("HGET", self._keys.of("commands", case_id), command)
        found = self.chunk(case_id, digest.decode()) if digest else None
        return found if found is not None and found.carries(command) else None  # the oldest ones it names no more

    def body(self, case_id: str, digest: str) -> Chunk:
        """See `CaseReader.body`."""
        small = self._small.get(case_id)
        raw = small.bodies.get(digest) if small else None
        raw = raw or self._read("GET", self._keys.of("chunk", case_id, digest))
        if not raw:
            raise Unavailable("the body of a chunk is missing in Redis: it has forgotten; rebuild")
        return parsed(Chunk, raw)

    def digests(self, case_id: str, generation: int) -> list[str]:
        """See `CaseReader.digests`."""
        if small := self._whole(case_id):
            return small.those(lambda chunk: chunk.generation == generation)
        found = self._read("SMEMBERS", self._keys.of("plan", case_id, generation))
        return sorted(digest.decode() for digest in found)

    def waiting(self, case_id: str, generation: int, stage: int, limit: int) -> list[str]:
        """See `CaseReader.waiting`."""
        if small := self._whole(case_id):
            place = generation, stage
            return small.those(lambda chunk: chunk.waits and (chunk.generation, chunk.summary.stage) == place)[:limit]
        key = self._keys.of("ready", case_id, generation, stage)
        found = self._read("ZRANGE", key, 0, limit - 1)
        return [digest.decode() for digest in found]

    def live(self, case_id: str, after: str, limit: int) -> list[str]:
        """See `CaseReader.live`."""
        if small := self._whole(case_id):
            return [digest for digest in small.those(lambda chunk: chunk.live) if digest > after][:limit]
        return behind(self._server, self._keys, "live", after, limit, case_id)


def behind(server: Server, keys: CaseKeys, name: str, after: str, limit: int, *parts: str) -> list[str]:
    """Members of a set that is ordered by name, behind one of them."""
    start = f"({after}" if after else "-"
    found = server.read_one(keys.tag, "ZRANGEBYLEX", keys.of(name, *parts), start, "+", "LIMIT", 0, limit)
    return [member.decode() for member in found]
