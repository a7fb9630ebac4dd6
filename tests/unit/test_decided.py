"""What an operator decides about what is open in a system."""

from __future__ import annotations

from tests.simulation import World, receipt


def many(world: World, system: str) -> str:
    for number in range(40):
        world.register(f"photo-{number}", system=system, subjects=["ann"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    return case_id


def decide(world: World, case_id: str, system: str, option: str, operator: str = "olga") -> None:
    world.say("obligation.decided", case_id, operator, system=system, option=option, rationale="looked at")
    world.settle(ticks=2)


def test_misses_above_the_share_wait_until_somebody_accepts_them() -> None:
    world = World()
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "not_found"})]
    case_id = many(world, "photos")
    assert world.status(case_id) == "purging"
    decide(world, case_id, "photos", "accept_not_found")
    assert world.status(case_id) == "completed"
    (said,) = world.confirmations("completed")
    assert (said["outcome"], said["counts"]) == ("not_found", {"object": {"not_found": 40}})


def test_what_nobody_can_be_told_to_do_is_kept_and_said_to_be_kept() -> None:
    world = World()
    case_id = many(world, "legacy")
    world.register("unowned", system="nobody", subjects=["ann"])
    world.settle(ticks=2)
    decide(world, case_id, "legacy", "exempt")
    assert world.status(case_id) != "completed"  # another system is not meant
    decide(world, case_id, "nobody", "exempt")
    assert world.status(case_id) == "completed"
    (said,) = world.confirmations("completed")
    assert said["outcome"] == "refused"
    assert {(line["system"], line["reason"], line["count"]) for line in said["exemptions"]} == {
        ("legacy", "decided", 40),
        ("nobody", "decided", 1),
    }
    world.register("another", system="legacy", subjects=["ann"])
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert world.confirmations("completed")[-1]["counts"] == {"object": {"exempt": 42}}


def test_what_a_system_can_do_is_not_exempted_by_it() -> None:
    world = World()
    world.answers["photos"] = lambda _: []
    case_id = many(world, "photos")
    decide(world, case_id, "photos", "exempt")
    assert world.status(case_id) == "purging"
    world.check_ledger(case_id)


def test_a_decision_about_nothing_is_set_aside() -> None:
    world = World()
    case_id = many(world, "photos")
    decide(world, case_id, "ml", "exempt")
    decide(world, case_id, "photos", "accept_not_found", "omar")
    assert {each["reason"] for each in world.dead_letters()} == {"nothing_of_that_system", "not_allowed"}
