"""One server of a cluster forgets what it was told last, and the others do not (rule "notes again")."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from expunge.adapters.memory.stores import _Reader
from expunge.domain.lineage.marks import MarkState
from expunge.errors import NotUnderstood
from expunge.wire.receipts import RECEIPT
from tests.poison import frozen, poisoned
from tests.simulation import PARTITIONS, World, honest, receipt
from tests.unit.test_forgetting import forget
from tests.unit.test_late_and_back import DAY, restore, state
from tests.unit.test_nothing_escapes import MARCH, commands, erased


def saved_before(role: str) -> tuple[World, str]:
    """A photo is purged, and the index forgets whatever it was told since a role had its turn on the request."""
    world = World(apart=True)
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    told = ("intake", "coordinator") if role == "resolver" else ("intake", "coordinator", "resolver")
    for each in told * 9:
        world.step(each, 50)
    assert world.broker.events("tasks" if role == "resolver" else "commands.photos")
    world.save()
    world.settle()
    assert world.status(case_id) == "completed"
    return world, case_id


@pytest.mark.parametrize("role", ["resolver", "receipts"])
def test_an_index_that_has_forgotten_what_is_gone_is_told_again(role: str) -> None:
    world, case_id = saved_before(role)
    assert state(world, "photo") == [MarkState.GONE]
    world.forget(["index"])
    assert state(world, "photo") != [MarkState.GONE]
    world.settle()
    assert state(world, "photo") == [MarkState.GONE]
    assert commands(world, case_id, "photo") == 1
    world.tick(DAY)
    restore(world, "photo")
    assert commands(world, case_id, "photo") == 2
    assert len(world.confirmations("reopened", case_id=case_id)) == 1


def test_what_came_back_before_its_note_was_made_again_is_commanded_again() -> None:
    world, case_id = saved_before("receipts")
    world.forget(["index"])
    world.tick(DAY)
    world.register("photo", subjects=["ann"], event="restored")
    while world.step("indexer"):
        pass
    world.settle()
    assert commands(world, case_id, "photo") == 2


def test_a_state_that_has_forgotten_what_the_index_knows_ends_as_it_would_have() -> None:
    world, case_id = saved_before("receipts")
    ended = world.confirmations("completed", case_id=case_id)
    world.forget(["state"])
    world.settle()
    assert {each["plan_digest"] for each in world.confirmations("completed", case_id=case_id)} == {
        each["plan_digest"] for each in ended
    }
    world.tick(DAY)
    restore(world, "photo")
    assert commands(world, case_id, "photo") == 2


def test_nothing_is_noted_again_of_what_is_read_again_and_was_not_forgotten() -> None:
    world = World(apart=True)
    case_id = erased(world, "photo")
    before = world.index.marks([world.keys.asset("photo")])
    for partition in range(2):
        world.replay("coordinator", "cases", partition, 99)
    world.settle()
    assert world.index.marks([world.keys.asset("photo")]) == before
    assert commands(world, case_id, "photo") == 1


@pytest.mark.parametrize("apart", [True, False])
def test_a_set_that_came_back_and_was_rebuilt_is_not_noted_as_gone(*, apart: bool) -> None:
    """Bob's data is in the set: as gone it was swept, and Bob heard that all was done."""
    world = World(apart=apart)
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "deleted"})]
    world.register("photo", subjects=["ann"])
    world.register("photo-b", subjects=["bob"])
    world.register("set", "dataset", "ml", parents=["photo", "photo-b"])
    world.settle()
    world.erase("ann")
    for each in ("intake", "coordinator", "resolver") * 9:
        world.step(each, 50)
    covered = {place: reached for place, reached in world.covered.items() if place[0] == "cases"}
    world.settle()
    world.tick(DAY)
    del world.answers["ml"]
    world.register("set", "dataset", "ml", parents=["photo", "photo-b"], event="restored")
    world.settle(ticks=3)
    assert state(world, "set") == [MarkState.CLEAN]
    world.register("set", "dataset", "ml", parents=["photo", "photo-b"], purposes=["training"], event="inventory")
    world.settle(ticks=3)
    world.covered |= covered  # another server of the cluster, on which nothing of this lies
    world.run += 1
    world.settle(ticks=3)
    assert state(world, "set") == [MarkState.CLEAN]


@pytest.mark.parametrize("apart", [True, False])
def test_what_comes_back_twice_is_commanded_twice_though_a_receipt_is_heard_late(*, apart: bool) -> None:
    world = World(apart=apart)
    case_id = erased(world, "photo")
    world.tick(DAY)
    heard: list[dict[str, Any]] = []

    def silent(command: dict[str, Any]) -> list[dict[str, Any]]:
        heard.append(command)
        return []

    world.answers["photos"] = silent
    world.register("photo", subjects=["ann"], event="restored")
    for _ in range(9):
        world.deliver()
        world.answer_all()
        world.tick(1)
    number = commands(world, case_id, "photo")
    world.publish("receipts.photos", RECEIPT, receipt(heard[-1], all={"claim": "deleted"}), source="/photos")
    world.tick(2)
    world.register("photo", subjects=["ann"], purposes=["training"], event="restored from another backup")
    world.tick(1)
    for _ in range(4):
        for role in ("indexer", "coordinator", "resolver", "coordinator"):
            world.step(role, 50)
        world.tick(1)
    del world.answers["photos"]
    world.settle()
    assert commands(world, case_id, "photo") == number + 1


def test_a_receipt_that_had_waited_for_a_thaw_is_noted_again_too() -> None:
    world = World(apart=True)
    world.register("photo", subjects=["ann"])
    world.settle()
    poisoned(world, world.keys.case("/app", "r1"))
    answers = [honest]
    world.answers["photos"] = lambda command: answers.pop()(command) if answers else []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert frozen(world, case_id)
    world.poison = lambda *_: False
    world.deliver()
    world.save()
    world.thaw(case_id)
    world.settle(ticks=2)
    world.forget(["index"])
    world.settle(ticks=2)
    world.tick(DAY)
    del world.answers["photos"]
    restore(world, "photo")
    assert commands(world, case_id, "photo") == 2


def test_what_a_newer_version_wrote_ends_no_coordinator(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(apart=True)
    erased(world, "photo")

    def newer(*_: object) -> NoReturn:
        raise NotUnderstood("unknown_state")

    monkeypatch.setattr(_Reader, "chunk_of", newer)
    monkeypatch.setattr(_Reader, "chunk", newer)
    for partition in range(PARTITIONS):
        world.replay("coordinator", "cases", partition, 999)
    assert world.step("coordinator", 50)


def test_what_was_let_be_when_it_came_back_is_never_swept_for_a_note() -> None:
    """It was swept, and its person's erasure ended without a command for it."""
    world = World(apart=True)
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "deleted"})]
    world.register("photo", subjects=["ann"], purposes=["marketing"])
    world.register("crop", parents=["photo"], purposes=["marketing"])
    world.settle()
    case_id = world.revoke("ann", "marketing")
    world.settle()
    world.tick(30 * DAY)
    world.grant("ann", "marketing", received_at="2026-11-20T00:00:00Z")
    world.settle()
    world.register("crop", subjects=["ann"], purposes=["marketing"], collected_at=MARCH, event="collected anew")
    world.settle(ticks=3)
    assert commands(world, case_id, "crop") == 1
    for partition in range(PARTITIONS):
        world.replay("coordinator", "cases", partition, 9999)
    world.settle(ticks=3)
    del world.answers["photos"]
    forget(world, case_id)
    world.tick(5 * DAY)
    world.settle()
    world.sweep()
    other = world.erase("ann", request="r2", received_at=world.broker.now.isoformat())
    world.settle()
    assert commands(world, other, "crop") == 1


def test_what_another_system_answered_later_keeps_no_note_from_being_made_again() -> None:
    world, held = World(apart=True), list[dict[str, Any]]()

    def silent(command: dict[str, Any]) -> list[dict[str, Any]]:
        held.append(command)
        return []

    world.register("photo", subjects=["ann"])
    world.settle()
    world.answers["photos"] = silent
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "exempt", "reason": "legal", "basis": "law"})]
    case_id = world.erase("ann")
    for _ in range(6):
        world.deliver()
        world.answer_all()
        world.tick(1)
    world.register("photo", system="ml", subjects=["ann"], event="in ml, too")
    for _ in range(8):
        world.deliver()
        world.answer_all()
        world.tick(1)
    world.save()
    world.publish("receipts.photos", RECEIPT, receipt(held[-1], all={"claim": "deleted"}), source="/photos")
    world.settle(ticks=3)
    world.forget(["index"])
    world.settle(ticks=3)
    world.tick(DAY)
    del world.answers["photos"]
    before = commands(world, case_id, "photo")
    restore(world, "photo")
    assert commands(world, case_id, "photo") > before


@pytest.mark.parametrize("first", ["coordinator", "resolver"])
def test_what_was_planned_later_and_is_walked_earlier_is_noted_again(first: str) -> None:
    """A walk that is done again meets what was made known later, and owns its mark."""
    world = World(apart=True)
    world.register("photo", subjects=["ann"])
    world.register("crop")
    world.register("thumb", "embedding", "ml", parents=["crop"])
    world.settle()
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "deleted"})]
    case_id = world.erase("ann")
    for each in ("intake", "coordinator") * 9:
        world.step(each, 50)
    world.save()
    world.settle()
    world.tick(DAY)
    world.register("crop", parents=["photo"], event="now it is said")
    world.settle()
    assert state(world, "thumb") == [MarkState.GONE]
    world.forget(["index"])
    while world.step("indexer", 50):
        pass
    while world.step(first, 50):
        pass
    world.settle(ticks=3)
    world.tick(DAY)
    world.register("thumb", "embedding", "ml", parents=["crop"], event="restored")
    world.settle()
    assert commands(world, case_id, "thumb") == 2
