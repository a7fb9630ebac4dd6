"""Where the tests' Kafka and Redis are: given by address, in containers, or started as local processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "tools/devstack/settings.toml").read_text())


class Servers(NamedTuple):
    """Addresses."""

    kafka: str
    redis: str


def addresses(instance: str) -> Servers:
    """Where the servers of one of devstack's instances are."""
    ports = SETTINGS["instances"][instance]
    return Servers(f"127.0.0.1:{ports['kafka']}", f"redis://127.0.0.1:{ports['redis']}/0")


@contextmanager
def servers() -> Iterator[Servers]:
    """The servers for a test session. What is missing is an error, never a skip."""
    kafka, redis = os.environ.pop("EXPUNGE_TEST_KAFKA", ""), os.environ.pop("EXPUNGE_TEST_REDIS", "")
    if kafka and redis:
        yield Servers(kafka, redis)
    elif os.environ.get("EXPUNGE_TEST_CONTAINERS"):
        with _containers() as found:
            yield found
    else:
        devstack = [sys.executable, str(ROOT / "tools/devstack/devstack.py"), "up", "--instance", "test"]
        done = subprocess.run(devstack, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        yield addresses("test")


@contextmanager
def _containers() -> Iterator[Servers]:
    """Servers from testcontainers, with the images and settings of devstack."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    port = SETTINGS["instances"]["test"]["kafka"]
    environment = {
        f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in SETTINGS["kafka"]["settings"].items()
    } | {
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "CLUSTER_ID": "ZXhwdW5nZS1kZXZzdGFjaw",
    }
    kafka = DockerContainer(SETTINGS["kafka"]["image"]).with_bind_ports(port, port)
    for key, value in environment.items():
        kafka = kafka.with_env(key, value)
    options = [word for key, value in SETTINGS["redis"]["settings"].items() for word in (f"--{key}", value)]
    redis = DockerContainer(SETTINGS["redis"]["image"]).with_exposed_ports(6379)
    redis = redis.with_command(["valkey-server", *options])
    with kafka, redis:
        wait_for_logs(kafka, "Kafka Server started", timeout=60)
        wait_for_logs(redis, "Ready to accept connections", timeout=30)
        yield Servers(f"127.0.0.1:{port}", f"redis://127.0.0.1:{redis.get_exposed_port(6379)}/0")
