"""One order about everything from a supplier: planned, commanded, answered.

`python benchmarks/orders.py [--assets N] [--client confluent] [--processes P]`
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.everyday import of_supplier  # noqa: E402 - the tree is not installed as a package
from benchmarks.measure import Spent, resident_mb  # noqa: E402
from benchmarks.world import World, loaded, order  # noqa: E402
from tests.servers import servers  # noqa: E402


def measured(world: World, assets: int) -> dict[str, float]:
    """Seconds until the plan, and from there to the end; what an asset costs; the largest that processes became."""
    world.register(of_supplier(assets))
    world.await_indexed()
    spent = Spent(world.pids)
    with world.producer() as producer:
        world.say(producer, "requests", "expunge.source.withdrawn.v1", "order", order(assets))
    world.await_confirmed(3)
    each = spent.ms_each(assets)
    (start,) = [at for _, at in world.moments("requests")]
    end = {event["type"].split(".")[2]: at for event, at in world.moments("confirmations.app")}
    last = max(at for _, at in world.moments("commands.s0"))
    world.check({world.at.installation.keys.case("/app", f"order-{assets}"): assets})
    found = {"planned s": (end["planned"] - start) / 1000, "commanded s": (last - end["planned"]) / 1000}
    found |= {"answered s": (end["completed"] - end["planned"]) / 1000, "us": 1000 * sum(each.values())}
    found |= {f"us {name}": 1000 * ms for name, ms in each.items()}
    return found | {f"MB {name}": resident_mb(world.pids[name]) for name in ("resolver", "coordinator")}


def run(assets: int = 1_000_000, client: str = "kafka", processes: int = 1) -> dict[str, float]:
    """One run, on the servers that are up."""
    with (
        servers() as (kafka, redis),
        tempfile.TemporaryDirectory() as directory,
        loaded(
            Path(directory) / "d", kafka, redis, client=client, processes=processes, assets=max(assets, 100_001)
        ) as world,
    ):
        return measured(world, assets)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--assets", type=int, default=1_000_000)
    parser.add_argument("--client", choices=("kafka", "confluent"), default="kafka")
    parser.add_argument("--processes", type=int, default=1)
    print(json.dumps(run(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
