"""What policy puts off: backups that a schedule replaces; said so until then, commanded then, caught if restored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import World

DAY = 86_400


def backed_up(**fields: Any) -> tuple[World, str]:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("tape", "backup", "ml", parents=["photo"])
    world.settle()
    case_id = world.erase("ann", **fields)
    world.settle(ticks=2)
    return world, case_id


def actions(world: World, case_id: str) -> list[tuple[str, str]]:
    return [(asset, action) for _, asset, action in world.commanded[case_id]]


def test_a_backup_waits_for_its_schedule_and_the_requester_is_told() -> None:
    world, case_id = backed_up()
    assert actions(world, case_id) == [("photo", "delete")]
    assert world.status(case_id) == "completed_with_deferrals"
    (said,) = world.confirmations("completed_with_deferrals")
    assert said["deferrals"] == [
        {
            "system": "ml",
            "kind": "backup",
            "claim": "deferred",
            "reason": "by_policy",
            "until": "2026-12-06",
            "count": 1,
        }
    ]
    world.tick(34 * DAY)
    world.settle(ticks=2)
    assert len(actions(world, case_id)) == 1
    world.tick(2 * DAY)
    world.settle(ticks=2)
    assert actions(world, case_id) == [("photo", "delete"), ("tape", "rebuild_without")]
    assert world.status(case_id) == "completed"
    assert not world.confirmations("overdue")


def test_for_an_order_backups_do_not_wait() -> None:
    world, case_id = backed_up(regime="order")
    assert ("tape", "rebuild_without") in actions(world, case_id)
    assert world.status(case_id) == "completed"


def test_what_is_restored_from_a_backup_meanwhile_is_commanded_again() -> None:
    world, case_id = backed_up()
    world.tick(DAY)
    world.register("photo", subjects=["ann"], event="restored")
    world.settle(ticks=2)
    assert actions(world, case_id).count(("photo", "delete")) == 2
    assert world.status(case_id) == "completed_with_deferrals"


def test_many_deferred_chunks_do_not_hold_the_next_stage_up() -> None:
    world = World()
    for number in range(620):
        world.register(f"tape-{number}", "backup", "ml", subjects=["ann"])
    world.register("copy", "recipient_copy", "users", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert actions(world, case_id) == [("copy", "notify")]
    assert world.status(case_id) == "completed_with_deferrals"


@pytest.mark.parametrize("crash", range(0, 40, 3))
def test_a_crash_while_a_deferral_ends_loses_nothing(crash: int) -> None:
    world, case_id = backed_up()
    world.tick(36 * DAY)
    world.step("coordinator", crash_after=crash)
    world.settle(ticks=2)
    assert set(actions(world, case_id)) == {("photo", "delete"), ("tape", "rebuild_without")}
    assert world.status(case_id) == "completed"


def test_a_system_that_is_silent_when_its_deferral_has_ended_is_missing_and_not_deferred() -> None:
    world = World()
    world.answers["ml"] = lambda _: []
    world.register("tape", "backup", "ml", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed_with_deferrals"
    world.tick(60 * DAY)
    world.settle(ticks=12)
    assert world.status(case_id) == "partially_completed"
    failures = world.confirmations("partially_completed")[-1]["failures"]
    assert [line["claim"] for line in failures] == ["open"]
    del world.answers["ml"]
    world.tick(DAY)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"


def test_a_deferral_is_counted_from_the_plan_and_not_from_its_stage() -> None:
    """A silent model holds the stages up for most of the month; the tape goes on its day all the same."""
    world = World()
    world.answers["ml"] = lambda _: []
    world.register("photo", subjects=["ann"])
    world.register("model", "model", "ml", parents=["photo"])
    world.register("tape", "backup", "users", parents=["photo"])
    world.settle()
    case_id = world.erase("ann")
    for _ in range(37):
        world.settle(ticks=2)
        world.tick(DAY)
    world.settle(ticks=2)
    assert ("tape", "rebuild_without") in actions(world, case_id)
