"""What an agent remembers, in SQLite: answers, effects, what goes on later, and the receipts' numbers.

An answer is for its own command: any other command is looked at again. Only two things are carried from one to the
next, both by a target's identity: that this agent has deleted it, and that a try of it was cut off with its outcome
unknown. A try that failed without effect leaves nothing, and so does one that found nothing. When the case of a command
is forgotten, all of that goes, but that it was withdrawn.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from expunge.adapters.system import refuse_if_readable
from expunge.agent.commands import Command
from expunge.agent.types import Result, Target
from expunge.domain.backoff import doubled
from expunge.domain.digest import hidden
from expunge.domain.vocabulary import Claim
from expunge.errors import ConfigurationError

_SCHEMA = """
create table if not exists answered (command text, identity text, result text not null, final integer not null,
    attempt integer not null, primary key (command, identity)) without rowid;
create table if not exists deleted (identity text primary key) without rowid;
create table if not exists cut_off (identity text primary key) without rowid;
create table if not exists under_way (command text, identity text, asset text not null, unknown integer not null,
    primary key (command, identity)) without rowid;
create index if not exists under_way_by_identity on under_way (identity);
create table if not exists withdrawn (command text primary key) without rowid;
create table if not exists going_on (command text, identity text, due real not null, raw text not null,
    tries integer not null, reason text not null, alone integer not null, primary key (command, identity));
create index if not exists going_on_by_due on going_on (due);
create table if not exists receipts (command text, attempt integer, sequence integer, primary key (command, attempt));
"""
_UPGRADE = {
    "answers": (
        "insert or ignore into answered select command, identity, result, final, 1 from answers",
        (
            "insert or ignore into deleted select identity from answers "
            "where final = 1 and json_extract(result, '$.claim') in ('deleted', 'key_destroyed')"
        ),
        "drop table answers",
    ),
    "started": (
        "insert or ignore into cut_off select identity from started",
        "insert or ignore into under_way select command, identity, asset, 1 from started",
        "drop table started",
    ),
    "begun": (
        "insert or ignore into cut_off select identity from begun",
        "insert or ignore into under_way select command, identity, asset, 1 from begun",
        "drop table begun",
    ),
    "pending": (
        (
            "insert or ignore into going_on "
            "select json_extract(command, '$.data.command_id'), identity, due, command, 0, '', 0 from pending"
        ),
        "drop table pending",
    ),
}
"""By table of an earlier build, which remembered by target alone, or the last command of a target only."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 600.0
"""Between tries of what raised an exception: each wait is twice the one before."""


class Waiting(NamedTuple):
    """Something of a target goes on later."""

    due: float
    """In seconds since 1970."""
    reason: str
    """Why it failed the last time; empty where its purger has asked for time."""
    tries: int
    alone: bool
    """Whether it raised when it was purged alone, so that it is a culprit."""


class Trouble(NamedTuple):
    """A target in whose purge something was raised."""

    target: Target
    reason: str
    alone: bool

    def __repr__(self) -> str:
        return hidden(self)


class Memory:
    """One file for one agent process, readable by its owner alone; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        _only_for_its_owner(path)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full; pragma secure_delete = on;")
        with self._transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            found = {row[0] for row in self._db.execute("select name from sqlite_master where type = 'table'")}
            for table, statements in _UPGRADE.items():
                for statement in statements if table in found else ():
                    self._db.execute(statement)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def answers(self, targets: Iterable[Target]) -> dict[str, dict[str, Any]]:
        """Final answers to the targets' own commands, by `Target.key`."""
        found: dict[str, dict[str, Any]] = {}
        query = "select result from answered where command = ? and identity = ? and final = 1"
        for target in targets:
            row = self._db.execute(query, (target.command_id, target.identity)).fetchone()
            if row:
                found[target.key] = json.loads(row[0])
        return found

    def hear(self, command: Command) -> None:
        """A command has come (again).

        Answers of earlier attempts that did not count are forgotten, for they are done again; one that was given to
        this very attempt stands, however often it is read. What goes on later answers the latest attempt; what that
        names no more goes on no longer.
        """
        with self._transaction():
            for target in command.refused:
                row = (target.command_id, target.identity, command.attempt)
                self._db.execute("delete from answered where command = ? and identity = ? and attempt < ?", row)
            named = {target.identity for target in command.targets}
            whole = not (command.malformed or command.unsupported)
            query = "select identity from going_on where command = ?"
            for (identity,) in self._db.execute(query, (command.command_id,)).fetchall():
                one = (command.command_id, identity)
                if identity in named:
                    update = "update going_on set raw = ? where command = ? and identity = ?"
                    self._db.execute(update, (command.raw, *one))
                elif whole:  # else it cannot be read whole, and what was promised goes on by the command before
                    self._db.execute("delete from going_on where command = ? and identity = ?", one)

    def begin(self, targets: Sequence[Target]) -> Mapping[str, bool]:
        """Note that a purge begins, in one transaction with the look whether its command was withdrawn.

        Returns:
            By `Target.key`, of what was not withdrawn: whether what is missing is gone by an earlier try.
        """
        wanted: dict[str, bool] = {}
        with self._transaction():
            for target in targets:
                if self.is_withdrawn(target.command_id):
                    continue
                wanted[target.key] = self._may_be_gone(target.identity)
                row = (target.command_id, target.identity, target.asset)
                self._db.execute("insert or ignore into under_way values (?, ?, ?, 0)", row)
        return wanted

    def _may_be_gone(self, identity: str) -> bool:
        """Whether an earlier try, for any command, has deleted a target, or was cut off with its outcome unknown."""
        one = (identity,)
        died = "insert or ignore into cut_off select identity from under_way where identity = ? and unknown = 0"
        self._db.execute(died, one)
        self._db.execute("update under_way set unknown = 1 where identity = ?", one)
        query = "select 1 from cut_off where identity = ?1 union select 1 from deleted where identity = ?1"
        return self._db.execute(query, one).fetchone() is not None

    def keep(self, results: Sequence[Result], raw: Mapping[str, str]) -> None:
        """Keep answers, before their receipts are sent; `raw` are the commands as they came, for what goes on later."""
        with self._transaction():
            for result in results:
                target = result.target
                self._end_try(result)
                if result.expected_by is not None:
                    row = (target.command_id, target.identity, result.expected_by.timestamp(), raw[target.command_id])
                    self._db.execute("insert or replace into going_on values (?, ?, ?, ?, 0, '', 0)", row)
                    continue
                one = (target.command_id, target.identity)
                self._db.execute("delete from going_on where command = ? and identity = ?", one)
                answer = (*one, json.dumps(result.wire()), int(result.final), target.attempt)
                self._db.execute("insert or replace into answered values (?, ?, ?, ?, ?)", answer)

    def _end_try(self, result: Result) -> None:
        """What a try leaves behind for the next one."""
        target, one = result.target, (result.target.identity,)
        mine = (target.command_id, target.identity)
        if result.expected_by is not None or (result.claim is Claim.FAILED and not result.untouched):
            self._cut_off(target)
        elif result.untouched:
            self._db.execute("delete from under_way where command = ? and identity = ? and unknown = 0", mine)
        else:
            self._db.execute("delete from under_way where command = ? and identity = ?", mine)
            self._db.execute("delete from cut_off where identity = ?", one)
            if result.erased:
                self._db.execute("insert or ignore into deleted values (?)", one)

    def _cut_off(self, target: Target) -> None:
        mine = (target.command_id, target.identity)
        self._db.execute("update under_way set unknown = 1 where command = ? and identity = ?", mine)
        self._db.execute("insert or ignore into cut_off values (?)", (target.identity,))

    def trouble(self, troubles: Sequence[Trouble], raw: Mapping[str, str], now: datetime) -> None:
        """Keep what was raised: the targets come again after waits that grow."""
        with self._transaction():
            for target, reason, alone in troubles:
                waited = self.waits(target)
                tries = waited.tries if waited else 0
                due = now.timestamp() + doubled(FIRST_WAIT_SECONDS, tries, LONGEST_WAIT_SECONDS)
                self._cut_off(target)
                row = (target.command_id, target.identity, due, raw[target.command_id], tries + 1, reason, int(alone))
                self._db.execute("insert or replace into going_on values (?, ?, ?, ?, ?, ?, ?)", row)

    def postpone(self, targets: Sequence[Target], reason: str, raw: Mapping[str, str], now: datetime) -> None:
        """Keep targets that were not tried, for their system is down: they come before what was tried."""
        with self._transaction():
            for target in targets:
                row = (target.command_id, target.identity, now.timestamp(), raw[target.command_id], reason)
                self._db.execute(
                    "insert into going_on values (?, ?, ?, ?, 0, ?, 0) on conflict (command, identity) do nothing", row
                )

    def withdraw(self, command: str) -> None:
        """Never carry out a command again: remembered for good, and what it was to do later is forgotten."""
        with self._transaction():
            self._db.execute("insert or ignore into withdrawn values (?)", (command,))
            self._db.execute("delete from going_on where command = ?", (command,))

    def forget(self, commands: Iterable[str]) -> None:
        """Nothing is known any more of commands whose case is forgotten, but that some were withdrawn."""
        with self._transaction():
            for one in ((each,) for each in commands):
                query = "select identity from answered where command = ?1 union select identity from under_way "
                targets = self._db.execute(query + "where command = ?1", one).fetchall()
                for table in ("deleted", "cut_off"):
                    self._db.executemany(f"delete from {table} where identity = ?", targets)  # noqa: S608 - two names
                for table in ("answered", "under_way", "going_on", "receipts"):
                    self._db.execute(f"delete from {table} where command = ?", one)  # noqa: S608 - four names
        self._db.execute("pragma wal_checkpoint(truncate)").fetchone()  # what was written stands in its log, too

    def is_withdrawn(self, command: str) -> bool:
        """Whether a command was withdrawn."""
        return self._db.execute("select 1 from withdrawn where command = ?", (command,)).fetchone() is not None

    def done_for(self, command: str) -> list[dict[str, Any]]:
        """What was answered finally for a command, and a failure for each target that a purge had begun and not ended.

        Of those nobody knows whether they are gone; to call them untouched would be false.
        """
        query = "select result from answered where command = ? and final = 1"
        answered = [json.loads(row[0]) for row in self._db.execute(query, (command,))]
        known = {result["asset"] for result in answered}
        query = "select asset from under_way where command = ?"
        begun = {row[0] for row in self._db.execute(query, (command,))} - known
        unknown = {"claim": Claim.FAILED, "reason_code": "interrupted"}
        return answered + [{"asset": asset} | unknown for asset in sorted(begun)]

    def due(self, now: datetime) -> list[str]:
        """Commands, as they came, of which something goes on now."""
        query = "select distinct raw from going_on where due <= ?"
        return [row[0] for row in self._db.execute(query, (now.timestamp(),))]

    def waits(self, target: Target) -> Waiting | None:
        """What goes on later of a target; None: nothing does."""
        query = "select due, reason, tries, alone from going_on where command = ? and identity = ?"
        row = self._db.execute(query, (target.command_id, target.identity)).fetchone()
        return Waiting(float(row[0]), row[1], row[2], bool(row[3])) if row else None

    def next_sequence(self, command: str, attempt: int) -> int:
        """The number of the next receipt for a command's attempt."""
        query = (
            "insert into receipts values (?, ?, 1) on conflict (command, attempt) "
            "do update set sequence = sequence + 1 returning sequence"
        )
        (sequence,) = self._db.execute(query, (command, attempt)).fetchone()
        return int(sequence)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class _Transaction:
    """All of it, or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("begin immediate")

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._db.execute("rollback" if error else "commit")


def _only_for_its_owner(path: Path) -> None:
    """Make the file if it is not there; it names assets, so nobody else may read it.

    Raises:
        ConfigurationError: others can read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigurationError(f"agent state {path}: {error.strerror}") from None
    refuse_if_readable(path, "agent state")
