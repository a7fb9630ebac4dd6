"""The guard across cases: many small requests that together are above a limit wait as one group."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.adapters.policy_file import load_policy
from expunge.domain.aggregates.case.approval import RateCleared
from expunge.domain.aggregates.rate import Rate
from expunge.domain.events import Event
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.limits import Of, Per, RateRule, Threshold
from expunge.domain.planning.policy.rules import Policy
from expunge.wire.cases.case import RateAnswered
from expunge.wire.cases.rate import RateAsked
from expunge.wire.cases.said import RATES, among_rates, home_of, rate_id
from tests.simulation import PARTITIONS, World

SHIPPED = load_policy(None)


def limited(more_than: int = 3, approvals: int = 1, of: Of = Of.PUBLISHER, per: Per = Per.HOUR) -> Policy:
    row = RateRule(id="few", of=of, per=per, more_than=more_than, approvals=approvals)
    return SHIPPED.model_copy(update={"rates": (row,)})


def erased(world: World, *numbers: int) -> list[str]:
    """People with a photo each, and their erasures."""
    for number in numbers:
        world.register(f"photo-{number}", subjects=[f"p{number}"])
    world.settle(ticks=0)
    cases = []
    for number in numbers:
        cases.append(world.erase(f"p{number}", request=f"r{number}"))
        world.settle(ticks=0)
    world.settle(ticks=1)
    return cases


def rate(world: World, of: str = "publisher:app") -> Rate:
    key = rate_id(of)
    found: Rate = world.store.reader(partition_of(home_of(key), PARTITIONS)).rate(key)
    return found


def say(world: World, kind: str, group: Rate, operator: str = "olga", plan: str = "") -> None:
    fields = {"plan_digest": plan or group.digest} | ({"reason": "a faulty job"} if kind == "plan.rejected" else {})
    world.say(kind, group.rate, operator, **fields)
    world.settle(ticks=1)


def statuses(world: World, cases: list[str]) -> list[str]:
    return [world.status(case_id) for case_id in cases]


def test_what_is_above_the_limit_waits_and_what_was_below_it_went() -> None:
    world = World()
    world.policies.change(limited())
    cases = erased(world, *range(6))
    assert statuses(world, cases) == ["completed"] * 3 + ["awaiting_approval"] * 3
    assert not any(world.commanded[case_id] for case_id in cases[3:])
    assert len(world.confirmations("awaiting_approval")) == 3
    say(world, "plan.approved", rate(world))
    assert statuses(world, cases) == ["completed"] * 6


def test_an_approval_is_for_those_that_were_there_and_later_ones_wait_for_the_next() -> None:
    world = World()
    world.policies.change(limited())
    first = erased(world, *range(5))
    shown = rate(world)
    later = erased(world, 5, 6)
    say(world, "plan.approved", shown)
    assert statuses(world, first) == ["completed"] * 5
    assert statuses(world, later) == ["awaiting_approval"] * 2
    say(world, "plan.approved", rate(world))
    assert statuses(world, later) == ["completed"] * 2


def test_a_second_approval_of_one_operator_is_said_to_change_nothing() -> None:
    world = World()
    world.policies.change(limited(approvals=2))
    cases = erased(world, *range(5))
    say(world, "plan.approved", rate(world))
    world.say("plan.approved", rate(world).rate, "olga", plan_digest=rate(world).digest, reason="once more")
    world.settle(ticks=1)
    assert statuses(world, cases)[3:] == ["awaiting_approval"] * 2
    assert [letter["reason"] for letter in world.dead_letters()] == ["approved_already"]


def test_a_rejected_group_is_refused_as_a_whole() -> None:
    world = World()
    world.policies.change(limited())
    cases = erased(world, *range(5))
    say(world, "plan.rejected", rate(world))
    assert statuses(world, cases) == ["completed"] * 3 + ["refused"] * 2
    assert not any(world.commanded[case_id] for case_id in cases[3:])


def test_two_operators_where_policy_says_so() -> None:
    world = World()
    world.policies.change(limited(approvals=2))
    first = erased(world, *range(4))
    small = rate(world)
    say(world, "plan.approved", small, "olga")
    say(world, "plan.approved", small, "olga")
    assert statuses(world, first)[3] == "awaiting_approval"
    erased(world, 9)
    say(world, "plan.approved", rate(world), "omar")  # of more: so of those, too
    assert statuses(world, first)[3] == "completed"
    assert rate(world).waiting == 1


def test_whoever_leaves_keeps_nobody_waiting() -> None:
    world = World()
    world.policies.change(limited())
    cases = erased(world, *range(5))
    for case_id in cases[3:]:
        world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=1)
    assert rate(world).waiting == 0
    world.tick_clocks(7200)
    assert statuses(world, erased(world, 7)) == ["completed"]


def test_who_asks_when_traffic_is_low_again_does_not_wait_for_those_who_asked_in_the_flood() -> None:
    world = World()
    world.policies.change(limited())
    cases = erased(world, *range(5))
    later = []
    for number in range(6, 10):
        world.tick_clocks(7200)
        later += erased(world, number)
    assert statuses(world, later) == ["completed"] * 4
    say(world, "plan.rejected", rate(world))
    assert statuses(world, cases)[3:] == ["refused"] * 2
    assert world.confirmations("refused")[-1]["reason"] == "a faulty job"


def test_a_plan_that_waits_in_two_groups_says_so_once_and_leaves_both() -> None:
    world = World()
    rows = tuple(RateRule(id=f"few-{of}", of=of, per=Per.HOUR, more_than=1) for of in Of)
    world.policies.change(SHIPPED.model_copy(update={"rates": rows}))
    cases = erased(world, 0, 1)
    assert len(world.confirmations("awaiting_approval")) == 1
    say(world, "plan.rejected", rate(world))
    assert statuses(world, cases) == ["completed", "refused"]
    assert rate(world, "system:photos").waiting == 0


def test_time_passes_and_the_limit_is_free_again() -> None:
    world = World()
    world.policies.change(limited())
    erased(world, 0, 1, 2)
    world.tick_clocks(7200)
    assert statuses(world, erased(world, 3, 4)) == ["completed"] * 2
    world = World()
    world.policies.change(limited(per=Per.DAY))
    erased(world, 0, 1, 2)
    world.tick_clocks(7200)
    assert statuses(world, erased(world, 3)) == ["awaiting_approval"]


def test_a_system_is_counted_over_all_publishers() -> None:
    world = World()
    world.policies.change(limited(of=Of.SYSTEM))
    cases = erased(world, *range(5))
    assert statuses(world, cases)[3:] == ["awaiting_approval"] * 2
    assert rate(world, "system:photos").waiting == 2


def test_a_word_about_no_group_is_set_aside() -> None:
    world = World()
    world.policies.change(limited())
    erased(world, *range(4))
    group = rate(world)
    say(world, "plan.approved", group, plan="f" * 32)
    say(world, "plan.approved", group)
    world.say("plan.approved", group.rate, "omar", plan_digest=group.digest)
    world.settle(ticks=1)
    assert [each["reason"] for each in world.dead_letters()] == ["no_such_plan", "plan_does_not_wait"]


def test_a_plan_that_operators_have_approved_is_not_counted_again() -> None:
    world = World()
    world.policies.change(limited(0).model_copy(update={"guard": (Threshold(id="any", more_than=0),)}))
    (case_id,) = erased(world, 0)
    while world.approve_all():
        world.settle(ticks=1)
    assert world.status(case_id) == "completed"
    assert world.store.reader(partition_of(RATES, PARTITIONS)).rate(rate_id("publisher:app")) is None


def test_late_assets_are_counted_too_and_a_dry_run_is_not() -> None:
    world = World()
    world.policies.change(limited(1))
    (case_id,) = erased(world, 0)
    world.register("late", subjects=["p0"])
    world.settle(ticks=2)
    assert len(world.commanded[case_id]) == 1
    assert rate(world).waiting == 1
    world.erase("p0", request="dry", dry_run=True)
    world.settle(ticks=2)
    assert rate(world).waiting == 1


@pytest.mark.parametrize("crash", range(0, 30, 2))
def test_a_crash_counts_nothing_twice(crash: int) -> None:
    world = World()
    world.policies.change(limited(2))
    for number in (0, 1):
        world.register(f"photo-{number}", subjects=[f"p{number}"])
    world.settle(ticks=0)
    cases = [world.erase(f"p{number}", request=f"r{number}") for number in (0, 1)]
    for _ in range(4):
        for role in ("intake", "resolver", "coordinator"):
            world.step(role, 50, crash_after=crash)
    world.settle(ticks=1)
    assert statuses(world, cases) == ["completed"] * 2
    assert sum(rate(world).buckets.values()) == 2


@pytest.mark.parametrize("status", ["accepted", "done", "failed", "withdrawn"])
def test_a_receipt_that_names_a_group_as_its_case_is_set_aside_and_costs_nobody_anything(status: str) -> None:
    """Anybody can compute the key of a rate. It went there, ended processes, and the group was frozen for ever."""
    world = World()
    world.policies.change(limited())
    cases = erased(world, *range(5))
    group = rate(world)
    said = {"command_id": "0" * 32, "case_id": group.rate, "system": "photos", "attempt": 1, "sequence": 1}
    said |= {"status": status, "performed_at": "2026-11-01T12:00:00Z"}
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    assert not world.deaths
    assert [each["data"]["reason"] for each in world.broker.events("dead-letters")] == ["receipt_without_case"]
    world.say("plan.approved", group.rate, plan_digest=rate(world).digest)
    world.settle(ticks=1)
    assert set(statuses(world, cases)) == {"completed"}


def test_a_plan_asks_once_for_all_that_is_counted_of_it() -> None:
    """It asked for each publisher and system by itself, and a request over five systems took twelve messages more."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("row", "record", "users", subjects=["ann"])
    world.settle(ticks=0)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    kinds = [each["type"].split(".")[2] for each in world.broker.events("cases")]
    assert (kinds.count("rate_asked"), kinds.count("rate_answered")) == (1, 1)
    (cleared,) = [each["data"]["body"] for each in world.broker.events("ledger") if "rate_cleared" in each["type"]]
    known = {"publisher:app", "system:photos", "system:users"}
    assert set(cleared["rates"]) == {rate_id(of) for of in known}
    assert {home_of(key) for key in cleared["rates"]} == {RATES}
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize("together", [True, False])
def test_an_ask_that_ends_processes_keeps_nobody_else_waiting(*, together: bool) -> None:
    """All rates are told on one partition: frozen as a whole they would stop every plan. What is thawed was overtaken
    by what others said, and was taken for a repetition of it."""
    world = World()
    bad = world.keys.case("/app", "request-ann")
    requests = (f"request-bob-{number}" for number in range(100))
    places = ((each, partition_of(world.keys.case("/app", each), PARTITIONS)) for each in requests)
    request = next(each for each, place in places if (place == partition_of(bad, PARTITIONS)) is together)
    for person in ("ann", "bob"):
        world.register(f"photo-{person}", subjects=[person])
    world.settle(ticks=0)
    value = bad.encode()
    world.poison = lambda role, record: (
        role == "coordinator" and all(each in (record.value or b"") for each in (b"internal.rate_asked", value))
    )
    assert world.erase("ann", request="request-ann") == bad
    world.settle(ticks=1)
    good = world.erase("bob", request=request)
    world.settle(ticks=2)
    assert world.status(good) == "completed"
    assert world.status(bad) == "planned"
    world.poison = lambda *_: False
    frozen = world.store.reader(partition_of(RATES, PARTITIONS)).standing.frozen
    assert set(frozen) == {among_rates(bad)}
    world.thaw(among_rates(bad), reason="mended")
    world.settle(ticks=2)
    assert world.status(bad) == "completed"


def test_what_the_first_version_said_of_a_single_rate_is_still_understood() -> None:
    key, limit = "0" * 32, {"rule": "few", "per": "hour", "more_than": 3, "approvals": 1}
    said = {"partition": 1, "cause": (0, 7, key), "case_id": key, "generation": 1}
    asked = RateAsked.model_validate(said | {"rate": key, "of": "publisher:app", "obligations": 2, "limits": [limit]})
    assert [(ask.rate, ask.of, ask.obligations) for ask in asked.asks] == [(key, "publisher:app", 2)]
    told = {"case_id": key, "generation": 1, "rate": key, "group": 2, "place": 5, "rules": ["few"]}
    (answer,) = RateAnswered.model_validate(told).answers
    assert (answer.rate, answer.group, answer.place, answer.rules) == (key, 2, 5, ("few",))
    assert RateCleared.model_validate({"generation": 1, "rate": key, "operator": "olga"}).rates == (key,)
    assert home_of(key) == key


@pytest.mark.parametrize("kind", ["rate_asked", "rate_answered"])
def test_what_is_no_ask_and_no_answer_is_set_aside_and_stops_nothing(kind: str) -> None:
    """A validator raised what is no validation error, and the coordinator died at it for ever."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=0)
    case_id = world.keys.case("/app", "r")
    wrong: list[Any] = [{"case_id": case_id}, {"case_id": case_id, "rate": 7}, [], "x"]
    for data in wrong:
        kind_of = f"expunge.internal.{kind}.v1"
        event = Event(kind_of, "/expunge/coordinator", "id", world.broker.now, data)
        world.broker.append("cases", case_id, event.encode())
    assert world.erase("ann", request="r") == case_id
    world.settle(ticks=2)
    assert world.deaths == 0
    assert world.status(case_id) == "completed"
    assert {letter["reason"] for letter in world.dead_letters()} == {"bad_case_event"}


def test_an_ask_of_a_newer_version_waits_where_a_thaw_finds_it() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=0)
    case_id = world.keys.case("/app", "r")
    said = {"partition": 0, "cause": [0, 1, case_id], "case_id": case_id, "generation": 1}
    limit = {"rule": "few", "per": "fortnight", "more_than": 1, "approvals": 1}
    said |= {"asks": [{"rate": rate_id("publisher:app"), "of": "publisher:app", "obligations": 1, "limits": [limit]}]}
    event = Event("expunge.internal.rate_asked.v1", "/expunge/coordinator", "id", world.broker.now, said)
    world.broker.append("cases", RATES, event.encode())
    world.settle(ticks=1)
    frozen = world.store.reader(partition_of(RATES, PARTITIONS)).standing.frozen
    assert set(frozen) == {among_rates(case_id)}


def test_an_ask_of_the_first_version_is_known_by_its_rate() -> None:
    key, limit = "0" * 32, {"rule": "few", "per": "hour", "more_than": 3, "approvals": 1}
    said = {"partition": 1, "cause": (0, 7, key), "case_id": "1" * 32, "generation": 1}
    old = RateAsked.model_validate(said | {"rate": key, "of": "publisher:app", "obligations": 2, "limits": [limit]})
    assert (old.key, old.address) == (key, key)
