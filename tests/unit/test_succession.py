"""One key of the log follows another, by the word of both (rule "logged"); who has the old one goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from expunge.adapters.ledger_log import DirectoryLog
from expunge.adapters.signing import Signer
from expunge.domain.evidence.notes import Party, checkpoint_of, is_signed, succession, verifier
from expunge.domain.evidence.reading_notes import Wrong, following, succession_of
from expunge.errors import ConfigurationError
from expunge.roles.certifying import Evidence, Maker
from expunge.roles.notary import Notary
from tests.simulation import NOTARY, ORIGIN, STRANGER, World, signer
from tests.unit.test_certificates import Certificate, carried_out, failed

SECOND, THIRD = signer("the notary's second key"), signer("the notary's third key")


def line(of: Signer) -> str:
    return verifier(ORIGIN, bytes.fromhex(of.public))


def party(of: Signer) -> Party:
    return Party(bytes.fromhex(of.public), of.sign)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(signs=True, evidence=tmp_path / "evidence")


def start_anew(world: World, of: Signer) -> None:
    """The notary, with another key."""
    assert world.evidence is not None
    maker = Maker(world.door.registry, False, line(of), of.public, of.sign)  # noqa: FBT003
    world.ledger_log = DirectoryLog(world.evidence, ORIGIN, of)
    topics: Any = world.broker
    evidence = Evidence(world.ledger_log, world.archive, cast("Any", world.store), topics, world.metrics, maker)
    world.roles["notary"] = Notary(world.door, world.seen, world.vault, world.metrics, evidence)
    world._end("notary")


def test_what_is_signed_after_that_holds_for_whoever_has_the_first_key_or_the_last(world: World) -> None:
    first = Certificate(world, carried_out(world))
    kept = first.statement["predicate"]["log"]["checkpoint"]
    for of in (SECOND, THIRD):
        world.ledger_log.succeeded(of)
        start_anew(world, of)
    second = world.erase("bob", request="r2")
    world.settle()
    later = Certificate(world, second)
    assert later.statement["predicate"]["log"]["key"] == line(THIRD)
    for key in (line(NOTARY), line(SECOND), line(THIRD)):
        steps = later.verified(key=key)
        assert all(step.passed for step in steps), steps
    assert "follows the given one" in later.verified(key=line(NOTARY))[1].text
    assert "follows" not in later.verified(key=line(THIRD))[1].text
    assert failed(later.verified(key=line(STRANGER))) == "signature"
    assert all(step.passed for step in first.verified(key=line(NOTARY)))
    assert failed(first.verified(key=line(THIRD))) == "signature"  # it is checked with the key of its time
    grown = [s for s in later.verified(key=line(NOTARY), earlier=kept) if s.name == "growth"]
    assert grown[0].passed is None  # it is of this log; without tiles nothing more is shown


def test_the_log_goes_on_and_a_process_with_the_old_key_signs_nothing_more(world: World) -> None:
    carried_out(world)
    old = world.ledger_log
    before = old.checkpoint()
    assert before is not None
    old.succeeded(SECOND)
    with pytest.raises(ConfigurationError, match="another key has taken the place"):
        old.checkpoint()
    start_anew(world, SECOND)
    after = world.ledger_log.checkpoint()
    assert after is not None
    assert is_signed(after, bytes.fromhex(SECOND.public))
    assert checkpoint_of(after) == checkpoint_of(before)
    assert not is_signed(after, bytes.fromhex(NOTARY.public))
    world.erase("bob", request="r2")
    world.settle()
    grown = world.ledger_log.checkpoint()
    assert grown is not None
    assert checkpoint_of(grown).size > checkpoint_of(after).size
    for file in (world.evidence or Path()).glob("state.sqlite*"):  # made anew from the topic
        file.unlink()
    start_anew(world, SECOND)
    world.committed = {place: at for place, at in world.committed.items() if place[0] != "notary"}
    world.seen.positions.clear()
    world.settle()
    assert world.ledger_log.checkpoint() == grown


def test_a_key_that_was_never_followed_is_not_believed(world: World) -> None:
    carried_out(world)
    with pytest.raises(ConfigurationError, match="begun with another key"):
        DirectoryLog(world.evidence or Path(), ORIGIN, STRANGER).checkpoint()


@pytest.mark.parametrize("how", ["old alone", "new alone", "by a stranger", "altered", "another name"])
def test_both_must_have_signed_it(world: World, how: str) -> None:
    certificate = Certificate(world, carried_out(world))
    last = checkpoint_of(certificate.statement["predicate"]["log"]["checkpoint"])
    note = succession(last, ORIGIN, party(NOTARY), party(STRANGER))
    assert succession_of(note) == (line(NOTARY), line(STRANGER))
    head, _, signatures = note.partition("\n\n")
    first, second = signatures.splitlines()
    match how:
        case "old alone":
            note = f"{head}\n\n{first}\n"
        case "new alone":
            note = f"{head}\n\n{second}\n"
        case "by a stranger":
            other = succession(last, ORIGIN, party(NOTARY), party(SECOND)).partition("\n\n")[2].splitlines()
            note = f"{head}\n\n{other[1]}\n{second}\n"
        case "altered":
            note = note.replace(f"\n{last.size}\n", f"\n{last.size + 1}\n")
        case "another name":
            note = note.replace(ORIGIN, "another.example/ledger", 1)
    with pytest.raises((Wrong, ValueError)):
        following(line(NOTARY), [note])
    statement = certificate.statement
    statement["predicate"]["log"]["key"] = line(STRANGER)
    statement["predicate"]["log"]["keys"] = [note]
    certificate.state(statement, by=STRANGER)
    assert failed(certificate.verified()) == "signature"


def test_words_of_other_keys_lead_nowhere() -> None:
    last = checkpoint_of(f"{ORIGIN}\n0\n{'A' * 43}=\n")
    notes = [succession(last, ORIGIN, party(SECOND), party(THIRD))]
    assert following(line(NOTARY), notes) == [line(NOTARY)]
    chain = [succession(last, ORIGIN, party(NOTARY), party(SECOND)), *notes]
    assert following(line(NOTARY), chain) == [line(NOTARY), line(SECOND), line(THIRD)]
    assert following(line(SECOND), chain) == [line(SECOND), line(THIRD)]
    assert following(line(NOTARY), chain[::-1]) == [line(NOTARY), line(SECOND)]
