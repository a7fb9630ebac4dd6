"""Requests that meet on the same assets: each pair in both orders, each case with its own expected outcome.

A case owes what its own request asks for, whatever another case has done already; agents say again what is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.simulation import World

Ask = Callable[[World, str], str]
Outcome = set[tuple[str, str]]


def person(who: str) -> Ask:
    return lambda world, request: world.erase(who, request=request)


def revocation(who: str, *purposes: str) -> Ask:
    return lambda world, request: world.revoke(who, *purposes, request=request)


def source(world: World, request: str) -> str:
    return world.withdraw("supplier-a", request=request)


def asset(world: World, request: str) -> str:
    return world.withdraw_assets("group", request=request)


def restriction(who: str) -> Ask:
    return lambda world, request: world.restrict(who, request=request)


def cancelled_at_once(who: str) -> Ask:
    """An erasure that is taken back before anything of it was done."""

    def ask(world: World, request: str) -> str:
        world.order("emission.paused", key=request, scope={"case_id": world.keys.case("/app", request)}, reason="x")
        case_id = world.erase(who, request=request)
        world.settle()
        world.say("request.cancelled", case_id, reason="another person")
        return case_id

    return ask


def cancelled_after_all(who: str) -> Ask:
    """An erasure that is taken back when everything was done: what is gone is gone."""

    def ask(world: World, request: str) -> str:
        case_id = world.erase(who, request=request)
        world.settle()
        world.say("request.cancelled", case_id, reason="another person")
        return case_id

    return ask


def under_hold(asset_id: str, who: str) -> Ask:
    """An erasure under a hold that covers one asset in every case, until it is released at the end."""

    def ask(world: World, request: str) -> str:
        fields = {"basis": "b", "custodian": "c"}
        world.order("hold.placed", key="hold", hold_id="hold", scope={"asset": asset_id}, **fields)
        world.settle()
        return world.erase(who, request=request)

    return ask


def both_names(world: World, request: str) -> str:
    subjects = [{"namespace": "user_id", "id": "ann"}, {"namespace": "email", "id": "ann@example.com"}]
    return world.request("expunge.erasure.requested.v1", request, subjects=subjects)


def furnished() -> World:
    """Ann's portrait, a group photo of Ann and Bob, a set of both from a supplier, a model of the set, Ann's letter."""
    world = World()
    both = ["training", "marketing"]
    world.register("portrait", subjects=["ann"], data_sources=["supplier-a"], purposes=["training"])
    world.register("group", subjects=["ann", "bob"], data_sources=["supplier-a"], purposes=both)
    world.register("set", "dataset", "ml", parents=["portrait", "group"])
    world.register("model", "model", "ml", parents=["set"])
    world.register("letter", subjects=["ann"], purposes=["marketing"])
    world.settle()
    return world


ANN: Outcome = {
    ("portrait", "delete"),
    ("group", "redact"),
    ("set", "rebuild_without"),
    ("model", "retrain_without"),
    ("letter", "delete"),
}
BOB: Outcome = {("group", "redact"), ("set", "rebuild_without"), ("model", "retrain_without")}
SOURCE: Outcome = {("portrait", "delete"), ("group", "delete"), ("set", "rebuild_without"), ("model", "delete")}
GROUP: Outcome = {("group", "delete"), ("set", "rebuild_without"), ("model", "retrain_without")}
# What states no purpose, or another one, too, is restricted for the one that is revoked; what carries it alone goes.
TRAINING: Outcome = {
    ("portrait", "delete"),
    ("group", "restrict"),
    ("set", "restrict"),
    ("model", "restrict"),
}


RESTRICTED: Outcome = {(named, "restrict") for named in ("portrait", "group", "set", "model", "letter")}


class Pair(NamedTuple):
    first: Ask
    expected: Outcome
    second: Ask
    expected_of_second: Outcome
    statuses: tuple[str, str] = ("completed", "completed")


PAIRS = {
    "the same person twice": Pair(person("ann"), ANN, person("ann"), ANN),
    "two people in one photo": Pair(person("ann"), ANN, person("bob"), BOB),
    "a person inside a withdrawn source": Pair(person("ann"), ANN, source, SOURCE),
    "a revocation and an erasure": Pair(revocation("ann", "training"), TRAINING, person("ann"), ANN),
    "a revocation and a withdrawn source": Pair(revocation("ann", "training"), TRAINING, source, SOURCE),
    "a restriction and an erasure": Pair(restriction("ann"), RESTRICTED, person("ann"), ANN),
    "a restriction and a revocation": Pair(restriction("ann"), RESTRICTED, revocation("ann", "training"), TRAINING),
    "a restriction and a withdrawn source": Pair(restriction("ann"), RESTRICTED, source, SOURCE),
    "one that is cancelled at once, and the same person": Pair(
        cancelled_at_once("ann"), set(), person("ann"), ANN, ("cancelled", "completed")
    ),
    "one that is cancelled after all, and another person": Pair(
        cancelled_after_all("ann"), ANN, person("bob"), BOB, ("cancelled", "completed")
    ),
    "one that is cancelled at once, and a source": Pair(
        cancelled_at_once("ann"), set(), source, SOURCE, ("cancelled", "completed")
    ),
    "an erasure under hold and another person": Pair(under_hold("group", "ann"), ANN, person("bob"), BOB),
    "an erasure under hold and a source": Pair(under_hold("portrait", "ann"), ANN, source, SOURCE),
    "a restriction and one under hold": Pair(restriction("ann"), RESTRICTED, under_hold("letter", "ann"), ANN),
    "two identities of one person, then all": Pair(person("ann"), ANN, both_names, ANN),
    "a withdrawn photo and a person in it": Pair(asset, GROUP, person("bob"), BOB),
    "a withdrawn photo and its source": Pair(asset, GROUP, source, SOURCE),
}


@pytest.mark.parametrize("at_once", [False, True], ids=["one after the other", "at once"])
@pytest.mark.parametrize("turned", [False, True], ids=["in this order", "the other way round"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_each_case_asks_for_what_its_request_asked_for(pair: Pair, *, turned: bool, at_once: bool) -> None:
    world = furnished()
    asked = [(pair.first, pair.expected), (pair.second, pair.expected_of_second)]
    cases = {}
    statuses = list(zip(asked, pair.statuses, strict=True))
    for number, ((ask, expected), status) in enumerate(reversed(statuses) if turned else statuses):
        cases[ask(world, f"request-{number}")] = (expected, status)
        if not at_once:
            world.settle()
    world.settle()
    world.order("hold.released", key="hold", hold_id="hold")
    world.settle()
    for case_id, (expected, status) in cases.items():
        assert world.status(case_id) == status
        assert {(named, action) for _, named, action in world.commanded[case_id]} == expected


@pytest.mark.parametrize("turned", [False, True], ids=["revoked, then granted", "granted, then revoked"])
def test_consent_granted_again_spares_what_is_collected_from_then_on(*, turned: bool) -> None:
    world = furnished()
    words: list[Callable[[], object]] = [
        lambda: world.revoke("ann", "training"),
        lambda: world.grant("ann", "training"),
    ]
    for word in reversed(words) if turned else words:
        word()
        world.settle()
    world.register("fresh", subjects=["ann"], purposes=["training"], collected_at="2026-11-01T11:45:00Z")
    world.settle()
    (case_id,) = {said["case_id"] for said in world.confirmations("acknowledged")}
    last = {named: action for _, named, action in world.commanded[case_id]}
    assert last["portrait"] == "delete"
    assert "fresh" not in last
    assert "restrict" not in last.values()  # what was restricted for it is let go again


def test_a_publisher_that_declares_wrongly_is_told_and_nothing_is_done() -> None:
    world = furnished()
    case_id = world.request("expunge.erasure.requested.v1", "r", subjects=[{"namespace": "usr_id", "id": "ann"}])
    world.settle()
    assert world.status(case_id) == "none"
    assert [each["reason"] for each in world.rejections()] == ["undeclared_namespace"]
    assert not any(world.commanded.values())
