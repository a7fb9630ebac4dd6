"""What was known is compared with what is there (rule "compared"): a Redis that was restored, records that expired."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as client
from kafka import KafkaAdminClient, TopicPartition

from tests.deployment import Deployment, deployed, until
from tests.outages import Outages, own_servers
from tests.own_redis import ROLES, OwnRedis, expunge, facts_agree, furnish, own_redis
from tests.servers import ROOT, Servers


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OwnRedis]:
    with own_redis(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def world(real: Servers, store: OwnRedis, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, store.url, batch_size=5) as deployment:
        for role in ROLES:
            deployment.start(role, "run", "--role", role)
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))
        yield deployment


def test_a_redis_that_was_restored_loses_no_deletion(world: Deployment, store: OwnRedis) -> None:
    """Core 2: a request that had been acknowledged was never heard of again, an indexed file was missed, and its person
    heard `completed`."""
    ann, bob = furnish(world, "ann", 40), furnish(world, "bob", 3)
    world.await_indexed()
    store.keep()
    # From here on Redis will know nothing of what happens.
    bob += furnish(world, "bob-later", 2)
    carl = furnish(world, "carl", 30)
    world.await_indexed()
    ended = world.erase("ann", "ended")
    world.await_milestone(ended)
    under_way = world.erase("carl", "under-way")
    world.await_milestone(under_way, "acknowledged")
    store.lose()
    back = time.monotonic()
    after = [world.erase("bob", "after"), world.erase("bob-later", "later")]
    told = {case_id: world.await_milestone(case_id) for case_id in (under_way, *after, ended)}
    assert [sum(told[case]["counts"]["object"].values()) for case in (ended, under_way, *after)] == [40, 30, 3, 2]
    assert all(told[case]["counts"]["object"].keys() == {"deleted"} for case in told)
    assert not any(file.exists() for file in (*ann, *bob, *carl))
    print(f"all ended {time.monotonic() - back:.1f} s after Redis was back")
    reader = partial(world.installation.cases.reader, world.partition_of_case(ended))
    until(lambda: (case := reader().cases([ended]).get(ended)) and case.status == "completed", 30, world)
    assert all(len(world.confirmations(case_id, "completed")) == 1 for case_id in told)
    assert world.events("dead-letters") == []
    facts_agree(world)
    assert "goes on behind a loss" not in world.output()


REFUSALS = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_redis_that_refuses_is_waited_for(world: Deployment, store: OwnRedis, refusal: str) -> None:
    """Its memory is full, or it was made a replica: nothing is lost, and nothing ends."""
    begin, end = REFUSALS[refusal]
    own: Any = client.Redis(port=store.port)
    own.execute_command(*begin)
    files = furnish(world, "ann", 3)
    case_id = world.erase("ann", "waits")
    until(lambda: f"Redis refuses for now ({refusal})" in world.output(), 60, world)
    assert not world.confirmations(case_id, "completed")
    own.execute_command(*end)
    world.await_milestone(case_id)
    assert not any(file.exists() for file in files)
    assert all(process.poll() is None for process in world.processes.values())
    assert world.events("dead-letters") == []


def test_registrations_that_expired_unread_stop_their_partition_until_somebody_says_so(world: Deployment) -> None:
    """Core 12: the indexer jumped over them and committed; the case was `complied` with six registrations unread."""
    world.processes["indexer"].send_signal(signal.SIGTERM)
    world.processes.pop("indexer").wait(20)
    furnish(world, "lost", 3)
    ends = world.installation.topics.end_offsets()["registrations"]
    admin = KafkaAdminClient(bootstrap_servers=world.kafka)
    admin.delete_records({TopicPartition(f"{world.prefix}registrations", int(p)): at for p, at in ends.items() if at})
    admin.close()
    world.start("indexer", "run", "--role", "indexer")
    until(lambda: "part of it is gone" in expunge(world, "doctor").stdout, 60, world)
    assert "expunge acknowledge-loss registrations" in expunge(world, "doctor").stdout
    case_id = world.erase("lost", "waits")
    world.await_milestone(case_id, "acknowledged")
    assert not world.confirmations(case_id, "completed")  # what lay there at the request is not in the index
    (place,) = [place for place, at in ends.items() if at]
    said = ("acknowledge-loss", "registrations", place, "--operator", "olga")
    assert expunge(world, *said, "--reason", " ").returncode == 2
    done = expunge(world, *said, "--reason", "retention was a day")
    assert done.returncode == 0, done.stderr
    assert "the ledger says so" in done.stdout
    told = world.await_milestone(case_id)
    assert told["outcome"] == "not_found"
    (fact,) = [each["data"] for each in losses(world)]
    assert (fact["topic"], fact["why"], fact["operator"]) == ("registrations", "expired", "olga")
    assert fact["until"] == ends[place]
    files = furnish(world, "later", 2)  # and the partition goes on
    world.await_indexed()
    world.await_milestone(world.erase("later", "later"))
    assert not any(file.exists() for file in files)
    doctor = expunge(world, "doctor").stdout
    assert "part of it is gone" not in doctor
    assert "keeps nothing on disk" in doctor  # as this test's own does


def losses(world: Deployment) -> list[dict[str, Any]]:
    found = [json.loads(record.value) for record in world.records("ledger") if record.value]
    return [event for event in found if event["type"] == "expunge.ledger.loss_acknowledged.v1"]


@pytest.fixture
def cuttable(tmp_path: Path) -> Iterator[tuple[Deployment, Outages]]:
    with own_servers() as servers, deployed(tmp_path / "d", *servers.addresses, batch_size=5) as deployment:
        start(deployment)
        deployment.start("agent", "agent", "run", "files")
        deployment.await_milestone(deployment.erase("nobody", "first"))
        yield deployment, servers


def start(world: Deployment) -> None:
    for role in ROLES:
        world.start(role, "run", "--role", role)


def log_of(world: Deployment, partition: str) -> Path:
    return ROOT / f".devstack/faults/kafka/{world.prefix}registrations-{partition}/00000000000000000000.log"


def furnish_place(world: Deployment, place: str, person: str, end: int) -> None:
    """Register files until a partition has grown to an end."""
    number = 0
    while world.installation.topics.end_offsets()["registrations"][place] < end:
        number += 1
        file = world.directory / "files" / f"{person}-{place}-{number}.bin"
        file.write_bytes(b"x")
        world.register([{"asset": f"files:{file.name}", "subjects": [{"namespace": "user_id", "id": person}]}])


WRITTEN = ["anew", ""] if os.environ.get("EXPUNGE_TEST_OUTAGE_SECONDS") else ["anew"]
"""Whether something was written where the lost records lay; that nothing was, `make faults` tries, too."""


@pytest.mark.parametrize("written", WRITTEN)
def test_a_log_that_lost_its_end_stops_its_partition_also_when_it_was_written_anew(
    cuttable: tuple[Deployment, Outages], written: str
) -> None:
    """A broker that lost its tail gives the same offsets again: a group skipped six new messages silently."""
    world, servers = cuttable
    topics = world.installation.topics
    furnish(world, "ann", 2)
    (place,) = [p for p, at in topics.end_offsets()["registrations"].items() if at]
    size = log_of(world, place).stat().st_size
    furnish_place(world, place, "cut", 2)
    world.await_indexed()
    for role in ROLES:
        world.processes[role].send_signal(signal.SIGTERM)
        world.processes.pop(role).wait(20)
    with servers.away("kafka", "killed"):
        os.truncate(log_of(world, place), size)
    world.reconnect()
    if written:
        furnish_place(world, place, "later", 3)  # at the offset where another lay, and one behind it
    start(world)
    until(lambda: "part of it is gone" in expunge(world, "doctor").stdout, 60, world)
    assert "(cut, offsets" in expunge(world, "doctor").stdout
    done = expunge(world, "acknowledge-loss", "registrations", place, "--operator", "olga", "--reason", "the disk")
    assert "the ledger says so" in done.stdout, done.stderr
    furnish(world, "later", 2)
    world.await_indexed()
    world.await_milestone(world.erase("later", "later"))
    assert not list((world.directory / "files").glob("later-*"))
    assert [each["data"]["why"] for each in losses(world)] == ["cut"]
