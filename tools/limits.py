"""Writes docs/limits.md from `domain/limits.py`, with the values and the words that stand there; `--check` compares."""

from __future__ import annotations

import ast
import itertools
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain import limits  # noqa: E402 - the tree is not installed as a package
from tools.pages import write_or_compare  # noqa: E402

ABOUT = """# Limits

Every bound of what comes from outside, of what is remembered, and of what one message leads to. None can be set: what
is larger is refused by name, cut with a count, or comes in parts. Written by `python tools/limits.py`.

How many assets there are, and how many requests, has no bound; see [index.md](index.md) for what they cost. What can be
set stands in [configuration.md](configuration.md).
"""


def page() -> str:
    """The page: a table for each heading of the module."""
    text = Path(limits.__file__).read_text()
    said, parts, name = words(text), [ABOUT], ""
    for line in text.splitlines():
        if line.startswith("# "):
            parts.append(f"\n## {line[2:]}\n\n| bound | value | |\n|---|---|---|\n")
        name = line.partition(" = ")[0]
        if name in said:
            parts.append(f"| `{name}` | {getattr(limits, name):,} | {said[name]} |\n")
    return "".join(parts)


def words(text: str) -> dict[str, str]:
    """What is said of each constant, in one line."""
    body = ast.parse(text).body
    found = {}
    for node, after in itertools.pairwise(body):
        is_said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and is_said:
            found[node.targets[0].id] = " ".join(ast.literal_eval(after.value).split())  # type: ignore[attr-defined]
    return found


if __name__ == "__main__":
    sys.exit(write_or_compare("limits", page()))
