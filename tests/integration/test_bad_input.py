"""Bad input over the real broker: each has a stated outcome, kills nobody, loses nothing, and leaks nothing.

Every message carries CANARY where an identifier would stand; at the end nothing that the processes printed, and no key
or header on any topic, may hold it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from expunge.roles.dead_letters import bound_to
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

CANARY = "canary-7f3a9"
PERSON = {"namespace": "user_id", "id": CANARY}
GOOD: dict[str, Any] = {"request_id": "r", "subjects": [PERSON], "received_at": "2026-11-01T00:00:00Z"}
ERASURE, REVOCATION = "expunge.erasure.requested.v1", "expunge.consent.revoked.v1"
LIFT = "expunge.processing.restriction_lifted.v1"
WITHDRAWAL, ASSET = "expunge.source.withdrawn.v1", "expunge.asset.registered.v1"
REGISTERED: dict[str, Any] = {"asset": f"files:{CANARY}", "kind": "object", "system": "files"}


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("bad") / "d", real.kafka, real.redis) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def dead_letter(world: Deployment, place: dict[str, Any]) -> dict[str, Any]:
    """The dead letter of a message; there is exactly one."""

    def find() -> list[dict[str, Any]]:
        found = [each["data"] | {"time": each["time"]} for each in world.events("dead-letters")]
        return [data for data in found if {key: data[key] for key in place} == place]

    (letter,) = until(find, 40, world)
    return dict(letter)


def rejection(world: Deployment, place: dict[str, Any], publisher: str = "app") -> dict[str, Any]:
    def find() -> list[dict[str, Any]]:
        events = world.events(f"confirmations.{publisher}")
        found = [e["data"] for e in events if e["type"] == "expunge.request.rejected.v1"]
        return [data for data in found if {key: data[key] for key in place} == place]

    (told,) = until(find, 40, world)
    return dict(told)


def event(kind: str, data: Any, **fields: Any) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "e", "source": "/app", "type": kind, "data": data} | fields).encode()


RAW: list[tuple[str, bytes | None, str]] = [
    ("not json", b"{" + CANARY.encode(), "not_json"),
    ("not a cloudevent", json.dumps({"hello": CANARY}).encode(), "not_a_cloudevent"),
    ("a json list", json.dumps([CANARY]).encode(), "not_a_cloudevent"),
    ("deeply nested", b"[" * 200_000, "not_json"),
    ("empty value", b"", "empty_value"),
    ("null value", None, "null_value"),
    ("2 MB", event(ERASURE, GOOD | {"correlation_id": CANARY * 160_000}), "too_large"),
    ("undeclared source", event(ERASURE, GOOD, source=f"/{CANARY}"), "undeclared_source"),
]


@pytest.mark.parametrize(("value", "reason"), [case[1:] for case in RAW], ids=[case[0] for case in RAW])
@pytest.mark.parametrize("topic", ["requests", "registrations", "controls", "receipts.files"])
def test_what_is_no_event_becomes_a_dead_letter(
    world: Deployment, topic: str, value: bytes | None, reason: str
) -> None:
    if reason == "undeclared_source" and topic != "requests":
        reason = "unknown_type"  # registrars and systems are known by their topic, operators by their declared names
    letter = dead_letter(world, world.send(topic, value))
    assert letter["reason"] == reason
    if reason == "too_large" and len(value or b"") > 1_400_000:
        assert "sealed" not in letter
    elif value:
        place = bound_to("{topic}/{partition}/{offset}".format(**letter), (), datetime.fromisoformat(letter["time"]))
        assert world.installation.vault.open_dead_letter(place, letter["sealed"]) == value


REJECTED: list[tuple[str, str, Any, str]] = [
    ("unknown type", "expunge.everything.deleted.v1", GOOD, "unknown_type"),
    (
        "a lift that is only tried",
        "expunge.processing.restriction_lifted.v1",
        GOOD | {"dry_run": True},
        "not_carried_out",
    ),
    ("missing field", ERASURE, {"request_id": "r", "subjects": [PERSON]}, "missing_field"),
    ("unknown field", ERASURE, GOOD | {"windwo": CANARY}, "unknown_field"),
    ("a field for later", WITHDRAWAL, GOOD | {"data_sources": ["supplier-a"], "window": {}}, "unknown_field"),
    ("no subjects", ERASURE, GOOD | {"subjects": []}, "bad_field"),
    ("wrong type", ERASURE, GOOD | {"dry_run": "yes"}, "bad_field"),
    ("data is a list", ERASURE, [CANARY], "wrong_type"),
    ("time without offset", ERASURE, GOOD | {"received_at": "2026-11-01T00:00:00"}, "bad_field"),
    ("time as a number", ERASURE, GOOD | {"received_at": 1_760_000_000}, "bad_field"),
    ("a number as id", ERASURE, GOOD | {"subjects": [{"namespace": "user_id", "id": 12345}]}, "bad_field"),
    (
        "undeclared namespace",
        ERASURE,
        GOOD | {"subjects": [PERSON | {"namespace": "passport"}]},
        "undeclared_namespace",
    ),
    ("undeclared purpose", REVOCATION, GOOD | {"purposes": ["trainign"]}, "undeclared_purpose"),
    (
        "undeclared data source",
        WITHDRAWAL,
        {"request_id": "r", "received_at": GOOD["received_at"], "data_sources": [CANARY]},
        "undeclared_data_source",
    ),
    ("an id of 10,000 characters", ERASURE, GOOD | {"subjects": [PERSON | {"id": CANARY * 900}]}, "id_too_long"),
    ("not an e-mail", ERASURE, GOOD | {"subjects": [{"namespace": "email", "id": CANARY}]}, "bad_identity"),
    ("half a character", ERASURE, GOOD | {"subjects": [PERSON | {"id": CANARY + "\ud800"}]}, "wrong_type"),
    ("unknown jurisdiction", ERASURE, GOOD | {"jurisdiction": "XX"}, "bad_field"),
]


@pytest.mark.parametrize(
    ("kind", "data", "reason"), [case[1:] for case in REJECTED], ids=[case[0] for case in REJECTED]
)
def test_a_declared_publisher_is_told(world: Deployment, kind: str, data: Any, reason: str) -> None:
    place = world.publish("requests", kind, data)
    assert dead_letter(world, place)["reason"] == reason
    assert rejection(world, place)["reason"] == reason


def test_a_publisher_may_only_ask_what_it_is_declared_for(world: Deployment) -> None:
    data = {"request_id": "r", "received_at": GOOD["received_at"], "data_sources": ["supplier-a"]}
    place = world.publish("requests", WITHDRAWAL, data, source="/narrow/pod")
    assert rejection(world, place, "narrow")["reason"] == "not_allowed"


WORD = {"case_id": "ab" * 16, "operator": "olga", "reason": CANARY}
HOLD = {"hold_id": "h", "operator": "olga", "basis": CANARY, "custodian": CANARY}
CONTROLS: list[tuple[str, str, Any, str]] = [
    ("nobody's word", "expunge.request.cancelled.v1", WORD | {"operator": CANARY}, "undeclared_operator"),
    ("another's word", "expunge.request.cancelled.v1", WORD | {"operator": "omar"}, "not_allowed"),
    ("no case", "expunge.request.cancelled.v1", WORD | {"case_id": CANARY}, "bad_field"),
    ("no such case", "expunge.request.cancelled.v1", WORD, "control_without_case"),
    ("two scopes", "expunge.emission.paused.v1", WORD | {"scope": {"all": True}}, "unknown_field"),
    ("an undeclared system", "expunge.hold.placed.v1", HOLD | {"scope": {"system": "nobody"}}, "undeclared_system"),
    ("a hold on nothing", "expunge.hold.placed.v1", HOLD | {"scope": {}}, "bad_field"),
    ("a hold id in words", "expunge.hold.placed.v1", HOLD | {"hold_id": CANARY + "!", "scope": {}}, "bad_field"),
]


@pytest.mark.parametrize(
    ("kind", "data", "reason"), [case[1:] for case in CONTROLS], ids=[case[0] for case in CONTROLS]
)
def test_a_word_that_means_nothing_is_set_aside(world: Deployment, kind: str, data: Any, reason: str) -> None:
    place = world.publish("controls", kind, data)
    assert dead_letter(world, place)["reason"] == reason


REGISTRATIONS: list[tuple[str, str, Any, str]] = [
    ("unknown kind", ASSET, REGISTERED | {"kind": "thing"}, "bad_field"),
    ("no system", ASSET, {"asset": CANARY, "kind": "object"}, "missing_field"),
    ("an asset id of 3,000 bytes", ASSET, REGISTERED | {"asset": CANARY * 250}, "bad_field"),
    ("a subject without a date", ASSET, REGISTERED | {"subjects": [PERSON]}, "missing_field"),
    ("undeclared category", ASSET, REGISTERED | {"categories": ["biometrics"]}, "undeclared_category"),
    ("1,001 parents", ASSET, REGISTERED | {"parents": [f"p{number}" for number in range(1001)]}, "bad_field"),
    (
        "one wrong asset in a batch",
        "expunge.assets.registered.v1",
        {"assets": [REGISTERED, {"asset": CANARY}]},
        "missing_field",
    ),
]


@pytest.mark.parametrize(
    ("kind", "data", "reason"), [case[1:] for case in REGISTRATIONS], ids=[case[0] for case in REGISTRATIONS]
)
def test_a_wrong_registration_becomes_a_dead_letter(world: Deployment, kind: str, data: Any, reason: str) -> None:
    assert dead_letter(world, world.publish("registrations", kind, data))["reason"] == reason


def test_a_person_nobody_knows_is_completed_as_not_found(world: Deployment) -> None:
    final = world.await_milestone(world.erase(f"nobody-{CANARY}", "unknown-person"))
    assert (final["outcome"], final["counts"]) == ("not_found", {})


def test_the_same_request_twice_is_one_case(world: Deployment) -> None:
    case_id = world.erase(f"twice-{CANARY}", "twice")
    world.await_milestone(case_id)
    assert world.erase(f"twice-{CANARY}", "twice") == case_id
    world.await_milestone(world.erase(f"after-{CANARY}", "after-twice"))
    assert len(world.confirmations(case_id, "acknowledged")) == 1
    assert len(world.confirmations(case_id, "completed")) == 1


def test_the_same_request_id_with_other_content_is_rejected_and_never_merged(world: Deployment) -> None:
    case_id = world.erase(f"first-{CANARY}", "reused")
    world.await_milestone(case_id)
    data = GOOD | {"request_id": "reused", "subjects": [{"namespace": "user_id", "id": "somebody else"}]}
    place = world.publish("requests", ERASURE, data)
    assert rejection(world, place)["reason"] == "request_id_reused"
    assert dead_letter(world, place)["reason"] == "request_id_reused"
    assert len(world.confirmations(case_id, "acknowledged")) == 1


@pytest.mark.parametrize("known_case", [False, True])
def test_a_receipt_for_a_command_that_never_was(world: Deployment, *, known_case: bool) -> None:
    case_id = world.erase("x", "receipt-case") if known_case else "0" * 32
    if known_case:
        world.await_milestone(case_id)
    data = {
        "command_id": "1" * 32,
        "case_id": case_id,
        "system": "files",
        "attempt": 1,
        "sequence": 1,
        "status": "done",
        "results": [{"asset": CANARY, "claim": "deleted"}],
        "performed_at": "2026-11-01T00:00:00Z",
    }
    place = world.publish("receipts.files", "expunge.purge.receipted.v1", data)
    expected = "receipt_without_command" if known_case else "receipt_without_case"
    assert dead_letter(world, place)["reason"] == expected


def test_a_receipt_on_another_systems_topic(world: Deployment) -> None:
    data = {"command_id": "1" * 32, "case_id": "0" * 32, "system": "other", "attempt": 1, "sequence": 1}
    data |= {"status": "done", "performed_at": "2026-11-01T00:00:00Z"}
    assert dead_letter(world, world.publish("receipts.files", "expunge.purge.receipted.v1", data))["reason"] == (
        "wrong_system"
    )


def asset(world: Deployment, number: str, *parents: str, **fields: Any) -> dict[str, Any]:
    (world.directory / "files" / f"{number}.txt").write_text(number)
    return {"asset": f"files:{number}.txt", "parents": [f"files:{parent}.txt" for parent in parents]} | fields


def test_a_parent_that_does_not_exist_yet_and_a_cycle(world: Deployment) -> None:
    person = f"cyclic-{CANARY}"
    world.register([asset(world, "grandchild", "child"), asset(world, "child", "parent", "grandchild")])
    world.register([asset(world, "parent", subjects=[{"namespace": "user_id", "id": person}])])
    world.await_indexed()
    final = world.await_milestone(world.erase(person, "cyclic"))
    assert final["counts"] == {"object": {"deleted": 3}}
    assert not list((world.directory / "files").glob("*.txt"))


def test_an_asset_of_an_unconfigured_system_stays_open(world: Deployment) -> None:
    person = f"unowned-{CANARY}"
    subjects = [{"namespace": "user_id", "id": person}]
    world.register([{"asset": f"elsewhere:{CANARY}", "system": "elsewhere", "subjects": subjects}])
    world.await_indexed()
    planned = world.await_milestone(world.erase(person, "unowned"), "planned")
    assert planned["counts"] == {"object": {"open": 1}}
    assert planned["failures"] == [
        {"system": "elsewhere", "kind": "object", "claim": "open", "reason": "unowned", "count": 1}
    ]


def test_a_received_at_in_the_future_is_clamped_and_said_so(world: Deployment) -> None:
    case_id = world.erase(f"future-{CANARY}", "future", received_at="2099-01-01T00:00:00Z")
    final = world.await_milestone(case_id)
    assert final["received_at_clamped"]
    assert final["received_at"] < "2099"


def test_zz_nothing_leaked_and_nobody_died(world: Deployment) -> None:
    assert all(process.poll() is None for process in world.processes.values())
    output = world.output()
    assert CANARY not in output
    assert "role ended" not in output
    inlets = {"requests", "registrations", "controls", "receipts.files"}
    for topic in {topic.name for topic in world.installation.settings.topics()} - inlets:
        for record in world.records(topic):
            assert CANARY.encode() not in (record.key or b""), topic
            assert not any(CANARY.encode() in value for _, value in record.headers), topic
            if topic not in {"assets", "cases", "plans", "commands.files"}:
                assert CANARY.encode() not in (record.value or b""), topic
