"""The notary's alarms (rule "sequences")."""

from __future__ import annotations

import json
from typing import Any

from expunge.domain.digest import name
from expunge.domain.events import Event
from expunge.domain.limits import MAX_FACTS, MAX_FACTS_BYTES
from expunge.wire import ledger
from tests.simulation import World


def fact(world: World, sequence: int, kind: str = "closed", **body: Any) -> None:
    data = {
        "case_id": name("c"),
        "sequence": sequence,
        "cause": {"offset": sequence},
        "policy": name("p"),
        "body": body,
    }
    event = Event(f"expunge.ledger.{kind}.v1", "/expunge/coordinator", name(sequence), world.broker.now, data)
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


def test_of_a_forgotten_case_only_what_comes_after_is_held_against_anything() -> None:
    world = World()
    for sequence in (1, 2, 3):
        fact(world, sequence, status="a")
    fact(world, 4, "forgotten")
    assert set(world.seen.seen[name("c")]) == {0, 4}
    fact(world, 2, status="another")  # a repetition: nobody knows any more what it said
    fact(world, 4, "forgotten")
    fact(world, 5, status="b")
    assert alarms(world) == {}
    fact(world, 7, status="c")
    assert alarms(world) == {"gap": 1}


def test_what_is_no_fact_is_set_aside() -> None:
    world = World()
    world.broker.append("ledger", "c", b"{}")
    world.step("notary")
    assert world.dead_letters()[0]["reason"] == "bad_fact"


def together(world: World, *facts: Any) -> None:
    data = {"facts": list(facts)}
    event = Event(ledger.SEVERAL, "/expunge/coordinator", name(str(facts)), world.broker.now, data)
    world.broker.append("ledger", "c", event.encode())
    world.step("notary")


def inner(sequence: int, **body: Any) -> dict[str, Any]:
    data = {"case_id": name("c"), "sequence": sequence, "cause": {}, "policy": name("p"), "body": body}
    return {"type": "expunge.ledger.closed.v1", "data": data}


def test_facts_that_share_a_record_are_facts_as_any() -> None:
    """A repetition may find them in other company."""
    world = World()
    fact(world, 1, status="a")
    together(world, inner(1, status="a"), inner(2, status="b"))
    together(world, inner(2, status="b"), inner(3, status="c"))
    assert alarms(world) == {}
    together(world, inner(3, status="x"), inner(5))
    assert alarms(world) == {"contradiction": 1, "gap": 1}


def test_a_record_with_something_else_among_its_facts_is_set_aside() -> None:
    world = World()
    wrongs: list[Any] = [
        7,
        {},
        {"type": "x"},
        {"type": [], "data": {}},
        inner(0),
        {"type": "x", "data": {"case_id": "x"}},
    ]
    for wrong in wrongs:
        together(world, inner(1), wrong)
    assert [letter["reason"] for letter in world.dead_letters()] == ["bad_fact"] * 6


def test_a_record_holds_as_many_facts_as_fit() -> None:
    def event(number: int, size: int) -> Event:
        return Event("expunge.ledger.closed.v1", "/s", name(number), World().broker.now, {"x": "y" * size})

    few = [event(number, 10) for number in range(3)]
    assert [len(ledger.facts_of(each)) for each in read(few)] == [3]
    many = [event(number, 10) for number in range(MAX_FACTS + 1)]
    assert [len(ledger.facts_of(each)) for each in read(many)] == [MAX_FACTS, 1]
    large = [event(0, 10), event(1, MAX_FACTS_BYTES), event(2, 10)]
    assert [len(ledger.facts_of(each)) for each in read(large)] == [1, 1, 1]
    assert [dict(each) for event in read(few) for each in ledger.facts_of(event)] == [
        json.loads(each.encode()) for each in few
    ]


def read(facts: list[Event]) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in ledger.records("c", facts)]
