"""Writes docs/commands.md: what every command says to `--help`, reviewed like code; `--check` compares instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}

import typer  # noqa: E402 - the width of the terminal is read when it is imported
from typer.testing import CliRunner  # noqa: E402

from expunge.cli.app import app  # noqa: E402 - the tree is not installed as a package
from tools.pages import write_or_compare  # noqa: E402


def paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of the tree, those above before those within."""
    yield path
    for name, within in sorted(getattr(command, "commands", {}).items()):
        yield from paths(within, (*path, name))


def page() -> str:
    """The page, from the code."""
    parts = ["# Commands\n\nWhat each command says to `--help`. `python tools/commands.py` writes this page.\n"]
    for path in paths(typer.main.get_command(app)):
        said = CliRunner().invoke(app, [*path, "--help"], prog_name="expunge").stdout
        lines = "\n".join(line.rstrip() for line in said.strip().splitlines())
        parts.append(f"## {' '.join(('expunge', *path))}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_compare("commands", page()))
