"""A store that has lost everything is made anew from the logs, and every case goes on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from expunge.adapters.memory.stores import MemoryPolicies
from expunge.domain.continuity import Lost, Reached, Why
from expunge.domain.events import Position, Record, stamp
from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.statement import Named, Statement
from expunge.domain.planning.policy.rules import Grace
from expunge.errors import ConfigurationError
from expunge.rebuild.parts import Parts
from expunge.roles.common import policy_part
from expunge.roles.coordinator.keeping import LEFT, Keeping
from expunge.wire.kept import KEPT
from expunge.wire.operations import loss_acknowledged
from tests.simulation import SHIPPED, World, honest, receipt

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
    world.register("other name", aliases=["photo-2", "a name alone"])
    world.erase("bob", request="first")
    world.settle()


def paused(world: World) -> None:
    """One case has ended, another waits for a pause to end, a third for a system."""
    photos(world)
    world.order("emission.paused", scope={"all": True}, reason="why not")
    world.settle()
    world.erase("ann", request="second")
    world.settle()


def resumed(world: World) -> None:
    world.order("emission.resumed", scope={"all": True})
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


def shared(world: World) -> None:
    """A data set in which two people are."""
    world.register("photo", subjects=["ann"])
    world.register("bob's", subjects=["bob"])
    world.register("shared", "dataset", "ml", parents=["photo", "bob's"])
    world.settle()


def late_in_a_container(world: World) -> None:
    """A data set was told to leave something out, then more turned up in it, and only the first command is answered."""
    shared(world)
    commands: list[dict[str, Any]] = []
    world.answers["ml"] = lambda command: commands.append(command) or []  # type: ignore[func-returns-value]
    world.erase("ann", request="second")
    world.settle(ticks=3)
    world.register("photo 2", subjects=["ann"])
    world.register("shared", "dataset", "ml", parents=["photo 2"], event="again")
    world.settle(ticks=3)
    for data in honest(commands[0]):
        world.publish("receipts.ml", "expunge.purge.receipted.v1", data, source="/ml")
    drain(world)


def trained_meanwhile(world: World) -> None:
    world.tick_clocks(5)
    world.register("model", "model", "ml", parents=["shared"], derived_at=stamp(world.broker.now))
    drain(world)
    world.answers.clear()
    world.tick(90)
    world.settle()


def discovered(world: World) -> None:
    """A system has found something more, which nobody has registered yet."""
    world.register("photo", subjects=["ann"])
    world.settle()

    def finds(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["targets"][0]["asset"] != "photo":
            return honest(command)
        more = [{"asset": "found", "kind": "object"}]
        return [receipt(command, all={"claim": "deleted", "discovered": more})]

    world.answers["photos"] = finds
    world.erase("ann", request="second")
    for _ in range(4):
        drain(world, but="indexer")
        world.answer_all()


def made_anew(world: World) -> None:
    """A system has made a data set anew and registered it; something late is on its way to the case."""
    shared(world)

    def remakes(command: dict[str, Any]) -> list[dict[str, Any]]:
        world.tick_clocks(5)
        named = {"command_id": command["command_id"], "derived_at": stamp(world.broker.now)}
        world.register("shared, anew", "dataset", "ml", parents=["shared"], **named)
        world.tick_clocks(5)
        return honest(command)

    world.answers["ml"] = remakes
    world.erase("ann", request="second")
    world.settle()
    world.tick_clocks(60)
    world.register("photo 2", subjects=["ann"])
    for _ in range(3):
        world.step("indexer", 50)
        world.step("coordinator", 50)


def rests(world: World) -> None:
    world.settle()


def drain(world: World, but: str = "") -> None:
    """Everything that can be done without time."""
    busy = True
    while busy:
        busy = False
        for role in world.roles:
            busy |= role != but and world.step(role, 50)


STORIES: dict[str, tuple[Callable[[World], None], Callable[[World], None]]] = {
    "paused": (paused, resumed),
    "a silent system": (silent, speaks),
    "held": (held, released),
    "a restored backup": (restored, stated_again),
    "late in a container": (late_in_a_container, trained_meanwhile),
    "discovered": (discovered, rests),
    "made anew": (made_anew, rests),
}
UNDER_WAY = ("late in a container", "discovered", "made anew")
"""Stories that are interrupted with something on its way: what stands then is not all that follows."""


@pytest.mark.parametrize("story", STORIES)
def test_after_a_rebuild_others_hear_what_they_would_have_heard(story: str) -> None:
    begin, go_on = STORIES[story]
    undisturbed, world = World(), World()
    begin(undisturbed)
    begin(world)
    before = stand(world)
    world.rebuild()
    after = stand(world)
    for what, kept in before.items() if story not in UNDER_WAY else ():
        assert after[what] == kept, what
    if story in UNDER_WAY:
        go_on(undisturbed)
        go_on(world)
        assert commanded(world) == commanded(undisturbed)
        return
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


def commanded(world: World) -> dict[str, set[tuple[str, str, str]]]:
    """What systems were told to do, and how each case stands."""
    told: dict[str, set[Any]] = {case_id: set(commands) for case_id, commands in world.commanded.items()}
    for case_id, commands in told.items():
        commands.add(world.status(case_id))
    return told


@pytest.mark.parametrize("deaths", [[5], [40, 40], [90, 3, 60]])
def test_a_rebuild_that_dies_goes_on(deaths: list[int]) -> None:
    world = World()
    paused(world)
    before = stand(world)
    assert world.rebuild(deaths) == len(deaths)
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


def test_offsets_of_which_nobody_says_the_epoch_are_no_loss() -> None:
    """Set with Kafka's own tools, or by 0.1."""
    world = World()
    world.broker.epoch = 5
    photos(world)
    whole = world.reached
    world.reached = lambda place, at: Reached(at) if place[0] == "cases" else whole(place, at)  # type: ignore[method-assign]
    world.rebuild()
    case_id = world.erase("ann", request="second")
    world.settle()
    assert world.losses.places == {}
    assert world.status(case_id) == "completed"


def _without_offsets(world: World) -> None:
    for place in [place for place in world.committed if place[0] == "coordinator"]:
        del world.committed[place]


def _with_another_secret(world: World) -> None:
    world.door = replace(world.door, keys=Keys(b"t" * 32))


def _as_0_1_wrote_it(world: World) -> None:
    for (topic, _), log in world.broker.logs.items():
        if topic == "plans":
            log[:] = [record for record in log if KEPT not in str(record.value)]


def _cut(world: World) -> None:
    lost = Lost(Why.CUT, 3, 9)
    world.broker.send([loss_acknowledged("coordinator", ("cases", 0), lost, 3, "olga", "the disk")])


def _of_a_newer_version(world: World) -> None:
    world.broker.append(
        "ledger", "k", json.dumps({"type": "expunge.ledger.facts.v1", "data": {"facts": [{}]}}).encode()
    )


def _not_allowed(world: World) -> None:
    world.broker.refuses = lambda message: "not_authorised" if message.topic == "cases" else ""


NO_GROUND: dict[str, Callable[[World], None]] = {
    "have committed nothing": _without_offsets,
    "with another secret": _with_another_secret,
    "only 0.1": _as_0_1_wrote_it,
    "has once been cut": _cut,
    "cannot read": _of_a_newer_version,
    "refuses messages": _not_allowed,
}


@pytest.mark.parametrize("says", NO_GROUND)
def test_what_cannot_be_rebuilt_is_an_error_for_people(says: str) -> None:
    world = World()
    restored(world)
    NO_GROUND[says](world)
    with pytest.raises(ConfigurationError, match=says):
        world.rebuild()


def test_what_a_coordinator_keeps_often_is_taken_back_but_for_what_may_be_committed() -> None:
    world = World()
    for number in range(3 * LEFT):
        world.order("emission.paused", key=str(number), scope={"system": "photos"}, reason=str(number))
        world.tick_clocks(10)
        world.settle(ticks=0)
    plans = [log for place, log in world.broker.logs.items() if place[0] == "plans"]
    assert sum(record.value is None for log in plans for record in log) > LEFT
    before = stand(world)
    for log in plans:  # as compaction leaves it
        last = {record.key: record for record in log}
        log[:] = [record for record in log if last[record.key] is record and record.value is not None]
    for partition in range(2):  # the last commits were lost
        world.replay("coordinator", "cases", partition, LEFT - 5)
    world.rebuild()
    assert sum(len(state.standing.pauses) for state in world.store.states.values()) > 0
    world.settle(ticks=0)
    assert stand(world) == before


def test_what_stands_is_kept_again_whenever_another_process_has_written_it() -> None:
    """A coordinator of 0.1, which kept nothing, had placed a hold in between."""
    world = World()
    photos(world)
    ours: Any = world.roles["coordinator"]
    keeping, ours._keeping = ours._keeping, Silent()
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle()
    ours._keeping = keeping
    world.erase("ann", request="second")
    world.settle()
    before = stand(world)
    assert all(each.pauses for each in before["standing"].values())
    world.rebuild()
    assert stand(world) == before


class Silent(Keeping):
    """Keeps nothing, as 0.1 did."""

    def of(self, view: Any) -> Iterator[Any]:
        return iter(())

    def taken_up(self, store: Any, partitions: Any) -> Iterator[Any]:
        return iter(())

    def written(self, view: Any) -> None:
        pass


def test_a_partition_that_is_taken_up_is_kept_before_any_message_comes() -> None:
    world = World()
    ours: Any = world.roles["coordinator"]
    keeping, ours._keeping = ours._keeping, Silent()
    photos(world)
    ours._keeping = keeping
    world.tick()
    world.rebuild()  # it would say that nobody has kept it
    assert world.store.states


def test_an_indexer_that_went_on_beside_a_rebuild_has_its_work_done_again() -> None:
    """It wrote into another Redis; what it commits meanwhile is not taken for what stands here."""
    world = World()
    photos(world)
    world.register("photo 9", subjects=["ann"])
    read = world._since

    def since(topic: str, moment: Any) -> Iterator[Any]:
        yield from read(topic, moment)
        if topic == "assets":
            for place in [place for place in world.broker.logs if place[0] == "registrations"]:
                world.committed["indexer", *place] = len(world.broker.logs[place])

    world._since = since  # type: ignore[assignment,method-assign]
    world.rebuild()
    world._since = read  # type: ignore[method-assign]
    case_id = world.erase("ann", request="second")
    world.settle()
    assert ("photos", "photo 9", "delete") in world.commanded[case_id]


def published(world: World, case_id: str) -> list[bytes | None]:
    """What was said on `suppressions` of the person of a case."""
    (root,) = (state.roots[case_id] for state in world.store.states.values() if case_id in state.roots)
    every = (record for place, log in world.broker.logs.items() if place[0] == "suppressions" for record in log)
    return [record.value for record in every if record.key == root.suppressions[0].encode()]


def suppressed_by_0_1() -> tuple[World, str]:
    """A case whose suppressions nobody has kept but on their topic, and a coordinator that keeps what comes next."""
    world = World()
    ours: Any = world.roles["coordinator"]
    keeping, ours._keeping = ours._keeping, Silent()
    case_id = world.erase("ann", request="second")
    world.settle()
    ours._keeping = keeping
    world.tick()
    return world, case_id


def test_what_0_1_had_suppressed_stays_suppressed() -> None:
    """It kept nothing but what it published, and a coordinator of this version has gone on from there."""
    world, case_id = suppressed_by_0_1()
    world.rebuild()
    world.revoke("ann", "training", request="later")
    world.settle()
    said = json.loads(published(world, case_id)[-1] or b"")["data"]
    assert {each["purpose"] for each in said["entries"]} == {"*", "training"}
    assert said["sequence"] == 2


@pytest.mark.parametrize("at_once", [1, 4_000])
def test_of_what_0_1_had_published_the_last_word_counts(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """One person was suppressed twice, another no longer; the log still holds all of it."""
    monkeypatch.setattr("expunge.rebuild.rebuild.AT_ONCE", at_once)
    world = World()
    ours: Any = world.roles["coordinator"]
    keeping, ours._keeping = ours._keeping, Silent()
    world.policies.change(world.policies.current.model_copy(update={"grace": (Grace(id="grace", hours=1),)}))
    world.revoke("bob", "training", request="first")
    taken_back = world.erase("ann", request="second")
    drain(world)
    twice = world.erase("bob", request="third")
    drain(world)
    world.say("request.cancelled", taken_back, reason="a mistake")
    world.settle()
    ours._keeping = keeping
    world.tick()
    said = [published(world, each) for each in (twice, taken_back)]
    assert [len(each) for each in said] == [2, 2]
    world.rebuild()
    world.settle()
    kept = {key: each for state in world.store.states.values() for key, each in state.suppressions.items()}
    assert [sorted(each.purposes) for each in kept.values()] == [["*", "training"]]
    assert [published(world, each) for each in (twice, taken_back)] == said


def test_what_0_1_had_suppressed_stays_so_where_more_was_said_but_not_committed() -> None:
    world, case_id = suppressed_by_0_1()
    committed = dict(world.committed)
    world.revoke("ann", "training", request="later")
    world.settle()
    for place in [place for place in committed if place[0] == "coordinator"]:
        world.committed[place] = committed[place]
    before = published(world, case_id)
    world.rebuild()
    world.settle()
    after = published(world, case_id)
    assert after[: len(before)] == before
    assert set(after) == set(before)


def test_what_could_not_be_said_of_a_partition_is_said_again() -> None:
    world = World()
    ours: Any = world.roles["coordinator"]
    keeping, ours._keeping = ours._keeping, Silent()
    world.order("emission.paused", scope={"system": "photos"}, reason="why not")
    world.settle()
    ours._keeping = keeping
    assert ours.tick([0, 1], world.clock)  # it was lost on its way
    before = stand(world)
    world.tick()
    assert not [each for each in ours.tick([0, 1], world.clock) if each.topic == "plans"]
    world.rebuild()
    assert stand(world)["standing"] == before["standing"]


def test_what_was_published_and_not_committed_is_published_alike_again() -> None:
    """A suppression that was restored from what is published was never lifted by the case that had asked for it."""
    undisturbed, world = World(), World()
    for each in (undisturbed, world):
        photos(each)
        each.policies.change(each.policies.current.model_copy(update={"grace": (Grace(id="grace", hours=1),)}))
        each.erase("ann", request="second")
        drain(each)
    for partition in range(2):
        world.replay("coordinator", "cases", partition, 1)
    world.rebuild()
    for each in (undisturbed, world):
        each.say("request.cancelled", each.keys.case("/app", "second"), reason="a mistake")
        each.settle()
        assert published(each, each.keys.case("/app", "second"))[-1] is None


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


def test_a_policy_of_an_earlier_build_is_found_by_the_name_that_its_cases_know() -> None:
    """A field more of this version gives the same rules another digest: a rebuild made whoever was bound to it wait."""
    world = World()
    kept, policies = policy_part(world.broker, SHIPPED, START), MemoryPolicies(SHIPPED)
    assert kept.event is not None
    earlier = "ab" * 16
    kept.event.data["policy"] = earlier
    kept.event.data["rules"]["retention"].pop("suppression_months")
    value = kept.event.encode()
    parts = Parts(world.store, policies, world.keys, {})
    parts.take([Record("plans", 0, Position(0, 0), START, f"policy:{earlier}".encode(), value)])
    assert policies.of(earlier) == SHIPPED
