"""A store that has lost everything is made anew from the logs, and every case goes on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.statement import Named, Statement
from expunge.errors import ConfigurationError
from tests.simulation import World

OUTLETS = ("commands.", "confirmations.", "suppressions", "holds")


def said(world: World) -> dict[str, list[str]]:
    """All that others hear, each once, by topic."""
    return {
        topic: sorted(
            {json.dumps(event | {"time": "", "id": ""}, sort_keys=True) for event in world.broker.whole_events(topic)}
        )
        for outlet in OUTLETS
        for topic in world.broker.topics(outlet)
    }


def stand(world: World) -> dict[str, Any]:
    """What stands in the store, without what nothing follows from."""
    index, states = world.index, world.store.states
    return {
        "rows": dict(index.raw),
        "groups": {group: sorted(members) for group, members in index.groups.items() if members},
        "holdings": sorted(index.held),
        "marks": {
            (node.hex(), case): (mark.reach, mark.digest, mark.until, *_lasting(mark))
            for node, marks in index.marked.items()
            for case, mark in marks.items()
        },
        "cases": {
            case_id: case.model_copy(update={"now": case.opened_at})
            for state in states.values()
            for case_id, case in state.cases.items()
        },
        "chunks": {key: chunk for state in states.values() for key, chunk in state.chunks.items()},
        "bodies": {key: body for state in states.values() for key, body in state.bodies.items()},
        "roots": {key: root for state in states.values() for key, root in state.roots.items()},
        "timers": {key: at for state in states.values() for key, at in state.timers.items()},
        "suppressions": {key: each for state in states.values() for key, each in state.suppressions.items()},
        "standing": {number: state.standing for number, state in states.items()},
        "aside": {key: waiting for state in states.values() for key, waiting in state.aside.items() if waiting},
        "retrainings": {
            key: each.model_copy(update={"now": START})
            for state in states.values()
            for key, each in state.retrainings.items()
        },
    }


def _lasting(mark: Any) -> tuple[Any, ...]:
    return (mark.state, mark.since_ms) if mark.state in {MarkState.CLEAN, MarkState.GONE} else ()


START = World().broker.now


def photos(world: World) -> None:
    """Two people, a thing made from things, a data set with both in it, a model; one is erased, the other half-way."""
    for number in range(5):
        world.register(f"photo-{number}", subjects=["ann"])
    world.register("crop", parents=["photo-0"])
    world.register("shared", "dataset", "ml", parents=["photo-0", "photo-1", "bob's"])
    world.register("bob's", subjects=["bob"])
    world.register("model", "model", "ml", parents=["shared"])
    world.register("other name", aliases=["photo-2"])
    world.erase("bob", request="first")
    world.settle()


def paused(world: World) -> None:
    """One case has ended, another waits for a pause to end, a third for a system."""
    photos(world)
    world.order("pause", all=True)
    world.settle()
    world.erase("ann", request="second")
    world.settle()


def resumed(world: World) -> None:
    world.order("resume", all=True)
    world.settle()


def silent(world: World) -> None:
    """A system does not answer, however often it is told."""
    photos(world)
    world.answers["photos"] = lambda _: []
    world.erase("ann", request="second")
    world.settle()


def speaks(world: World) -> None:
    world.answers.clear()
    world.tick(90)
    world.settle()


def held(world: World) -> None:
    """A hold covers part of what is asked for."""
    photos(world)
    world.order(
        "hold.placed",
        hold_id="letter",
        scope={"subject": {"namespace": "user_id", "id": "ann"}},
        basis="b",
        custodian="c",
    )
    world.settle()
    world.erase("ann", request="second")
    world.settle()


def released(world: World) -> None:
    world.order("hold.released", hold_id="letter", reason="over")
    world.settle()


def restored(world: World) -> None:
    """All is done; then a backup is put back."""
    photos(world)
    world.erase("ann", request="second")
    world.settle()


def stated_again(world: World) -> None:
    world.tick(60)
    world.register("photo-3", subjects=["ann"], event="restored")
    world.register("late crop", parents=["photo-4"])
    world.register("another", parents=["other name"])
    world.settle()


STORIES: dict[str, tuple[Callable[[World], None], Callable[[World], None]]] = {
    "paused": (paused, resumed),
    "a silent system": (silent, speaks),
    "held": (held, released),
    "a restored backup": (restored, stated_again),
}


@pytest.mark.parametrize("story", STORIES)
def test_after_a_rebuild_others_hear_what_they_would_have_heard(story: str) -> None:
    begin, go_on = STORIES[story]
    undisturbed, world = World(), World()
    begin(undisturbed)
    begin(world)
    before = stand(world)
    world.rebuild()
    after = stand(world)
    for what, kept in before.items():
        assert after[what] == kept, what
    for each in (undisturbed, world):  # what cases are told once more leads to nothing that others hear
        for number in range(8):  # whoever finds another store begins with small parts
            each.register(f"nobody's {number}")
        each.settle()
    assert said(world) == said(undisturbed)
    undisturbed.tick_clocks((world.broker.now - undisturbed.broker.now).total_seconds())
    go_on(undisturbed)
    go_on(world)
    assert said(world) == said(undisturbed)
    for case_id in {case_id for state in world.store.states.values() for case_id in state.cases}:
        world.check_ledger(case_id)


@pytest.mark.parametrize("deaths", [[5], [40, 40], [150, 3, 90]])
def test_a_rebuild_that_dies_goes_on(deaths: list[int]) -> None:
    world = World()
    paused(world)
    before = stand(world)
    world.rebuild(deaths)
    assert stand(world) == before


def test_what_was_taken_but_not_handled_is_handled_after_a_rebuild() -> None:
    """What lies behind the committed positions is decided once more, with the same words."""
    world = World()
    photos(world)
    world.erase("ann", request="second")
    for role in ("intake", "coordinator", "resolver"):
        world.step(role, 50)
    world.register("late", subjects=["ann"])
    world.step("indexer", 50)
    world.rebuild()
    world.settle()
    assert {asset for _, asset, _ in world.commanded[world.keys.case("/app", "second")]} >= {"photo-0", "late", "crop"}


def test_a_ledger_with_a_gap_is_no_ground_to_build_on() -> None:
    world = World()
    photos(world)
    log = world.broker.logs["ledger", 0]
    del log[3]
    with pytest.raises(ConfigurationError, match="gap"):
        world.rebuild()


def test_a_statement_is_read_as_it_was_written() -> None:
    one, two, other = (bytes([n]) * 16 for n in (1, 2, 3))
    people = (Named(one, "u1", "p"), Named(two, None, "p"), Named(other, "u3"))
    whole = Statement("a", ("object",), ("photos",), ("b",), people, ("s",), ("t",), ("c",), "2026-01-01T00:00:00Z")
    read = Statement.of(json.loads(json.dumps(whole.data())))
    assert read.data() == whole.data()
    assert read.row(()) == whole.row(())
