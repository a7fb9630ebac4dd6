"""A Redis of a test's own, which may lose what it holds; and what is done and seen around it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis as client

from tests.deployment import Deployment, until
from tools.devstack.cluster import Cluster, free_ports
from tools.devstack.devstack import redis_server

ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")


def _own_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class OwnRedis:
    """A Redis of this test's own, which keeps a snapshot and nothing else."""

    directory: Path
    port: int = field(default_factory=_own_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--dir", str(self.directory), "--appendonly", "no", "--save", ""]
        self.process = subprocess.Popen([redis_server(), *options], stdout=subprocess.DEVNULL)
        until(self._answers, 10)

    def _answers(self) -> bool:
        try:
            return bool(client.Redis(port=self.port).ping())
        except client.RedisError:
            return False

    def keep(self) -> None:
        """What it holds now is what it will know after `lose`."""
        client.Redis(port=self.port).save()

    def lose(self) -> None:
        """It is killed, and started again with what was kept."""
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)


def furnish(world: Deployment, person: str, number: int) -> list[Path]:
    files = [world.directory / "files" / f"{person}-{each}.bin" for each in range(number)]
    for file in files:
        file.write_bytes(b"x" * 64)
    world.register(
        [{"asset": f"files:{each.name}", "subjects": [{"namespace": "user_id", "id": person}]} for each in files]
    )
    return files


def facts_agree(world: Deployment) -> None:
    """Every case's facts are there once, in order, and nobody has said two things under one number."""
    said: dict[str, dict[int, str]] = {}
    for event in world.events("ledger"):
        data = event["data"]
        fact = json.dumps([event["type"], data["body"]], sort_keys=True)
        assert said.setdefault(data["case_id"], {}).setdefault(data["sequence"], fact) == fact
    for numbers in said.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def expunge(world: Deployment, *command: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own; `said` is its standard input."""
    environment = os.environ | {"EXPUNGE_CONFIG": str(world.config)}
    return subprocess.run(
        [sys.executable, "-m", "expunge", *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        input=said,
    )


@contextmanager
def own_redis(directory: Path) -> Iterator[OwnRedis]:
    """A server of this test's own."""
    directory.mkdir()
    made = OwnRedis(directory)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def own_cluster(directory: Path, program: str = "") -> Iterator[Cluster]:
    """Three masters and their replicas of this test's own."""
    settings = {"appendonly": "yes", "appendfsync": "everysec"}
    made = Cluster(directory, free_ports(), program or redis_server(), settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()
