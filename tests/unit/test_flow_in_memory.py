"""Whole stories on memory adapters: given messages, when one more, then what is commanded and confirmed."""

from __future__ import annotations

from typing import Any

from tests.simulation import PARTITIONS, World, honest


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
    for partition in range(PARTITIONS):  # a rewound indexer reads it again
        world.replay("indexer", "registrations", partition, 9)
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


def test_what_a_cases_own_command_produced_does_not_reopen_it() -> None:
    """rule "own products": the rebuilt data set is late to its parent."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    world.settle()
    ids: list[str] = []

    def rebuilds(command: dict[str, object]) -> list[dict[str, object]]:
        ids.append(str(command["command_id"]))
        return honest(command)

    world.answers["ml"] = rebuilds
    case_id = world.erase("ann")
    world.settle()
    world.register("set-2", "dataset", "ml", parents=["set"], command_id=ids[0])
    world.settle()
    assert world.confirmations("reopened") == []
    assert "set-2" not in {asset for _, asset, _ in world.commanded[case_id]}


def test_what_was_made_from_something_clean_is_not_late_and_what_was_made_before_is() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.register("new", "model", "ml", parents=["set"], derived_at="2026-11-20T00:00:00Z")
    world.settle()
    assert len(world.commanded[case_id]) == 2
    world.register("old", "model", "ml", parents=["set"], derived_at="2026-10-20T00:00:00Z")
    world.register("undated", "model", "ml", parents=["set"])
    world.settle()
    assert commanded(world, case_id) >= {("ml", "old", "retrain_without"), ("ml", "undated", "retrain_without")}
    assert ("ml", "new", "retrain_without") not in commanded(world, case_id)


def test_two_cases_do_not_send_each_others_retrained_models_back_for_ever() -> None:
    world = World()
    for person in ("ann", "bob"):
        world.register(f"photo-{person}", subjects=[person])
    world.register("set", "dataset", "ml", parents=["photo-ann", "photo-bob"])
    world.register("model-0", "model", "ml", parents=["set"])
    world.settle()
    made: list[str] = []

    def retrains(command: dict[str, object]) -> list[dict[str, object]]:
        if command["action"] == "retrain_without":
            made.append(f"model-{len(made) + 1}")
            world.tick_clocks(1)  # training takes time
            at = world.broker.now.isoformat()
            fields: dict[str, Any] = {"derived_at": at, "command_id": command["command_id"]}
            world.register(made[-1], "model", "ml", parents=["set"], **fields)
        return honest(command)

    world.answers["ml"] = retrains
    cases = [world.erase(person, request=person) for person in ("ann", "bob")]
    world.settle(ticks=30)
    assert [world.status(case_id) for case_id in cases] == ["completed", "completed"]
    assert len(made) < 6


def test_a_resolver_that_is_ahead_of_the_indexer_waits_and_never_closes_too_early() -> None:
    """rule "not ready": not_ready, again by timer, after 30 s what is known; closing waits for the watermark."""
    world = World()
    world.register("photo", subjects=["ann"])
    case_id = world.erase("ann")

    def without_indexer() -> None:
        for _ in range(30):
            for role in ("intake", "resolver", "coordinator", "notary"):
                world.step(role, 50)
            world.answer_all()

    without_indexer()
    assert world.status(case_id) == "resolving"
    assert world.confirmations("planned") == []
    for _ in range(20):
        world.tick(3)
        without_indexer()
    assert len(world.confirmations("planned")) == 1
    assert world.status(case_id) == "purging"
    assert world.confirmations("completed") == []
    world.settle()
    assert commanded(world, case_id) == {("photos", "photo", "delete")}
    assert len(world.confirmations("completed")) == 1


def test_a_rebuild_is_told_what_to_leave_out_also_when_it_comes_late() -> None:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo-1"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo-1"}
    world.register("photo-2", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo-2"])
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo-1", "photo-2"}


def test_too_many_exclusions_stay_open() -> None:
    world = World()
    for start in range(0, 1200, 600):
        names = [f"p{number}" for number in range(start, start + 600)]
        for asset in names:
            world.register(asset, subjects=["ann"])
        world.register("set", "dataset", "ml", parents=names)
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "purging"
    (planned,) = world.confirmations("planned")
    assert {"system": "ml", "kind": "dataset", "claim": "open", "reason": "too_many_exclusions", "count": 1} in planned[
        "failures"
    ]


def test_a_withdrawn_container_is_deleted_whole_and_what_came_from_it_is_followed() -> None:
    world = World()
    world.register("set", "dataset", "ml")
    world.register("crop", "object", parents=["set"])
    world.register("model", "model", "ml", parents=["set"])
    world.settle()
    case_id = world.withdraw_assets("set")
    world.settle()
    assert commanded(world, case_id) == {
        ("ml", "set", "delete"),
        ("photos", "crop", "delete"),
        ("ml", "model", "retrain_without"),
    }


def test_aliases_are_followed_both_ways_whenever_they_are_told() -> None:
    world = World()
    world.register("one", subjects=["ann"])
    world.register("two")
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.register("one", aliases=["two"])
    world.settle()
    assert ("photos", "two", "delete") in commanded(world, case_id)


def test_the_same_identity_in_two_namespaces_is_one_case() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    subjects = [{"namespace": "user_id", "id": "ann"}, {"namespace": "email", "id": "Ann@Example.com"}]
    case_id = world.request("expunge.erasure.requested.v1", "r", subjects=subjects)
    world.settle()
    assert commanded(world, case_id) == {("photos", "photo", "delete")}
    assert len(world.confirmations("completed")) == 1


def test_a_late_holding_that_does_not_answer_for_the_person_leads_nowhere() -> None:
    world = World()
    world.register("lost", system="nobody-configured", subjects=["ann"])  # keeps the case open
    world.register("report", "dataset", "ml", parents=["mails.db"])
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.declare_holding("mails.db", namespaces=["email"])
    world.settle(ticks=1)
    assert commanded(world, case_id) == set()
    world.declare_holding("users.db", namespaces=["user_id"])
    world.register("export", "dataset", "ml", parents=["users.db"])
    world.settle(ticks=1)
    assert commanded(world, case_id) == {("users", "users.db", "delete"), ("ml", "export", "rebuild_without")}
