"""Text from outside on a terminal: it is shown, and never acted on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from expunge.agent.filesystem import Filesystem
from expunge.cli import common, submit
from expunge.cli.agent import READY
from expunge.cli.common import print_table, safe, visible
from expunge.config import Agent
from expunge.wire.requests import LIFT, REQUESTS

ODD = [
    ("\x1b[2Jgone", "\\x1b[2Jgone"),
    ("a\rb\nc", "a\\x0db\\x0ac"),
    ("\u202efdp.exe", "\\u202efdp.exe"),
    ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
    ("\x9b31m", "\\x9b31m"),
    ("half\ud800", "half\\ud800"),
    ("\U000e0041", "\\U000e0041"),
]
PLAIN = ["s3://x/[a-z]/f", "[/bold]", ":smile:", "[red]x", "Jörg 写真.jpg", "a b", "back\\slash"]


def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(
        common, "console", Console(file=screen, width=200, force_terminal=False, emoji=common.console._emoji)
    )
    return screen


@pytest.mark.parametrize(("text", "seen"), ODD)
def test_what_a_terminal_would_act_on_stands_there_as_an_escape(text: str, seen: str) -> None:
    """doors 12: escape sequences passed raw, from ids that anybody may choose."""
    assert visible(text) == seen


@pytest.mark.parametrize("text", PLAIN)
def test_an_id_is_shown_as_it_is_so_that_it_can_be_copied(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """doors 12: `[/x]` ended in a traceback, `[a-z]` disappeared, and `:a:` became a picture."""
    screen = shown(monkeypatch)
    print_table(("asset", "kind"), [(text, "object")], title="Assets")
    common.console.print(f"[bold]asset[/bold] {safe(text)}")
    assert screen.getvalue().count(text) == 2


@pytest.mark.parametrize(("text", "seen"), ODD)
def test_a_table_acts_on_nothing(text: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = shown(monkeypatch)
    print_table(("asset",), [(text,)], title="Assets")
    assert seen in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_numbers_stand_to_the_right_with_separators_and_a_short_row_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = shown(monkeypatch)
    print_table(("what", "how many", "marked"), [("one", 1234567, True), ("two", 8)])
    first, second = screen.getvalue().splitlines()[2:4]
    assert "1,234,567" in first
    assert second.index("8") == first.index("1,234,567") + len("1,234,567") - 1
    assert first.rstrip().endswith("True")


def test_what_can_be_submitted_is_what_the_door_knows() -> None:
    """A word of the command line was published as a type: nobody took it, and nobody was told."""
    assert set(submit.TYPES.values()) == {*REQUESTS, LIFT}
    assert submit.TYPES.keys() == submit.MODELS.keys() == {each.value for each in submit.Kind}


def test_every_type_of_ready_agents_has_its_row(tmp_path: Path) -> None:
    """A type that only configuration knew was taken for another, or raised in the doctor's face."""
    assert set(READY) == set(get_args(Agent.model_fields["type"].annotation))
    assert all(row.actions for row in READY.values())
    assert Filesystem(tmp_path, "file://")._actions.keys() == Filesystem.ACTIONS
