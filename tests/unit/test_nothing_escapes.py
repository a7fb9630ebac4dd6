"""rule "mark first" to 22 and 27: each rule with the history that breaks a simpler one, on the whole core in memory."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.events import Record
from expunge.domain.lineage.marks import MarkState
from tests.simulation import PARTITIONS, SESSION_MS, World, receipt

JANUARY, MARCH = "2026-01-01T00:00:00Z", "2026-12-01T00:00:00Z"


def erased(world: World, *assets: str) -> str:
    """A person's assets, registered and erased; the id of the case."""
    for asset in assets:
        world.register(asset, subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed"
    return case_id


def commands(world: World, case_id: str, asset: str) -> int:
    return sum(1 for _, named, _ in world.commanded[case_id] if named == asset)


def test_an_asset_restored_from_a_backup_is_commanded_again_and_reported() -> None:
    """rule "returns", with design: "No asset escapes": marks outlive the case."""
    world = World()
    case_id = erased(world, "photo")
    world.tick(3 * 365 * 86_400)
    world.publish("registrations", "expunge.asset.registered.v1", restored("photo"), event="restore-job-7")
    world.settle()
    assert commands(world, case_id, "photo") == 2
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    assert len(world.confirmations("completed", case_id=case_id)) == 2


def restored_before_its_receipt_is_handled() -> tuple[World, str]:
    """A photo is purged, its receipt lies on its topic, and then a restored copy is registered."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    while not world.answer_all():
        for role in world.roles:
            world.step(role)
        world.tick(0.1)
    world.tick(30)
    world.publish("registrations", "expunge.asset.registered.v1", restored("photo"), event="restore-job-7")
    return world, case_id


def restored(asset: str, **fields: object) -> dict[str, object]:
    return {
        "asset": asset,
        "kind": "object",
        "system": "photos",
        "subjects": [{"namespace": "user_id", "id": "ann"}],
        "collected_at": JANUARY,
    } | fields


def test_a_rewound_indexer_is_no_resurrection() -> None:
    world = World()
    case_id = erased(world, "photo")
    world.tick(60)
    for partition in range(PARTITIONS):
        world.replay("indexer", "registrations", partition, 99)
    world.settle()
    assert commands(world, case_id, "photo") == 1
    assert not world.confirmations("reopened", case_id=case_id)


def test_an_inventory_repeated_before_the_receipt_is_no_resurrection() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    while not any(world.broker.events("commands.photos")):
        for role in world.roles:
            world.step(role)
        world.tick(0.1)
    world.publish("registrations", "expunge.asset.registered.v1", restored("photo"), event="nightly")
    world.tick(5)
    world.settle()
    assert world.status(case_id) == "completed"
    assert commands(world, case_id, "photo") == 1


def test_what_comes_back_before_its_receipt_was_handled_is_still_caught() -> None:
    """The statement is indexed while the receipt waits on its topic: whichever comes second sees the other."""
    world, case_id = restored_before_its_receipt_is_handled()
    assert world.step("indexer")
    world.settle()
    assert commands(world, case_id, "photo") == 2
    assert world.status(case_id) == "completed"


def test_an_asset_that_nobody_found_and_that_turns_up_later_is_commanded_again() -> None:
    world = World()
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "not_found"})]
    case_id = erased(world, "photo")
    del world.answers["photos"]
    world.tick(60)
    world.publish("registrations", "expunge.asset.registered.v1", restored("photo"), event="found-it")
    world.settle()
    assert commands(world, case_id, "photo") == 2


def test_what_came_back_may_come_back_again() -> None:
    world = World()
    case_id = erased(world, "photo")
    for number in range(3):
        world.tick(86_400)
        world.publish("registrations", "expunge.asset.registered.v1", restored("photo"), event=f"restore-{number}")
        world.settle(ticks=40)
    assert commands(world, case_id, "photo") == 4
    ((mark,),) = world.index.marks([world.keys.asset("photo")])
    assert mark.state is MarkState.GONE


def test_a_person_who_signs_up_again_is_not_purged() -> None:
    """design: "No asset escapes": an erasure reaches what was collected up to the request and a tail of seven days."""
    world = World()
    case_id = erased(world, "photo", "users/ann")
    world.tick(60 * 86_400)
    world.register("users/ann-2", subjects=["ann"], collected_at=MARCH)  # a new record
    world.register("users/ann", subjects=["ann"], collected_at=MARCH)  # the very same id
    world.settle()
    world.register("users/ann", subjects=["ann"], collected_at=MARCH, purposes=["training"])
    world.register("vector", "embedding", "ml", parents=["users/ann"], derived_at="2027-01-01T12:00:00Z")
    world.settle()
    assert commands(world, case_id, "users/ann-2") == 0
    assert commands(world, case_id, "users/ann") == 1
    assert commands(world, case_id, "vector") == 0
    assert world.status(case_id) == "completed"


def test_what_was_collected_in_the_tail_is_purged_and_what_was_made_from_the_old_is_too() -> None:
    world = World()
    case_id = erased(world, "photo")
    world.register("batch-upload", subjects=["ann"], collected_at="2026-11-03T00:00:00Z")
    world.register("crop", parents=["photo"], subjects=["ann"], collected_at=MARCH)
    world.settle()
    assert commands(world, case_id, "batch-upload") == commands(world, case_id, "crop") == 1


@pytest.mark.parametrize("regime", ["order", "drop"])
def test_some_regimes_reach_everything(regime: str) -> None:
    world = World()
    case_id = world.erase("ann", regime=regime)
    world.settle()
    world.register("later", subjects=["ann"], collected_at=MARCH)
    world.settle()
    assert commands(world, case_id, "later") == 1


def test_late_assets_are_collected_for_a_while_and_the_while_grows() -> None:
    """rule "late assets": a stream of late assets is not a stream of plans."""
    world = World()
    case_id = erased(world, "photo")
    for number in range(60):
        world.register(f"crop-{number}", parents=["photo"])
        for _ in range(4):
            for role in world.roles:
                world.step(role, 50)
            world.answer_all()
        world.tick(1)
    world.settle(ticks=40)
    assert {asset for _, asset, _ in world.commanded[case_id]} >= {f"crop-{number}" for number in range(60)}
    plans = len(world.confirmations("planned", case_id=case_id))
    assert 2 < plans < 9


def test_consent_granted_again_lets_be_what_is_collected_from_then_on() -> None:
    world = World()
    world.register("old", subjects=["ann"], purposes=["marketing"])
    world.settle()
    case_id = world.revoke("ann", "marketing")
    world.settle()
    world.tick(30 * 86_400)
    world.grant("ann", "marketing", received_at="2026-11-20T00:00:00Z")
    world.settle()
    world.register("new", subjects=["ann"], purposes=["marketing"], collected_at=MARCH)
    world.register("from-before", subjects=["ann"], purposes=["marketing"], collected_at="2026-11-10T00:00:00Z")
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"old", "from-before"}


def entries(world: World, key: str) -> list[dict[str, Any]]:
    found = [e["data"] for e in world.broker.events("suppressions") if key in e["data"].values()]
    return max(found, key=lambda data: data["sequence"])["entries"] if found else []


def newest(world: World) -> Record:
    """The last message on `suppressions`, of which there is one key."""
    return next(log[-1] for (topic, _), log in world.broker.logs.items() if topic == "suppressions" and log)


def suppression_of(world: World, person: str) -> str:
    return world.keys.suppression.of("default", "user_id", "exact", person)


def test_an_erasure_suppresses_what_was_collected_in_its_reach() -> None:
    world = World()
    world.erase("ann")
    world.settle()
    (entry,) = entries(world, suppression_of(world, "ann"))
    assert (entry["purpose"], entry["until"]) == ("*", 1793530800 + 7 * 86_400)
    assert not entries(world, suppression_of(world, "bob"))


def test_a_dry_run_suppresses_nothing() -> None:
    world = World()
    world.erase("ann", dry_run=True)
    world.settle()
    assert not world.broker.events("suppressions")


def test_a_withdrawn_source_is_suppressed() -> None:
    world = World()
    world.withdraw("supplier-a")
    world.settle()
    (entry,) = entries(world, "supplier-a")
    assert (entry["purpose"], entry["until"]) == ("*", 0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1)])
def test_of_two_words_about_a_purpose_the_later_counts_in_any_order(order: tuple[int, ...]) -> None:
    world = World()
    for number in order:
        if number:
            world.grant("ann", "marketing", received_at="2026-10-10T00:00:00Z")
        else:
            world.revoke("ann", "marketing", received_at="2026-10-01T00:00:00Z")
        world.settle()
    (entry,) = entries(world, suppression_of(world, "ann"))
    assert (entry["purpose"], entry["until"]) == ("marketing", 1791590399)  # the second before the grant


def test_revocation_wins_a_tie() -> None:
    world = World()
    world.grant("ann", "marketing", received_at="2026-10-01T00:00:00Z")
    world.revoke("ann", "marketing", received_at="2026-10-01T00:00:00Z")
    world.settle()
    (entry,) = entries(world, suppression_of(world, "ann"))
    assert entry["until"] == 0


def test_a_zombies_late_write_to_suppressions_is_written_over_again() -> None:
    """rule "nothing overwritten": a process that lost its partition may still write what was true before."""
    world = World()
    world.revoke("ann", "marketing", request="r1")
    world.settle()
    key = suppression_of(world, "ann")
    old = newest(world)
    world.revoke("ann", "training", request="r2")
    world.settle()
    world.broker.append("suppressions", key, old.value)
    world.settle()
    assert b"training" in (newest(world).value or b"")
    world.broker.append("suppressions", key, None)  # nor does a tombstone that nobody decided on stand
    world.settle()
    assert b"training" in (newest(world).value or b"")


def test_a_grant_for_a_bare_pseudonym_is_rejected() -> None:
    world = World()
    data = {"subjects": [{"pseudonym": "01" + "ab" * 15}], "purposes": ["marketing"], "received_at": JANUARY}
    world.publish("requests", "expunge.consent.granted.v1", data)
    world.settle()
    assert [each["reason"] for each in world.rejections()] == ["bad_identity"]


def test_a_hub_that_is_its_own_descendant_is_walked_to_an_end() -> None:
    """A data set of many children, one of which is another name of it: a later generation reads all of them again."""
    world = World(step_nodes=1)
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"], aliases=["set:latest"])
    world.register("set:latest", "dataset", "ml", aliases=["set"])
    for number in range(5):
        world.register(f"version-{number}", "dataset_version", "ml", parents=["set"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.register("crop", parents=["photo"])
    world.register("set", "dataset", "ml", parents=["crop"])
    world.settle(ticks=40)
    assert world.status(case_id) == "completed"
    assert {asset for _, asset, _ in world.commanded[case_id]} >= {"crop", "set", "set:latest", "version-4"}


def test_a_data_set_made_from_another_name_of_a_photo_is_told_to_leave_out_that_name() -> None:
    """The set knows the photo by a name of its own; nobody registered it, but the photo says that it is called so."""
    world = World()
    world.register("s3://a/photo", subjects=["ann"], aliases=["https://cdn/photo"])
    world.register("set", "dataset", "ml", parents=["https://cdn/photo"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.excluded[case_id, "set"] == {"https://cdn/photo"}
    assert world.status(case_id) == "completed"


def test_a_data_set_made_from_a_withdrawn_asset_that_nobody_registered_is_told_to_leave_it_out() -> None:
    world = World()
    world.register("set", "dataset", "ml", parents=["photo"])
    world.settle()
    case_id = world.withdraw_assets("photo")
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo"}
    assert world.status(case_id) == "completed"


def test_a_customer_who_comes_back_under_one_of_two_names_is_let_be() -> None:
    """The record was purged under both of its names; what is collected anew under one of them is a new customer's."""
    world = World()
    world.tick_clocks(8 * 86_400)
    world.register("users/ann", subjects=["ann"], aliases=["u/ann"])
    world.register("u/ann", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert (commands(world, case_id, "users/ann"), commands(world, case_id, "u/ann")) == (1, 1)
    world.tick(60)
    world.register("u/ann", subjects=["ann"], collected_at="2026-12-09T00:00:00Z", aliases=["users/ann"])
    world.settle()
    assert commands(world, case_id, "u/ann") == 1
    assert world.status(case_id) == "completed"


def test_the_other_name_of_what_is_to_go_is_no_new_customers_because_it_is_registered_late() -> None:
    """Registered alone, with a later date of collection, it counted as a new customer's, and stayed."""
    world = World()
    world.tick_clocks(8 * 86_400)
    world.register("users/ann", subjects=["ann"], aliases=["u/ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.tick(60)
    world.register("u/ann", subjects=["ann"], collected_at="2026-12-09T00:00:00Z")
    world.settle()
    assert commands(world, case_id, "u/ann") == 1


def test_what_a_data_set_must_leave_out_is_known_under_each_of_its_names_and_they_are_not_among_it() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    world.register("set:latest", "dataset", "ml", aliases=["set"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.excluded[case_id, "set"] == world.excluded[case_id, "set:latest"] == {"photo"}
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize("crash", range(24))
def test_a_return_is_not_lost_when_the_coordinator_dies_while_it_takes_the_receipt(crash: int) -> None:
    world, case_id = restored_before_its_receipt_is_handled()
    world.step("indexer")
    world.step("intake")
    world.step("coordinator", crash_after=crash)
    world.settle()
    assert commands(world, case_id, "photo") == 2
    assert world.status(case_id) == "completed"


def test_an_old_backup_restored_over_a_returned_customers_record_is_commanded() -> None:
    world = World()
    case_id = erased(world, "users/ann")
    world.tick(60 * 86_400)
    world.register("users/ann", subjects=["ann"], collected_at=MARCH)
    world.settle()
    assert commands(world, case_id, "users/ann") == 1
    world.publish("registrations", "expunge.asset.registered.v1", restored("users/ann"), event="restore-job-7")
    world.settle()
    assert commands(world, case_id, "users/ann") == 2


def test_what_a_returned_customer_leads_to_is_let_be_whatever_comes_first() -> None:
    world = World()
    case_id = erased(world, "users/ann")
    world.tick(60 * 86_400)
    world.register("vector", "embedding", "ml", parents=["users/ann"], derived_at="2026-12-30T00:00:00Z")
    world.register("users/ann", subjects=["ann"], collected_at=MARCH)
    world.settle()
    assert commands(world, case_id, "vector") == 0


def test_a_system_that_says_itself_that_an_asset_is_gone_brings_nothing_back() -> None:
    world = World()
    case_id = erased(world, "photo")
    world.tick(60)
    world.publish("registrations", "expunge.asset.removed.v1", {"asset": "photo", "system": "photos"})
    world.settle()
    assert commands(world, case_id, "photo") == 1
    assert not world.confirmations("reopened", case_id=case_id)


def test_nothing_is_out_of_reach_because_it_says_that_it_comes_from_the_future() -> None:
    world = World()
    world.register("photo", subjects=["ann"], collected_at="2099-01-01T00:00:00Z")
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert commands(world, case_id, "photo") == 1


def test_a_parent_that_is_met_twice_takes_one_place_among_what_to_leave_out() -> None:
    world = World()
    for number in range(600):
        world.register(f"crop-{number}", subjects=["ann"], parents=["base"])
    world.register("base", subjects=["ann"])
    for number, parent in enumerate(("crop-1", "t-0", "t-1")):
        world.register(f"t-{number}", parents=[parent])
    world.register("set", "dataset", "ml", parents=[*(f"crop-{number}" for number in range(600)), "t-2"])
    for _ in range(20):
        world.step("indexer", 100)
    case_id = world.erase("ann")
    world.settle()
    assert world.excluded[case_id, "set"] == {*(f"crop-{number}" for number in range(600)), "t-2"}


def test_what_an_answer_announces_is_durable_before_it_is_said() -> None:
    """Else a task that is repeated on a larger index goes on in other tasks, and the first are awaited for ever."""
    for crash in range(0, 60, 2):
        world = World(step_nodes=4)
        for number in range(12):
            world.register(f"photo-{number}", subjects=["ann"])
        world.settle()
        case_id = world.erase("ann")
        world.step("intake")
        world.step("coordinator")
        world.step("resolver", 50, crash)
        for number in range(12, 18):
            world.register(f"photo-{number}", subjects=["ann"])
        world.step("indexer", 50)
        world.settle(ticks=40)
        assert world.status(case_id) == "completed", crash
        assert len(world.commanded[case_id]) == 18


def test_a_task_plans_its_own_roots_however_full_its_step_is() -> None:
    """rule "walks": what came back is marked already, so nobody else would plan what this task leaves."""
    world = World(step_nodes=1)
    case_id = erased(world, "photo-1", "photo-2")
    world.tick(60)
    for asset in ("photo-1", "photo-2"):
        world.publish("registrations", "expunge.asset.registered.v1", restored(asset), event=f"restore {asset}")
    world.step("indexer", 50)
    world.settle()
    assert commands(world, case_id, "photo-1") == commands(world, case_id, "photo-2") == 2


@pytest.mark.parametrize("after", range(12))
def test_a_state_that_changes_while_it_is_read_is_not_decided_on(after: int) -> None:
    """A coordinator that lost its partition reads the old position and the new case: its facts would be nobody's."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.step("intake")
    for _ in range(40):
        for partition in range(PARTITIONS):
            world.beside("coordinator", partition, after, "coordinator", 1)
        for role in ("resolver", "intake", "notary"):
            world.step(role)
        world.answer_all()
    world.settle()
    assert world.status(case_id) == "completed"
    assert not any(name == "ledger_alarms" for name, _ in world.metrics.counts)


def test_an_asset_that_is_late_through_another_name_alone_is_commanded() -> None:
    """The other name is marked and unchanged; nothing else leads to the asset."""
    world = World()
    case_id = erased(world, "photo")
    world.register("mirror", "recipient_copy", "ml", parents=["photo"])
    world.settle()
    world.publish(
        "registrations",
        "expunge.asset.registered.v1",
        {"asset": "copy", "kind": "object", "system": "photos", "aliases": ["mirror"]},
    )
    world.settle()
    assert commands(world, case_id, "copy") == 1


class Slow(World):
    """A world in which every breath takes a second, and each heartbeat is answered."""

    def breathe(self) -> None:
        super().breathe()
        self.lease_clock += 1_000
        self.index.now_ms = self.lease_clock

    def until_ms(self) -> int:
        return self.lease_clock + SESSION_MS


def test_a_walk_that_takes_longer_than_a_lease_asks_for_it_at_every_step() -> None:
    """Asked once a task, the lease passed under a large walk, which began anew for ever (core 17)."""
    world = Slow()
    world.register("photo-0", data_sources=["supplier-a"])
    for number in range(1, 60):  # a chain: each of its levels is one more call
        world.register(f"photo-{number}", parents=[f"photo-{number - 1}"])
    world.settle()
    began = world.lease_clock
    case_id = world.withdraw("supplier-a")
    world.settle()
    assert world.lease_clock - began > 10 * SESSION_MS, "long enough to outlive a lease that is asked for once"
    assert world.status(case_id) == "completed"
    assert len({asset for _, asset, _ in world.commanded[case_id]}) == 60
