"""Holds: what is held is not commanded, the rest goes on, and a release carries out exactly what was held."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import World, receipt

ANN = {"subject": {"namespace": "user_id", "id": "ann"}}
BOB = {"subject": {"namespace": "user_id", "id": "bob"}}


def furnished() -> World:
    """Ann's portrait and an embedding of it, a group photo of Ann and Bob, a set of both, from a supplier."""
    world = World()
    world.register("portrait", subjects=["ann"], data_sources=["supplier-a"])
    world.register("group", subjects=["ann", "bob"])
    world.register("vector", "embedding", "ml", parents=["group"])
    world.register("set", "dataset", "ml", parents=["portrait", "group"])
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle(ticks=1)
    return world


def place(world: World, scope: dict[str, Any], hold_id: str = "h1", **fields: Any) -> None:
    data = {"hold_id": hold_id, "scope": scope, "basis": "litigation", "custodian": "counsel"} | fields
    world.order("hold.placed", key=hold_id, **data)
    world.settle(ticks=2)


def release(world: World, hold_id: str = "h1", **fields: Any) -> None:
    world.order("hold.released", key=hold_id, hold_id=hold_id, **fields)
    world.settle(ticks=2)


def done(world: World, case_id: str) -> set[str]:
    return {asset for _, asset, _ in world.commanded[case_id]}


ALL = {"portrait", "group", "vector", "set", "users.db"}
SCOPES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "case": ({"case_id": "the case"}, ALL),
    "person": (ANN, {"portrait", "group", "vector", "users.db"}),
    "another person": (BOB, {"group", "vector"}),
    "data source": ({"data_source": "supplier-a"}, {"portrait"}),
    "asset": ({"asset": "group"}, {"group", "vector"}),
    "container": ({"asset": "set"}, {"set"}),
    "system": ({"system": "ml"}, {"vector", "set"}),
}


@pytest.mark.parametrize("before", [True, False], ids=["before the case", "during the case"])
@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_held_is_kept_and_the_rest_goes_on(scope: str, *, before: bool) -> None:
    world = furnished()
    wanted, kept = SCOPES[scope]
    case_id = world.keys.case("/app", "r1")
    wanted = {"case_id": case_id} if "case_id" in wanted else wanted
    if before:
        place(world, wanted)
        world.erase("ann")
        world.settle(ticks=2)
    else:
        systems = ("photos", "ml", "users")
        world.answers |= dict.fromkeys(systems, lambda _: [])
        world.erase("ann")
        for _ in range(20):  # every stage has its turn
            world.tick(3 * 86_400 - 60)
            world.settle(ticks=1)
        place(world, wanted)
        world.commanded[case_id].clear()
        world.answers.clear()
        world.tick(86_400)
        world.settle(ticks=2)
    assert done(world, case_id) == ALL - kept
    assert world.status(case_id) == "completed_with_deferrals"
    assert all(each.in_force("hold:h1") for each in world.standing())
    release(world)
    assert done(world, case_id) == ALL
    assert world.status(case_id) == "completed"
    assert len([1 for _, asset, _ in world.commanded[case_id] if asset in ALL - kept]) == len(ALL - kept)


def test_a_withdrawn_source_under_hold_for_one_person_in_it() -> None:
    world = furnished()
    place(world, ANN)
    case_id = world.withdraw("supplier-a", request="w")
    world.settle(ticks=2)
    assert done(world, case_id) == {"set"}
    release(world)
    assert done(world, case_id) == {"set", "portrait"}


@pytest.mark.parametrize("silent", [False, True], ids=["answered", "not answered yet"])
def test_one_of_two_photos_in_a_command_is_held_and_released(*, silent: bool) -> None:
    world = World()
    world.register("one", subjects=["ann"])
    world.register("two", subjects=["ann"])
    place(world, {"asset": "one"})
    if silent:
        world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert done(world, case_id) == {"two"}
    world.answers.clear()
    release(world)
    assert done(world, case_id) == {"one", "two"}
    assert world.status(case_id) == "completed"


def test_a_hold_takes_effect_downstream() -> None:
    """What a system has been told already it is told to keep; the hold is in force when it has said so."""
    world = furnished()
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    for _ in range(6):
        world.tick(2 * 86_400)
        world.settle(ticks=1)
    world.deaf.add("photos")
    place(world, {"asset": "portrait"})
    assert sum(each.unsettled.get("hold:h1", 0) for each in world.standing()) == 1
    world.deaf.clear()
    world.tick(61)
    world.settle(ticks=2)
    assert all(each.in_force("hold:h1") for each in world.standing())
    (first, *_) = [e["data"]["command_id"] for e in world.broker.events("commands.photos")]
    assert world.withdrawn
    del world.answers["photos"]
    world.commanded[case_id].clear()
    world.tick(86_400)
    world.settle(ticks=2)
    assert "portrait" not in done(world, case_id)
    assert first


def test_what_was_gone_when_the_hold_came_is_said_to_be_gone() -> None:
    world = furnished()
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    for _ in range(8):
        world.tick(3 * 86_400)
        world.settle(ticks=1)
    gone = [{"asset": "portrait", "claim": "deleted"}]
    world.let_go = lambda data: receipt(data, status="withdrawn", results=gone)
    place(world, {"asset": "portrait"})
    del world.answers["photos"]
    world.tick(86_400)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"


def test_two_holds_on_one_asset_both_must_end() -> None:
    world = furnished()
    place(world, {"asset": "portrait"}, "h1")
    place(world, ANN, "h2")
    case_id = world.erase("ann")
    world.settle(ticks=2)
    release(world, "h1")
    assert "portrait" not in done(world, case_id)
    release(world, "h2")
    assert done(world, case_id) == ALL


def test_a_release_that_comes_years_later_carries_out_what_was_held() -> None:
    world = furnished()
    place(world, {"asset": "portrait"}, review_by="2026-12-01T00:00:00Z")
    case_id = world.erase("ann")
    world.settle(ticks=2)
    world.tick(3 * 365 * 86_400)
    world.settle(ticks=2)
    assert "portrait" not in done(world, case_id)  # past its review it is not lifted by itself
    release(world)
    assert done(world, case_id) == ALL
    assert [said["outcome"] for said in world.confirmations("completed")] == ["complied"]
    assert len(world.confirmations("reopened")) == 1


def test_the_record_of_a_hold_stands_on_its_topic() -> None:
    world = World()
    place(world, ANN, review_by="2027-01-01T00:00:00Z")
    (said,) = [event["data"] for event in world.broker.events("holds")]
    assert (said["hold_id"], said["sequence"], said["basis"]) == ("h1", 1, "litigation")
    assert "ann" not in str(said)
    release(world)
    said = world.broker.events("holds")[-1]["data"]
    assert (said["sequence"], "released_at" in said) == (2, True)


def test_an_older_record_that_a_sleeping_process_writes_is_mended() -> None:
    world = World()
    place(world, ANN)
    older = next(log for (topic, _), log in world.broker.logs.items() if topic == "holds" and log)[0]
    release(world)
    world.broker.append("holds", "h1", older.value)
    world.settle(ticks=2)
    assert world.broker.events("holds")[-1]["data"]["sequence"] == 2


def test_an_id_is_one_hold() -> None:
    world = World()
    place(world, ANN)
    place(world, BOB)
    release(world, "h2")
    assert {each["reason"] for each in world.dead_letters()} == {"hold_id_reused", "no_such_hold"}


def test_an_erasure_under_hold_says_so_to_nobody_but_operators() -> None:
    world = furnished()
    place(world, {"asset": "portrait"})
    world.erase("ann")
    world.settle(ticks=2)
    (said,) = world.confirmations("completed_with_deferrals")
    assert "held" not in str(said)
    assert said["counts"]["object"] == {"deferred": 1, "redacted": 1}


@pytest.mark.parametrize("crash", range(0, 60, 3))
def test_a_crash_while_a_hold_is_taken_loses_nothing(crash: int) -> None:
    world = furnished()
    case_id = world.erase("ann")
    world.settle(ticks=0)
    world.order("hold.placed", hold_id="h1", scope=ANN, basis="b", custodian="c", key="h1")
    world.step("intake")
    world.step("coordinator", 50, crash_after=crash)
    world.step("resolver", 50, crash_after=crash)
    world.settle(ticks=2)
    release(world)
    assert done(world, case_id) == ALL
    assert world.status(case_id) == "completed"
