"""After a case was forgotten and topics were swept and compacted, nothing of what was planted is left anywhere.

Its evidence period is set to have passed in Redis, for no server's clock can be moved; the rest is as it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from expunge import queries
from expunge.adapters.redis.case_reader import CaseKeys
from expunge.adapters.system import SystemClock
from expunge.agent import Agent, Result, Target, done
from expunge.domain.events import millis
from expunge.domain.topics import READ_AGAIN
from expunge.domain.vocabulary import Claim
from expunge.sweep.sweep import Sweep, Swept
from tests.deployment import Deployment, deployed, until
from tests.own_redis import expunge, furnish
from tests.servers import Servers

PLANTED = b"planted"
KEPT_FOR_EVER = ("plans", "assets", "holds", "suppressions", "ledger")
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")


@pytest.fixture
def world(real: Servers, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, real.kafka, real.redis, batch_size=2) as deployment:
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        with served(deployment):
            yield deployment


class Rebuilder:
    """A system that leaves out what it is told to, and remembers nothing of it itself."""

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        return [done(target, Claim.REBUILT_WITHOUT) for target in batch]


@contextmanager
def served(world: Deployment) -> Iterator[None]:
    """The system of data sets, by an agent of this process."""
    stop, state = threading.Event(), world.directory / "agent-ml.db"
    it: dict[str, Any] = {"bootstrap_servers": world.kafka, "prefix": world.prefix, "session_timeout_ms": 6000}
    thread = threading.Thread(target=lambda: Agent("ml", Rebuilder(), state=state, **it).run(stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def publish_planted(world: Deployment) -> list[Path]:
    """Files of a person, with everything about them that can be said.

    The first is one that keeps its id, for it has another name, and a set stands that was made from it.
    """
    names = ["kept.bin", *(f"planted-{number}.bin" for number in range(1, 5))]
    files = [world.directory / "files" / name for name in names]
    who = {"namespace": "email", "id": "planted@example.com"}
    assets: list[dict[str, Any]] = [{"asset": "files:kept.bin", "subjects": [who], "aliases": ["kept-alias"]}]
    for file in files:
        file.write_bytes(b"x")
    for file in files[1:]:
        said = {"subjects": [who | {"ref": "planted-handle"}], "attributes": {"note": "planted-note"}}
        assets.append({"asset": f"files:{file.name}", **said})
    world.register(assets)
    world.register([{"asset": "set", "kind": "dataset", "system": "ml", "parents": ["files:kept.bin"]}])
    world.await_indexed()
    return files


def has_come(world: Deployment, case_id: str) -> None:
    """The end of the evidence period of a case, of which nobody has heard for long."""
    server, keys = world.installation.server, CaseKeys(world.installation.server, world.partition_of_case(case_id))
    raw = server.client.get(keys.of("case", case_id))
    before = SystemClock().now() - timedelta(minutes=1)
    state = json.loads(raw)
    assert {"forget_at", "told_at"} <= state.keys()
    state |= {"forget_at": before.isoformat(), "told_at": (before - READ_AGAIN).isoformat()}
    server.client.set(keys.of("case", case_id), (b" " if raw.startswith(b" ") else b"") + json.dumps(state).encode())
    server.client.zadd(keys.of("timers"), {f"{case_id}|forget": millis(before)})

    def is_forgotten() -> bool:
        case = queries.case(world.installation, case_id)
        return case is not None and case.is_forgotten

    until(is_forgotten, 30, world)


def swept(world: Deployment) -> Swept:
    """What a sweep takes away two days later."""
    it = world.installation
    later = SystemClock().now() + timedelta(days=2)
    where = (it.cases, it.index, it.topics, it.sender, it.keys)
    return Sweep(it.since, it.topics, *where, later, lambda *_: None).run()


def compact(world: Deployment) -> None:
    """Have Kafka compact all that may be: it leaves alone only the segment that is written to."""
    settings = {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.0001", "max.compaction.lag.ms": "1"}
    admin = KafkaAdminClient(bootstrap_servers=world.kafka)
    try:
        for topic in KEPT_FOR_EVER[:4]:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, world.prefix + topic, settings)])
    finally:
        admin.close()


def lying(world: Deployment, topic: str) -> bytes:
    """All that lies on a topic; with one more word in each partition, so that a segment ends behind the others."""
    for number in range(8):
        world.send(topic, None, key=f"nobody-{number}")
    return b"".join((record.key or b"") + (record.value or b"") for record in world.records(topic))


def is_clean(world: Deployment, topic: str) -> bool:
    """Whether nothing that was planted lies on a topic."""
    return PLANTED not in lying(world, topic)


def swept_at_last(world: Deployment) -> Swept | None:
    """What a sweep has taken away, once coordinators have committed so far that it may."""
    done = swept(world)
    return done if done.statements else None


def in_redis(world: Deployment) -> bytes:
    """Every key of the deployment in Redis, with what it holds."""
    client, found = world.installation.server.client, list[bytes]()
    reads: dict[bytes, Callable[[bytes], list[bytes]]] = {
        b"string": lambda key: [client.get(key)],
        b"hash": lambda key: [word for pair in client.hgetall(key).items() for word in pair],
        b"set": lambda key: list(client.smembers(key)),
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"list": lambda key: client.lrange(key, 0, -1),
    }
    for key in client.scan_iter(f"{world.prefix}*", count=1000):
        found += [key, *reads[client.type(key)](key)]
    return b"\n".join(each or b"" for each in found)


def in_files(world: Deployment) -> bytes:
    """What agents remember."""
    return b"".join(path.read_bytes() for path in sorted(world.directory.glob("agent*.db*")))


def test_nothing_that_was_planted_is_left_and_what_comes_back_is_caught(world: Deployment) -> None:
    files = publish_planted(world)
    who = [{"namespace": "email", "id": "planted@example.com"}]
    data = {"request_id": "planted-request", "received_at": "2026-11-01T00:00:00Z", "subjects": who}
    world.publish("requests", "expunge.erasure.requested.v1", data | {"correlation_id": "planted-ticket"})
    case_id = world.installation.keys.case("/app", "planted-request")
    world.await_milestone(case_id)
    assert PLANTED in in_redis(world)
    assert PLANTED in in_files(world)
    assert PLANTED in lying(world, "plans")
    assert PLANTED in lying(world, "assets")

    has_come(world, case_id)
    until(lambda: PLANTED not in in_files(world), 30, world)
    unswept = "1 cases are forgotten, and what they left on topics was never swept"
    assert unswept in expunge(world, "doctor").stdout.replace("\n", " ")
    assert json.loads(expunge(world, "sweep", "--json").stdout)["statements"] == 0  # less than a day ago
    assert unswept not in expunge(world, "doctor").stdout.replace("\n", " ")
    first: Swept = until(lambda: swept_at_last(world), 30, world)
    assert first.statements == 4
    assert PLANTED not in in_redis(world)
    compact(world)
    for topic in KEPT_FOR_EVER:
        until(partial(is_clean, world, topic), 90, world)

    files[1].write_bytes(b"restored")
    world.register([{"asset": f"files:{files[1].name}", "subjects": who}])
    until(lambda: not files[1].exists(), 60, world)
    world.await_milestone(case_id, "reopened")
    again = world.installation.keys.case("/app", "another-request")
    world.publish("requests", "expunge.erasure.requested.v1", data | {"request_id": "another-request"})
    world.await_milestone(again)


def test_an_operator_hears_that_a_case_is_forgotten_later(world: Deployment) -> None:
    case_id = world.erase("a stranger", "early")
    world.await_milestone(case_id)
    done = expunge(world, "case", "forget", case_id, "--operator", "olga", "--reason", "asked for", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(expunge(world, "case", "show", case_id, "--json").stdout)
    assert said["kept_until"] > (SystemClock().now() + timedelta(days=37)).isoformat()
    assert said["forgotten_at"] is None
    shown = expunge(world, "case", "show", case_id).stdout
    assert "kept until" in shown
    swept = expunge(world, "sweep", "--json")
    assert json.loads(swept.stdout) == {"parts": 0, "statements": 0, "suppressions": 0, "young": 0}, swept.stderr


def test_a_person_sees_which_hold_keeps_the_record_of_a_case(world: Deployment) -> None:
    files = furnish(world, "olaf", 2)
    world.await_indexed()
    case_id = world.erase("olaf", "held-later")
    world.await_milestone(case_id)
    legal = ("--operator", "olga", "--basis", "litigation", "--custodian", "counsel", "--json")
    placed = [
        expunge(world, "hold", "place", *words, *legal)
        for words in (
            ("on-case", "--case", case_id),
            ("on-target", "--asset", f"files:{files[0].name}"),
            ("on-another", "--asset", "files:another.bin"),
        )
    ]
    assert all(each.returncode == 0 for each in placed), placed[-1].stderr
    said = json.loads(expunge(world, "case", "show", case_id, "--json").stdout)
    assert sorted(said["kept_by_holds"]) == ["on-case", "on-target"]
