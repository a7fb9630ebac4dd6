"""What the commands share: settings, output, errors."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from expunge.bootstrap import Installation
from expunge.config import config_file, load
from expunge.domain.characters import acts
from expunge.errors import ConfigurationError

NO = 1
WRONG = 2
NO_SERVER = 3
ANEW = 75
"""What a role goes by is another now: one that is started in its place begins with that (EX_TEMPFAIL)."""
DIED = 70
"""What nobody foresaw (EX_SOFTWARE)."""

Moment = typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
"""An option that takes a day, or a time with or without its zone; see `moment_of`."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables for people.")]
WIDE = 160
"""Columns where nobody's terminal says how many: whoever reads a pipe wants lines whole."""
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE, emoji=False, highlight=False)
quiet_console = Console(stderr=True, emoji=False, highlight=False)


def visible(text: str) -> str:
    """Text from outside as it can be shown: what a terminal would act on, or nobody sees, stands in it as an escape.

    Ids stay as they are, and can be copied back, unless they hold such characters; `--json` has those exactly.
    """
    return "".join(_escaped(character) if acts(character) else character for character in text)


def safe(text: object) -> str:
    """The same, for a line with markup of our own around it: brackets in it are brackets."""
    return escape(visible(str(text)))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - as Python


def moment_of(moment: datetime, option: str) -> datetime:
    """A moment in UTC, in this machine's zone where none was named.

    Raises:
        ConfigurationError: it lies at the calendar's edge.
    """
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        raise ConfigurationError(f"{option} {moment} is outside of the calendar") from None


def to_the_minute(stamped: str) -> str:
    """A moment of `events.stamp` as tables show it."""
    return stamped[:16].replace("T", " ")


def to_the_second(stamped: str) -> str:
    """The same, where what happens within a minute is told apart."""
    return stamped[:19].replace("T", " ")


def installation(**flags: Any) -> Installation:
    """The installation that the settings describe; `let_go` closes it when the command ends, however it ends."""
    expunge = Installation(load(**flags))
    if config_file() is None:
        quiet_console.print("no expunge.toml here, and no EXPUNGE_CONFIG: defaults are used", style="yellow")
    _opened.append(expunge)
    return expunge


def reopened(expunge: Installation) -> Installation:
    """Everything that this command has opened is closed; another with the same settings, which are not read anew."""
    let_go()
    again = Installation(expunge.settings)
    _opened.append(again)
    return again


_opened: list[Installation] = []


def let_go() -> None:
    """Close every installation that this command has opened."""
    while _opened:
        _opened.pop().close()


def say_error(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write("expunge: " + visible(" ".join(text.split())) + "\n")


def print_json(value: object) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "", title: str = "") -> None:
    """A table for people, or a sentence where there is nothing to show. One with a title is a part of a longer page."""
    said = list(rows)
    kept = [[_cell(each) for each in row] for row in said]
    if title:
        console.print()
    if not kept:
        console.print(empty)
        return
    look: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": (0, 1, 0, 0)}
    table = Table(title=title or None, title_justify="left", title_style="bold", **look)
    for at, column in enumerate(columns):  # what a line is called by stays whole, so that it can be copied
        numbers = all(_is_number(row[at]) or row[at] == "" for row in said if at < len(row))
        table.add_column(column, overflow="fold", no_wrap=at == 0, justify="right" if numbers else "left")
    for row in kept:
        table.add_row(*row)
    console.print(table)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cell(value: object) -> Text:
    """A cell without markup: whatever stands in it may be from outside."""
    if isinstance(value, Text):
        return value if value.plain.isprintable() else Text(visible(value.plain), style=value.style)
    return Text(f"{value:,}" if _is_number(value) else visible(str(value)))


STATUS_STYLE: Mapping[str, str] = {
    "completed": "green",
    "completed_with_deferrals": "yellow",
    "partially_completed": "red",
    "awaiting_approval": "yellow",
    "refused": "red",
    "cancelled": "dim",
    "purging": "cyan",
    "planned": "cyan",
    "resolving": "cyan",
}


def status_text(status: str) -> Text:
    """A case's state, coloured."""
    return Text(status.replace("_", " "), style=STATUS_STYLE.get(status, ""))


def identities(texts: Sequence[str]) -> list[dict[str, str]]:
    """The ids of one person: `NAMESPACE:ID` each, or `-` for all lines of standard input.

    Raises:
        ConfigurationError: one is not of that form, or there is none.
    """
    found: list[dict[str, str]] = []
    for text in texts:
        lines = _lines_of_input() if text == "-" else [text]
        found += [_identity(line) for line in lines if line.strip()]
    if set(texts) - {"-"}:
        text = "an id on the command line stands in the shell's history and in the list of processes: use --subject -"
        quiet_console.print(text, style="yellow")
    if not found:
        raise ConfigurationError("nobody was named on standard input: NAMESPACE:ID a line")
    return found


def _lines_of_input() -> list[str]:
    try:
        return sys.stdin.buffer.read().decode().splitlines()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not UTF-8") from None


def identity(text: str) -> dict[str, str]:
    """One id of a person; see `identities`.

    Raises:
        ConfigurationError: it is not of that form, or there are several.
    """
    found = identities([text])
    if len(found) > 1:
        raise ConfigurationError(f"{len(found)} ids were named, and one is asked for")
    return found[0]


def _identity(text: str) -> dict[str, str]:
    namespace, colon, value = text.partition(":")
    if not (namespace and colon and value):
        raise ConfigurationError("a subject is NAMESPACE:ID, for example user_id:12345 (or - to read it from input)")
    return {"namespace": namespace, "id": value}
