"""An index that is being made anew: nobody sees it before all is there, and of two who make it one writes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from expunge.adapters.redis.server import FORMAT, REDIS, TAGS, Meta, Server, translated
from expunge.errors import ConfigurationError, Unavailable

EMPTY_IT = "empty it first: delete the keys that begin with `prefix`, or all of them (redis-cli FLUSHDB)"
TAKEN_OVER = "another rebuild has taken this one over: let it end, or stop it and begin again"
SAID_BY_ALL = ("suspects", "parked", "losses", "acknowledged", "policies", "swept")
"""What waiting roles and operators may write into an empty Redis: keys of tag 0 that no state depends on."""


class Rebuilding:
    """The index of a Redis from its first sentinel to its meta, which says that it is one.

    Each beginning has an epoch of its own, with a number that rises: who has begun before, and is not dead, writes
    nothing any more; and a Redis that has lost its last writes says a number that is lower.
    """

    def __init__(self, server: Server) -> None:
        self._server, self._mine = server, ""
        self.has_ended = False
        """Whether all is there."""

    @property
    def epoch(self) -> str:
        """Of what this process has begun."""
        return self._mine

    def begin(self, buckets: int, check: str, newest: int = 1) -> bool:
        """Begin, or go on with what was begun before; whether it goes on.

        Args:
            buckets: into how many the index is cut; of one that was begun that stands.
            check: the check value of the secret.
            newest: its number.

        Raises:
            ConfigurationError: this Redis holds an index, or part of one; what was begun was begun with another
                secret, or is another's by now.
        """
        if (stands := self._server.read_meta()) is not None:
            return self._stands(stands)
        begun = self._begun()
        if begun:
            self._refuse_others(begun, check)
        elif self._is_something_left():
            raise ConfigurationError(f"this Redis has lost part of an index: {EMPTY_IT}, then rebuild")
        fixed, number = int(begun["buckets"]) if begun else buckets, _number(begun["epoch"]) if begun else 1
        self._mine = f"{max(number, _number(self._mine)) + 1}.{secrets.token_hex(8)}"
        said: dict[str, Any] = {"buckets": fixed, "check": check, "epoch": self._mine, "newest": newest}
        with self._unless_taken_over(begun.get("epoch", "")) as pipe:
            pipe.hset(self._key, mapping=said)
        self._server.write_sentinels(self._mine)
        self._server.guarded(lambda client: client.hset(self._key, "sentinels", "written"))
        self._server.adopt(Meta(fixed, check, self._mine, FORMAT, covers=True, newest=newest))
        return bool(begun)

    @property
    def _key(self) -> bytes:
        return self._server.key(0, "rebuild")

    def _begun(self) -> Mapping[str, str]:
        found = self._server.guarded(lambda client: client.hgetall(self._key))
        return {name.decode(): value.decode() for name, value in found.items()}

    def _stands(self, stands: Meta) -> bool:
        """There is an index already."""
        if self._mine and stands.epoch == self._mine:  # the answer to its last step was lost
            self.has_ended = True
            return True
        if self._mine:
            raise ConfigurationError("another rebuild has ended here, and roles go on: nothing is left to do")
        raise ConfigurationError(
            "nothing to rebuild: this Redis holds an index (`expunge doctor` says how it is). To cut it anew, or to "
            "move it, name another Redis in redis.url; only one that has lost something is emptied"
        )

    def _refuse_others(self, begun: Mapping[str, str], check: str) -> None:
        if self._mine and begun["epoch"] != self._mine and _number(begun["epoch"]) >= _number(self._mine):
            raise ConfigurationError(TAKEN_OVER)
        if "sentinels" in begun and not self._has_every_sentinel():
            raise ConfigurationError(f"this Redis has lost part of a half-built index: {EMPTY_IT}, then rebuild")
        if begun["check"] != check:
            raise ConfigurationError(
                f"this rebuild was begun with another secret: set secret_file to that one, or {EMPTY_IT}"
            )

    def _is_something_left(self) -> bool:
        harmless = {self._server.key(0, name) for name in SAID_BY_ALL}
        with translated():
            left = self._server.client.scan_iter(match=f"{self._server.prefix}{{*", count=1000)
            return any(key not in harmless for key in left)

    def _has_every_sentinel(self) -> bool:
        with translated():
            pipe = self._server.client.pipeline(transaction=False)
            for tag in range(TAGS):
                pipe.exists(self._server.sentinel(tag))
            return all(pipe.execute())

    def join(self, epoch: str) -> None:
        """Take part in what another process has begun.

        Raises:
            Unavailable: there is nothing of the kind, or another has taken it over.
        """
        begun = self._begun()
        if not begun or begun["epoch"] != epoch:
            raise Unavailable("Redis has forgotten the rebuild that was begun in it", server=REDIS)
        self._server.adopt(
            Meta(int(begun["buckets"]), begun["check"], epoch, FORMAT, covers=True, newest=int(begun.get("newest", 1)))
        )

    def end(self) -> None:
        """All is there: from here on roles find it."""
        with self._unless_taken_over(self._mine) as pipe:
            meta = self._server.meta  # topics may name people under the secret before still: a last pass takes that off
            self._server.write_meta(pipe, replace(meta, retired=meta.newest - 1))
            pipe.delete(self._key)
        self.has_ended = True

    @contextmanager
    def _unless_taken_over(self, epoch: str) -> Iterator[Any]:
        """One step, if there is no index yet, and what was begun is of an epoch still."""
        meta = self._server.key(0, "meta")
        with translated():
            pipe = self._server.client.pipeline(transaction=True)
            pipe.watch(self._key, meta)
            stands = (pipe.hget(self._key, "epoch") or b"").decode()
            if pipe.exists(meta) or stands != epoch:
                raise ConfigurationError(TAKEN_OVER)
            pipe.multi()
            yield pipe
            try:
                pipe.execute()
            except redis.WatchError:
                raise ConfigurationError(TAKEN_OVER) from None


def _number(epoch: str) -> int:
    return int(epoch.partition(".")[0]) if epoch else 0
