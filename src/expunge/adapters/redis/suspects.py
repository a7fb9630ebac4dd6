"""What has ended processes, by place (rule "third death"): kept in Redis, so that the next process knows."""

from __future__ import annotations

import orjson

from expunge.adapters.redis.server import Server
from expunge.ports import Suspect


class RedisSuspects:
    """See `ports.Suspects` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def known(self) -> dict[tuple[str, int], Suspect]:
        """See `ports.Suspects.known`."""
        found = self._server.read_one(0, "HGETALL", self._key)
        return {_place(name): Suspect(*orjson.loads(raw)) for name, raw in zip(found[::2], found[1::2], strict=True)}

    def note(self, topic: str, partition: int, suspect: Suspect) -> None:
        """See `ports.Suspects.note`."""
        name, raw = f"{topic}/{partition}", orjson.dumps(tuple(suspect))
        self._server.guarded(lambda client: client.hset(self._key, name, raw))

    def forget(self, topic: str, partition: int) -> None:
        """See `ports.Suspects.forget`."""
        self._server.guarded(lambda client: client.hdel(self._key, f"{topic}/{partition}"))

    def parked(self) -> dict[tuple[str, int, int], str]:
        """See `ports.Suspects.parked`."""
        found = self._server.read_one(0, "HGETALL", self._parks)
        named = ((*_place(name.rpartition(b"/")[0]), int(name.rpartition(b"/")[2])) for name in found[::2])
        return {place: reason.decode() for place, reason in zip(named, found[1::2], strict=True)}

    def park(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """See `ports.Suspects.park`."""
        self._server.guarded(lambda client: client.hset(self._parks, f"{topic}/{partition}/{offset}", reason))

    def unpark(self, topic: str, partition: int, offset: int) -> bool:
        """See `ports.Suspects.unpark`."""
        return bool(self._server.guarded(lambda client: client.hdel(self._parks, f"{topic}/{partition}/{offset}")))

    @property
    def _parks(self) -> bytes:
        return self._server.key(0, "parked")

    @property
    def _key(self) -> bytes:
        return self._server.key(0, "suspects")


def _place(name: bytes) -> tuple[str, int]:
    topic, _, partition = name.decode().rpartition("/")
    return topic, int(partition)
