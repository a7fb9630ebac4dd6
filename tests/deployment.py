"""A deployment on real servers for one test module: its own prefix, its own directory, roles as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from expunge import preflight
from expunge.adapters.policy_file import shipped
from expunge.adapters.signing import create
from expunge.bootstrap import Installation
from expunge.config import load
from expunge.domain.events import CONTENT_TYPE
from expunge.domain.partition import partition_of
from expunge.errors import Changed, Unavailable
from expunge.wire import ledger
from tests.leaks import nothing_leaks

CLIENT = os.environ.get("EXPUNGE_TEST_CLIENT", "kafka")
"""Which client of Kafka the roles and agents of a deployment use: fault and bad-input suites pass with each."""
SCANS: ContextVar[bool] = ContextVar("scans", default=False)
"""Whether what a deployment wrote is searched at its end; where servers were taken away there is nothing to be read."""
CONFIG = """
prefix = "{prefix}"
secret_file = "{directory}/secret"
policy_file = "{directory}/policy.yaml"
allow_unsigned = true
[kafka]
client = "{client}"
bootstrap_servers = "{kafka}"
partitions = 4
other_partitions = 2
session_timeout_ms = 6000
[redis]
url = "{redis}"
cluster = {cluster}
expected_assets = 30_000
[[namespaces]]
name = "user_id"
[[namespaces]]
name = "email"
normaliser = "email"
[[data_sources]]
pattern = "supplier-*"
[[purposes]]
name = "training"
[[purposes]]
name = "marketing"
[[categories]]
name = "biometric"
[[systems]]
name = "files"
actions = ["delete", "restrict", "lift", "rebuild_without"]
batch_size = {batch_size}
timeout_seconds = 20
retry_seconds = 1
[[systems]]
name = "ml"
actions = ["delete", "retrain_without", "rebuild_without", "disable", "notify"]
timeout_seconds = 20
retry_seconds = 0.2
retries = 2
[[publishers]]
name = "app"
source = "/app"
default_regime = "gdpr"
[[publishers]]
name = "narrow"
source = "/narrow"
may = ["erasure"]
namespaces = ["user_id"]
default_regime = "ccpa"
[[operators]]
name = "olga"
roles = ["approve", "decide", "hold", "pause", "probe", "replay"]
[[operators]]
name = "omar"
roles = ["approve"]
[[agents]]
system = "files"
type = "filesystem"
root = "{directory}/files"
asset_prefix = "files:"
state = "{directory}/agent.db"
"""


@dataclass
class Deployment:
    """One prefix on the test servers. Use `deployed` to make one."""

    directory: Path
    kafka: str
    redis: str
    batch_size: int = 500
    policy: str = ""
    """YAML; none: the shipped one."""
    cluster: bool = False
    """Whether `redis` is a server of a cluster."""
    more: str = ""
    """TOML behind the configuration."""
    signed: bool = False
    """Whether everybody has a key and signs with it, and evidence is kept."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prefix = f"test-{uuid.uuid4().hex[:12]}."
        (self.directory / "files").mkdir(parents=True)
        (self.directory / "secret").write_text("t" * 40)
        (self.directory / "secret").chmod(0o600)
        (self.directory / "policy.yaml").write_text(self.policy or shipped())
        self.config = self.directory / "expunge.toml"
        self.config.write_text(
            (self._with_keys(CONFIG) if self.signed else CONFIG).format(
                prefix=self.prefix,
                directory=self.directory,
                kafka=self.kafka,
                client=CLIENT,
                redis=self.redis,
                cluster=str(self.cluster).lower(),
                batch_size=self.batch_size,
            )
            + self.more
        )
        os.environ["EXPUNGE_CONFIG"] = str(self.config)
        self.installation = Installation(load())
        try:
            preflight.create(self.installation, lambda _: None)
            self._producer = KafkaProducer(bootstrap_servers=self.kafka, max_request_size=8_000_000)
        except BaseException:  # a client that nobody closes works on in the background of every later test
            self.installation.close()
            raise

    def _with_keys(self, config: str) -> str:
        """The configuration with a key for everybody, and evidence."""
        keys = self.directory / "keys"
        create(keys / "notary.key")
        for party in ("files", "ml", "app", "narrow", "olga", "omar"):
            public = create(keys / f"{party}.key").public
            config = config.replace(f'name = "{party}"\n', f'name = "{party}"\nkey = "{public}"\n')
        prober = create(keys / "prober-files.key").public
        config = config.replace('name = "files"\n', f'name = "files"\nprobe_key = "{prober}"\n')
        config = config.replace("allow_unsigned = true", 'keys_directory = "{directory}/keys"')
        evidence = '[evidence]\norigin = "expunge.example.org/test"\ndirectory = "{directory}/evidence"\n'
        mine = ("signing_key_file", "files"), ("probing_key_file", "prober-files")
        return config + "".join(f'{name} = "{{directory}}/keys/{key}.key"\n' for name, key in mine) + evidence

    # Processes

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start `expunge <command>` as a process with its output in a file."""
        log = (self.directory / f"{name}.log").open("ab")
        environment = os.environ | {"EXPUNGE_CONFIG": str(self.config)}
        process = subprocess.Popen([sys.executable, "-m", "expunge", *command], stdout=log, stderr=log, env=environment)
        self.processes[name] = process
        return process

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is dead."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        """SIGTERM to everything; every process must drain and exit 0. Clients of the test's own are closed first."""
        for process in self.processes.values():
            process.terminate()
        self._producer.close(timeout=5)
        self.installation.close()
        codes = {name: _status(process) for name, process in self.processes.items()}
        self.processes.clear()
        assert set(codes.values()) <= {0}, f"exit statuses {codes}"

    def output(self) -> str:
        """Everything that the processes printed."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("*.log")))

    def reconnect(self) -> None:
        """Clients of this test's own, anew: a server that they were connected to was away."""
        with contextlib.suppress(KafkaError):
            self._producer.close(timeout=1)
        self.installation.topics.close()  # one that was open while Kafka was away fails once more when Kafka is back
        self._producer = KafkaProducer(bootstrap_servers=self.kafka, max_request_size=8_000_000)

    # Messages

    def send(self, topic: str, value: bytes | None, *, key: str | None = None, headers: bool = True) -> dict[str, Any]:
        """Produce raw bytes as a foreign client would; where they lie."""
        future = self._producer.send(
            self.prefix + topic,
            key=(key or "k").encode(),
            value=value,
            headers=[("content-type", CONTENT_TYPE.encode())] if headers else [],
        )
        self._producer.flush()
        record = future.get(10)
        return {"topic": record.topic, "partition": record.partition, "offset": record.offset}

    def publish(self, topic: str, kind: str, data: Any, *, source: str = "/app", event: str = "") -> dict[str, Any]:
        """Publish a CloudEvent; where it lies."""
        identity = event or uuid.uuid4().hex
        value = {"specversion": "1.0", "id": identity, "source": source, "type": kind, "data": data}
        return self.send(topic, json.dumps(value).encode(), key=identity)

    def register(self, assets: Sequence[dict[str, Any]]) -> None:
        """Register assets of the file system in one message."""
        common = {"kind": "object", "system": "files", "collected_at": "2026-01-01T00:00:00Z"}
        self.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": list(assets)})

    def erase(self, person: str, request: str, **fields: Any) -> str:
        """Ask for an erasure; the id of the case."""
        data = {"request_id": request, "received_at": "2026-11-01T00:00:00Z"} | fields
        data |= {"subjects": [{"namespace": "user_id", "id": person}]}
        self.publish("requests", "expunge.erasure.requested.v1", data, event=f"event-{request}")
        return self.installation.keys.case("/app", request)

    def events(self, topic: str) -> list[dict[str, Any]]:
        """Everything on a topic: of the ledger every fact by itself."""
        found = [json.loads(record.value) for record in self.records(topic) if record.value]
        return [dict(each) for event in found for each in ledger.facts_of(event)]

    def topics(self) -> list[str]:
        """The names of all that it has, without its prefix."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka)
        try:
            return sorted(name.removeprefix(self.prefix) for name in consumer.topics() if name.startswith(self.prefix))
        finally:
            consumer.close()

    def records(self, topic: str) -> list[Any]:
        """Everything on a topic, as the client sees it: committed transactions only."""
        consumer = KafkaConsumer(bootstrap_servers=self.kafka, isolation_level="read_committed")
        try:
            full = self.prefix + topic
            partitions = [TopicPartition(full, number) for number in consumer.partitions_for_topic(full) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Any] = []
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                for records in consumer.poll(timeout_ms=200).values():
                    found += records
            return found
        finally:
            consumer.close()

    def confirmations(self, case_id: str, milestone: str, publisher: str = "app") -> list[dict[str, Any]]:
        """Distinct confirmations of a case's milestone, by source and id."""
        kind = f"expunge.case.{milestone}.v1"
        found = {
            (event["source"], event["id"]): event["data"]
            for event in self.events(f"confirmations.{publisher}")
            if event["type"] == kind and event["data"]["case_id"] == case_id
        }
        return list(found.values())

    def await_milestone(self, case_id: str, milestone: str = "completed", seconds: float = 60) -> dict[str, Any]:
        """The first confirmation of a milestone."""
        found: list[dict[str, Any]] = until(lambda: self.confirmations(case_id, milestone), seconds, self)
        return found[0]

    def await_indexed(self) -> None:
        """Until the indexers have passed everything that was registered."""
        progress = self.installation.progress
        ends = sum(progress.end_offsets()["registrations"].values())
        until(lambda: sum(progress.applied().get("registrations", {}).values()) >= ends, 60, self)

    def partition_of_case(self, case_id: str) -> int:
        return partition_of(case_id, 4)


def _status(process: subprocess.Popen[bytes]) -> int:
    """How a process ended that was told to; one that does not end is killed, and says so."""
    try:
        return process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def until(condition: Callable[[], Any], seconds: float, deployment: Deployment | None = None) -> Any:
    """Ask a server until it says something true. The servers push nothing, so asking is how one awaits them."""
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)  # noqa: TID251 - a test's patience, no decision
    while True:
        with contextlib.suppress(Unavailable, Changed):  # busy, or another index since: ask again
            found = condition()
            if found:
                return found
        if datetime.now(UTC) > deadline:  # noqa: TID251 - see above
            tail = deployment.output()[-3000:] if deployment else ""
            raise AssertionError(f"nothing within {seconds} s\n{tail}")
        time.sleep(0.05)


@contextmanager
def deployed(directory: Path, kafka: str, redis: str, **fields: Any) -> Iterator[Deployment]:
    """A deployment that is stopped at the end; end-to-end tests hold it to having named nobody by then."""
    deployment = Deployment(directory, kafka, redis, **fields)
    try:
        yield deployment
        if SCANS.get():
            nothing_leaks(deployment)
    finally:
        deployment.stop()
