"""Timers that fired are over, many of them delay nobody, and no clock is believed that runs ahead."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from expunge.domain.events import stamp
from expunge.domain.partition import partition_of
from expunge.ports import TimerKey
from expunge.wire.cases.said import Order
from tests.simulation import PARTITIONS, World, receipt


def in_partition(world: World, person: str, partition: int, **fields: Any) -> str:
    """An erasure whose case lies in a certain partition."""
    number = 0
    while partition_of(world.keys.case("/app", f"{person}-{number}"), PARTITIONS) != partition:
        number += 1
    return world.erase(person, request=f"{person}-{number}", **fields)


def timers_of(world: World, case_id: str) -> dict[TimerKey, Any]:
    partition = partition_of(case_id, PARTITIONS)
    return {key: at for key, at in world.store.states[partition].timers.items() if key.case_id == case_id}


def test_a_case_that_was_cancelled_while_replacements_were_looked_at_leaves_no_timer() -> None:
    world = World()
    world.registers = False
    world.answers["ml"] = lambda command: [
        receipt(command, all={"claim": "retrained_without", "replacement": {"asset": "never registered"}})
        if command["action"] == "retrain_without"
        else receipt(command, all={"claim": "deleted"})
    ]
    world.register("photo", subjects=["ann"])
    for number in range(20):
        world.register(f"m{number}", "model", "ml", parents=["photo"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.tick(86_400 * 2)
    world.settle(ticks=1)
    assert timers_of(world, case_id)
    world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=1)
    assert world.status(case_id) == "cancelled"
    assert {key.timer for key in timers_of(world, case_id)} == {"forget"}


def test_a_timer_of_nothing_is_removed_when_it_fires() -> None:
    """As an earlier version left them behind."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    partition = partition_of(case_id, PARTITIONS)
    strange = ("chunk:" + "0" * 32, "stage:9", "unheard-of", "retrain")
    world.store.states[partition].timers |= {TimerKey(case_id, each): world.broker.now for each in strange}
    world.store.states[partition].timers[TimerKey("f" * 32, "due")] = world.broker.now
    world.settle(ticks=1)
    assert not [key for key, at in world.store.states[partition].timers.items() if at <= world.broker.now]


def test_five_thousand_timers_that_nobody_can_handle_delay_no_other() -> None:
    """Resolvers are down; what waits for them is no matter of time, and what is due elsewhere goes on."""
    world = World()
    world.register("row", system="users", subjects=["bob"])
    world.settle(ticks=1)
    world.answers["users"] = lambda _: []
    other = in_partition(world, "bob", 0)
    world.settle(ticks=1)
    state = world.store.states[0]
    long_ago = world.broker.now - timedelta(days=900)
    stuck = {TimerKey(f"{number:032x}", "walk"): long_ago for number in range(5_000)}
    world.store.states[0].timers |= stuck
    before = len(world.broker.events("commands.users"))

    def handled_but_stuck() -> None:
        """They are due for ever, whatever becomes of their events."""
        while world.step("coordinator", 400) or world.answer_all():
            pass
        state.timers |= stuck

    for _ in range(40):
        world.tick(2)
        handled_but_stuck()
    assert len(world.broker.events("commands.users")) > before, "a repetition after 60 s"
    assert world.status(other) == "purging"


def test_a_late_walk_that_resolvers_do_not_answer_fires_nothing() -> None:
    world = World()
    world.register("a", subjects=["ann"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    world.register("late", parents=["a"])
    roles = [role for role in world.roles if role != "resolver"]
    for _ in range(5):
        while [role for role in roles if world.step(role, 50)]:
            pass
        world.tick(3600)
    assert not [key for key in timers_of(world, case_id) if key.timer == "settle"]
    world.settle(ticks=3)
    assert world.status(case_id) == "completed"


# Clocks


def test_of_two_words_on_one_partition_the_one_behind_holds_whatever_clocks_say() -> None:
    """The leader's clock was four minutes ahead for a moment: a pause that was said last must be in force."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    world.order("emission.paused", scope={"all": True}, reason="x", key="p")
    world.settle(ticks=0)
    world.broker.now += timedelta(minutes=4)
    world.order("emission.resumed", scope={"all": True}, key="p")
    world.settle(ticks=0)
    world.broker.now -= timedelta(minutes=4)
    world.order("emission.paused", scope={"all": True}, reason="emergency", key="p")
    world.settle(ticks=0)
    assert all(each.pauses["all"].paused for each in world.standing())
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert not world.commanded[case_id]


@pytest.mark.parametrize(
    ("first", "second", "later"),
    [
        (Order(9, 0, 1), Order(5, 0, 2), True),
        (Order(5, 0, 9), Order(9, 0, 2, 1), True),
        (Order(9, 0, 2, 1), Order(5, 0, 9), False),
        (Order(5, 0, 9), Order(9, 1, 2), True),
        (Order(9, 0, 9), Order(5, 1, 20), False),
        (Order(5, 0, 9), Order(5, 0, 9), False),
    ],
)
def test_positions_order_one_partition_and_time_several(first: Order, second: Order, later: bool) -> None:  # noqa: FBT001
    assert second.is_after(first) is later


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(days=365)])
def test_a_message_that_was_stamped_ahead_moves_no_case_and_stops_the_role_with_an_alarm(ahead: timedelta) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    (command,) = world.broker.events("commands.photos")
    world.broker.now += ahead
    said = receipt(command["data"], all={"claim": "failed"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.broker.now -= ahead
    world.settle(ticks=1)
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    assert case.now <= world.broker.now
    assert world.metrics.gauges["clock_ahead_seconds", "intake"] > 300
    assert not world.confirmations("overdue", case_id=case_id)


def test_what_was_stamped_ahead_can_be_set_aside_by_hand_and_everything_goes_on() -> None:
    from expunge.ports import MOST_DEATHS, Suspect

    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    world.broker.now += timedelta(days=365)
    case_id = world.erase("ann", request="ahead")
    world.broker.now -= timedelta(days=365)
    world.settle(ticks=1)
    assert world.status(case_id) == "none"
    ((topic, partition), log) = next((k, log) for k, log in world.broker.logs.items() if k[0] == "requests" and log)
    offset = log[-1].position.offset
    world.suspects.note(topic, partition, Suspect(offset, offset, MOST_DEATHS, "stamped a year ahead"))
    good = world.erase("ann", request="good")
    world.settle(ticks=1)
    assert world.status(good) == "completed"
    (letter,) = world.dead_letters()
    assert (letter["reason"], letter["where"]) == ("poison", "stamped a year ahead")


# What was overdue when it came


def test_a_request_that_is_overdue_on_arrival_hears_that_and_then_the_end() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    case_id = world.erase("ann", received_at="2026-01-01T00:00:00Z")
    world.settle(ticks=2)
    heard = [
        event["type"].split(".")[2]
        for event in world.broker.events("confirmations.app")
        if event["data"]["case_id"] == case_id
    ]
    assert heard == ["acknowledged", "overdue", "planned", "completed"]


def test_what_was_overdue_on_arrival_and_is_not_done_in_a_day_is_said_to_be_missing() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann", received_at="2026-01-01T00:00:00Z")
    world.settle(ticks=2)
    assert not world.confirmations("partially_completed", case_id=case_id)
    world.tick(86_401)
    world.settle(ticks=1)
    assert world.confirmations("partially_completed", case_id=case_id)


def test_what_has_not_begun_is_no_failure() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("lost", system="nobody", subjects=["ann"])
    world.settle(ticks=1)
    case_id = world.erase("ann", received_at=stamp(world.broker.now))
    world.settle(ticks=1)
    (planned,) = world.confirmations("planned", case_id=case_id)
    assert planned["failures"] == [
        {"system": "nobody", "kind": "object", "claim": "open", "reason": "unowned", "count": 1}
    ]
