"""Deletes and restricts a person's rows, and says of them only what is true of the files, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from expunge.adapters.system import SystemClock
from expunge.agent.sqlite import remains, values
from expunge.agent.sqlite.tables import NoTenant, Rows, Table, check, wrong
from expunge.agent.types import Person, Result, Target, done, failed, later, not_found
from expunge.domain.vocabulary import Action, Claim

CLAIMS = {Action.DELETE: Claim.DELETED, Action.RESTRICT: Claim.RESTRICTED, Action.LIFT: Claim.LIFTED}
BUSY_SECONDS = 30.0
SHORT_SECONDS = 1.0
"""How long a lock is waited for where nothing new is to be cut off."""
SETTINGS = ("foreign_keys = on", "secure_delete = on", "journal_size_limit = 0")
LOOK_AGAIN = timedelta(seconds=15)
"""When to try again to cut a log that somebody keeps open."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Changed:
    """What was done for one target."""

    matched: int
    affected: int


class _NotRestrictable(Exception):
    """A table holds rows of the person and has no restriction column."""


class Sqlite:
    """Deletes or restricts a person's rows, and lets them go again; says how many it matched and how many it changed.

    All tables change in one transaction, with foreign keys in force. What was deleted counts when its bytes are gone:
    while another connection keeps the write-ahead log, the answer is `later`.

    Args:
        database: the file, which must be there.
        tables: where people stand in it.

    Raises:
        ConfigurationError: a table or a column is not there.
    """

    ACTIONS = frozenset(CLAIMS)

    def __init__(self, database: Path, tables: Iterable[Table]) -> None:
        self._database, self._tables, self._clock = database, tuple(tables), SystemClock()
        self.busy_seconds = BUSY_SECONDS
        """For so long a lock is waited for."""
        self._unsettled: dict[str, _Changed] = {}
        """What was deleted and may still be read in the log, by the target's key."""
        self._log_is_cut = False
        """Whether nothing of what was deleted is left there: at its start, an agent does not know what died before."""
        if database.is_file():
            with self._connected() as connection:
                check(connection, self._tables)
        for table in self._tables:
            if table.time_column is None:
                text = "no time_column: rows are purged however new they are"
                log.warning(text, table=table.name)

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """See `Purger.purge`."""
        answered: list[tuple[Target, Result | _Changed]] = []
        for target in batch:
            busy = answered and _is_busy(answered[-1][1])  # for so long as somebody keeps the lock, once is enough
            answered.append((target, failed(target, BUSY, untouched=True) if busy else self._one(target)))
        erases = any(isinstance(each, _Changed) and _erases(target, each) for target, each in answered)
        if erases or not self._log_is_cut:
            self._log_is_cut = self._is_gone(self.busy_seconds if erases else min(self.busy_seconds, SHORT_SECONDS))
        return [self._counted(target, each) if isinstance(each, _Changed) else each for target, each in answered]

    def withdraw(self, command_id: str) -> None:
        """See `Withdrawable`: what was done stays done, and nothing of it is awaited any more."""
        for key in [key for key in self._unsettled if key.startswith(command_id)]:
            del self._unsettled[key]

    def _one(self, target: Target) -> Result | _Changed:
        """The answer for a target, or what was changed for it."""
        if target.action not in CLAIMS:
            return failed(target, "unsupported_action", untouched=True)
        known = [person for person in target.people if person.id is not None]
        if not known or any(is_unsearched(each, self._tables) for each in target.people):
            return failed(target, "identity_not_revealed", untouched=True)
        people = list({(each.namespace, each.id, each.tenant): each for each in known}.values())
        try:
            return self._change(target, people)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", None) or type(error).__name__
            log.error("the database refuses", error=code)
            return failed(target, code.lower(), untouched=True)
        except _NotRestrictable:
            return failed(target, "no_restriction_column", untouched=True)
        except NoTenant:
            return failed(target, "tenant_not_named", untouched=True)

    def _change(self, target: Target, people: Sequence[Person]) -> Result | _Changed:
        with self._connected() as connection:
            connection.execute("begin immediate")
            connection.execute("pragma defer_foreign_keys = on")  # tables are declared in no order
            try:
                if why := wrong(connection, self._tables):
                    log.error("the database has changed", why=why)
                    return failed(target, "schema_changed", untouched=True)
                changed = self._changed(connection, target, people)
                if changed.affected and target.action is Action.DELETE:
                    remains.merge_indexes(connection)
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")
        return changed

    def _changed(self, connection: sqlite3.Connection, target: Target, people: Sequence[Person]) -> _Changed:
        matched = affected = 0
        for person in people:
            for table in self._tables:
                if table.namespace == person.namespace:
                    rows = Rows(connection, table, person, target, self._clock.now())
                    found = rows.count()
                    matched, affected = matched + found, affected + (_act(rows, table, target, found) if found else 0)
        return _Changed(matched, affected)

    def _is_gone(self, seconds: float) -> bool:
        """Whether what was deleted is gone from the log; a database that does not say so in time has it still."""
        try:
            with self._connected(seconds) as connection:
                return remains.cut_log(connection)
        except sqlite3.Error as error:
            log.error("the log was not cut", error=getattr(error, "sqlite_errorname", type(error).__name__))
            return False

    def _counted(self, target: Target, changed: _Changed) -> Result:
        """The claim that the numbers bear.

        While the log may still hold what this agent has deleted, nobody's rows are called absent, either.
        """
        before = self._unsettled.pop(target.key, _Changed(0, 0))
        total = _Changed(before.matched + changed.matched, before.affected + changed.affected)
        if target.action is Action.DELETE and not self._log_is_cut:
            self._unsettled[target.key] = total
            return later(target, self._clock.now() + LOOK_AGAIN)
        claim = CLAIMS[target.action]
        if total.matched:
            return done(target, claim, matched=total.matched, affected=total.affected)
        # Nothing is there now: either nothing ever was, or the try before this one deleted it and died.
        return done(target, claim) if target.interrupted else not_found(target, matched=0, affected=0)

    @contextmanager
    def _connected(self, seconds: float | None = None) -> Iterator[sqlite3.Connection]:
        uri = f"{self._database.absolute().as_uri()}?mode=rw"
        patience = self.busy_seconds if seconds is None else seconds
        connection = sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None)
        try:
            for setting in SETTINGS:
                connection.execute(f"pragma {setting}")
            register(connection)
            yield connection
        finally:
            connection.close()


BUSY = "sqlite_busy"


def is_unsearched(person: Person, tables: Sequence[Table]) -> bool:
    """Whether somebody could not be looked for by an id that tables may be searched by."""
    searched = person.namespace == "" or person.namespace in {table.namespace for table in tables}
    return person.closed or (person.id is None and searched)


def _is_busy(answer: Result | _Changed) -> bool:
    return isinstance(answer, Result) and answer.fields.get("reason_code") == BUSY


def _erases(target: Target, changed: _Changed) -> bool:
    """Whether something was deleted of which the log may hold a copy: by this try, or by one that was cut off."""
    return target.action is Action.DELETE and bool(changed.affected or target.interrupted)


def _act(rows: Rows, table: Table, target: Target, found: int) -> int:
    """Change what was found; of how much of it that is true by now, whatever triggers made of it."""
    if target.action is Action.DELETE:
        rows.delete()
        return found - rows.count()
    if table.restriction_column is None:
        raise _NotRestrictable
    return rows.mark(target.case_id, ",".join(sorted(target.purposes)), restrict=target.action is Action.RESTRICT)


def register(connection: sqlite3.Connection) -> None:
    """The functions with which statements read what stands in columns."""
    functions: dict[str, tuple[int, Callable[..., str | float | None]]] = {
        "expunge_id": (2, values.id_of),
        "expunge_text": (1, values.text_of),
        "expunge_seconds": (1, values.seconds_of),
        "expunge_marked": (3, lambda written, case, purposes: values.marked(written, case, _split(purposes))),
        "expunge_unmarked": (3, lambda written, case, purposes: values.unmarked(written, case, _split(purposes))),
    }
    for name, (arguments, function) in functions.items():
        connection.create_function(name, arguments, function, deterministic=True)


def _split(purposes: str) -> list[str]:
    return [each for each in purposes.split(",") if each]
