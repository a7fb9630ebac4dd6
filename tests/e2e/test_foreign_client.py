"""A foreign client: Kafka's own console producer publishes a request, knowing nothing of Expunge, and the files go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.deployment import Deployment, deployed
from tests.servers import ROOT, Servers


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("foreign") / "d", real.kafka, real.redis) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def test_the_console_producer_asks_and_the_files_go(world: Deployment) -> None:
    files = world.directory / "files"
    for name in ("hers-1.jpg", "hers-2.jpg", "his.jpg"):
        (files / name).write_bytes(b"\xff\xd8")
    (files / "set.jsonl").write_text('{"asset": "files:hers-1.jpg"}\n{"asset": "files:his.jpg"}\n')
    hers, his = [{"namespace": "user_id", "id": "ann"}], [{"namespace": "user_id", "id": "bob"}]
    world.register(
        [
            {"asset": "files:hers-1.jpg", "subjects": hers},
            {"asset": "files:hers-2.jpg", "parents": ["files:hers-1.jpg"]},
            {"asset": "files:his.jpg", "subjects": his},
            {"asset": "files:set.jsonl", "kind": "dataset", "parents": ["files:hers-1.jpg", "files:his.jpg"]},
        ]
    )
    world.await_indexed()
    request = {
        "specversion": "1.0",
        "id": "from-the-console",
        "source": "/app",
        "type": "expunge.erasure.requested.v1",
        "data": {"request_id": "console-1", "subjects": hers, "received_at": "2026-11-20T09:00:00+01:00"},
    }
    devstack = [sys.executable, str(ROOT / "tools/devstack/devstack.py"), "kafka-classpath"]
    classpath = subprocess.run(devstack, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
    producer = ["java", "-cp", classpath, "org.apache.kafka.tools.ConsoleProducer"]
    where = ["--bootstrap-server", world.kafka, "--topic", f"{world.prefix}requests"]
    subprocess.run([*producer, *where], input=json.dumps(request), text=True, check=True, capture_output=True)

    final = world.await_milestone(world.installation.keys.case("/app", "console-1"))
    assert final["counts"] == {"object": {"deleted": 2}, "dataset": {"rebuilt_without": 1}}
    assert sorted(path.name for path in files.iterdir()) == ["his.jpg", "set.jsonl"]
    assert (files / "set.jsonl").read_text() == '{"asset": "files:his.jpg"}\n'


def test_an_aborted_transaction_is_never_read(world: Deployment) -> None:
    """Rules "committed only" and "applied".

    An aborted statement is not applied, and its markers do not hold a case up.
    """
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=world.kafka, transactional_id=f"{world.prefix}registrar")
    producer.init_transactions()
    producer.begin_transaction()
    data = {"asset": "files:never.jpg", "kind": "object", "system": "files"}
    data |= {"subjects": [{"namespace": "user_id", "id": "eve"}], "collected_at": "2026-01-01T00:00:00Z"}  # type: ignore[dict-item]
    event = {"specversion": "1.0", "id": "t", "source": "/r", "type": "expunge.asset.registered.v1", "data": data}
    producer.send(world.prefix + "registrations", key=b"t", value=json.dumps(event).encode()).get(10)
    producer.flush()
    producer.abort_transaction()
    producer.close()
    final = world.await_milestone(world.erase("eve", "after-abort"))
    assert (final["outcome"], final["counts"]) == ("not_found", {})
