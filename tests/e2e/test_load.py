"""A little of the load that benchmarks measure, for its correctness alone: a wrong run has no figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import compare, everyday, orders
from benchmarks.world import loaded
from tests.servers import Servers


@pytest.mark.parametrize("client", ["kafka", "confluent"])
def test_everyday_requests_end_right_with_each_client(real: Servers, tmp_path: Path, client: str) -> None:
    with loaded(tmp_path / "d", real.kafka, real.redis, client=client, processes=2, assets=0) as world:
        found = everyday.measured(world, 20, 0)
    assert found["records commands"] == found["records receipts"] == 5
    assert found["records cases"] <= 12
    assert found["records ledger"] <= 20


def test_an_order_ends_right(real: Servers, tmp_path: Path) -> None:
    with loaded(tmp_path / "d", real.kafka, real.redis, client="kafka", processes=1, assets=200_000) as world:
        found = orders.measured(world, 3_000)
    assert found["answered s"] > 0


def test_what_got_slower_is_named_and_a_slower_machine_is_not_slower_code() -> None:
    floor, run = {"rate": 500.0, "ms": 2.0}, {"rate": 100.0, "ms": 16.0}
    old = {"floor kafka": [floor], "everyday kafka flat": [run], "orders 10": [{"planned s": 1.0}], "machine": "one"}
    slow_machine = {"floor kafka": [{"rate": 250.0, "ms": 4.0}], "everyday kafka flat": [{"rate": 50.0, "ms": 32.0}]}
    assert compare.slower(old, slow_machine | {"orders 10": [{"planned s": 1.05}]}, 0.1) == []
    worse = {"floor kafka": [floor], "everyday kafka flat": [{"rate": 80.0, "ms": 16.0}]}
    lines = compare.slower(old, worse | {"orders 10": [{"planned s": 2.0}]}, 0.1)
    assert [line.partition(" ")[0] for line in lines] == ["everyday", "orders"]
    assert "rate" in lines[0]
    assert "100% worse" in lines[1]
