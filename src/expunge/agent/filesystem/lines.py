"""JSON Lines (https://jsonlines.org) without the lines that name what must be left out; the others byte for byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from expunge.agent.types import Target

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a line name something, wherever in the line they stand.

    Attributes:
        people: hold a person's handle in this system (`ref` of the registration), or their id where it is revealed.
        assets: hold the id of an asset.
        data_sources: hold the name of a data source.
    """

    people: frozenset[str] = frozenset({"ref"})
    assets: frozenset[str] = frozenset({"asset"})
    data_sources: frozenset[str] = frozenset({"data_source"})

    def named(self, target: Target) -> dict[str, frozenset[str]]:
        """By field, the values whose lines a command leaves out."""
        people = frozenset(word for each in target.people for word in (each.ref, each.id, each.given) if word)
        meant = (
            (self.people, people),
            (self.assets, target.excluded_assets),
            (self.data_sources, target.excluded_data_sources),
        )
        found: dict[str, frozenset[str]] = {}
        for fields, values in meant:
            for field in fields if values else ():
                found[field] = found.get(field, frozenset()) | values
        return found


class Left(NamedTuple):
    """What was left out, and what is left."""

    dropped: int
    digest: str


class Keeps(Protocol):
    """Where lines are kept."""

    def write(self, data: bytes, /) -> int:
        """Keep some bytes."""


def without(lines: Iterable[bytes], named: dict[str, frozenset[str]], keep: Keeps) -> Left:
    """Write lines that name nothing of what is to be left out.

    Args:
        lines: with their ends, as they stand.
        named: by field, the values to leave out.
        keep: for the others.

    Raises:
        ValueError: a line is not a JSON object, so nobody can say whom it names.
    """
    dropped, digest = 0, hashlib.sha256()
    for number, line in enumerate(lines):
        text = line.removeprefix(_MARK) if number == 0 else line
        if text.strip() and _names(_parsed(text), named):
            dropped += 1
            line = line[: len(line) - len(text)]  # noqa: PLW2901 - of the first line its mark stays
        keep.write(line)
        digest.update(line)
    return Left(dropped, digest.hexdigest())


def _parsed(line: bytes) -> list[tuple[str, Any]]:
    """The fields of a line, of those with one name all: whichever a reader takes, it is looked at."""
    found = json.loads(line.decode(), object_pairs_hook=_Pairs)
    if not isinstance(found, _Pairs):
        raise ValueError("a line that is no object")  # noqa: TRY004 - as unreadable as one that is no JSON
    return found


class _Pairs(list[tuple[str, Any]]):
    """An object's fields in order."""


def _names(fields: list[tuple[str, Any]], named: dict[str, frozenset[str]]) -> bool:
    return any(not named[field].isdisjoint(_words(value)) for field, value in _fields(fields) if field in named)


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Every field at any depth, with its value."""
    if isinstance(value, _Pairs):
        for field, inner in value:
            yield field, inner
            yield from _fields(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner)


def _words(value: Any) -> Iterator[str]:
    """The texts and numbers that a value is, or holds."""
    if isinstance(value, _Pairs):
        for _, inner in value:
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
