"""Pauses, holds, cancellations and receipts that meet on one command: histories that an independent review found."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.partition import partition_of
from tests.simulation import PARTITIONS, REGISTRY, World, receipt

HOLD = {"asset": "p0"}
ALL = {"all": True}
DAY = 86_400


def photos(number: int = 3, **of_photos: Any) -> World:
    systems = tuple(s.model_copy(update=of_photos) if s.name == "photos" else s for s in REGISTRY.systems)
    world = World(registry=REGISTRY.model_copy(update={"systems": systems}))
    for each in range(number):
        world.register(f"p{each}", subjects=["ann"])
    world.settle(ticks=1)
    return world


def place(world: World, scope: dict[str, Any], hold_id: str = "h1", **fields: Any) -> None:
    fields = {"basis": "b", "custodian": "c"} | fields
    world.order("hold.placed", key=hold_id, hold_id=hold_id, scope=scope, **fields)
    world.settle(ticks=2)


def release(world: World, hold_id: str = "h1") -> None:
    world.order("hold.released", key=hold_id, hold_id=hold_id)
    world.settle(ticks=2)


def pause(world: World, scope: dict[str, Any], *, resume: bool = False) -> None:
    world.order(f"emission.{'resumed' if resume else 'paused'}", key=str(scope), scope=scope, reason="x")


def cancel(world: World, case_id: str) -> None:
    world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=2)


def roles(world: World) -> None:
    """Every role has its turns, but no system reads anything."""
    while any(world.step(role, 50) for role in world.roles):
        pass


def done(world: World, case_id: str) -> list[str]:
    return sorted(asset for _, asset, _ in world.commanded[case_id])


def case_of(world: World, case_id: str) -> Case:
    found: Case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    return found


def chunk_of(world: World, case_id: str) -> ChunkState:
    (found,) = [c for (i, _), c in world.store.states[partition_of(case_id, PARTITIONS)].chunks.items() if i == case_id]
    return found  # type: ignore[no-any-return]


def commands(world: World, system: str = "photos") -> list[dict[str, Any]]:
    return [event["data"] for event in world.broker.events(f"commands.{system}") if "targets" in event["data"]]


def late(world: World, command: dict[str, Any], **fields: Any) -> None:
    world.publish("receipts.photos", "expunge.purge.receipted.v1", receipt(command, **fields), source="/photos")
    world.settle(ticks=2)


def test_what_was_answered_is_not_asked_for_again_because_the_rest_is_held() -> None:
    world = photos()
    place(world, HOLD)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    for _ in range(3):
        world.tick(31 * DAY)
        world.settle(ticks=2)
    assert done(world, case_id) == ["p1", "p2"]
    release(world)
    assert done(world, case_id) == ["p0", "p1", "p2"]


@pytest.mark.parametrize("before", [True, False], ids=["held before", "held meanwhile"])
@pytest.mark.parametrize("scope", [{"system": "ml"}, {"asset": "tape"}], ids=["system", "asset"])
def test_a_backup_that_is_held_is_kept_when_its_deferral_ends(scope: dict[str, Any], *, before: bool) -> None:
    world = photos(1)
    world.register("tape", "backup", "ml", parents=["p0"])
    world.settle(ticks=1)
    if before:
        place(world, scope)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    if not before:
        place(world, scope)
    world.tick(36 * DAY)
    world.settle(ticks=2)
    assert "tape" not in done(world, case_id)
    release(world)
    world.tick(36 * DAY)
    world.settle(ticks=2)
    assert "tape" in done(world, case_id)


@pytest.mark.parametrize("last", ["cancel", "pause"])
def test_there_is_one_command_of_a_chunk_at_a_time(last: str) -> None:
    """Paused, let go, and stopped again while the system lags behind: what it has not read yet may still come."""
    world = photos()
    case_id = world.erase("ann")
    roles(world)
    for resume in (False, True):
        pause(world, ALL, resume=resume)
        roles(world)
    assert len(commands(world)) == 1
    if last == "cancel":
        world.say("request.cancelled", case_id, reason="x")
    else:
        pause(world, ALL)
    roles(world)
    assert not world.confirmations("cancelled")
    assert not all(each.in_force("pause:all") for each in world.standing()) or last == "cancel"
    world.settle(ticks=2)
    assert not world.done_too_late
    assert last == "pause" or world.status(case_id) == "cancelled"
    assert all(each.in_force("pause:all") for each in world.standing())


@pytest.mark.parametrize("scope", [HOLD, {"system": "photos"}], ids=["asset", "system"])
def test_an_answer_that_is_taken_back_is_not_commanded_again_past_a_hold(scope: dict[str, Any]) -> None:
    world = photos(1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    place(world, scope)
    world.commanded[case_id].clear()
    late(world, commands(world)[0], sequence=2, status="failed")
    world.tick(61)
    world.settle(ticks=4)
    assert not done(world, case_id)
    release(world)
    assert done(world, case_id) == ["p0"]


def test_a_deferral_that_a_system_tells_after_it_let_go_is_no_answer() -> None:
    world = photos(1)
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=2)
    pause(world, ALL)
    world.settle(ticks=2)
    late(world, commands(world)[0], sequence=99, all={"claim": "deferred", "until": "2026-12-01T00:00:00Z"})
    late(world, commands(world)[0], sequence=101, status="accepted", expected_by="2026-11-01T13:00:00Z")
    world.answers.clear()
    world.commanded[case_id].clear()
    pause(world, ALL, resume=True)
    world.settle(ticks=2)
    assert done(world, case_id) == ["p0"]
    assert world.status(case_id) == "completed"


def test_a_release_that_was_said_before_the_hold_ends_nothing() -> None:
    world = photos(1)
    release(world)
    assert [each["reason"] for each in world.dead_letters()] == ["no_such_hold"]
    world.tick(DAY)
    place(world, HOLD)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert not done(world, case_id)
    assert "released_at" not in world.broker.events("holds")[-1]["data"]
    release(world)
    assert world.broker.events("holds")[-1]["data"]["released_by"] == "olga"


def test_many_holds_with_many_words_and_a_case_of_many_commands() -> None:
    world = photos(0, batch_size=1)
    common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
    assets = [{"asset": f"q{n}", "subjects": [{"namespace": "user_id", "id": "ann"}]} for n in range(120)]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": assets})
    for number in range(230):
        fields: dict[str, Any] = {"scope": {"asset": f"other-{number}"}, "basis": "b" * 1000, "custodian": "c" * 1000}
        world.order("hold.placed", key=f"h{number}", hold_id=f"matter-2026-{number:06d}", **fields)
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert len(done(world, case_id)) == 120
    assert max(len(r.value or b"") for log in world.broker.logs.values() for r in log) < 900_000
    assert len(world.facts(case_id)) < 120 * 10


def test_a_cancellation_amid_the_pages_of_a_pause_leaves_nothing_behind() -> None:
    world = photos(0, batch_size=1)
    common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
    assets = [{"asset": f"q{n}", "subjects": [{"namespace": "user_id", "id": "ann"}]} for n in range(250)]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": assets})
    world.settle(ticks=1)
    pause(world, {"system": "photos"})
    case_id = world.erase("ann")
    world.settle(ticks=2)
    pause(world, ALL)
    world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=2)
    assert world.status(case_id) == "cancelled"
    assert all(each.in_force("pause:all") for each in world.standing())
    assert not case_of(world, case_id).alive


def test_a_deferral_that_ends_while_its_system_is_paused_does_not_ring_for_ever() -> None:
    world = photos(1)
    world.register("tape", "backup", "ml", parents=["p0"])
    case_id = world.erase("ann")
    world.settle(ticks=2)
    pause(world, {"system": "ml"})
    world.tick(36 * DAY)
    world.settle(ticks=2)
    assert not world.store.due(0, world.broker.now, 9) + world.store.due(1, world.broker.now, 9)
    cancel(world, case_id)
    assert world.status(case_id) == "cancelled"


def test_a_hold_knows_an_asset_by_all_its_names_and_what_was_made_of_many() -> None:
    world = photos(20)
    world.register("p0-also", subjects=["bob"], aliases=["p0"])
    world.register("vector", "embedding", "ml", parents=[f"p{number}" for number in range(20)])
    world.settle(ticks=1)
    place(world, {"subject": {"namespace": "user_id", "id": "bob"}})
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert done(world, case_id) == sorted(f"p{number}" for number in range(1, 20))


def test_nothing_is_called_restricted_that_was_not() -> None:
    world = photos(1)
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "not_found"})]
    world.restrict("ann")
    world.settle(ticks=2)
    assert not world.confirmations("restricted")


def test_a_restriction_that_was_lifted_before_it_began_is_no_refusal() -> None:
    world = photos(1)
    pause(world, ALL)
    world.restrict("ann")
    world.settle(ticks=2)
    world.lift("ann")
    world.settle(ticks=2)
    pause(world, ALL, resume=True)
    world.settle(ticks=2)
    assert [said["outcome"] for said in world.confirmations("completed")] == ["superseded"]


def test_a_cancelled_revocation_says_what_was_restricted() -> None:
    world = photos(1)
    world.register("card", subjects=["ann"], purposes=["training", "marketing"])
    world.answers["photos"] = lambda _: []
    case_id = world.revoke("ann", "training")
    world.settle(ticks=2)
    world.deaf.add("photos")
    world.grant("ann", "training")
    world.settle(ticks=2)
    cancel(world, case_id)
    world.deaf.clear()
    world.let_go = lambda data: receipt(data, status="withdrawn", all={"claim": "restricted"})
    world.tick(61)
    world.settle(ticks=2)
    (said,) = world.confirmations("cancelled")
    assert said["counts"] == {"object": {"restricted": 2}}


def test_two_commands_of_one_batch_are_both_known() -> None:
    world = photos(1)
    case_id = world.erase("ann")
    for role in ("intake", "coordinator", "resolver"):
        world.step(role, 50)
    world.answers["photos"] = lambda _: []
    world.settle(ticks=0)
    for resume in (False, True):
        pause(world, ALL, resume=resume)
        world.settle(ticks=0)
    assert {each["command_id"] for each in commands(world)} <= {
        chunk_of(world, case_id).command_id,
        *chunk_of(world, case_id).named,
    }
