"""`expunge certificate rotate-key`: another key signs the log, whatever is interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expunge.adapters.ledger_log import DirectoryLog
from expunge.adapters.signing import Signer, create
from expunge.cli.app import app
from expunge.cli.logs import events
from expunge.domain.continuity import Reached
from expunge.domain.evidence.notes import is_signed, verifier
from expunge.domain.evidence.reading_notes import following
from expunge.errors import ConfigurationError
from expunge.ports.evidence import Leaf

ORIGIN = "expunge.example.org/ledger"


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment that keeps evidence; where its keys lie."""
    config = tmp_path / "expunge.toml"
    config.write_text(
        f'keys_directory = "{tmp_path}/keys"\n[evidence]\norigin = "{ORIGIN}"\ndirectory = "{tmp_path}/evidence"\n'
    )
    monkeypatch.setenv("EXPUNGE_CONFIG", str(config))
    create(tmp_path / "keys/notary.key")
    return tmp_path / "keys"


def logged(keys: Path, *entries: bytes) -> DirectoryLog:
    """The log, with the key that lies there now."""
    log = DirectoryLog(keys.parent / "evidence", ORIGIN, Signer.of(keys / "notary.key"))
    size = log.size
    log.append([Leaf(Reached(size + at), each, (), ()) for at, each in enumerate(entries, 1)])
    return log


def rotate() -> tuple[int, str]:
    done = CliRunner().invoke(app, ["certificate", "rotate-key"], terminal_width=200)
    return done.exit_code, done.stdout + str(done.exception or "")


def line(file: Path) -> str:
    return verifier(ORIGIN, bytes.fromhex(Signer.of(file).public))


def test_another_key_signs_from_then_on_and_the_old_one_has_said_so(keys: Path) -> None:
    assert "no checkpoint yet" in rotate()[1]
    assert logged(keys, b"one").checkpoint()
    first = line(keys / "notary.key")
    for number in (1, 2):
        code, said = rotate()
        assert code == 0
        assert line(keys / "notary.key") in said.replace("\n", "")
        assert (keys / f"notary.{number}.key").exists()
    log = logged(keys, b"two")
    assert following(first, log.successions()) == [
        line(keys / "notary.1.key"),
        line(keys / "notary.2.key"),
        line(keys / "notary.key"),
    ]
    note = log.checkpoint()
    assert note is not None
    assert is_signed(note, bytes.fromhex(Signer.of(keys / "notary.key").public))


@pytest.mark.parametrize("after", ["the key", "the word", "the first name"])
def test_what_was_interrupted_is_ended_when_it_is_run_again(keys: Path, after: str) -> None:
    log = logged(keys, b"one")
    assert log.checkpoint()
    following_one = create(keys / "notary.next.key")
    if after != "the key":
        log.succeeded(following_one)
    if after == "the first name":
        (keys / "notary.1.key").hardlink_to(keys / "notary.key")
    code, said = rotate()
    assert code == 0, said
    assert Signer.of(keys / "notary.key").public == following_one.public
    assert not (keys / "notary.next.key").exists()
    assert len(logged(keys, b"two").successions()) == 1
    assert rotate()[0] == 0
    assert len(logged(keys).successions()) == 2


def test_where_the_key_is_lost_that_was_named_somebody_is_told(keys: Path) -> None:
    log = logged(keys, b"one")
    assert log.checkpoint()
    log.succeeded(create(keys / "notary.next.key"))
    (keys / "notary.next.key").unlink()
    code, said = rotate()
    assert code != 0
    assert "notary.next.key is missing" in said
    assert not (keys / "notary.next.key").exists()


def test_a_log_that_was_closed_is_read_with_the_key_of_its_time(keys: Path) -> None:
    log = logged(keys, json.dumps({"type": "one"}).encode())
    assert log.checkpoint()
    first = line(keys / "notary.key")
    log.succeed(Reached(7))
    assert log.checkpoint()
    rotate()
    after = logged(keys)
    assert after.checkpoint()
    folders = [keys.parent / f"evidence/log-{number}" for number in (0, 1)]
    assert [each["type"] for each in events(folders, first)] == ["one"]
    second = line(keys / "notary.key")
    with pytest.raises(ConfigurationError, match="not signed with that key"):
        list(events(folders, second))
