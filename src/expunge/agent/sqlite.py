"""A ready agent for an SQLite database that answers for people as a holding: it finds their rows itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from expunge.agent.types import Person, Result, Target, done, failed, not_found
from expunge.domain.vocabulary import Action, Claim

CLAIMS = {Action.DELETE: Claim.DELETED, Action.RESTRICT: Claim.RESTRICTED, Action.LIFT: Claim.LIFTED}
EVERYTHING = "*"
"""Stands in a restriction column where the restriction is for every purpose."""


@dataclass(frozen=True, slots=True)
class Table:
    """Where people stand in a table.

    Attributes:
        name: the table.
        namespace: whose ids the column holds.
        column: the column.
        restriction_column: where the purposes for which a row must not be used are written, separated by commas;
            without it the table cannot be restricted.
        ignore_case: whether the column holds ids in any case (e-mail addresses as people typed them).
    """

    name: str
    namespace: str
    column: str
    restriction_column: str | None = None
    ignore_case: bool = False


class Sqlite:
    """Deletes or restricts a person's rows, and lets them go again; says how many it matched and how many it changed.

    `secure_delete` overwrites what is deleted. All tables change in one transaction.
    """

    def __init__(self, database: Path, tables: Iterable[Table]) -> None:
        self._database, self._tables = database, tuple(tables)

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """See `Purger.purge`."""
        return [self._one(target) for target in batch]

    def _one(self, target: Target) -> Result:
        if target.action not in CLAIMS:
            return failed(target, "unsupported_action")
        people = [person for person in target.people if person.id is not None]
        if not people:
            return failed(target, "identity_not_revealed")
        try:
            matched, affected = self._change(target, people)
        except sqlite3.Error:
            return failed(target, "database_error")
        except _NotRestrictable:
            return failed(target, "no_restriction_column")
        claim = CLAIMS[target.action]
        if matched:
            return done(target, claim, matched=matched, affected=affected)
        # Nothing is there now: either nothing ever was, or the try before this one deleted it and died.
        return done(target, claim) if target.interrupted else not_found(target, matched=0, affected=0)

    def _change(self, target: Target, people: Sequence[Person]) -> tuple[int, int]:
        matched = affected = 0
        uri = f"{self._database.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=30)
        try:
            connection.execute("pragma secure_delete = on")
            with connection:
                for person in people:
                    for table in self._tables:
                        if table.namespace == person.namespace:
                            found, changed = _rows(connection, table, person, target)
                            matched, affected = matched + found, affected + changed
        finally:
            connection.close()
        return matched, affected


class _NotRestrictable(Exception):
    """A table holds rows of the person and has no restriction column."""


def _rows(connection: sqlite3.Connection, table: Table, person: Person, target: Target) -> tuple[int, int]:
    name, column = _quoted(table.name), _quoted(table.column)
    spellings = (person.id, person.given or person.id)
    where = f"{column}{' collate nocase' if table.ignore_case else ''} in (?, ?)"
    # The names are the operator's, quoted; what a request says is only ever a parameter.
    count = f"select count(*) from {name} where {where}"  # noqa: S608 - see above
    (matched,) = connection.execute(count, spellings).fetchone()
    if not matched:
        return 0, 0
    if target.action is Action.DELETE:
        delete = f"delete from {name} where {where}"  # noqa: S608 - see above
        return matched, connection.execute(delete, spellings).rowcount
    if table.restriction_column is None:
        raise _NotRestrictable
    mark = _quoted(table.restriction_column)
    select = f"select rowid, {mark} from {name} where {where}"  # noqa: S608 - see above
    update = f"update {name} set {mark} = ? where rowid = ?"  # noqa: S608 - see above
    affected = 0
    for rowid, known in connection.execute(select, spellings).fetchall():
        said, written = {*target.purposes} or {EVERYTHING}, {*filter(None, str(known or "").split(","))}
        purposes = sorted(written | said if target.action is Action.RESTRICT else written - said)
        affected += connection.execute(update, (",".join(purposes), rowid)).rowcount
    return matched, affected


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
