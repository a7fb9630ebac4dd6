"""What an agent remembers, in SQLite: answers, what was begun, what goes on later, and the receipts' numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from expunge.agent.types import Result, Target
from expunge.domain.digest import hidden
from expunge.domain.vocabulary import Claim

_SCHEMA = """
create table if not exists answers
    (identity text primary key, result text not null, final integer not null, command text not null);
create table if not exists started (identity text primary key, command text not null, asset text not null);
create table if not exists withdrawn (command text primary key);
create index if not exists answers_of on answers (command);
create table if not exists pending (identity text primary key, due real not null, command text not null);
create table if not exists receipts (command text, attempt integer, sequence integer, primary key (command, attempt));
"""


class Kept(NamedTuple):
    """An answer that was given, and the command that it was given to."""

    result: dict[str, Any]
    command_id: str

    def __repr__(self) -> str:
        return hidden(self)


class Memory:
    """One file for one agent process; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + _SCHEMA)

    def answers(self, targets: Iterable[Target]) -> dict[str, Kept]:
        """Final answers, by the identity of their targets."""
        found: dict[str, Kept] = {}
        for target in targets:
            query = "select result, command from answers where identity = ? and final = 1"
            row = self._db.execute(query, (target.identity,)).fetchone()
            if row:
                found[target.identity] = Kept(json.loads(row[0]), row[1])
        return found

    def begin(self, targets: Sequence[Target]) -> set[str]:
        """Note that a purge begins; identities of those that had begun before and were never answered."""
        interrupted = set()
        self._db.execute("begin immediate")
        for target in targets:
            identity = target.identity
            if self._db.execute("select 1 from started where identity = ?", (identity,)).fetchone():
                interrupted.add(identity)
            row = (identity, target.command_id, target.asset)
            self._db.execute("insert or replace into started values (?, ?, ?)", row)
        self._db.execute("commit")
        return interrupted

    def keep(self, results: Sequence[Result], commands: dict[str, str]) -> None:
        """Keep answers, before their receipts are sent; `commands` are the raw commands of what goes on later."""
        self._db.execute("begin immediate")
        for result in results:
            identity = result.target.identity
            if result.expected_by is not None:
                due = result.expected_by.timestamp()
                promise = (identity, due, commands[result.target.command_id])
                self._db.execute("insert or replace into pending values (?, ?, ?)", promise)
                continue
            if (
                result.claim is not Claim.FAILED
            ):  # a failure may have done some of it: what is missing next time is its work
                self._db.execute("delete from started where identity = ?", (identity,))
            self._db.execute("delete from pending where identity = ?", (identity,))
            row = (identity, json.dumps(result.wire()), int(result.final), result.target.command_id)
            self._db.execute("insert or replace into answers values (?, ?, ?, ?)", row)
        self._db.execute("commit")

    def withdraw(self, command: str) -> None:
        """Never carry out a command again: remembered for good, and what it was to do later is forgotten."""
        self._db.execute("begin immediate")
        self._db.execute("insert or ignore into withdrawn values (?)", (command,))
        pending = self._db.execute("select identity, command from pending").fetchall()
        for identity, raw in pending:
            if json.loads(raw)["data"]["command_id"] == command:
                self._db.execute("delete from pending where identity = ?", (identity,))
        self._db.execute("commit")

    def is_withdrawn(self, command: str) -> bool:
        """Whether a command was withdrawn."""
        return self._db.execute("select 1 from withdrawn where command = ?", (command,)).fetchone() is not None

    def done_for(self, command: str) -> list[dict[str, Any]]:
        """What was answered finally for a command, and a failure for each target that a purge had begun and not ended.

        Of those nobody knows whether they are gone; to call them untouched would be false.
        """
        query = "select result from answers where command = ? and final = 1"
        answered = [json.loads(row[0]) for row in self._db.execute(query, (command,))]
        known = {result["asset"] for result in answered}
        query = "select asset from started where command = ?"
        begun = {row[0] for row in self._db.execute(query, (command,))} - known
        unknown = {"claim": Claim.FAILED, "reason_code": "interrupted"}
        return answered + [{"asset": asset} | unknown for asset in sorted(begun)]

    def pending(self, now: datetime) -> list[str]:
        """Raw commands with something that was promised for now."""
        query = "select distinct command from pending where due <= ?"
        return [row[0] for row in self._db.execute(query, (now.timestamp(),))]

    def waits(self, identity: str, now: datetime) -> float | None:
        """When a target that goes on later is due (seconds since 1970); None if it does not wait."""
        query = "select due from pending where identity = ? and due > ?"
        row = self._db.execute(query, (identity, now.timestamp())).fetchone()
        return float(row[0]) if row else None

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
