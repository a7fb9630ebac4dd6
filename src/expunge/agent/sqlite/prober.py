"""Looks whether rows of a person are in an SQLite database, and changes nothing: see `agent.probing`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from expunge.adapters.system import SystemClock
from expunge.agent.probing import Seen, absent, found, unknown
from expunge.agent.sqlite.agent import is_unsearched, register
from expunge.agent.sqlite.tables import NoTenant, Rows, Table, wrong
from expunge.agent.types import Target

BUSY_SECONDS = 5.0


class SqliteProber:
    """Sees whether rows of a person are there, in tables that are as they were declared.

    The database is opened for reading alone (https://www.sqlite.org/uri.html, `mode=ro`), once for a batch.

    Args:
        database: the file.
        tables: where people stand in it.
    """

    def __init__(self, database: Path, tables: Iterable[Table]) -> None:
        self._database, self._tables, self._clock = database, tuple(tables), SystemClock()

    def probe(self, batch: Sequence[Target]) -> list[Seen]:
        """See `Prober.probe`."""
        try:
            with self._connected() as connection:
                if wrong(connection, self._tables):
                    return [unknown(target, "schema_changed") for target in batch]
                return [self._seen(connection, target) for target in batch]
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorname", None) or type(error).__name__).lower()
            return [unknown(target, code) for target in batch]

    def _seen(self, connection: sqlite3.Connection, target: Target) -> Seen:
        known = [person for person in target.people if person.id is not None]
        if not known or any(is_unsearched(each, self._tables) for each in target.people):
            return unknown(target, "identity_not_revealed")
        pairs = [(t, person) for person in known for t in self._tables if t.namespace == person.namespace]
        if not pairs:
            return unknown(target, "nothing_to_search")
        now = self._clock.now()
        try:
            there = any(Rows(connection, table, person, target, now).count() for table, person in pairs)
        except NoTenant:
            return unknown(target, "tenant_not_named")
        return found(target) if there else absent(target)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._database.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("pragma query_only = on")
            register(connection)
            connection.execute("begin")  # all of it is seen as it was at one moment
            yield connection
        finally:
            connection.close()
