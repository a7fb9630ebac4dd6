"""Probes (rule "probed"): what somebody else than its agent finds outweighs what that has said."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.aggregates.case.probing import FOUND_BY_PROBE, NOT_PROBED, NOTHING_TO_PROBE, PATIENCE, chosen
from expunge.domain.aggregates.case.state import Probe
from expunge.domain.evidence import reading, reading_form
from tests.simulation import SIGNERS, START, World, finding, receipt
from tests.unit.test_certificates import Certificate, failed


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(signs=True, evidence=tmp_path / "evidence")


def purged(world: World, number: int = 5) -> str:
    """A case of some photos, all of which their system calls deleted."""
    for each in range(number):
        world.register(f"p{each}", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed"
    return case_id


def probe(world: World, case_id: str, operator: str = "olga", **fields: Any) -> None:
    world.say("probe.requested", case_id, operator, **fields)
    world.settle()


def at_once(world: World) -> None:
    """Whatever lies somewhere is handled and answered, and no time passes."""
    world.deliver()
    while world.answer_all() or world.probe_all():
        world.deliver()


def facts(world: World, fact: str) -> list[dict[str, Any]]:
    kind = f"expunge.ledger.{fact}.v1"
    return [e["data"]["body"] for e in world.broker.events("ledger") if e["type"] == kind]


def grades(world: World, case_id: str) -> set[tuple[str, str | None]]:
    return {(row["claim"], row.get("grade")) for row in said(world, case_id)["inventory"]}


def said(world: World, case_id: str) -> dict[str, Any]:
    certificate = Certificate(world, case_id)
    assert not failed(certificate.verified())
    found: dict[str, Any] = certificate.statement["predicate"]
    return found


def reasons(world: World) -> list[str]:
    return [letter["reason"] for letter in world.dead_letters()]


def test_what_nobody_finds_is_verified_and_a_new_certificate_says_so(world: World) -> None:
    case_id = purged(world)
    before = said(world, case_id)
    assert grades(world, case_id) == {("deleted", "E2")}
    assert any("no probe" in each for each in before["not_shown"])
    probe(world, case_id)
    after = said(world, case_id)
    assert grades(world, case_id) == {("deleted", "E3")}
    assert not any("no probe" in each for each in after["not_shown"])
    assert after["predecessor"] is not None
    for each in ("ended_at", "on_time", "status", "outcome"):
        assert after["case"][each] == before["case"][each]
    (looked,) = after["verification"]["probes"]
    assert looked["asked"] == looked["absent"] == looked["of"] == 5
    assert (looked["sample"], looked["found"], looked["unknown"]) == (None, 0, 0)
    assert len(looked["by"]) == 1
    assert looked["ended_at"]
    assert [each["fact"] for each in after["words"]] == ["probe_begun"]
    assert len(world.confirmations("completed", case_id=case_id)) == 1
    world.check_ledger(case_id)


def test_what_is_found_is_open_again_commanded_anew_and_closed_by_nothing_said_before(world: World) -> None:
    case_id = purged(world)
    world.there = {("photos", "p1"), ("photos", "p3")}
    before = list(world.commanded[case_id])
    world.answers["photos"] = lambda _: []  # it does not answer the new command yet
    world.say("probe.requested", case_id)
    at_once(world)
    assert world.status(case_id) == "purging"
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    again = world.commanded[case_id][len(before) :]
    assert {asset for _, asset, _ in again} == {"p1", "p3"}
    commands = [e["data"] for e in world.broker.events("commands.photos")]
    told = commands[-1]
    assert {each["refused"] for each in told["targets"]} == {"found_by_probe"}
    for each in commands:  # from memory, once more, with a higher number
        if each["command_id"] != told["command_id"]:
            late = receipt(each, all={"claim": "deleted"}) | {"sequence": 7}
            world.publish("receipts.photos", "expunge.purge.receipted.v1", late, source="/photos")
    at_once(world)
    assert world.status(case_id) == "purging"
    world.answers.pop("photos")
    last = [e["data"] for e in world.broker.events("commands.photos")][-1]
    world.publish(
        "receipts.photos", "expunge.purge.receipted.v1", receipt(last, all={"claim": "deleted"}), source="/photos"
    )
    world.settle()
    assert world.status(case_id) == "completed"
    assert grades(world, case_id) == {("deleted", "E2"), ("deleted", "E3")}
    counts = {row.get("grade"): row["count"] for row in said(world, case_id)["inventory"]}
    assert sum(counts.values()) == 5
    (looked,) = said(world, case_id)["verification"]["probes"]
    assert (looked["found"], looked["absent"]) == (2, 3)
    assert any("no probe has looked at" in each for each in said(world, case_id)["not_shown"])
    probe(world, case_id, sample=100)
    assert grades(world, case_id) == {("deleted", "E3")}
    world.check_ledger(case_id)


@pytest.mark.parametrize(
    ("field", "value", "step"),
    [("absent", 5, "case"), ("found", 0, "case"), ("of", 4, "case"), ("by", [], "case"), ("ended_at", None, "case")],
)
def test_what_a_certificate_says_of_probes_follows_from_the_facts(
    world: World, field: str, value: object, step: str
) -> None:
    case_id = purged(world)
    world.there = {("photos", "p1")}
    probe(world, case_id)
    certificate = Certificate(world, case_id)
    statement = certificate.statement
    statement["predicate"]["verification"]["probes"][0][field] = value
    certificate.state(statement)
    assert failed(certificate.verified()) == step
    certificate = Certificate(world, case_id)
    statement = certificate.statement
    statement["predicate"]["not_shown"].remove(reading_form.NOT_ALL_PROBED)
    certificate.state(statement)
    assert failed(certificate.verified()) == "statement"


def test_a_finding_that_is_said_twice_late_or_after_the_end_counts_once(world: World) -> None:
    case_id = purged(world)
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or []  # type: ignore[func-returns-value]
    world.say("probe.requested", case_id)
    world.deliver()
    world.probe_all()
    world.tick(PATIENCE.total_seconds())
    world.settle()
    (ended,) = facts(world, "probe_ended")
    assert ended["silent"] == 5
    assert grades(world, case_id) == {("deleted", "E2")}  # silence shows nothing
    first = kept[0]
    late = [{"asset": each["asset"], "finding": "found"} for each in first["targets"]][:1]
    for _ in range(2):
        world.tell("photos", finding(first, all="absent", results=late))
        world.settle()
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    assert world.status(case_id) == "completed"
    assert grades(world, case_id) == {("deleted", "E2")}  # an absence that is said too late is none
    (looked,) = said(world, case_id)["verification"]["probes"]
    assert (looked["found"], looked["absent"], looked["asked"]) == (1, 0, 5)
    world.check_ledger(case_id)


def test_of_two_findings_the_worse_counts_and_who_cannot_tell_has_shown_nothing(world: World) -> None:
    case_id = purged(world)
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or []  # type: ignore[func-returns-value]
    world.say("probe.requested", case_id)
    world.deliver()
    world.probe_all()
    (last, first) = sorted(kept, key=lambda each: len(each["targets"]))
    assets = [each["asset"] for each in first["targets"]]
    both = [{"asset": assets[0], "finding": each} for each in ("absent", "found")]
    rest = [{"asset": each, "finding": "unknown", "reason_code": "no_access"} for each in assets[1:]]
    stranger = {"asset": "of another chunk", "finding": "found"}
    world.tell("photos", finding(first, results=[*both, *rest, stranger]))
    world.tell("photos", finding(first, results=[{"asset": assets[1], "finding": "absent"}]))  # now it can be told
    world.tell("photos", finding(first, all="unknown"))  # what was told stays told
    world.tell("photos", finding(last, all="absent"))
    world.settle()
    (looked,) = said(world, case_id)["verification"]["probes"]
    assert (looked["found"], looked["unknown"], looked["absent"]) == (1, 1, 3)
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    assert grades(world, case_id) == {("deleted", "E2"), ("deleted", "E3")}
    world.check_ledger(case_id)


def test_only_the_prober_of_a_system_is_believed(world: World) -> None:
    case_id = purged(world, 1)
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or []  # type: ignore[func-returns-value]
    world.say("probe.requested", case_id)
    world.deliver()
    world.probe_all()
    answer = finding(kept[0], all="absent")
    world.tell("photos", answer, by=SIGNERS["photos"])  # the purger's own key
    world.tell("photos", answer, by=SIGNERS["users"])
    world.publish("findings.photos", "expunge.probe.answered.v1", answer, source="/somebody")
    world.tell("photos", answer | {"system": "users"})
    world.tell("photos", answer | {"number": 2})
    world.tell("photos", answer | {"case_id": "f" * 32})
    world.tell("photos", answer | {"command_id": "f" * 32})
    world.deliver()
    assert sorted(reasons(world)) == sorted(
        ["bad_signature", "bad_signature", "unsigned", "wrong_system", NOT_PROBED, NOT_PROBED, NOT_PROBED]
    )
    assert not facts(world, "probed")


def test_what_was_asked_of_a_system_is_not_answered_with_a_receipt_of_its_prober(world: World) -> None:
    world.register("p1", subjects=["ann"])
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle()
    (command, *_) = [e["data"] for e in world.broker.events("commands.photos")]
    world.tell("photos", finding({"number": 1} | command, all="absent"))
    world.settle()
    assert reasons(world) == [NOT_PROBED]
    assert world.status(case_id) == "purging"


def test_who_may_not_ask_and_where_there_is_nothing_to_look_for(world: World) -> None:
    world.register("e1", "embedding", "ml", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    probe(world, case_id, "omar")
    probe(world, case_id)  # nobody looks into `ml`
    probe(world, "f" * 32)
    assert sorted(reasons(world)) == ["control_without_case", "not_allowed", NOTHING_TO_PROBE]


def test_the_same_word_is_heard_once_and_another_ends_the_probe_that_goes_on(world: World) -> None:
    case_id = purged(world)
    world.looks = lambda _: []
    event = {"case_id": case_id, "operator": "olga"}
    for _ in range(2):
        world.publish("controls", "expunge.probe.requested.v1", event, source="/operators/olga", event="one word")
    world.settle()
    assert len(facts(world, "probe_begun")) == 1
    world.looks = None
    probe(world, case_id, sample=2)
    begun, ended = facts(world, "probe_begun"), facts(world, "probe_ended")
    assert [each["number"] for each in begun] == [each["number"] for each in ended] == [1, 2]
    assert [each["silent"] for each in ended] == [5, 0]
    assert world.state_of(case_id).probing is None
    world.check_ledger(case_id)


def test_it_is_looked_again_after_the_days_that_were_asked_for(world: World) -> None:
    case_id = purged(world)
    probe(world, case_id, sample=2, again_days=[90, 30, 30])
    assert [each.sample for each in world.state_of(case_id).probes_due] == [2, 2]
    world.there = {("photos", f"p{each}") for each in range(5)}
    for days in (30, 90):
        world.tick(days * 86_400)
        world.settle()
    begun = facts(world, "probe_begun")
    assert [each["number"] for each in begun] == [1, 2, 3]
    assert len({each["seed"] for each in begun}) == 3
    assert [bool(each["operator"]) for each in begun] == [True, False, False]
    assert not world.state_of(case_id).probes_due
    assert len(world.confirmations("reopened", case_id=case_id)) == 2
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_a_holding_is_looked_into_as_well(world: World) -> None:
    world.declare_holding("users.db", namespaces=["user_id"])
    case_id = world.erase("ann")
    world.settle()
    world.there = {("users", "users.db")}
    probe(world, case_id)
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    assert world.status(case_id) == "completed"
    assert len([each for each in world.commanded[case_id] if each[1] == "users.db"]) == 2


def test_what_a_probe_finds_while_the_rest_of_its_command_is_out_is_told_to_the_system_at_once(world: World) -> None:
    """The answer from memory to what is still open must not close it, nor must it wait for that."""
    world.register("p1", subjects=["ann"])
    world.register("p2", subjects=["ann"])
    until = (world.broker.now + timedelta(days=20)).isoformat()

    def half(command: dict[str, Any]) -> list[dict[str, Any]]:
        tape = {"asset": "p2", "claim": "deferred", "until": until, "reason_code": "rotation"}
        named = {each["asset"] for each in command["targets"]}
        every = [{"asset": "p1", "claim": "deleted"}, tape]
        return [receipt(command, results=[each for each in every if each["asset"] in named])]

    world.answers["photos"] = half
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed_with_deferrals"
    world.there = {("photos", "p1")}
    world.let_go = lambda data: receipt(data, status="withdrawn", results=[{"asset": "p1", "claim": "deleted"}])
    probe(world, case_id)
    assert len([each for each in world.commanded[case_id] if each[1] == "p1"]) == 2
    assert world.status(case_id) == "completed_with_deferrals"
    assert not world.there
    world.check_ledger(case_id)


def test_what_a_hold_covers_by_now_is_kept_though_a_probe_finds_it(world: World) -> None:
    case_id = purged(world)
    world.order("hold.placed", key="h1", hold_id="h1", scope={"asset": "p1"}, basis="b", custodian="c")
    world.settle()
    world.there = {("photos", "p1")}
    before = len(world.commanded[case_id])
    probe(world, case_id)
    assert len(world.commanded[case_id]) == before
    assert world.status(case_id) == "completed_with_deferrals"
    world.order("hold.released", key="h1", hold_id="h1")
    world.settle()
    assert world.status(case_id) == "completed"
    assert not world.there


def told_of(world: World, case_id: str) -> list[dict[str, Any]]:
    """The facts of a case as events, as whoever checks reads them."""
    return [each for each in world.broker.events("ledger") if each["data"]["case_id"] == case_id]


@pytest.mark.parametrize(
    ("fact", "changes"),
    [
        ("probed", {"absent": [0, 1, 2]}),  # some of them nobody was asked about
        ("probed", {"absent": [0, 0]}),
        ("probed", {"absent": [-1]}),
        ("probed", {"absent": [True]}),
        ("probed", {"number": 2}),
        ("probed", {"number": 0}),
        ("probe_asked", {"ordinals": [7]}),
        ("probe_asked", {"number": 0}),
        ("probe_begun", {"number": 2}),
        ("probe_ended", {"number": 2}),
    ],
)
def test_whoever_checks_finds_findings_that_nobody_was_asked_for(
    world: World, fact: str, changes: dict[str, Any]
) -> None:
    """The issuer may write such facts; another program reads them, and refuses."""
    case_id = purged(world, 3)
    probe(world, case_id, sample=1)
    facts_of = told_of(world, case_id)
    assert reading.Told(facts_of).probes.all[0]["absent"] == 1
    bent = [deepcopy(each) for each in facts_of]
    for each in bent:
        if each["type"] == f"expunge.ledger.{fact}.v1":
            each["data"]["body"] |= changes
    with pytest.raises((ValueError, LookupError)):
        reading.Told(bent)


def test_whoever_checks_takes_no_absence_after_the_end_of_a_probe_or_of_what_was_open_meanwhile(world: World) -> None:
    case_id = purged(world, 3)
    probe(world, case_id)
    facts_of = told_of(world, case_id)
    (answer,) = [each for each in facts_of if each["type"] == "expunge.ledger.probed.v1"]
    with pytest.raises(ValueError, match="had ended"):
        reading.Told([*facts_of, answer])
    at = facts_of.index(answer)
    again = deepcopy(next(each for each in facts_of if each["type"] == "expunge.ledger.answered.v1"))
    failed_once = deepcopy(again)
    failed_once["data"]["body"]["answers"] = "f" * 3
    with pytest.raises(ValueError, match="changed since"):
        reading.Told([*facts_of[:at], failed_once, again, *facts_of[at:]])


def half(*gone: str) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """A system that deletes some of what it is told, and puts the rest off."""
    until = (START + timedelta(days=20)).isoformat()

    def answers(command: dict[str, Any]) -> list[dict[str, Any]]:
        later = {"claim": "deferred", "until": until, "reason_code": "rotation"}
        named = [each["asset"] for each in command["targets"]]
        results = [{"asset": each, **({"claim": "deleted"} if each in gone else later)} for each in named]
        return [receipt(command, results=results)]

    return answers


@pytest.mark.parametrize("scope", ["asset", "system", "subject", "case_id"])
def test_what_a_hold_covers_is_kept_also_where_the_hold_was_met_when_it_was_gone(world: World, scope: str) -> None:
    """A chunk that meets a hold remembers what that covers; what a probe finds of it later is not commanded."""
    world.register("p1", subjects=["ann"])
    world.register("p2", subjects=["ann"])
    world.answers["photos"] = half("p1")
    case_id = world.erase("ann")
    world.settle()
    covers = {"asset": "p1", "system": "photos", "subject": {"namespace": "user_id", "id": "ann"}, "case_id": case_id}
    world.order("hold.placed", key="h1", hold_id="h1", scope={scope: covers[scope]}, basis="b", custodian="c")
    world.settle()
    before = len(world.commanded[case_id])
    world.there = {("photos", "p1")}
    probe(world, case_id)
    assert ("photos", "p1", "delete") not in world.commanded[case_id][before:]
    assert world.status(case_id) == "completed_with_deferrals"
    assert ("held", None) in grades(world, case_id) or ("held", "E3") in grades(world, case_id)
    world.order("hold.released", key="h1", hold_id="h1")
    world.answers.pop("photos")
    world.settle()
    assert world.status(case_id) == "completed"
    assert not world.there
    world.check_ledger(case_id)


@pytest.mark.parametrize("claim", ["deferred", "beyond_use"])
def test_what_its_system_puts_off_after_all_is_held_and_its_command_withdrawn(world: World, claim: str) -> None:
    """A hold was met when it was gone; corrected later, it may not be done on the day that the system names."""
    case_id = purged(world, 3)
    world.order("hold.placed", key="h1", hold_id="h1", scope={"system": "photos"}, basis="b", custodian="c")
    world.settle()
    probe(world, case_id)  # the chunk hears of the hold
    (command,) = [e["data"] for e in world.broker.events("commands.photos")][:1]
    until = (world.broker.now + timedelta(days=20)).isoformat()
    put_off = {"asset": "p0", "claim": claim, "until": until, "reason_code": "rotation", "safeguard": "locked"}
    answer = receipt(command, results=[put_off]) | {"sequence": 9}
    world.publish("receipts.photos", "expunge.purge.receipted.v1", answer, source="/photos")
    world.settle()
    assert {e["type"] for e in world.broker.events("commands.photos")} >= {"expunge.purge.withdrawn.v1"}
    assert ("held", None) in grades(world, case_id)
    world.order("hold.released", key="h1", hold_id="h1")
    world.settle()
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_all_found_said_twice_accuses_nobody_else(world: World) -> None:
    case_id = purged(world, 3)
    (asked,) = later(world, case_id, sample=1)
    for _ in range(2):
        world.tell("photos", finding(asked, all="found"))
        world.settle()
    (probed,) = facts(world, "probed")
    assert len(probed["found"]) == 1


def test_what_a_system_takes_back_counts_under_whatever_command(world: World) -> None:
    case_id = purged(world, 2)
    (command,) = [e["data"] for e in world.broker.events("commands.photos")]
    world.there = {("photos", "p0")}
    probe(world, case_id)
    before = len(world.commanded[case_id])
    back = receipt(command, results=[{"asset": "p0", "claim": "failed", "reason_code": "restored"}])
    again = [e["data"] for e in world.broker.events("commands.photos")][-1]
    world.publish(
        "receipts.photos",
        "expunge.purge.receipted.v1",
        back | {"command_id": again["command_id"], "attempt": again["attempt"], "sequence": 9},
        source="/photos",
    )
    world.settle()
    assert len(world.commanded[case_id]) > before


def later(world: World, case_id: str, **fields: Any) -> list[dict[str, Any]]:
    """Ask for a probe that nobody answers yet; its questions."""
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or []  # type: ignore[func-returns-value]
    world.say("probe.requested", case_id, **fields)
    world.deliver()
    world.probe_all()
    return kept


@pytest.mark.parametrize("what", [{"all": "found"}, {"results": [{"asset": "p0", "finding": "found"}]}])
def test_what_an_earlier_probe_has_found_counts_though_another_has_asked_since(world: World, what: Any) -> None:
    case_id = purged(world, 3)
    first = later(world, case_id)
    second = later(world, case_id, sample=1)
    assert first
    for each in first:
        world.tell("photos", finding(each, **what))
    for each in second:
        world.tell("photos", finding(each, all="absent"))
    world.settle()
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    assert world.status(case_id) == "completed"
    (earlier, _) = said(world, case_id)["verification"]["probes"]
    assert earlier["besides"] >= 1
    world.check_ledger(case_id)


def test_what_is_found_while_systems_let_go_stands_in_the_last_certificate(world: World) -> None:
    case_id = purged(world, 2)
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or [finding(asked, all="absent")]  # type: ignore[func-returns-value]
    probe(world, case_id)
    world.looks = None
    world.answers["photos"] = lambda _: []
    world.register("p9", subjects=["ann"])
    world.settle()
    world.deaf = {"photos"}
    world.say("request.cancelled", case_id, reason="why not")
    world.deliver()
    world.tell("photos", finding(kept[0], results=[{"asset": "p0", "finding": "found"}]))
    world.deliver()
    told = world.broker.events("commands.photos")[-1]["data"]
    world.publish("receipts.photos", "expunge.purge.receipted.v1", receipt(told, status="withdrawn"), source="/photos")
    world.settle()
    assert world.status(case_id) == "cancelled"
    assert ("failed", "E3") in grades(world, case_id)
    world.tell("photos", finding(kept[0], results=[{"asset": "p1", "finding": "found"}]))
    world.settle()
    assert reasons(world) == [FOUND_BY_PROBE]  # a person must see it
    world.check_ledger(case_id)


@pytest.mark.parametrize("crash_after", range(0, 40, 5))
def test_a_page_that_is_said_twice_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch, crash_after: int
) -> None:
    monkeypatch.setattr("expunge.domain.aggregates.case.probing.CHUNKS_PER_MESSAGE", 1)
    case_id = purged(world, 9)
    world.say("probe.requested", case_id)
    world.step("intake", 50)
    world.step("coordinator", 50, crash_after=crash_after)
    world.settle()
    probed = world.state_of(case_id).probe
    assert probed is not None
    assert probed.is_over
    looked = said(world, case_id)["verification"]["probes"][0]
    assert (looked["asked"], looked["absent"]) == (9, 9)
    world.check_ledger(case_id)


def test_a_broker_that_takes_no_questions_holds_nobody_up(world: World) -> None:
    case_id = purged(world)
    world.broker.refuses = lambda message: "unknown_topic" if message.topic.startswith("probes.") else ""
    world.say("probe.requested", case_id)
    world.settle()
    others = [world.erase(f"somebody-{each}", request=f"other-{each}") for each in range(6)]
    world.settle()
    assert {world.status(each) for each in others} == {"completed"}
    world.tick(PATIENCE.total_seconds())
    world.settle()
    assert world.state_of(case_id).probing is None
    assert grades(world, case_id) == {("deleted", "E2")}


def test_that_something_was_not_there_before_it_was_deleted_once_more_shows_nothing(world: World) -> None:
    case_id = purged(world, 1)
    (asked,) = later(world, case_id)
    (command,) = [e["data"] for e in world.broker.events("commands.photos")]
    back = receipt(command, status="failed") | {"sequence": 5}
    world.publish("receipts.photos", "expunge.purge.receipted.v1", back, source="/photos")
    world.settle()
    assert world.status(case_id) == "completed"  # deleted once more
    world.tell("photos", finding(asked, all="absent"))
    world.settle()
    assert grades(world, case_id) == {("deleted", "E2")}
    (looked,) = said(world, case_id)["verification"]["probes"]
    assert (looked["absent"], looked["unknown"]) == (0, 1)
    world.check_ledger(case_id)


def test_what_is_found_late_in_a_case_that_never_completes_makes_a_certificate_as_well(world: World) -> None:
    world.register("p1", subjects=["ann"])
    world.register("old", subjects=["ann"], system="legacy")
    case_id = world.erase("ann")
    world.settle()
    world.tick(40 * 86_400)
    world.settle()
    assert world.status(case_id) == "partially_completed"
    kept: list[dict[str, Any]] = []
    world.looks = lambda asked: kept.append(asked) or [finding(asked, all="absent")]  # type: ignore[func-returns-value]
    probe(world, case_id)
    assert ("deleted", "E3") in grades(world, case_id)
    world.answers["photos"] = lambda _: []
    world.tell("photos", finding(kept[0], results=[{"asset": "p1", "finding": "found"}]))
    world.settle()
    assert ("deleted", "E3") not in grades(world, case_id)
    assert world.status(case_id) == "partially_completed"
    world.check_ledger(case_id)


def test_an_answer_under_an_earlier_command_does_not_close_what_was_found_whatever_attempt_it_names(
    world: World,
) -> None:
    case_id = purged(world, 1)
    world.there = {("photos", "p0")}
    world.answers["photos"] = lambda _: []
    world.say("probe.requested", case_id)
    at_once(world)
    (first, second) = [e["data"] for e in world.broker.events("commands.photos")]
    assert first["command_id"] != second["command_id"]
    forged = receipt(first, all={"claim": "deleted"}) | {"attempt": second["attempt"], "sequence": 9}
    world.publish("receipts.photos", "expunge.purge.receipted.v1", forged, source="/photos")
    at_once(world)
    assert world.status(case_id) == "purging"


def test_a_sample_is_of_what_can_be_asked_about_when_part_of_the_case_is_forgotten(world: World) -> None:
    case_id = purged(world, 6)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    world.settle()
    for each in range(4):
        world.register(f"new-{each}", subjects=["ann"], parents=["p0"])
    world.settle()
    probe(world, case_id, sample=2)
    (looked,) = said(world, case_id)["verification"]["probes"]
    assert (looked["of"], looked["asked"]) == (4, 2)


def test_a_case_is_not_forgotten_while_it_is_probed_and_none_is_probed_after_that(world: World) -> None:
    case_id = purged(world)
    world.looks = lambda _: []
    probe(world, case_id, again_days=[300])
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    assert reasons(world) == ["case_has_not_ended"]
    world.tick(PATIENCE.total_seconds())
    world.settle()
    world.say("case.forgotten", case_id, reason="why not now")
    world.settle()
    world.age()
    world.settle()
    assert world.state_of(case_id).is_forgotten
    assert not world.state_of(case_id).probes_due
    world.tick(300 * 86_400)
    world.settle()
    assert len(facts(world, "probe_begun")) == 1
    probe(world, case_id)
    assert not facts(world, "probe_begun")[1:]


def test_a_request_that_is_taken_back_is_probed_no_more(world: World) -> None:
    case_id = purged(world)
    world.looks = lambda _: []
    probe(world, case_id, again_days=[3])
    world.answers["photos"] = lambda _: []
    world.register("p9", subjects=["ann"])
    world.settle()
    world.say("request.cancelled", case_id, reason="why not")
    world.settle()
    assert world.status(case_id) == "cancelled"
    assert world.state_of(case_id).probing is None
    assert not world.state_of(case_id).probes_due
    world.check_ledger(case_id)


def test_a_case_of_many_chunks_is_asked_about_page_by_page_and_as_often_as_was_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expunge.domain.aggregates.case.probing.CHUNKS_PER_MESSAGE", 1)
    case_id = purged(world, 20)
    probe(world, case_id, sample=7)
    asked = facts(world, "probe_asked")
    assert len(asked) > 3
    assert sum(len(each["ordinals"]) for each in asked) == 7
    looked = said(world, case_id)["verification"]["probes"][0]
    assert (looked["asked"], looked["absent"], looked["sample"], looked["of"]) == (7, 7, 7, 20)
    counts = {row.get("grade"): row["count"] for row in said(world, case_id)["inventory"]}
    assert counts == {"E2": 13, "E3": 7}
    world.check_ledger(case_id)


def test_it_survives_the_loss_of_redis(world: World) -> None:
    case_id = purged(world)
    world.looks = lambda _: []
    probe(world, case_id, again_days=[300])
    before = world.state_of(case_id)
    world.rebuild()
    after = world.state_of(case_id)
    assert (after.probe, after.probes_due) == (before.probe, before.probes_due)
    world.tick(PATIENCE.total_seconds())
    world.settle()
    assert world.state_of(case_id).probing is None
    world.check_ledger(case_id)


@given(st.integers(0, 2**128 - 1), st.lists(st.integers(0, 9), max_size=12), st.integers(1, 80))
def test_a_sample_is_as_large_as_was_asked_for(seed: int, sizes: list[int], sample: int) -> None:
    probing = Probe(number=1, seed=f"{seed:032x}", sample=sample, of=sum(sizes), ends_at=START)
    passed, number = 0, 0
    for at, size in enumerate(sizes):
        eligible = tuple(range(0, 2 * size, 2))
        picked = chosen(probing, f"{at:032x}", eligible, passed)
        assert set(picked) <= set(eligible)
        assert len(picked) == len(set(picked))
        passed, number = passed + size, number + len(picked)
    assert number == min(sample, sum(sizes))
