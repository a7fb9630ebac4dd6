"""One message stops nothing: it ends processes, cannot be read, is refused, or is older or newer than this version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expunge.adapters.memory.stores import MemoryPolicies
from expunge.adapters.policy_file import load_policy, parse_policy, shipped
from expunge.domain.aggregates.case.receipts import Answered
from expunge.domain.events import CONTENT_TYPE, Event, Position, Record
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.planning.policy.stages import stage_of
from expunge.domain.vocabulary import Action, Kind
from expunge.errors import ConfigurationError, NotUnderstood
from expunge.wire.cases.case import Froze
from expunge.wire.cases.said import Place
from expunge.wire.cases.table import TYPE_OF
from tests.poison import commanded, frozen, poisoned, world_with
from tests.simulation import PARTITIONS, START, World, receipt


def test_the_third_death_at_one_position_freezes_its_case_and_nobody_else_waits() -> None:
    world = world_with("ann", "bob")
    world.answers["photos"] = lambda _: []
    bad, good = world.erase("ann", request="a"), world.erase("bob", request="b")
    world.settle(ticks=1)
    poisoned(world, bad)
    del world.answers["photos"]
    world.tick(61)
    world.settle(ticks=2)
    assert world.deaths == 3
    assert world.status(good) == "completed"
    assert frozen(world, bad).reason == "Poisoned"
    (letter,) = world.dead_letters()
    assert (letter["reason"], letter["where"], letter["topic"]) == ("poison", "Poisoned", "t.cases")
    assert world.metrics.counts["poisoned", "coordinator"] == 1
    assert world.status(bad) == "purging"


def test_what_waited_for_a_frozen_case_is_handled_in_order_when_it_is_thawed() -> None:
    world, case_id = commanded()
    (command,) = world.broker.events("commands.photos")
    poisoned(world, case_id)
    for sequence, claim in enumerate(("failed", "deleted"), 1):
        said = receipt(command["data"], all={"claim": claim}, sequence=sequence)
        world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos", event=f"{sequence}")
        world.settle(ticks=1)
    assert frozen(world, case_id).waiting == 2
    assert len([fact for fact in world.facts(case_id) if isinstance(fact, Answered)]) == 0
    world.poison = lambda *_: False
    world.thaw(case_id)
    world.settle(ticks=1)
    answers = [fact.answers for fact in world.facts(case_id) if isinstance(fact, Answered)]
    assert answers == ["f", "d"]
    assert world.status(case_id) == "completed"
    assert frozen(world, case_id) is None
    world.check_ledger(case_id)


def test_a_case_that_is_thawed_before_anything_was_mended_is_frozen_again_and_loses_nothing() -> None:
    world, case_id = commanded()
    (command,) = world.broker.events("commands.photos")
    poisoned(world, case_id)
    said = receipt(command["data"], all={"claim": "deleted"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    poisoned(world, case_id, what="internal.thaw")  # the message itself still ends whoever handles it
    world.thaw(case_id)
    world.settle(ticks=1)
    assert frozen(world, case_id).waiting == 1
    world.poison = lambda *_: False
    world.thaw(case_id, reason="now it is mended")
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"


def test_what_everybody_is_told_reaches_a_frozen_case_when_it_goes_on() -> None:
    world, case_id = commanded()
    poisoned(world, case_id)
    (command,) = world.broker.events("commands.photos")
    said = receipt(command["data"], all={"claim": "failed"})
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    world.order("emission.paused", scope={"all": True}, reason="a bad day")
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle(ticks=1)
    assert not world.broker.events("commands.users")
    world.poison = lambda *_: False
    world.thaw(case_id)
    world.order("emission.resumed", scope={"all": True})
    del world.answers["photos"]
    world.settle(ticks=20)
    assert ("users", "users.db", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"


def test_a_task_that_ends_resolvers_freezes_the_case_that_waits_for_it() -> None:
    world = world_with("ann", "bob")
    bad = world.keys.case("/app", "a")
    poisoned(world, bad, "resolver", "walk.task")
    world.erase("ann", request="a")
    good = world.erase("bob", request="b")
    world.settle(ticks=2)
    assert world.status(good) == "completed"
    assert frozen(world, bad).topic == "t.tasks"
    (letter,) = world.dead_letters()
    assert letter["role"] == "resolver"
    world.poison = lambda *_: False
    world.thaw(bad)
    world.settle(ticks=2)
    assert world.status(bad) == "completed"


def test_two_poisoned_messages_in_one_batch_are_both_set_aside() -> None:
    world = world_with("ann", "bob", "cleo")
    world.poison = lambda role, record: (
        role == "intake" and any(each in (record.value or b"") for each in (b"poison-1", b"poison-2"))
    )
    for number in (1, 2):
        world.erase("ann", request=f"poison-{number}")
    good = world.erase("bob", request="good")
    world.settle(ticks=1)
    assert world.status(good) == "completed"
    assert [letter["reason"] for letter in world.dead_letters()] == ["poison", "poison"]
    assert not world.suspects.places


def test_an_innocent_message_that_shared_a_batch_with_a_poisoned_one_is_handled() -> None:
    world = world_with("ann", "bob", "cleo", "dora")
    world.poison = lambda role, record: role == "intake" and b"poison" in (record.value or b"")
    cases = [world.erase(each, request=f"r-{each}") for each in ("ann", "bob")]
    world.erase("cleo", request="poison")
    cases.append(world.erase("dora", request="r-dora"))
    world.settle(ticks=1)
    assert {world.status(case_id) for case_id in cases} == {"completed"}
    assert len(world.dead_letters()) == 1


# What the broker does not take


def test_a_command_that_the_broker_refuses_is_open_for_that_reason_and_the_rest_goes_on() -> None:
    world = world_with("ann")
    world.register("row", system="users", subjects=["ann"])
    world.settle(ticks=1)
    world.broker.refuses = lambda message: "too_large" if message.topic == "commands.photos" else ""
    case_id = world.erase("ann")
    world.settle(ticks=1)
    told = world.confirmations("partially_completed", case_id=case_id)[-1]
    assert told["counts"] == {"object": {"open": 1}, "record": {"deleted": 1}} or told["counts"]["object"]["open"] == 1
    assert "emission_refused_too_large" in {line.get("reason") for line in told["failures"]}
    assert ("users", "row", "delete") in world.commanded[case_id]
    assert {letter["reason"] for letter in world.dead_letters()} == {"emission_refused_too_large"}
    world.broker.refuses = lambda _: ""
    world.tick(86_401)
    world.settle(ticks=2)
    assert world.status(case_id) == "completed"
    world.check_ledger(case_id)


def test_a_case_whose_only_command_was_refused_can_be_cancelled() -> None:
    """Nothing is with the system, so nobody has to let go of anything."""
    world = world_with("ann")
    world.broker.refuses = lambda message: "unknown_topic" if message.topic.startswith("commands.") else ""
    case_id = world.erase("ann")
    world.settle(ticks=1)
    world.say("request.cancelled", case_id, reason="not after all")
    world.settle(ticks=1)
    assert world.status(case_id) == "cancelled"


def test_a_joint_command_that_is_refused_fails_like_any_other_and_is_tried_again() -> None:
    world = world_with("ann")
    world.register("model", "model", "ml", parents=["photo-ann"])
    world.settle(ticks=1)
    world.broker.refuses = lambda message: "too_large" if message.topic == "commands.ml" else ""
    case_id = world.erase("ann")
    world.settle(ticks=2)
    failures = world.confirmations("partially_completed", case_id=case_id)[-1:] or [{"failures": []}]
    world.broker.refuses = lambda _: ""
    world.tick(2 * 86_400)
    world.settle(ticks=4)
    assert world.status(case_id) == "completed", failures


def test_seals_stand_once_in_a_command_however_many_handles_a_person_has() -> None:
    from expunge.adapters.vault import LibraryVault, new_key_pair
    from expunge.domain.registry import System
    from expunge.roles.intake import Intake
    from tests.simulation import ALL_ACTIONS, REGISTRY

    _, public = new_key_pair()
    photos = System(name="photos", actions=ALL_ACTIONS, reveal=("email",), sealing_key=public)
    world = World(registry=REGISTRY.model_copy(update={"systems": (photos, *REGISTRY.systems[1:])}))
    world.vault = LibraryVault(world.keys)  # type: ignore[assignment]
    world.roles["intake"] = Intake(world.door, world, world.broker, world.vault, world.metrics)
    mail = "a" * 60 + "@" + "b" * 60 + ".example.org"
    for number in range(6):
        subjects = [{"namespace": "email", "id": mail, "ref": f"{handle:x}"} for handle in range(1000)]
        world.publish(
            "registrations",
            "expunge.asset.registered.v1",
            {"asset": f"log-{number}", "kind": "object", "system": "photos", "subjects": subjects}
            | {"collected_at": "2026-01-01T00:00:00Z"},
        )
    world.settle(ticks=1)
    case_id = world.request("expunge.erasure.requested.v1", "r1", subjects=[{"namespace": "email", "id": mail}])
    world.settle(ticks=2)
    commands = world.broker.events("commands.photos")
    assert world.status(case_id) == "completed"
    assert {len(each["data"]["people"]) for each in commands} == {1}
    targets = [target for said in commands for target in said["data"]["targets"]]
    assert not any("sealed" in each for target in targets for each in target["subjects"])
    assert max(len(json.dumps(each)) for each in commands) < 900_000


@pytest.mark.parametrize("claims", [("failed",), ("new_claim",), ("retrained_without",)])
def test_a_receipt_of_the_largest_size_is_passed_on(claims: tuple[str, ...]) -> None:
    world = world_with("ann")
    world.answers["photos"] = lambda _: []
    world.erase("ann")
    world.settle(ticks=1)
    (command,) = world.broker.events("commands.photos")
    room = {"failed": 5000, "new_claim": 2500, "retrained_without": 2500}[claims[0]]
    results = [{"asset": f"{number:0>80}", "claim": claims[0], "replacement": {"asset": "x"}} for number in range(room)]
    said = receipt(command["data"], results=results)
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle(ticks=1)
    assert not world.dead_letters()
    assert max(len(record.value or b"") for log in world.broker.logs.values() for record in log) < 1_048_576


# Dates


@pytest.mark.parametrize("deadline", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2200-01-01T00:00:00Z"])
def test_a_deadline_outside_of_the_calendar_is_told_to_its_publisher(deadline: str) -> None:
    world = world_with("ann", "bob")
    provision = {"id": "I", "deadline": deadline}
    matter = {"authority": "a", "docket": "d", "order_date": "o", "provisions": [provision]}
    world.erase("ann", request="bad", matter=matter)
    good = world.erase("bob", request="good")
    world.settle(ticks=1)
    assert [each["reason"] for each in world.rejections()] == ["bad_field"]
    assert world.status(good) == "completed"


@pytest.mark.parametrize("field", ["until", "expected_by"])
def test_a_promise_for_the_year_9000_is_no_receipt(field: str) -> None:
    world = world_with("ann")
    far = "9000-01-01T00:00:00Z"
    fields: dict[str, Any] = {"all": {"claim": "deferred", "until": far}} if field == "until" else {"expected_by": far}
    fields["status"] = "done" if field == "until" else "accepted"
    world.answers["photos"] = lambda command: [receipt(command, **fields)]
    world.erase("ann")
    world.step("intake")
    world.settle(ticks=0)
    assert {letter["reason"] for letter in world.dead_letters()} == {"bad_field"}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9998-01-01T00:00:00Z"])
def test_an_asset_that_says_an_impossible_date_is_registered_all_the_same(moment: str) -> None:
    world = World()
    world.register("photo", subjects=["ann"], collected_at=moment, derived_at=moment)
    world.settle(ticks=1)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert world.commanded[case_id] == [("photos", "photo", "delete")]


# Words that a newer version knows


def test_a_claim_that_a_newer_agent_makes_fails_its_obligation_by_name_and_no_other() -> None:
    world = world_with("ann")
    world.register("photo-2", subjects=["ann"])
    world.settle(ticks=1)
    world.answers["photos"] = lambda command: [
        receipt(
            command,
            results=[{"asset": "photo-ann", "claim": "deleted"}, {"asset": "photo-2", "claim": "quantum_erased"}],
        )
    ]
    case_id = world.erase("ann")
    world.settle(ticks=6)
    failures = world.confirmations("partially_completed", case_id=case_id)[-1]["failures"]
    assert [(line["reason"], line["count"]) for line in failures] == [("unknown_claim", 1)]


def newer(world: World, topic: str, case_id: str, old: str, new: str) -> None:
    """Change a word in the last message of a case on a topic to one that only a newer version knows."""
    for (name, _), log in world.broker.logs.items():
        if name != topic:
            continue
        for at, record in enumerate(log):
            value = record.value or b""
            if case_id.encode() in value and old.encode() in value:
                log[at] = Record(
                    topic,
                    record.partition,
                    record.position,
                    record.appended_at,
                    record.key,
                    value.replace(old.encode(), new.encode()),
                    CONTENT_TYPE,
                )


@pytest.mark.parametrize(
    ("old", "new"),
    [('"status":"done"', '"status":"half_done"'), ("expunge.internal.planned.v1", "expunge.internal.foreseen.v1")],
)
def test_a_message_that_a_newer_version_wrote_lets_its_case_wait_until_this_one_is_upgraded(old: str, new: str) -> None:
    world = world_with("ann", "bob")
    bad, good = world.erase("ann", request="a"), world.erase("bob", request="b")
    for role in ("intake", "coordinator", "resolver"):
        world.step(role, 50)
    newer(world, "cases", bad, old, new)
    world.settle(ticks=2)
    assert world.status(good) == "completed"
    assert frozen(world, bad).reason.startswith("unknown_")
    assert world.deaths == 0
    world.thaw(bad)  # not yet: it still cannot be read
    world.settle(ticks=1)
    assert frozen(world, bad).waiting == 1
    partition = partition_of(bad, PARTITIONS)
    aside = world.store.states[partition].aside[bad]
    value = (aside[0].value or b"").replace(new.encode(), old.encode())
    aside[0] = Record("cases", partition, aside[0].position, aside[0].appended_at, None, value)  # as if it had been
    world.thaw(bad, reason="upgraded")
    world.settle(ticks=2)
    assert world.status(bad) == "completed"


def test_a_kind_that_a_newer_version_has_registered_lets_one_case_wait() -> None:
    world = world_with("ann", "bob")
    world.register("hologram", subjects=["ann"])
    world.settle(ticks=1)
    raw = next(raw for raw in world.index.raw.values() if b"hologram" in raw)
    key = next(key for key, each in world.index.raw.items() if each is raw)
    row = world.index.rows([key])[0]
    from dataclasses import replace

    from expunge.domain.lineage.row import combine

    later = replace(row, combination=combine(("hologram",), ("photos",), (), (), ()))
    world.index.combinations[later.combination.digest] = later.combination
    world.index.raw[key] = later.encode()
    bad, good = world.erase("ann", request="a"), world.erase("bob", request="b")
    world.settle(ticks=2)
    assert world.status(good) == "completed"
    assert frozen(world, bad).reason == "unknown_kind"


def test_a_policy_of_a_newer_version_lets_only_its_own_cases_wait() -> None:
    world = world_with("ann", "bob")

    class Older(MemoryPolicies):
        def of(self, digest: str) -> Policy:
            if digest != first:
                raise NotUnderstood("policy_of_a_newer_version")
            return super().of(digest)

    first = world.policies.current.digest
    policies = Older(world.policies.current)
    object.__setattr__(world.door, "policies", policies)
    good = world.erase("bob", request="b")
    world.settle(ticks=2)
    policies.change(Policy.model_validate(json.loads(world.policies.current.encode()) | {"name": "newer"}))
    bad = world.erase("ann", request="a")
    world.settle(ticks=2)
    assert world.status(good) == "completed"
    assert frozen(world, bad).reason == "policy_of_a_newer_version"


def test_a_policy_that_was_kept_before_a_kind_was_known_still_loads() -> None:
    """Completeness is asked of a file that is loaded, never of what cases are bound to."""
    whole = load_policy(None)
    kept = json.loads(whole.encode())
    for stage in kept["stages"]:
        stage["kinds"] = [kind for kind in stage["kinds"] if kind != "feature"]
    kept["clocks"] = [{**clock, "regime": [r for r in clock["regime"] if r != "dpdp"]} for clock in kept["clocks"]]
    kept["clocks"] = [clock for clock in kept["clocks"] if clock["regime"]]
    older = Policy.model_validate_json(json.dumps(kept))
    assert stage_of(older.stages, Kind.FEATURE, Action.DELETE, holding=False) == len(older.stages)
    with pytest.raises(ValueError, match="feature"):
        older.check_complete()


def test_a_policy_file_that_says_little_and_means_endlessly_much_is_refused_at_once() -> None:
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    text += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    with pytest.raises(ConfigurationError, match="aliases"):
        parse_policy(text, "p.yaml")
    assert parse_policy(shipped(), "p.yaml")


# What does not decode on Expunge's own topics


RUBBISH = [
    b"",
    b"{}",
    b"[1]",
    b"\xff\xfe",
    b'{"specversion":"1.0","id":"x","source":"/x","type":"expunge.internal.planned.v1","data":{"case_id":[1]}}',
    b'{"specversion":"1.0","id":"x","source":"/x","type":"expunge.walk.task.v1","data":{"nodes":"?","case_id":1}}',
    b'{"specversion":"1.0","id":"x","source":"/x","type":"expunge.ledger.opened.v1","data":{"case_id":[],"sequence":"1"}}',
    b'{"specversion":"1.0","id":"x","source":"/x","type":"expunge.suppression.set.v1","data":{"sequence":"a"}}',
    b'{"specversion":"1.0","id":"x","source":"/x","type":"x","data":' + b"[" * 5000 + b"]" * 5000 + b"}",
]


@pytest.mark.parametrize("value", RUBBISH, ids=range(len(RUBBISH)))
@pytest.mark.parametrize(
    "topic", ["cases", "tasks", "walks", "ledger", "suppressions", "holds", "requests", "registrations"]
)
def test_a_record_that_does_not_decode_ends_nothing(topic: str, value: bytes) -> None:
    world = world_with("ann")
    world.broker.append(topic, "k", value)
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"
    assert world.deaths == 0


def test_a_record_that_the_client_cannot_read_is_set_aside_by_its_place() -> None:
    world = world_with("ann")
    log = world.broker.logs["requests", 0]
    log.append(Record("requests", 0, Position(0, len(log)), START, None, None, None, "UnsupportedCodecError"))
    case_id = world.erase("ann")
    world.settle(ticks=1)
    assert world.status(case_id) == "completed"
    (letter,) = world.dead_letters()
    assert (letter["reason"], letter["where"], letter["topic"]) == ("poison", "UnsupportedCodecError", "t.requests")


# Bounds of what one registration leads to


@pytest.mark.parametrize("field", ["subjects", "aliases", "parents"])
def test_what_is_common_to_many_assets_counts_for_each_of_them(field: str) -> None:
    world = World()
    value: list[Any] = [f"{field}-{number}" for number in range(64)]
    if field == "subjects":
        value = [{"namespace": "user_id", "id": str(number)} for number in range(64)]
    common = {"kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z", field: value}
    assets = [{"asset": f"photo-{number}"} for number in range(1000)]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": assets})
    world.settle(ticks=0)
    assert [letter["reason"] for letter in world.dead_letters()] == ["too_many_links"]


def test_long_words_that_are_common_to_many_assets_are_weighed() -> None:
    world = World()
    common = {"kind": "object", "system": "photos", "aliases": ["x" * 2000 + str(number) for number in range(10)]}
    assets = [{"asset": f"photo-{number}"} for number in range(1000)]
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": assets})
    world.settle(ticks=0)
    assert [letter["reason"] for letter in world.dead_letters()] == ["too_large"]


def test_a_handle_that_no_command_can_carry_leaves_its_asset_open_and_ends_nothing() -> None:
    world = World()
    subjects = [{"namespace": "user_id", "id": "ann", "ref": f"{number:0>250}"} for number in range(900)]
    data = {"asset": "table", "kind": "record", "system": "users", "subjects": subjects}
    data |= {"collected_at": "2026-01-01T00:00:00Z"}
    world.publish("registrations", "expunge.asset.registered.v1", data)
    case_id = world.erase("ann")
    world.settle(ticks=2)
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    assert [line.reason for line, _ in case.counts] in (["too_large_for_a_command"], [""])


def test_every_message_of_a_case_that_other_roles_set_aside_is_known_to_it() -> None:
    world = world_with("ann", "bob")
    bad = world.erase("ann", request="a")
    world.settle(ticks=1)
    places = [Place(topic="t.tasks", partition=0, offset=number) for number in (5, 6, 5)]
    for number, place in enumerate(places):
        told = Froze(case_id=bad, reason="KeyError", place=place)
        event = Event(TYPE_OF[Froze], "/expunge/resolver", f"f{number}", world.broker.now, told.model_dump())
        world.broker.append("cases", bad, event.encode())
    world.settle(ticks=1)
    known = frozen(world, bad)
    assert (known.offset, known.further) == (5, (("t.tasks", 0, 6),))


def test_a_case_that_nobody_knows_is_not_frozen() -> None:
    world, nobody = world_with("ann"), "ab" * 16
    told = Froze(case_id=nobody, reason="KeyError", place=Place(topic="t.tasks", partition=0, offset=5))
    event = Event(TYPE_OF[Froze], "/expunge/resolver", "f", world.broker.now, told.model_dump())
    world.broker.append("cases", nobody, event.encode())
    world.settle(ticks=1)
    assert frozen(world, nobody) is None


def test_a_request_that_is_set_aside_is_said_to_its_publisher() -> None:
    world = world_with("ann")
    poisoned(world, "", "intake", '"request_id"')
    world.erase("ann", request="a")
    world.settle(ticks=1)
    (told,) = world.rejections()
    assert (told["data"]["reason"] if "data" in told else told["reason"]) == "poison"
