"""What goes on is seen: by a monitor, on a screen, and as one document."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

from expunge.overview.gauges import GAUGES
from tests.deployment import Deployment, deployed, until
from tests.own_redis import expunge, furnish
from tests.servers import Servers


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def values(port: int) -> dict[str, float]:
    lines = [line for line in asked(port, "/metrics").splitlines() if line.startswith("expunge_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def said(world: Deployment, *words: str) -> str:
    done = expunge(world, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_deployment_is_seen_as_a_whole(real: Servers, tmp_path: Path) -> None:
    with deployed(tmp_path / "d", real.kafka, real.redis, batch_size=5) as world:
        world.start("roles", "run")
        world.start("agent", "agent", "run", "files")
        port = free_port()
        world.start("monitor", "monitor", "--port", str(port), "--every", "1")
        furnish(world, "anna", 3)
        world.await_indexed()
        said(world, "submit", "erasure", "--subject", "user_id:anna", "--request-id", "first", "--wait")
        operator = ("--operator", "olga", "--reason", "a quiet evening")
        said(world, "pause", "--system", "files", *operator)
        furnish(world, "berta", 2)
        world.await_indexed()
        case_id = world.erase("berta", "second")
        world.publish("requests", "expunge.erasure.requested.v1", {"request_id": "wrong"})

        def waits() -> dict[str, Any]:
            seen: dict[str, Any] = json.loads(said(world, "top", "--json"))
            return seen if seen["waiting_cases"]["files"] and seen["open_dead_letters"] else {}

        seen = until(waits, 60, world)
        assert (seen["open_obligations"]["files"], seen["paused_scopes"], seen["commands_out"]) == (2, 1, 0)
        assert seen["open_dead_letters"] == {"missing_field": 1}
        assert seen["registered_assets"]["files"] > 0
        listed = [json.loads(line) for line in said(world, "system", "list", "--json").splitlines()]
        files = next(each for each in listed if each["system"] == "files")
        assert (files["open"], files["cases"], files["agents"]) == (2, 1, 1)
        assert "files" in said(world, "system", "list")
        assert "case list --waits-for files" in said(world, "system", "show", "files")
        unknown = expunge(world, "system", "show", "flies")
        assert (unknown.returncode, "no system flies is declared" in unknown.stderr) == (2, True)
        assert any("paused for system:files" in each for each in seen["alarms"])
        screen = said(world, "top")
        assert "paused for system:files" in screen
        assert "dead-letters list" in screen

        def is_seen() -> dict[str, float]:
            found = values(port)
            return found if found.get('expunge_waiting_cases{system="files"}') else {}

        found = until(is_seen, 60, world)
        served = {each.partition("{")[0] for each in found}
        assert {f"expunge_{name}" for name in GAUGES} - served <= {"expunge_retention_left_seconds"}  # all is read
        assert found['expunge_open_obligations{system="files"}'] == 2
        assert json.loads(asked(port, "/ready"))["waiting_seconds"] == {}
        said(world, "resume", "--system", "files", *operator)
        world.await_milestone(case_id)
        until(lambda: values(port)['expunge_waiting_cases{system="files"}'] == 0, 60, world)
        assert until(lambda: not json.loads(said(world, "top", "--json"))["cases"], 60, world)
