"""The connection, the key layout, the scripts, and the one place where Redis errors become Expunge's."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, NamedTuple, TypeVar

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.utils import str_if_bytes

from expunge.adapters.redis.slots import OF_CLUSTERS, Slots, from_cluster, is_wrong_call, pipelined
from expunge.domain.digest import hidden
from expunge.errors import Changed, ConfigurationError, Fenced, Forgotten, Unavailable

T = TypeVar("T")
REDIS = "Redis"
TAGS = 256
NO_INDEX = "`expunge rebuild` makes it from what lies on topics; on a new installation: `expunge topics create`"
HALF_BUILT = "a rebuild of this Redis has begun and not ended: `expunge rebuild` goes on with it"
TURNING = "`expunge keys rotate` goes on, should it have been broken off"
PART_LOST = "empty what is left under the prefix, then `expunge rebuild`, or restore Redis: docs/recovery.md"
FORMAT = "3"
FIRST_EPOCH = "1"
PLAIN = frozenset({"read", "load", "commit", "cover", "covered"})
"""Scripts that know nothing of how the index is laid out."""
SCRIPTS = (
    "put",
    "link",
    "marks",
    "mark_roots",
    "set_state",
    "visit",
    "peek",
    "sizes",
    "members",
    "exclude",
    "put_chunk",
    "owners",
    "commit",
    "forget",
    "watch",
    "adopt",
    "rename",
    "drop",
    "read",
    "load",
    "cover",
    "covered",
)
_PASSING = ("LOADING", "BUSY", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MISCONF", "NOREPLICAS")
EPOCH = "EPOCH the sentinel"
REPLACED = "REPLACED the server of this address is another process than before"
"""What this process says to itself where it has connected to a server that may have forgotten something."""
IDENTITY = (("server", "run_id"), ("replication", "master_replid"))
"""What says which server this is, and whether its data may be another's: section of INFO, and field."""
ABSENT = "absent"
"""A key of every tag that never is there. Declared with others, it makes a cluster refuse a script (TRYAGAIN) from when
keys of its slot begin to be moved to another server until all have been: in between, what a script looks for may be
there or not, and absence would look like an answer."""
SOCKET_SECONDS = 5
CALLS_PER_TRIP = 256
READS_PER_CALL = 500


ASSETS_PER_BUCKET = 80
"""So many rows keep a bucket small enough for the compact encoding, and large enough that its own cost is small."""


def buckets_for(assets: int) -> int:
    """Into how many buckets an index for so many assets is cut: the same number for every hash tag."""
    return max(1, -(-assets // (ASSETS_PER_BUCKET * TAGS))) * TAGS


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's exceptions into Expunge's; a script that is wrong stays a defect."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__})", server=REDIS) from error
    except OF_CLUSTERS as error:
        if is_wrong_call(error):
            raise
        raise from_cluster(error) from error
    except redis.ResponseError as error:
        text = str(error)
        if EPOCH in text:
            text = f"Redis has forgotten part of the index: {PART_LOST}"
            raise Forgotten(text, server=REDIS) from error
        if text == REPLACED:
            text = "Redis is another one than before, or was started anew: what it holds is compared first"
            raise Unavailable(text, server=REDIS) from error
        if "LEASE this process" in text:
            raise Fenced("this process was last a member of its group too long ago to mark") from error
        if passing := next((word for word in _PASSING if word in text), None):  # a script's error has words before it
            raise Unavailable(f"Redis refuses for now ({passing})", server=REDIS) from error
        raise


class Call(NamedTuple):
    """One run of a script: the tags that it touches, arguments behind the epoch, keys behind the sentinels."""

    script: str
    tags: Collection[int]
    arguments: Sequence[Any]
    keys: Sequence[bytes] = ()

    def __repr__(self) -> str:
        return hidden(self)


@dataclass(frozen=True)
class Meta:
    """What was fixed when the index was created."""

    buckets: int
    check: str
    epoch: str
    layout: str
    """Which version of the keys' encodings this is; see FORMAT."""
    covers: bool = False
    """Whether it was said from the first write on how far what stands here reaches; 0.1 did not say so."""
    newest: int = 1
    """The number of the secret that `check` is of: the newest that is in use."""
    oldest: int = 0
    """The number of the earliest that is; 0: the newest alone."""
    retired: int = 0
    """The number of a secret that is used no longer, and under which something may stand still; 0: of none."""
    turning: bool = False
    """Whether another secret is being given to every tag: see `turning`."""

    @property
    def means(self) -> tuple[str, str, int]:
        """What a process must know to read it rightly."""
        return self.layout, self.check, self.oldest


class Server:
    """A Redis, or a Redis Cluster, with Expunge's keys under one prefix."""

    def __init__(self, url: str, prefix: str, *, cluster: bool = False) -> None:
        self.is_cluster, self._url = cluster, url
        try:
            parts = parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:  # whose text may hold the password
            raise ConfigurationError("redis.url is no address of a Redis: redis://HOST:PORT/0, or rediss://") from None
        if cluster and (parts.get("db") or "path" in parts):
            raise ConfigurationError("redis.url: a Redis Cluster has one database, and no socket: redis://HOST:PORT/0")
        self.compares = False
        """Whether this process must know when a server has become another one: a role's must."""
        self._known: dict[str, str] = {}
        """Address -> which server was there."""
        self._is_accepted = False
        """Whether every primary of a cluster is known that was one at the start."""
        self._rebuilt: Meta | None = None
        """Another index that is there now, until it is accepted."""
        self._others: dict[str, str] = {}
        """Address -> another one that is there now, until it is accepted."""
        self._greeting = threading.Lock()
        self.runs = 0
        """How often a server has turned out to be another one: what is remembered of what it holds may be wrong."""
        self._prefix = prefix.encode()
        self._sentinels = [self.key(tag, "sentinel") for tag in range(TAGS)]
        self._ahead = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redis")
        folder = resources.files("expunge.adapters.redis") / "lua"
        sentinels, prelude = (folder / "sentinels.lua").read_text(), (folder / "prelude.lua").read_text()
        heads = {name: sentinels if name in PLAIN else sentinels + prelude for name in SCRIPTS}
        self._sources = {name: head + (folder / f"{name}.lua").read_text() for name, head in heads.items()}
        self._shas = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in self._sources.items()}  # noqa: S324 - Redis names scripts so

    @cached_property
    def client(self) -> Any:
        """The client of the library; that of a cluster asks for its slots when it is made."""
        kind = redis.RedisCluster if self.is_cluster else redis.Redis
        with translated():
            return kind.from_url(
                self._url,
                socket_timeout=SOCKET_SECONDS,
                socket_connect_timeout=SOCKET_SECONDS,
                retry=Retry(ExponentialBackoff(cap=1, base=0.05), 3),
                redis_connect_func=self._greet,
            )

    def _greet(self, connection: Any) -> None:
        """A new connection: to the server that was there before, or nobody uses it before that is accepted.

        A server loses what it has not written down when it ends, and breaks its connections, or when it becomes
        another's replica, and breaks them or not (`look`). `run_id` tells the first, `master_replid` the second.

        Raises:
            redis.ResponseError: it is another; see `translated`.
        """
        if not self.is_cluster:  # whose client has done so
            connection.on_connect()
        if not self.compares:
            return
        address, found = _address(connection), _identity(connection)
        if self.is_cluster and not _is_primary(connection):
            return
        with self._greeting:
            # A primary of a cluster that was none before has perhaps not heard all that the one before it was told.
            before = self._known.get(address, "" if self.is_cluster and self._is_accepted else found)
            self._known.setdefault(address, before)
            if found and found != before:
                self._is_another_now(address, found)
                raise redis.ResponseError(REPLACED)

    def _is_another_now(self, address: str, found: str) -> None:
        self.runs += self._others.get(address) != found
        self._others[address] = found

    def look(self) -> None:
        """Ask the server who it is: one that was made another's replica, and its own master again, breaks nothing."""
        found = self._identities()
        with self._greeting:
            for address, said in found.items():
                if self._known and said not in self._known.values():
                    self._is_another_now(address, said)

    def _identities(self) -> dict[str, str]:
        """Address -> which server is there, of every primary; without those that do not say."""
        found: dict[str, str] = {}
        for address, client in self._primaries():
            with translated():
                said = [client.info(section).get(field, "") for section, field in IDENTITY]
            if all(said):
                found[address] = " ".join(f"{f}:{each}" for (_, f), each in zip(IDENTITY, said, strict=True))
        return found

    def _primaries(self) -> list[tuple[str, Any]]:
        """Address and client of every server that is written to."""
        if self._slots is None:
            return [("looked", self.client)]
        with translated():
            return self._slots.primaries()

    def _look_at_epoch(self) -> None:
        """A tag has forgotten something: if all was rebuilt meanwhile, that is another index, to be accepted first.

        Raises:
            Forgotten: there is no index, or half of one.
        """
        found = self._read_meta()
        if found is None:
            raise self._empty()
        if found.turning:
            raise Unavailable(f"the secret is being rotated: {TURNING}", server=REDIS)
        if found.epoch != self.meta.epoch:
            if found.means != self.meta.means:
                raise Changed("people stand in the index under another secret, or another version has made it")
            with self._greeting:
                self._rebuilt = found
                self._is_another_now("index", found.epoch)

    def refuse_if_changed(self) -> None:
        """Of a process that runs no scripts, which would be refused.

        Raises:
            Changed: people stand in the index under another secret than this process knows of.
        """
        found = self.read_meta()
        if found is not None and found.means != self.meta.means:
            raise Changed("people stand in the index under another secret than before")

    @property
    def is_another(self) -> bool:
        """Whether a server is another one than was accepted, and so may have forgotten something."""
        return bool(self._others)

    def accept(self) -> None:
        """From now on this is the server, and what it holds the index. Nothing that was begun before is under way."""
        self._ahead.submit(int).result()
        with self._greeting:
            before, others = dict(self._known), dict(self._others)
            self._known |= others
            self._others = {}
        try:
            found = self._identities() if self.is_cluster else {}  # of which a connection may never have led to some
        except Unavailable:  # nothing is accepted, and nothing that was noticed forgotten
            with self._greeting:
                self._known, self._others = before, others | self._others
            raise
        with self._greeting:
            self._known, self._is_accepted = found | self._known, True
            if self._rebuilt is not None:
                self.__dict__["meta"], self._rebuilt = self._rebuilt, None

    @property
    def prefix(self) -> str:
        """What every key of this deployment begins with."""
        return self._prefix.decode()

    def key(self, tag: int, name: str) -> bytes:
        """A key in the slot of a tag."""
        return self._prefix + f"{{{tag}}}{name}".encode()

    def sentinel(self, tag: int) -> bytes:
        """The key that every script checks first."""
        return self._sentinels[tag]

    def bucket(self, node: bytes) -> int:
        """The number of a node's bucket, as scripts take it: its tag times 2^24, and its place within the tag.

        The tag is the second byte of a node (of pseudonyms the first says the epoch), so the members of a shard share
        it; the place follows from the next three, so that nodes in order come bucket by bucket.
        """
        return node[1] << 24 | int.from_bytes(node[2:5], "big") * self.width >> 24

    @property
    def width(self) -> int:
        """Buckets in each tag."""
        return self.meta.buckets // TAGS

    def in_bucket(self, kind: str, node: bytes) -> bytes:
        """The key of the hash that holds a node's field of some kind."""
        return self.key(node[1], f"{kind}:{self.bucket(node) & 0xFFFFFF}")

    @cached_property
    def meta(self) -> Meta:
        """What was fixed at creation; read once.

        Raises:
            Forgotten: Redis is empty, or half rebuilt.
        """
        found = self.read_meta()
        if found is None:
            raise self._empty()
        return found

    def _empty(self) -> Forgotten:
        if self.is_half_built():
            return Forgotten(f"Redis holds half an index: {HALF_BUILT}", server=REDIS)
        return Forgotten(f"Redis holds no index: {NO_INDEX}", server=REDIS)

    def lost_tags(self, epoch: str) -> int:
        """How many hash tags have lost the sentinel of an epoch, and so perhaps all else that they held."""
        with translated():
            pipe = self.client.pipeline(transaction=False)
            for tag in range(TAGS):
                pipe.hget(self.sentinel(tag), "epoch")
            return sum(found != epoch.encode() for found in pipe.execute())

    def read_meta(self) -> Meta | None:
        """What was fixed at creation; None in an empty Redis."""
        with translated():
            return self._read_meta()

    def _read_meta(self) -> Meta | None:
        raw = self.client.hgetall(self.key(0, "meta"))
        if b"epoch" not in raw:
            return None
        return Meta(
            int(raw[b"buckets"]),
            raw[b"check"].decode(),
            raw[b"epoch"].decode(),
            raw[b"format"].decode(),
            b"covers" in raw,
            int(raw.get(b"newest", 1)),
            int(raw.get(b"oldest", 0)),
            int(raw.get(b"retired", 0)),
            b"turning" in raw,
        )

    def now_ms(self) -> int:
        """The store's clock, in milliseconds since 1970; of several servers that which is behind all others."""
        with translated():
            said = [client.time() for _, client in self._primaries()]
        return min(int(seconds) * 1000 + int(micros) // 1000 for seconds, micros in said)

    def forget(self, prefix: str) -> None:
        """Delete every key of another deployment's prefix."""
        with translated():
            for key in self.client.scan_iter(match=f"{prefix}{{*", count=1000):
                self.client.unlink(key)

    def settings(self, name: str) -> list[str]:
        """A setting, as each server that is written to has it; nothing where they do not say (managed services)."""
        found = []
        with suppress(redis.ResponseError):
            for _, client in self._primaries():
                with translated():
                    found.append(str(client.config_get(name).get(name, "")))
        return found

    def time(self) -> float:
        """The server's clock, in seconds since the epoch."""
        return self.now_ms() / 1000

    def initialise(self, buckets: int, check: str) -> None:
        """Set up an empty Redis: sentinels first, meta last, so that half of it is no index."""
        self.write_sentinels(FIRST_EPOCH)
        with translated():
            self.write_meta(self.client, Meta(buckets, check, FIRST_EPOCH, FORMAT, covers=True))

    def write_sentinels(self, epoch: str) -> None:
        """Every tag is of an epoch from now on."""
        with translated():
            pipe = self.client.pipeline(transaction=False)
            for tag in range(TAGS):
                pipe.hset(self.sentinel(tag), mapping={"epoch": epoch})
            pipe.execute()

    def write_meta(self, client: Any, meta: Meta) -> None:
        """There is an index from now on; by a client, or in a step with others."""
        said = {"format": meta.layout, "buckets": meta.buckets, "check": meta.check, "epoch": meta.epoch, "covers": "1"}
        said |= {"again": "0", "newest": meta.newest, "retired": meta.retired}
        client.hset(self.key(0, "meta"), mapping=said)

    def adopt(self, meta: Meta) -> None:
        """What this process is to write is this index, which is not there yet."""
        self.__dict__["meta"] = meta

    def notes_returns_since(self) -> int:
        """Since when marks of what is gone say whether that was stated again (milliseconds since 1970).

        An index that an earlier version made does so since it was asked for the first time: by then no such version
        writes there any more.
        """
        key = self.key(0, "meta")
        self.run([Call("commit", [0], ["", "-", 4, "HSETNX", key, "again", self.now_ms()], [key])])
        return int(self.read_one(0, "HGET", key, "again"))

    def is_half_built(self) -> bool:
        """Whether a rebuild has begun and not ended: its last step puts the index in the place of what says so."""
        with translated():
            return bool(self.client.exists(self.key(0, "rebuild")))

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in as few round trips as their size allows; their answers in order."""
        with translated(), self._epoch_watched():
            answers: list[Any] = []
            for start in range(0, len(calls), CALLS_PER_TRIP):
                answers += self._trip(calls[start : start + CALLS_PER_TRIP])
            return answers

    @contextmanager
    def _epoch_watched(self) -> Iterator[None]:
        try:
            yield
        except redis.ResponseError as error:
            if EPOCH in str(error):
                self._look_at_epoch()
            raise

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin work that is mostly waiting for the server; see `ports.Index.begin`."""
        return self._ahead.submit(work).result

    def stream(self, groups: Iterable[Sequence[Call]], count: int) -> Iterator[list[Any]]:
        """Run groups of scripts one after the other; the next group is made while the server works at this one.

        Args:
            groups: of calls.
            count: how many groups there are; for a single one nothing is gained by another thread.
        """
        if count == 1:
            yield from map(self.run, groups)
            return
        under_way: Future[list[Any]] | None = None
        for calls in groups:
            following = self._ahead.submit(self.run, calls)
            if under_way is not None:
                yield under_way.result()
            under_way = following
        if under_way is not None:
            yield under_way.result()

    def _run_one(self, call: Call) -> Any:
        """Run one script. A pipeline of one costs the client twice as much as the command."""
        if self.is_cluster:
            return self.run([call])[0]
        try:
            with translated(), self._epoch_watched():
                return self.client.execute_command(*self._words(call))
        except redis.exceptions.NoScriptError:
            return self.run([call])[0]

    def _trip(self, calls: Sequence[Call]) -> list[Any]:
        answers = self._pipelined(calls)
        missing = [at for at, each in enumerate(answers) if isinstance(each, redis.exceptions.NoScriptError)]
        if missing:  # on one server of several, perhaps: what others have done is not done again
            for text in self._sources.values():
                self.client.script_load(text)
            for at, answer in zip(missing, self._pipelined([calls[at] for at in missing]), strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _pipelined(self, calls: Sequence[Call]) -> list[Any]:
        commands = [self._words(call) for call in calls]
        if self._slots is None:
            return pipelined(self.client, commands)
        return self._slots.pipelined([tag for call in calls for tag in call.tags], commands)

    @cached_property
    def _slots(self) -> Slots | None:
        """Of a cluster, which server has which tag."""
        return Slots(self.client, [self.key(tag, "") for tag in range(TAGS)]) if self.is_cluster else None

    def _words(self, call: Call) -> tuple[Any, ...]:
        keys: tuple[bytes, ...] = (*map(self.sentinel, call.tags), *call.keys)
        if self.is_cluster:
            (tag,) = call.tags
            keys = (*keys, self.key(tag, ABSENT))
        return "EVALSHA", self._shas[call.script], len(keys), *keys, self.meta.epoch, *call.arguments

    def parts(self, items: Sequence[T], tag_of: Callable[[T], int], size: int) -> list[list[T]]:
        """Items in parts, each for one call: a server takes many tags in one, a cluster knows each tag by itself."""
        together: dict[int, list[T]] = defaultdict(list)
        for item in items if self.is_cluster else ():
            together[tag_of(item)].append(item)
        groups = together.values() if self.is_cluster else (items,)
        return [list(group[start : start + size]) for group in groups for start in range(0, len(group), size)]

    def read(self, reads: Sequence[tuple[int, Sequence[Any]]]) -> list[Any]:
        """Run plain reads, each a tag and the words of a command, if their tags have forgotten nothing.

        Raises:
            Unavailable: the sentinel of a tag is missing, or of another epoch.
        """
        parts = self.parts(range(len(reads)), lambda number: reads[number][0], READS_PER_CALL)
        calls = []
        for part in parts:
            words = [word for number in part for word in (len(reads[number][1]), *reads[number][1])]
            calls.append(Call("read", sorted({reads[number][0] for number in part}), words))
        found: list[Any] = [None] * len(reads)
        for part, answers in zip(parts, self.run(calls), strict=True):
            for number, answer in zip(part, answers, strict=True):
                found[number] = answer
        return found

    def read_one(self, tag: int, *command: Any) -> Any:
        """Run one plain read; see `read`."""
        return self._run_one(Call("read", [tag], [len(command), *command]))[0]

    def guarded(self, action: Callable[[Any], Any]) -> Any:
        """Run plain commands with the client's errors translated: for people who look; nothing is decided on them."""
        with translated():
            return action(self.client)


def _address(connection: Any) -> str:
    """Where a connection leads to."""
    parts = dict(connection.repr_pieces())
    return f"{parts['host']}:{parts['port']}" if "host" in parts else str(sorted(parts.items()))


def _is_primary(connection: Any) -> bool:
    connection.send_command("ROLE")
    return str_if_bytes(connection.read_response()[0]) == "master"


def _identity(connection: Any) -> str:
    """Which server a connection leads to; empty where it does not say: nobody can tell then (docs/recovery.md)."""
    found = []
    for section, field in IDENTITY:
        connection.send_command("INFO", section)
        try:
            said = str_if_bytes(connection.read_response())
        except redis.ResponseError:
            return ""
        found += [line for line in said.splitlines() if line.startswith(field + ":")]
    return " ".join(found)
