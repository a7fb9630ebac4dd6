"""Where people stand in a database, and the statements about their rows.

SQLite reads a quoted name that it does not know as a string (https://www.sqlite.org/quirks.html, section 8): a misspelt
column would make everybody `not_found`, or everybody meant. So every name is looked up, and qualified by its table.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from expunge.agent.types import Person, Target
from expunge.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Table:
    """Where people stand in a table or a view.

    Attributes:
        name: the table.
        namespace: whose ids the column holds.
        column: the column.
        restriction_column: where the purposes for which a row must not be used are written, separated by commas;
            without it the table cannot be restricted.
        normaliser: of the namespace: how Expunge spells its ids (`exact`, `email`, ...).
        normalised: whether the column holds that spelling already, so that an index on it can be used.
        tenant_column: where the tenant of the row stands, in a table of several tenants.
        time_column: when the row was collected; what is newer than a request reaches stays.
    """

    name: str
    namespace: str
    column: str
    restriction_column: str | None = None
    normaliser: str = "exact"
    normalised: bool = False
    tenant_column: str | None = None
    time_column: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is named."""
        return tuple(filter(None, (self.column, self.restriction_column, self.tenant_column, self.time_column)))


A_DAY = 86_400


class NoTenant(Exception):
    """The table holds several tenants' people, and the command does not say whose the person is."""


def wrong(connection: sqlite3.Connection, tables: tuple[Table, ...]) -> str:
    """What of the tables is not in the database as declared, for people; empty where all is."""
    for table in tables:
        found = connection.execute("select name, lower(type), sql from sqlite_master where name = ?", (table.name,))
        row = found.fetchone()
        if row is None or row[1] not in ("table", "view"):
            return f"there is no table {table.name}"
        if is_index_of_words(row[2]):
            return f"{table.name} is a full-text index: declare the table that it is made from"
        known = {each[1] for each in connection.execute(f"pragma main.table_xinfo({quoted(table.name)})")}
        for column in table.columns:
            if column not in known:
                return f"table {table.name} has no column {column}"
    return ""


def is_index_of_words(statement: str | None) -> bool:
    """Whether a table is made by a full-text module."""
    return re.search(r"using\s+[\"'\[`]?fts[345]", statement or "", re.IGNORECASE) is not None


def check(connection: sqlite3.Connection, tables: tuple[Table, ...]) -> None:
    """Refuse tables that are not there as declared.

    Raises:
        ConfigurationError: what is wrong.
    """
    if found := wrong(connection, tables):
        raise ConfigurationError(f"sqlite agent: {found}")


class Rows:
    """One person's rows in one table, as far as a command reaches.

    What a request says is only ever a parameter; names are the operator's, looked up, quoted and qualified.
    """

    def __init__(
        self, connection: sqlite3.Connection, table: Table, person: Person, target: Target, now: datetime
    ) -> None:
        self._connection, self._table = connection, table
        self._values: dict[str, Any] = {"id": person.id, "normaliser": table.normaliser}
        same = f"expunge_id(:normaliser, {self._of(table.column)}) = :id"
        if table.normalised:  # the index finds them, and the function looks once more, without affinity
            self._values["number"] = int(person.id or "") if _is_number(person.id) else person.id
            same = f"{self._of(table.column)} in (:id, :number) and {same}"
        conditions = [same]
        if table.tenant_column is not None:
            if person.tenant is None:
                raise NoTenant
            self._values["tenant"] = person.tenant
            conditions.append(f"expunge_text({self._of(table.tenant_column)}) = :tenant")
        if table.time_column is not None and target.collected_until is not None:
            self._values |= {"until": target.collected_until.timestamp(), "now": now.timestamp() + A_DAY}
            # What bears no time, none that can be read, or one that lies ahead, is within reach: it may be any age.
            when = f"coalesce(expunge_seconds({self._of(table.time_column)}), 0)"
            conditions.append(f"({when} <= :until or {when} > :now)")
        self._where = " and ".join(conditions)

    def _of(self, column: str) -> str:
        return f"{quoted(self._table.name)}.{quoted(column)}"  # no alias: views are not deleted from by one

    @property
    def _from(self) -> str:
        return f"main.{quoted(self._table.name)}"

    def count(self, condition: str = "", **values: Any) -> int:
        """How many there are, of which a further condition holds."""
        where = f"{self._where} and {condition}" if condition else self._where
        query = f"select count(*) from {self._from} where {where}"  # noqa: S608 - see the class
        (number,) = self._connection.execute(query, self._values | values).fetchone()
        return int(number)

    def delete(self) -> None:
        """Delete them."""
        self._connection.execute(f"delete from {self._from} where {self._where}", self._values)  # noqa: S608 - see the class

    def mark(self, case_id: str, purposes: str, *, restrict: bool) -> int:
        """Write a case's purposes into the restriction column, or take them out; of how many rows that is true by now.

        The look afterwards says what stands there, and not what a trigger was told to write.
        """
        column = quoted(self._table.restriction_column or "")
        written = self._of(self._table.restriction_column or "")
        function = "expunge_marked" if restrict else "expunge_unmarked"
        update = f"update {self._from} set {column} = {function}({written}, :case, :purposes) where {self._where}"  # noqa: S608 - see the class
        values = {"case": case_id, "purposes": purposes}
        self._connection.execute(update, self._values | values)
        return self.count(f"coalesce({written}, '') = {function}({written}, :case, :purposes)", **values)


def _is_number(text: str | None) -> bool:
    """Whether an integer column may hold an id: one that is spelled as SQLite would write it."""
    return bool(text) and re.fullmatch(r"0|-?[1-9][0-9]{0,18}", str(text)) is not None and abs(int(str(text))) < 2**63


def quoted(name: str) -> str:
    """A name as SQLite reads it whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
