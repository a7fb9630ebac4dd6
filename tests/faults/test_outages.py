"""Servers go away under every role and an agent, with cases under way, and come back (docs/reliability.md).

EXPUNGE_TEST_OUTAGE_SECONDS says for how long they are away: short here, a minute and ten in `make faults`.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment, deployed, until
from tests.outages import Outages, Server, Way, own_servers, processor_seconds

SECONDS = float(os.environ.get("EXPUNGE_TEST_OUTAGE_SECONDS", "16"))
"""Above two session time-outs (6 s each), so that whoever was a member of a group has fallen out of it."""
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
BACK_WITHIN = 30
FILES = 3_000


@pytest.fixture(scope="module")
def servers() -> Iterator[Outages]:
    with own_servers() as found:
        yield found


@pytest.fixture
def world(servers: Outages, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", *servers.addresses, batch_size=5) as deployment:
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))  # everything is up
        yield deployment


def furnish(world: Deployment, person: str) -> list[Path]:
    files = [world.directory / "files" / f"{person}-{number}.bin" for number in range(FILES)]
    for file in files:
        file.write_bytes(b"x" * 64)
    subjects = [{"namespace": "user_id", "id": person}]
    for start in range(0, FILES, 50):
        world.register([{"asset": f"files:{each.name}", "subjects": subjects} for each in files[start : start + 50]])
    return files


def lines(world: Deployment) -> dict[str, list[str]]:
    return {name: (world.directory / f"{name}.log").read_text().splitlines() for name in world.processes}


@pytest.mark.parametrize("way", ["killed", "stopped"])
@pytest.mark.parametrize("server", ["kafka", "redis"])
def test_everybody_comes_back_by_itself_and_nothing_is_lost_or_doubled(
    servers: Outages, world: Deployment, server: Server, way: Way
) -> None:
    files = furnish(world, "ann")
    world.await_indexed()
    case_id = world.erase("ann", "under-way")
    until(lambda: len(world.records("receipts.files")) >= 3, 60, world)  # it is under way, and not over
    assert not world.confirmations(case_id, "completed")
    with servers.away(server, way):
        time.sleep(SECONDS / 4)  # what was in flight fails, or waits
        before = {name: processor_seconds(process.pid) for name, process in world.processes.items()}
        said = {name: len(each) for name, each in lines(world).items()}
        began = time.monotonic()
        time.sleep(SECONDS * 3 / 4)  # the outage: time itself is what is tested
        elapsed = time.monotonic() - began
        ended = {name for name, process in world.processes.items() if process.poll() is not None}
        assert not ended, {name: lines(world)[name][-3:] for name in ended}
        used = {name: (processor_seconds(p.pid) - before[name]) / elapsed for name, p in world.processes.items()}
        written = {name: len(each) - said[name] for name, each in lines(world).items()}
    world.reconnect()
    back = time.monotonic()
    later = world.erase("bob", "after")
    world.await_milestone(later, "completed", BACK_WITHIN)
    told = world.await_milestone(case_id, "completed", BACK_WITHIN)
    print(f"{server} {way} for {SECONDS:.0f} s: back after {time.monotonic() - back:.1f} s", used, written)
    assert told["counts"] == {"object": {"deleted": FILES}}
    assert len(world.confirmations(case_id, "completed")) == 1
    assert not any(file.exists() for file in files)
    assert world.events("dead-letters") == []
    facts = [event["data"] for event in world.events("ledger")]
    numbers: dict[str, set[int]] = {}
    for fact in facts:
        numbers.setdefault(fact["case_id"], set()).add(fact["sequence"])
    assert all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values())
    assert "ledger_alarms" not in world.output()
    if server == "redis":  # nothing that an agent does needs it: what it has been told it carries out meanwhile
        used.pop("agent")
        written.pop("agent")
    assert max(used.values()) < 0.05, used
    assert max(written.values()) <= 20 * max(1.0, elapsed / 60), written


def waiting(world: Deployment, server: str) -> set[str]:
    """Who has said that it waits for a server, and since when."""
    found = set()
    for name, each in lines(world).items():
        events = [json.loads(line) for line in each if line.startswith("{")]
        if any(e["event"] == "waiting" and e["waits_for"] == server and "seconds" in e for e in events):
            found.add(name)
    return found


@pytest.mark.parametrize("way", ["killed", "stopped"])
@pytest.mark.parametrize("server", ["kafka", "redis"])
def test_who_waits_says_for_what_and_ends_when_it_is_told_to(
    servers: Outages, world: Deployment, server: Server, way: Way
) -> None:
    furnish(world, "ann")
    name = server.capitalize()
    expected = {"coordinator", "indexer"} if server == "redis" else {*ROLES, "agent"}
    with servers.away(server, way):
        until(lambda: expected <= waiting(world, name), 60, world)
        began = time.monotonic()
        for process in world.processes.values():
            process.terminate()
        codes = {each: process.wait(15) for each, process in world.processes.items()}
        elapsed = time.monotonic() - began
    world.reconnect()
    world.processes.clear()
    assert set(codes.values()) == {0}, codes
    assert elapsed < 10  # promised to whoever stops a process, so it is no measurement


def test_a_server_that_cannot_be_reached_at_the_start_ends_it_after_a_minute(tmp_path: Path) -> None:
    with own_servers() as found, deployed(tmp_path / "d", *found.addresses) as world:
        config = world.config.read_text().replace(found.addresses.kafka, "127.0.0.1:9")
        world.config.write_text(config)
        commands = {"run": ("run",), "role": ("run", "--role", "notary"), "agent": ("agent", "run", "files")}
        began = time.monotonic()
        for name, command in commands.items():
            world.start(name, *command)
        codes: dict[str, int] = {}
        for name in commands:
            codes[name] = world.processes.pop(name).wait(100)
        assert codes == dict.fromkeys(commands, 3)
        assert time.monotonic() - began > 55


def test_the_tests_find_what_processes_use() -> None:
    """A measurement that always says nothing would pass everything above."""
    busy = subprocess.Popen(["python3", "-c", "while True: pass"])
    try:
        assert until(lambda: processor_seconds(busy.pid) > 0.2, 10)
    finally:
        busy.kill()
        busy.wait()
