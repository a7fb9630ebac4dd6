"""An overview says what is so: what nobody has answered, what is due, who is behind, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from expunge.domain.aggregates.case.state import Case
from expunge.domain.continuity import Log
from expunge.domain.vocabulary import Status
from expunge.overview.alarms import alarms_of
from expunge.overview.gauges import GAUGES, samples
from expunge.overview.state import Behind, Overview, behind_on, overview
from tests.simulation import PARTITIONS, World


def living(world: World) -> list[Case]:
    found = []
    for number in range(PARTITIONS):
        cases = world.store.reader(number).cases(world.store.live_cases(number, "", 1000))
        found += [case for case in cases.values() if case is not None]
    return found


def seen(world: World, letters: dict[str, int] | None = None, behind: tuple[Behind, ...] = ()) -> Overview:
    standing = [world.store.reader(number).standing for number in range(PARTITIONS)]
    return overview(living(world), standing, {"photos": 3, "idle": 0}, behind, letters or {}, world.broker.now)


def waiting() -> World:
    world = World()
    world.register("photo-1", subjects=["ann"])
    world.register("photo-2", subjects=["ann"])
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle()
    world.erase("ann")
    world.erase("ann", request="r2", dry_run=True)
    world.settle()
    return world


def test_what_a_system_has_not_answered_is_counted_and_dry_runs_are_not() -> None:
    world = waiting()
    found = seen(world)
    systems = {each.system: each for each in found.systems}
    assert (systems["photos"].open, systems["photos"].cases, systems["photos"].assets) == (2, 1, 3)
    assert systems["photos"].oldest_seconds > 0
    assert (systems["idle"].open, systems["idle"].cases, systems["idle"].oldest_seconds) == (0, 0, 0)
    assert sum(found.cases.values()) == 1
    assert found.pauses == ("system:photos",)
    assert any("paused for system:photos" in each for each in alarms_of(found))
    world.order("emission.resumed", scope={"system": "photos"})
    world.settle()
    after = seen(world)
    assert (sum(after.cases.values()), after.out, list(alarms_of(after))) == (0, 0, [])


def test_what_is_due_is_not_counted_as_overdue_and_an_ended_case_as_neither() -> None:
    (case,) = (each for each in living(waiting()) if not each.dry_run)

    def at(days: float, of: Case = case) -> Overview:
        return overview([of], [], {}, (), {}, case.due_at - timedelta(days=days))

    assert (dict(at(0.5).due_within), at(0.5).overdue) == ({1: 1, 7: 1, 30: 1}, 0)
    assert dict(at(6).due_within) == {1: 0, 7: 1, 30: 1}
    assert (dict(at(-1).due_within), at(-1).overdue) == ({1: 0, 7: 0, 30: 0}, 1)
    ended = case.model_copy(update={"status": Status.COMPLETED_WITH_DEFERRALS})
    assert (dict(at(-1, ended).due_within), at(-1, ended).overdue) == ({1: 0, 7: 0, 30: 0}, 0)


def test_how_near_retention_is_follows_from_what_nobody_has_read() -> None:
    logs = {("a", 0): Log(5, 10), ("a", 1): Log(0, 3), ("b", 0): Log(0, 4), ("c", 0): Log(2, 2)}
    reached = {("a", 0): 7, ("b", 0): 4}
    found = behind_on("intake", logs, reached, {("a", 0): 60.0, ("a", 1): 90.0}, {"a": 100.0, "b": 100.0, "c": None})
    assert [(each.topic, each.unread, each.oldest_seconds, each.left_seconds) for each in found] == [
        ("a", 3 + 3, 90.0, 10.0),
        ("b", 0, 0.0, None),
        ("c", 0, 0.0, None),
    ]
    lost = behind_on("intake", {("a", 0): Log(5, 10)}, {("a", 0): 2}, {("a", 0): 200.0}, {"a": 100.0})
    assert (lost[0].unread, lost[0].left_seconds) == (5, 0.0)
    kept = behind_on("intake", {("c", 0): Log(0, 10)}, {}, {("c", 0): 1e9}, {"c": None})
    assert (kept[0].unread, kept[0].left_seconds) == (10, None)


def test_every_gauge_has_its_labels() -> None:
    behind = Behind("intake", "requests", 1, 5.0, 10.0)
    found = samples(seen(waiting(), {"unsigned": 2}, (behind,)))
    assert found.keys() == GAUGES.keys()
    for name, values in found.items():
        assert values, name
        assert all(len(labels) == len(GAUGES[name].labels) for labels, _ in values), name
    assert found["retention_left_seconds"] == [(("intake", "requests"), 5.0)]


def test_everything_that_is_wrong_is_said() -> None:
    bad = Overview(
        World().broker.now,
        overdue=2,
        frozen=1,
        awaiting_approval=3,
        pauses=("all",),
        behind=(Behind("intake", "requests", 4, 86_400 * 6.5, 86_400 * 7),),
        letters={"poison": 1},
    )
    assert [each.partition(":")[0] for each in alarms_of(bad)] == [
        "2 cases are overdue",
        "1 case is frozen",
        "3 plans wait for approval",
        "commands are paused for all",
        "in 12.0 h retention takes what intake has not read of requests",
        "1 message is set aside",
    ]
    assert not list(alarms_of(replace(bad, overdue=0, frozen=0, awaiting_approval=0, pauses=(), behind=(), letters={})))
