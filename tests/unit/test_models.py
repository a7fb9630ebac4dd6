"""One retrain for many requests: when it begins, who shares it, who leaves it, and what its answer means to each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from expunge.domain.aggregates.retraining import decide
from expunge.domain.aggregates.retraining.state import Retraining, RoundPhase
from expunge.domain.planning.policy.models import Models
from tests.simulation import World, honest, receipt

DAY = 86_400


def furnished(people: tuple[str, ...] = ("ann", "bob", "cleo"), **models: int) -> World:
    """A photo of each person, a set of all photos, a model of the set."""
    world = World()
    policy = world.policies.current.model_copy(update={"models": Models(**models)})
    world.policies.change(policy)
    for person in people:
        world.register(f"photo-{person}", subjects=[person])
    world.register("set", "dataset", "ml", parents=[f"photo-{person}" for person in people])
    world.register("model", "model", "ml", parents=["set"])
    world.settle(ticks=1)
    return world


def joint(world: World) -> list[dict[str, Any]]:
    """Every command to make a model anew that left, repetitions included."""
    events = world.broker.events("commands.ml")
    return [e["data"] for e in events if e["data"].get("action") == "retrain_without"]


def withdrawn(world: World) -> list[str]:
    events = world.broker.events("commands.ml")
    return [e["data"]["command_id"] for e in events if e["type"] == "expunge.purge.withdrawn.v1"]


def aggregate(world: World) -> Retraining:
    (key,) = {each["data"]["case_id"] for each in world.broker.events("ledger") if "retrain_joined" in each["type"]}
    return world.retraining(key)


def test_one_retrain_serves_everybody_who_asks_in_time() -> None:
    world = furnished(collect_hours=24)
    cases = [world.erase(person, request=person) for person in ("ann", "bob", "cleo")]
    world.settle(ticks=1)
    assert not joint(world)
    assert {world.status(case_id) for case_id in cases} == {"purging"}
    world.tick(DAY)
    world.settle()
    (command,) = joint(world)
    assert command["requests"] == 3
    assert len(command["exclude"]["subjects"]) == 3
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    for case_id in cases:
        (said,) = world.confirmations("completed", case_id=case_id)
        assert said["counts"]["model"] == {"retrained_without": 1}
        world.check_ledger(case_id)


def test_whoever_asks_while_a_model_is_made_anew_waits_for_the_next_time() -> None:
    world = furnished()
    world.answers["ml"] = lambda command: [] if command["action"] == "retrain_without" else honest(command)
    first = world.erase("ann", request="ann")
    world.settle(ticks=1)
    later = [world.erase(person, request=person) for person in ("bob", "cleo")]
    world.settle(ticks=1)
    assert [command["requests"] for command in joint(world)] == [1]
    world.answers.clear()
    world.tick(120)
    world.settle()
    assert [command["requests"] for command in joint(world)] == [1, 1, 2]  # the first was repeated
    assert {world.status(case_id) for case_id in (first, *later)} == {"completed"}


@pytest.mark.parametrize("needs", [1, 72, 24 * 29])
def test_every_due_date_holds_whoever_else_might_come(needs: int) -> None:
    """rule "joint retrains": it begins so early that the earliest of its cases can still be answered in time."""
    world = furnished(collect_hours=24 * 90, needs_hours=needs)
    case_id = world.erase("ann", request="ann")
    world.settle(ticks=1)
    (member,) = aggregate(world).waiting.values()
    begin = member.begin_by
    assert begin == member.due_at - timedelta(hours=needs)
    world.erase("bob", request="bob", received_at="2026-11-10T00:00:00Z")  # its due date is later
    world.settle(ticks=1)
    while world.broker.now < begin:
        assert not joint(world)
        world.tick(1200)
        world.settle(ticks=1)
    world.settle()
    assert joint(world)
    assert world.status(case_id) == "completed"
    assert not world.confirmations("overdue", case_id=case_id)


def test_who_is_cancelled_before_it_begins_is_not_in_it() -> None:
    world = furnished(collect_hours=24)
    gone, stays = (world.erase(person, request=person) for person in ("ann", "bob"))
    world.settle(ticks=1)
    world.say("request.cancelled", gone, reason="x")
    world.settle(ticks=1)
    assert world.status(gone) == "cancelled"
    world.tick(DAY)
    world.settle()
    (command,) = joint(world)
    assert (command["requests"], len(command["exclude"]["subjects"])) == (1, 1)
    assert world.status(stays) == "completed"


@pytest.mark.parametrize(
    ("option", "due_at", "days"), [("retrain_now", None, 0), ("retrain_by", 5, 5), ("retrain_by", 90, 24)]
)
def test_an_operator_says_when_a_model_is_made_anew_but_not_after_its_due_date(
    option: str, due_at: int | None, days: int
) -> None:
    """Begun for the first of its cases, it is made anew for all that wait by then."""
    world = furnished(collect_hours=24 * 10, needs_hours=24 * 6)
    cases = [world.erase(person, request=person) for person in ("ann", "bob")]
    world.settle(ticks=1)
    at = {} if due_at is None else {"due_at": (world.broker.now + timedelta(days=due_at)).isoformat()}
    for case_id in cases:
        world.say("obligation.decided", case_id, asset="model", option=option, rationale="x", **at)
    world.settle(ticks=1)
    for _ in range(days):
        assert not joint(world)
        world.tick(DAY)
        world.settle(ticks=1)
    assert [command["requests"] for command in joint(world)] == [2]
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    assert not world.dead_letters()


def test_a_word_about_a_model_that_does_not_wait_is_set_aside() -> None:
    world = furnished(collect_hours=24)
    case_id = world.erase("ann", request="ann")
    world.settle(ticks=1)
    world.say("obligation.decided", case_id, asset="no model", option="retrain_now", rationale="x")
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle()
    world.say("obligation.decided", case_id, asset="model", option="retrain_now", rationale="x")
    world.settle(ticks=1)
    assert [letter["reason"] for letter in world.dead_letters()] == ["no_model_waits", "no_model_waits"]


def under_way(*people: str) -> tuple[World, list[str]]:
    """A model that is being made anew for some people; its owner does not answer yet."""
    world = furnished(collect_hours=24)
    world.answers["ml"] = lambda command: [] if command["action"] == "retrain_without" else honest(command)
    cases = [world.erase(person, request=person) for person in people]
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle(ticks=1)
    assert [command["requests"] for command in joint(world)] == [len(people)]
    return world, cases


def test_who_leaves_while_it_goes_on_for_others_hears_so_at_once() -> None:
    world, (gone, stays) = under_way("ann", "bob")
    world.say("request.cancelled", gone, reason="x")
    world.settle(ticks=1)
    assert world.status(gone) == "cancelled"
    assert not withdrawn(world)
    world.answers.clear()
    world.tick(3600)
    world.settle()
    first, again = joint(world)
    assert again | {"attempt": 1} == first  # a command's content never changes
    assert world.status(stays) == "completed"
    assert world.confirmations("cancelled", case_id=gone)[0]["counts"]["model"] == {"open": 1}


def test_when_nobody_waits_any_more_its_owner_is_told_not_to_go_on() -> None:
    world, cases = under_way("ann", "bob")
    world.deaf.add("ml")
    for case_id in cases:
        world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=1)
    assert sorted(map(world.status, cases)) == ["cancelled", "purging"]  # one waits for the owner to let go
    assert len(withdrawn(world)) == 1
    world.tick(120)
    world.settle(ticks=1)
    assert len(withdrawn(world)) == 2  # said again until it answers
    world.deaf.clear()
    world.tick(600)
    world.settle(ticks=1)
    assert {world.status(case_id) for case_id in cases} == {"cancelled"}
    assert aggregate(world).phase is RoundPhase.IDLE


@pytest.mark.parametrize("word", ["pause", "hold"])
def test_what_keeps_everybody_back_withdraws_it_and_its_end_lets_it_begin_anew(word: str) -> None:
    world, cases = under_way("ann", "bob")
    if word == "pause":
        world.order("emission.paused", key="p", scope={"system": "ml"}, reason="x")
    else:
        world.order("hold.placed", key="h", hold_id="h", scope={"asset": "model"}, basis="b", custodian="c")
    world.settle(ticks=1)
    assert len(set(withdrawn(world))) == 1
    assert aggregate(world).phase is RoundPhase.IDLE
    assert not any(each.telling or each.unsettled for each in world.standing())  # the word is in force
    world.answers.clear()
    if word == "pause":
        world.order("emission.resumed", key="p", scope={"system": "ml"})
    else:
        world.order("hold.released", key="h", hold_id="h")
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle()
    assert [command["requests"] for command in joint(world)] == [2, 2]
    assert len({command["command_id"] for command in joint(world)}) == 2
    assert {world.status(case_id) for case_id in cases} == {"completed"}


def test_a_case_that_is_held_leaves_and_the_others_go_on() -> None:
    world, (held, other) = under_way("ann", "bob")
    world.order("hold.placed", key="h", hold_id="h", scope={"case_id": held}, basis="b", custodian="c")
    world.settle(ticks=1)
    assert not withdrawn(world)
    world.answers.clear()
    world.tick(3600)
    world.settle()
    assert world.status(other) == "completed"
    assert world.status(held) == "completed_with_deferrals"
    world.order("hold.released", key="h", hold_id="h")
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle()
    assert world.status(held) == "completed"
    assert joint(world)[-1]["requests"] == 1


def test_an_owner_that_fails_is_told_again_and_everybody_sees_it() -> None:
    world = furnished()
    failures = ["disk", "disk"]

    def flaky(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] == "retrain_without" and failures:
            return [receipt(command, all={"claim": "failed", "reason_code": failures.pop()})]
        return honest(command)

    world.answers["ml"] = flaky
    case_id = world.erase("ann", request="ann")
    world.settle()
    assert [command["attempt"] for command in joint(world)] == [1, 2, 3]
    assert len({command["command_id"] for command in joint(world)}) == 1
    assert world.status(case_id) == "completed"


def test_to_wait_for_others_is_no_failure() -> None:
    """However long an owner takes, a case that waits for its next round has not used up its repetitions."""
    world = furnished()
    silent = [True]

    def slow(command: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if command["action"] == "retrain_without" and silent else honest(command)

    world.answers["ml"] = slow
    first, second = (world.erase(person, request=person) for person in ("ann", "bob"))
    world.settle(ticks=1)
    for _ in range(20):
        world.tick(DAY)
        world.settle(ticks=1)
    assert not world.confirmations("partially_completed")
    silent.clear()
    world.tick(DAY)
    world.settle()
    assert [world.status(each) for each in (first, second)] == ["completed", "completed"]


def test_each_case_judges_the_answer_by_its_own_law() -> None:
    world = furnished(collect_hours=24)
    outcome = {"claim": "retrained_without", "method": "exact_shard_retrain"}

    def shards(command: dict[str, Any]) -> list[dict[str, Any]]:
        return [receipt(command, all=dict(outcome))] if command["action"] == "retrain_without" else honest(command)

    world.answers["ml"] = shards
    by_law, by_order = world.erase("ann", request="ann"), world.erase("bob", request="bob", regime="order")
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle(ticks=3)
    assert joint(world)[0]["requests"] == 2
    assert "regime" not in joint(world)[0]
    assert world.status(by_law) == "completed"
    assert world.status(by_order) != "completed"
    world.tick(40 * DAY)
    world.settle(ticks=1)
    failures = world.confirmations("partially_completed", case_id=by_order)[-1]["failures"]
    assert {line["reason"] for line in failures} == {"no-shard-retrain-for-orders"}


def test_what_does_not_fit_into_one_command_is_made_anew_in_several() -> None:
    world = World()
    world.policies.change(world.policies.current.model_copy(update={"models": Models(collect_hours=24)}))
    for person in ("ann", "bob", "cleo"):
        photos = [{"asset": f"{person}-{number}", "kind": "object", "system": "photos"} for number in range(450)]
        subjects = [{"namespace": "user_id", "id": person}]
        common = {"subjects": subjects, "collected_at": "2026-01-01T00:00:00Z"}
        world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": photos})
        world.register("model", "model", "ml", parents=[each["asset"] for each in photos], event=person)
    world.settle(ticks=1)
    cases = [world.erase(person, request=person) for person in ("ann", "bob", "cleo")]
    world.settle(ticks=1)
    world.tick(DAY)
    world.settle()
    assert [command["requests"] for command in joint(world)] == [2, 1]
    assert all(len(command["exclude"]["assets"]) <= 1000 for command in joint(world))
    assert {world.status(case_id) for case_id in cases} == {"completed"}


def test_who_finds_no_room_is_told_to_ask_again_and_is_served_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MAX_WAITING", 1)
    people = ("ann", "bob", "cleo", "dora")
    world = furnished(people)
    busy = [True]
    world.answers["ml"] = lambda command: [] if busy and command["action"] == "retrain_without" else honest(command)
    cases = [world.erase(person, request=person) for person in people]
    world.settle(ticks=1)
    assert len(aggregate(world).waiting) == 1
    busy.clear()
    for _ in range(8):
        world.tick(3600)
        world.settle(ticks=1)
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    world.check_retrainings()


@pytest.mark.parametrize("role", ["coordinator", "resolver"])
@pytest.mark.parametrize("crash", range(0, 60, 2))
def test_a_crash_anywhere_makes_nothing_anew_twice(role: str, crash: int) -> None:
    world = furnished(collect_hours=24)
    cases = [world.erase(person, request=person) for person in ("ann", "bob")]
    for _ in range(6):
        world.step("intake", 50)
        world.step(role, 50, crash_after=crash)
        for other in world.roles:
            world.step(other, 50)
        world.answer_all()
    world.settle(ticks=1)
    world.tick(DAY)
    world.step(role, 50, crash_after=crash)
    world.settle(ticks=1)
    for _ in range(3):
        world.step(role, 50, crash_after=crash)
        world.settle(ticks=1)
    world.settle()
    assert len({command["command_id"] for command in joint(world)}) == 1
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    for case_id in cases:
        world.check_ledger(case_id)
    world.check_retrainings()
    assert not world.dead_letters()


# -- What took the model's place


def trained(world: World, *parents: str, registered: bool = True, **fields: Any) -> None:
    """A trainer that makes a model of some parents and registers it itself."""
    world.registers = False
    made: list[str] = []

    def train(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return honest(command)
        made.append(f"{command['targets'][0]['asset']}+")
        world.tick_clocks(1)
        if registered:
            at = {"derived_at": world.broker.now.isoformat()} | fields
            world.register(
                made[-1], "model", "ml", parents=list(parents), command_id=command["command_id"], event=made[-1], **at
            )
        return [receipt(command, all={"claim": "retrained_without", "replacement": {"asset": made[-1]}})]

    world.answers["ml"] = train


def reasons(world: World, case_id: str) -> set[str]:
    failures = world.confirmations("partially_completed", case_id=case_id)[-1]["failures"]
    return {line.get("reason", "") for line in failures if line["kind"] == "model"}


def test_a_model_made_of_the_rebuilt_set_counts() -> None:
    world = furnished()
    trained(world, "set")
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed"
    order = [(asset, action) for _, asset, action in world.commanded[case_id] if asset in ("set", "model")]
    assert order == [("set", "rebuild_without"), ("model", "retrain_without")]


@pytest.mark.parametrize(
    ("parents", "registered", "fields", "reason"),
    [
        (["set"], False, {}, "replacement_unregistered"),
        ([], True, {}, "replacement_unclear"),
        (["set"], True, {"derived_at": None}, "replacement_unclear"),
        (["never registered"], True, {}, "replacement_unclear"),
        (["set"], True, {"derived_at": "2026-10-01T00:00:00Z"}, "replacement_unclear"),
        (["set", "model"], True, {}, "replacement_unclear"),
        ([f"part-{number}" for number in range(20)], True, {}, "replacement_unclear"),
    ],
)
def test_a_model_of_which_nobody_can_say_that_it_is_clean_does_not_count(
    parents: list[str],
    registered: bool,  # noqa: FBT001 - a table
    fields: dict[str, Any],
    reason: str,
) -> None:
    world = furnished()
    trained(world, *parents, registered=registered, **fields)
    if fields.get("derived_at", "") is None:
        trained(world, *parents)
        fields.clear()
        register = world.register
        world.register = lambda *a, **f: register(*a, **{k: v for k, v in f.items() if k != "derived_at"})  # type: ignore[method-assign]
    case_id = world.erase("ann")
    world.settle(ticks=3)
    assert world.status(case_id) == "purging"
    world.tick(40 * DAY)
    world.settle(ticks=1)
    assert reason in reasons(world, case_id)


def test_a_model_made_of_what_is_not_clean_is_planned_itself_and_counts_when_that_was_done() -> None:
    """The set's owner is silent until the retraining's stage has come: the new model is made of the old set."""
    world = furnished()
    trained(world, "set")
    train = world.answers["ml"]
    silent = [True]
    world.answers["ml"] = lambda command: [] if silent and command["action"] == "rebuild_without" else train(command)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    while not joint(world):
        world.tick(DAY)
        world.settle(ticks=1)
    world.settle(ticks=1)
    assert world.status(case_id) == "purging"
    silent.clear()
    for _ in range(12):
        world.tick(DAY)
        world.settle(ticks=1)
    assert ("ml", "model+", "retrain_without") in world.commanded[case_id]
    assert world.status(case_id) in {"completed", "partially_completed"}
    assert world.confirmations("completed", case_id=case_id)[-1]["counts"]["model"] == {"retrained_without": 2}
    world.check_ledger(case_id)


def test_a_model_that_is_registered_late_counts_when_it_is() -> None:
    world = furnished()
    trained(world, "set", registered=False)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    (command,) = joint(world)
    world.register(
        "model+",
        "model",
        "ml",
        parents=["set"],
        command_id=command["command_id"],
        derived_at=world.broker.now.isoformat(),
    )
    world.settle(ticks=30)
    assert world.status(case_id) == "completed"
    assert len(joint(world)) == 1


def test_an_answer_without_a_replacement_is_none() -> None:
    world = furnished()
    world.registers = False
    world.answers["ml"] = lambda command: (
        [receipt(command, all={"claim": "retrained_without"})]
        if command["action"] == "retrain_without"
        else honest(command)
    )
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.tick(40 * DAY)
    world.settle(ticks=1)
    assert reasons(world, case_id) == {"no_replacement"}


@pytest.mark.parametrize(
    ("regime", "fields", "reason"),
    [
        ("gdpr", {"artefact_digest": "sha256:ab", "until": "2027-11-01T00:00:00Z"}, ""),
        ("gdpr", {"artefact_digest": "sha256:ab"}, "anonymity_without_evidence"),
        ("gdpr", {"until": "2027-11-01T00:00:00Z"}, "anonymity_without_evidence"),
        ("order", {"artefact_digest": "sha256:ab", "until": "2027-11-01T00:00:00Z"}, "no-anonymity-for-orders"),
    ],
)
def test_anonymity_needs_evidence_and_a_law_that_knows_it(regime: str, fields: dict[str, str], reason: str) -> None:
    world = furnished()
    world.answers["ml"] = lambda command: (
        [receipt(command, all={"claim": "anonymised_with_proof"} | fields)]
        if command["action"] == "retrain_without"
        else honest(command)
    )
    case_id = world.erase("ann", regime=regime)
    world.settle(ticks=1)
    if not reason:
        assert world.status(case_id) == "completed"
        return
    world.tick(40 * DAY)
    world.settle(ticks=1)
    assert reasons(world, case_id) == {reason}


# -- What joint commands produced for others, or besides


def test_what_was_made_for_others_is_planned_for_who_was_not_among_them() -> None:
    """More wait than one command can name; what is made for the first ones holds the data of whoever is left."""
    world = World()
    world.policies.change(world.policies.current.model_copy(update={"models": Models(collect_hours=24)}))
    for person in ("ann", "bob", "cleo"):
        photos = [{"asset": f"{person}-{number}", "kind": "object", "system": "photos"} for number in range(450)]
        common = {"subjects": [{"namespace": "user_id", "id": person}], "collected_at": "2026-01-01T00:00:00Z"}
        world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": photos})
        world.register("model", "model", "ml", parents=[each["asset"] for each in photos], event=person)
        world.register("set", "dataset", "users", parents=[f"{person}-0"], event=f"set-{person}")
    world.settle(ticks=1)
    trained(world, "set")
    train, late = world.answers["ml"], ["cleo"]

    def sets(command: dict[str, Any]) -> list[dict[str, Any]]:
        """The owner of the set does not know yet how to leave out one of them."""
        mine = command["action"] == "rebuild_without" and command["case_id"] == cases[2]
        return [] if late and mine else honest(command)

    world.answers["users"] = sets
    cases = [world.erase(person, request=person) for person in ("ann", "bob", "cleo")]
    gone: set[str] = set()

    def trains_once(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return honest(command)
        (target,) = command["targets"]
        if target["asset"] in gone:
            return [receipt(command, all={"claim": "not_found"})]
        gone.add(target["asset"])
        return train(command)

    world.answers["ml"] = trains_once
    world.settle(ticks=1)
    for _ in range(30):
        world.tick(DAY)
        world.settle(ticks=1)
    late.clear()
    for _ in range(20):
        world.tick(DAY)
        world.settle(ticks=1)
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    assert ("ml", "model+", "retrain_without") in world.commanded[cases[2]]
    for case_id in cases:
        world.check_ledger(case_id)


def test_what_a_trainer_makes_besides_is_planned_unless_it_is_clean() -> None:
    """A checkpoint of the old set, registered with the command's id: the id proves nothing."""
    world = furnished()
    trained(world, "set")
    train = world.answers["ml"]

    def with_checkpoint(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] == "retrain_without":
            old = {"derived_at": "2026-10-01T00:00:00Z", "command_id": command["command_id"]}
            world.register("checkpoint+", "checkpoint", "ml", parents=["set"], **old)
        return train(command)

    world.answers["ml"] = with_checkpoint
    case_id = world.erase("ann")
    world.settle(ticks=10)
    assert ("ml", "checkpoint+", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_a_parent_may_be_named_by_another_of_its_names() -> None:
    world = World()
    world.register("photo-ann", subjects=["ann"])
    world.register("set", "dataset", "ml", parents=["photo-ann"], aliases=["set:latest"])
    world.register("model", "model", "ml", parents=["set:latest"])
    world.settle(ticks=1)
    trained(world, "set:latest")
    case_id = world.erase("ann")
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"


def test_an_older_answer_does_not_take_the_place_of_one_that_is_being_looked_at() -> None:
    world = furnished()
    trained(world, "set")
    train = world.answers["ml"]

    def turned(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return honest(command)
        (done,) = train(command)
        return [done | {"sequence": 5}, receipt(command, sequence=2, all={"claim": "failed"})]

    world.answers["ml"] = turned
    case_id = world.erase("ann")
    world.settle(ticks=3)
    assert world.status(case_id) == "completed"
    assert len(joint(world)) == 1


def test_an_owner_that_had_finished_when_it_was_told_not_to_go_on_may_say_so() -> None:
    """rule "withdrawn first": `withdrawn`, or what was already done; both end it."""
    world, (case_id,) = under_way("ann")
    (command,) = joint(world)
    world.deaf.add("ml")
    world.say("request.cancelled", case_id, reason="x")
    world.settle(ticks=1)
    assert aggregate(world).phase is RoundPhase.RECALLED
    world.publish("receipts.ml", "expunge.purge.receipted.v1", receipt(command, all={"claim": "deleted"}), source="/ml")
    world.settle(ticks=1)
    assert aggregate(world).phase is RoundPhase.IDLE
    assert world.status(case_id) == "cancelled"
    assert world.confirmations("cancelled", case_id=case_id)[0]["counts"]["model"] == {"deleted": 1}


def test_what_was_promised_to_who_left_holds_its_data_and_is_planned() -> None:
    """Bob is paused before the round begins that he was promised; what it makes for Ann is made of his photo, too."""
    world = furnished(("ann", "bob"), collect_hours=24)
    trained(world, "set")
    train, silent = world.answers["ml"], [True]

    def answers(command: dict[str, Any]) -> list[dict[str, Any]]:
        mine = command["case_id"] == cases[1] and command["action"] == "rebuild_without"
        return [] if silent and mine else train(command)

    world.answers["ml"] = answers
    cases = [world.erase(person, request=person) for person in ("ann", "bob")]
    world.settle(ticks=1)
    for _ in range(25):  # the set's owner is silent about Bob: his stage ends by the clock
        world.tick(DAY)
        world.settle(ticks=1)
    silent.clear()
    for _ in range(25):
        world.tick(DAY)
        world.settle(ticks=1)
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    assert ("ml", "model+", "retrain_without") in world.commanded[cases[1]]


@pytest.mark.parametrize("word", ["pause", "hold"])
def test_a_word_while_a_replacement_is_looked_at_has_nothing_made_anew(word: str) -> None:
    world = furnished()
    trained(world, "set", registered=False)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    (command,) = joint(world)
    if word == "pause":
        world.order("emission.paused", key="p", scope={"case_id": case_id}, reason="x")
    else:
        world.order("hold.placed", key="h", hold_id="h", scope={"case_id": case_id}, basis="b", custodian="c")
    world.settle(ticks=1)
    if word == "pause":
        world.order("emission.resumed", key="p", scope={"case_id": case_id})
    else:
        world.order("hold.released", key="h", hold_id="h")
    made = {"command_id": command["command_id"], "derived_at": world.broker.now.isoformat()}
    world.register("model+", "model", "ml", parents=["set"], **made)
    world.settle(ticks=30)
    assert world.status(case_id) == "completed"
    assert len(joint(world)) == 1
    world.check_ledger(case_id)


def test_a_refused_answer_is_asked_for_again_under_its_own_id() -> None:
    """rule "repetitions": a system sends its stored answer; nothing is trained again day by day."""
    world = furnished()
    outcome = {"claim": "retrained_without", "method": "approximate_unlearning"}
    world.answers["ml"] = lambda command: (
        [receipt(command, all=dict(outcome))] if command["action"] == "retrain_without" else honest(command)
    )
    world.erase("ann", regime="order")
    world.settle(ticks=1)
    for _ in range(10):
        world.tick(DAY)
        world.settle(ticks=1)
    assert len(joint(world)) > 5
    assert len({command["command_id"] for command in joint(world)}) == 1


def test_no_word_puts_a_model_off_beyond_the_deadline_of_its_provision() -> None:
    world = furnished(collect_hours=24, needs_hours=48)
    world.register("scan", data_sources=["supplier-a"])
    deadline = world.broker.now + timedelta(days=10)
    provision = {"id": "III(C)", "deadline": deadline.isoformat(), "kinds": ["model"]}
    matter = {"authority": "court", "docket": "C-1", "order_date": "2026-11-01", "provisions": [provision]}
    case_id = world.erase("ann", matter=matter)
    world.settle(ticks=1)
    far = (world.broker.now + timedelta(days=80)).isoformat()
    world.say("obligation.decided", case_id, asset="model", option="retrain_by", rationale="x", due_at=far)
    world.settle(ticks=1)
    assert aggregate(world).begin_at == deadline - timedelta(hours=48)


def test_a_clean_replacement_counts_within_seconds() -> None:
    """The case waits for the indexers a second time, and hears from them at once."""
    world = furnished()
    trained(world, "set")
    train = world.answers["ml"]
    world.answers["ml"] = lambda command: [] if command["action"] == "retrain_without" else honest(command)
    case_id = world.erase("ann")

    def seconds(number: int) -> None:
        for _ in range(number):
            while any([world.step(role, 50) for role in world.roles] + [world.answer_all()]):
                pass
            world.tick(1)

    seconds(2)
    (command,) = joint(world)
    world.publish("receipts.ml", "expunge.purge.receipted.v1", train(command)[0], source="/ml")
    seconds(6)
    assert world.status(case_id) == "completed"


# -- What is put off, spoken of twice, or spoken of beside


def put_off_by_its_owner(*people: str) -> tuple[World, list[str]]:
    """A model whose owner has said that it will be made anew in ten days."""
    world = furnished()
    until = (world.broker.now + timedelta(days=10)).isoformat()
    world.answers["ml"] = lambda command: (
        [receipt(command, all={"claim": "deferred", "until": until})]
        if command["action"] == "retrain_without"
        else honest(command)
    )
    cases = [world.erase(person, request=person) for person in people]
    world.settle(ticks=1)
    return world, cases


@pytest.mark.parametrize("word", ["cancel", "hold"])
def test_what_its_owner_has_put_off_is_withdrawn_too(word: str) -> None:
    """rule "withdrawn first": until it has let go, it may still go on; only then is the word confirmed."""
    world, (case_id,) = put_off_by_its_owner("ann")
    world.deaf.add("ml")
    if word == "cancel":
        world.say("request.cancelled", case_id, reason="x")
    else:
        world.order("hold.placed", key="h", hold_id="h", scope={"asset": "model"}, basis="b", custodian="c")
    world.settle(ticks=1)
    assert len(withdrawn(world)) == 1
    assert world.status(case_id) != "cancelled"
    assert any(each.unsettled for each in world.standing())
    world.deaf.clear()
    world.tick(3600)
    world.settle(ticks=1)
    assert aggregate(world).phase is RoundPhase.IDLE
    assert not any(each.unsettled for each in world.standing())


def test_one_retrain_is_under_way_also_while_it_is_put_off() -> None:
    world, (case_id,) = put_off_by_its_owner("ann")
    other = world.erase("bob", request="bob")
    world.settle(ticks=1)
    assert len({command["command_id"] for command in joint(world)}) == 1
    world.answers.clear()
    for _ in range(11):
        world.tick(DAY)
        world.settle(ticks=1)
    assert [world.status(each) for each in (case_id, other)] == ["completed", "completed"]
    assert len({command["command_id"] for command in joint(world)}) == 2


def test_what_an_owner_says_of_another_asset_ends_nothing() -> None:
    world, (case_id,) = under_way("ann")
    (command,) = joint(world)
    results = [{"asset": "another", "claim": "deleted"}]
    world.publish("receipts.ml", "expunge.purge.receipted.v1", receipt(command, results=results), source="/ml")
    world.settle(ticks=1)
    assert aggregate(world).phase is RoundPhase.SENT
    assert world.status(case_id) == "purging"


@pytest.mark.parametrize("status", ["accepted", "done"])
def test_an_answer_with_the_number_of_a_promise_is_an_answer(status: str) -> None:
    world, (case_id,) = under_way("ann")
    (command,) = joint(world)
    far = (world.broker.now + timedelta(days=20)).isoformat()
    promise = receipt(command, status="accepted", expected_by=far)
    for said in (promise, receipt(command, all={"claim": "deleted"})):
        world.publish("receipts.ml", "expunge.purge.receipted.v1", said, source="/ml")
        world.settle(ticks=1)
    if status == "done":  # said once more, word for word
        again = receipt(command, all={"claim": "deleted"})
        world.publish("receipts.ml", "expunge.purge.receipted.v1", again, source="/ml", event="again")
        world.settle(ticks=1)
    assert aggregate(world).phase is RoundPhase.IDLE
    assert world.status(case_id) == "completed"


def test_an_id_that_was_purged_and_is_used_again_is_looked_at_as_what_it_is_now() -> None:
    """`slot` was deleted by the case; its owner puts another model there, made from something unknown."""
    world = furnished()
    world.register("slot", "model", "ml", parents=["set"], event="slot")
    world.settle(ticks=1)
    world.registers = False

    def reuses(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return honest(command)
        (target,) = command["targets"]
        if target["asset"] == "slot":
            return [receipt(command, all={"claim": "deleted"})]
        world.tick(60)
        made = {"derived_at": world.broker.now.isoformat(), "command_id": command["command_id"]}
        world.register("slot", "model", "ml", parents=["set", "unknown"], event="slot again", **made)
        return [receipt(command, all={"claim": "retrained_without", "replacement": {"asset": "slot"}})]

    world.answers["ml"] = reuses
    case_id = world.erase("ann")
    world.settle(ticks=10)
    assert [asset for _, asset, _ in world.commanded[case_id]].count("slot") > 1
    world.check_ledger(case_id)


def test_a_hold_and_one_more_receipt_do_not_keep_a_replacement_from_being_looked_at() -> None:
    world = furnished()
    trained(world, "set", registered=False)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    (command,) = joint(world)
    world.order("hold.placed", key="h", hold_id="h", scope={"asset": "model"}, basis="b", custodian="c")
    world.settle(ticks=1)
    outcome = {"claim": "retrained_without", "replacement": {"asset": "model+"}}
    again = receipt(command, sequence=2, all=outcome)
    world.publish("receipts.ml", "expunge.purge.receipted.v1", again, source="/ml")
    world.settle(ticks=1)
    world.order("hold.released", key="h", hold_id="h")
    made = {"command_id": command["command_id"], "derived_at": world.broker.now.isoformat()}
    world.register("model+", "model", "ml", parents=["set"], **made)
    world.settle(ticks=30)
    assert world.status(case_id) == "completed"
    assert len(joint(world)) == 1


def test_what_was_produced_is_planned_when_a_hold_keeps_the_model() -> None:
    world = furnished()
    trained(world, "set", registered=False)
    train = world.answers["ml"]

    def with_checkpoint(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return train(command)
        old = {"derived_at": "2026-10-01T00:00:00Z", "command_id": command["command_id"]}
        world.register("checkpoint+", "checkpoint", "ml", parents=["set"], **old)
        return []

    world.answers["ml"] = with_checkpoint
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert ("ml", "checkpoint+", "delete") not in world.commanded[case_id]
    world.order("hold.placed", key="h", hold_id="h", scope={"asset": "model"}, basis="b", custodian="c")
    world.settle(ticks=2)
    assert ("ml", "checkpoint+", "delete") in world.commanded[case_id]


def test_a_correction_that_crosses_a_repetition_is_heard() -> None:
    world, (case_id,) = under_way("ann")
    world.registers = False
    (command,) = joint(world)
    wrong = {"claim": "retrained_without", "replacement": {"asset": "never registered"}}
    world.publish("receipts.ml", "expunge.purge.receipted.v1", receipt(command, all=wrong), source="/ml")
    world.step("intake", 50)
    world.tick(61)  # the case asks again while the answer lies unread
    world.settle(ticks=1)
    world.register("good set", "dataset", "ml")
    made: dict[str, Any] = {"parents": ["good set"], "derived_at": world.broker.now.isoformat()}
    world.register("model+", "model", "ml", **made)
    right = {"claim": "retrained_without", "replacement": {"asset": "model+"}}
    said = receipt(joint(world)[-1], sequence=2, all=right)
    world.publish("receipts.ml", "expunge.purge.receipted.v1", said, source="/ml")
    world.settle(ticks=20)
    assert world.status(case_id) == "completed"


def test_a_word_about_a_plan_that_names_a_model_is_set_aside() -> None:
    """Agents see the id of a joint command's aggregate; what was said of it vanished."""
    world = World()
    world.register("p", subjects=["ann"])
    world.register("set", "dataset", system="ml", parents=["p"])
    world.register("model", "model", system="ml", parents=["set"])
    world.settle(ticks=0)
    world.answers["ml"] = lambda _: []
    world.erase("ann")
    for _ in range(40):
        world.tick(3600 * 12)
        world.settle(ticks=0)
    joined = [each for each in world.broker.events("cases") if "retrain_joined" in each["type"]]
    for word, more in (("approved", {}), ("rejected", {"reason": "no"})):
        world.say(f"plan.{word}", joined[0]["data"]["retraining"], plan_digest="0" * 32, **more)
        world.settle(ticks=0)
    reasons = [each["data"]["reason"] for each in world.broker.events("dead-letters")]
    assert reasons == ["control_without_case"] * 2
