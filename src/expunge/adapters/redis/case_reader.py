"""The large part of one partition's state on Redis, read piece by piece; small cases whole, many in two round trips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from expunge.adapters.redis.server import TAGS, Server
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.planning.chunks import Chunk
from expunge.errors import NotUnderstood, Unavailable
from expunge.wire.cases.case import Root

M = TypeVar("M", bound=BaseModel)


class CaseKeys:
    """The keys of one partition of `cases`."""

    def __init__(self, server: Server, partition: int) -> None:
        self.tag = partition % TAGS
        self._server, self._partition = server, partition

    def of(self, name: str, *parts: object) -> bytes:
        """`name:<partition>:<parts>` in the partition's slot."""
        return self._server.key(self.tag, ":".join([name, str(self._partition), *map(str, parts)]))


def parsed(model: type[M], raw: bytes) -> M:
    """What stands in Redis.

    Raises:
        NotUnderstood: a newer version wrote it.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError:
        raise NotUnderstood("unknown_state") from None


class Small:
    """Everything of a small case, as it stood when it was read."""

    def __init__(self, root: bytes | None, chunks: dict[str, bytes]) -> None:
        self.root, self.bodies = root, dict[str, bytes]()
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


class RedisCaseReader:
    """See `ports.PartitionReader`. Who reads checks the position afterwards: nobody may have written meanwhile."""

    def __init__(self, server: Server, partition: int) -> None:
        self._server, self._keys = server, CaseKeys(server, partition)
        self._small: dict[str, Small | None] = {}
        """Small cases that were read, and None for those of which is known that they are large."""

    def _whole(self, case_id: str) -> Small | None:
        """A small case, read as a whole; None for a large one."""
        if case_id not in self._small:
            raw = self._read("GET", self._keys.of("case", case_id))
            self._small[case_id] = None
            if raw and parsed(Case, raw).small:
                self.ahead([case_id])
        return self._small[case_id]

    def ahead(self, case_ids: Sequence[str]) -> None:
        """See `ports.PartitionReader.ahead`."""
        if not case_ids:
            return
        tag, of = self._keys.tag, self._keys.of
        found = self._server.read(
            [
                (tag, read)
                for case_id in case_ids
                for read in (("GET", of("root", case_id)), ("HGETALL", of("chunks", case_id)))
            ]
        )
        read: dict[str, Small] = {}
        for case_id, root, pairs in zip(case_ids, found[::2], found[1::2], strict=True):
            chunks = {digest.decode(): raw for digest, raw in zip(pairs[::2], pairs[1::2], strict=True)}
            read[case_id] = Small(root, chunks)
        places = [(case_id, digest) for case_id, small in read.items() for digest in small.digests]
        bodies = self._server.read([(tag, ("GET", of("chunk", *place))) for place in places])
        for (case_id, digest), body in zip(places, bodies, strict=True):
            if body:
                read[case_id].bodies[digest] = body
        self._small |= read

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
