"""A deployment goes on in another place: Kafka's disks and the secret are there, and nothing of Redis."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from expunge.bootstrap import Installation
from tests.deployment import Deployment, deployed, until
from tests.outages import DEVSTACK, own_servers
from tests.own_redis import ROLES, expunge, facts_agree, furnish
from tests.servers import ROOT, Servers, addresses
from tools.devstack.cluster import client as redis_at


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Deployment]:
    with own_servers() as outages:
        kafka, redis = outages.addresses
        with deployed(tmp_path / "here", kafka, redis, batch_size=5) as deployment:
            started(deployment)
            deployment.await_milestone(deployment.erase("nobody", "first"))
            try:
                yield deployment
            finally:
                devstack("down", "moved")


def devstack(command: str, instance: str) -> None:
    subprocess.run([*DEVSTACK, command, "--instance", instance], check=True, capture_output=True)


def started(world: Deployment) -> None:
    for role in ROLES:
        world.start(role, "run", "--role", role)
    world.start("agent", "agent", "run", "files")


def ended(world: Deployment, *names: str) -> None:
    """Some processes are told to end, and have ended."""
    for name in names:
        world.processes[name].terminate()
    assert {world.processes.pop(name).wait(30) for name in names} == {0}


def taken_away() -> Servers:
    """What docs/recovery.md says, once nothing runs: Kafka's disks are copied, and Redis is an empty one."""
    devstack("down", "faults")
    there = ROOT / ".devstack/moved"
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(ROOT / ".devstack/faults/kafka", there / "kafka")
    devstack("up", "moved")
    return addresses("moved")


def point_at(world: Deployment, servers: Servers) -> None:
    text = world.config.read_text()
    world.config.write_text(text.replace(world.kafka, servers.kafka).replace(world.redis, servers.redis))
    world.installation.close()
    world.kafka, world.redis = servers
    world.installation = Installation(type(world.installation.settings)())
    world.reconnect()


def test_cases_go_on_in_another_place(world: Deployment) -> None:
    """One has ended, one is under way, and one lies unread."""
    ann, carl = furnish(world, "ann", 4), furnish(world, "carl", 3)
    world.await_indexed()
    world.await_milestone(world.erase("ann", "ended"))
    ended(world, "agent")
    under_way = world.erase("carl", "under-way")
    world.await_milestone(under_way, "planned")
    ended(world, *ROLES)
    bob = furnish(world, "bob", 2)
    unread = world.erase("bob", "unread")
    point_at(world, taken_away())
    assert not redis_at(int(world.redis.rpartition(":")[2].partition("/")[0])).keys(f"{world.prefix}*")
    doctor = expunge(world, "doctor")
    assert "Redis holds no index" in doctor.stdout
    done = expunge(world, "rebuild")
    assert done.returncode == 0, done.stderr
    started(world)
    for case_id in (under_way, unread):
        world.await_milestone(case_id)
    back = furnish(world, "ann", 4)  # a backup is put back
    until(lambda: not any(file.exists() for file in (*ann, *bob, *carl, *back)), 60, world)
    assert len(world.confirmations(under_way, "planned")) == 1
    assert world.events("dead-letters") == []
    facts_agree(world)
