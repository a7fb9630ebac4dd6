"""Configuration: everything that is wrong is said at once, and no secret is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.config import load, without_password
from expunge.errors import ConfigurationError


def test_everything_that_is_wrong_with_a_file_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "expunge.toml"
    file.write_text('log_level = "loud"\nunheard_of = 1\n[kafka]\npartitions = 0\n')
    monkeypatch.setenv("EXPUNGE_CONFIG", str(file))
    with pytest.raises(ConfigurationError) as refused:
        load()
    for each in ("log_level", "unheard_of", "kafka.partitions"):
        assert each in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:hunter2@host/0", "redis://:***@host/0"),
        ("rediss://user:hunter2@host:6380/1?x=y", "rediss://user:***@host:6380/1?x=y"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """doors 13: doctor printed it."""
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[systems]]\nname = "a"\n[[systems]]\nname = "a"\n', "declared twice"),
        ('[[publishers]]\nname = "a"\nsource = "/a"\n', "publishers number 1: default_regime"),
        (
            '[[systems]]\nname = "files"\n[[agents]]\nsystem = "flies"\ntype = "sqlite"\nstate = "x"\n',
            "[[agents]] of flies",
        ),
    ],
)
def test_what_is_declared_wrongly_is_said_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    """A system that was declared twice ended `doctor`, of all commands, with a traceback."""
    (tmp_path / "expunge.toml").write_text(text)
    monkeypatch.setenv("EXPUNGE_CONFIG", str(tmp_path / "expunge.toml"))
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert says in str(refused.value)


def test_a_variable_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPUNGE_CONFIG", raising=False)
    monkeypatch.setenv("EXPUNGE_KAFKA__BOOTSTRAPSERVERS", "x")
    with pytest.raises(ConfigurationError, match="EXPUNGE_KAFKA__BOOTSTRAPSERVERS"):
        load()
    monkeypatch.setenv("EXPUNGE_CONFIG", str(tmp_path))
    with pytest.raises(ConfigurationError, match="is a directory"):
        load()


def test_a_missing_secret_is_to_be_restored_and_a_new_one_is_nobody_elses(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"restore it.*umask 077") as refused:
        load(secret_file=tmp_path / "secret").secrets()
    assert str(tmp_path / "secret") in str(refused.value)
