"""Measures the main job beside the raw clients, in one run, and writes benchmarks/RESULTS.md.

What is measured, each on one Kafka broker and one Redis on the same machine:

- floor: what kafka-python and redis-py do alone with messages of the same size;
- registrations/s: an indexer process reading batches of 500 that lie on the topic, into Redis and onto `assets`;
- import/s: `expunge index import` of a JSON Lines file of a million lines;
- planned/s: publishing the withdrawal of a data source (a dry run) until `planned` is confirmed;
- everyday requests (`everyday.py`) flat out and at a few rates beside their floor (`floor.py`), with each client;
- orders of several sizes (`orders.py`);
- the index by itself (`index.py`);
- the index on a Redis Cluster beside one server (`index.py --clustered`);
- an empty Redis made anew (`rebuild.py`).

`--flow`, `--everyday`, `--orders`, `--index`, `--cluster`, `--rebuild`: that part alone, the others as they were;
`--page`: none.
Figures stand in benchmarks/results.json; `compare.py` says what got slower between two such files.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import everyday, orders, rebuild  # noqa: E402 - the tree is not installed as a package
from benchmarks import floor as floors  # noqa: E402
from benchmarks.page import ASSETS, CLIENTS, CLUSTERED, LINES, ORDERS, RATES, SIZES, page  # noqa: E402
from benchmarks.picture import plot, plot_cost, plot_latency  # noqa: E402
from expunge.adapters.sender import HEADERS  # noqa: E402
from tests.deployment import Deployment, deployed, until  # noqa: E402 - the tree is not installed as a package
from tests.servers import servers  # noqa: E402

BATCH = 500
RUNS = 3
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")


def timed(work: Callable[[], int]) -> float:
    """Units of work a second."""
    start = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - start)


def floor(world: Deployment) -> dict[str, float]:
    """The raw clients: 200-byte messages, acks=all, and pipelined hash writes of the same size."""
    value, count = b"x" * 200, 50_000
    settings = {"acks": "all", "linger_ms": 5, "batch_size": 131_072, "max_request_size": 4_194_304}
    producer = KafkaProducer(bootstrap_servers=world.kafka, enable_idempotence=True, **settings)
    topic = f"{world.prefix}certificates"

    def produce() -> int:
        for number in range(count):
            producer.send(topic, value, partition=number % 2)
        producer.flush()
        return count

    def produce_statements() -> int:
        """As the indexer must: 510 bytes under a key, compressed, with the content type."""
        compressed = KafkaProducer(
            bootstrap_servers=world.kafka, enable_idempotence=True, compression_type="lz4", **settings
        )
        statement = os.urandom(255).hex().encode()
        for number in range(count):
            compressed.send(topic, statement, key=b"k" * 64, partition=number % 2, headers=HEADERS)
        compressed.flush()
        compressed.close()
        return count

    def consume() -> int:
        consumer = KafkaConsumer(bootstrap_servers=world.kafka, max_poll_records=2000)
        parts = [TopicPartition(topic, number) for number in range(2)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        seen = 0
        while seen < count:
            seen += sum(map(len, consumer.poll(timeout_ms=500).values()))
        consumer.close()
        return seen

    client = world.installation.server.client

    def write() -> int:
        for start in range(0, count, 1000):
            pipe = client.pipeline(transaction=False)
            for number in range(start, start + 1000):
                pipe.hset(f"{world.prefix}floor:{number // 64}", str(number), value)
            pipe.execute()
        return count

    rates = {
        "kafka-python produce": timed(produce),
        "kafka-python consume": timed(consume),
        "kafka-python produce statements": timed(produce_statements),
        "redis-py HSET": timed(write),
    }
    producer.close()
    return rates


def registrations(world: Deployment) -> float:
    """Photos with a person and a source, and an embedding of each: indexed assets a second."""
    half = ASSETS // 2
    for start in range(0, half, BATCH // 2):
        batch: list[dict[str, Any]] = []
        for number in range(start, start + BATCH // 2):
            person = {"namespace": "user_id", "id": f"p{number // 10}"}
            fields = {"subjects": [person], "data_sources": ["supplier-bench"], "purposes": ["training"]}
            photo = f"files:bench/photos/2026/{number:011}.jpeg"
            batch.append({"asset": photo, "categories": ["biometric"]} | fields)
            vector = {"asset": f"files:vectors/face/2026/{number:012}.npy", "kind": "embedding", "parents": [photo]}
            batch.append(vector)
        world.register(batch)
    progress = world.installation.progress
    total = sum(progress.end_offsets()["registrations"].values())

    def applied() -> int:
        return sum(progress.applied().get("registrations", {}).values())

    world.start("indexer", "run", "--role", "indexer")
    until(lambda: applied() > 0, 60, world)
    first, start_at = applied(), time.perf_counter()
    until(lambda: applied() >= total, 600, world)
    return (total - first) * BATCH / (time.perf_counter() - start_at)


def imported(world: Deployment) -> float:
    """Lines a second of a file that is checked and published."""
    file = world.directory / "million.jsonl"
    line = '{"asset":"files:import/%09d.jpg","kind":"object","system":"files","attributes":{"shelf":"%d"}}\n'
    with file.open("w") as stream:
        stream.writelines(line % (number, number % 977) for number in range(LINES))
    start = time.perf_counter()
    command = [sys.executable, "-m", "expunge", "index", "import", str(file), "--wait", "0"]
    subprocess.run(command, check=True, env=os.environ | {"EXPUNGE_CONFIG": str(world.config)}, capture_output=True)
    file.unlink()
    return LINES / (time.perf_counter() - start)


def planned(world: Deployment) -> float:
    """The withdrawal of the source: assets planned a second, from publishing to `planned`."""
    data = {"request_id": "plan", "received_at": "2026-11-01T00:00:00Z", "data_sources": ["supplier-bench"]}
    start = time.perf_counter()
    world.publish("requests", "expunge.source.withdrawn.v1", data | {"dry_run": True})
    case_id = world.installation.keys.case("/app", "plan")
    confirmed = world.await_milestone(case_id, "planned", 600)
    count = sum(sum(claims.values()) for claims in confirmed["counts"].values())
    if count != ASSETS:
        raise RuntimeError(f"{count} assets planned, not {ASSETS}")
    return count / (time.perf_counter() - start)


def run(kafka: str, redis: str) -> dict[str, float]:
    """One run of everything."""
    found: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        deployed(Path(directory) / "d", kafka, redis) as world,
    ):
        found |= floor(world)
        found["registrations"] = registrations(world)
        for role in ROLES:
            if role != "indexer":
                world.start(role, "run", "--role", role)
        world.start("agent", "agent", "run", "files")
        world.await_milestone(world.erase("warm", "warm"))
        found["planned"] = planned(world)
        world.kill("indexer")
        found["imported"] = imported(world)
        world.installation.server.forget(world.prefix)
        world.installation.topics.delete([t for t in world.installation.topics.all() if t.startswith(world.prefix)])
    return found


def index_runs(assets: int, *words: str) -> list[dict[str, Any]]:
    """Runs of benchmarks/index.py, each in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "index.py"), "--assets", str(assets), *words]
    runs = []
    for number in range(RUNS):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
        print(f"index of {assets:,}, run {number + 1}: {done.stdout.strip()}", flush=True)
    return runs


PARTS = ("flow", "everyday", "orders", "index", "cluster", "rebuild")
RESULTS = ROOT / "benchmarks" / "results.json"
SECONDS = 18
"""For so long requests come at a rate."""


Measured = Iterator[tuple[str, list[dict[str, Any]]]]
"""Parts with their runs, as they come."""


def measure_flow() -> Measured:
    """Registrations, import and planning."""
    with servers() as (kafka, redis):
        yield "flow", [said("flow", run(kafka, redis)) for _ in range(RUNS)]


def measure_everyday() -> Measured:
    """Everyday requests beside their floor: in turn, on the same servers."""
    for client in CLIENTS:
        bare, ours = [], []
        for _ in range(RUNS):
            with servers() as (kafka, redis):
                bare.append(said(f"floor {client}", floors.measured(client, kafka, redis, 2000, 0)))
            ours.append(said(f"everyday {client}", everyday.run(client)))
        yield f"floor {client}", bare
        yield f"everyday {client} flat", ours
        for rate in RATES:
            number = SECONDS * rate
            with servers() as (kafka, redis):
                yield f"floor {client} at {rate}", [floors.measured(client, kafka, redis, number, rate)]
            yield f"everyday {client} at {rate}", [said(f"{client} at {rate}", everyday.run(client, number, rate))]
    for processes in (2, 4):
        yield f"everyday kafka in {processes}", [said(f"{processes} processes", everyday.run(processes=processes))]
    beside = everyday.run("kafka", 300, 5, 1, 1_000_000)
    yield "everyday kafka beside", [said("beside an order", beside)]


def measure_orders() -> Measured:
    """Orders of several sizes."""
    for assets in ORDERS:
        yield f"orders {assets}", [said(f"order of {assets:,}", orders.run(assets))]


def measure_index() -> Measured:
    """The index by itself."""
    for assets in SIZES:
        yield f"index {assets}", index_runs(assets)


def measure_cluster() -> Measured:
    """The index on a cluster."""
    yield "cluster", index_runs(CLUSTERED, "--clustered")


def measure_rebuild() -> Measured:
    """Redis made anew."""
    yield "rebuild", [said("rebuild", rebuild.run()) for _ in range(2)]


def said(what: str, found: dict[str, float]) -> dict[str, float]:
    """Show a run that has just ended."""
    print(what, {key: float(f"{value:.4g}") for key, value in found.items()}, flush=True)
    return found


def machine() -> str:
    """Where and with what was measured."""
    known = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((each.split(":")[1].strip() for each in known if "model name" in each), "")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()[0]
    versions = f"Python {platform.python_version()}, {java}, Apache Kafka 4.2.0 on one node"
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({cpu}), {versions}"


def main() -> None:
    """Measure what was asked for, or everything; write results and page."""
    wanted = [part for part in PARTS if f"--{part}" in sys.argv] or ([] if "--page" in sys.argv else list(PARTS))
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    measures = {"flow": measure_flow, "everyday": measure_everyday, "orders": measure_orders, "index": measure_index}
    measures |= {"cluster": measure_cluster, "rebuild": measure_rebuild}
    for part in wanted:
        for key, runs in measures[part]():
            results |= {key: runs, "machine": machine()}
            RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    file = ROOT / "benchmarks" / "RESULTS.md"
    file.write_text(page(results, file.read_text()))
    if f"index {SIZES[-1]}" in results:
        plot(results[f"index {SIZES[-1]}"], ROOT / "docs" / "index-memory.svg")
    if f"floor {CLIENTS[-1]}" in results and all(f"orders {size}" in results for size in ORDERS):
        plot_latency(results, RATES, ROOT / "docs" / "latency.svg")
        plot_cost(results, ORDERS, ROOT / "docs" / "order-cost.svg")
    print("written to benchmarks/RESULTS.md")


if __name__ == "__main__":
    main()
