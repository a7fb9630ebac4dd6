"""`expunge agent check` against three agents on a real Kafka: for files, for a database, and one in Java."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from expunge.adapters.kafka.admin import KafkaTopics
from expunge.adapters.vault import new_key_pair
from expunge.domain.registry import Registry, System
from expunge.domain.topics import all_topics
from tests.deployment import CLIENT, CONFIG
from tests.servers import ROOT, Servers

ASSETS = [f"disposable-{number}" for number in range(6)]


class Running:
    """An agent as a process, which can be killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        log = self._log.open("ab")
        return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)

    def restart(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process = self._start()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def started(command: list[str], **environment: str) -> Running:
        running.append(Running(command, os.environ | environment, tmp_path / "agent.log"))
        return running[-1]

    yield started
    for each in running:
        each.stop()


def checked(config: Path, agent: Running, *arguments: str) -> list[dict[str, Any]]:
    """What `agent check --crash` finds; the agent is killed and started again when it asks for that."""
    command = [sys.executable, "-m", "expunge", "agent", "check", *arguments, "--seconds", "40", "--crash", "--json"]
    environment = os.environ | {"EXPUNGE_CONFIG": str(config)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    asked = subprocess.Popen(command, env=environment, text=True, **pipes)
    killed = threading.Event()

    def kill() -> None:
        assert asked.stdout is not None
        assert asked.stdin is not None
        text = ""
        while "start it again" not in text and (letter := asked.stdout.read(1)):
            text += letter
        if "start it again" in text:
            agent.restart()
            killed.set()
            asked.stdin.write("y\n")
            asked.stdin.flush()

    thread = threading.Thread(target=kill)
    thread.start()
    thread.join(150)
    assert killed.is_set(), asked.stderr.read() if asked.poll() is not None and asked.stderr else "it did not ask"
    out, _ = asked.communicate(timeout=120)
    found: list[dict[str, Any]] = json.loads(out[out.index("[{") :])
    return found


def topics(real: Servers, prefix: str, system: str) -> None:
    """What the agent reads is there before it starts: it refuses to wait for a topic that may be a typo."""
    made = KafkaTopics(real.kafka, {}, prefix)
    every = all_topics(Registry(systems=(System(name=system),)), 1, 1, 1)
    made.create([topic for topic in every if topic.name in (f"commands.{system}", f"receipts.{system}")])
    made.close()


def wrong(findings: list[dict[str, Any]]) -> dict[str, str]:
    assert len(findings) == 14
    return {each["play"]: each["seen"] for each in findings if not each["right"]}


@pytest.fixture
def config(real: Servers, tmp_path: Path) -> Path:
    file = tmp_path / "expunge.toml"
    settings = {"kafka": real.kafka, "redis": real.redis, "directory": tmp_path, "prefix": "unused.", "batch_size": 5}
    file.write_text(CONFIG.format(client=CLIENT, cluster="false", **settings))
    return file


def named(assets: list[str], prefix: str = "") -> list[str]:
    return [word for asset in assets for word in ("--asset", prefix + asset)]


def test_the_agent_for_files(real: Servers, config: Path, tmp_path: Path, start: Callable[..., Running]) -> None:
    under = f"check-{time.time_ns()}."
    topics(real, under, "files")
    (tmp_path / "files").mkdir()
    for asset in ASSETS:
        (tmp_path / "files" / asset).write_text("x")
    ask = ["files", *named(ASSETS, "files:"), "--prefix", under, "--absent-prefix", "files:"]
    agent = start(
        [sys.executable, "-m", "expunge", "agent", "run", "files"], EXPUNGE_CONFIG=str(config), EXPUNGE_PREFIX=under
    )
    assert wrong(checked(config, agent, *ask)) == {}
    assert not list((tmp_path / "files").iterdir())


def test_the_agent_for_a_database(real: Servers, config: Path, tmp_path: Path, start: Callable[..., Running]) -> None:
    under = f"check-{time.time_ns()}."
    topics(real, under, "crm")
    private, public = new_key_pair()
    (tmp_path / "key").write_text(private)
    (tmp_path / "key").chmod(0o600)
    database = sqlite3.connect(tmp_path / "crm.db")
    database.execute("create table people (id text)")
    database.executemany("insert into people values (?)", [(each,) for each in ASSETS])
    database.commit()
    declared = f"""
[[systems]]
name = "crm"
reveal = ["user_id"]
sealing_key = "{public}"
[[agents]]
system = "crm"
type = "sqlite"
database = "{tmp_path}/crm.db"
key_file = "{tmp_path}/key"
state = "{tmp_path}/crm-agent.db"
tables = [{{ name = "people", namespace = "user_id", column = "id" }}]
"""
    config.write_text(config.read_text() + declared)
    people = [word for each in ASSETS for word in ("--person", f"user_id:{each}")]
    ask = ["crm", "--holding", "crm.db", *people, "--sealing-key", public, "--prefix", under, "--kind", "record"]
    agent = start(
        [sys.executable, "-m", "expunge", "agent", "run", "crm"], EXPUNGE_CONFIG=str(config), EXPUNGE_PREFIX=under
    )
    assert wrong(checked(config, agent, *ask)) == {}
    assert database.execute("select count(*) from people").fetchone() == (0,)
    database.close()


def test_an_agent_in_java(real: Servers, config: Path, tmp_path: Path, start: Callable[..., Running]) -> None:
    under = f"check-{time.time_ns()}."
    topics(real, under, "lab")
    files = tmp_path / "java"
    files.mkdir()
    for asset in ASSETS:
        (files / asset).write_text("x")
    devstack = [sys.executable, str(ROOT / "tools/devstack/devstack.py"), "kafka-classpath"]
    path = subprocess.run(devstack, check=True, capture_output=True, text=True).stdout.strip()
    source = str(ROOT / "examples/java/DirectoryAgent.java")
    agent = start(["java", "-cp", path, source, real.kafka, under, "lab", str(files), str(tmp_path / "state")])
    assert wrong(checked(config, agent, "lab", *named(ASSETS), "--prefix", under)) == {}
    assert not list(files.iterdir())
