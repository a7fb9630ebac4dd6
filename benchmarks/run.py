"""Measures the main job beside the raw clients, in one run, and writes benchmarks/RESULTS.md.

What is measured, each on one Kafka broker and one Redis on the same machine:

- floor: what kafka-python and redis-py do alone with messages of the same size;
- registrations/s: an indexer process reading batches of 500 that lie on the topic, into Redis and onto `assets`;
- import/s: `expunge index import` of a JSON Lines file of a million lines;
- planned/s: publishing the withdrawal of a data source (a dry run) until `planned` is confirmed;
- small requests: a person with three files each; a burst until all are completed, and one at a time for the latency;
- resident memory of every role at the end.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.picture import plot  # noqa: E402
from expunge.adapters.kafka.producer import HEADERS  # noqa: E402
from expunge.adapters.system import SystemClock  # noqa: E402 - the tree is not installed as a package
from tests.deployment import Deployment, deployed, until  # noqa: E402 - the tree is not installed as a package
from tests.servers import servers  # noqa: E402

ASSETS = 200_000
LINES = 1_000_000
BATCH = 500
BURST = 500
SINGLE = 100
RUNS = 3
SIZES = (1_000_000, 5_000_000)
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
COMMAND = "make bench"


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
    topics = world.installation.topics
    total = sum(topics.end_offsets()["registrations"].values())

    def applied() -> int:
        return sum(topics.applied().get("registrations", {}).values())

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


def small_requests(world: Deployment) -> tuple[float, float, float]:
    """Requests a second in a burst; median and 99th percentile of the latency of one alone, in milliseconds."""
    total = BURST + SINGLE
    files = world.directory / "files"
    assets = []
    for number in range(total):
        for part in range(3):
            (files / f"s{number}-{part}.txt").write_text("x")
            subjects = [{"namespace": "user_id", "id": f"small{number}"}]
            assets.append({"asset": f"files:s{number}-{part}.txt", "subjects": subjects})
    for start in range(0, len(assets), BATCH):
        world.register(assets[start : start + BATCH])
    world.await_indexed()
    done: dict[str, float] = {}
    reader = world.installation.reader(["confirmations.app"], SystemClock().now())

    def collect() -> bool:
        for record in reader.poll(0.05):
            event = json.loads(record.value or b"")
            if event["type"] == "expunge.case.completed.v1":
                done.setdefault(event["data"]["case_id"], record.appended_at.timestamp())
        return True

    latencies = []
    for number in range(SINGLE):
        asked = time.time()
        case_id = world.erase(f"small{number}", f"single-{number}")
        until(lambda wanted=case_id: collect() and wanted in done, 60, world)  # type: ignore[misc]
        latencies.append((done[case_id] - asked) * 1000)
    begin = time.time()
    cases = [world.erase(f"small{number}", f"burst-{number}") for number in range(SINGLE, total)]
    until(lambda: collect() and all(case_id in done for case_id in cases), 300, world)
    rate = BURST / (max(done[case_id] for case_id in cases) - begin)
    reader.close()
    return rate, statistics.median(latencies), statistics.quantiles(latencies, n=100)[98]


def resident(pid: int) -> float:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


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
        found["small requests"], found["median ms"], found["p99 ms"] = small_requests(world)
        for role in ROLES:
            found[f"memory {role}"] = resident(world.processes[role].pid)
        world.kill("indexer")
        found["imported"] = imported(world)
        world.installation.server.forget(world.prefix)
        world.installation.topics.delete([t for t in world.installation.topics.all() if t.startswith(world.prefix)])
    return found


def report(runs: list[dict[str, float]]) -> str:
    """The page."""

    def line(label: str, key: str, unit: str, floor_key: str = "") -> str:
        values = sorted(each[key] for each in runs)
        middle = statistics.median(values)
        ratio = statistics.median(each[key] / each[floor_key] for each in runs) if floor_key else None
        against = f"{ratio:.3f} of {floor_key}" if ratio else ""
        return f"| {label} | {middle:,.0f} {unit} | {values[0]:,.0f} to {values[-1]:,.0f} | {against} |"

    lines = [
        line("kafka-python produce, 200 bytes, acks=all (floor)", "kafka-python produce", "/s"),
        line("kafka-python consume (floor)", "kafka-python consume", "/s"),
        line(
            "kafka-python produce, 510 bytes keyed, lz4, as statements are (floor)",
            "kafka-python produce statements",
            "/s",
        ),
        line("redis-py HSET, pipelines of 1,000 (floor)", "redis-py HSET", "/s"),
        line("registrations indexed, one indexer", "registrations", "assets/s", "kafka-python produce statements"),
        line("the same, against 200 bytes", "registrations", "assets/s", "kafka-python produce"),
        line(f"import of {LINES:,} lines of JSON", "imported", "lines/s"),
        line(f"assets planned, withdrawal of {ASSETS:,}, one resolver", "planned", "assets/s", "redis-py HSET"),
        line(
            f"small requests completed (3 files each), burst of {BURST}", "small requests", "/s", "kafka-python produce"
        ),
        line("latency of one request alone, median", "median ms", "ms"),
        line("latency of one request alone, 99th percentile", "p99 ms", "ms"),
        *(line(f"resident memory, {role}", f"memory {role}", "MB") for role in ROLES),
    ]
    cpu = next(
        (t.split(":")[1].strip() for t in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in t), ""
    )
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()[0]
    versions = f"Python {platform.python_version()}, {java}, Apache Kafka 4.2.0 on one node"
    return (
        "# Results\n\n"
        f"`{COMMAND}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({cpu}), {versions}.\n"
        f"Median of {len(runs)} runs with the range; broker, Redis, roles and load share the cores. Ratios are medians "
        "of\nthe ratios within each run, against what the raw client did in the same run: quote these, not the "
        "absolute figures.\n\n"
        "| what | median | range | against the floor |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


INDEX_ROWS = (
    ("resident Redis memory per asset, marks apart", "resident", "bytes"),
    ("the same as Redis counts it", "used", "bytes"),
    ("marks, per asset, after a walk over all", "mark bytes", "bytes"),
    ("written to the index (rows, edges, memberships)", "load", "assets/s"),
    ("walked: marks, rows, children, chunks, messages", "walk", "assets/s"),
    ("walked from a hub of 500,000 children", "hub walk", "assets/s"),
    ("one person's 1,000 assets, six deep, walked", "closure ms", "ms"),
    ("the same, walked and planned", "closure and plan ms", "ms"),
    ("the process that walked, at its largest", "resolver MB", "MB"),
)


def index_runs(assets: int) -> list[dict[str, Any]]:
    """Runs of benchmarks/index.py, each in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "index.py"), "--assets", str(assets)]
    runs = []
    for number in range(RUNS):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
        print(f"index of {assets:,}, run {number + 1}: {done.stdout.strip()}", flush=True)
    return runs


def index_report(sizes: dict[int, list[dict[str, Any]]]) -> str:
    """The index by itself, a column for each size; and its memory by part."""
    heads = [f"{assets:,} assets" for assets in sizes]
    lines = ["| what | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for label, key, unit in INDEX_ROWS:
        cells = []
        for runs in sizes.values():
            values = sorted(each[key] for each in runs)
            cells.append(f"{statistics.median(values):,.0f} {unit} ({values[0]:,.0f} to {values[-1]:,.0f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for part in next(iter(sizes.values()))[0]["parts"]:
        if part != "marks":
            cells = [f"{statistics.median(each['parts'][part] for each in runs):,.0f} bytes" for runs in sizes.values()]
            lines.append(f"| of that: {part} (estimated) | " + " | ".join(cells) + " |")
    version = next(iter(sizes.values()))[0]["redis"]
    return (
        f"\n## The index by itself\n\n`python benchmarks/index.py --assets N`, {RUNS} runs each, on a Redis {version} "
        "of its own without persistence;\nhalf photos with one person, one data source, two purposes and a category, "
        "half embeddings with one parent; ids of\n40 bytes. Resident memory is what the server adds to its empty self, "
        "after it has given back free pages.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    """Measure and write; with `--flow` or `--index` only that part, and the other as it was."""
    page = ROOT / "benchmarks" / "RESULTS.md"
    flow, mark, index = page.read_text().partition("\n## The index by itself")
    if "--index" not in sys.argv:
        runs = []
        with servers() as (kafka, redis):
            for number in range(RUNS):
                runs.append(run(kafka, redis))
                print(f"run {number + 1}: { ({key: round(value) for key, value in runs[-1].items()}) }", flush=True)
        flow = report(runs)
        page.write_text(flow + mark + index)
    if "--flow" not in sys.argv:
        sizes = {assets: index_runs(assets) for assets in SIZES}
        page.write_text(flow + index_report(sizes))
        plot(sizes[SIZES[-1]], ROOT / "docs" / "index-memory.svg")
    print("written to benchmarks/RESULTS.md")


if __name__ == "__main__":
    main()
