"""Whole stories on memory adapters: given messages, when one more, then what is commanded and confirmed."""

from __future__ import annotations

from tests.simulation import World


def commanded(world: World, case_id: str) -> set[tuple[str, str, str]]:
    return set(world.commanded[case_id])


def test_erasure_reaches_what_was_derived_and_stops_at_containers() -> None:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.register("photo-2", subjects=["bob"])
    world.register("crop-1", parents=["photo-1"])
    world.register("set", "dataset", "ml", parents=["photo-1", "photo-2"])
    world.register("thumb-of-set", "object", "ml", parents=["set"])
    world.register("model", "model", "ml", parents=["set"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert commanded(world, case_id) == {
        ("photos", "photo-1", "delete"),
        ("photos", "crop-1", "delete"),
        ("ml", "set", "rebuild_without"),
        ("ml", "model", "retrain_without"),
    }
    (done,) = world.confirmations("completed")
    assert done["counts"] == {
        "object": {"deleted": 2},
        "dataset": {"rebuilt_without": 1},
        "model": {"retrained_without": 1},
    }
    assert world.metrics.counts["ledger_alarms", "gap"] == 0
    assert not world.dead_letters()


def test_a_person_nobody_knows_is_completed_as_not_found() -> None:
    world = World()
    case_id = world.erase("nobody")
    world.settle()
    (done,) = world.confirmations("completed")
    assert (done["outcome"], done["counts"], world.status(case_id)) == ("not_found", {}, "completed")


def test_data_source_withdrawal_passes_through_everything() -> None:
    world = World()
    world.register("p1", data_sources=["supplier-a"])
    world.register("p2", data_sources=["supplier-b"])
    world.register("set", "dataset", "ml", parents=["p1", "p2"], data_sources=["supplier-a", "supplier-b"])
    world.register("set-a", "dataset", "ml", parents=["p1"], data_sources=["supplier-a"])
    world.register("crop", "object", "ml", parents=["set"])
    world.register("model", "model", "ml", parents=["set"])
    world.settle()
    case_id = world.withdraw("supplier-a")
    world.settle()
    assert commanded(world, case_id) == {
        ("photos", "p1", "delete"),
        ("ml", "set", "rebuild_without"),
        ("ml", "set-a", "delete"),
        ("ml", "crop", "delete"),
        ("ml", "model", "delete"),
    }
    assert len(world.confirmations("completed")) == 1


def test_a_late_asset_opens_the_next_generation() -> None:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed"
    world.register("crop-1", parents=["photo-1"])
    world.settle()
    assert ("photos", "crop-1", "delete") in commanded(world, case_id)
    assert len(world.confirmations("reopened")) == 1
    assert len(world.confirmations("completed")) == 2
    world.register("crop-1", parents=["photo-1"])  # a nightly inventory says it again
    world.settle()
    assert len(world.confirmations("reopened")) == 1


def test_a_revoked_purpose_reaches_only_what_carries_it() -> None:
    world = World()
    world.register("only", subjects=["ann"], purposes=["training"])
    world.register("both", subjects=["ann"], purposes=["training", "marketing"])
    world.register("other", subjects=["ann"], purposes=["marketing"])
    world.register("unspecified", subjects=["ann"])
    world.settle()
    case_id = world.revoke("ann", "training")
    world.settle()
    assert commanded(world, case_id) == {
        ("photos", "only", "delete"),
        ("photos", "both", "restrict"),
        ("photos", "unspecified", "restrict"),
    }


def test_holdings_are_asked_by_root_and_a_late_holding_is_asked_too() -> None:
    world = World()
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle()
    world.answers["users"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert commanded(world, case_id) == {("users", "users.db", "delete")}
    world.declare_holding("logs.db", namespaces=["*"])
    world.settle(ticks=1)
    assert ("users", "logs.db", "delete") in commanded(world, case_id)


def test_dry_run_plans_and_stops() -> None:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann", dry_run=True)
    world.settle()
    (planned,) = world.confirmations("planned")
    assert planned["counts"] == {"object": {"open": 1}}
    assert not commanded(world, case_id)
    assert world.status(case_id) == "planned"


def test_unowned_assets_stay_open_until_the_due_date() -> None:
    world = World()
    world.register("lost", system="nobody-configured", subjects=["ann"])
    world.register("old", system="legacy", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "purging"
    world.tick(31 * 86400)
    world.settle(ticks=2)
    assert world.status(case_id) == "partially_completed"
    (partial,) = world.confirmations("partially_completed")
    assert {failure["reason"] for failure in partial["failures"]} == {"unowned", "not_integrated"}
    assert len(world.confirmations("overdue")) == 1
