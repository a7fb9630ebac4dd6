"""`expunge rebuild` beside the raw consumption of what it reads.

`python benchmarks/rebuild.py [--assets N] [--cases N]`: an index of N assets and so many open cases (20 assets each),
whose systems do not answer. Roles are stopped, Redis is emptied, and rebuilt; its checksum must be what it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.everyday import EACH, ask, assets  # noqa: E402 - the tree is not installed as a package
from benchmarks.everyday import of_supplier as others  # noqa: E402
from benchmarks.world import SYSTEMS, World, loaded  # noqa: E402
from tests.deployment import until  # noqa: E402
from tests.servers import servers  # noqa: E402

READ = ("plans", "ledger", "assets")


def floor(world: World) -> tuple[float, int, int]:
    """Seconds to consume all that a rebuild reads, with kafka-python and nothing else; records, bytes."""
    consumer = KafkaConsumer(
        bootstrap_servers=world.kafka, fetch_max_bytes=52_428_800, max_partition_fetch_bytes=8_388_608
    )
    names = [world.at.prefix + topic for topic in READ]
    places = [TopicPartition(name, number) for name in names for number in consumer.partitions_for_topic(name) or ()]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends, size, count = consumer.end_offsets(places), 0, 0
    start = time.perf_counter()
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=200, max_records=5000).values():
            count += len(records)
            size += sum(len(each.value or b"") for each in records)
    took = time.perf_counter() - start
    consumer.close()
    return took, count, size


def expunge(*command: str) -> Any:
    """What a command says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "expunge", *command, "--json"], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def fill(world: World, number: int, cases: int) -> None:
    """The index, and cases that nobody answers."""
    of_people = cases * EACH * len(SYSTEMS)

    def every() -> Iterator[dict[str, Any]]:
        yield from assets(cases)
        yield from others(number - of_people)

    world.register(every())
    world.await_indexed()
    world.answering.pop().terminate()
    ask(world, 0, cases, "open", 0)
    world.await_confirmed(2 * cases)  # acknowledged and planned
    until(lambda: _rests(world), 120)


def _rests(world: World) -> bool:
    topics = world.at.installation.topics
    reached = {
        place: each.next
        for role in ("indexer", "resolver", "coordinator")
        for place, each in topics.committed_by(role).items()
    }
    return all(reached[place] >= log.end for place, log in topics.logs(list(reached)).items())


def measured(world: World, number: int, cases: int) -> dict[str, float]:
    """One run."""
    fill(world, number, cases)
    for process in world.at.processes.values():
        process.terminate()
        process.wait()
    world.at.processes.clear()
    before = expunge("index", "check")["checksum"]
    bare, records, size = floor(world)
    world.at.installation.server.forget(world.at.prefix)
    found = expunge("rebuild")
    if found["checksum"] != before:
        raise RuntimeError("the index is not what it was")
    again, _, _ = floor(world)
    bare = (bare + again) / 2
    return {
        "seconds": found["seconds"],
        "floor": bare,
        "times": found["seconds"] / bare,
        "records": records,
        "MB": size / 1e6,
    }


def run(assets: int = 1_000_000, cases: int = 1_000) -> dict[str, float]:
    """One run, on the servers that are up."""
    with (
        servers() as (kafka, redis),
        tempfile.TemporaryDirectory() as directory,
        loaded(Path(directory) / "d", kafka, redis, client="kafka", processes=1, assets=assets) as world,
    ):
        return measured(world, assets, cases)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=int, default=1_000_000)
    parser.add_argument("--cases", type=int, default=1_000)
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
