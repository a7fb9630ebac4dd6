"""What comes late, comes back, has several names, or comes in streams: histories that simpler rules lost."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.lineage.marks import MarkState
from tests.simulation import World, honest, receipt
from tests.unit.test_nothing_escapes import JANUARY, MARCH, commands, erased, restored

DAY = 86_400


def state(world: World, asset: str) -> list[MarkState]:
    return [mark.state for mark in world.index.marks([world.keys.asset(asset)])[0]]


def now(world: World) -> str:
    return world.broker.now.isoformat()


def restore(world: World, asset: str) -> None:
    world.publish("registrations", "expunge.asset.registered.v1", restored(asset), event=f"restore {asset}")
    world.settle()


@pytest.mark.parametrize("days", [8, 400])
def test_a_crop_registered_late_and_undated(days: int) -> None:
    world = World()
    case_id = erased(world, "photo")
    world.tick(days * DAY)
    world.register("crop", parents=["photo"])
    world.settle()
    assert commands(world, case_id, "crop") == 1


def test_a_job_that_ended_after_the_withdrawal_was_carried_out() -> None:
    world = World()
    world.register("photo", data_sources=["supplier-a"])
    world.settle()
    case_id = world.withdraw("supplier-a")
    world.settle()
    world.tick(3600)
    world.register("vector", "embedding", "ml", parents=["photo"], derived_at=now(world))
    world.settle()
    assert commands(world, case_id, "vector") == 1


@pytest.mark.parametrize("claim", ["not_found", "deleted"])
@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_a_container_that_was_gone_comes_back(claim: str, kind: str) -> None:
    world = World()
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": claim})]
    world.register("photo", subjects=["ann"])
    world.register("set", kind, "ml", parents=["photo"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    del world.answers["ml"]
    world.tick(DAY)
    world.register("set", kind, "ml", parents=["photo"], event="restored")
    world.settle()
    assert commands(world, case_id, "set") == 2


def test_removed_then_restored() -> None:
    world = World()
    case_id = erased(world, "photo")
    world.tick(60)
    world.publish("registrations", "expunge.asset.removed.v1", {"asset": "photo", "system": "photos"})
    world.settle()
    assert state(world, "photo") == [MarkState.GONE]
    world.tick(DAY)
    restore(world, "photo")
    assert commands(world, case_id, "photo") == 2


def test_named_as_an_alias_then_restored() -> None:
    world = World()
    case_id = erased(world, "photo")
    world.tick(60)
    world.register("cdn/photo", "cache", aliases=["photo"])
    world.settle()
    world.tick(DAY)
    restore(world, "photo")
    assert commands(world, case_id, "photo") == 2


def test_an_indexer_that_is_behind_then_restored() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    for turn in range(30):
        for role in world.roles:
            if role != "indexer":
                world.step(role, 50)
        world.tick(1)
        if turn == 0:
            world.register("photo", purposes=["training"])  # appended before the receipt, indexed after it
            world.tick(1)
        world.answer_all()
    assert state(world, "photo") == [MarkState.GONE]
    world.settle()
    world.tick(DAY)
    before = commands(world, case_id, "photo")
    restore(world, "photo")
    assert commands(world, case_id, "photo") == before + 1


def test_exclusions_are_cut_without_a_word() -> None:
    world = World()
    world.register("crop-x", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["crop-x"])
    world.register("set:latest", "dataset", "ml", aliases=["set"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    names = [f"crop-{number}" for number in range(1100)]
    for name in names:
        world.register(name, subjects=["ann"])
    world.settle(ticks=40)
    world.register("set", "dataset", "ml", parents=names[:600], event="a")
    world.register("set", "dataset", "ml", parents=names[600:], event="b")
    world.settle(ticks=40)
    told = world.excluded[case_id, "set"]
    assert told >= {*names, "crop-x"} or world.status(case_id) != "completed"


@pytest.mark.parametrize("crash", [4, 10, 29])
def test_a_resolver_dies_at_a_hub_that_was_clean(crash: int) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    for number in range(160):
        world.register(f"version-{number}", "dataset_version", "ml", parents=["set"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=40)
    world.tick(30 * DAY)
    world.register("model", "model", "ml", parents=["set"], derived_at=now(world))
    world.settle()
    assert commands(world, case_id, "model") == 0
    world.tick(DAY)
    world.register("crop", parents=["photo"], derived_at=JANUARY)
    world.register("set", "dataset", "ml", parents=["crop"])  # something more was in the set all along
    world.step("indexer", 50)
    world.step("coordinator", 50)
    world.step("resolver", 50, crash)
    world.settle(ticks=40)
    assert commands(world, case_id, "model") == 1  # without the crash it is


def test_an_asset_withdrawn_under_another_of_its_names() -> None:
    world = World()
    world.register("set", "dataset", "ml", aliases=["mlflow:set"])
    world.register("vector", "embedding", "ml", parents=["set"])
    world.settle()
    case_id = world.withdraw_assets("mlflow:set")
    world.settle()
    assert {("ml", "set", "delete"), ("ml", "vector", "delete")} <= set(world.commanded[case_id])


def test_what_was_found_under_a_name_that_is_no_container() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("s3://set.parquet", "object", "photos", parents=["photo"])
    world.register("faces", "dataset", "ml", aliases=["s3://set.parquet"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert "photo" in world.excluded[case_id, "faces"]


def test_a_name_that_moves_on() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("v1", "dataset_version", "ml", parents=["photo"], aliases=["latest"])
    world.register("v2", "dataset_version", "ml", parents=["v1"], aliases=["latest"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert "v1" in world.excluded[case_id, "v2"]


@pytest.mark.parametrize("aliases", [[], ["set:latest"]])
@pytest.mark.parametrize("model_first", [False, True])
def test_an_inventory_takes_back_that_a_set_is_clean(aliases: list[str], *, model_first: bool) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"], aliases=aliases)
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert state(world, "set") == [MarkState.CLEAN]
    world.tick(3600)

    def train() -> None:
        world.register("model", "model", "ml", parents=["set"], derived_at=now(world))
        world.settle()

    if model_first:
        train()
        assert commands(world, case_id, "model") == 0
    world.tick(DAY)
    world.register("set", "dataset", "ml", parents=["photo"], aliases=aliases, event="nightly")
    world.settle()
    if not model_first:
        train()
    assert commands(world, case_id, "model") == 0


def test_as_the_documents_say_it_is_done() -> None:
    world = World()

    def rebuild(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] == "rebuild_without":
            world.register("set", "dataset", "ml", derived_at=now(world), command_id=command["command_id"])
        return honest(command)

    world.answers["ml"] = rebuild
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.tick(3600)
    world.register("model", "model", "ml", parents=["set"], derived_at=now(world))
    world.settle()
    world.tick(30 * DAY)
    world.register("set", "dataset", "ml", event="nightly")
    world.settle()
    assert commands(world, case_id, "model") == 0


def test_a_stream_of_late_assets_is_never_planned() -> None:
    world = World()
    world.register("a", data_sources=["supplier-a"])
    world.settle()
    case_id = world.withdraw("supplier-a")
    world.settle()
    for number in range(720):  # three hours
        world.register(f"b-{number}", data_sources=["supplier-a"])
        for role in ("indexer", "resolver", "coordinator"):
            world.step(role, 50)
        world.answer_all()
        world.step("intake", 50)
        world.tick(15)
    assert len({asset for _, asset, _ in world.commanded[case_id]}) > 1


def test_a_mixed_set_stated_again_after_a_withdrawal() -> None:
    world = World()
    names = [f"p-{number}" for number in range(1100)]
    for name in names:
        world.register(name, data_sources=["supplier-a"])
    for night in ("first", "second"):
        world.register("set", "dataset", "ml", parents=names[:600], event=f"{night} a")
        world.register("set", "dataset", "ml", parents=names[600:], event=f"{night} b")
        while world.step("indexer", 100):
            pass
        if night == "first":
            case_id = world.withdraw("supplier-a")
        world.settle(ticks=40)
        assert world.status(case_id) == "completed"
        world.tick(DAY)


def test_a_returning_customer_with_an_alias() -> None:
    world = World()
    world.register("users/ann", subjects=["ann"], aliases=["u/ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.tick(60 * DAY)
    world.register("users/ann", subjects=["ann"], collected_at=MARCH, aliases=["u/ann"])
    world.settle()
    assert commands(world, case_id, "users/ann") == 1


def test_consent_confirmed_twice() -> None:
    world = World()
    case_id = world.revoke("ann", "marketing", received_at="2026-10-01T00:00:00Z")
    world.settle()
    for day in (10, 20):
        world.grant("ann", "marketing", received_at=f"2026-10-{day}T00:00:00Z")
        world.settle()
    world.register("new", subjects=["ann"], purposes=["marketing"], collected_at="2026-10-15T00:00:00Z")
    world.settle()
    assert commands(world, case_id, "new") == 0


def test_each_moment_of_return_is_a_task_and_each_asset_a_command() -> None:
    world = World()
    names = [f"p-{number}" for number in range(2000)]
    erased(world, *names)
    for name in names:
        world.tick(0.001)
        world.publish("registrations", "expunge.asset.registered.v1", restored(name), event=f"restore {name}")
    while world.step("indexer", 2000):
        pass
    before = len(world.broker.events("tasks"))
    while world.step("coordinator", 1):
        pass
    assert len(world.broker.events("tasks")) - before <= 200  # rule "frontiers"; here 2,000 from one decision


# F14
def test_a_number_on_suppressions_that_kills_intake_again_and_again() -> None:
    world = World()
    value = b'{"specversion":"1.0","id":"x","source":"/x","type":"expunge.suppression.set.v1","data":{"sequence":1e30}}'
    world.broker.append("suppressions", "ab" * 16, value)
    world.settle()


def said_since(world: World, number: int) -> list[str]:
    return [event["type"].split(".")[2] for event in world.broker.events("confirmations.app")[number:]]


def forty_days_pass(world: World, *roles: str) -> None:
    """The due date passes; only these roles run, or all of them."""
    for _ in range(80):
        world.tick(86_400 / 2)
        if not roles:
            world.settle(ticks=0)
        for role in roles:
            world.step(role, 50)


def overdue(world: World) -> str:
    """A case at whose due date its system has not answered."""
    world.register("photo", subjects=["ann"])
    world.settle(ticks=0)
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    forty_days_pass(world)
    return case_id


def test_an_overdue_case_that_finds_something_late_says_so_once_and_ends_once_more() -> None:
    """It was reopened and closed again with each answer of a resolver, and its publisher heard of all of them."""
    world = World(step_nodes=2)
    case_id = overdue(world)
    assert world.status(case_id) == "partially_completed"
    before = len(world.broker.events("confirmations.app"))
    world.register("late-0", subjects=["ann"])
    for number in range(1, 12):
        world.register(f"late-{number}", parents=[f"late-{(number - 1) // 2}"])
    for _ in range(20):
        world.settle(ticks=0)
        world.tick(1)
    assert said_since(world, before) == ["reopened", "planned", "partially_completed"]
    world.check_ledger(case_id)


def test_a_case_that_is_due_before_its_first_plan_ends_then_and_once_more_with_the_plan() -> None:
    """It was reopened and ended again with each answer, for the resolvers had been away at its due date."""
    world = World(step_nodes=2)
    world.register("photo-0", subjects=["ann"])
    for number in range(1, 14):
        world.register(f"photo-{number}", parents=[f"photo-{(number - 1) // 2}"])
    world.settle(ticks=0)
    case_id = world.erase("ann")
    forty_days_pass(world, "intake", "coordinator", "notary")
    assert world.status(case_id) == "partially_completed"
    before = len(world.broker.events("confirmations.app"))
    world.settle(ticks=3)
    assert said_since(world, before) == ["reopened", "planned", "partially_completed", "completed"]
    world.check_ledger(case_id)


def test_what_is_found_while_an_earlier_plan_is_carried_out_reopens_an_overdue_case_once() -> None:
    """The stages of the earlier plan had ended it again while the later one still collected."""
    world = World()
    case_id = overdue(world)
    world.register("second", subjects=["ann"])
    for _ in range(6):
        world.settle(ticks=0)
        world.tick(1)
    before = len(world.broker.events("confirmations.app"))
    world.register("third", subjects=["ann"])
    world.settle(ticks=0)
    world.answers.clear()
    world.settle(ticks=0)
    world.register("fourth", subjects=["ann"])
    for _ in range(20):
        world.settle(ticks=0)
        world.tick(2)
    assert said_since(world, before).count("reopened") == said_since(world, before).count("planned") == 1
    world.check_ledger(case_id)


def test_a_case_that_is_reopened_before_its_due_date_ends_at_it_whoever_is_away() -> None:
    world = World(step_nodes=2)
    world.register("photo", subjects=["ann"])
    world.settle(ticks=0)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    world.register("late-0", subjects=["ann"])
    for number in range(1, 8):
        world.register(f"late-{number}", parents=[f"late-{(number - 1) // 2}"])
    for role in ("indexer", "coordinator", "resolver", "coordinator"):
        world.step(role, 50)
    assert world.status(case_id) == "resolving"
    forty_days_pass(world, "intake", "coordinator", "notary")
    assert world.status(case_id) == "partially_completed"
    world.settle(ticks=3)
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)
