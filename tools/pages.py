"""A page that is written from the code: it is written, or with `--check` compared."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_or_compare(name: str, wanted: str, page: Path | None = None) -> int:
    """Write a page, or say whether it is what the code says; the exit code. Without a path it is one of `docs`."""
    page = page or ROOT / "docs" / f"{name}.md"
    shown = page.relative_to(ROOT)
    if "--check" not in sys.argv:
        page.write_text(wanted)
        print(f"{name}: {shown} written")
        return 0
    if page.exists() and page.read_text() == wanted:
        print(f"{name}: the page agrees with the code")
        return 0
    print(f"{shown} is not what the code says: run `make fix`, and read what changed", file=sys.stderr)
    return 1
