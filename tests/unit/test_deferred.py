"""What policy puts off: backups that a schedule replaces; said so until then, commanded then, caught if restored."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from expunge.domain.planning.policy.rules import DispositionRule, Grace
from tests.simulation import World, receipt

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
            "reason": "until_restore",
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
    assert ("tape", "rebuild_without") in actions(world, case_id)  # who knows which backup it came from
    assert world.status(case_id) == "completed"


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


# -- Until something happens, as long as a law wants it kept, and the time to take a request back


def with_rules(*rules: dict[str, Any], **changes: Any) -> World:
    """A deployment whose policy has some more rules, which decide first."""
    world = World()
    policy = world.policies.current
    first = tuple(DispositionRule.model_validate(rule) for rule in rules)
    world.policies.change(policy.model_copy(update={"dispositions": (*first, *policy.dispositions)} | changes))
    return world


UNTIL_RESTORE = {"id": "tapes", "when": {"kind": "backup"}, "then": "destroy_key", "defer_until": "restore"}


def waiting_for_restore() -> tuple[World, str]:
    world = with_rules(UNTIL_RESTORE)
    world.register("photo", subjects=["ann"])
    world.register("tape", "backup", "ml", parents=["photo"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    (said,) = world.confirmations("completed_with_deferrals")
    assert said["deferrals"] == [
        {"system": "ml", "kind": "backup", "claim": "deferred", "reason": "until_restore", "count": 1}
    ]
    world.tick(400 * DAY)
    world.settle(ticks=2)
    assert actions(world, case_id) == [("photo", "delete")]  # no day ends it
    return world, case_id


def test_what_waits_for_a_restore_goes_when_something_is_there_again() -> None:
    world, case_id = waiting_for_restore()
    world.register("photo", subjects=["ann"], event="restored")
    world.settle(ticks=2)
    assert sorted(actions(world, case_id)) == [("photo", "delete"), ("photo", "delete"), ("tape", "destroy_key")]
    assert world.status(case_id) == "completed"
    assert world.confirmations("completed")[-1]["counts"]["backup"] == {"key_destroyed": 1}
    world.check_ledger(case_id)


@pytest.mark.parametrize(("option", "goes"), [("restored", True), ("schedule_ended", False)])
def test_what_waits_for_a_restore_goes_when_an_operator_says_that_there_was_one(option: str, *, goes: bool) -> None:
    world, case_id = waiting_for_restore()
    world.say("obligation.decided", case_id, system="photos", option=option, rationale="x")
    world.settle(ticks=2)
    assert ("tape", "destroy_key") not in actions(world, case_id)  # it was said of another system
    world.say("obligation.decided", case_id, system="ml", option=option, rationale="x")
    world.settle(ticks=2)
    assert (("tape", "destroy_key") in actions(world, case_id)) is goes
    assert world.status(case_id) == ("completed" if goes else "completed_with_deferrals")


def test_what_a_law_wants_kept_is_purged_when_it_need_not_be_kept_any_more() -> None:
    world = with_rules()
    old, new = {"collected_at": "2025-06-01T00:00:00Z"}, {"collected_at": "2026-06-01T00:00:00Z"}
    world.register("old.log", "log", subjects=["ann"], **old)
    world.register("new.log", "log", subjects=["ann"], **new)
    world.register("photo", subjects=["ann"], **new)
    world.settle(ticks=1)
    case_id = world.erase("ann", regime="dpdp")
    world.settle(ticks=2)
    assert sorted(asset for asset, _ in actions(world, case_id)) == ["old.log", "photo"]
    (said,) = world.confirmations("completed_with_deferrals")
    (line,) = said["deferrals"]
    assert (line["reason"], line["until"], line["legal_basis"]) == ("dpdp-logs", "2027-06-02", "DPDP Rules 2025, 8(3)")
    world.tick(213 * DAY)
    world.settle(ticks=2)
    assert ("new.log", "rebuild_without") in actions(world, case_id)
    assert world.status(case_id) == "completed"


def test_a_backup_is_beyond_use_when_its_system_says_so_and_asked_again() -> None:
    world = World()
    world.register("tape", "backup", "ml", subjects=["ann"])
    world.settle()
    until = {"claim": "beyond_use", "until": "2027-02-01T00:00:00Z", "safeguard": "sealed"}
    world.answers["ml"] = lambda command: [receipt(command, all=until)]
    case_id = world.erase("ann", regime="order")
    world.settle(ticks=2)
    assert world.confirmations("completed_with_deferrals")[-1]["counts"]["backup"] == {"beyond_use": 1}
    del world.answers["ml"]
    world.tick(93 * DAY)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"


def graceful() -> tuple[World, str]:
    world = with_rules(grace=(Grace(id="accounts", scope=("subject",), hours=48),))
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "planned"
    assert not actions(world, case_id)
    return world, case_id


def test_in_its_grace_a_request_can_be_taken_back_before_anything_is_done() -> None:
    world, case_id = graceful()
    world.say("request.cancelled", case_id, reason="changed her mind")
    world.settle()
    assert world.status(case_id) == "cancelled"
    world.tick(3 * DAY)
    world.settle()
    assert not actions(world, case_id)


def test_after_its_grace_a_request_is_carried_out_and_its_due_date_has_not_moved() -> None:
    world, case_id = graceful()
    world.register("late", subjects=["ann"])
    world.tick(DAY)
    world.settle()
    assert not actions(world, case_id)
    world.tick(DAY)
    world.settle()
    assert world.status(case_id) == "completed"
    assert sorted(actions(world, case_id)) == [("late", "delete"), ("photo", "delete")]
    assert {each["due_at"] for each in world.confirmations("planned")} == {
        world.confirmations("acknowledged")[0]["due_at"]
    }
    world.check_ledger(case_id)


def test_serving_is_disabled_before_a_deployment_is_made_anew() -> None:
    rule = {"id": "served", "when": {"kind": "deployment"}, "first": "disable", "then": "rebuild_without"}
    world = with_rules(rule)
    world.register("photo", subjects=["ann"])
    world.register("model", "model", "ml", parents=["photo"])
    world.register("live", "deployment", "ml", parents=["model"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert actions(world, case_id) == [
        ("live", "disable"),
        ("photo", "delete"),
        ("model", "retrain_without"),
        ("live", "rebuild_without"),
    ]
    assert world.confirmations("completed")[-1]["counts"]["deployment"] == {"disabled": 1, "rebuilt_without": 1}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"first": "delete"}, "is no step before another"),
        ({"keep": {"months": 3}}, "need legal_basis"),
        ({"keep": {"business_days": 3}, "legal_basis": "x"}, "months or days"),
        ({"defer_until": "tomorrow"}, "defer_until"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        DispositionRule.model_validate({"id": "x", "then": "delete"} | rule)


def test_what_waits_for_a_law_and_then_for_a_restore_says_first_one_and_then_the_other() -> None:
    rule = UNTIL_RESTORE | {"keep": {"months": 1}, "legal_basis": "a law"}
    world = with_rules(rule)
    world.register("tape", "backup", "ml", subjects=["ann"], collected_at="2026-10-20T00:00:00Z")
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    (said,) = world.confirmations("completed_with_deferrals")
    assert [(line["reason"], line["legal_basis"]) for line in said["deferrals"]] == [("tapes", "a law")]
    world.tick(40 * DAY)
    world.settle(ticks=2)
    assert not actions(world, case_id)
    world.say("obligation.decided", case_id, system="ml", option="restored", rationale="x")
    world.settle(ticks=2)
    assert actions(world, case_id) == [("tape", "destroy_key")]
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_grace_ends_in_time_for_the_due_date() -> None:
    world = with_rules(grace=(Grace(id="accounts", hours=720),))
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann", received_at="2026-10-05T00:00:00Z")
    world.settle(ticks=2)
    assert world.status(case_id) == "planned"
    world.tick(3 * DAY)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert not world.confirmations("overdue")


def test_what_a_law_wants_kept_is_counted_from_when_its_last_part_was_made() -> None:
    world = with_rules()
    dates = {"collected_at": "2025-06-01T00:00:00Z", "derived_at": "2026-10-25T00:00:00Z"}
    world.register("long.log", "log", subjects=["ann"], **dates)
    world.settle(ticks=1)
    case_id = world.erase("ann", regime="dpdp")
    world.settle(ticks=2)
    assert not actions(world, case_id)
    (said,) = world.confirmations("completed_with_deferrals")
    assert said["deferrals"][0]["until"] == "2027-10-26"
