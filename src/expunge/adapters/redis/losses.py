"""Partitions that stand still because part of them is gone (rule "compared"), and what operators say to that."""

from __future__ import annotations

import orjson

from expunge.adapters.redis.server import Server
from expunge.domain.continuity import Lost, Place, Why
from expunge.ports.logs import Loss, Word


class RedisLosses:
    """See `ports.logs.Losses` for what each method promises."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._losses, self._words = server.key(0, "losses"), server.key(0, "acknowledged")

    def note(self, place: Place, loss: Loss) -> None:
        """See `ports.logs.Losses.note`."""
        role, lost = loss
        raw = orjson.dumps([role, lost.why, lost.since, lost.until, lost.at_ms])
        self._server.guarded(lambda client: client.hset(self._losses, _field(place), raw))

    def known(self) -> dict[Place, Loss]:
        """See `ports.logs.Losses.known`."""
        found = self._server.read_one(0, "HGETALL", self._losses)
        return {_place(name): _loss(raw) for name, raw in zip(found[::2], found[1::2], strict=True)}

    def acknowledge(self, place: Place, word: Word) -> None:
        """See `ports.logs.Losses.acknowledge`."""
        self._server.guarded(lambda client: client.hset(self._words, _field(place), orjson.dumps(tuple(word))))

    def word(self, place: Place) -> Word | None:
        """See `ports.logs.Losses.word`."""
        raw = self._server.read_one(0, "HGET", self._words, _field(place))
        return Word(*orjson.loads(raw)) if raw else None

    def settled(self, place: Place) -> None:
        """See `ports.logs.Losses.settled`."""
        self._server.guarded(lambda client: client.hdel(self._words, _field(place)))
        self._server.guarded(lambda client: client.hdel(self._losses, _field(place)))


def _field(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _place(name: bytes) -> Place:
    topic, _, partition = name.decode().rpartition("/")
    return topic, int(partition)


def _loss(raw: bytes) -> Loss:
    role, why, *numbers = orjson.loads(raw)
    return Loss(role, Lost(Why(why), *numbers))
