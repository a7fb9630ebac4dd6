"""How many cases are forgotten, and when topics were swept last: for people, who must see that sweeps run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from expunge.adapters.redis.case_reader import CaseKeys
from expunge.adapters.redis.server import Server
from expunge.domain.events import millis


class RedisSweeps:
    """Sweeps of one deployment."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def ended(self, at: datetime) -> None:
        """A pass that began at a moment has come to its end."""
        key = self._server.key(0, "swept")
        self._server.guarded(lambda client: client.set(key, millis(at)))

    def last(self) -> datetime | None:
        """When the last pass began that has come to its end; None: nobody knows of one."""
        raw = self._server.read_one(0, "GET", self._server.key(0, "swept"))
        return datetime.fromtimestamp(int(raw) / 1000, UTC) if raw else None

    def forgotten(self, partitions: Iterable[int]) -> int:
        """How many cases have been forgotten, those that were opened again since among them."""
        keys = [CaseKeys(self._server, partition) for partition in partitions]
        return sum(self._server.read([(each.tag, ("SCARD", each.of("forgotten"))) for each in keys]))
