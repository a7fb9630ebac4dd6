"""What systems say is held against its own numbers, bounded, and believed only where they were asked."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from expunge.domain.partition import partition_of
from expunge.domain.registry import System
from expunge.domain.vocabulary import DONE_WORTH, MEANINGS, OPEN_LETTER, After, Claim
from tests.simulation import ALL_ACTIONS, PARTITIONS, REGISTRY, World, receipt


def counts_of(world: World, case_id: str) -> dict[str, int]:
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    return {f"{line.claim}:{line.reason}" if line.reason else line.claim: number for line, number in case.counts}


NUMBERS: list[tuple[str, dict[str, Any], str]] = [
    ("deleted", {"matched": 0}, "not_found"),
    ("deleted", {"matched": 0, "affected": 0}, "not_found"),
    ("key_destroyed", {"matched": 0}, "not_found"),
    ("deleted", {"matched": 3, "affected": 1}, "failed:fewer_affected_than_matched"),
    ("deleted", {"matched": 3, "affected": 0}, "failed:fewer_affected_than_matched"),
    ("deleted", {"affected": 0}, "failed:nothing_affected"),
    ("deleted", {"matched": 3, "affected": 3}, "deleted"),
    ("deleted", {"matched": 3}, "deleted"),
    ("deleted", {"affected": 1}, "deleted"),
    ("not_found", {"matched": 0, "affected": 0}, "not_found"),
    ("exempt", {"matched": 3, "affected": 0}, "exempt"),
    ("deferred", {"matched": 3, "affected": 0}, "deferred"),
]


@pytest.mark.parametrize(("claim", "numbers", "read"), NUMBERS, ids=str)
@pytest.mark.parametrize("place", ["all", "results", "exceptions"])
@pytest.mark.parametrize("what", ["asset", "holding"])
def test_numbers_are_judged_wherever_they_stand(
    claim: str, numbers: dict[str, Any], read: str, place: str, what: str
) -> None:
    world = World()
    if what == "holding":
        world.declare_holding("users.db", namespaces=["user_id"])
    else:
        world.register("users.db", "record", "users", subjects=["ann"])
    world.settle(ticks=1)
    said = {"claim": claim} | numbers
    world.answers["users"] = lambda command: [
        receipt(command, all=said) if place == "all" else receipt(command, **{place: [{"asset": "users.db"} | said]})
    ]
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert counts_of(world, case_id) == {read: 1}


# What was discovered


@pytest.mark.parametrize("where", ["holding", "object", "dataset"])
@pytest.mark.parametrize("place", ["all", "results"])
def test_what_a_system_discovers_is_commanded_in_the_case_that_asked(where: str, place: str) -> None:
    world = World()
    world.declare_holding("users.db", namespaces=["user_id"])
    world.register("photo", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo"])
    world.settle(ticks=1)
    asset, system = {"holding": ("users.db", "users"), "object": ("photo", "photos"), "dataset": ("set", "ml")}[where]
    found = [{"asset": "export-of-ann.csv", "kind": "object"}]
    claims = {"delete": "deleted", "rebuild_without": "rebuilt_without"}

    def answer(command: dict[str, Any]) -> list[dict[str, Any]]:
        claim = {"claim": claims[command["action"]]}
        if [target["asset"] for target in command["targets"]] != [asset]:
            return [receipt(command, all=claim)]
        said = claim | {"discovered": found}
        return [receipt(command, all=said) if place == "all" else receipt(command, results=[{"asset": asset} | said])]

    world.answers[system] = answer
    case_id = world.erase("ann")
    world.settle(ticks=3)
    assert (system, "export-of-ann.csv", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_a_case_does_not_end_before_what_was_discovered_is_in_the_index() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    found = [{"asset": "copy", "kind": "object"}]
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "deleted", "discovered": found})]
    case_id = world.erase("ann")
    for _ in range(10):
        while any([world.step(role, 50) for role in world.roles if role != "indexer"] + [world.answer_all()]):
            pass
        world.tick(6)
    assert not world.confirmations("completed", case_id=case_id)
    world.settle(ticks=3)
    assert ("photos", "copy", "delete") in world.commanded[case_id]
    assert not world.confirmations("reopened", case_id=case_id)


def test_a_system_discovers_nothing_in_another() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("crown-jewels", "model", "ml", subjects=["somebody else"])
    world.settle(ticks=1)
    found = [{"asset": "crown-jewels", "kind": "model", "system": "ml"}]
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "deleted", "discovered": found})]
    case_id = world.erase("ann")
    world.settle(ticks=3)
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo"}
    assert [letter["reason"] for letter in world.dead_letters()] == ["not_its_system"]


def test_a_receipt_that_nobody_asked_for_registers_nothing() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("ledger", "record", "photos")
    world.settle(ticks=1)
    said = {"command_id": "1" * 32, "case_id": "2" * 32, "system": "photos", "attempt": 1}
    found = [{"asset": "ledger", "kind": "record"}]
    forged = receipt(said, results=[{"asset": "photo", "claim": "deleted", "discovered": found}])
    world.publish("receipts.photos", "expunge.purge.receipted.v1", forged, source="/photos")
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo"}


def test_what_a_system_discovers_in_what_it_was_not_told_to_purge_is_nothing() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("ledger", "record", "photos")
    world.settle(ticks=1)
    found = [{"asset": "ledger", "kind": "record"}]
    world.answers["photos"] = lambda command: [
        receipt(command, all={"claim": "deleted"}, exceptions=[{"asset": "x", "claim": "deleted", "discovered": found}])
    ]
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo"}


# What names a command


def test_to_name_a_command_lets_an_asset_be_only_where_that_command_makes_something_and_the_index_agrees() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.register("other")
    world.register("set", "dataset", "ml", parents=["photo", "other"])
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    told = [event["data"] for system in ("photos", "ml") for event in world.broker.events(f"commands.{system}")]
    ids = {data["action"]: data["command_id"] for data in told}
    world.register("trash/photo", parents=["photo"], command_id=ids["delete"])
    world.register("cv", subjects=["ann"], system="users", command_id=ids["rebuild_without"])
    world.register("set-with-photo", "dataset", "ml", parents=["photo"], command_id=ids["rebuild_without"])
    world.register("set-2", "dataset", "ml", parents=["set", "other"], command_id=ids["rebuild_without"])
    world.register("set", "dataset", "ml", parents=["other"], command_id=ids["rebuild_without"], event="in its place")
    world.settle(ticks=3)
    commanded = [asset for _, asset, _ in world.commanded[case_id]]
    assert {"trash/photo", "cv", "set-with-photo"} <= set(commanded)
    assert "set-2" not in commanded
    assert commanded.count("set") == 1


# Bounds


@pytest.mark.parametrize("unique", ["reason_code", "until"])
def test_a_case_does_not_grow_with_what_systems_say(unique: str) -> None:
    photos = System(name="photos", actions=ALL_ACTIONS, batch_size=500, timeout_seconds=60, retry_seconds=3600)
    world = World(registry=REGISTRY.model_copy(update={"systems": (photos, *REGISTRY.systems[1:])}))
    for number in range(600):
        world.register(f"a{number}", subjects=["ann"])
    while world.step("indexer", 5000):
        pass

    def answer(command: dict[str, Any]) -> list[dict[str, Any]]:
        said: dict[str, Any] = {"claim": "failed"} if unique == "reason_code" else {"claim": "deferred"}
        return [
            receipt(
                command,
                results=[
                    {"asset": target["asset"]} | said | {unique: _word(unique, number)}
                    for number, target in enumerate(command["targets"])
                ],
            )
        ]

    world.answers["photos"] = answer
    case_id = world.erase("ann")
    world.settle(ticks=0)
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    assert len(case.counts) <= 40
    assert sum(number for _, number in case.counts) == 600


def _word(unique: str, number: int) -> str:
    if unique == "reason_code":
        return f"err-{uuid.uuid4()}"
    return f"{2027 + number // 28}-01-{1 + number % 28:02}T00:00:00Z"


@pytest.mark.parametrize("status", ["before", "after"])
def test_a_promise_ends_with_the_due_date_and_after_that_with_a_day(status: str) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle(ticks=1)
    world.answers["photos"] = lambda command: [receipt(command, status="accepted", expected_by="2099-01-01T00:00:00Z")]
    received = "2026-11-01T11:00:00Z" if status == "before" else "2026-01-01T00:00:00Z"
    world.erase("ann", received_at=received)
    world.settle(ticks=1)
    days = 33 if status == "before" else 3
    for _ in range(days):
        world.tick(86_400)
        world.settle(ticks=0)
    assert len(world.broker.events("commands.photos")) >= 3


def test_what_goes_to_one_aggregate_leaves_in_one_wave() -> None:
    """An operator's word for one case must not be overtaken by what another case says later."""
    from expunge.domain.aggregates.case.effects import Reschedule, SendCommand, WithdrawCommand
    from expunge.roles.coordinator.effects import FIRST

    assert {Reschedule, SendCommand, WithdrawCommand} <= set(FIRST)


def test_a_claim_is_one_row() -> None:
    """What it answers, whether it ends, what it means for marks, and its letter stood in six places."""
    assert set(MEANINGS) == set(Claim)
    letters = [meaning.letter for meaning in MEANINGS.values()]
    assert len({*letters, OPEN_LETTER}) == len(letters) + 1
    assert all(meaning.answers for meaning in MEANINGS.values())
    assert {claim for claim, meaning in MEANINGS.items() if meaning.after is After.GONE} == {
        Claim.DELETED,
        Claim.KEY_DESTROYED,
        Claim.NOT_FOUND,
    }
    assert Claim.NOT_FOUND not in {claim for claim, meaning in MEANINGS.items() if meaning.worth == DONE_WORTH}
