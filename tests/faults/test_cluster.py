"""Roles on a Redis Cluster, by configuration alone: slots move, masters die, one comes back empty. It is Valkey's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from expunge.errors import Unavailable
from tests.deployment import Deployment, deployed, until
from tests.own_redis import ROLES, expunge, facts_agree, furnish, own_cluster
from tests.servers import Servers
from tools.devstack.cluster import MASTERS, Cluster, client, is_synchronised, role, slots_of
from tools.devstack.devstack import valkey_server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with own_cluster(tmp_path_factory.mktemp("cluster"), valkey_server()) as made:
        yield made


@pytest.fixture(scope="module")
def world(real: Servers, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("roles")
    with deployed(directory, real.kafka, cluster.url, batch_size=5, cluster=True) as deployment:
        for name in ROLES:
            deployment.start(name, "run", "--role", name)
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))
        yield deployment


def slot_of(world: Deployment, tag: int) -> int:
    server = world.installation.server
    return int(server.client.keyslot(server.key(tag, "x")))


def purged(world: Deployment, requests: int, *, each: int = 30) -> list[Path]:
    """So many people are forgotten, one after the other; the files that they had."""
    files = {f"p{number}": furnish(world, f"p{number}-{os.urandom(4).hex()}", each) for number in range(requests)}
    world.await_indexed()
    people = {name: found[0].name.rpartition("-")[0] for name, found in files.items()}
    cases = {name: world.erase(person, f"of-{person}") for name, person in people.items()}
    for name, case_id in cases.items():
        world.await_milestone(case_id, seconds=120)
        assert not [file for file in files[name] if file.exists()]
    return [file for found in files.values() for file in found]


def purged_again(world: Deployment, files: Sequence[Path]) -> None:
    """What comes back is noticed: each file is there again, and is stated as it was before."""
    for file in files:
        file.write_bytes(b"x" * 64)
        person = file.name.rpartition("-")[0]
        world.register([{"asset": f"files:{file.name}", "subjects": [{"namespace": "user_id", "id": person}]}])
    until(lambda: not [file for file in files if file.exists()], 120, world)


def test_slots_move_while_cases_are_carried_out(world: Deployment, cluster: Cluster) -> None:
    stop, moved = threading.Event(), list[int]()

    def move() -> None:
        for tag in range(256):
            if stop.is_set():
                return
            cluster.move_slot(slot_of(world, tag), 1)
            moved.append(tag)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        purged(world, 6)
    finally:
        stop.set()
        mover.join()
    assert len(moved) > 3
    purged(world, 1)
    facts_agree(world)
    assert not world.events("dead-letters")
    checked = expunge(world, "index", "check", "--json")
    assert checked.returncode == 0, checked.stdout


def test_a_master_dies_and_a_replica_that_lacks_its_last_writes_takes_its_place(
    world: Deployment, cluster: Cluster
) -> None:
    ports = cluster.ports
    master = next(port for port in ports[:MASTERS] if slot_of(world, 0) in slots_of(port))
    behind = [
        port for port in ports if role(port) == "slave" and client(port).info("replication")["master_port"] == master
    ]
    os.kill(cluster.processes[behind[0]].pid, signal.SIGSTOP)
    client(master).execute_command("CLIENT", "KILL", "TYPE", "replica")
    purged(world, 1, each=3)
    gone = purged(world, 2)  # nobody but the master knows of it
    cluster.kill(master)
    os.kill(cluster.processes[behind[0]].pid, signal.SIGCONT)
    until(lambda: role(behind[0]) == "master", 60)
    purged(world, 2)
    purged_again(world, gone)
    facts_agree(world)
    assert not world.events("dead-letters")
    cluster.start_one(master)
    until(lambda: is_synchronised(master), 60)
    purged(world, 1)


def test_a_master_that_comes_back_empty_is_rebuilt_with_the_others(world: Deployment, cluster: Cluster) -> None:
    purged(world, 1)
    master = next(port for port in cluster.ports if role(port) == "master" and slot_of(world, 7) in slots_of(port))
    replicas = [port for port in cluster.ports if role(port) == "slave"]
    for port in replicas:
        if client(port).info("replication")["master_port"] == master:
            cluster.kill(port)
    cluster.kill(master)
    home = cluster.directory / str(master)
    for left in home.iterdir():
        if left.name != "nodes.conf":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    cluster.start_one(master)
    until(lambda: "expunge rebuild" in world.output(), 60, world)
    assert "parts of the index" in " ".join(expunge(world, "doctor").stdout.split())
    for port in cluster.ports:
        if port in cluster.processes and role(port) == "master":
            client(port).flushall()
    done = expunge(world, "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    with contextlib.suppress(Unavailable):
        world.installation.progress.applied()
    world.installation.server.accept()  # this process looked at the index that was there before
    purged(world, 2)
    facts_agree(world)
