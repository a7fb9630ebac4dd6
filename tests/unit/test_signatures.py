"""Who may say what: signed events at the door (rule "signed")."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from expunge.adapters.signing import Signer, create
from expunge.domain import signatures
from expunge.domain.aggregates.case.receipts import Answered
from expunge.domain.events import CloudEvent, Event
from expunge.domain.planning.policy.rules import GradeRule
from expunge.domain.registry import Operator, Publisher, Registry, System
from expunge.domain.signatures import enveloped, is_by, key_id, pae
from expunge.domain.vocabulary import Grade, Kind, Regime
from expunge.errors import ConfigurationError, InvalidMessage
from tests.simulation import REGISTRY, SIGNERS, START, STRANGER, World, receipt

PAUSED = "expunge.emission.paused.v1"


@pytest.fixture
def world() -> World:
    return World(signs=True)


def letters(world: World) -> list[tuple[str, str]]:
    return [(each["reason"], each["where"]) for each in world.dead_letters()]


def test_the_bytes_that_are_signed_are_those_of_the_specification() -> None:
    """The vector of the DSSE specification; and of RFC 8032, 7.1, test 2."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert is_by(public, bytes.fromhex(signature), b"\x72")
    assert not is_by(public, bytes.fromhex(signature), b"\x73")


def test_whoever_has_a_key_is_believed_with_it_and_stands_in_the_ledger_by_it(world: World) -> None:
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.deliver()
    world.say("request.cancelled", case_id, reason="taken back")
    world.settle()
    assert world.status(case_id) == "cancelled"
    (asked,) = [each for each in world.broker.events("ledger") if each["type"] == "expunge.ledger.cancel_asked.v1"]
    assert asked["data"]["body"]["operator"] == key_id(SIGNERS["olga"].public)
    assert letters(world) == []


@pytest.mark.parametrize("how", ["unsigned", "stranger", "colleague", "altered", "later", "system"])
def test_nobody_speaks_in_anothers_name(world: World, how: str) -> None:
    """Also a declared colleague, and what an operator has signed an hour ago, say nothing; nor does another system."""
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.deliver()
    world.forge(case_id, how)
    world.deliver()
    reason = {"unsigned": "unsigned", "later": "stale"}.get(how, "bad_signature")
    assert [each for each, _ in letters(world)] == [reason]
    assert world.status(case_id) == "purging"
    world.settle()
    assert world.status(case_id) == "completed"


def test_a_word_that_is_published_again_changes_nothing() -> None:
    """Somebody may write to `controls`, and has recorded what was said there: a pause would come back."""
    world = World(signs=True)
    world.order("emission.paused", key="all", scope={"all": True}, reason="why not")
    world.deliver()
    said = world.broker.logs["controls", 0] + world.broker.logs["controls", 1]
    world.tick(60)
    world.order("emission.resumed", key="all", scope={"all": True})
    world.deliver()
    assert not any(each.is_paused("all") for each in world.standing())
    world.tick(60)
    world.broker.append("controls", "all", said[0].value)
    world.deliver()
    assert not any(each.is_paused("all") for each in world.standing())
    assert letters(world) == []
    world.tick(3600)
    world.broker.append("controls", "all", said[0].value)
    world.deliver()
    assert [reason for reason, _ in letters(world)] == ["stale"]


def test_two_of_one_key_are_one() -> None:
    """Two-person rules count keys: two names with one key would be one person."""
    one = SIGNERS["olga"].public
    with pytest.raises(ValidationError, match="one key is declared twice"):
        Registry(operators=(Operator(name="a", key=(one,)), Operator(name="b", key=(one,))))


def test_a_publisher_with_a_key_must_use_it(world: World) -> None:
    data = {"request_id": "r", "received_at": "2026-11-01T11:30:00Z", "subjects": [{"namespace": "user_id", "id": "a"}]}
    event = Event("expunge.erasure.requested.v1", "/app", "r", START, data)
    world.broker.append("requests", "r", event.encode())
    world.broker.append("requests", "r", SIGNERS["limited"].event(event).encode())
    world.deliver()
    assert sorted(letters(world)) == [
        ("bad_signature", "signed by somebody else"),
        ("unsigned", "a key is declared for whoever says this"),
    ]
    rejections = [each["data"]["reason"] for each in world.broker.events("confirmations.app")]
    assert rejections == ["unsigned", "bad_signature"]


def test_a_release_that_is_published_again_frees_nothing(world: World) -> None:
    """Said before the hold was placed, and recorded: the hold ended, and what it kept was deleted."""
    for number in range(3):
        world.order("hold.released", key="h1", hold_id="h1")
        world.deliver()
        world.tick(number + 1)
    recorded = [each.value for each in world._log_of("controls")]
    scope = {"subject": {"namespace": "user_id", "id": "ann"}}
    world.order("hold.placed", key="h1", hold_id="h1", scope=scope, basis="b", custodian="c")
    world.deliver()
    for value in recorded:
        world.broker.append("controls", "h1", value)
    world.deliver()
    assert all(each.release_of("h1") is None for each in world.standing())
    world.tick(1)
    world.order("hold.released", key="h1", hold_id="h1")
    world.deliver()
    assert all(each.release_of("h1") is not None for each in world.standing())


@pytest.mark.parametrize("minutes", [0, 9, 11, 600])
def test_an_old_consent_is_not_said_again(world: World, minutes: int) -> None:
    """Recorded, and published again behind a revocation, it would let the person in again."""
    data = {
        "received_at": "2026-11-01T11:30:00Z",
        "subjects": [{"namespace": "user_id", "id": "ann"}],
        "purposes": ["training"],
    }
    event = Event("expunge.consent.granted.v1", "/app", "g", START, data)
    said = SIGNERS["app"].event(event).encode()
    world.tick_clocks(60 * minutes)
    world.broker.append("requests", "g", said)
    world.deliver()
    assert [reason for reason, _ in letters(world)] == ([] if minutes < 10 else ["stale"])


def test_whoever_is_bound_may_withdraw_sources() -> None:
    """Unsigned, from a topic that anybody writes to, everything from a supplier would go."""
    own = Publisher(name="app", source="/app", default_regime=Regime.GDPR, own_topic=True)
    registry = REGISTRY.model_copy(update={"publishers": (own,)})
    world = World(registry=registry)
    world.door = world.roles["intake"]._door = type(world.door)(registry, world.keys, world.policies, "t.")  # type: ignore[attr-defined]
    world.register("p1", data_sources=["supplier-a"])
    data = {"request_id": "r", "received_at": "2026-11-01T11:30:00Z", "data_sources": ["supplier-a"]}
    event = Event("expunge.source.withdrawn.v1", "/app", "r", START, data)
    world.broker.append("requests", "r", event.encode())
    world.deliver()
    assert letters(world) == [("wrong_topic", "requests of app are written to requests.app")]
    world.broker.append("requests.app", "r", event.encode())
    world.settle()
    assert world.status(world.keys.case("/app", "r")) == "completed"
    other = Event("expunge.source.withdrawn.v1", "/another", "r", START, data)
    world.broker.append("requests.app", "r", other.encode())
    world.deliver()
    assert letters(world)[1:] == [("undeclared_source", "")]


def test_signed_receipts_are_better_than_unsigned_ones(world: World) -> None:
    """Where policy demands E2, an unsigned receipt leaves open what a signed one settles."""
    rule = GradeRule(id="signed", kind=(Kind.OBJECT,), minimum=Grade.E2)
    world.policies.change(world.policies.current.model_copy(update={"grades": (rule,)}))
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.deliver()
    (told,) = [each["data"] for each in world.broker.events("commands.photos")]
    assert told["minimum_grade"] == "E2"
    done = receipt(told, all={"claim": "deleted"})
    event = Event("expunge.purge.receipted.v1", "/photos", "unsigned", world.broker.now, done)
    world.broker.append("receipts.photos", "k", event.encode())
    world.deliver()
    assert world.status(case_id) == "purging"
    (line,) = [line for line, _ in world.rebuilt(case_id)[0].counts]
    assert (line.claim, line.reason) == ("failed", "signed")
    world.publish("receipts.photos", "expunge.purge.receipted.v1", done | {"sequence": 2}, source="/photos")
    world.settle()
    assert world.status(case_id) == "completed"
    grades = [each.grade for each in world.facts(case_id) if isinstance(each, Answered)]
    assert grades == ["E1", "E2"]


def test_receipts_are_kept_as_they_were_signed(world: World) -> None:
    world.register("p1", subjects=["ann"])
    world.erase("ann")
    world.settle()
    came = {record.value for number in (0, 1) for record in world.broker.logs["receipts.photos", number]}
    kept = {record.value for number in (0, 1) for record in world.broker.logs["plans", number]}
    assert came
    assert came <= kept
    assert all(json.loads(raw or b"")["type"] == "expunge.purge.receipted.dsse.v1" for raw in came)


def _envelope(payload: bytes, kind: str = signatures.PAYLOAD_TYPE) -> dict[str, Any]:
    return enveloped(kind, payload, STRANGER.public, STRANGER.sign)


def _event(**fields: Any) -> bytes:
    said = {"specversion": "1.0", "id": "1", "source": "/app", "type": PAUSED, "data": {}}
    return json.dumps(said | fields).encode()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (None, "data"),
        ("text", "data"),
        ({}, "data"),
        (_envelope(b"x") | {"payload": "not base64!"}, "data"),
        (_envelope(b"x") | {"signatures": []}, "data"),
        (_envelope(b"x") | {"signatures": [{"keyid": "k", "sig": "AA=="}] * 9}, "data"),
        (_envelope(_event(), "application/json"), "data.payloadType"),
        (_envelope(_event(id="2")), "data.payload: another event"),
        (_envelope(_event(source="/other")), "data.payload: another event"),
        (_envelope(_event(type="expunge.emission.resumed.v1")), "data.payload: another event"),
        (_envelope(_event(type="expunge.emission.paused.dsse.v1")), "data.payload: another event"),
    ],
)
def test_what_is_no_envelope_is_said_to_be_none(data: Any, where: str) -> None:
    event = CloudEvent(specversion="1.0", id="1", source="/app", type="expunge.emission.paused.dsse.v1", data=data)
    with pytest.raises(InvalidMessage) as raised:
        signatures.opened(event, [STRANGER.public])
    assert (raised.value.reason, raised.value.where) == ("bad_envelope", where)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b'{"specversion": "1.0"}', b'{"id": 1, "id": 2}'])
def test_what_is_signed_is_an_event(payload: bytes) -> None:
    event = CloudEvent(specversion="1.0", id="1", source="/app", type=PAUSED, data=_envelope(payload))
    with pytest.raises(InvalidMessage):
        signatures.carried(event.model_copy(update={"type": "expunge.emission.paused.dsse.v1"}))


def test_one_good_signature_among_others_is_enough() -> None:
    data = _envelope(_event())
    data["signatures"] = [{"keyid": "?", "sig": "%"}, {"keyid": key_id(STRANGER.public), "sig": "AA=="}] + data[
        "signatures"
    ]
    event = CloudEvent(specversion="1.0", id="1", source="/app", type="expunge.emission.paused.dsse.v1", data=data)
    inner, signers = signatures.opened(event, [STRANGER.public, SIGNERS["olga"].public])
    assert (inner.type, set(signers)) == (PAUSED, {STRANGER.public})
    url = {"payload": base64.urlsafe_b64encode(_event()).decode()}
    assert signatures.carried(event.model_copy(update={"data": data | url})).type == PAUSED


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "olga.key"
    made = create(file)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert Signer.of(file).public == made.public
    assert "PRIVATE" not in repr(made)
    with pytest.raises(ConfigurationError, match="is there already"):
        create(file)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Signer.of(file)
    file.chmod(0o600)
    file.write_text("nothing")
    with pytest.raises(ConfigurationError, match="no Ed25519 key"):
        Signer.of(file)
    with pytest.raises(ConfigurationError, match="expunge keys create omar"):
        Signer.of(tmp_path / "omar.key")


@pytest.mark.parametrize("key", ["", (), "xyz", "00"])
def test_keys_are_declared_one_by_one_or_several(key: Any) -> None:
    if key in ("", ()):
        assert System(name="photos", key=key).key == ()
        assert not Publisher(name="app", source="/app", default_regime=Regime.GDPR, key=key).is_bound
    else:
        with pytest.raises(ValidationError, match="64 hexadecimal digits"):
            Operator(name="olga", key=key)


def test_an_older_key_counts_while_it_is_declared() -> None:
    """One key takes another's place without a moment in which nobody is believed."""
    both = Operator(name="olga", key=(STRANGER.public, SIGNERS["olga"].public), roles=("pause",))
    registry = Registry(operators=(both,))
    assert both.identity == key_id(STRANGER.public)
    assert registry.operator_of(both.identity) == "olga"
    assert registry.public_keys == both.key
