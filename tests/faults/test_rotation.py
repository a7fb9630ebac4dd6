"""The secret is rotated while requests, registrations and returns go on (rule "rotated"), on real servers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import redis as client

from expunge.bootstrap import Installation
from tests.deployment import Deployment, deployed, until
from tests.own_redis import ROLES, OwnRedis, expunge, facts_agree, furnish, own_redis
from tests.servers import Servers

MANY = 8_000
"""Assets, so that a rotation can be met in the middle."""
GONE = 10


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OwnRedis]:
    with own_redis(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def world(real: Servers, store: OwnRedis, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, store.url, batch_size=5) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))
        yield deployment


def many(world: Deployment, number: int) -> None:
    """Assets of people whom nobody asks about: a rotation has them to copy, too."""
    people = ({"namespace": "user_id", "id": f"p{at // 4}"} for at in range(number))
    assets = [{"asset": f"files:none/{at}", "subjects": [person]} for at, person in enumerate(people)]
    for start in range(0, number, 500):
        world.register(assets[start : start + 500])


def gone(world: Deployment, number: int) -> list[str]:
    """People who are erased before the rotation begins."""
    people = [f"gone{each}" for each in range(number)]
    for each in people:
        furnish(world, each, 1)
    return people


class Load:
    """What goes on meanwhile: people are registered and erased; of those who were before, data comes late or back."""

    def __init__(self, world: Deployment, gone: int) -> None:
        self._world, self._gone, self._stop = world, gone, threading.Event()
        self.files, self.cases = list[Path](), list[str]()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for number in range(10_000):
            if self._stop.wait(0.2):
                return
            self.files += furnish(self._world, f"ann{number}", 2)
            self.cases.append(self._world.erase(f"ann{number}", f"load-{number}"))
            if number < self._gone:
                self.files += furnish(self._world, f"gone{number}", 2)  # one is restored, the other comes late

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def prepared(world: Deployment) -> Path:
    done = expunge(world, "keys", "prepare", "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["secret"])


def rotated(world: Deployment) -> dict[str, Any]:
    done = expunge(world, "keys", "rotate", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def begins(world: Deployment) -> subprocess.Popen[bytes]:
    environment = os.environ | {"EXPUNGE_CONFIG": str(world.config)}
    log = (world.directory / "rotate.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-m", "expunge", "keys", "rotate"], stdout=log, stderr=log, env=environment
    )


def under(world: Deployment, epoch: int) -> int:
    """How many people stand in the index under a secret."""
    with contextlib.closing(Installation(type(world.installation.settings)())) as fresh:
        return sum(name.has_members for part in fresh.people.named(epoch) for name in part)


def findings(world: Deployment) -> list[str]:
    return [each["problem"] for each in json.loads(expunge(world, "doctor", "--json").stdout)["findings"]]


def test_nobody_is_lost_while_the_secret_is_rotated(world: Deployment) -> None:
    """It is killed in the middle, and Redis is killed; each time it is run again."""
    many(world, MANY)
    early = furnish(world, "early", 3)
    world.await_indexed()
    before = [world.erase(each, f"before-{each}") for each in ("early", *gone(world, GONE))]
    for case_id in before:
        world.await_milestone(case_id)
    with Load(world, GONE) as load:
        until(lambda: len(load.cases) > 5, 30, world)
        assert prepared(world).stat().st_mode & 0o777 == 0o600
        assert any("not in use yet" in each for each in findings(world))
        going = begins(world)
        until(lambda: under(world, 2) > 0, 60, world)
        going.send_signal(signal.SIGKILL)
        going.wait(10)
        assert any("under way" in each for each in findings(world))
        late = furnish(world, "early", 4)[3]  # registered under the new secret; its case knew the old one alone
        until(lambda: len(load.cases) > 20, 60, world)
        done = rotated(world)
        assert done["is_over"], done
        until(lambda: len(load.cases) > 25, 60, world)
    for case_id in (*before, *load.cases):
        world.await_milestone(case_id)
    until(lambda: not any(file.exists() for file in (late, *early, *load.files)), 90, world)
    assert under(world, 1) == 0
    assert world.events("dead-letters") == []
    facts_agree(world)


def test_an_index_that_was_rotated_is_the_one_that_a_rebuild_makes(world: Deployment, store: OwnRedis) -> None:
    """And none but with the secrets that were used."""
    furnish(world, "ann", 5)
    held = furnish(world, "bob", 5)
    world.publish(
        "controls",
        "expunge.hold.placed.v1",
        {"operator": "olga", "hold_id": "h1", "scope": {"subject": {"namespace": "user_id", "id": "bob"}}}
        | {"basis": "litigation", "custodian": "counsel"},
        source="/operators/olga",
    )
    world.await_indexed()
    case_id = world.erase("ann", "before")
    world.await_milestone(case_id)
    prepared(world)
    done = rotated(world)
    assert (done["is_over"], done["written"], done["dropped"]) == (True, 10, 3)  # nobody is one of them
    kept = world.erase("bob", "held")
    world.await_milestone(kept, "completed_with_deferrals")
    world.processes["roles"].terminate()
    assert world.processes.pop("roles").wait(40) == 0
    second = world.directory / "secret.2"
    kept_safe = second.read_bytes()
    second.rename(world.directory / "away")
    without = expunge(world, "run", "--role", "intake")
    assert (without.returncode, "secret.2 is missing" in without.stderr) == (2, True)
    (world.directory / "away").rename(second)
    stands = checksum(world)
    assert rebuilt(world, store) == stands
    last = rotated(world)  # topics might name somebody under the earlier secret still: a last pass has looked
    assert (last["is_over"], last["written"], checksum(world)) == (True, 0, stands)
    prepared(world)  # it is used for nothing yet
    second.write_text("x" * 40)
    client.Redis(port=store.port).flushall()
    refused = expunge(world, "rebuild")
    assert (refused.returncode, "another secret" in refused.stderr) == (2, True)
    second.unlink()
    refused = expunge(world, "rebuild")
    assert (refused.returncode, "is missing" in refused.stderr) == (2, True)
    second.write_bytes(kept_safe)
    second.chmod(0o600)
    assert rebuilt(world, store) == stands
    for role in ROLES:
        world.start(role, "run", "--role", role)
    back = furnish(world, "ann", 5)
    until(lambda: not any(file.exists() for file in back), 60, world)
    assert all(file.exists() for file in held)


def checksum(world: Deployment) -> str:
    return str(json.loads(expunge(world, "index", "check", "--json").stdout)["checksum"])


def rebuilt(world: Deployment, store: OwnRedis) -> str:
    client.Redis(port=store.port).flushall()
    done = expunge(world, "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["checksum"])
