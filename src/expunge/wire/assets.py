"""`assets`: canonical statements, from which the index can be built."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import Field

from expunge.domain.digest import hidden
from expunge.domain.events import Event, Outgoing, Record, millis
from expunge.domain.lineage.statement import Statement, identity_of
from expunge.domain.values import Hex
from expunge.wire.form import Outlet


class HoldingStated(Outlet):
    """The holding's part of a canonical statement."""

    namespaces: tuple[str, ...]
    data_sources: tuple[str, ...]
    declared: str
    withdrawn: str


class AssetStated(Outlet):
    """A canonical statement: pseudonyms instead of ids. The rebuild source of the index."""

    asset: str = ""
    """Empty where it is forgotten."""
    kinds: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    subjects: tuple[tuple[Hex, str], ...] = ()
    persons: tuple[tuple[Hex, ...], ...] = ()
    """Of the subjects, those that are one person's."""
    earliest: dict[str, Hex] = Field(default_factory=dict)
    """Of subjects whose normaliser has had several versions: what each is called under the first."""
    data_sources: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    collected_at: str | None = None
    derived_at: str | None = None
    digest: str | None = None
    shared: bool = False
    removed: bool = False
    aliases: tuple[str, ...] = ()
    command_id: Hex | None = None
    attributes: dict[str, str] = Field(default_factory=dict)
    holding: HoldingStated | None = None
    forgotten: Hex | None = None
    """The key of an asset whose id is forgotten: every case that had it purged is."""
    forgotten_parents: tuple[Hex, ...] = ()
    """The keys of the parents of such an asset."""


STATED = "expunge.asset.stated.v1"


class Stated(NamedTuple):
    """A statement, and when it was appended to its inlet."""

    statement: Statement
    at: datetime

    def __repr__(self) -> str:
        return hidden(self)


def stated(record: Record) -> Stated | None:
    """The statement in a message of `assets`; what was taken away since says nothing."""
    if record.value is None:
        return None
    event = orjson.loads(record.value)
    if event["type"] != STATED:
        return None
    return Stated(Statement.of(event["data"]), datetime.fromisoformat(event["time"]))


def said_anew(said: Stated, node: bytes, partition: int, source: str, *, apart: bool = True) -> Outgoing:
    """A statement that takes another's place, as of the same moment.

    Args:
        said: the statement.
        node: of its asset.
        partition: on which it lies.
        source: who says it.
        apart: whether what says the same of another moment stands beside it; else the later one takes its place.
    """
    data = said.statement.data()
    name = node.hex() + identity_of(data | {"since": millis(said.at)} if apart else data)
    return Outgoing("assets", name, Event(STATED, source, name, said.at, data), partition)


def taken_away(record: Record) -> Outgoing:
    """Nothing in the place of a message."""
    return Outgoing(record.topic, (record.key or b"").decode(), None, record.partition)
