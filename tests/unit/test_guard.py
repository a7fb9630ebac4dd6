"""The guard: large plans wait for operators, who approve that very plan; and how due dates are put off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from expunge.adapters.policy_file import load_policy
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.limits import Threshold
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.vocabulary import Kind
from tests.simulation import PARTITIONS, World

SHIPPED = load_policy(None)


def guarded(*rows: Threshold) -> Policy:
    return SHIPPED.model_copy(update={"guard": rows or (Threshold(id="few", more_than=2),)})


def world_of(photos: int, policy: Policy | None = None) -> tuple[World, str]:
    """A person with so many photos, and their erasure."""
    world = World()
    world.policies.change(policy or guarded())
    for number in range(photos):
        world.register(f"photo-{number}", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    return world, case_id


def say(world: World, kind: str, case_id: str, operator: str = "olga", **fields: Any) -> None:
    world.say(kind, case_id, operator, **fields)
    world.settle(ticks=2)


def approve(world: World, case_id: str, operator: str = "olga", plan: str = "") -> None:
    say(world, "plan.approved", case_id, operator, plan_digest=plan or digest(world, case_id))


def digest(world: World, case_id: str, number: int = 1) -> str:
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    return str(case.numbered(number).plan_digest)


def reasons(world: World) -> list[str]:
    return [letter["reason"] for letter in world.dead_letters()]


def test_a_small_plan_goes_at_once() -> None:
    world, case_id = world_of(2)
    assert world.status(case_id) == "completed"
    assert not world.confirmations("awaiting_approval")


def test_a_large_plan_waits_and_no_command_leaves_until_it_is_approved() -> None:
    world, case_id = world_of(3)
    assert world.status(case_id) == "awaiting_approval"
    (said,) = world.confirmations("awaiting_approval")
    assert said["plan_digest"] == digest(world, case_id)
    assert said["counts"] == {"object": {"open": 3}}
    assert not world.commanded[case_id]
    approve(world, case_id)
    assert world.status(case_id) == "completed"
    assert len(world.commanded[case_id]) == 3


def test_an_approval_of_another_plan_changes_nothing_and_is_set_aside() -> None:
    world, case_id = world_of(3)
    approve(world, case_id, plan="ab" * 16)
    assert world.status(case_id) == "awaiting_approval"
    assert reasons(world) == ["no_such_plan"]


def test_an_approval_that_comes_twice_is_one() -> None:
    world, case_id = world_of(3, guarded(Threshold(id="two", more_than=2, approvals=2)))
    approve(world, case_id, "olga")
    approve(world, case_id, "olga")
    assert world.status(case_id) == "awaiting_approval"
    approve(world, case_id, "omar")
    assert world.status(case_id) == "completed"
    approve(world, case_id, "omar")  # the same word once more
    assert not reasons(world)
    world.say("plan.approved", case_id, "olga", plan_digest=digest(world, case_id), reason="another word")
    world.settle(ticks=2)
    assert reasons(world) == ["plan_does_not_wait"]


def test_a_second_approval_of_one_operator_is_said_to_change_nothing() -> None:
    world, case_id = world_of(3, guarded(Threshold(id="two", more_than=2, approvals=2)))
    approve(world, case_id, "olga")
    say(world, "plan.approved", case_id, plan_digest=digest(world, case_id), reason="once more")
    assert world.status(case_id) == "awaiting_approval"
    assert reasons(world) == ["approved_already"]


@pytest.mark.parametrize(("operator", "reason"), [("pia", "not_allowed"), ("mallory", "undeclared_operator")])
def test_who_may_not_approve_is_not_heard(operator: str, reason: str) -> None:
    world, case_id = world_of(3)
    approve(world, case_id, operator)
    assert world.status(case_id) == "awaiting_approval"
    assert reasons(world) == [reason]


def test_unsigned_words_are_taken_only_where_that_is_set() -> None:
    world, case_id = world_of(3)
    object.__setattr__(world.door, "allow_unsigned", False)
    approve(world, case_id)
    assert world.status(case_id) == "awaiting_approval"
    assert reasons(world) == ["unsigned"]


def test_a_rejected_plan_is_never_carried_out_and_the_requester_is_told_why() -> None:
    world, case_id = world_of(3)
    say(world, "plan.rejected", case_id, plan_digest=digest(world, case_id), reason="wrong person")
    world.register("photo-late", subjects=["ann"])
    world.settle(ticks=40)
    assert world.status(case_id) == "refused"
    assert not world.commanded[case_id]
    assert not world.broker.events("suppressions")
    (said,) = world.confirmations("refused")
    assert (said["outcome"], said["reason"]) == ("refused", "wrong person")


def test_nothing_is_suppressed_before_it_is_settled_that_the_request_is_carried_out() -> None:
    world, case_id = world_of(3)
    assert not world.broker.events("suppressions")
    approve(world, case_id)
    assert len(world.broker.events("suppressions")) == 1


def test_what_comes_late_has_a_guard_of_its_own() -> None:
    world, case_id = world_of(3)
    approve(world, case_id)
    for number in range(3):
        world.register(f"more-{number}", subjects=["ann"])
    world.settle(ticks=2)
    assert len(world.commanded[case_id]) == 3
    assert len(world.confirmations("awaiting_approval")) == 2
    approve(world, case_id, plan=digest(world, case_id, 2))
    assert len(world.commanded[case_id]) == 6
    assert world.status(case_id) == "completed"


def test_many_small_plans_do_not_pass_where_one_large_one_would_not() -> None:
    world, case_id = world_of(2)
    world.register("photo-late", subjects=["ann"])
    world.settle(ticks=2)
    assert len(world.commanded[case_id]) == 2
    assert len(world.confirmations("awaiting_approval")) == 1


def test_a_rejected_part_stays_open_and_the_rest_is_done() -> None:
    world, case_id = world_of(2)
    world.register("photo-late", subjects=["ann"])
    world.settle(ticks=2)
    say(world, "plan.rejected", case_id, plan_digest=digest(world, case_id, 2), reason="not hers")
    world.tick(40 * 86_400)
    world.settle(ticks=2)
    assert world.status(case_id) == "partially_completed"
    assert len(world.commanded[case_id]) == 2


def test_a_threshold_counts_only_its_kinds_and_scopes() -> None:
    models = Threshold(id="models", kind=(Kind.MODEL,), more_than=0)
    policy = guarded(models, Threshold(id="sources", scope=(About.DATA_SOURCE,), more_than=0))
    world, case_id = world_of(3, policy)
    assert world.status(case_id) == "completed"
    world.register("model", "model", "ml", parents=["photo-0"])
    world.settle(ticks=2)
    assert len(world.confirmations("awaiting_approval")) == 1


@pytest.mark.parametrize(("others", "waits"), [(0, True), (20, False)])
def test_a_share_of_one_system_is_counted_against_what_it_has_registered(others: int, *, waits: bool) -> None:
    share = Threshold(id="share", share=0.25, more_than=2)
    world = World()
    world.policies.change(guarded(share, Threshold(id="all", more_than=100)))
    for number in range(others):
        world.register(f"other-{number}", subjects=["bob"])
    for number in range(4):
        world.register(f"photo-{number}", subjects=["ann"])
        world.register(f"vector-{number}", "embedding", "ml", parents=[f"photo-{number}"])
    for number in range(20):
        world.register(f"word-{number}", "embedding", "ml")
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert bool(world.confirmations("awaiting_approval")) is waits
    assert (world.status(case_id) == "awaiting_approval") is waits


@pytest.mark.parametrize("crash", range(12))
def test_a_crash_while_an_approval_is_taken_loses_and_doubles_nothing(crash: int) -> None:
    world, case_id = world_of(3)
    world.say("plan.approved", case_id, plan_digest=digest(world, case_id))
    world.step("intake")
    world.step("coordinator", crash_after=crash)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert len(set(world.commanded[case_id])) == 3  # a command may be sent twice; agents do it once


def test_a_case_keeps_the_policy_that_it_was_taken_under() -> None:
    """Rule "pinned policy".

    A policy that lets more pass does not let go what waits, nor what comes late to the same case.
    """
    world, case_id = world_of(3)
    world.policies.change(guarded(Threshold(id="many", more_than=100)))
    world.settle(ticks=2)
    assert world.status(case_id) == "awaiting_approval"
    approve(world, case_id)
    for number in range(3):
        world.register(f"more-{number}", subjects=["ann"])
    world.settle(ticks=2)
    assert len(world.confirmations("awaiting_approval")) == 2
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    assert case.policy != world.policies.current.digest
    other = world.erase("ann", request="r2")
    world.settle(ticks=2)
    assert world.status(other) == "completed"


def test_a_rejected_request_takes_its_other_plans_with_it() -> None:
    world, case_id = world_of(3)
    world.register("late", subjects=["ann"])
    world.settle(ticks=2)
    plans = [digest(world, case_id, number) for number in (1, 2)]
    say(world, "plan.rejected", case_id, plan_digest=plans[0], reason="wrong person")
    approve(world, case_id, plan=plans[1])
    assert reasons(world) == ["case_has_ended"]
    world.tick(100 * 86_400)
    world.settle(ticks=2)
    assert (world.status(case_id), world.commanded[case_id]) == ("refused", [])


def test_a_later_plan_does_not_overtake_one_that_waits() -> None:
    world, case_id = world_of(3)
    world.register("late", subjects=["ann"])
    world.settle(ticks=2)
    approve(world, case_id, plan=digest(world, case_id, 2))
    assert not world.commanded[case_id]
    assert not world.broker.events("suppressions")
    approve(world, case_id, plan=digest(world, case_id, 1))
    assert len(world.commanded[case_id]) == 4
    assert len(world.broker.events("suppressions")) == 1


def test_a_clock_that_was_never_set_is_told_so() -> None:
    world, _ = world_of(0)
    world.erase("bob", request="zero", received_at="0001-01-01T00:00:00Z", regime="ccpa")
    world.settle()
    assert [each["reason"] for each in world.rejections()] == ["bad_field"]


def test_a_coordinator_that_dies_and_comes_back_with_another_policy_says_the_same() -> None:
    """Fewer stages, other rules: what the case was taken under decides, so nothing is said twice."""
    for crash in range(0, 40, 3):
        world = World()
        world.register("photo", subjects=["ann"])
        world.settle()
        case_id = world.erase("ann")
        world.step("intake")
        world.step("coordinator", crash_after=crash)
        stage = SHIPPED.stages[0].model_copy(update={"kinds": tuple(Kind), "holdings": True, "share": 100})
        world.policies.change(SHIPPED.model_copy(update={"stages": (stage,)}))
        world.settle()
        assert world.status(case_id) == "completed"
        assert not any(name == "ledger_alarms" for name, _ in world.metrics.counts)


# -- Dates


def test_a_due_date_is_put_off_once_and_the_requester_is_told_why() -> None:
    world, case_id = world_of(3)
    before = world.confirmations("acknowledged")[0]["due_at"]
    say(world, "deadline.extended", case_id, reason="four million photos")
    (said,) = world.confirmations("extended")
    assert (said["reason"], said["extended"]) == ("four million photos", True)
    assert said["due_at"] > before
    say(world, "deadline.extended", case_id, reason="again")
    assert reasons(world) == ["extended_already"]
    world.tick(40 * 86_400)
    world.settle(ticks=2)
    assert not world.confirmations("overdue")
    world.tick(60 * 86_400)
    world.settle(ticks=2)
    assert len(world.confirmations("overdue")) == 1


def test_an_extension_after_the_first_term_is_too_late() -> None:
    world, case_id = world_of(3)
    world.tick(timedelta(days=32).total_seconds())
    world.settle(ticks=2)
    say(world, "deadline.extended", case_id, reason="late")
    assert reasons(world) == ["too_late_to_extend"]
    assert not world.confirmations("extended")


def test_a_word_about_no_case_is_set_aside() -> None:
    world, _ = world_of(0)
    say(world, "deadline.extended", "ab" * 16, reason="nobody")
    assert reasons(world) == ["control_without_case"]
