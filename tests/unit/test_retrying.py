"""An operator has it tried at once what would be tried later: commands that are open go out once more."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.aggregates.case import words
from tests.simulation import World, receipt

LONG = 3 * 86_400


def asked(photos: int = 3) -> tuple[World, str]:
    """A person's assets, with a system that takes commands and says nothing, for so long that it is told once a day."""
    world = World()
    for number in range(photos):
        world.register(f"photo-{number}", subjects=["ann"])
    world.settle()
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=2)
    return world, case_id


def attempts(world: World, system: str = "photos") -> list[int]:
    said = world.broker.events(f"commands.{system}")
    return [event["data"]["attempt"] for event in said if event["type"] == "expunge.purge.commanded.v1"]


def retry(world: World, case_id: str, **fields: Any) -> None:
    world.say("case.retried", case_id, **fields)
    world.settle(ticks=1)  # so soon nothing is repeated by itself


def reasons(world: World) -> list[str]:
    return [letter["reason"] for letter in world.dead_letters()]


def test_a_system_that_is_well_again_is_told_at_once() -> None:
    world, case_id = asked()
    world.tick_clocks(LONG)
    world.settle(ticks=3)
    before = attempts(world)
    world.settle(ticks=1)
    assert attempts(world) == before
    del world.answers["photos"]
    retry(world, case_id)
    assert attempts(world) == [*before, max(before) + 1]
    assert world.status(case_id) == "completed"
    (fact,) = (each for each in world.facts(case_id) if each.fact == "retried")
    assert fact.model_dump()["operator"] == "olga"


def test_the_same_word_is_heard_once() -> None:
    world, case_id = asked()
    retry(world, case_id, system="photos")
    before = attempts(world)
    (word,) = (log[-1] for (topic, _), log in world.broker.logs.items() if topic == "controls" and log)
    world.broker.append("controls", "k", word.value)
    world.settle(ticks=1)
    assert attempts(world) == before == [1, 2]
    assert len([each for each in world.facts(case_id) if each.fact == "retried"]) == 1


@pytest.mark.parametrize("fields", [{"system": "ml"}, {}])
def test_where_nothing_is_open_nothing_happens_and_that_is_said(fields: dict[str, str]) -> None:
    world, case_id = asked()
    if not fields:
        del world.answers["photos"]
        retry(world, case_id)
        world.settle(ticks=1)
        assert world.status(case_id) == "completed"
    before = attempts(world)
    retry(world, case_id, reason="once more", **fields)
    assert (attempts(world), reasons(world)) == (before, ["nothing_to_retry"])


def test_what_stands_against_a_command_holds_it_back_as_ever() -> None:
    world, case_id = asked()
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle(ticks=2)
    before = attempts(world)
    retry(world, case_id)
    assert attempts(world) == before
    world.order("emission.resumed", scope={"system": "photos"})
    del world.answers["photos"]
    world.settle(ticks=3)
    assert world.status(case_id) == "completed"


def test_a_command_that_the_broker_refused_goes_out_once_more() -> None:
    world = World()
    world.register("photo-0", subjects=["ann"])
    world.settle()
    world.broker.refuses = lambda each: "unknown_topic" if each.topic == "commands.photos" else ""
    case_id = world.erase("ann")
    world.settle()
    assert not attempts(world)
    world.broker.refuses = lambda _: ""
    retry(world, case_id, system="photos")
    assert attempts(world)
    assert world.status(case_id) == "completed"


def test_a_large_case_is_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "CHUNKS_PER_MESSAGE", 1)
    world = World()
    for system in ("photos", "users"):
        world.register(f"{system}-1", "object", system, subjects=["ann"])
        world.answers[system] = lambda _: []
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=3)
    before = {system: len(attempts(world, system)) for system in ("photos", "users")}
    assert all(before.values())
    retry(world, case_id)
    assert all(len(attempts(world, system)) > number for system, number in before.items())


def test_who_may_not_decide_may_not_have_it_retried() -> None:
    world, case_id = asked()
    world.say("case.retried", case_id, operator="otto")
    world.settle()
    assert reasons(world) in (["not_allowed"], ["undeclared_operator"])


def failing(command: dict[str, Any]) -> list[dict[str, Any]]:
    return [receipt(command, all={"claim": "failed", "reason_code": "busy"})]


def test_what_an_operator_has_tried_uses_up_no_repetition() -> None:
    """Seven of them in a minute had the case given up, and the system asked once a day from then on."""
    world, case_id = asked(1)
    world.answers["photos"] = failing
    for number in range(9):
        retry(world, case_id, reason=f"try {number}")
    assert world.status(case_id) == "purging"
    assert not world.confirmations("partially_completed")
    del world.answers["photos"]
    world.tick_clocks(120)
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"


def test_a_silent_system_is_repeated_as_often_as_ever() -> None:
    world, case_id = asked(1)
    for number in range(9):
        retry(world, case_id, reason=f"try {number}")
    before = len(attempts(world))
    for _ in range(2):
        world.tick_clocks(3700)
        world.settle(ticks=1)
    assert len(attempts(world)) == before + 2
    assert "exhausted" not in {each.fact for each in world.facts(case_id)}


def test_a_withdrawal_that_nobody_has_heard_is_said_once_more() -> None:
    """After a pause and a resume nothing else may be sent before it is answered, and that was repeated after a day."""
    world, case_id = asked(1)
    world.deaf.add("photos")
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle(ticks=1)
    for _ in range(60):
        world.tick_clocks(3600)
        world.settle(ticks=1)
    world.order("emission.resumed", scope={"system": "photos"})
    world.settle(ticks=1)
    world.deaf.clear()
    del world.answers["photos"]
    retry(world, case_id)
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"
