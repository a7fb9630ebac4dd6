"""Whatever a standard calls the same is the same, whatever cannot be meant is refused, and no version loses anybody."""

from __future__ import annotations

from typing import Any, cast

import pytest

from expunge.domain.admission.door import Door
from expunge.domain.identity import Keys, normalise, versions
from expunge.domain.normalisers import NORMALISERS
from expunge.domain.scope import Scope, ScopeKind, Subject
from expunge.errors import InvalidMessage
from expunge.roles.coordinator import commands
from expunge.wire.cases.case import Root, Seal
from tests.simulation import World, honest

KEYS = Keys(b"s" * 32)

SAME: dict[str, list[tuple[str, ...]]] = {
    "e164": [
        (
            "+442079460999",
            "+44 (0)20 7946 0999",
            "+44 20 7946 0999",
            "0044 20 7946 0999",
            "tel:+44-20-7946-0999",
            "+44\u00a020 7946\u200b0999",
            " +44.20.7946.0999 ",
            "\uff0b44 20 7946 0999",
        ),
        ("+4915112345678", "+49 (0) 151 / 12345678", "0049-151-12345678"),
        ("+390612345678", "+39 06 1234 5678"),
        ("+15550100123", "+1 (555) 010-0123"),
    ],
    "email": [
        (
            "ann@xn--bcher-kva.example",
            "Ann@b\u00fccher.example",
            "ann@bu\u0308cher.example",
            "mailto:ann@B\u00dcCHER.example",
        ),
        (
            "ann@example.com",
            " ANN@Example.COM. ",
            "mailto:ann%40example.com",
            "MAILTO:ann@example.com?subject=x",
            "ann@exam\u00adple.com",
        ),
        ("j\u00f6rg@example.com", "J\u00d6RG@example.com", "jo\u0308rg@example.com"),
        ("ann@[192.0.2.1]", "Ann@[192.0.2.1]"),
        ("ann@localhost", "ann@LOCALHOST"),
        ("ann+tag@example.com", "Ann+Tag@example.com"),
    ],
    "handle": [
        ("octo-cat", "Octo-Cat", " OCTO-CAT ", "\uff2f\uff23\uff34\uff2f-cat"),
        ("\u00e9lan", "\u00c9LAN", "e\u0301lan"),
    ],
    "uuid": [
        (
            "9b2e5c9e-0d5e-4c9e-8d1e-2f3a4b5c6d7e",
            "{9B2E5C9E-0D5E-4C9E-8D1E-2F3A4B5C6D7E}",
            "9b2e5c9e0d5e4c9e8d1e2f3a4b5c6d7e",
        )
    ],
}
REFUSED: list[tuple[str, str]] = [
    ("e164", "20 7946 0999"),
    ("e164", "+44 20 7946 0999 ext. 5"),
    ("e164", "+999 123456789"),
    ("e164", "+44"),
    ("e164", "+44 20 7946 0999 20 7946 0999"),
    ("e164", "not a number"),
    ("email", "ann\u200b@example.com"),
    ("email", "an\u00adn@example.com"),
    ("email", "ann@"),
    ("email", "@example.com"),
    ("email", "ann@ex ample.com"),
    ("email", "ann@example..com"),
    ("email", "ann@b@example.com"),
    ("email", "ann\u202e@example.com"),
    ("email", "ann@" + "x" * 64 + ".com"),
    ("email", "a@b@c.com"),
    ("email", "mailto:ann@my_host.com\n"),
    ("email", "%61nn@my_host.com,"),
    ("email", "Ann<ann@my_host.com"),
    ("email", "ann@xn--zz.com"),
    ("email", "ann@example.com,"),
    ("email", "(ann@example.com)"),
    ("email", "'ann@my_host.com'"),
    ("email", "ann@example.com?subject=x"),
    ("email", "ann@example,com"),
    ("e164", "+1234567"),
    ("handle", "octo\u200bcat"),
    ("handle", "octo cat"),
    ("handle", "user\u00b2"),
    ("handle", "\u2460"),
    ("uuid", "0x2e5c9e0d5e4c9e8d1e2f3a4b5c6d7e"),
    ("uuid", "9b2e5c9e0d5e4c9e8d1e2f3a4b5c6d_e"),
    ("uuid", "+b2e5c9e0d5e4c9e8d1e2f3a4b5c6d7e"),
    ("handle", "  "),
]


@pytest.mark.parametrize(
    ("normaliser", "spelled", "meant"),
    [(name, other, first) for name, groups in SAME.items() for first, *others in groups for other in (first, *others)],
)
def test_whatever_a_standard_calls_the_same_is_the_same(normaliser: str, spelled: str, meant: str) -> None:
    """edges 19: a number that was registered with a bracketed trunk zero was not found."""
    assert normalise(normaliser, spelled) == meant
    assert normalise(normaliser, meant) == meant


@pytest.mark.parametrize(("normaliser", "text"), REFUSED)
def test_what_cannot_be_meant_is_refused_and_never_nobody(normaliser: str, text: str) -> None:
    """edges 20: an address with a character that nobody sees was taken, and found nobody."""
    with pytest.raises(InvalidMessage) as refused:
        normalise(normaliser, text)
    assert refused.value.reason == "bad_identity"
    assert text not in str(refused.value)
    with pytest.raises(InvalidMessage):  # at the door, too, whatever earlier versions took
        versions(normaliser, text)


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_the_newest_version_comes_first_and_each_gives_another_pseudonym(normaliser: str) -> None:
    numbers = list(NORMALISERS[normaliser])
    assert numbers == sorted(numbers, reverse=True)
    text = {"email": "ann@example.com", "e164": "+442079460999", "uuid": "9b2e5c9e0d5e4c9e8d1e2f3a4b5c6d7e"}
    found = versions(normaliser, text.get(normaliser, "ann"))
    assert found == numbers
    assert len({KEYS.pseudonym("t", "n", normaliser, text.get(normaliser, "ann"), each) for each in found}) == len(
        found
    )


def registered_before(world: World, monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    """An asset that names somebody, registered by a release that knew the first version of a normaliser alone."""
    before = {name: {1: known[1]} for name, known in NORMALISERS.items()}
    with monkeypatch.context() as earlier:
        for module in ("identity", "normalisers"):
            earlier.setattr(f"expunge.domain.{module}.NORMALISERS", before)
        earlier.setattr("expunge.domain.identity.newest", lambda _: 1)
        world.publish(
            "registrations",
            "expunge.asset.registered.v1",
            {
                "asset": "letter",
                "kind": "object",
                "system": "photos",
                "collected_at": "2026-01-01T00:00:00Z",
                "subjects": [{"namespace": "email", "id": spelled}],
            },
        )
        world.settle()


def erased(world: World, spelled: str) -> str:
    data: dict[str, Any] = {"request_id": "r", "received_at": "2026-11-01T00:00:00Z"}
    data["subjects"] = [{"namespace": "email", "id": spelled}]
    world.publish("requests", "expunge.erasure.requested.v1", data, event="r")
    world.settle()
    return world.keys.case("/app", "r")


@pytest.mark.parametrize("registered", ["ann@example.com", "Ann@B\u00fccher.example", "ann@foo_bar.example"])
def test_a_new_version_of_a_normaliser_loses_nobody(registered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    registered_before(world, monkeypatch, registered)
    case_id = erased(world, registered)
    assert [asset for _, asset, _ in world.commanded[case_id]] == ["letter"]
    assert world.status(case_id) == "completed"


def test_a_hold_on_somebody_who_was_registered_before_keeps_what_it_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    registered_before(world, monkeypatch, "ann@example.com")
    scope = {"subject": {"namespace": "email", "id": "ann@example.com"}}
    world.order("hold.placed", key="h1", hold_id="h1", scope=scope, basis="b", custodian="c")
    world.settle()
    case_id = erased(world, "ann@example.com")
    assert not world.commanded[case_id]
    world.order("hold.released", key="h1", hold_id="h1")
    world.settle()
    assert [asset for _, asset, _ in world.commanded[case_id]] == ["letter"]


# Who is counted


BOTH = [{"namespace": "user_id", "id": "ann"}, {"namespace": "email", "id": "ann@example.com"}]


def about(people: list[dict[str, Any]], asset: str = "letter") -> dict[str, Any]:
    said = {"asset": asset, "kind": "object", "system": "photos", "collected_at": "2026-01-01T00:00:00Z"}
    return said | {"subjects": people}


@pytest.mark.parametrize("label", [None, "p1"])
def test_several_ids_of_one_person_are_one_person_where_the_registrar_says_so(label: str | None) -> None:
    """edges 18: a letter of one person, named twice, was shared with nobody else, and could never be deleted."""
    world = World()
    people = [each | ({"person": label} if label else {}) for each in BOTH]
    world.publish("registrations", "expunge.asset.registered.v1", about(people))
    world.settle()
    (row,) = [row for row in world.index.rows(list(world.index.raw)) if row]
    assert row.shared is (label is None)
    (stated,) = [event["data"] for event in world.broker.events("assets")]
    assert ("persons" in stated) is (label is not None)


def test_two_labels_are_two_persons() -> None:
    world = World()
    people = [BOTH[0] | {"person": "p1"}, BOTH[1] | {"person": "p2"}]
    world.publish("registrations", "expunge.asset.registered.v1", about(people))
    world.settle()
    (row,) = [row for row in world.index.rows(list(world.index.raw)) if row]
    assert row.shared


def test_a_holding_is_asked_once_for_a_person_whatever_number_of_ids_they_have() -> None:
    """edges 18: it was asked once for each id: one deleted, one not found, for the same person."""
    world = World()
    world.declare_holding("users.db", namespaces=["*"])
    world.settle()
    asked: list[dict[str, Any]] = []
    world.answers["users"] = lambda command: asked.append(command) or honest(command)  # type: ignore[func-returns-value]
    data = {"request_id": "r", "received_at": "2026-11-01T00:00:00Z", "subjects": BOTH}
    world.publish("requests", "expunge.erasure.requested.v1", data, event="r")
    world.settle()
    case_id = world.keys.case("/app", "r")
    assert world.status(case_id) == "completed"
    (command,) = asked
    (target,) = command["targets"]
    assert len(target["subjects"]) == 3  # the address stands under both versions of its normaliser
    (final,) = world.confirmations("completed", case_id=case_id)
    assert final["counts"] == {"record": {"deleted": 1}}


def test_a_case_that_an_earlier_version_took_names_every_pseudonym_of_an_id_that_is_sealed() -> None:
    """Its root does not say which belong together: an agent took the other for somebody else, and failed for ever."""
    subjects = (Subject(pseudonym="a" * 32, namespace="email"), Subject(pseudonym="b" * 32, namespace="email"))
    more = Subject(pseudonym="c" * 32, namespace="user_id")
    scope = Scope(kind=ScopeKind.ERASURE, subjects=(*subjects, more))
    old = Seal(system="s", pseudonym="a" * 32, sealed="x")
    new = Seal(system="s", pseudonym="a" * 32, also=(), sealed="x")
    root = cast("Any", Root).model_construct(scope=scope, seals=(old,))
    (person,) = commands.sealed_to(root, "s")
    assert person.data() == {"pseudonym": "a" * 32, "sealed": "x", "also": ["b" * 32]}
    (person,) = commands.sealed_to(cast("Any", Root).model_construct(scope=scope, seals=(new,)), "s")
    assert person.data() == {"pseudonym": "a" * 32, "sealed": "x"}
    kept = Seal.model_validate_json(new.model_dump_json(exclude_defaults=True))
    assert kept.also == ()


def test_who_is_registered_again_under_a_newer_version_is_no_second_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shared by several people is redacted: a person's own photo was never deleted after an upgrade."""
    ann, world = {"namespace": "email", "id": "Ann@example.com"}, World()
    with monkeypatch.context() as earlier:
        earlier.setattr(Door, "pseudonym", Door.earliest)
        earlier.setattr(Door, "earliest", lambda *_: b"")
        world.register("photo", subjects=[ann])
        world.settle()
    for spelling in ("Ann@example.com", "mailto:ann@example.com"):
        world.register("photo", subjects=[ann | {"id": spelling}], event=f"inventory with {spelling}")
        world.settle()
        (row,) = world.index.rows([world.keys.asset("photo")])
        assert row is not None
        assert not row.shared
    world.register("together", subjects=[ann, {"namespace": "email", "id": "bob@example.com"}])
    world.settle()
    case_id = world.erase(ann)
    world.settle()
    assert set(world.commanded[case_id]) == {("photos", "photo", "delete"), ("photos", "together", "redact")}
    world.rebuild()
    (again,) = world.index.rows([world.keys.asset("photo")])
    assert again is not None
    assert (again.shared, again.first_subject) == (row.shared, row.first_subject)
