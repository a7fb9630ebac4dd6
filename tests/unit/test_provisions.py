"""One order, several clocks: photos within 30 days, models within 90, each said when it passes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import World

DAY = 86_400
PHOTOS = {"id": "III(A)", "deadline": "2026-12-01T00:00:00Z", "kinds": ["object"], "obligation": "photos and videos"}
MODELS = {"id": "III(C)", "deadline": "2027-01-30T00:00:00Z", "kinds": ["model", "checkpoint"]}


def ordered(*provisions: dict[str, Any], silent: tuple[str, ...] = (), **fields: Any) -> tuple[World, str]:
    """A supplier's photo, a model made from it, and the order to delete both."""
    world = World()
    for system in silent:
        world.answers[system] = lambda _: []
    world.register("photo", data_sources=["supplier-a"])
    world.register("model", "model", "ml", parents=["photo"])
    world.settle()
    matter = {"authority": "FTC", "docket": "C-4743", "order_date": "2026-11-01", "provisions": list(provisions)}
    case_id = world.withdraw("supplier-a", matter=matter, **fields)
    world.settle(ticks=2)
    return world, case_id


def dues(world: World) -> dict[str, str]:
    """Asset -> the due date that its system was told."""
    topics = world.broker.topics("commands.")
    commands = [event["data"] for topic in topics for event in world.broker.events(topic)]
    return {each["targets"][0]["asset"]: each["due_at"][:10] for each in commands}


def days(world: World, number: int) -> None:
    for _ in range(number):
        world.tick(DAY)
        world.settle(ticks=2)


def test_each_kind_is_told_the_deadline_of_its_provision() -> None:
    world, case_id = ordered(PHOTOS, MODELS)
    assert dues(world) == {"photo": "2026-12-01", "model": "2027-01-30"}
    said = world.confirmations("completed")[0]
    assert (said["regime"], said["due_at"][:10]) == ("order", "2027-01-30")
    assert said["provisions"] == [
        {"provision": "III(A)", "due_at": "2026-12-01T00:00:00.000+00:00", "open": 0},
        {"provision": "III(C)", "due_at": "2027-01-30T00:00:00.000+00:00", "open": 0},
    ]
    days(world, 100)
    assert not world.confirmations("overdue")
    assert world.status(case_id) == "completed"


def test_a_provision_that_passes_with_something_open_is_overdue_before_the_others() -> None:
    world, case_id = ordered(PHOTOS, MODELS, silent=("photos", "ml"))
    days(world, 31)
    (said,) = world.confirmations("overdue")
    assert said["provision"] == "III(A)"
    assert {line["provision"]: line["open"] for line in said["provisions"]} == {"III(A)": 1, "III(C)": 1}
    world.answers.clear()
    days(world, 70)
    assert [each["provision"] for each in world.confirmations("overdue")] == ["III(A)"]
    assert world.status(case_id) == "completed"


def test_a_stage_does_not_wait_past_the_deadline_of_what_comes_after_it() -> None:
    """Models come first and are silent; their 90 days must not hold up the photos, which have 30."""
    world, _ = ordered(PHOTOS, MODELS, silent=("ml",))
    days(world, 29)
    assert "photo" in dues(world)


def test_what_no_provision_is_about_has_the_last_of_the_deadlines() -> None:
    world, _ = ordered(PHOTOS)
    assert dues(world) == {"photo": "2026-12-01", "model": "2026-12-01"}


@pytest.mark.parametrize(
    ("fields", "provisions"),
    [
        ({"regime": "gdpr"}, (PHOTOS,)),
        ({}, (PHOTOS, PHOTOS)),
        ({}, ()),
        ({}, (PHOTOS | {"id": "III(A) of Ann Smith"},)),
        ({}, (PHOTOS | {"deadline": "soon"},)),
        ({}, (PHOTOS | {"categories": ["undeclared"]},)),
    ],
)
def test_a_matter_that_is_not_in_order_is_rejected(
    fields: dict[str, Any], provisions: tuple[dict[str, Any], ...]
) -> None:
    world, case_id = ordered(*provisions, **fields)
    assert world.status(case_id) == "none"
    assert len(world.rejections()) == 1
