"""A case told as sentences: every fact has one, none names anybody, and what is alike is told once."""

from __future__ import annotations

import re
from datetime import datetime

from expunge.domain.aggregates.case import facts
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.report.history import SENTENCES, told
from expunge.wire import ledger
from tests.simulation import World
from tools.story import story


def said_of(world: World, case_id: str) -> list[tuple[datetime, CaseFact]]:
    found: dict[int, tuple[datetime, CaseFact]] = {}
    for event in world.broker.events("ledger"):
        if event["data"].get("case_id") == case_id:
            fact = ledger.read(event["type"], event["data"]["body"])
            if isinstance(fact, CaseFact):
                found.setdefault(event["data"]["sequence"], (datetime.fromisoformat(event["time"]), fact))
    return [found[number] for number in sorted(found)]


def test_every_fact_has_a_sentence_or_says_nothing_that_people_need() -> None:
    assert SENTENCES.keys() == {each.fact for each in facts.ALL}


def test_every_case_that_ever_was_can_be_told() -> None:
    """Of all facts, in every order in which they are said: no sentence is empty, or names an asset or a person."""
    world = story()
    cases = {event["data"]["case_id"] for event in world.broker.events("ledger") if "case_id" in event["data"]}
    sentences = [each for case_id in cases for each in told(said_of(world, case_id))]
    assert len(sentences) > 100
    for each in sentences:
        assert each.text
        assert "  " not in each.text
        assert "None" not in each.text
        assert not re.search(r"photo-|frame-|\b(ann|bob|cleo|finn)\b", each.text)


def test_a_plain_case_reads_as_what_happened() -> None:
    world = World()
    for number in range(3):
        world.register(f"photo-{number}", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo-0"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    texts = [each.text for each in told(said_of(world, case_id))]
    assert texts[0].startswith("app asked, under gdpr (erasure")
    assert "photos was told to delete 3 objects" in texts
    assert any(each.startswith("photos answered: 3 ") for each in texts)
    assert texts[-1] == "the case ended: completed"
    order = [at for at, text in enumerate(texts) if "told to" in text or "answered" in text]
    assert order == sorted(order)


def test_what_is_far_apart_is_told_apart() -> None:
    world = World()
    for number in range(2):
        world.register(f"photo-{number}", subjects=["ann"])
    world.answers["photos"] = lambda _: []
    world.settle()
    case_id = world.erase("ann")
    world.settle(ticks=2)
    for _ in range(3):
        world.tick(86_400)
        world.settle(ticks=1)
    texts = [each.text for each in told(said_of(world, case_id))]
    assert texts.count("photos was told to delete 2 objects") > 1
