"""The thin producer: what it says is what Expunge takes, and what Expunge would refuse it does not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from expunge.client import Asset, Client, Person
from expunge.domain.events import Outgoing
from expunge.domain.vocabulary import Kind
from expunge.errors import InvalidMessage
from tests.simulation import START, World

ANN = Person("user_id", "ann", person="1")
MAIL = Person("email", "ann@example.com", person="1")
SPRING = datetime(2026, 3, 1, tzinfo=UTC)


class Wire:
    """Takes what a client publishes into a world in memory."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[Outgoing] = []

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        for message in outgoing:
            self.messages.append(message)
            self.world.broker.append(message.topic, message.key, message.value or b"", 0)
        self.world.settle()


@pytest.fixture
def said() -> tuple[Client, Wire]:
    client, wire = Client("nowhere:1", "/app"), Wire(World())
    client._sender = wire  # type: ignore[assignment]
    client._clock = type("Clock", (), {"now": lambda _: START})()
    return client, wire


def test_what_is_registered_can_be_erased(said: tuple[Client, Wire]) -> None:
    client, wire = said
    client.register("photo-1", Kind.OBJECT, "photos", people=[ANN, MAIL], collected_at=SPRING)
    client.register("vector-1", "embedding", "ml", parents=["photo-1"])
    client.declare("users.db", "users", namespaces=["*"])
    request = client.erase(Person("user_id", "ann"), Person("email", "ann@example.com"), request_id="ticket-7")
    case_id = wire.world.keys.case("/app", request)
    assert wire.world.status(case_id) == "completed"
    assert {asset for _, asset, _ in wire.world.commanded[case_id]} == {"photo-1", "vector-1", "users.db"}
    assert not wire.world.dead_letters()


def test_ids_that_are_passed_together_are_one_persons(said: tuple[Client, Wire]) -> None:
    """Two ids of one person made her file a shared one: it was to be redacted, which nobody could, and stayed."""
    client, wire = said
    ann = (Person("user_id", "ann"), Person("email", "ann@example.com"))
    client.register("photo-1", Kind.OBJECT, "photos", people=[ann], collected_at=SPRING)
    client.register("photo-2", Kind.OBJECT, "photos", people=[*ann], collected_at=SPRING)
    client.erase(*ann)
    commands = wire.world.broker.events("commands.photos")
    found = {target["asset"]: each["data"]["action"] for each in commands for target in each["data"]["targets"]}
    assert found == {"photo-1": "delete", "photo-2": "redact"}


@pytest.mark.parametrize("wrong", ["user_id:ann", ["ann"], None])
def test_what_is_no_person_is_said_at_once(said: tuple[Client, Wire], wrong: Any) -> None:
    client, _ = said
    with pytest.raises(TypeError, match="a Person is needed"):
        client.erase(wrong)
    with pytest.raises(TypeError, match="a Person is needed"):
        client.register("a", Kind.OBJECT, "photos", people=[wrong], collected_at=SPRING)


def test_sizes_are_held_to_before_anything_is_said(said: tuple[Client, Wire]) -> None:
    """It was published, and became a dead letter that nobody looked at."""
    client, wire = said
    with pytest.raises(InvalidMessage, match="bad_field"):
        client.withdraw_assets("x" * 4_000)
    with pytest.raises(InvalidMessage, match="bad_field"):
        client.remove("x" * 4_000, "photos")
    with pytest.raises(InvalidMessage, match="id_too_long"):
        client.erase(Person("user_id", "x" * 2_000))
    assert not wire.messages


def test_every_kind_of_request_is_one_that_expunge_takes(said: tuple[Client, Wire]) -> None:
    client, wire = said
    client.revoke(ANN_ALONE, purposes=["training"])
    client.restrict(ANN_ALONE, regime="gdpr", jurisdiction="DE-BY")
    client.withdraw("supplier-a")
    client.withdraw_assets("photo-1", dry_run=True)
    client.lift(ANN_ALONE)
    client.grant(ANN_ALONE, purposes=["training"], received_at=START)
    client.remove("photo-1", "photos")
    assert not wire.world.dead_letters()
    assert not wire.world.rejections()


ANN_ALONE = Person("user_id", "ann")


def test_the_same_words_are_the_same_event(said: tuple[Client, Wire]) -> None:
    client, wire = said
    for _ in range(2):
        client.register("photo-1", "object", "photos")
        client.erase(ANN_ALONE, request_id="r", received_at=START)
    first, second, third, fourth = [message.event.id for message in wire.messages if message.event]
    assert (first, second) == (third, fourth)


def test_many_assets_are_cut_into_messages(said: tuple[Client, Wire]) -> None:
    client, wire = said
    assert client.register_all(Asset(f"photo-{number}", "object", "photos") for number in range(1201)) == 1201
    assert [len(m.event.data.get("assets", [1])) for m in wire.messages if m.event] == [500, 500, 201]
    assert not wire.world.dead_letters()


@pytest.mark.parametrize(
    ("say", "where"),
    [
        (lambda client: client.register("", "object", "photos"), "data.asset"),
        (lambda client: client.register("x", "thing", "photos"), "data.kind"),
        (lambda client: client.register("x", "object", "photos", people=[ANN_ALONE]), "data.collected_at"),
        (lambda client: client.register("x", "object", "photos", more={"collected_at": "soon"}), "data.collected_at"),
        (lambda client: client.declare("x", "users"), "data"),
        (lambda client: client.erase(), "data.subjects"),
        (lambda client: client.erase(ANN), "data.subjects"),
        (lambda client: client.erase(ANN_ALONE, regime="martian"), "data.regime"),
        (lambda client: client.revoke(ANN_ALONE, purposes=[]), "data.purposes"),
    ],
)
def test_what_would_be_refused_is_not_said(said: tuple[Client, Wire], say: Callable[[Client], Any], where: str) -> None:
    client, wire = said
    with pytest.raises(InvalidMessage) as refused:
        say(client)
    assert refused.value.where.startswith(where)
    assert not wire.messages


def test_a_moment_without_a_zone_is_nobodys(said: tuple[Client, Wire]) -> None:
    with pytest.raises(ValueError, match="time zone"):
        said[0].erase(ANN_ALONE, received_at=datetime(2026, 3, 1))  # noqa: DTZ001 - that is what is tested


def test_nobody_is_shown() -> None:
    assert "ann" not in repr(ANN) + repr(MAIL) + repr(Asset("ann.jpg", "object", "photos", people=[ANN]))


def test_messages_are_cut_by_what_they_make_of_the_index(said: tuple[Client, Wire]) -> None:
    """400 assets of 100 parents were one message with 40,000 links, which was refused whole."""
    client, wire = said
    parents = [f"p{number}" for number in range(100)]
    client.register_all(Asset(f"a{number}", "object", "photos", parents=parents) for number in range(400))
    assert not wire.world.dead_letters()
    with pytest.raises(InvalidMessage):
        client.register("x", "object", "photos", parents=["z" * 2000 + str(number) for number in range(500)])
