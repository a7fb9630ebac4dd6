"""One server of a cluster forgets what it was told last, and the others do not (rule "notes again")."""

from __future__ import annotations

import pytest

from expunge.domain.lineage.marks import MarkState
from tests.simulation import World
from tests.unit.test_late_and_back import DAY, restore, state
from tests.unit.test_nothing_escapes import commands, erased


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
