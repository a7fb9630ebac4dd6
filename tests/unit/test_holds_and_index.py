"""What a hold covers by everything that the index knows, or learns, before a command leaves, is never commanded."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from expunge.domain.aggregates.case.holds import HoldsFound, IndexChanged
from expunge.domain.partition import partition_of
from tests.simulation import PARTITIONS, World, receipt

ROLES = ("intake", "resolver", "coordinator", "notary")


def place(world: World, scope: dict[str, Any], hold: str = "h1") -> None:
    world.order("hold.placed", key=hold, hold_id=hold, scope=scope, basis="litigation", custodian="counsel")


def run(world: World, *but: str) -> None:
    """Everything that can happen without time passing, and without some roles."""
    roles = [role for role in world.roles if role not in but]
    while [role for role in roles if world.step(role, 50)]:
        pass


def held(world: World, case_id: str) -> int:
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    return int(case.count(frozenset({"held"})))


def furnished(*, paused: bool = False) -> World:
    world = World()
    world.register("evidence")
    world.register("copy", subjects=["ann"])
    world.settle(ticks=1)
    place(world, {"asset": "evidence"})
    if paused:
        world.order("emission.paused", scope={"all": True}, reason="x", key="p")
    world.settle(ticks=1)
    return world


NEWS: dict[str, dict[str, Any]] = {
    "made from it": {"asset": "copy", "parents": ["evidence"]},
    "another name of it": {"asset": "copy", "aliases": ["evidence"]},
    "it is another name": {"asset": "evidence", "aliases": ["copy"]},
}


@pytest.mark.parametrize("news", NEWS, ids=str)
@pytest.mark.parametrize("when", ["before a repetition", "while it is paused"])
def test_what_the_index_learns_before_a_command_leaves_keeps_it_back(news: str, when: str) -> None:
    world = furnished(paused=when == "while it is paused")
    world.answers["photos"] = lambda command: [receipt(command, all={"claim": "failed", "reason_code": "busy"})]
    case_id = world.erase("ann")
    world.settle(ticks=1)
    before = len(world.commanded[case_id])
    world.register(event="what was not known", **NEWS[news])
    run(world)
    del world.answers["photos"]
    world.order("emission.resumed", scope={"all": True}, key="p")
    world.settle(ticks=1)
    for _ in range(3):
        world.tick(86_400)
        world.settle(ticks=1)
    assert world.commanded[case_id][before:] == []
    assert world.status(case_id) == "completed_with_deferrals"
    world.order("hold.released", key="h1", hold_id="h1")
    world.settle(ticks=3)
    assert ("photos", "copy", "delete") in world.commanded[case_id][before:]
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_what_was_commanded_before_the_index_could_know_is_withdrawn() -> None:
    world = furnished()
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert world.commanded[case_id] == [("photos", "copy", "delete")]
    world.register("copy", parents=["evidence"], event="what was not known")
    world.settle(ticks=1)
    (withdrawn,) = [e for e in world.broker.events("commands.photos") if e["type"].endswith("withdrawn.v1")]
    assert withdrawn["data"]["reason"] == "hold"
    assert held(world, case_id) == 1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_ancestor_of_which_the_case_knows_nothing_tells_it_all_the_same(steps: int) -> None:
    """The case never came to what lies above; only the look for the hold did."""
    world = World()
    world.register("evidence")
    names = [f"step-{number}" for number in range(steps)]
    for above, below in pairwise(names):
        world.register(below, parents=[above])
    world.register("copy", subjects=["ann"], parents=[names[-1]])
    place(world, {"asset": "evidence"})
    world.order("emission.paused", scope={"all": True}, reason="x", key="p")
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.register(names[0], parents=["evidence"])  # nobody has stated anything of it before
    world.settle(ticks=1)
    world.order("emission.resumed", scope={"all": True}, key="p")
    world.settle(ticks=2)
    assert world.commanded[case_id] == []


@pytest.mark.parametrize("scope", [{"subject": {"namespace": "user_id", "id": "bob"}}, {"data_source": "supplier-a"}])
def test_an_ancestor_that_comes_to_name_the_held_person_or_source_keeps_the_command_back(scope: dict[str, Any]) -> None:
    world = World()
    world.register("scan")
    world.register("copy", subjects=["ann"], parents=["scan"])
    world.settle(ticks=1)
    place(world, scope)
    world.order("emission.paused", scope={"all": True}, reason="x", key="p")
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.register("scan", subjects=["bob"], data_sources=["supplier-a"])
    world.settle(ticks=1)
    world.order("emission.resumed", scope={"all": True}, key="p")
    world.settle(ticks=2)
    assert world.commanded[case_id] == []


def behind_the_inlets() -> tuple[World, str]:
    """A hold on what a statement concerns that lies on the inlets still, and a request for that."""
    world = World()
    world.register("evidence")
    world.register("copy", subjects=["ann"])
    world.settle(ticks=1)
    world.register("copy", parents=["evidence"], event="on its way")
    place(world, {"asset": "evidence"})
    return world, world.erase("ann")


def test_a_hold_waits_for_what_lay_on_the_inlets_before_it() -> None:
    """The statement lay there before hold and request, and the indexer was half a minute behind."""
    world, case_id = behind_the_inlets()
    for _ in range(20):
        run(world, "indexer")
        world.tick(3)
    assert not world.broker.events("commands.photos")
    world.settle(ticks=2)
    assert world.commanded[case_id] == []
    assert world.status(case_id) == "completed_with_deferrals"


def test_indexers_that_are_away_delay_a_command_for_a_day_and_it_is_said_then() -> None:
    world, case_id = behind_the_inlets()
    for _ in range(25):
        run(world, "indexer")
        world.tick(3600)
    run(world, "indexer")
    assert len(world.broker.events("commands.photos")) == 1
    assert any(isinstance(fact, HoldsFound) and fact.ahead for fact in world.facts(case_id))
    world.answers["photos"] = lambda _: []
    world.settle(ticks=1)  # the indexers are back: it is withdrawn
    assert held(world, case_id) == 1


def test_a_statement_that_changes_nothing_asks_for_no_look() -> None:
    world = furnished()
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    for number in range(3):
        world.register("copy", subjects=["ann"], event=f"inventory {number}")
    world.settle(ticks=1)
    assert not any(isinstance(fact, IndexChanged) for fact in world.facts(case_id))


def test_without_a_hold_nothing_is_watched() -> None:
    world = World()
    world.register("copy", subjects=["ann"])
    world.settle(ticks=1)
    world.erase("ann")
    world.settle(ticks=1)
    assert not any(world.index.watched.values())
