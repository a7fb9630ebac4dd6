"""A bad day: what was set aside is seen, mended and handled; what was handled is read again, and nothing happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, deployed, until
from tests.own_redis import expunge, furnish
from tests.servers import Servers

INLETS = ("requests", "controls", "registrations", "receipts.files")


@pytest.fixture
def world(real: Servers, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, real.redis, batch_size=5, signed=True) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def lines(world: Deployment, *command: str) -> list[dict[str, Any]]:
    done = expunge(world, *command, "--json")
    assert done.returncode in {0, 1}, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcomes(world: Deployment, topic: str, *more: str) -> Counter[str]:
    return Counter(each["outcome"] for each in lines(world, "replay", "--topic", topic, *more))


def erased(world: Deployment, person: str, request: str) -> str:
    asked = expunge(world, "submit", "erasure", "--subject", f"user_id:{person}", "--request-id", request, "--wait")
    assert asked.returncode == 0, asked.stderr
    return world.installation.keys.case("/app", request)


def test_what_was_set_aside_is_mended_and_handled_and_what_was_handled_stays_so(  # noqa: PLR0915 - a day, from its beginning to its end
    world: Deployment,
) -> None:
    furnish(world, "anna", 3)
    world.await_indexed()
    erased(world, "anna", "first")
    before = {name: len(world.records(name)) for name in world.topics()}
    for topic in INLETS:
        assert set(outcomes(world, topic)) <= {"nothing"}, topic
        looked = expunge(world, "replay", "--topic", topic)
        assert looked.returncode == 0, looked.stdout
    assert {name: len(world.records(name)) for name in world.topics()} == before

    # A person of a namespace that nobody had declared: their file, and their request.
    file = world.directory / "files" / "berta-0.bin"
    file.write_bytes(b"x")
    berta = [{"namespace": "badge", "id": "berta"}]
    common = {"kind": "object", "system": "files", "collected_at": "2026-01-01T00:00:00Z"}
    parts = [
        {"asset": f"files:{file.name}", "subjects": berta},
        {"asset": "files:none", "data_sources": ["supplier-a"]},
    ]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": parts})
    config = world.config.read_text()
    world.config.write_text(
        config + '[[namespaces]]\nname = "badge"\n'
    )  # the command knows it, and the roles do not yet
    asked = expunge(world, "submit", "erasure", "--subject", "badge:berta", "--request-id", "second")
    assert asked.returncode == 0, asked.stderr
    open_letters = until(lambda: len(found := letters(world)) == 2 and found, 60, world)
    assert {each["reason"] for each in open_letters} == {"undeclared_namespace"}
    said = expunge(world, "dead-letters", "list").stdout
    assert "2" in said
    assert "undeclared namespace" in said
    request = next(each for each in open_letters if each["topic"].endswith("requests"))
    shown = expunge(world, "dead-letters", "show", request["letter"][:12]).stdout
    assert "berta" not in shown
    assert "<str>" in shown
    assert "berta" in expunge(world, "dead-letters", "show", request["letter"], "--unseal").stdout
    world.processes["roles"].terminate()
    assert world.processes.pop("roles").wait(40) == 0
    world.start("roles", "run")

    assert outcomes(world, "registrations", "--dead") == Counter({"indexes": 1})
    assert outcomes(world, "requests", "--dead") == Counter({"opens": 1})
    nobody = expunge(
        world, "replay", "--topic", "requests", "--dead", "--execute", "--operator", "omar", "--reason", "x"
    )
    assert nobody.returncode == 2
    assert "role replay" in nobody.stderr
    who = ("--operator", "olga", "--reason", "the namespace was missing")
    done = expunge(world, "replay", "--topic", "registrations", "--dead", "--execute", *who)
    assert done.returncode == 0, done.stderr
    redriven = expunge(
        world, "dead-letters", "redrive", request["letter"], "--operator", "olga", "--why", "declared now"
    )
    assert redriven.returncode == 0, redriven.stderr
    case_id = world.installation.keys.case("/app", "second")
    world.await_milestone(case_id)
    assert not file.exists()
    told = expunge(world, "case", "history", "second")
    assert told.returncode == 0, told.stderr
    assert "files was told to delete 1 object" in told.stdout
    assert "the case ended: completed" in told.stdout
    assert [each["request_id"] for each in lines(world, "case", "list", "--request-id", "second")] == ["second"]
    hers = expunge(world, "case", "list", "--subject", "-", "--json", said="badge:berta\n")
    assert [json.loads(line)["request_id"] for line in hers.stdout.splitlines()] == ["second"]
    assert not lines(world, "case", "list", "--waits-for", "files")
    assert not lines(world, "case", "list", "--data-source", "supplier-a")
    refused = expunge(world, "case", "list", "--subject", "badge:berta")
    assert refused.returncode == 2
    assert "standard input" in refused.stderr or "on the command line" in refused.stderr
    assert outcomes(world, "requests") == Counter({"nothing": 2})
    until(lambda: set(outcomes(world, "receipts.files")) == {"nothing"}, 60, world)
    ledger = [json.loads(record.value) for record in world.records("ledger")]
    facts = [each for each in ledger if each["type"] == "expunge.ledger.replayed.v1"]
    assert [each["data"]["topic"] for each in facts] == ["registrations", "dead-letters"]
    assert all(each["data"]["word"]["signatures"] for each in facts)
    names = {each["data"]["replay"].encode() for each in facts}
    marked = {value for record in world.records("cases") for name, value in record.headers if name == "expunge-replay"}
    assert marked <= names
    assert marked
    (left,) = letters(world)
    who_said = ("--operator", "olga", "--why", "a part")
    part = expunge(world, "dead-letters", "redrive", left["letter"], "--edit", *who_said)
    assert (part.returncode, "register that one anew" in part.stderr) == (2, True)
    both = expunge(world, "dead-letters", "discard", left["letter"], "--all", *who_said)
    assert (both.returncode, "not both" in both.stderr) == (2, True)
    mute = expunge(world, "dead-letters", "discard", left["letter"], "--operator", "olga")
    assert (mute.returncode, "--why TEXT is needed" in mute.stderr) == (2, True)
    discarded = expunge(world, "dead-letters", "discard", left["letter"], "--operator", "olga", "--why", "replayed")
    assert discarded.returncode == 0, discarded.stderr
    assert not letters(world)
    assert outcomes(world, "registrations")["set_aside"] == 1
    assert {each["state"] for each in lines(world, "dead-letters", "list", "--settled")} == {"redriven", "discarded"}
    again = expunge(world, "dead-letters", "redrive", left["letter"], "--operator", "olga", "--why", "again")
    assert again.returncode == 2
    assert "was discarded" in again.stderr


def letters(world: Deployment) -> list[dict[str, Any]]:
    return lines(world, "dead-letters", "list")


def test_a_message_is_rewritten_in_an_editor_and_both_are_kept(real: Servers, tmp_path: Path) -> None:
    with deployed(tmp_path / "d", real.kafka, real.redis, batch_size=5) as world:
        world.start("roles", "run")
        world.start("agent", "agent", "run", "files")
        (file,) = furnish(world, "carl", 1)
        world.await_indexed()
        asked: dict[str, Any] = {"request_id": "third", "received_at": "2026-11-01T00:00:00Z"}
        asked |= {"subjects": [{"namespace": "user-id", "id": "carl"}]}
        world.publish("requests", "expunge.erasure.requested.v1", asked)
        (letter,) = until(lambda: letters(world), 60, world)
        script = tmp_path / "editor"
        script.write_text(
            f"#!{sys.executable}\nimport sys, pathlib\nfile = pathlib.Path(sys.argv[1])\n"
            "file.write_text(file.read_text().replace('user-id', 'user_id'))\n"
        )
        script.chmod(0o755)
        again = ("dead-letters", "redrive", letter["letter"], "--operator", "olga", "--why", "a typing error")
        same = expunge(world, *again)
        assert same.returncode == 1
        assert "undeclared namespace" in same.stderr
        unchanged = rewritten(world, Path(shutil.which("touch") or ""), *again)
        assert (unchanged.returncode, "nothing was changed" in unchanged.stderr) == (2, True)
        assert not facts(world)
        edited = rewritten(world, script, *again)
        assert edited.returncode == 0, edited.stderr
        (fact,) = facts(world)
        assert (fact["type"], fact["data"]["letter"]) == ("expunge.ledger.rewritten.v1", letter["letter"])
        request = world.records("requests")[-1]
        assert fact["data"]["message"] == world.installation.keys.content(request.value)
        assert dict(request.headers)["expunge-rewrites"].decode() == letter["letter"]
        world.await_milestone(world.installation.keys.case("/app", "third"))
        assert not file.exists()
        (kept,) = lines(world, "dead-letters", "list", "--settled")
        assert kept["state"] == "rewritten"
        assert "user-id" in expunge(world, "dead-letters", "show", letter["letter"], "--unseal").stdout


def facts(world: Deployment) -> list[dict[str, Any]]:
    """What is on the ledger of what operators did with messages."""
    said = [json.loads(record.value) for record in world.records("ledger")]
    return [each for each in said if each["type"].split(".")[2] in {"replayed", "rewritten", "discarded"}]


def rewritten(world: Deployment, editor: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"EXPUNGE_CONFIG": str(world.config), "EDITOR": str(editor)}
    called = [sys.executable, "-m", "expunge", *words, "--edit"]
    return subprocess.run(called, capture_output=True, text=True, env=environment, check=False)
