"""The screen of `expunge top`."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from expunge.cli.top import screen
from expunge.domain.vocabulary import Regime, Status
from expunge.overview.state import Behind, InSystem, Overview


def test_text_from_outside_is_shown_harmlessly() -> None:
    seen = Overview(
        datetime(2026, 12, 1, tzinfo=UTC),
        {(Status.PURGING, Regime.GDPR): 1},
        {1: 0},
        pauses=("publisher:[red]x\x1b[2J",),
        systems=(InSystem("[bold]photos", 3, 1, 7200.0, 9),),
        behind=(Behind("intake", "requests", 4, 60.0, 86_400 * 7),),
    )
    console = Console(width=100)
    with console.capture() as shown:
        console.print(screen(seen, away="Redis is [bold]away"))
    for text in ("[red]x", "[bold]away", "[bold]photos", "2.0 h", "intake", "7.0 d"):
        assert text in shown.get(), text
    assert "\x1b[2J" not in shown.get()
