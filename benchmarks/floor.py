"""The floor: an everyday request's durable hops, and nothing else.

`python benchmarks/floor.py [--client confluent] [--requests N] [--rate R]`

Three processes, as bare as their clients allow, on the servers and beside the load of the real measure
(`everyday.py`). A request becomes a record on `cases`; that becomes five commands, a confirmation and four records of
the ledger; each command is answered; each receipt is keyed anew on `cases`; the fifth makes four more records of the
ledger and a confirmation. Acks of all replicas, idempotent producers, offsets committed for every batch after its
outputs are durable, a read from Redis for every message, a write for every batch. Values have the sizes of Expunge's.

What it leaves out is what Expunge is for: no index, no walk, no policy, no plan that outlives the process, no check of
anything that comes in, no ids that mean something, no fence.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import Spent, quantiles, server_pids  # noqa: E402 - the tree is not installed as a package
from tests.servers import servers  # noqa: E402

SYSTEMS = 5
PARTITIONS = 4
LEDGER = 4
"""Records of the ledger at the request, and as many at its end."""
SIZES = {"cases": 900, "commands": 1000, "receipts": 570, "confirmations": 800, "ledger": 900}
TOPICS = ("requests", "cases", "confirmations", "ledger", *(f"commands{n}" for n in range(SYSTEMS)))
TOPICS += tuple(f"receipts{number}" for number in range(SYSTEMS))
FLUSHED = {"requests", "cases", "ledger"}
"""As a lone broker must: see rule "flushing"."""
Sent = tuple[str, bytes, bytes]
"""Topic, key, value."""


class Pipe(Protocol):
    """A consumer and a producer of one client."""

    def poll(self) -> list[tuple[str, bytes, bytes]]:
        """Topic, key and value of what came."""

    def send(self, records: Iterable[Sent]) -> None:
        """Send, and return when all is durable."""

    def commit(self) -> None:
        """Commit what was polled."""


class Python:
    """kafka-python."""

    def __init__(self, servers: str, group: str, topics: list[str]) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            batch_size=131_072,
            compression_type="lz4",
        )
        self._consumer = KafkaConsumer(
            *topics,
            bootstrap_servers=servers,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )

    def poll(self) -> list[tuple[str, bytes, bytes]]:
        """See `Pipe`."""
        found = self._consumer.poll(timeout_ms=200, max_records=500)
        return [(each.topic, each.key, each.value) for records in found.values() for each in records]

    def send(self, records: Iterable[Sent]) -> None:
        """See `Pipe`."""
        futures = [self._producer.send(topic, value, key=key) for topic, key, value in records]
        self._producer.flush()
        if not all(future.succeeded() for future in futures):
            raise RuntimeError("not durable")

    def commit(self) -> None:
        """See `Pipe`."""
        held = {each: self._consumer.position(each) for each in self._consumer.assignment()}
        self._consumer.commit({each: OffsetAndMetadata(at, "", -1) for each, at in held.items()})


class Confluent:
    """confluent-kafka."""

    def __init__(self, servers: str, group: str, topics: list[str]) -> None:
        import confluent_kafka  # noqa: PLC0415 - an extra

        plain = {"bootstrap.servers": servers}
        self._producer = confluent_kafka.Producer(
            plain | {"acks": "all", "enable.idempotence": True, "linger.ms": 2, "compression.type": "lz4"}
        )
        self._consumer = confluent_kafka.Consumer(
            plain
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.subscribe(topics)
        self._failed = 0

    def poll(self) -> list[tuple[str, bytes, bytes]]:
        """See `Pipe`."""
        first = self._consumer.poll(0.2)
        rest = self._consumer.consume(499, 0) if first is not None else []
        found = [] if first is None else [first, *rest]
        return [(str(each.topic()), each.key() or b"", each.value() or b"") for each in found if not each.error()]

    def _heard(self, error: object, _: object) -> None:
        self._failed += error is not None

    def send(self, records: Iterable[Sent]) -> None:
        """See `Pipe`."""
        for topic, key, value in records:
            self._producer.produce(topic, value, key, on_delivery=self._heard)
        if self._producer.flush(30) or self._failed:
            raise RuntimeError("not durable")

    def commit(self) -> None:
        """See `Pipe`."""
        self._consumer.commit(asynchronous=False)


CLIENTS: dict[str, Callable[[str, str, list[str]], Pipe]] = {"kafka": Python, "confluent": Confluent}


def value(kind: str, content: dict[str, Any]) -> bytes:
    """JSON of the size that such a record has."""
    raw = json.dumps(content | {"pad": ""}).encode()
    return raw[:-2] + b"x" * (SIZES[kind] - len(raw)) + raw[-2:]


def intake(prefix: str, topic: str, raw: bytes) -> list[Sent]:
    """Requests and receipts, keyed by case."""
    case = json.loads(raw)["case"]
    return [(prefix + "cases", case.encode(), value("cases", {"case": case, "of": topic.removeprefix(prefix)}))]


def coordinator(prefix: str, raw: bytes, answered: Counter[str]) -> list[Sent]:
    """Commands, the ledger, confirmations."""
    said = json.loads(raw)
    case, key = said["case"], said["case"].encode()
    answered[case] += said["of"] != "requests"
    if 0 < answered[case] < SYSTEMS:
        return []
    done = answered.pop(case) == SYSTEMS
    commands = [] if done else [f"commands{number}" for number in range(SYSTEMS)]
    return [
        *((prefix + topic, key, value("commands", {"case": case})) for topic in commands),
        *((prefix + "ledger", key, value("ledger", {"case": case})) for _ in range(LEDGER)),
        (prefix + "confirmations", key, value("confirmations", {"case": case, "done": done})),
    ]


def answering(topic: str, raw: bytes) -> list[Sent]:
    """A receipt for each command."""
    case = json.loads(raw)["case"]
    return [(topic.replace("commands", "receipts"), case.encode(), value("receipts", {"case": case}))]


READS = {
    "intake": ["requests", *(f"receipts{number}" for number in range(SYSTEMS))],
    "coordinator": ["cases"],
    "answering": [f"commands{number}" for number in range(SYSTEMS)],
}


def serve(role: str, client: str, kafka: str, url: str, prefix: str) -> None:
    """One process: poll, read, send, write, commit."""
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    pipe = CLIENTS[client](kafka, prefix + role, [prefix + topic for topic in READS[role]])
    store, answered = redis.Redis.from_url(url), Counter[str]()
    handle: dict[str, Callable[[str, bytes], list[Sent]]] = {
        "intake": lambda topic, raw: intake(prefix, topic, raw),
        "coordinator": lambda _, raw: coordinator(prefix, raw, answered),
        "answering": answering,
    }
    while going:
        batch = pipe.poll()
        if not batch:
            continue
        out: list[Sent] = []
        for topic, key, raw in batch:
            if role == "coordinator":
                store.get(prefix + key.decode())
            out += handle[role](topic, raw)
        pipe.send(out)
        if role == "coordinator":
            store.mset({prefix + key.decode(): raw for _, key, raw in batch})
        pipe.commit()


def measured(client: str, kafka: str, url: str, requests: int, rate: float) -> dict[str, float]:
    """Requests a second, latencies to the last command, and processor time a request."""
    prefix = f"floor-{uuid.uuid4().hex[:8]}."
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    counts = {topic: 1 if topic == "ledger" else PARTITIONS if topic == "cases" else 2 for topic in TOPICS}
    settings: dict[str, dict[str, Any]] = {}
    for topic, number in counts.items():
        configs = {"message.timestamp.type": "LogAppendTime"} | ({"flush.messages": "1"} if topic in FLUSHED else {})
        settings[prefix + topic] = {"num_partitions": number, "replication_factor": 1, "configs": configs}
    admin.create_topics(settings, wait_for_metadata=True)
    command = [sys.executable, __file__, "--client", client, "--serve"]
    processes = {role: subprocess.Popen([*command, role, kafka, url, prefix]) for role in READS}
    try:
        _ask(kafka, prefix, "warm", 50, 0)
        _await(kafka, prefix, 50)
        spent = Spent({role: each.pid for role, each in processes.items()} | server_pids(kafka, url))
        _ask(kafka, prefix, "real", requests, rate)
        records = _await(kafka, prefix, requests + 50)
        each = spent.ms_each(requests)
        moments = _moments(records)
        span = max(end for _, _, end in moments.values()) - min(start for start, _, _ in moments.values())
        median, high = quantiles([last - start for start, last, _ in moments.values()])
        found = {"rate": len(moments) / span * 1000, "median ms": median, "p99 ms": high, "ms": sum(each.values())}
        return found | {f"ms {name}": ms for name, ms in each.items()}
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
        store = redis.Redis.from_url(url)
        for key in store.scan_iter(match=prefix + "*", count=1000):
            store.unlink(key)
        admin.delete_topics([prefix + topic for topic in TOPICS])
        admin.close()


def _ask(kafka: str, prefix: str, tag: str, requests: int, rate: float) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=2)
    start = time.perf_counter()
    for number in range(requests):
        if rate and (early := start + number / rate - time.perf_counter()) > 0:
            time.sleep(early)  # the load's own pace
        raw = json.dumps({"case": f"{tag}{number:08}", "pad": "x" * 250}).encode()
        producer.send(prefix + "requests", raw, key=f"{number}".encode())
    producer.close()


def _await(kafka: str, prefix: str, requests: int) -> dict[str, list[Any]]:
    """Everything on the topics that are looked at, when every request has its second confirmation."""
    topics = ("requests", "confirmations", *(f"commands{number}" for number in range(SYSTEMS)))
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    places = [TopicPartition(prefix + t, n) for t in topics for n in consumer.partitions_for_topic(prefix + t)]
    consumer.assign(places)
    confirmations = [place for place in places if place.topic == prefix + "confirmations"]
    deadline = time.monotonic() + 300
    while sum(consumer.end_offsets(confirmations).values()) < 2 * requests:
        if time.monotonic() > deadline:
            raise RuntimeError("not every request was carried out")
        time.sleep(0.2)  # asking a broker is how one awaits it
    consumer.seek_to_beginning(*places)
    ends, found = consumer.end_offsets(places), dict[str, list[Any]]()
    while any(consumer.position(place) < end for place, end in ends.items()):
        for place, records in consumer.poll(timeout_ms=200).items():
            found.setdefault(place.topic.removeprefix(prefix), []).extend(records)
    consumer.close()
    return found


def _moments(records: dict[str, list[Any]]) -> dict[str, tuple[int, int, int]]:
    """Case -> when its request, its last command and its end became durable, in milliseconds."""
    start = {json.loads(each.value)["case"]: each.timestamp for each in records["requests"]}
    last, end = dict[str, int](), dict[str, int]()
    for number in range(SYSTEMS):
        for each in records[f"commands{number}"]:
            case = json.loads(each.value)["case"]
            last[case] = max(last.get(case, 0), each.timestamp)
    for each in records["confirmations"]:
        said = json.loads(each.value)
        if said["done"]:
            end[said["case"]] = each.timestamp
    return {case: (at, last[case], end[case]) for case, at in start.items() if case.startswith("real")}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=CLIENTS, default="kafka")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--serve", nargs=4, metavar=("ROLE", "KAFKA", "REDIS", "PREFIX"))
    given = parser.parse_args()
    if given.serve:
        role, kafka, url, prefix = given.serve
        serve(role, given.client, kafka, url, prefix)
        return
    with servers() as (kafka, url):
        print(json.dumps(measured(given.client, kafka, url, given.requests, given.rate)))


if __name__ == "__main__":
    main()
