"""Purposes that derived assets inherit from what they were made from, unless they state their own."""

from __future__ import annotations

import itertools

import pytest

from tests.simulation import World

FIELDS: dict[str, dict[str, object]] = {
    "photo": {"subjects": ["ann"], "purposes": ["training"]},
    "card": {"subjects": ["ann"], "purposes": ["training", "marketing"]},
    "vector": {"kind": "embedding", "parents": ["photo"]},
    "thumb": {"parents": ["vector"]},
    "both": {"kind": "embedding", "parents": ["photo", "card"]},
    "own": {"kind": "embedding", "parents": ["photo"], "purposes": ["marketing"]},
    "set": {"kind": "dataset", "parents": ["vector"]},
    "unknown": {"kind": "embedding", "parents": ["photo", "nobody-registered-this"]},
}
EXPECTED = {
    ("photo", "delete"),
    ("card", "restrict"),
    ("vector", "delete"),
    ("thumb", "delete"),
    ("both", "restrict"),
    ("set", "rebuild_without"),
    ("unknown", "restrict"),
}


def done(world: World, case_id: str) -> set[tuple[str, str]]:
    return {(asset, action) for _, asset, action in world.commanded[case_id]}


@pytest.mark.parametrize("order", list(itertools.islice(itertools.permutations(FIELDS), 0, 40_000, 4_001)))
def test_what_is_left_when_a_purpose_is_revoked(order: tuple[str, ...]) -> None:
    world = World()
    for asset in order:
        world.register(asset, **FIELDS[asset])  # type: ignore[arg-type]
    world.settle(ticks=1)
    case_id = world.revoke("ann", "training")
    world.settle(ticks=2)
    assert done(world, case_id) == EXPECTED
    assert world.status(case_id) == "completed"


def test_one_that_comes_late_inherits_too() -> None:
    world = World()
    world.register("photo", subjects=["ann"], purposes=["training"])
    case_id = world.revoke("ann", "training")
    world.settle(ticks=2)
    world.register("vector", "embedding", "ml", parents=["photo"])
    world.settle(ticks=2)
    assert done(world, case_id) == {("photo", "delete"), ("vector", "delete")}


def test_a_cycle_and_a_crowd_of_parents_inherit_nothing() -> None:
    world = World()
    world.register("one", subjects=["ann"], parents=["two"])
    world.register("two", parents=["one"])
    for number in range(20):
        world.register(f"part-{number}", subjects=["ann"], purposes=["training"])
    world.register("crowd", "embedding", "ml", parents=[f"part-{number}" for number in range(20)])
    world.settle(ticks=1)
    case_id = world.revoke("ann", "training")
    world.settle(ticks=2)
    assert {("one", "restrict"), ("two", "restrict"), ("crowd", "restrict")} <= done(world, case_id)
