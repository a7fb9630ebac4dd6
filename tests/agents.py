"""An agent of the library on a broker in memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from expunge.agent import Agent, AgentMetrics, Result, Target, deleted, not_found
from expunge.agent.post import Post
from expunge.domain.events import Outgoing, Position, Record

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Broker:
    """Records, sender and topics of an agent, in memory."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.sent: list[dict[str, Any]] = []
        self.revocations, self.silence, self.committed, self.others = 0, 0.0, 0, 0
        self.on_poll: Callable[[], None] = lambda: None

    def poll(self, seconds: float) -> list[Record]:
        found, self.waiting = self.waiting, []
        self.on_poll()
        return [Record("commands.s", 0, Position(0, n), NOW, b"k", raw) for n, raw in enumerate(found)]

    def moved(self) -> dict[Any, Any]:
        return {}

    def commit(self, moved: object) -> None:
        self.committed += 1

    def rewind(self, batch: Sequence[Record]) -> None:
        self.waiting = [record.value or b"" for record in batch]

    rewind_to_committed = rewind

    def silent_seconds(self) -> float:
        return self.silence

    def rest(self, seconds: float) -> None:
        """Nothing comes."""

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Any]:
        self.sent += [json.loads(each.value or b"{}")["data"] for each in outgoing]
        return ()

    def partitions(self, topic: str = "") -> Any:
        return 1 if topic else [0]

    def members(self, group: str) -> int:
        return self.others

    def close(self) -> None:
        """Nothing is open."""

    def claims(self) -> list[tuple[str, str, str | None]]:
        """What was said of assets, in order."""
        results = [result for said in self.sent for result in said.get("results", ())]
        return [(each["asset"], each["claim"], each.get("reason_code")) for each in results]


class System:
    """A system with some assets; `raises` says at which."""

    def __init__(self, *assets: str) -> None:
        self.assets = set(assets)
        self.raises: dict[str, Exception] = {}
        self.batches: list[list[Target]] = []
        self.answer: Callable[[Target], Result] | None = None

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        self.batches.append(list(batch))
        return [self._one(each) for each in batch]

    def _one(self, each: Target) -> Result:
        if each.asset in self.raises:
            raise self.raises[each.asset]
        if self.answer is not None:
            return self.answer(each)
        there = each.asset in self.assets
        self.assets.discard(each.asset)
        return deleted(each) if there or each.interrupted else not_found(each)

    @property
    def tried(self) -> list[str]:
        return [each.asset for batch in self.batches for each in batch]


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()


def put_on(post: Post, broker: Broker, clock: Clock) -> None:
    """Have a post read and write in memory."""
    post.records = post._sender = post.topics = broker  # type: ignore[assignment]
    post._waits_until, post.clock = math.inf, clock  # type: ignore[assignment]


class Lab:
    """An agent on a broker in memory."""

    def __init__(self, path: Path, system: Any) -> None:
        self.path, self.system, self.broker, self.clock = path, system, Broker(), Clock()
        self.metrics = AgentMetrics()
        self.start()

    def start(self) -> None:
        """A new process, with what the last one remembered."""
        agent = Agent(
            "s",
            self.system,
            bootstrap_servers="nowhere:1",
            state=self.path / "agent.db",
            batch_seconds=0.0,
            metrics=self.metrics,
        )
        agent._records = self.broker  # type: ignore[assignment]
        put_on(agent._post, self.broker, self.clock)
        agent._clock = self.clock  # type: ignore[assignment]
        self.agent = agent

    def hears(self, *raw: bytes) -> list[tuple[str, str, str | None]]:
        """One turn with some messages; what it said of assets."""
        before = len(self.broker.claims())
        self.broker.waiting += raw
        self.agent.turn(lambda _: None)
        return self.broker.claims()[before:]

    def later(self, seconds: float) -> list[tuple[str, str, str | None]]:
        """A turn after some time."""
        self.clock.at += timedelta(seconds=seconds)
        return self.hears()
