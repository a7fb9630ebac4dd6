"""The notary's alarms (rule "sequences")."""

from __future__ import annotations

from typing import Any

from expunge.domain.digest import name
from expunge.domain.events import Event
from tests.simulation import World


def fact(world: World, sequence: int, **body: Any) -> None:
    data = {
        "case_id": name("c"),
        "sequence": sequence,
        "cause": {"offset": sequence},
        "policy": name("p"),
        "body": body,
    }
    event = Event("expunge.ledger.closed.v1", "/expunge/coordinator", name(sequence), world.broker.now, data)
    world.broker.append("ledger", "c", event.encode())
    world.step("notary")


def alarms(world: World) -> dict[str, float]:
    return {label: count for (metric, label), count in world.metrics.counts.items() if metric == "ledger_alarms"}


def test_facts_in_order_and_repeated_raise_no_alarm() -> None:
    world = World()
    for sequence in (1, 2, 2, 3, 1):
        fact(world, sequence, status=sequence)
    assert alarms(world) == {}


def test_a_gap_is_an_alarm() -> None:
    world = World()
    fact(world, 1)
    fact(world, 3)
    assert alarms(world) == {"gap": 1}


def test_two_contents_under_one_number_are_an_alarm() -> None:
    world = World()
    fact(world, 1, status="a")
    fact(world, 1, status="b")
    assert alarms(world) == {"contradiction": 1}


def test_what_is_no_fact_is_set_aside() -> None:
    world = World()
    world.broker.append("ledger", "c", b"{}")
    world.step("notary")
    assert world.dead_letters()[0]["reason"] == "bad_fact"
