"""What stands in a column, as Expunge would have written it: SQLite calls these, so no affinity decides who is meant.

SQLite compares `007` with an INTEGER column as 7, and `55` with an untyped column that holds the integer 55 not at all
(https://www.sqlite.org/datatype3.html, section 4.2). What these return is text, and is compared as text.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from expunge.domain.identity import normalise, versions
from expunge.errors import InvalidMessage

Stored = str | int | float | bytes | None
EVERYTHING = "*"
"""Stands in a restriction column where the restriction is for every purpose."""
FINER = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""A number above the first is a time in nano-, micro- or milliseconds: as seconds it would lie beyond the year 5000."""


def text_of(value: Stored) -> str | None:
    """A stored value as text; None for what no id can be."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, float) and value.is_integer():  # a REAL column writes every integer so
        value = int(value)
    return str(value) if isinstance(value, str | int) else None


def id_of(normaliser: str, value: Stored) -> str | None:
    """The one spelling of a stored id; None for what is none of the namespace's form."""
    text = text_of(value)
    if text is not None and normaliser == "e164" and not isinstance(value, str | bytes):
        text = "+" + text  # a column of numbers has taken the sign for arithmetic
    try:
        return None if text is None else normalise(normaliser, text, versions(normaliser, text)[0])
    except InvalidMessage:
        return None


def seconds_of(value: Stored) -> float | None:
    """A stored time in seconds since 1970: a number of seconds or milliseconds, or ISO 8601; None: it is none.

    Without an offset it is UTC, as SQLite's own functions write it.
    """
    if isinstance(value, int | float):
        return next((value / parts for above, parts in FINER if abs(value) > above), float(value))
    text = text_of(value)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return _number(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    try:
        return seconds_of(float(text))
    except ValueError:
        return None


def marked(written: Stored, case_id: str, purposes: Collection[str]) -> str:
    """A restriction column with more purposes in it; without any it is for all of them.

    Beside each purpose stands `CASE:PURPOSE`, by which the case that restricted it lets go of it again.
    """
    words = set(purposes) or {EVERYTHING}
    return ",".join(sorted(_words(written) | words | {f"{case_id}:{word}" for word in words}))


def unmarked(written: Stored, case_id: str, purposes: Collection[str]) -> str:
    """A restriction column with a case's purposes taken out, but for those that another case has restricted, too."""
    words = set(purposes) or {EVERYTHING}
    left = _words(written) - {f"{case_id}:{word}" for word in words}
    others = {word for each in left for _, colon, word in [each.partition(":")] if colon}
    return ",".join(sorted(left - (words - others)))


def _words(written: Stored) -> set[str]:
    return {*filter(None, (text_of(written) or "").split(","))}
