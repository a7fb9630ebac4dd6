"""Dead letters on the command line: what is shown of them, what editors leave, and what is too old."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from expunge.adapters.system import SystemClock
from expunge.cli import dead_letters, settling
from expunge.cli.replaying import Speaker
from expunge.errors import ConfigurationError
from expunge.replay.letters import Letter

EVENT: dict[str, object] = {"specversion": "1.0", "id": "1", "source": "/app", "type": "x"}
EVENT |= {"time": "2026-01-01T00:00:00Z", "data": {"k": 1}}


def test_what_is_nested_too_deeply_is_no_event_and_ends_nobody() -> None:
    deep = json.dumps(EVENT).replace("1}", "[" * 200_000 + "]" * 200_000 + "}")
    assert "no event" in str(dead_letters._body(deep.encode(), unseal=False))
    assert dead_letters._body(deep.encode(), unseal=True) == deep


@pytest.mark.parametrize("payload", [json.dumps(EVENT).encode(), b"{no json"])
def test_what_an_editor_leaves_as_it_was_is_not_published(monkeypatch: pytest.MonkeyPatch, payload: bytes) -> None:
    """Editors end the last line, and that counted as a change."""
    monkeypatch.setattr("click.edit", lambda text, **_: text + "\n")
    with pytest.raises(ConfigurationError, match="nothing was changed"):
        dead_letters._edited(payload)
    monkeypatch.setattr("click.edit", lambda text, **_: text + "more\n")
    assert dead_letters._edited(payload).endswith(b"more\n")


def letter(topic: str, reason: str, **age: float) -> Letter:
    at = SystemClock().now() - timedelta(**age)
    return Letter("1", at, reason, "", "intake", f"t.{topic}", 0, 1, "", is_sealed=False)


@pytest.mark.parametrize(
    ("topic", "reason", "days", "stays"),
    [
        ("registrations", "undeclared_data_source", 31, settling.OLD),
        ("receipts.photos", "bad_field", 31, settling.OLD),
        ("requests", "poison", 31, settling.OLD),
        ("requests", "undeclared_namespace", 31, settling.GONE),  # no case can have come of it
        ("requests.crm", "undeclared_namespace", 80, settling.GONE),
        ("registrations", "undeclared_data_source", 29, settling.GONE),
    ],
)
def test_what_is_older_than_what_is_remembered_is_not_handled_once_more(
    topic: str, reason: str, days: int, stays: str
) -> None:
    """Dead letters stay for 90 days, and cases may be forgotten after 38."""
    broker = SimpleNamespace(record_at=lambda *_: None)
    expunge = SimpleNamespace(settings=SimpleNamespace(prefix="t."), broker=broker)
    doing: Any = None
    speaker = Speaker(cast("Any", expunge), "olga", "why not")
    assert settling.Settling(speaker).redrive(letter(topic, reason, days=days), doing) == stays
