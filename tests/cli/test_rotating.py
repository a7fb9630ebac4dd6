"""Two operators have each prepared a second secret, another one, and begin at one time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from expunge.adapters.redis import turning
from expunge.adapters.redis.server import TAGS, Meta
from expunge.cli import rotating
from expunge.domain.events import Record
from expunge.domain.identity import Keys
from expunge.errors import Changed
from expunge.wire.secrets import last_said, secrets_used
from tests.simulation import START, Broker

FIRST, MINE, THEIRS = b"s" * 32, b"a" * 32, b"b" * 32


class Scripts:
    """As much of Redis as the scripts of `turning` need."""

    def __init__(self) -> None:
        self.hashes: dict[bytes, dict[str, bytes]] = {}

    def hmget(self, key: bytes, *names: str) -> list[bytes | None]:
        return [self.hashes.get(key, {}).get(name) for name in names]

    def eval(self, script: str, number: int, key: bytes, *said: Any) -> Any:
        del number
        words = [each if isinstance(each, bytes) else str(each).encode() for each in said]
        found = self.hashes.setdefault(key, {})
        if script is turning._TURN:
            found["epoch"] = words[1] if found.get("epoch") in words[:2] else found["epoch"]
            return int(found["epoch"] == words[1])
        if script is turning._BEGIN:
            if found.get("epoch") == words[0]:
                found.setdefault("turning", words[1])
            return found.get("turning")
        if found.get("epoch") != words[0] or found.get("turning") != words[1]:
            return 0
        found |= {words[at].decode(): words[at + 1] for at in range(2, len(words), 2)}
        del found["turning"]
        return 1


class Index:
    """A server as `turning` sees it."""

    is_cluster = False

    def __init__(self) -> None:
        self.client = Scripts()
        for tag in range(TAGS):
            self.client.hashes[self.sentinel(tag)] = {"epoch": b"1"}
        self.client.hashes[self.key(0, "meta")] = {"check": Keys(FIRST).check.encode(), "epoch": b"1"}

    def key(self, tag: int, name: str) -> bytes:
        return f"{{{tag}}}{name}".encode()

    def sentinel(self, tag: int) -> bytes:
        return self.key(tag, "sentinel")

    def lost_tags(self, epoch: str) -> int:
        return sum(self.client.hashes[self.sentinel(tag)]["epoch"] != epoch.encode() for tag in range(TAGS))

    def read_meta(self) -> Meta:
        raw = self.client.hashes[self.key(0, "meta")]
        newest, oldest = int(raw.get("newest", 1)), int(raw.get("oldest", 0))
        return Meta(256, raw["check"].decode(), raw["epoch"].decode(), "3", covers=True, newest=newest, oldest=oldest)


def operator(index: Index, broker: Broker, second: bytes, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """Somebody's installation; something happens while they read what was said."""

    def since(topic: str, *_: object) -> Iterator[Record]:
        yield from [record for (name, _), log in broker.logs.items() if name == topic for record in log]
        meanwhile()

    settings = SimpleNamespace(secret_file_of=lambda number: Path(f"expunge.secret.{number}"))
    sender = SimpleNamespace(publish=broker.send)
    return SimpleNamespace(keys=Keys(FIRST, second), server=index, since=since, sender=sender, settings=settings)


def test_whoever_loses_the_turn_has_said_nothing() -> None:
    """Their word stood last on `plans`: a rebuild then asked for a secret that the index does not know."""
    index, broker = Index(), Broker()
    mine, before = operator(index, broker, MINE), index.read_meta()
    begun: list[int] = []

    def meanwhile() -> None:
        if not begun:
            begun.append(1)
            rotating.begin(mine, before)

    with pytest.raises(Changed):
        rotating.begin(operator(index, broker, THEIRS, meanwhile), before)
    assert index.read_meta().check == mine.keys.checks[1]
    assert rotating.secrets_said(mine) == 2


def test_what_an_earlier_version_said_in_vain_is_said_right() -> None:
    index, broker = Index(), Broker()
    mine = operator(index, broker, MINE)
    rotating.begin(mine, index.read_meta())
    broker.send([secrets_used(Keys(FIRST, THEIRS).checks, START)])
    rotating._say_secrets(mine, 2)
    assert list(last_said(mine.since("plans"))) == mine.keys.checks
    rotating._say_secrets(mine, 2)
    assert len(list(mine.since("plans"))) == 3  # it is said no more often than it must be
