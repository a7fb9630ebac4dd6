"""Every role, and the agent, is killed (SIGKILL) in the middle of a case of 2,000 assets. Nothing is lost.

Each process is killed when there is proof that its work has begun and is not over: the topic that it writes has some of
what it will have, not all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

ASSETS = 2_000
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")


@pytest.fixture
def world(real: Servers, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, real.redis, batch_size=20) as deployment:
        config = deployment.config.read_text()
        # Small steps, so that there is a middle to be killed in.
        deployment.config.write_text(
            config.replace("[kafka]", "[limits]\nstep_nodes = 100\n[kafka]\nmax_poll_records = 5")
        )
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def kill_and_restart(world: Deployment, name: str) -> None:
    world.kill(name)
    command = ("agent", "run", "files") if name == "agent" else ("run", "--role", name)
    world.start(name, *command)


def after(world: Deployment, topic: str, count: int) -> None:
    until(lambda: len(world.events(topic)) >= count, 90, world)


def test_every_role_is_killed_and_the_case_ends_once_with_every_file_gone(world: Deployment) -> None:
    files = world.directory / "files"
    subjects = [{"namespace": "user_id", "id": "ann"}]
    for start in range(0, ASSETS, 50):
        names = [f"{number}.bin" for number in range(start, start + 50)]
        for name in names:
            (files / name).write_bytes(b"x" * 64)
        # Half of the files name the person; every other one is made from the one before.
        world.register(
            [
                {"asset": f"files:{name}", "parents": [f"files:{names[at - 1]}"]}
                if at % 2
                else {"asset": f"files:{name}", "subjects": subjects}
                for at, name in enumerate(names)
            ]
        )
    after(world, "assets", 100)
    kill_and_restart(world, "indexer")

    case_id = world.erase("ann", "killed")
    kill_and_restart(world, "intake")
    kills: list[tuple[str, Callable[[], None]]] = [
        ("resolver", lambda: after(world, "plans", 10)),
        ("coordinator", lambda: after(world, "commands.files", 5)),
        ("agent", lambda: after(world, "receipts.files", 10)),
        ("notary", lambda: after(world, "ledger", 60)),
        ("intake", lambda: after(world, "receipts.files", 30)),
    ]
    for name, begun in kills:
        begun()
        assert not world.confirmations(case_id, "completed"), f"the case was over before {name} could be killed"
        kill_and_restart(world, name)

    final = world.await_milestone(case_id, seconds=180)
    assert list(files.iterdir()) == []
    assert final["counts"] == {"object": {"deleted": ASSETS}}
    assert len(world.confirmations(case_id, "completed")) == 1
    assert world.events("dead-letters") == []
    ledger = {event["data"]["sequence"]: event["data"]["body"] for event in world.events("ledger")}
    assert sorted(ledger) == list(range(1, len(ledger) + 1))
    assert "ledger_alarms" not in world.output()
