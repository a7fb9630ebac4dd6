"""The connection, the key layout, the scripts, and the one place where Redis errors become Expunge's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from expunge.errors import ConfigurationError, Fenced, Unavailable

TAGS = 256
FORMAT = "1"
SCRIPTS = ("put", "link", "members", "mark_roots", "set_clean", "visit", "exclude", "put_chunk", "commit")
_PASSING = ("LOADING", "BUSY", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MISCONF", "NOREPLICAS")
SOCKET_SECONDS = 5


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client's exceptions into Expunge's; a script that is wrong stays a defect."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(f"Redis does not answer ({type(error).__name__})") from error
    except redis.ResponseError as error:
        text = str(error)
        if text.startswith("EPOCH") or "EPOCH the sentinel" in text:
            raise Unavailable("Redis has forgotten part of the index (no sentinel of this epoch): rebuild") from error
        if "LEASE this process" in text:
            raise Fenced("this process polled too long ago to mark") from error
        if any(word in text for word in _PASSING):
            raise Unavailable(f"Redis refuses for now ({text.split(maxsplit=1)[0]})") from error
        raise


@dataclass(frozen=True)
class Meta:
    """What was fixed when the index was created."""

    buckets: int
    check: str
    epoch: str


class Server:
    """A Redis with Expunge's keys under one prefix."""

    def __init__(self, url: str, prefix: str) -> None:
        self.client: Any = redis.Redis.from_url(
            url,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(ExponentialBackoff(cap=1, base=0.05), 3),
        )
        self._prefix = prefix.encode()
        folder = resources.files("expunge.adapters.store") / "lua"
        prelude = (folder / "prelude.lua").read_text()
        self._scripts = {
            name: self.client.register_script(prelude + (folder / f"{name}.lua").read_text()) for name in SCRIPTS
        }

    def key(self, tag: int, name: str) -> bytes:
        """A key in the slot of a tag."""
        return self._prefix + f"{{{tag}}}{name}".encode()

    def sentinel(self, tag: int) -> bytes:
        """The key that every script checks first."""
        return self.key(tag, "sentinel")

    def bucket(self, node: bytes) -> int:
        """The bucket of a node; its tag is `bucket % TAGS`."""
        return int.from_bytes(node[:4], "big") % self.meta.buckets

    @cached_property
    def meta(self) -> Meta:
        """What was fixed at creation; read once.

        Raises:
            ConfigurationError: Redis is empty.
        """
        found = self.read_meta()
        if found is None:
            raise ConfigurationError(
                "Redis holds no index: run `expunge topics create` on a new installation, "
                "or `expunge rebuild` if the topics hold data"
            )
        return found

    def read_meta(self) -> Meta | None:
        """What was fixed at creation; None in an empty Redis."""
        with translated():
            raw = self.client.hgetall(self.key(0, "meta"))
        if not raw:
            return None
        return Meta(int(raw[b"buckets"]), raw[b"check"].decode(), raw[b"epoch"].decode())

    def forget(self, prefix: str) -> None:
        """Delete every key of another deployment's prefix."""
        with translated():
            for key in self.client.scan_iter(match=f"{prefix}{{*", count=1000):
                self.client.unlink(key)

    def eviction_policy(self) -> str:
        """What the server does when its memory is full; empty where it does not say (managed services)."""
        try:
            with translated():
                return str(self.client.config_get("maxmemory-policy").get("maxmemory-policy", ""))
        except redis.ResponseError:
            return ""

    def initialise(self, buckets: int, check: str) -> None:
        """Set up an empty Redis: sentinels first, meta last, so that half of it is no index."""
        with translated():
            pipe = self.client.pipeline(transaction=False)
            for tag in range(TAGS):
                pipe.hset(self.sentinel(tag), mapping={"epoch": "1"})
            pipe.execute()
            self.client.hset(
                self.key(0, "meta"), mapping={"format": FORMAT, "buckets": buckets, "check": check, "epoch": "1"}
            )

    def run(self, calls: Sequence[tuple[str, Sequence[bytes], Sequence[Any]]], tags: Sequence[int]) -> list[Any]:
        """Run scripts in one round trip: (name, keys behind the sentinel, arguments behind the epoch), by tag."""
        if not calls:
            return []
        with translated():
            pipe = self.client.pipeline(transaction=False)
            for (name, keys, arguments), tag in zip(calls, tags, strict=True):
                self._scripts[name](keys=[self.sentinel(tag), *keys], args=[self.meta.epoch, *arguments], client=pipe)
            return list(pipe.execute())

    def guarded(self, action: Callable[[Any], Any]) -> Any:
        """Run plain commands with the client's errors translated."""
        with translated():
            return action(self.client)
