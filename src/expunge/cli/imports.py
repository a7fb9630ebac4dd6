"""Registrations from files: JSON Lines or CSV, in batches, through Kafka, resumable.

Every line is checked before anything of its batch is sent. How far a file has come is kept beside it, and removed at
the end; sending a batch twice does no harm, for the same batch is the same event.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from expunge.domain import inlets
from expunge.domain.digest import name
from expunge.domain.events import MAX_PAYLOAD_BYTES
from expunge.errors import ConfigurationError, InvalidMessage

BATCH_ASSETS = 500
BATCH_BYTES = MAX_PAYLOAD_BYTES // 2
HEAD_BYTES = 65_536
LISTS = frozenset({"parents", "subjects", "data_sources", "purposes", "categories", "aliases"})


class Batch(NamedTuple):
    """Registrations that go into one message, and where in the file they end."""

    assets: list[dict[str, Any]]
    end: int
    lines: int


class Bookmark:
    """How far a file has been imported into a deployment, in `FILE.imported` beside it."""

    def __init__(self, file: Path, into: str) -> None:
        self._file, self._into, self._mark = file, into, file.with_name(file.name + ".imported")

    def read(self) -> tuple[int, int]:
        """(bytes, lines) that are imported; from the start if the file has changed since."""
        try:
            kept = json.loads(self._mark.read_text())
            if kept["of"] == self._head():
                return int(kept["bytes"]), int(kept["lines"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, 0

    def write(self, end: int, lines: int) -> None:
        """Keep a place; whole or not at all."""
        fresh = self._mark.with_name(self._mark.name + ".new")
        fresh.write_text(json.dumps({"of": self._head(), "bytes": end, "lines": lines}))
        fresh.replace(self._mark)

    def remove(self) -> None:
        """The file is imported."""
        self._mark.unlink(missing_ok=True)

    def _head(self) -> str:
        """A name for the file as it is, and for where it goes: its size, how it begins and how it ends."""
        size = self._file.stat().st_size
        with self._file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(max(0, size - HEAD_BYTES))
            return name(self._into, size, head, stream.read())


def batches(file: Path, start: int, lines: int) -> Iterator[Batch]:
    """The registrations of a file from a place on.

    Raises:
        ConfigurationError: a line is wrong; the text says which.
    """
    with file.open("rb") as stream:
        columns = _columns(stream, file) if file.suffix.lower() == ".csv" else None
        if start:
            stream.seek(start)
        elif columns:
            lines += 1
        batch: list[dict[str, Any]] = []
        size = 0
        for line in stream:
            lines += 1
            if not line.strip():
                continue
            entry = _entry(line, columns, file, lines)
            batch.append(entry)
            size += len(orjson.dumps(entry)) if columns else len(line)
            if len(batch) >= BATCH_ASSETS or size >= BATCH_BYTES:
                yield Batch(batch, stream.tell(), lines)
                batch, size = [], 0
        if batch:
            yield Batch(batch, stream.tell(), lines)


def _entry(line: bytes, columns: list[str] | None, file: Path, number: int) -> dict[str, Any]:
    try:
        entry = _from_csv(line, columns) if columns else orjson.loads(line)
        inlets.check(inlets.Registered, entry)
    except (ValueError, csv.Error) as error:
        what = str(error) if columns else "not JSON"
        raise ConfigurationError(f"{file}:{number}: {what}; nothing of this batch was registered") from None
    except InvalidMessage as error:
        raise ConfigurationError(f"{file}:{number}: {error}; nothing of this batch was registered") from None
    return dict(entry)


def _columns(stream: BinaryIO, file: Path) -> list[str]:
    """The first line of a CSV file: names of fields of a registration, or `attributes.NAME`."""
    try:
        columns = next(csv.reader([stream.readline().decode("utf-8-sig")]), [])
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}:1: not UTF-8") from None
    fields = inlets.Registered.model_fields
    unknown = [each for each in columns if each not in fields and not each.startswith("attributes.")]
    if unknown or "asset" not in columns:
        wrong = f"no field {unknown[0]}" if unknown else "no column asset"
        known = ", ".join(fields)
        raise ConfigurationError(f"{file}:1: {wrong}; the first line names the columns: {known}, attributes.NAME")
    return columns


def _truth(cell: str) -> bool:
    if cell.lower() not in {"true", "false"}:
        raise ValueError("shared is true or false")
    return cell.lower() == "true"


def _from_csv(line: bytes, columns: list[str]) -> dict[str, Any]:
    """A row of one line. Lists are separated by `|`, people are NAMESPACE:ID, empty cells say nothing."""
    rows = list(csv.reader(io.StringIO(line.decode(), newline="")))
    cells = rows[0]
    if len(rows) > 1 or len(cells) != len(columns):
        raise ValueError(f"{sum(map(len, rows))} cells under {len(columns)} columns (a cell may not span lines)")
    entry: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if column == "subjects":
            people = [each.partition(":") for each in cell.split("|")]
            entry[column] = [{"namespace": space, "id": person} for space, _, person in people]
        elif column in LISTS:
            entry[column] = cell.split("|")
        elif column.startswith("attributes."):
            entry.setdefault("attributes", {})[column.removeprefix("attributes.")] = cell
        else:
            entry[column] = _truth(cell) if column == "shared" else cell
    return entry
