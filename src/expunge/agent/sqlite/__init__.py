"""A ready agent for an SQLite database that answers for people as a holding: it finds their rows itself."""

from expunge.agent.sqlite.agent import Sqlite
from expunge.agent.sqlite.prober import SqliteProber
from expunge.agent.sqlite.tables import Table

__all__ = ["Sqlite", "SqliteProber", "Table"]
