"""A request that is taken back: before, during and after its commands; what is gone by then is said.

See rule "withdrawn first".
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import REGISTRY, World, honest, receipt


def asked(photos: int = 4) -> tuple[World, str]:
    world = World()
    for number in range(photos):
        world.register(f"photo-{number}", subjects=["ann"])
    world.settle()
    return world, world.erase("ann")


def cancel(world: World, case_id: str, **fields: Any) -> None:
    world.say("request.cancelled", case_id, **({"reason": "not her"} | fields))


def silent(world: World) -> None:
    """Systems that take commands and say nothing."""
    world.answers["photos"] = lambda _: []


def withdrawals(world: World) -> list[dict[str, Any]]:
    events = world.broker.events("commands.photos")
    return [event["data"] for event in events if event["type"] == "expunge.purge.withdrawn.v1"]


def outcome(world: World) -> dict[str, Any]:
    (said,) = world.confirmations("cancelled")
    return said


def test_before_anything_was_planned() -> None:
    world, case_id = asked()
    world.step("intake")
    world.step("coordinator")
    cancel(world, case_id)
    world.settle()
    assert world.status(case_id) == "cancelled"
    assert not world.commanded[case_id]
    assert (outcome(world)["outcome"], outcome(world)["counts"]) == ("cancelled", {})
    assert not world.broker.events("suppressions")


def test_while_commands_are_with_a_system_it_is_confirmed_only_when_the_system_has_let_go() -> None:
    world, case_id = asked()
    silent(world)
    world.settle(ticks=2)
    world.deaf.add("photos")
    cancel(world, case_id)
    world.settle(ticks=2)
    assert not world.confirmations("cancelled")
    assert {each["command_id"] for each in withdrawals(world)} == world.withdrawn
    world.deaf.clear()
    world.tick(61)  # it is told again
    world.settle(ticks=2)
    assert world.status(case_id) == "cancelled"
    assert outcome(world)["counts"] == {"object": {"open": 4}}


def test_what_was_done_by_then_is_said() -> None:
    world, case_id = asked()
    silent(world)
    world.settle(ticks=2)
    done = [{"asset": "photo-0", "claim": "deleted"}]
    world.let_go = lambda data: receipt(data, status="withdrawn", results=done)
    cancel(world, case_id)
    world.settle(ticks=2)
    assert outcome(world)["counts"] == {"object": {"deleted": 1, "open": 3}}


def test_after_everything_was_done() -> None:
    world, case_id = asked()
    world.settle(ticks=2)
    cancel(world, case_id)
    world.settle(ticks=2)
    assert outcome(world)["counts"] == {"object": {"deleted": 4}}
    assert not withdrawals(world)
    world.register("photo-0", subjects=["ann"], event="restored")
    world.settle(ticks=2)
    assert len(world.commanded[case_id]) == 4  # nobody asks for it any more


def test_a_command_that_a_sleeping_process_sends_after_that_is_not_carried_out() -> None:
    """The history of rule "withdrawn first": a paused coordinator wakes after a confirmed cancellation."""
    world, case_id = asked()
    silent(world)
    world.settle(ticks=2)
    sent = [log[:] for (topic, _), log in world.broker.logs.items() if topic == "commands.photos"]
    cancel(world, case_id)
    world.settle(ticks=2)
    commanded = list(world.commanded[case_id])
    for log in sent:
        for record in log:
            world.broker.append("commands.photos", (record.key or b"").decode(), record.value)
    world.settle(ticks=2)
    assert world.commanded[case_id] == commanded
    assert len(world.confirmations("cancelled")) == 1


def test_nobody_is_suppressed_any_longer_unless_another_request_asks_for_it() -> None:
    world, case_id = asked()
    world.settle(ticks=2)
    other = world.erase("ann", request="r2")
    world.settle(ticks=2)
    cancel(world, case_id)
    world.settle(ticks=2)
    assert world.broker.events("suppressions")[-1]["data"]["entries"]
    cancel(world, other)
    world.settle(ticks=2)
    last = max(
        (record for (topic, _), log in world.broker.logs.items() if topic == "suppressions" for record in log),
        key=lambda record: record.position,
    )
    assert last.value is None
    written = [log for (topic, _), log in world.broker.logs.items() if topic == "suppressions"]
    world.settle()
    assert written == [log for (topic, _), log in world.broker.logs.items() if topic == "suppressions"]


def test_it_is_said_once_and_a_cancelled_case_hears_nothing_more() -> None:
    world, case_id = asked()
    world.settle(ticks=2)
    cancel(world, case_id)
    world.settle(ticks=2)
    cancel(world, case_id, reason="again")
    world.say("plan.approved", case_id, plan_digest="ab" * 16)
    world.settle(ticks=2)
    assert [each["reason"] for each in world.dead_letters()] == ["case_has_ended"] * 2
    world.tick(100 * 86_400)
    world.settle()
    assert world.status(case_id) == "cancelled"
    assert len(world.confirmations("cancelled")) == 1
    assert not world.store.due(0, world.broker.now, 9) + world.store.due(1, world.broker.now, 9)


def test_a_backup_that_is_put_off_is_not_done_later() -> None:
    world, case_id = asked()
    world.register("tape", "backup", "ml", parents=["photo-0"])
    world.settle(ticks=2)
    assert world.status(case_id) == "completed_with_deferrals"
    cancel(world, case_id)
    world.settle(ticks=2)
    assert outcome(world)["counts"] == {"backup": {"open": 1}, "object": {"deleted": 4}}
    world.tick(100 * 86_400)
    world.settle(ticks=2)
    assert not [asset for _, asset, _ in world.commanded[case_id] if asset == "tape"]


@pytest.mark.parametrize("crash", range(0, 40, 2))
def test_a_crash_while_it_is_taken_loses_and_doubles_nothing(crash: int) -> None:
    world, case_id = asked()
    silent(world)
    world.settle(ticks=2)
    cancel(world, case_id)
    world.step("intake")
    world.step("coordinator", crash_after=crash)
    world.settle(ticks=2)
    assert world.status(case_id) == "cancelled"
    assert len(world.confirmations("cancelled")) == 1


def test_a_large_case_is_taken_back_page_by_page() -> None:
    systems = tuple(s.model_copy(update={"batch_size": 1}) if s.name == "photos" else s for s in REGISTRY.systems)
    world = World(registry=REGISTRY.model_copy(update={"systems": systems}))
    common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
    assets = [{"asset": f"p-{n}", "subjects": [{"namespace": "user_id", "id": "ann"}]} for n in range(450)]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": assets})
    world.settle()
    silent(world)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert len(world.commanded[case_id]) == 450
    cancel(world, case_id)
    world.settle(ticks=2)
    assert world.status(case_id) == "cancelled"
    assert len({each["command_id"] for each in withdrawals(world)}) == 450


def test_a_late_receipt_is_counted_and_changes_nothing_else() -> None:
    world, case_id = asked(1)
    silent(world)
    world.settle(ticks=2)
    (command,) = [event["data"] for event in world.broker.events("commands.photos")]
    cancel(world, case_id)
    world.settle(ticks=2)
    world.publish("receipts.photos", "expunge.purge.receipted.v1", honest(command)[0], source="/photos")
    world.settle(ticks=2)
    assert world.status(case_id) == "cancelled"
    assert not any(reason for reason in world.dead_letters())


def test_operators_need_the_role() -> None:
    world, case_id = asked()
    cancel(world, case_id, operator="omar")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert [each["reason"] for each in world.dead_letters()] == ["not_allowed"]
