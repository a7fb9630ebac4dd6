"""Certificates (rule "certified"): what they say follows from the ledger, and whoever changes a byte is found."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from expunge.adapters.signing import Signer
from expunge.domain.digest import canonical
from expunge.domain.evidence import merkle, reading_form, tiles, verify
from expunge.domain.evidence.certificate import PAYLOAD_TYPE, commitment, opening
from expunge.domain.evidence.notes import Checkpoint, checkpoint_of, signed, verifier
from expunge.domain.evidence.verify import Files, Step
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.rules import GradeRule
from expunge.domain.signatures import enveloped
from expunge.domain.vocabulary import Grade, Kind
from expunge.ports.evidence import Due
from expunge.wire.statements import Statement
from tests.servers import ROOT
from tests.simulation import NOTARY, ORIGIN, PARTITIONS, STRANGER, World

KEY = verifier(ORIGIN, bytes.fromhex(NOTARY.public))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(signs=True, evidence=tmp_path / "evidence")


def carried_out(world: World) -> str:
    """A request that ends with something of everything."""
    world.register("p1", subjects=["ann"])
    world.register("p2", subjects=["ann"])
    world.register("e1", "embedding", "ml", parents=["p1"])
    world.register("set", "dataset", "ml", parents=["p1", "p2"])
    world.register("m", "model", "ml", parents=["set"])
    world.register("old", subjects=["ann"], system="legacy")
    world.register("tape", "backup", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    world.say("obligation.decided", case_id, system="legacy", option="exempt", rationale="switched off")
    world.settle()
    return case_id


class Certificate:
    """One certificate with all that lies beside it, which a test may change."""

    def __init__(self, world: World, case_id: str, sequence: int | None = None) -> None:
        number = sequence or world.archive.sequences(case_id)[-1]
        place = world.archive.place(case_id, number)
        self.envelope = json.loads((place / "certificate.json").read_bytes())
        self.records = (place / "records.jsonl").read_bytes().splitlines()
        self.obligations = (place / "obligations.jsonl").read_bytes().splitlines()
        self.ways = (place / "ways.jsonl").read_bytes().splitlines()

    @property
    def statement(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(base64.b64decode(self.envelope["payload"]))
        return said

    def state(self, statement: dict[str, Any], by: Signer = NOTARY) -> None:
        """Say something else, signed by the one who issued it: what follows must find it."""
        self.envelope = enveloped(PAYLOAD_TYPE, canonical(statement), by.public, by.sign)

    def verified(self, key: str | None = KEY, **more: Any) -> list[Step]:
        ways: Any = {"ways": self.ways, **more}
        return verify.verify(Files(json.dumps(self.envelope).encode(), self.records, self.obligations, key, **ways))


def failed(steps: Sequence[Step]) -> str:
    return next((step.name for step in steps if step.passed is False), "")


def test_a_case_that_ended_has_a_certificate_that_holds(world: World) -> None:
    case_id = carried_out(world)
    event = world.broker.events("certificates")[-1]
    certificate = Certificate(world, case_id)
    assert event["data"]["certificate"] == certificate.envelope
    payload = base64.b64decode(certificate.envelope["payload"])
    assert event["data"]["sha256"] == hashlib.sha256(payload).hexdigest()
    steps = certificate.verified()
    assert [(step.name, step.passed) for step in steps] == [(name, True) for name, _ in verify.STEPS[:-1]]
    said = certificate.statement["predicate"]
    state = world.rebuilt(case_id)[0]
    assert said["case"]["status"] == state.status == "completed_with_deferrals"
    assert sum(row["count"] for row in said["inventory"]) == sum(number for _, number in state.counts) == 7
    grades = {(row["claim"], row.get("grade")) for row in said["inventory"]}
    assert grades == {
        ("deleted", "E2"),
        ("rebuilt_without", "E2"),
        ("retrained_without", "E2"),
        ("deferred", None),  # by policy: it rests on nobody's answer
        ("exempt", None),
    }
    systems = {each["system"]: each for each in said["systems"]}
    assert systems["legacy"]["not_asked"] == "no agent yet"
    assert systems["users"] == {"system": "users", "obligations": 0}
    assert [each["fact"] for each in said["words"]] == ["decided"]
    assert said["unsigned"] == {"answers": 0, "operators_may_be": False, "publisher_is_bound": True}


def test_nothing_in_it_names_anybody_or_anything(world: World) -> None:
    case_id = carried_out(world)
    certificate = Certificate(world, case_id)
    everything = json.dumps(certificate.statement) + "".join(
        each.decode() for each in (*certificate.records, *certificate.obligations)
    )
    for planted in ('"ann"', '"p1"', '"p2"', '"e1"', '"tape"', '"old"', "olga", "switched off", "r1"):
        assert planted not in everything


def test_an_owner_shows_that_an_asset_is_in_it_and_learns_nothing_of_others(world: World) -> None:
    case_id = carried_out(world)
    certificate = Certificate(world, case_id)
    root = world.store.reader(partition_of(case_id, PARTITIONS)).root(case_id)
    opened = opening(root.salt, "p2")
    lines = certificate.obligations
    (at,) = [n for n, each in enumerate(lines) if json.loads(each)["asset"] == commitment(opened, "p2")]
    hashes = [merkle.leaf_hash(each) for each in lines]

    def node(level: int, index: int) -> bytes:
        return merkle.root_of(hashes[index << level : (index + 1) << level])

    proof = merkle.inclusion(at, len(lines), node)
    assert (
        merkle.root_with(at, len(lines), hashes[at], proof).hex()
        == certificate.statement["subject"][0]["digest"]["sha256"]
    )
    assert commitment(opened, "p1") not in {json.loads(each)["asset"] for each in lines}


def test_a_case_that_goes_on_gets_another_that_names_the_one_before(world: World) -> None:
    case_id = carried_out(world)
    first = Certificate(world, case_id)
    world.tick(3600)
    world.register("p1", subjects=["ann"], event="restored from a backup")
    world.settle()
    numbers = world.archive.sequences(case_id)
    assert len(numbers) > 1
    second = Certificate(world, case_id)
    assert second.statement["predicate"]["predecessor"] is not None
    assert not failed(second.verified())
    early = first.statement["predicate"]["log"]["checkpoint"]
    late = checkpoint_of(second.statement["predicate"]["log"]["checkpoint"])
    folder = world.ledger_log.folder
    node = tiles.nodes(late.size, tiles.from_files(lambda path: (folder / path).read_bytes()))
    proof = merkle.consistency(checkpoint_of(early).size, late.size, node)
    steps = second.verified(earlier=early, consistency=proof)
    assert all(step.passed for step in steps), steps
    bent = [bytes(32), *proof[1:]]
    assert failed(second.verified(earlier=early, consistency=bent)) == "growth"
    other = signed(Checkpoint(ORIGIN, checkpoint_of(early).size, bytes(32)), bytes.fromhex(NOTARY.public), NOTARY.sign)
    assert failed(second.verified(earlier=other, consistency=proof)) == "growth"


def test_it_holds_after_the_case_was_forgotten_and_one_made_then_says_what_is_not_known(world: World) -> None:
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    before = Certificate(world, case_id)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    world.settle()
    assert not failed(before.verified())
    number = world.archive.sequences(case_id)[-1]
    for each in world.archive.place(case_id, number).iterdir():
        each.unlink()
    world.archive.place(case_id, number).rmdir()
    world.ledger_log.again(Due(case_id, number, world.broker.now))
    world.tick(1)
    after = Certificate(world, case_id)
    assert not failed(after.verified())
    assert all(step.passed for step in after.verified())
    assert not any("asset" in json.loads(each) for each in after.obligations)
    assert any("forgotten" in each for each in after.statement["predicate"]["not_shown"])


def test_a_record_that_is_left_out_is_found_by_whoever_has_the_log(world: World) -> None:
    """An issuer leaves out what was said, and hands over what it has appended since."""
    certificate = Certificate(world, carried_out(world))
    entries = [each.value or b"" for each in world.broker.logs["ledger", 0]]
    size = checkpoint_of(certificate.statement["predicate"]["log"]["checkpoint"]).size

    def searched(log: Sequence[bytes]) -> list[Step]:
        return certificate.verified(log=log[:size], wants_log=True)

    assert all(step.passed for step in searched(entries))
    assert [step.name for step in searched(entries[:-1][: size - 1]) if step.passed is None] == ["records in the log"]
    bent = [*entries[:3], b"{}", *entries[4:]]
    assert [step.name for step in searched(bent) if step.passed is None] == ["records in the log"]
    _records_of(certificate, certificate.records[:-1])
    assert failed(certificate.verified()) == "facts"
    assert failed(searched(entries)) == "records in the log"


def test_without_a_key_it_is_consistent_and_nobody_knows_whose(world: World) -> None:
    steps = Certificate(world, carried_out(world)).verified(key=None)
    assert steps[1].passed is None
    assert "nobody has said" in steps[1].text
    assert not failed(steps)


def test_what_is_not_at_hand_is_not_shown(world: World) -> None:
    certificate = Certificate(world, carried_out(world))
    steps = verify.verify(Files(json.dumps(certificate.envelope).encode(), key=KEY))
    missing = {step.name for step in steps if step.passed is None}
    assert missing == {"records in the log", "facts", "case", "lineage", "obligations", "models"}
    assert not failed(steps)


def _replace(where: str, value: Any) -> Callable[[Certificate], None]:
    def change(certificate: Certificate) -> None:
        statement = certificate.statement
        at: Any = statement
        *path, last = where.split(".")
        for part in path:
            at = at[int(part) if part.isdigit() else part]
        at[int(last) if last.isdigit() else last] = value(at[last]) if callable(value) else value
        certificate.state(statement)

    return change


def _unsigned(certificate: Certificate) -> None:
    statement = certificate.statement
    statement["predicate"]["case"]["on_time"] = not statement["predicate"]["case"]["on_time"]
    certificate.envelope["payload"] = base64.b64encode(canonical(statement)).decode()


def _by_a_stranger(certificate: Certificate) -> None:
    certificate.envelope = enveloped(PAYLOAD_TYPE, canonical(certificate.statement), STRANGER.public, STRANGER.sign)


def _record_left_out(certificate: Certificate) -> None:
    del certificate.records[1]


def _records_swapped(certificate: Certificate) -> None:
    certificate.records[0], certificate.records[1] = certificate.records[1], certificate.records[0]


def _record_changed(certificate: Certificate) -> None:
    certificate.records[0] = certificate.records[0].replace(b"gdpr", b"ccpa")


def _records_of(certificate: Certificate, records: list[bytes]) -> None:
    """Other records, to which the certificate is made to point."""
    certificate.records = records
    statement = certificate.statement
    leaves = [merkle.leaf_hash(json.loads(each)["entry"].encode()) for each in records]
    statement["predicate"]["records"] = {"number": len(leaves), "root": merkle.root_of(leaves).hex()}
    certificate.state(statement)


def _fact_left_out(certificate: Certificate) -> None:
    _records_of(certificate, certificate.records[1:])


def _obligations_of(certificate: Certificate, lines: list[bytes]) -> None:
    """Other obligations, to which the certificate is made to point: its issuer lies."""
    certificate.obligations = lines
    statement, root = certificate.statement, merkle.root_of(map(merkle.leaf_hash, lines)).hex()
    said = [json.loads(each) for each in lines]
    rows: dict[str, Any] = {}
    for each in said:
        row = {key: each[key] for key in verify.LINE_FIELDS if key in each}
        rows.setdefault(json.dumps(row, sort_keys=True), row | {"count": 0})["count"] += 1
    left = sum(each["claim"] in {"open", "failed"} for each in said)
    statement["predicate"]["inventory"] = list(rows.values())
    statement["predicate"]["obligations"] = {"number": len(lines), "open": left, "root": root}
    statement["subject"][0]["digest"]["sha256"] = root
    certificate.state(statement)


def _deferred_called_deleted(certificate: Certificate) -> None:
    lines = [each.replace(b'"deferred"', b'"deleted"') for each in certificate.obligations]
    _obligations_of(certificate, lines)


def _exempt_called_deleted(certificate: Certificate) -> None:
    lines = [each.replace(b'"exempt"', b'"deleted"') for each in certificate.obligations]
    _obligations_of(certificate, lines)


def _claimed_otherwise(before: bytes, after: bytes) -> Callable[[Certificate], None]:
    def change(certificate: Certificate) -> None:
        _obligations_of(certificate, [each.replace(before, after) for each in certificate.obligations])

    return change


def _better_grade(certificate: Certificate) -> None:
    """Nobody has looked, and it says that somebody has."""
    lines = [each.replace(b'"E2"', b'"E3"') for each in certificate.obligations]
    _obligations_of(certificate, lines)
    statement = certificate.statement
    statement["predicate"]["not_shown"].remove(reading_form.NO_PROBE)
    certificate.state(statement)


def _ways_of(certificate: Certificate, ways: list[dict[str, Any]]) -> None:
    """Another lineage, to which the certificate is made to point."""
    certificate.ways = [canonical(each) for each in ways]
    statement = certificate.statement
    root = merkle.root_of(map(merkle.leaf_hash, certificate.ways)).hex()
    statement["predicate"]["models"] |= {"steps": len(ways), "root": root}
    certificate.state(statement)


def _way_left_out(certificate: Certificate) -> None:
    del certificate.ways[0]


def _way_through_a_stranger(certificate: Certificate) -> None:
    ways = [json.loads(each) for each in certificate.ways]
    ways[0]["made_from"] = ["ab" * 32]
    _ways_of(certificate, ways)


def _way_said_twice(certificate: Certificate) -> None:
    ways = [json.loads(each) for each in certificate.ways]
    _ways_of(certificate, [*ways, ways[-1]])


def _way_made_shorter(certificate: Certificate) -> None:
    _ways_of(certificate, [json.loads(each) | {"made_from": []} for each in certificate.ways])


def _obligation_left_out(certificate: Certificate) -> None:
    certificate.obligations = certificate.obligations[1:]


def _obligation_hidden(certificate: Certificate) -> None:
    _obligations_of(certificate, certificate.obligations[1:])


def _checkpoint_of_another(certificate: Certificate) -> None:
    statement = certificate.statement
    log = statement["predicate"]["log"]
    said = checkpoint_of(log["checkpoint"])
    log["checkpoint"] = signed(said, bytes.fromhex(STRANGER.public), STRANGER.sign)
    certificate.state(statement)


COUNTS = {"of": 2, "asked": 2, "absent": 2, "found": 0, "unknown": 0, "besides": 0}
DATES = {"begun_at": "2026-11-01T12:00:00.000Z", "ended_at": None}
LOOKED: dict[str, Any] = {"number": 1, "sample": None, "by": [], **COUNTS, **DATES}
TAMPERINGS: list[tuple[Callable[[Certificate], None], str]] = [
    (_replace("_type", "https://in-toto.io/Statement/v2"), "statement"),
    (_replace("predicateType", "https://example.com"), "statement"),
    (_replace("subject.0.name", "case:another"), "statement"),
    (_unsigned, "signature"),
    (_by_a_stranger, "signature"),
    (_checkpoint_of_another, "checkpoint"),
    (_record_left_out, "records in the log"),
    (_records_swapped, "records in the log"),
    (_record_changed, "records in the log"),
    (_replace("predicate.records.number", 1), "records in the log"),
    (_fact_left_out, "facts"),
    (_replace("predicate.case.status", "completed"), "case"),
    (_replace("predicate.case.regime", "ccpa"), "case"),
    (_replace("predicate.case.publisher", "another"), "case"),
    (_replace("predicate.case.due_at", "2027-12-01T00:00:00.000Z"), "case"),
    (_replace("predicate.case.received_at", "2026-11-01T12:00:00.000Z"), "case"),
    (_replace("predicate.case.ended_at", "2026-11-01T12:00:00.000Z"), "case"),
    (_replace("predicate.case.on_time", lambda was: not was), "case"),
    (_replace("predicate.case.outcome", "complied"), "case"),
    (_replace("predicate.case.extended", lambda was: not was), "case"),
    (_replace("predicate.case.clock", "another"), "case"),
    (_replace("predicate.scope.kind", "withdrawal"), "case"),
    (_replace("predicate.policy", "00" * 16), "case"),
    (_replace("predicate.words", []), "case"),
    (_replace("predicate.case.ended_at", lambda was: was.replace("Z", "+00:00")), "statement"),
    (_replace("predicate.not_shown", []), "statement"),
    (_replace("predicate.more", 1), "statement"),
    (_replace("predicate.systems.0.obligations", 77), "inventory"),
    (_replace("predicate.words.0.operator", "another"), "case"),
    (_replace("predicate.case.sequence", lambda number: number - 1), "facts"),
    (_obligation_left_out, "obligations"),
    (_obligation_hidden, "obligations"),
    (_deferred_called_deleted, "obligations"),
    (_exempt_called_deleted, "obligations"),
    (_better_grade, "obligations"),
    (_claimed_otherwise(b'"deferred"', b'"beyond_use"'), "obligations"),
    (_claimed_otherwise(b'"deleted"', b'"exempt"'), "obligations"),
    (_claimed_otherwise(b'"deferred"', b'"all_good"'), "obligations"),
    (_claimed_otherwise(b'"kind":"object"', b'"kind":"record"'), "obligations"),
    (_claimed_otherwise(b'"system":"photos"', b'"system":"users"'), "obligations"),
    (_claimed_otherwise(b'"action":"delete"', b'"action":"redact"'), "obligations"),
    (_claimed_otherwise(b'"until":"20', b'"until":"19'), "obligations"),
    (_claimed_otherwise(b'"reason":"decided"', b'"reason":"law"'), "obligations"),
    (_replace("subject.0.digest.sha256", "00" * 32), "obligations"),
    (_replace("predicate.verification.probes", [LOOKED]), "case"),
    (_replace("predicate.verification.probes", [LOOKED | {"by": [7]}]), "statement"),
    (_replace("predicate.verification.probes", 1), "statement"),
    (_way_left_out, "lineage"),
    (_way_said_twice, "lineage"),
    (_replace("predicate.models.steps", 7), "lineage"),
    (_way_through_a_stranger, "models"),
    (_way_made_shorter, "models"),
    (_replace("predicate.models.ways.0.count", 7), "models"),
    (_replace("predicate.models.ways", []), "models"),
    (_replace("predicate.log.keys", "none"), "statement"),
    (_replace("predicate.log.keys", [7]), "statement"),
    (_replace("predicate.inventory.0.count", 2), "inventory"),
    (_replace("predicate.inventory.0.claim", "redacted"), "inventory"),
    (_replace("predicate.obligations.open", 1), "inventory"),
]


@pytest.mark.parametrize(("change", "step"), TAMPERINGS, ids=range(len(TAMPERINGS)))
def test_each_step_finds_what_it_is_for(world: World, change: Callable[[Certificate], None], step: str) -> None:
    """Also where the issuer itself signs what it has changed."""
    certificate = Certificate(world, carried_out(world))
    change(certificate)
    assert failed(certificate.verified()) == step


def test_a_thousand_changed_bytes_are_all_found(world: World) -> None:
    certificate = Certificate(world, carried_out(world))
    whole = {
        "envelope": json.dumps(certificate.envelope).encode(),
        "records": b"\n".join(certificate.records),
        "obligations": b"\n".join(certificate.obligations),
    }
    rolled = random.Random(17)  # noqa: S311 - the same in every run
    for _ in range(1000):
        part = rolled.choice(sorted(whole))
        raw = bytearray(whole[part])
        at = rolled.randrange(len(raw))
        raw[at] ^= 1 << rolled.randrange(8)
        changed = whole | {part: bytes(raw)}
        if _same(part, bytes(raw), whole[part]):
            continue
        steps = verify.verify(
            Files(changed["envelope"], changed["records"].split(b"\n"), changed["obligations"].split(b"\n"), KEY)
        )
        assert failed(steps), (part, at)


def _same(part: str, changed: bytes, before: bytes) -> bool:
    """Whether a changed byte says nothing else: a hint at a key, or a space of JSON, carries no meaning."""
    if part == "obligations":
        return False
    try:
        found = [json.loads(each) for each in changed.split(b"\n")]
    except ValueError:
        return False
    was = [json.loads(each) for each in before.split(b"\n")]
    if part == "envelope":
        for each in (*found, *was):
            for signature in each.get("signatures", ()) if isinstance(each.get("signatures"), list) else ():
                if isinstance(signature, dict):
                    for key in signature.keys() - {"sig"}:
                        del signature[key]
            for key in [key for key in each if key not in {"payload", "payloadType", "signatures"}]:
                del each[key]
    return found == was


def test_where_the_ledger_lacks_facts_of_a_case_others_have_their_certificates(world: World) -> None:
    """One whose facts are not whole gets none, and an alarm; and it does not stand in the others' way."""
    case_id = carried_out(world)
    world.ledger_log.again(Due("f" * 32, 3, world.broker.now))
    other = world.erase("bob", request="r2")
    world.settle()
    assert world.archive.sequences(other)
    assert world.metrics.counts["certificates_not_made", ""] >= 1
    assert [each.key for each in world.ledger_log.due(9, world.clock + timedelta(days=2))] == ["f" * 32]
    assert not world.archive.sequences("f" * 32)
    assert world.archive.sequences(case_id)


def test_a_certificate_that_was_made_and_not_published_is_published_the_same(world: World) -> None:
    case_id = carried_out(world)
    number = world.archive.sequences(case_id)[-1]
    before = world.broker.whole_events("certificates")[-1]
    world.ledger_log.again(Due(case_id, number, world.broker.now))
    world.tick(1)
    again = [each for each in world.broker.whole_events("certificates") if each["data"]["case_id"] == case_id][-1]
    assert again["id"] == before["id"]
    assert again["data"] == before["data"]


def test_unsigned_answers_are_called_what_they_are(tmp_path: Path) -> None:
    world = World(evidence=tmp_path)
    world.register("p1", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    certificate = Certificate(world, case_id)
    assert [row["grade"] for row in certificate.statement["predicate"]["inventory"]] == ["E1"]
    assert certificate.statement["predicate"]["unsigned"]["answers"] == 1
    assert certificate.statement["predicate"]["unsigned"]["operators_may_be"]
    assert not failed(certificate.verified())


def test_what_a_refused_answer_was_worth_is_not_said_of_the_next(world: World) -> None:
    """An unsigned receipt that policy refuses, and a signed one after it: the obligation rests on the signed one."""
    rule = GradeRule(id="signed", kind=(Kind.OBJECT,), minimum=Grade.E2)
    world.policies.change(world.policies.current.model_copy(update={"grades": (rule,)}))
    case_id = carried_out(world)
    assert not failed(Certificate(world, case_id).verified())


SCHEMA = json.loads((ROOT / "schemas/reports/certificate.schema.json").read_text())


def test_nothing_stands_in_a_certificate_that_its_schema_does_not_name(world: World) -> None:
    """An allow-list: whoever adds a field must have thought of it there, and the notary holds each against it."""
    certificate = Certificate(world, carried_out(world))
    schema = jsonschema_rs.validator_for(SCHEMA, validate_formats=True)
    schema.validate(certificate.statement)
    sample = json.loads((ROOT / "docs/samples/certificate/certificate.json").read_text())
    earlier = json.loads(base64.b64decode(sample["payload"]))
    earlier["predicate"]["log"]["timestamp"] = None  # earlier builds did not say so
    schema.validate(earlier)
    Statement.model_validate(earlier)
    for path in ("", "predicate", "predicate.case", "predicate.scope", "predicate.systems.0", "predicate.inventory.0"):
        statement = certificate.statement
        found: Any = statement
        for part in filter(None, path.split(".")):
            found = found[int(part)] if part.isdigit() else found[part]
        found["email"] = "ann@example.com"
        assert not schema.is_valid(statement), path
        with pytest.raises(ValueError, match="email") as refused:
            Statement.model_validate(statement)
        assert "ann@" not in str(refused.value)
