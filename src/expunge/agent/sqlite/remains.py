"""What deleted rows leave behind in a database's files, and whether it is gone.

`secure_delete` overwrites what is deleted in the database's pages. Two places more hold it: the write-ahead log, until
a checkpoint has copied everything and cut it off, which any other connection that reads may prevent; and the segments
of full-text indexes, until they are merged (https://www.sqlite.org/fts5.html, section 6).
"""

from __future__ import annotations

import sqlite3

from expunge.agent.sqlite.tables import is_index_of_words, quoted


def merge_indexes(connection: sqlite3.Connection) -> None:
    """Merge the segments of every full-text index, so that no words of deleted rows are left in them."""
    tables = connection.execute("select name, sql from sqlite_master where type = 'table'").fetchall()
    for name in [name for name, statement in tables if is_index_of_words(statement)]:
        index = f"main.{quoted(name)}"
        connection.execute(f"insert into {index} ({quoted(name)}) values ('optimize')")  # noqa: S608 - a name that SQLite told


def cut_log(connection: sqlite3.Connection) -> bool:
    """Copy the write-ahead log into the database and cut it off; whether nothing is left of it.

    A database without one has nothing to cut; its rollback journal was emptied when the transaction ended.
    """
    busy, _, _ = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    return not busy
