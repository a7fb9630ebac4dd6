"""Pauses: no command leaves while its scope is paused, also downstream; receipts are still taken."""

from __future__ import annotations

import pytest

from tests.simulation import PARTITIONS, World, honest

SCOPES = [{"all": True}, {"system": "photos"}, {"publisher": "app"}]


def asked(world: World | None = None, person: str = "ann") -> tuple[World, str]:
    world = world or World()
    for number in range(4):
        world.register(f"{person}-{number}", subjects=[person])
    world.settle(ticks=1)
    return world, world.erase(person, request=person)


def pause(world: World, scope: dict[str, object], *, resume: bool = False) -> None:
    kind = "emission.resumed" if resume else "emission.paused"
    world.order(kind, scope=scope, key=str(scope), reason="a bad day")
    world.settle(ticks=2)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: next(iter(scope)))
def test_nothing_leaves_while_it_is_paused_and_everything_goes_on_after(scope: dict[str, object]) -> None:
    world, case_id = asked()
    pause(world, scope)
    assert world.status(case_id) == "purging"
    assert not world.commanded[case_id]
    world.tick(60)
    world.tick(3600)
    world.settle(ticks=2)
    assert not world.commanded[case_id]
    pause(world, scope, resume=True)
    assert world.status(case_id) == "completed"
    assert len(world.commanded[case_id]) == 4


@pytest.mark.parametrize("scope", [{"system": "ml"}, {"publisher": "limited"}, {"case_id": "ab" * 16}])
def test_what_is_not_meant_goes_on(scope: dict[str, object]) -> None:
    world = World()
    pause(world, scope)
    world, case_id = asked(world)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"


def test_one_case_waits_and_another_does_not() -> None:
    world, case_id = asked()
    pause(world, {"case_id": case_id})
    _, other = asked(world, "bob")
    world.settle(ticks=2)
    assert (world.status(case_id), world.status(other)) == ("purging", "completed")
    pause(world, {"case_id": case_id}, resume=True)
    assert world.status(case_id) == "completed"


def test_what_is_with_a_system_is_withdrawn_and_commanded_anew_under_another_id() -> None:
    world, case_id = asked()
    world.answers["photos"] = lambda _: []
    world.settle(ticks=2)
    first = {event["data"]["command_id"] for event in world.broker.events("commands.photos")}
    pause(world, {"system": "photos"})
    assert world.withdrawn == first
    assert all(each.in_force("pause:system:photos") for each in world.standing())
    del world.answers["photos"]
    pause(world, {"system": "photos"}, resume=True)
    assert world.status(case_id) == "completed"
    commands = [e["data"] for e in world.broker.events("commands.photos") if e["type"].endswith("commanded.v1")]
    assert not {each["command_id"] for each in commands[len(first) :]} & first
    assert {each["attempt"] for each in commands[len(first) :]} == {2}


def test_a_pause_is_in_force_only_when_the_systems_have_let_go() -> None:
    world, _ = asked()
    world.answers["photos"] = lambda _: []
    world.settle(ticks=2)
    world.deaf.add("photos")
    pause(world, {"all": True})
    assert not all(each.in_force("pause:all") for each in world.standing())
    assert sum(each.unsettled.get("pause:all", 0) for each in world.standing()) == 1
    world.deaf.clear()
    world.tick(61)
    world.settle(ticks=2)
    assert all(each.in_force("pause:all") for each in world.standing())


def test_what_a_system_did_before_it_let_go_is_not_asked_for_again() -> None:
    world, case_id = asked()
    world.answers["photos"] = lambda _: []
    world.settle(ticks=2)
    results = [{"asset": f"ann-{number}", "claim": "deleted"} for number in range(3)]

    def let_go(data: dict[str, object]) -> dict[str, object]:
        return {**honest({**data, "action": "delete"})[0], "status": "withdrawn", "all": None, "results": results}

    world.let_go = let_go
    pause(world, {"all": True})
    del world.answers["photos"]
    before = len(world.commanded[case_id])
    pause(world, {"all": True}, resume=True)
    assert world.status(case_id) == "completed"
    assert world.commanded[case_id][before:] == [("photos", "ann-3", "delete")]


def test_receipts_are_taken_and_the_due_date_does_not_move() -> None:
    world, case_id = asked()
    world.answers["photos"] = lambda _: []
    world.settle(ticks=2)
    commands = [event["data"] for event in world.broker.events("commands.photos")]
    world.deaf.add("photos")
    pause(world, {"all": True})
    for command in commands:
        world.publish("receipts.photos", "expunge.purge.receipted.v1", honest(command)[0], source="/photos")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    world, case_id = asked()
    pause(world, {"all": True})
    world.tick(40 * 86_400)
    world.settle(ticks=2)
    assert world.status(case_id) == "partially_completed"
    assert not world.commanded[case_id]


def test_the_later_word_holds_in_whatever_order_they_come() -> None:
    world, case_id = asked()
    pause(world, {"all": True})
    pause(world, {"all": True}, resume=True)
    for partition in range(PARTITIONS):
        world.replay("intake", "controls", partition, 9)  # both are told once more
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert not any(each.pauses["all"].paused for each in world.standing())


def test_a_case_of_many_chunks_and_many_cases_are_all_told() -> None:
    world = World()
    cases = []
    for number in range(430):
        world.register(f"photo-{number}", subjects=[f"p{number}"])
        cases.append(world.erase(f"p{number}", request=f"r{number}"))
    world.answers["photos"] = lambda _: []
    world.settle(ticks=1)
    sent = {e["data"]["command_id"] for e in world.broker.events("commands.photos")}
    assert len(sent) == 430
    pause(world, {"all": True})
    assert world.withdrawn == sent
    assert all(each.in_force("pause:all") for each in world.standing())
    del world.answers["photos"]
    pause(world, {"all": True}, resume=True)
    assert {world.status(case_id) for case_id in cases} == {"completed"}


@pytest.mark.parametrize("crash", range(0, 30, 2))
def test_a_crash_while_a_pause_is_taken_loses_nothing(crash: int) -> None:
    world, case_id = asked()
    world.answers["photos"] = lambda _: []
    world.settle(ticks=2)
    world.order("emission.paused", scope={"all": True}, reason="a bad day")
    world.step("intake")
    world.step("coordinator", 50, crash_after=crash)
    world.settle(ticks=2)
    assert all(each.in_force("pause:all") for each in world.standing())
    del world.answers["photos"]
    pause(world, {"all": True}, resume=True)
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ({"system": "nobody"}, "undeclared_system"),
        ({"publisher": "nobody"}, "undeclared_publisher"),
        ({}, "bad_field"),
        ({"all": True, "system": "photos"}, "bad_field"),
        ({"everything": True}, "unknown_field"),
    ],
)
def test_a_scope_that_means_nothing_is_refused(scope: dict[str, object], reason: str) -> None:
    world = World()
    pause(world, scope)
    assert [each["reason"] for each in world.dead_letters()] == [reason]
    assert not any(each.pauses for each in world.standing())
