"""Redis has lost everything, and is made anew from Kafka (rule "rebuilt"): on real servers, with real crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as client

from tests.deployment import Deployment, deployed, until
from tests.own_redis import ROLES, OwnRedis, expunge, facts_agree, furnish
from tests.servers import Servers

MANY = 20_000
"""Assets, so that a rebuild can be met in the middle."""


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[OwnRedis]]:
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(OwnRedis(tmp_path / name))
        made[-1].start()
    yield made
    for each in made:
        each.stop()


@pytest.fixture
def world(real: Servers, stores: list[OwnRedis], tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, stores[0].url, batch_size=5) as deployment:
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))
        yield deployment


def checksum(world: Deployment) -> str:
    return str(json.loads(expunge(world, "index", "check", "--json").stdout)["checksum"])


def at_rest(world: Deployment) -> None:
    """Until every role has committed all that lies before it."""
    topics = world.installation.topics

    def rests() -> bool:
        reached = {place: each.next for role in ROLES[1:4] for place, each in topics.committed_by(role).items()}
        return all(reached[place] >= log.end for place, log in topics.logs(list(reached)).items())

    until(rests, 60, world)


def rebuilt(world: Deployment) -> dict[str, Any]:
    done = expunge(world, "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def word(world: Deployment, kind: str, **data: Any) -> None:
    world.publish("controls", kind, {"operator": "olga"} | data, source="/operators/olga")


def test_every_case_goes_on_as_if_nothing_had_happened(world: Deployment, stores: list[OwnRedis]) -> None:
    """One has ended, one is paused, one is held; all of Redis is gone, and roles go on running."""
    ann, bob, eve = furnish(world, "ann", 12), furnish(world, "bob", 3), furnish(world, "eve", 4)
    world.await_indexed()
    ended = world.erase("bob", "ended")
    world.await_milestone(ended)
    word(
        world,
        "expunge.hold.placed.v1",
        hold_id="letter",
        basis="a letter",
        custodian="counsel",
        scope={"asset": f"files:{eve[0].name}"},
    )
    word(world, "expunge.emission.paused.v1", scope={"publisher": "app"}, reason="why not")
    until(lambda: "publisher:app" in world.installation.cases.reader(0).standing.pauses, 30, world)
    paused, held = world.erase("ann", "paused"), world.erase("eve", "held")
    for case_id in (paused, held):
        world.await_milestone(case_id, "planned")
    at_rest(world)
    before = checksum(world)

    client.Redis(port=stores[0].port).flushall()
    until(lambda: "Redis holds no index" in world.output(), 30, world)
    world.start("later", "run", "--role", "notary")  # whoever starts now waits, too
    until(lambda: "Redis holds no index" in (world.directory / "later.log").read_text(), 30, world)
    assert "Redis holds no index" in expunge(world, "doctor").stdout
    assert rebuilt(world)["checksum"] == before

    word(world, "expunge.emission.resumed.v1", scope={"publisher": "app"})
    told = {
        case_id: world.await_milestone(case_id, milestone)
        for case_id, milestone in ((paused, "completed"), (held, "completed_with_deferrals"))
    }
    assert told[paused]["counts"]["object"] == {"deleted": 12}
    assert told[held]["counts"]["object"] == {"deleted": 3, "deferred": 1}
    assert [file.exists() for file in (*ann, *bob, *eve)] == [False] * 15 + [True] + [False] * 3
    back = furnish(world, "bob", 3)  # a backup is put back
    until(lambda: not any(file.exists() for file in back), 60, world)
    word(world, "expunge.hold.released.v1", hold_id="letter", reason="settled")
    world.await_milestone(held, "completed")
    assert not eve[0].exists()
    assert all(len(world.confirmations(case_id, "completed")) == 1 for case_id in (paused, held))
    assert world.events("dead-letters") == []
    assert all(process.poll() is None for process in world.processes.values())
    facts_agree(world)


def test_a_rebuild_that_is_killed_or_loses_its_redis_goes_on_also_into_another_with_other_buckets(
    world: Deployment, stores: list[OwnRedis]
) -> None:
    assets = [{"asset": f"files:many-{n}", "subjects": [{"namespace": "user_id", "id": f"p{n}"}]} for n in range(MANY)]
    for start in range(0, MANY, 1000):
        world.register(assets[start : start + 1000])
    furnish(world, "ann", 6)
    world.await_indexed()
    world.await_milestone(world.erase("ann", "ended"))
    at_rest(world)
    before = checksum(world)
    for role in ROLES:
        world.processes[role].send_signal(signal.SIGTERM)
        world.processes.pop(role).wait(20)
    first, second = stores
    text = world.config.read_text()
    world.config.write_text(text.replace(first.url, second.url).replace("30_000", "200_000"))

    own: Any = client.Redis(port=second.port)

    def epoch() -> bytes:
        return bytes(own.hget(f"{world.prefix}{{0}}rebuild", "epoch") or b"")

    def begun() -> subprocess.Popen[bytes]:
        """A rebuild that has come as far as the statements, under an epoch of its own."""
        before = epoch()
        log = (world.directory / "rebuild.log").open("ab")
        environment = os.environ | {"EXPUNGE_CONFIG": str(world.config)}
        process = subprocess.Popen(
            [sys.executable, "-m", "expunge", "rebuild"], stdout=log, stderr=log, env=environment
        )
        until(lambda: epoch() != before and own.hkeys(f"{world.prefix}{{0}}combinations"), 60)
        return process

    killed = begun()
    killed.kill()
    killed.wait(10)
    second.keep()
    robbed = begun()
    second.lose()  # and what it knows after that is older
    assert robbed.wait(120) == 0, (world.directory / "rebuild.log").read_text()
    said = (world.directory / "rebuild.log").read_text()
    assert "going on with it" in said
    again = expunge(world, "rebuild")
    assert again.returncode == 2
    assert "nothing to rebuild" in again.stderr
    assert checksum(world) == before
    assert f"checksum {before}" in said
    for role in ROLES:
        world.start(role, "run", "--role", role)
    files = furnish(world, "later", 2)
    world.await_milestone(world.erase("later", "later"))
    assert not any(file.exists() for file in files)
    facts_agree(world)
