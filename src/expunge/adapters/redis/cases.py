"""The coordinator's and the notary's state on Redis: one script writes a batch under one position."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from expunge.adapters.redis.case_reader import (
    CaseKeys,
    RedisCaseReader,
    behind,
    format_position,
    load_call,
    parse_position,
    parsed,
    read_case,
)
from expunge.adapters.redis.server import Call, Server
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.events import Position, Record, millis
from expunge.domain.planning.chunks import Chunk
from expunge.errors import Fenced
from expunge.ports import Batch, Changes, Offsets, PartitionReader, TimerKey, Wanted
from expunge.wire.forgotten import ChunksForgotten, KeyedChunk

Words = list[bytes | str | int | float]
NAMES_PER_CALL = 1000
CHUNKS_PER_GROUP = 20
PER_COMMAND = 1000
"""Fields and values of a hash in one command: Lua unpacks no more than some thousands."""


LIVING_PER_PAGE = 500


class RedisCaseStore:
    """See `ports.CaseStore` and `ports.ChunkStore` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def read(self, wanted: Mapping[int, Wanted]) -> dict[int, PartitionReader]:
        """See `ports.CaseStore.read`."""
        readers: dict[int, RedisCaseReader] = {partition: self.reader(partition) for partition in wanted}
        calls = [load_call(CaseKeys(self._server, partition), each) for partition, each in wanted.items()]
        for (partition, each), answer in zip(wanted.items(), self._server.run(calls), strict=True):
            readers[partition].take(each, answer)
        return {**readers}

    def reader(self, partition: int) -> RedisCaseReader:
        """See `ports.CaseStore.reader`."""
        return RedisCaseReader(self._server, partition)

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """See `ports.CaseStore.positions`."""
        keys = [CaseKeys(self._server, partition) for partition in partitions]
        found = self._server.read([(each.tag, ("GET", each.of("pos"))) for each in keys])
        return dict(zip(partitions, map(parse_position, found), strict=True))

    def write(self, batches: Sequence[Batch]) -> None:
        """See `ports.CaseStore.write`."""
        commit(self._server, [self._commit_call(batch) for batch in batches])

    def _commit_call(self, batch: Batch) -> Call:
        keys, changes = CaseKeys(self._server, batch.partition), batch.changes
        words: list[Words] = []
        for case_id, case in changes.cases.items():
            words += _case_words(keys, case, changes.before.get(case_id))
        for case_id, root in changes.roots.items():
            words.append(["SET", keys.of("root", case_id), root.model_dump_json()])
        for case_id, digests in changes.forgotten.items():
            words += _forgetting_words(keys, changes.cases[case_id], changes.before.get(case_id), digests)
        for case_id, chunks in changes.chunks.items():
            if chunks:
                words += hash_words(keys.of("chunks", case_id), list(_states(chunks)))
                words += self._chunk_words(keys, case_id, chunks, changes)
        for timer, at in changes.timers.items():
            member = f"{timer.case_id}|{timer.timer}"
            if at is None:
                words.append(["ZREM", keys.of("timers"), member])
            else:
                words.append(["ZADD", keys.of("timers"), millis(at), member])
        words += _aggregate_words(keys, changes)
        words += _aside_words(keys, changes)
        return commit_call(keys, "pos", batch.before, batch.after, words)

    def _chunk_words(
        self, keys: CaseKeys, case_id: str, chunks: Mapping[str, ChunkState], changes: Changes
    ) -> list[Words]:
        """What finds the chunks of a large case; those of a small one are read as a whole.

        Of one that has just grown, all chunks are found anew: while it was small only their states were kept.
        """
        case, before = changes.cases.get(case_id), changes.before.get(case_id)
        if case is not None and case.small:
            return []
        if before is None or not before.small:
            return [word for digest, chunk in chunks.items() for word in _finding_words(keys, case_id, digest, chunk)]
        stored = self._server.read_one(keys.tag, "HGETALL", keys.of("chunks", case_id))
        earlier = {d.decode(): parsed(ChunkState, raw) for d, raw in zip(stored[::2], stored[1::2], strict=True)}
        every = {**earlier, **chunks}
        places = {_ready(keys, case_id, chunk) for chunk in every.values()}
        places |= {keys.of("plan", case_id, chunk.generation) for chunk in every.values()}
        stale = (keys.of("commands", case_id), keys.of("live", case_id), *sorted(places))
        words = [word for digest, chunk in every.items() for word in _finding_words(keys, case_id, digest, chunk)]
        return [["DEL", *stale], *words]

    def case_ids(self, partition: int) -> Iterator[str]:
        """Every case of a partition."""
        key = CaseKeys(self._server, partition).of("list")
        for case_id in self._server.guarded(lambda client: sorted(client.sscan_iter(key, count=1000))):
            yield case_id.decode()

    def due(self, partition: int, now: datetime, limit: int, skip: int = 0) -> list[tuple[TimerKey, datetime]]:
        """See `ports.CaseStore.due`."""
        keys = CaseKeys(self._server, partition)
        wanted = ("ZRANGEBYSCORE", keys.of("timers"), "-inf", millis(now), "WITHSCORES", "LIMIT", skip, limit)
        found = self._server.read_one(keys.tag, *wanted)
        return [
            (TimerKey(*member.decode().split("|", 1)), datetime.fromtimestamp(float(score) / 1000, UTC))
            for member, score in zip(found[::2], found[1::2], strict=True)
        ]

    def waiting_for_index(self, partition: int) -> list[tuple[str, Offsets]]:
        """See `ports.CaseStore.waiting_for_index`."""
        return [(case_id, case.watermark) for case_id, case in self._of_set(partition, "unapplied").items()]

    def _of_set(self, partition: int, name: str) -> dict[str, Case]:
        """The cases that stand in a set of a partition, by id."""
        keys = CaseKeys(self._server, partition)
        found = self._server.read_one(keys.tag, "SMEMBERS", keys.of(name))
        return self._cases(partition, sorted(each.decode() for each in found))

    def _cases(self, partition: int, case_ids: Collection[str]) -> dict[str, Case]:
        """Cases by id, without those that a newer version wrote."""
        keys = CaseKeys(self._server, partition)
        raw = self._server.read([(keys.tag, ("GET", keys.of("case", case_id))) for case_id in case_ids])
        cases = [case for each in raw if each and (case := read_case(each)) is not None]
        return {case.case_id: case for case in cases}

    def live_cases(self, partition: int, after: str, limit: int) -> list[str]:
        """See `ports.CaseStore.live_cases`."""
        return behind(self._server, CaseKeys(self._server, partition), "open", after, limit)

    def set_aside(self, partition: int, case_id: str, at: int) -> Record | None:
        """See `ports.CaseStore.set_aside`."""
        keys = CaseKeys(self._server, partition)
        raw = self._server.read_one(keys.tag, "LINDEX", keys.of("aside", case_id), at)
        return _record(partition, raw) if raw else None

    def listed(self, partition: int) -> list[Case]:
        """Every case of a partition, for people."""
        return list(self._of_set(partition, "list").values())

    def living(self, partition: int) -> Iterator[Case]:
        """Those that something may still concern (`Case.alive`), for people; read in pages."""
        after = ""
        while page := self.live_cases(partition, after, LIVING_PER_PAGE):
            yield from self._cases(partition, page).values()
            after = page[-1]

    def chunks(self, partition: int, case_id: str) -> Iterator[ChunkState]:
        """Every chunk of a case, for people; read in pages, so that a large plan holds nobody up."""
        key, cursor = CaseKeys(self._server, partition).of("chunks", case_id), 0

        def page(client: Any) -> Any:
            return client.hscan(key, cursor, count=1000)

        while True:
            cursor, found = self._server.guarded(page)
            yield from map(ChunkState.model_validate_json, found.values())
            if not cursor:
                return

    def forgotten(self, partition: int, case_ids: Collection[str]) -> dict[str, Case]:
        """See `sweep.ports.Forgotten.forgotten`."""
        keys = CaseKeys(self._server, partition)
        found = self._server.read([(keys.tag, ("GET", keys.of("case", case_id))) for case_id in sorted(case_ids)])
        cases = [read_case(raw) for raw in found if raw and b'"forgotten":0' not in raw and b'"forgotten":' in raw]
        return {case.case_id: case for case in cases if case is not None}

    def put_keyed(self, partition: int, kept: ChunksForgotten) -> None:
        """See `rebuild.ports.States.put_keyed`."""
        keys = CaseKeys(self._server, partition)
        pairs = [word for each in kept.chunks for word in (each.chunk, each.model_dump_json(exclude_defaults=True))]
        words = list(hash_words(keys.of("keyed", kept.case_id), pairs))
        self._server.run([Call("commit", [keys.tag], ["", "-", *flat(words)], [keys.of("pos")])])

    def keyed(self, partition: int, case_id: str) -> dict[str, KeyedChunk]:
        """See `rebuild.ports.States.keyed`."""
        keys = CaseKeys(self._server, partition)
        found = self._server.read_one(keys.tag, "HGETALL", keys.of("keyed", case_id))
        return {d.decode(): parsed(KeyedChunk, raw) for d, raw in zip(found[::2], found[1::2], strict=True)}

    def drop_keyed(self, partition: int, case_id: str) -> None:
        """See `rebuild.ports.States.drop_keyed`."""
        keys = CaseKeys(self._server, partition)
        words: list[Words] = [["UNLINK", keys.of("keyed", case_id)]]
        self._server.run([Call("commit", [keys.tag], ["", "-", *flat(words)], [keys.of("pos")])])

    def owners(self, partition: int, case_id: str, names: Sequence[bytes], after: int = 0) -> list[str | None]:
        """See `ports.ChunkStore.owners`."""
        keys = CaseKeys(self._server, partition)
        where = [_owners(keys, case_id, after)]
        parts = [names[start : start + NAMES_PER_CALL] for start in range(0, len(names), NAMES_PER_CALL)]
        replies = self._server.run([Call("owners", [keys.tag], [b"".join(part)], where) for part in parts])
        return [digest.hex() if digest else None for reply in replies for digest in reply]

    def bodies(self, partition: int, case_id: str, digests: Sequence[str]) -> list[Chunk]:
        """See `ports.ChunkStore.bodies`."""
        reader = self.reader(partition)
        return [reader.body(case_id, digest) for digest in digests]

    def put_chunks(self, partition: int, chunks: Iterable[tuple[Chunk, Sequence[bytes]]]) -> list[bool]:
        """See `ports.ChunkStore.put_chunks`."""
        keys = CaseKeys(self._server, partition)

        def call(chunk: Chunk, names: Sequence[bytes]) -> Call:
            digest = chunk.digest
            where = [_owners(keys, chunk.case_id, chunk.after), keys.of("chunk", chunk.case_id, digest)]
            body = chunk.model_dump_json(exclude_defaults=True)
            return Call("put_chunk", [keys.tag], [body, bytes.fromhex(digest), b"".join(names)], where)

        calls = (call(*each) for each in chunks)
        groups = iter(lambda: list(islice(calls, CHUNKS_PER_GROUP)), [])
        return [bool(written) for answers in self._server.stream(groups, 2) for written in answers]


def _aggregate_words(keys: CaseKeys, changes: Changes) -> list[Words]:
    """What concerns many cases."""
    words: list[Words] = []
    for key, suppression in changes.suppressions.items():
        words.append(["SET", keys.of("suppression", key), suppression.model_dump_json()])
    for key, rate in changes.rates.items():
        words.append(["SET", keys.of("rate", key), rate.model_dump_json()])
    for key, retraining in changes.retrainings.items():
        words.append(["SET", keys.of("retraining", key), retraining.model_dump_json()])
    if changes.standing is not None:
        words.append(["SET", keys.of("standing"), changes.standing.model_dump_json()])
    return words


def _aside_words(keys: CaseKeys, changes: Changes) -> list[Words]:
    """What waits for frozen cases: new messages behind it, handled ones off its front."""
    words: list[Words] = [
        ["RPUSH", keys.of("aside", case_id), _packed(record)] for case_id, record in changes.set_aside
    ]
    for case_id, number in changes.taken_up.items():
        words.append(["LTRIM", keys.of("aside", case_id), number, -1])
    return words


_ASIDE = struct.Struct(">iqq")


def _packed(record: Record) -> bytes:
    """A message of `cases` with its position and its moment; nothing else of it matters there."""
    position = record.position
    return _ASIDE.pack(position.leader_epoch, position.offset, millis(record.appended_at)) + (record.value or b"")


def _record(partition: int, raw: bytes) -> Record:
    epoch, offset, at_ms = _ASIDE.unpack_from(raw)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return Record("cases", partition, Position(epoch, offset), at, None, raw[_ASIDE.size :])


def _case_words(keys: CaseKeys, case: Case, before: Case | None) -> list[Words]:
    """A case, and its place in the sets of cases where that has changed."""
    case_id = case.case_id
    space = " " if case.small else ""  # so that whoever reads it knows at once (load.lua)
    words: list[Words] = [["SET", keys.of("case", case_id), space + case.model_dump_json()]]
    if before is None:
        words.append(["SADD", keys.of("list"), case_id])
    if before is None or case.alive != before.alive:
        words.append(["ZADD", keys.of("open"), 0, case_id] if case.alive else ["ZREM", keys.of("open"), case_id])
    if before is None or case.awaits_index != before.awaits_index:
        words.append(["SADD" if case.awaits_index else "SREM", keys.of("unapplied"), case_id])
    return words


def _owners(keys: CaseKeys, case_id: str, after: int) -> bytes:
    """Where owners lie of what was planned since a case was forgotten: one may be written before that is done."""
    return keys.of("owners", f"{case_id}.{after}" if after else case_id)


def _forgetting_words(keys: CaseKeys, case: Case, before: Case | None, digests: Sequence[str]) -> Iterator[Words]:
    """Everything about the chunks of a case goes; and that it was forgotten is noted."""
    of, case_id = keys.of, case.case_id
    yield ["SADD", of("forgotten"), case_id]
    owners = _owners(keys, case_id, before.forgotten if before else 0)
    names = [owners, *(of(each, case_id) for each in ("chunks", "commands", "live"))]
    names += [of("chunk", case_id, digest) for digest in digests]
    for each in case.generations:
        names += [of("plan", case_id, each.number), *(of("ready", case_id, each.number, stage) for stage in each.sizes)]
    if not case.small:  # their owners continue in hashes of their own (put_chunk.lua)
        names += [owners + b":" + prefix.to_bytes(2, "big") for prefix in range(1 << 16)]
    for start in range(0, len(names), PER_COMMAND):
        yield ["UNLINK", *names[start : start + PER_COMMAND]]


def _states(chunks: Mapping[str, ChunkState]) -> Iterator[str]:
    """Chunks as fields of their hash and their values."""
    for digest, chunk in chunks.items():
        yield digest
        yield chunk.model_dump_json(exclude_defaults=True)


def _ready(keys: CaseKeys, case_id: str, chunk: ChunkState) -> bytes:
    return keys.of("ready", case_id, chunk.generation, chunk.summary.stage)


def _finding_words(keys: CaseKeys, case_id: str, digest: str, chunk: ChunkState) -> list[Words]:
    ready, live = _ready(keys, case_id, chunk), keys.of("live", case_id)
    carried = [word for command in (chunk.command_id, *chunk.named) for word in (command, digest)]
    return [
        ["HSET", keys.of("commands", case_id), *carried],
        ["ZADD", live, 0, digest] if chunk.live else ["ZREM", live, digest],
        ["SADD", keys.of("plan", case_id, chunk.generation), digest],
        ["ZADD", ready, 0, digest] if chunk.waits else ["ZREM", ready, digest],
    ]


class RedisNotaryStore:
    """See `ports.NotaryStore` for what each method promises."""

    def __init__(self, server: Server, partition: int = 0) -> None:
        self._server, self._keys = server, CaseKeys(server, partition)

    def position(self, partition: int) -> Position | None:
        """See `ports.NotaryStore.position`."""
        keys = CaseKeys(self._server, partition)
        return parse_position(self._server.read_one(keys.tag, "GET", keys.of("notary-pos")))

    def known(self, case_ids: Sequence[str]) -> dict[str, dict[int, str]]:
        """See `ports.NotaryStore.known`."""
        tag, of = self._keys.tag, self._keys.of
        found = self._server.read([(tag, ("HGETALL", of("facts", case_id))) for case_id in case_ids])
        return {
            case_id: {int(sequence): digest.decode() for sequence, digest in zip(flat[::2], flat[1::2], strict=True)}
            for case_id, flat in zip(case_ids, found, strict=True)
        }

    def write(
        self,
        partition: int,
        before: Position | None,
        after: Position,
        seen: Mapping[str, Mapping[int, str]],
        forgotten: Collection[str] = (),
    ) -> None:
        """See `ports.NotaryStore.write`."""
        words: list[Words] = [["UNLINK", self._keys.of("facts", case_id)] for case_id in sorted(forgotten)]
        for case_id, facts in seen.items():
            words += hash_words(self._keys.of("facts", case_id), [word for pair in facts.items() for word in pair])
        commit(self._server, [commit_call(CaseKeys(self._server, partition), "notary-pos", before, after, words)])


def hash_words(key: bytes, pairs: Sequence[str | int]) -> Iterator[Words]:
    """Fields and their values, into a hash."""
    for start in range(0, len(pairs), PER_COMMAND):
        yield ["HSET", key, *pairs[start : start + PER_COMMAND]]


def flat(words: Sequence[Words]) -> Words:
    """Commands as the commit script reads them: the number of words before each."""
    return [item for command in words for item in (len(command), *command)]


def commit_call(keys: CaseKeys, name: str, before: Position | None, after: Position, words: Sequence[Words]) -> Call:
    """A write under a position."""
    arguments = [format_position(before), format_position(after), *flat(words)]
    return Call("commit", [keys.tag], arguments, [keys.of(name)])


def commit(server: Server, calls: Sequence[Call]) -> None:
    """Write under positions.

    Raises:
        Fenced: a stored position is not the one that was read.
    """
    if not all(server.run(calls)):
        raise Fenced("the state of a partition is newer than this process believes")
