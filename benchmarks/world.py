"""A deployment under load: every role, five systems that answer at once, and what must be true at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import yaml
from kafka import KafkaProducer

from benchmarks.answering import PRODUCER
from benchmarks.measure import server_pids
from expunge.adapters.policy_file import shipped
from expunge.adapters.sender import HEADERS
from expunge.adapters.signing import create
from expunge.adapters.system import SystemClock
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.fact import CaseFact, apply
from expunge.domain.aggregates.case.opening import Opened
from expunge.domain.events import stamp
from expunge.wire import ledger
from tests.deployment import Deployment, deployed

ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
SYSTEMS = tuple(f"s{number}" for number in range(5))
SOURCE = "supplier-order"
SYSTEM = """
[[systems]]
name = "{name}"
actions = ["delete"]
timeout_seconds = 600
retry_seconds = 300
"""
BATCH = 500
PATIENCE = 1800


def unguarded() -> str:
    """The shipped policy without what makes large plans wait for people: nobody approves here."""
    guard = [{"id": "never", "more_than": 10**9}]
    return yaml.safe_dump(yaml.safe_load(shipped()) | {"guard": guard, "rates": []}, sort_keys=False)


@dataclass
class World:
    """A deployment with its load."""

    at: Deployment
    kafka: str
    processes: int = 1
    """Of every role but the notary, which has one partition."""
    answering: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start every role, and the systems."""
        for role in ROLES:
            for number in range(1 if role == "notary" else self.processes):
                self.at.start(f"{role}{number or ''}", "run", "--role", role)
        script = Path(__file__).with_name("answering.py")
        command = [sys.executable, str(script), self.kafka, self.at.prefix, ",".join(SYSTEMS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.answering.append(process)
        if process.stdout is not None:
            process.stdout.readline()

    def stop(self) -> None:
        """Stop the systems; the deployment stops itself."""
        for process in self.answering:
            process.terminate()
            process.wait()

    @property
    def pids(self) -> dict[str, int]:
        """Every process that takes part, by name."""
        mine = {name: process.pid for name, process in self.at.processes.items()}
        return mine | {"answering": self.answering[0].pid} | server_pids(self.at.kafka, self.at.redis)

    @contextmanager
    def producer(self) -> Iterator[Any]:
        """The load's own producer."""
        producer = KafkaProducer(bootstrap_servers=self.kafka, enable_idempotence=True, **PRODUCER)
        yield producer
        producer.close()

    def register(self, assets: Iterator[dict[str, Any]]) -> None:
        """Register assets, some hundred a message."""
        with self.producer() as producer:
            batch: list[dict[str, Any]] = []
            for number, asset in enumerate(assets):
                batch.append(asset)
                if len(batch) == BATCH:
                    self._register(producer, batch, number)
                    batch = []
            if batch:
                self._register(producer, batch, -1)

    def _register(self, producer: Any, batch: Sequence[dict[str, Any]], number: int) -> None:
        common = {"kind": "object", "collected_at": "2026-01-01T00:00:00Z"}
        data = {"common": common, "assets": batch}
        self.say(producer, "registrations", "expunge.assets.registered.v1", f"r{number}", data)

    def say(self, producer: Any, topic: str, kind: str, identity: str, data: Mapping[str, Any]) -> None:
        """An event of the publisher's."""
        event = {"specversion": "1.0", "id": identity, "source": "/app", "type": kind, "data": data}
        producer.send(self.at.prefix + topic, orjson.dumps(event), key=identity.encode(), headers=HEADERS)

    def await_indexed(self) -> None:
        """Until the indexers have passed everything that was registered."""
        progress = self.at.installation.progress
        ends = sum(progress.end_offsets()["registrations"].values())
        self._await(lambda: sum(progress.applied().get("registrations", {}).values()), ends, "messages were indexed")

    def _await(self, reached: Callable[[], int], wanted: int, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while (now := reached()) < wanted:
            ended = [name for name, process in self.at.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{now} of {wanted} {what}; ended: {ended}\n{self.at.output()[-2000:]}")
            time.sleep(0.2)  # asking a broker is how one awaits it

    def confirmed(self) -> int:
        """How many confirmations there are."""
        ends = self.at.installation.topics.ends(["confirmations.app"])
        return sum(ends["confirmations.app"].values())

    def await_confirmed(self, number: int) -> None:
        """Until there are so many confirmations: asked for seldom, so that it costs nothing."""
        self._await(self.confirmed, number, "confirmations came")

    def moments(self, topic: str) -> Iterator[tuple[dict[str, Any], int]]:
        """Events on a topic, and when each became durable, in milliseconds."""
        for record in self.at.records(topic):
            yield orjson.loads(record.value), record.timestamp

    def sizes(self, topics: Iterable[str]) -> Counter[str]:
        """Bytes of keys and values on topics that requests lead to, before compression."""
        found: Counter[str] = Counter()
        for topic in topics:
            base = topic.split(".")[0]
            if base not in {"registrations", "assets"}:
                found[base] += sum(len(each.key or b"") + len(each.value or b"") for each in self.at.records(topic))
        return Counter({base: size for base, size in found.items() if size})

    def check(self, cases: Mapping[str, int]) -> None:
        """See that cases have ended with so many targets deleted, that nothing was set aside, and that facts replay.

        Raises:
            RuntimeError: a run that is wrong has no figures.
        """
        said = (event for event, _ in self.moments("confirmations.app") if ".completed." in event["type"])
        ended = {event["data"]["case_id"]: event["data"] for event in said}
        for case_id, number in cases.items():
            counts = ended[case_id]["counts"] if case_id in ended else {}
            deleted = sum(claims.get("deleted", 0) for claims in counts.values())
            if deleted != number:
                raise RuntimeError(f"a case deleted {deleted} of {number}")
        if self.at.events("dead-letters"):
            raise RuntimeError("something was set aside")
        self._replay(list(cases)[:200])

    def _replay(self, cases: Sequence[str]) -> None:
        facts: dict[str, dict[int, Any]] = defaultdict(dict)
        for event in self.at.events("ledger"):
            facts[event["data"]["case_id"]][event["data"]["sequence"]] = event
        store = self.at.installation.cases
        for case_id in cases:
            mine = facts[case_id]
            if sorted(mine) != list(range(1, len(mine) + 1)):
                raise RuntimeError("a case's facts have gaps")
            reader = store.reader(self.at.partition_of_case(case_id))
            kept, root = reader.cases([case_id])[case_id], reader.root(case_id)
            if kept is None or root is None:
                raise RuntimeError("a case cannot be read")
            first, *others = (ledger.read(mine[n]["type"], mine[n]["data"]["body"]) for n in sorted(mine))
            case = cast("Opened", first).begin(root, kept.opened_at)
            chunks: dict[str, ChunkState] = {}
            for fact in others:
                case, touched = apply(case, chunks, cast("CaseFact", fact))
                chunks |= touched
            if case.model_copy(update={"now": kept.now, "told_at": kept.told_at}) != kept:
                raise RuntimeError("a case's facts do not give its state back")


@contextmanager
def loaded(
    directory: Path, kafka: str, redis: str, *, client: str, processes: int, assets: int, evidence: bool = False
) -> Iterator[World]:
    """A deployment under load."""
    more = "".join(SYSTEM.format(name=name) for name in SYSTEMS)
    if evidence:
        directory.mkdir(parents=True)
        create(directory / "notary.key")
        os.environ["EXPUNGE_KEYS_DIRECTORY"] = str(directory)
        more += f'[evidence]\norigin = "expunge.example.org/load"\ndirectory = "{directory}/evidence"\n'
    os.environ["EXPUNGE_KAFKA__CLIENT"] = client
    os.environ["EXPUNGE_REDIS__EXPECTED_ASSETS"] = str(max(30_000, assets))
    try:
        with deployed(directory, kafka, redis, more=more, policy=unguarded() if assets > 100_000 else "") as at:
            world = World(at, kafka, processes)
            try:
                world.start()
                yield world
            finally:
                world.stop()
                at.installation.server.forget(at.prefix)
                at.installation.topics.delete([t for t in at.installation.topics.all() if t.startswith(at.prefix)])
    finally:
        del os.environ["EXPUNGE_KAFKA__CLIENT"], os.environ["EXPUNGE_REDIS__EXPECTED_ASSETS"]
        os.environ.pop("EXPUNGE_KEYS_DIRECTORY", None)


def order(assets: int) -> dict[str, Any]:
    """What an order asks for that is about everything from a supplier."""
    return {"request_id": f"order-{assets}", "received_at": stamp(SystemClock().now()), "data_sources": [SOURCE]}


def counted(values: Mapping[str, int]) -> Counter[str]:
    """Topics by their names without system or publisher."""
    found: Counter[str] = Counter()
    for topic, number in values.items():
        found[topic.split(".")[0]] += number
    return found
