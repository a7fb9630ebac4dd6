"""Everyday requests: a person with 20 assets in five systems, each of which answers at once.

`python benchmarks/everyday.py [--client confluent] [--requests N] [--rate R] [--processes P] [--beside ASSETS]
[--evidence]`

Everything is on this machine: broker, Redis, every role, the systems, the load. Moments are the broker's: a request
begins when it is durable, and ends when its last command, or its last confirmation, is. A run that is not right (a case
that did not end with 20 assets deleted, anything set aside, facts that do not replay to the state) has no figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measure import Spent, quantiles, resident_mb  # noqa: E402 - the tree is not installed as a package
from benchmarks.world import SOURCE, SYSTEMS, World, counted, loaded, order  # noqa: E402
from expunge.adapters.system import SystemClock  # noqa: E402
from expunge.domain.events import stamp  # noqa: E402
from tests.servers import servers  # noqa: E402

EACH = 4
"""Assets of a person in every system."""
WARM = 50
CONFIRMATIONS = 3
"""Acknowledged, planned, completed."""


def assets(people: int) -> Iterator[dict[str, Any]]:
    """What the people have."""
    for number in range(people):
        person = [{"namespace": "user_id", "id": f"e{number}"}]
        for system in SYSTEMS:
            for part in range(EACH):
                yield {"asset": f"{system}:people/{number:08}/{part}", "system": system, "subjects": person}


def of_supplier(number: int) -> Iterator[dict[str, Any]]:
    """What came from the supplier of the order."""
    for each in range(number):
        yield {"asset": f"s0:supplied/{each:012}", "system": "s0", "data_sources": [SOURCE]}


def ask(world: World, first: int, number: int, tag: str, rate: float) -> dict[str, str]:
    """Publish requests; request id -> case id."""
    cases, start, clock = {}, time.perf_counter(), SystemClock()
    with world.producer() as producer:
        for at in range(number):
            if rate and (early := start + at / rate - time.perf_counter()) > 0:
                time.sleep(early)  # the load's own pace
            request = f"{tag}{at}"
            person = [{"namespace": "user_id", "id": f"e{first + at}"}]
            data = {"request_id": request, "received_at": stamp(clock.now()), "subjects": person}
            world.say(producer, "requests", "expunge.erasure.requested.v1", request, data)
            cases[request] = world.at.installation.keys.case("/app", request)
    return cases


def measured(world: World, requests: int, rate: float, beside: int = 0) -> dict[str, float]:
    """Requests a second, latencies, and what a request costs."""
    world.register(assets(requests + WARM))
    if beside:
        world.register(of_supplier(beside))
    world.await_indexed()
    ask(world, requests, WARM, "warm", 0)
    world.await_confirmed(CONFIRMATIONS * WARM)
    if beside:
        with world.producer() as producer:
            world.say(producer, "requests", "expunge.source.withdrawn.v1", "order", order(beside))
    stats = world.at.installation.server.client
    before, topics = stats.info("stats"), world.at.installation.topics
    kept = stats.info("memory")["used_memory"]
    ends = {topic: sum(parts.values()) for topic, parts in topics.ends(list(topics.existing())).items()}
    spent = Spent(world.pids)
    cases = ask(world, 0, requests, "real", rate)
    world.await_confirmed(CONFIRMATIONS * (requests + WARM + bool(beside)))
    each, after = spent.ms_each(requests), stats.info("stats")
    now = {topic: sum(parts.values()) for topic, parts in topics.ends(list(topics.existing())).items()}
    found = moments(world, cases)
    world.check(dict.fromkeys(cases.values(), EACH * len(SYSTEMS)))
    found |= {"ms": sum(each.values())} | {f"ms {name}": ms for name, ms in each.items()}
    found |= {f"MB {name}": resident_mb(pid) for name, pid in world.pids.items() if name not in {"kafka", "redis"}}
    found["redis reads"] = (after["total_reads_processed"] - before["total_reads_processed"]) / requests
    found["redis commands"] = (after["total_commands_processed"] - before["total_commands_processed"]) / requests
    records = counted({topic: now[topic] - ends[topic] for topic in now})
    found |= {f"records {topic}": number / requests for topic, number in records.items() if number}
    found["redis bytes"] = (stats.info("memory")["used_memory"] - kept) / requests
    found |= {f"bytes {topic}": size / (requests + WARM) for topic, size in world.sizes(now).items()}
    return found | {"records": records.total() / requests}


def moments(world: World, cases: dict[str, str]) -> dict[str, float]:
    """The rate, and quantiles of what passed from a request to its last command, and to its end."""
    mine = set(cases.values())
    start = {cases[e["id"]]: at for e, at in world.moments("requests") if e["id"] in cases}
    last: dict[str, int] = {}
    for system in SYSTEMS:
        for event, at in world.moments(f"commands.{system}"):
            case_id = event["data"]["case_id"]
            last[case_id] = max(at, last.get(case_id, 0))
    ended = ((e["data"]["case_id"], at) for e, at in world.moments("confirmations.app") if ".completed." in e["type"])
    end = {case_id: at for case_id, at in ended if case_id in mine}
    median, high = quantiles([last[case_id] - at for case_id, at in start.items()])
    whole, longest = quantiles([end[case_id] - at for case_id, at in start.items()])
    rate = len(end) / (max(end.values()) - min(start.values())) * 1000
    return {"rate": rate, "median ms": median, "p99 ms": high, "end median ms": whole, "end p99 ms": longest}


def run(
    client: str = "kafka",
    requests: int = 1500,
    rate: float = 0,
    processes: int = 1,
    beside: int = 0,
    *,
    evidence: bool = False,
) -> dict[str, float]:
    """One run, on the servers that are up."""
    with servers() as (kafka, redis), tempfile.TemporaryDirectory() as directory:
        number = (requests + WARM) * EACH * len(SYSTEMS) + beside
        with loaded(
            Path(directory) / "d",
            kafka,
            redis,
            client=client,
            processes=processes,
            assets=number if beside else 0,
            evidence=evidence,
        ) as world:
            return measured(world, requests, rate, beside)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=("kafka", "confluent"), default="kafka")
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--beside", type=int, default=0, help="assets of an order that goes on meanwhile")
    parser.add_argument("--evidence", action="store_true", help="the notary logs, and certifies every case")
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
