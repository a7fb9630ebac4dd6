"""Files that others read while they are written: whole, and on disk, from the moment at which they are there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import IO


def write(file: Path, raw: bytes, *, mode: int = 0o644) -> None:
    """Write a file, in the place of one that is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as made:
        try:
            made.write(raw)
            os.fchmod(made.fileno(), mode)
            flush(made)
            Path(made.name).replace(file)
        except BaseException:
            Path(made.name).unlink(missing_ok=True)
            raise
    sync(file.parent)


def sync(folder: Path) -> None:
    """See that the names in a folder are on disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def flush(file: IO[bytes]) -> None:
    """See that what was written to an open file is on disk."""
    file.flush()
    os.fsync(file.fileno())
