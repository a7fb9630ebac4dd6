"""A page of `docs` that is written from the code: it is written, or with `--check` compared."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def write_or_compare(name: str, wanted: str) -> int:
    """Write a page of `docs`, or say whether it is what the code says; the exit code."""
    page = DOCS / f"{name}.md"
    if "--check" not in sys.argv:
        page.write_text(wanted)
        print(f"{name}: docs/{name}.md written")
        return 0
    if page.exists() and page.read_text() == wanted:
        print(f"{name}: the page agrees with the code")
        return 0
    print(f"docs/{name}.md is not what the code says: run `make fix`, and read what changed", file=sys.stderr)
    return 1
