"""A Redis Cluster on one machine: three masters, each with a replica, formed with commands that every server knows."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

MASTERS, SLOTS = 3, 16_384
PATIENCE_SECONDS = 30.0


@dataclass
class Cluster:
    """Six servers on six ports that follow each other. What they hold lies below a directory."""

    directory: Path
    first_port: int
    server: str
    """The program."""
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def ports(self) -> list[int]:
        """Masters first, then their replicas in the same order."""
        return list(range(self.first_port, self.first_port + 2 * MASTERS))

    @property
    def url(self) -> str:
        """Of one server, by which clients find the others."""
        return f"redis://127.0.0.1:{self.first_port}/0"

    def command(self, port: int) -> list[str]:
        """What starts one server."""
        home = self.directory / str(port)
        home.mkdir(parents=True, exist_ok=True)
        own = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", "cluster-config-file": "nodes.conf"}
        own |= {"port": str(port), "bind": "127.0.0.1", "dir": str(home)}
        options = [word for key, value in (self.settings | own).items() for word in (f"--{key}", value)]
        return [self.server, *options]

    def start(self) -> None:
        """Start all servers, and make a cluster of them."""
        for port in self.ports:
            self.start_one(port)
        self.form()

    def start_one(self, port: int) -> None:
        """Start one, and wait until it answers."""
        self.processes[port] = subprocess.Popen(self.command(port), stdout=subprocess.DEVNULL)
        _until(lambda: answers(port), f"the server on port {port} does not answer")

    def form(self) -> None:
        """Each knows the others, masters share all slots, and each has a replica. A cluster that stands is let be."""
        ports = self.ports
        if len(nodes(ports[0])) == len(ports):
            _until(self.is_whole, "the cluster does not come to stand again")
            return
        for port in ports[1:]:
            client(port).execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
        each = -(-SLOTS // MASTERS)
        for number, port in enumerate(ports[:MASTERS]):
            client(port).execute_command("CLUSTER", "ADDSLOTS", *range(SLOTS)[number * each : (number + 1) * each])
        _until(lambda: all(len(nodes(port)) == len(ports) for port in ports), "the servers do not find each other")
        for master, replica in zip(ports[:MASTERS], ports[MASTERS:], strict=True):
            client(replica).execute_command("CLUSTER", "REPLICATE", node_id(master))
        _until(self.is_whole, "the cluster does not come to stand")

    def is_whole(self) -> bool:
        """Whether all slots are served, and every replica follows its master."""
        for port in self.ports:
            found = state(port)
            if found.get("cluster_state") != "ok" or found.get("cluster_slots_ok") != str(SLOTS):
                return False
        return all(is_synchronised(port) for port in self.ports if role(port) == "slave")

    def kill(self, port: int) -> None:
        """SIGKILL, and wait until it is dead."""
        process = self.processes.pop(port)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """All of them."""
        for port in list(self.processes):
            self.kill(port)

    def move_slot(self, slot: int, keys_at_once: int = 10, between: Callable[[], object] = lambda: None) -> None:
        """Move a slot to another master key by key, as operators' tools do.

        Args:
            slot: which.
            keys_at_once: how many keys move in one step.
            between: called between two steps.
        """
        masters = [port for port in self.ports if port in self.processes and role(port) == "master"]
        source = next(port for port in masters if slot in slots_of(port))
        target = next(port for port in masters if port != source)
        client(target).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        client(source).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
        while keys := client(source).execute_command("CLUSTER", "GETKEYSINSLOT", slot, keys_at_once):
            client(source).execute_command("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
            between()
        for port in (target, source, *masters):
            client(port).execute_command("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


def free_ports() -> int:
    """The first of as many free ports as a cluster needs; each has another one for its bus, 10,000 above."""
    for first in range(15_000, 22_000, 10):
        with ExitStack() as stack:
            try:
                for port in (number + above for number in range(first, first + 2 * MASTERS) for above in (0, 10_000)):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
    raise RuntimeError("no ports are free for a cluster")


def client(port: int) -> Any:
    """A client of one server alone."""
    return redis.Redis(port=port, socket_timeout=5)


def answers(port: int) -> bool:
    """Whether a server answers a ping."""
    try:
        return bool(client(port).ping())
    except redis.RedisError:
        return False


def state(port: int) -> dict[str, str]:
    """What a server says of its cluster."""
    try:
        raw = client(port).execute_command("CLUSTER", "INFO")
    except redis.RedisError:
        return {}
    found = raw if isinstance(raw, dict) else dict(line.split(":", 1) for line in _text(raw).split() if ":" in line)
    return {str(key): str(value) for key, value in found.items()}


def nodes(port: int) -> Sequence[str]:
    """The lines of CLUSTER NODES."""
    # The client makes something else of the answer.
    connection: Any = redis.connection.Connection(port=port)  # type: ignore[no-untyped-call]
    connection.connect()
    try:
        connection.send_command("CLUSTER", "NODES")
        return _text(connection.read_response()).strip().splitlines()
    finally:
        connection.disconnect()


def node_id(port: int) -> str:
    """The name of a server in its cluster."""
    return _text(client(port).execute_command("CLUSTER", "MYID"))


def slots_of(port: int) -> set[int]:
    """The slots that a server serves."""
    mine = next(line for line in nodes(port) if "myself" in line)
    found: set[int] = set()
    for word in mine.split()[8:]:
        if not word.startswith("["):
            first, _, last = word.partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def role(port: int) -> str:
    """`master` or `slave`; empty where nobody answers."""
    try:
        return _text(client(port).execute_command("ROLE")[0])
    except redis.RedisError:
        return ""


def is_synchronised(port: int) -> bool:
    """Whether a replica is connected to its master."""
    return bool(client(port).info("replication").get("master_link_status") == "up")


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)


def _until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.1)
