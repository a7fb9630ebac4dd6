"""Registrations: a wrong asset costs itself, and is said to be wrong by its place."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.registry import Registry, System
from tests.simulation import World

GOOD: dict[str, Any] = {"asset": "photo-1", "kind": "object", "system": "photos"}
MANY = "expunge.assets.registered.v1"


def letters(world: World) -> list[tuple[str, str]]:
    return [(each["reason"], each["where"]) for each in world.dead_letters()]


def indexed(world: World) -> set[str]:
    return {event["data"]["asset"] for event in world.broker.events("assets")}


@pytest.mark.parametrize(
    ("wrong", "reason", "where"),
    [
        ({"asset": "x", "kind": "thing", "system": "photos"}, "bad_field", "data.assets.1.kind"),
        ({"asset": "x"}, "missing_field", "data.assets.1.kind"),
        (GOOD | {"purposes": ["unheard-of"]}, "undeclared_purpose", "data.assets.1.purposes"),
        (GOOD | {"subjects": [{"namespace": "user_id", "id": "ann"}]}, "missing_field", "data.assets.1.collected_at"),
        (
            GOOD | {"collected_at": "2026-01-01T00:00:00Z", "subjects": [{"namespace": "email", "id": "no-address"}]},
            "bad_identity",
            "data.assets.1",
        ),
        ("not an object", "wrong_type", "data.assets.1"),
        (7, "wrong_type", "data.assets.1"),
    ],
)
def test_one_wrong_asset_costs_itself(wrong: Any, reason: str, where: str) -> None:
    """edges 17: one bad address in 500 rows left all of them out of the index, and an erasure was completed."""
    world = World()
    world.publish("registrations", MANY, {"assets": [GOOD, wrong, GOOD | {"asset": "photo-3"}]})
    world.settle()
    ((said, place),) = letters(world)
    assert said == reason
    assert place.startswith(where)
    assert indexed(world) == {"photo-1", "photo-3"}


def test_several_wrong_assets_are_so_many_dead_letters_and_a_repetition_adds_none() -> None:
    world = World()
    for _ in range(2):
        world.publish("registrations", MANY, {"assets": [{"asset": "x"}, GOOD, {"asset": "y"}]}, event="batch")
    world.settle()
    events = world.broker.events("dead-letters")
    assert len({event["id"] for event in events}) == 4  # two places, and two messages that lie elsewhere
    assert {event["data"]["where"] for event in events} == {"data.assets.0.kind", "data.assets.2.kind"}


def test_where_all_assets_are_wrong_the_message_is_one_dead_letter() -> None:
    world = World()
    world.publish("registrations", MANY, {"common": {"kind": "thing"}, "assets": [{"asset": "x"}, {"asset": "y"}]})
    world.settle()
    assert letters(world) == [("bad_field", "data.assets.0.kind")]
    assert indexed(world) == set()


@pytest.mark.parametrize("spelling", ["photos:./a", "photos:a//b", "photos:a/", "photos:../a", "photos:"])
def test_where_asset_ids_are_paths_another_spelling_is_refused(spelling: str) -> None:
    """doors 5: a hold covered `photos:a`, and `photos:./a` was deleted, which is the same file."""
    photos = System(name="photos", path_prefix="photos:")
    world = World(registry=Registry(**(World().registry.model_dump() | {"systems": (photos,)})))
    world.publish("registrations", "expunge.asset.registered.v1", GOOD | {"asset": spelling})
    world.publish("registrations", "expunge.asset.registered.v1", GOOD | {"asset": "photos:a/b"})
    world.settle()
    assert letters(world) == [("not_canonical", "data.asset")]
    assert indexed(world) == {"photos:a/b"}
