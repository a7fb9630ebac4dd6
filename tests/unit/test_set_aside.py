"""What is set aside comes back, or is said to be missing: no case goes on without it, and nothing is said too early."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.standing.state import hold_word
from expunge.domain.limits import MOST_PLACES
from expunge.domain.lineage.row import combine
from expunge.domain.partition import partition_of
from expunge.ports import MOST_DEATHS
from tests.poison import commanded, frozen, poisoned, tell, world_with
from tests.simulation import PARTITIONS, Poisoned, World, receipt


def unreadable_row(world: World, asset: bytes) -> tuple[bytes, bytes]:
    """A newer version registers an asset of a kind that this one does not know; its key, and what stood there."""
    key, raw = next((key, raw) for key, raw in world.index.raw.items() if asset in raw)
    (row,) = world.index.rows([key])
    later = replace(row, combination=combine(("hologram",), ("photos",), (), (), ()))
    world.index.combinations[later.combination.digest] = later.combination
    world.index.raw[key] = later.encode()
    return key, raw


@pytest.mark.parametrize("resolver_is_faster", [True, False])
def test_what_is_set_aside_again_before_the_thaw_is_heard_keeps_its_case_frozen(*, resolver_is_faster: bool) -> None:
    """The second message of a task was forgotten by the thaw of the first, and the case waited for ever."""
    world = world_with("ann")
    key, raw = unreadable_row(world, b"photo-ann")
    case_id = world.erase("ann")
    world.settle(ticks=2)
    before = frozen(world, case_id)
    assert before is not None
    assert [place[0] for place in before.places] == ["t.tasks"]
    topic, partition, offset = before.places[0]
    task = world.broker.logs["tasks", partition][offset]
    world.broker.append("tasks", case_id, task.value, partition)
    if resolver_is_faster:
        world.step("resolver", 50)
        world.step("coordinator", 50)
    world.say("case.thawed", case_id, places=[{"topic": topic, "partition": partition, "offset": offset}])
    world.settle(ticks=2)
    again = frozen(world, case_id)
    assert again is not None
    assert again.places
    assert again.places != before.places
    world.index.raw[key] = raw  # upgraded
    world.thaw(case_id, reason="upgraded")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    assert world.commanded[case_id] == [("photos", "photo-ann", "delete")]


def test_a_thaw_that_does_not_name_what_was_set_aside_thaws_nothing() -> None:
    world = world_with("ann")
    unreadable_row(world, b"photo-ann")
    case_id = world.erase("ann")
    world.settle(ticks=2)
    world.say("case.thawed", case_id)
    world.settle(ticks=1)
    assert frozen(world, case_id) is not None
    world.thaw(case_id, published=False)  # left out for good
    world.settle(ticks=1)
    assert frozen(world, case_id) is None


def test_more_places_than_a_case_keeps_are_not_forgotten() -> None:
    world, case_id = commanded()
    for number in range(MOST_PLACES + 40):
        place = {"topic": "t.tasks", "partition": 0, "offset": number}
        tell(world, "expunge.internal.froze.v1", case_id, {"case_id": case_id, "reason": "x", "place": place})
    world.settle(ticks=1)
    seen: set[int] = set()
    for _ in range(5):
        known = frozen(world, case_id)
        if known is None:
            break
        seen |= {offset for _, _, offset in known.places}
        world.thaw(case_id, published=False)
        world.settle(ticks=1)
    assert frozen(world, case_id) is None
    assert seen == set(range(MOST_PLACES + 40))


def test_a_message_that_nobody_will_ever_handle_is_left_out_alone() -> None:
    world, case_id = commanded()
    tell(world, "expunge.internal.invented_tomorrow.v9", case_id, {"case_id": case_id})
    world.settle(ticks=1)
    (command,) = world.broker.events("commands.photos")
    said = receipt(command["data"], all={"claim": "deleted"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    world.thaw(case_id)
    world.settle(ticks=1)
    assert frozen(world, case_id) is not None
    world.thaw(case_id, skip=True, reason="it was rubbish")
    world.settle(ticks=1)
    assert frozen(world, case_id) is None
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def raises_at(world: World, case_id: str, word: str) -> Any:
    """From now on a case raises something unforeseen when it hears a word; what undoes that."""
    cases = world.roles["coordinator"]._cases  # type: ignore[attr-defined]
    decide = cases.decide

    def raising(view: Any, mine: str, message: Any, *rest: Any) -> None:
        if mine == case_id and type(message).__name__ == word:
            raise Poisoned
        decide(view, mine, message, *rest)

    cases.decide = raising
    return lambda: setattr(cases, "decide", decide)


def neighbours() -> tuple[World, str, str]:
    """Two cases of one partition, with commands that nobody has answered."""
    world = world_with(*(f"p{number}" for number in range(12)))
    world.answers["photos"] = lambda _: []
    first, *others = [world.erase(f"p{number}", request=f"r{number}") for number in range(12)]
    world.settle(ticks=1)
    return world, first, next(c for c in others if partition_of(c, PARTITIONS) == partition_of(first, PARTITIONS))


def test_of_what_everybody_is_told_only_the_case_that_cannot_hear_it_is_frozen() -> None:
    """It was a dead letter for all cases of the partition, and an innocent one was completed without a holding."""
    world, bad, good = neighbours()
    mend = raises_at(world, bad, "HoldingKnown")
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle(ticks=2)
    assert frozen(world, bad) is not None
    assert frozen(world, good) is None
    del world.answers["photos"]
    for _ in range(4):
        world.tick(61)
        world.settle(ticks=1)
    assert world.status(good) == "completed"
    assert ("users", "users.db", "delete") in world.commanded[good]
    mend()
    world.thaw(bad)
    world.settle(ticks=1)
    world.tick(61)
    world.settle(ticks=5)
    assert ("users", "users.db", "delete") in world.commanded[bad]
    assert world.status(bad) == "completed"


def test_a_word_at_which_one_case_raises_is_not_in_force_before_that_has_heard_it() -> None:
    world, bad, good = neighbours()
    mend = raises_at(world, bad, "Reconsider")
    world.deaf = {"photos"}
    world.order("hold.placed", key="h1", hold_id="h1", scope={"asset": "photo-p0"}, basis="b", custodian="c")
    world.settle(ticks=2)
    assert frozen(world, bad) is not None
    assert frozen(world, good) is None
    standing = world.store.reader(partition_of(bad, PARTITIONS)).standing
    assert "h1" in standing.holds
    assert not standing.in_force(hold_word("h1"))
    mend()
    world.deaf = set()
    world.thaw(bad)
    world.settle(ticks=3)
    standing = world.store.reader(partition_of(bad, PARTITIONS)).standing
    assert standing.in_force(hold_word("h1"))
    assert not standing.unsettled


@pytest.mark.parametrize("scope", [{"asset": "photo-ann"}, None])
def test_no_word_is_in_force_while_a_frozen_case_has_not_heard_it(scope: dict[str, str] | None) -> None:
    """A hold was said to be in force while a system had a command under it, and deleted."""
    world, case_id = commanded()
    (command,) = world.broker.events("commands.photos")
    poisoned(world, case_id)
    said = receipt(command["data"], status="accepted", expected_by="2026-11-02T12:00:00Z")
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    world.poison = lambda *_: False
    if scope:
        world.order("hold.placed", key="h1", hold_id="h1", scope=scope, basis="b", custodian="c")
    else:
        world.order("emission.paused", scope={"all": True}, reason="a bad day")
    word = hold_word("h1") if scope else "pause:all"
    world.settle(ticks=2)
    partition = partition_of(case_id, PARTITIONS)
    assert not world.store.reader(partition).standing.in_force(word)
    world.thaw(case_id)
    world.settle(ticks=2)
    assert world.broker.events("commands.photos")[-1]["type"] == "expunge.purge.withdrawn.v1"
    assert world.store.reader(partition).standing.in_force(word)


@pytest.mark.parametrize("crash", range(1, 9))
def test_a_request_that_is_set_aside_is_rejected_or_carried_out_and_never_both(crash: int) -> None:
    """The park was forgotten before it was committed: the next process opened the case of a rejected request."""
    world = world_with("ann")
    case_id = world.erase("ann", request="r1")
    (partition,) = [number for (topic, number), log in world.broker.logs.items() if topic == "requests" and log]
    world.suspects.park("requests", partition, 0, "its clock was wrong")
    world.step("intake", 3, crash_after=crash)
    world.settle(ticks=2)
    assert {each["reason"] for each in world.rejections()} == {"poison"}
    assert world.status(case_id) == "none"
    for number in range(20):  # whoever passes the place later forgets it, too
        world.erase("nobody", request=f"later-{number}")
    world.settle(ticks=1)
    assert not world.suspects.parked()


def test_a_repetition_that_is_set_aside_rejects_nothing() -> None:
    world = world_with("ann")
    case_id = world.erase("ann", request="r1")
    world.settle(ticks=1)
    world.erase("ann", request="r1")
    ((partition, log),) = [(n, log) for (topic, n), log in world.broker.logs.items() if topic == "requests" and log]
    world.suspects.park("requests", partition, len(log) - 1, "why not")
    world._loops.pop("intake", None)
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"
    assert not world.rejections()
    assert [letter["reason"] for letter in world.dead_letters()] == ["poison"]


def test_what_was_parked_stays_parked_whatever_else_ends_the_role() -> None:
    world = world_with("ann", "bob")
    world.poison = lambda role, record: role == "intake" and b"deadly" in (record.value or b"")
    for request in ("deadly", "parked", "good"):
        world.erase("ann", request=request)
    for (topic, number), log in world.broker.logs.items():
        for record in log if topic == "requests" else ():
            if b"parked" in (record.value or b""):
                world.suspects.park("requests", number, record.position.offset, "by hand")
    world.settle(ticks=2)
    assert sorted(each["request_id"] for each in world.rejections()) == ["deadly", "parked"]
    assert world.status(world.keys.case("/app", "good")) == "completed"


def test_what_was_stamped_ahead_and_parked_moves_no_case_into_the_future_when_it_is_thawed() -> None:
    world, case_id = commanded()
    (command,) = world.broker.events("commands.photos")
    said = receipt(command["data"], status="accepted")
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.broker.now += timedelta(days=400)
    world.step("intake", 50)
    world.broker.now -= timedelta(days=400)
    ahead = [
        (number, record.position.offset)
        for (topic, number), log in world.broker.logs.items()
        for record in log
        if topic == "cases" and record.appended_at > world.clock + timedelta(days=300)
    ]
    for number, offset in ahead:
        world.suspects.park("cases", number, offset, "a clock ran ahead")
    world._loops.clear()
    world.settle(ticks=1)
    assert frozen(world, case_id) is not None
    world.thaw(case_id)
    world.settle(ticks=1)
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    assert case.now <= world.clock + timedelta(minutes=5)


def test_a_case_that_this_version_cannot_read_waits_and_its_neighbours_go_on() -> None:
    """Its coordinator died at it for ever, for setting a message aside read the case as well."""
    world, bad, good = neighbours()
    real = world.store.read_cases

    def newer(partition: int, case_ids: Any) -> dict[str, Case | None]:
        return {case_id: None if case_id == bad else case for case_id, case in real(partition, case_ids).items()}

    world.store.read_cases = newer
    commands = {event["data"]["case_id"]: event["data"] for event in world.broker.events("commands.photos")}
    for case_id in (bad, good):
        said = receipt(commands[case_id], all={"claim": "deleted"})
        world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos", event=case_id)
    world.settle(ticks=1)
    assert world.deaths == 0
    waits = frozen(world, bad)
    assert waits is not None
    assert waits.reason == "unknown_state"
    assert world.status(good) == "completed"
    world.thaw(bad)
    world.settle(ticks=1)
    assert frozen(world, bad) is not None  # this version still cannot
    world.store.read_cases = real  # upgraded
    world.thaw(bad)
    world.settle(ticks=1)
    assert world.status(bad) == "completed"
    world.check_ledger(bad)


def discovery_that_ends_indexers() -> tuple[World, str]:
    """A case whose system discovers a thumbnail, and the registration of that ends every indexer that reads it."""
    world = world_with("ann")

    def answers(command: dict[str, Any]) -> list[dict[str, Any]]:
        found = [{"asset": "thumb", "kind": "object"}] if command["targets"][0]["asset"] == "photo-ann" else []
        told = [{"asset": each["asset"], "claim": "deleted", "discovered": found} for each in command["targets"]]
        return [receipt(command, results=told)]

    world.answers["photos"] = answers
    world.poison = lambda role, record: role == "indexer" and b"thumb" in (record.value or b"")
    case_id = world.erase("ann")
    world.settle(ticks=4)
    return world, case_id


def test_what_a_system_discovered_and_ends_indexers_freezes_the_case_that_asked() -> None:
    """It was completed without it, for who registers it is Expunge, and nobody says it again."""
    world, case_id = discovery_that_ends_indexers()
    assert world.deaths == MOST_DEATHS
    assert frozen(world, case_id) is not None
    world.poison = lambda *_: False
    world.thaw(case_id)
    world.settle(ticks=6)
    assert ("photos", "thumb", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize("crash", range(8, 20))
def test_no_number_of_a_fact_stands_for_two_when_what_was_half_said_is_set_aside(crash: int) -> None:
    """A process died between its messages and its state; then the same message ended processes, and was thawed."""
    world, case_id = commanded()
    (command,) = world.broker.events("commands.photos")
    said = receipt(command["data"], all={"claim": "failed"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.step("intake", 50)
    world.step("coordinator", 50, crash)
    poisoned(world, case_id)
    world.settle(ticks=1)
    world.poison = lambda *_: False
    if frozen(world, case_id) is not None:
        world.thaw(case_id)
    world.settle(ticks=1)
    assert not [name for name, _ in world.metrics.counts if name == "ledger_alarms"]
    world.check_ledger(case_id)


def test_a_word_that_nobody_can_hear_is_left_out_and_its_partition_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the process while it was set aside, too, so nothing could ever pass it."""
    world, first, _ = neighbours()
    monkeypatch.setattr("expunge.domain.aggregates.standing.decide.heard", lambda *_: 1 / 0)
    world.order("emission.paused", scope={"all": True}, reason="a bad day")
    for _ in range(12):
        for role in ("intake", "coordinator"):
            try:
                world.step(role, 50)
            except ZeroDivisionError:
                world._loops.pop(role, None)
    (command,) = [e for e in world.broker.events("commands.photos") if e["data"]["case_id"] == first]
    said = receipt(command["data"], all={"claim": "deleted"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    assert world.status(first) == "completed"


def skipped(world: World, case_id: str) -> dict[str, Any]:
    """A word that leaves out the next message, as the command line says it."""
    return {"case_id": case_id, "skip": frozen(world, case_id).turn}


def test_a_skip_that_is_said_twice_leaves_out_one_message() -> None:
    """The second one left out a holding, and the case was completed without it."""
    world, case_id = commanded()
    tell(world, "expunge.internal.invented_tomorrow.v9", case_id, {"case_id": case_id})
    world.settle(ticks=1)
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle(ticks=1)
    word = skipped(world, case_id)
    for number in range(2):
        world.say("case.thawed", case_id, reason=f"said {number}", **{k: v for k, v in word.items() if k != "case_id"})
    world.settle(ticks=1)
    del world.answers["photos"]
    world.tick(61)
    world.settle(ticks=2)
    assert ("users", "users.db", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"


def test_a_word_is_never_left_out() -> None:
    """What a hold concerns must hear of it, or it would never be in force."""
    world, bad, _ = neighbours()
    mend = raises_at(world, bad, "Reconsider")
    world.order("hold.placed", key="h1", hold_id="h1", scope={"asset": "photo-p0"}, basis="b", custodian="c")
    world.settle(ticks=2)
    world.thaw(bad, skip=True)
    world.settle(ticks=2)
    assert frozen(world, bad) is not None
    mend()
    world.thaw(bad, reason="mended")
    world.settle(ticks=2)
    standing = world.store.reader(partition_of(bad, PARTITIONS)).standing
    assert standing.in_force(hold_word("h1"))


def test_however_many_places_there_are_a_thaw_comes_to_its_end() -> None:
    world, case_id = commanded()
    every = 2 * MOST_PLACES + 40
    for number in range(every):
        place = {"topic": "t.tasks", "partition": 0, "offset": number}
        tell(world, "expunge.internal.froze.v1", case_id, {"case_id": case_id, "reason": "x", "place": place})
    world.settle(ticks=1)
    seen: set[int] = set()
    for number in range(8):
        known = frozen(world, case_id)
        if known is None:
            break
        seen |= {offset for _, _, offset in known.places}
        world.thaw(case_id, published=False, reason=f"again {number}")
        world.settle(ticks=1)
    assert frozen(world, case_id) is None
    assert seen == set(range(every))


def test_a_thawed_case_waits_until_what_is_registered_again_is_in_the_index() -> None:
    """It was confirmed to be completed while the registration that its thaw had published again was not read yet."""
    world, case_id = discovery_that_ends_indexers()
    world.poison = lambda *_: False
    world.thaw(case_id)
    for _ in range(6):  # everybody but the indexers
        for role in ("intake", "resolver", "coordinator", "notary"):
            world.step(role, 50)
        world.answer_all()
    assert world.status(case_id) != "completed"
    world.settle(ticks=6)
    assert ("photos", "thumb", "delete") in world.commanded[case_id]
    assert len(world.confirmations("completed", case_id=case_id)) == 1
