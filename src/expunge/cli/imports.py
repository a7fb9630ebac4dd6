"""Registrations from files: JSON Lines or CSV, in batches, through Kafka, resumable.

Every line is checked as the indexer will check it before anything is published. How far a file has come is kept beside
it, and removed at the end; sending a batch twice does no harm, for the same batch is the same event.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from expunge.domain.admission import registrations
from expunge.domain.admission.door import Door
from expunge.domain.digest import name
from expunge.domain.events import DuplicateKey, loaded
from expunge.domain.vocabulary import Kind
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.wire.registrations import HoldingDeclared, Registered

HEAD_BYTES = 65_536
ONE_PERSON = " = "
"""Between several ids of one person in a cell."""
LISTS = frozenset({"parents", "subjects", "data_sources", "purposes", "categories", "aliases", "namespaces"})


class Batch(NamedTuple):
    """Registrations that go into one message, and where in the file they end."""

    assets: list[dict[str, Any]]
    end: int
    lines: int


class ListRow(NamedTuple):
    """A line of a file."""

    line: int
    end: int
    """Where it ends, in bytes."""
    entry: dict[str, Any] | None
    """What it registers; None where it cannot be read."""
    wrong: str
    """Why not."""
    raw: bytes

    def __repr__(self) -> str:
        return f"Row({self.line})"


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


def rows(file: Path, start: int = 0, lines: int = 0) -> Iterator[ListRow]:
    """The lines of a file from a place on, but for empty ones; what cannot be read says why.

    Raises:
        ConfigurationError: the columns of a CSV file are wrong, so no line of it can be read.
    """
    with file.open("rb") as stream:
        columns = _columns(stream, file) if file.suffix.lower() == ".csv" else None
        if start:
            stream.seek(start)
        elif columns:
            lines += 1
        for line in stream:
            lines += 1
            if line.strip():
                yield _row(line, columns, lines, stream.tell())


def _row(line: bytes, columns: list[str] | None, number: int, end: int) -> ListRow:
    try:
        entry = _from_csv(line, columns) if columns else loaded(line)
    except (ValueError, csv.Error) as error:
        wrong = str(error) if columns or isinstance(error, DuplicateKey) else "not JSON"
        return ListRow(number, end, None, wrong, line)
    return (
        ListRow(number, end, entry, "", line)
        if isinstance(entry, dict)
        else ListRow(number, end, None, "no object", line)
    )


def problem(door: Door, row: ListRow, now: datetime) -> str:
    """What is wrong with a line, by field; empty where Expunge would take it.

    A file is somebody's inventory: a field that no registration has is a mistake, though topics pass it over.
    """
    if row.entry is None:
        return row.wrong
    model = HoldingDeclared if "holding" in row.entry else Registered
    unknown = next((each for each in row.entry if each not in model.model_fields), None)
    if unknown is not None:
        return f"unknown_field: {unknown if unknown.isidentifier() else 'a name that is none'}"
    try:
        registrations.weight(row.entry)
        registrations.check(door, model, row.entry, now)
    except InvalidMessage as error:
        where = error.where.removeprefix("data.")
        known = f" (one of {', '.join(Kind)})" if (error.reason, where) == ("bad_field", "kind") else ""
        return f"{error.reason}: {where}{known}" if where else error.reason
    return ""


def problems(door: Door, file: Path, now: datetime) -> Iterator[tuple[ListRow, str]]:
    """Every line of a file that Expunge would not take, and why."""
    for row in rows(file, 0, 0):
        if why := problem(door, row, now):
            yield row, why


def batches(file: Path, start: int, lines: int, leave_out: Container[int] = ()) -> Iterator[Batch]:
    """What a file registers from a place on, in batches for one message each; a holding stands alone.

    Args:
        file: which has been looked at before.
        start: how many bytes of it are imported.
        lines: and how many lines.
        leave_out: lines that are wrong.
    """
    batch, filling = Batch([], start, lines), registrations.Filling()
    for row in rows(file, start, lines):
        if row.entry is None or row.line in leave_out:
            continue
        if "holding" in row.entry:
            if batch.assets:
                yield batch
            yield Batch([row.entry], row.end, row.line)
            batch, filling = Batch([], row.end, row.line), registrations.Filling()
            continue
        if filling.begins(row.entry) and batch.assets:
            yield batch
            batch = Batch([], row.end, row.line)
        batch.assets.append(row.entry)
        batch = batch._replace(end=row.end, lines=row.line)
    if batch.assets:
        yield batch


def _columns(stream: BinaryIO, file: Path) -> list[str]:
    """The first line of a CSV file: names of fields of a registration, or `attributes.NAME`."""
    try:
        columns = next(csv.reader([stream.readline().decode("utf-8-sig")]), [])
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}:1: not UTF-8") from None
    except csv.Error as error:
        raise ConfigurationError(f"{file}:1: not CSV: {error}") from None
    holdings = "holding" in columns
    fields = (HoldingDeclared if holdings else Registered).model_fields
    unknown = [each for each in columns if each not in fields and not (each.startswith("attributes.") and not holdings)]
    if unknown or not ({"asset", "holding"} & set(columns)) or len(set(columns)) < len(columns):
        wrong = f"no field {unknown[0]}" if unknown else "no column asset or holding, or one of them twice"
        known = ", ".join(fields)
        raise ConfigurationError(f"{file}:1: {wrong}; the first line names the columns: {known}, attributes.NAME")
    return columns


def _ids(person: str, number: int) -> list[dict[str, str]]:
    ids = [each.partition(":") for each in person.split(ONE_PERSON)]
    label = {"person": str(number)} if len(ids) > 1 else {}
    return [{"namespace": space, "id": text} | label for space, _, text in ids]


def _truth(cell: str) -> bool:
    if cell.lower() not in {"true", "false"}:
        raise ValueError("shared is true or false")
    return cell.lower() == "true"


def _from_csv(line: bytes, columns: list[str]) -> dict[str, Any]:
    """A row of one line. Lists are separated by `|`, people are NAMESPACE:ID, empty cells say nothing.

    Several ids of one person are joined by ` = `.
    """
    rows = list(csv.reader(io.StringIO(line.decode(), newline="")))
    cells = rows[0]
    if len(rows) > 1 or len(cells) != len(columns):
        raise ValueError(f"{sum(map(len, rows))} cells under {len(columns)} columns (a cell may not span lines)")
    entry: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if column == "subjects":
            entry[column] = [each for number, person in enumerate(cell.split("|")) for each in _ids(person, number)]
        elif column in LISTS:
            entry[column] = cell.split("|")
        elif column.startswith("attributes."):
            entry.setdefault("attributes", {})[column.removeprefix("attributes.")] = cell
        else:
            entry[column] = _truth(cell) if column == "shared" else cell
    return entry
