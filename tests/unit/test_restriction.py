"""Restrictions: stored and not used, until they are lifted; and purposes for which consent is given again."""

from __future__ import annotations

from typing import Any

from expunge.domain.vocabulary import RESTRICTING, Claim
from tests.simulation import World, receipt


def furnished() -> World:
    world = World()
    world.register("portrait", subjects=["ann"], purposes=["training", "marketing"])
    world.register("set", "dataset", "ml", parents=["portrait"])
    world.register("tape", "backup", "ml", parents=["portrait"])
    world.register("copy", "recipient_copy", parents=["portrait"])
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle(ticks=1)
    return world


def actions(world: World, case_id: str) -> list[tuple[str, str]]:
    return [(asset, action) for _, asset, action in world.commanded[case_id]]


def commands(world: World, system: str, action: str) -> list[dict[str, Any]]:
    return [e["data"] for e in world.broker.events(f"commands.{system}") if e["data"].get("action") == action]


RESTRICTED = {("portrait", "restrict"), ("set", "restrict"), ("users.db", "restrict"), ("copy", "notify")}


def test_everything_is_restricted_and_what_may_be_kept_is_said_with_its_basis() -> None:
    world = furnished()
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    assert set(actions(world, case_id)) == RESTRICTED
    assert world.status(case_id) == "completed"
    (said,) = world.confirmations("restricted")
    exempt = [
        {"system": "ml", "kind": "backup", "reason": "restriction-backup", "legal_basis": "GDPR 18(2)", "count": 1}
    ]
    assert said["exemptions"] == exempt
    assert not world.broker.events("suppressions")  # collecting is not forbidden by it
    assert all("purposes" not in each for each in commands(world, "photos", "restrict"))


def test_what_is_found_while_it_stands_is_restricted_too_and_after_that_it_is_not() -> None:
    world = furnished()
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    world.register("late", subjects=["ann"], collected_at="2026-11-01T11:59:00Z")
    world.settle(ticks=2)
    assert ("late", "restrict") in actions(world, case_id)
    world.lift("ann")
    world.settle(ticks=2)
    world.register("later", subjects=["ann"], collected_at="2026-11-01T11:59:00Z")
    world.settle(ticks=2)
    lifted = {(asset, "lift") for asset in ("portrait", "set", "users.db", "late")}
    assert set(actions(world, case_id)) == RESTRICTED | {("late", "restrict")} | lifted
    assert world.status(case_id) == "completed"
    counts = world.confirmations("completed")[-1]["counts"]
    assert counts["object"] == {"lifted": 2}
    assert len(world.confirmations("restricted")) == 2  # once more for what came late; not when it ended


def test_a_restriction_that_ends_while_its_commands_are_out_is_never_left_standing() -> None:
    """A system that restricts after it was told to let go would restrict for ever: it is told when it has answered."""
    world = furnished()
    world.answers |= dict.fromkeys(("photos", "ml", "users"), lambda _: [])
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    for system in ("photos", "ml", "users"):
        world.deaf.add(system)
    world.lift("ann")
    world.settle(ticks=2)
    assert not commands(world, "ml", "lift")
    world.deaf.clear()
    world.answers.clear()
    world.let_go = lambda data: receipt(data, status="withdrawn", all={"claim": "restricted"})
    world.tick(61)
    world.settle(ticks=2)
    assert {asset for asset, action in actions(world, case_id) if action == "lift"} == {"set"}
    assert world.status(case_id) == "completed"
    counts = world.confirmations("completed")[-1]["counts"]
    assert counts["dataset"] == {"lifted": 1}
    assert counts["object"] == {"exempt": 1}  # its stage had not come


def test_one_of_two_purposes_is_granted_again() -> None:
    world = furnished()
    world.register("card", subjects=["ann"], purposes=["training", "marketing"])
    world.register("third", subjects=["ann"])
    case_id = world.revoke("ann", "training")
    other = world.revoke("ann", "training", "marketing", request="both")
    world.settle(ticks=2)
    world.grant("ann", "training")
    world.settle(ticks=2)
    lifts = commands(world, "photos", "lift")
    assert {each["case_id"] for each in lifts} == {case_id, other}
    assert all(each["purposes"] == ["training"] for each in lifts)
    ended = world.confirmations("completed_with_deferrals") + world.confirmations("completed")  # the tape waits
    last = {said["case_id"]: said["counts"]["object"] for said in ended}
    assert last[case_id] == {"lifted": 3}
    assert last[other] == {"deleted": 2, "restricted": 1}  # it is restricted for marketing still


def test_a_lift_that_comes_twice_is_one_and_one_of_nothing_changes_nothing() -> None:
    world = furnished()
    world.lift("ann", received_at="2026-11-01T10:00:00Z")
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert not commands(world, "photos", "lift")
    for number in range(2):
        world.lift("ann", request=f"lift-{number}")
        world.settle(ticks=2)
    assert len(commands(world, "photos", "lift")) == 1
    world.lift("nobody", request="nothing")
    world.settle(ticks=2)
    assert not world.dead_letters()


def test_a_lift_waits_while_its_system_is_paused_and_a_hold_stops_neither_it_nor_the_restriction() -> None:
    world = furnished()
    world.order("hold.placed", key="h", hold_id="h", scope={"asset": "portrait"}, basis="b", custodian="c")
    world.settle(ticks=1)
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    world.order("emission.paused", key="p", scope={"system": "photos"}, reason="x")
    world.settle(ticks=2)
    world.lift("ann")
    world.settle(ticks=2)
    assert ("portrait", "lift") not in actions(world, case_id)
    world.order("emission.resumed", key="p", scope={"system": "photos"})
    world.settle(ticks=2)
    assert ("portrait", "lift") in actions(world, case_id)
    assert world.confirmations("reopened")[-1]["counts"]["recipient_copy"] == {"deferred": 1}  # what it tells others


def test_what_was_redacted_instead_is_a_restriction_too_and_is_let_go_again() -> None:
    """Which claims restrict was said in two places beside their rows, and one of them was never tried."""
    world = World()
    world.register("portrait", subjects=["ann"], purposes=["training"])
    world.answers["photos"] = lambda command: [
        receipt(command, all={"claim": "redacted" if command["action"] == "restrict" else "lifted"})
    ]
    case_id = world.restrict("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert len(world.confirmations("restricted", case_id=case_id)) == 1
    world.lift("ann")
    world.settle(ticks=2)
    assert [command["targets"][0]["asset"] for command in commands(world, "photos", "lift")] == ["portrait"]


def test_claims_that_restrict_follow_from_what_they_answer() -> None:
    assert {Claim.RESTRICTED, Claim.REDACTED} == RESTRICTING
