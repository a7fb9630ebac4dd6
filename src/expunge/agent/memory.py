"""What an agent remembers, in SQLite: answers, what was begun, what goes on later, and the receipts' numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from expunge.agent.types import Result, Target

_SCHEMA = """
create table if not exists answers (identity text primary key, result text not null, final integer not null);
create table if not exists begun (identity text primary key);
create table if not exists pending (identity text primary key, due real not null, command text not null);
create table if not exists receipts (command text, attempt integer, sequence integer, primary key (command, attempt));
"""


class Memory:
    """One file for one agent process; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full;" + _SCHEMA)

    def answers(self, identities: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Final answers, by the identity of their targets."""
        found: dict[str, dict[str, Any]] = {}
        for identity in identities:
            query = "select result from answers where identity = ? and final = 1"
            row = self._db.execute(query, (identity,)).fetchone()
            if row:
                found[identity] = json.loads(row[0])
        return found

    def begin(self, targets: Sequence[Target]) -> set[str]:
        """Note that a purge begins; identities of those that had begun before and were never answered."""
        interrupted = set()
        self._db.execute("begin immediate")
        for target in targets:
            identity = target.identity
            if self._db.execute("select 1 from begun where identity = ?", (identity,)).fetchone():
                interrupted.add(identity)
            self._db.execute("insert or ignore into begun values (?)", (identity,))
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
            self._db.execute("delete from begun where identity = ?", (identity,))
            self._db.execute("delete from pending where identity = ?", (identity,))
            row = (identity, json.dumps(result.wire()), int(result.final))
            self._db.execute("insert or replace into answers values (?, ?, ?)", row)
        self._db.execute("commit")

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
