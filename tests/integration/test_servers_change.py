"""Servers that change under a running deployment: a topic is gone, a topic grows, Redis has forgotten everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

ZOE = [{"namespace": "user_id", "id": "zoe"}]


@pytest.fixture
def world(real: Servers, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, real.redis) as deployment:
        yield deployment


@pytest.fixture
def admin(real: Servers) -> Iterator[Any]:
    client = KafkaAdminClient(bootstrap_servers=real.kafka)
    yield client
    client.close()


def furnish(world: Deployment) -> None:
    (world.directory / "files" / "photo").write_text("x")
    world.register([{"asset": "files:photo", "subjects": ZOE}])
    world.publish(
        "registrations",
        "expunge.asset.registered.v1",
        {"asset": "model", "kind": "model", "system": "ml", "collected_at": "2026-01-01T00:00:00Z", "subjects": ZOE},
    )
    world.await_indexed()


def test_a_system_whose_topic_is_gone_has_open_work_and_everybody_elses_is_done(world: Deployment, admin: Any) -> None:
    """One command that could not be sent ended the coordinator, and with it all cases of its partitions."""
    world.start("roles", "run")
    world.start("agent", "agent", "run", "files")
    furnish(world)
    admin.delete_topics([world.prefix + "commands.ml"])
    until(lambda: world.prefix + "commands.ml" not in admin.list_topics(), 30, world)
    case_id = world.erase("zoe", "r1")
    until(lambda: not (world.directory / "files" / "photo").exists(), 60, world)
    letters = until(lambda: world.events("dead-letters"), 60, world)
    assert {letter["data"]["reason"] for letter in letters} == {"emission_refused_unknown_topic"}
    assert not world.confirmations(case_id, "completed"), "the model has not been asked, so nothing is complete"
    world.await_milestone(world.erase("nobody", "beside-it"), "completed")


def test_a_request_waits_for_partitions_that_were_added_while_roles_ran(world: Deployment, admin: Any) -> None:
    """Counted once, the partitions were too few: what lay on a new one was not awaited, and escaped (core 13)."""
    for role in ("intake", "resolver", "coordinator", "notary", "indexer"):
        world.start(role, "run", "--role", role)
    world.start("agent", "agent", "run", "files")
    world.await_milestone(world.erase("nobody", "first"))  # everybody has counted by now
    world.kill("indexer")  # it is behind from here on
    admin.create_partitions({world.prefix + "registrations": 4})
    until(lambda: len(world.installation.topics.end_offsets()["registrations"]) == 4, 30, world)
    photo = world.directory / "files" / "photo"
    photo.write_text("x")
    data = {"asset": "files:photo", "kind": "object", "system": "files", "collected_at": "2026-01-01T00:00:00Z"}
    event = {"specversion": "1.0", "id": "n1", "source": "/app", "type": "expunge.asset.registered.v1"}
    producer = KafkaProducer(bootstrap_servers=world.kafka)
    until(lambda: len(producer.partitions_for(world.prefix + "registrations")) == 4, 60, world)
    value = json.dumps(event | {"data": data | {"subjects": ZOE}}).encode()
    producer.send(world.prefix + "registrations", value=value, partition=3).get(10)
    producer.close()
    case_id = world.erase("zoe", "r1")
    world.await_milestone(case_id, "acknowledged")
    assert not world.confirmations(case_id, "completed")
    world.start("indexer", "run", "--role", "indexer")
    told = world.await_milestone(case_id, "completed", 90)
    assert (told["counts"], photo.exists()) == ({"object": {"deleted": 1}}, False)


def test_roles_wait_for_a_redis_that_has_forgotten_everything_instead_of_believing_it(world: Deployment) -> None:
    """An emptied Redis says that nothing was ever asked, named or done: cases would begin anew, and find nothing."""
    world.start("roles", "run")
    furnish(world)
    before = world.erase("nobody", "first")
    world.await_milestone(before)
    facts = len(world.events("ledger"))
    world.installation.server.forget(world.prefix)
    case_id = world.erase("zoe", "r2")
    until(lambda: "Redis holds no index" in world.output(), 60, world)
    world.erase("nobody", "first")  # again: it is known no more, and must not begin anew
    until(lambda: world.output().count('"event": "waiting"') >= 2, 60, world)
    assert not [c for milestone in ("planned", "completed") for c in world.confirmations(case_id, milestone)]
    assert len(world.events("ledger")) == facts
    assert len(world.confirmations(before, "acknowledged")) == 1
