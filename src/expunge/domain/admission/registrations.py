"""Registrations at the door: canonical statements, with pseudonyms instead of ids and sets instead of lists."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import orjson

from expunge.domain.admission.door import Door, check_sizes, declared
from expunge.domain.events import EARLIEST, CloudEvent, stamp
from expunge.domain.limits import MAX_BATCH_BYTES, MAX_BATCH_LINKS, MAX_PAYLOAD_BYTES
from expunge.domain.lineage.row import Holding
from expunge.domain.lineage.statement import Named, Statement
from expunge.errors import InvalidMessage
from expunge.wire import inlets
from expunge.wire.form import Inlet
from expunge.wire.registrations import (
    REGISTRATIONS,
    HoldingDeclared,
    HoldingWithdrawn,
    Registered,
    RegisteredBatch,
    Removed,
)

FRAME_BYTES = 1_000
"""Of an envelope, about."""
LINKS = ("parents", "subjects", "aliases", "data_sources")


class Wrong(NamedTuple):
    """An asset of a message that cannot be taken."""

    number: int
    """Its place in the message, from 0."""
    error: InvalidMessage
    said: object

    def __repr__(self) -> str:
        return f"Wrong({self.number}, {self.error.reason})"


class Read(NamedTuple):
    """What a registration states, and which of its assets cannot be taken."""

    statements: list[Statement]
    wrong: list[Wrong]

    def __repr__(self) -> str:
        return f"Read({len(self.statements)}, {len(self.wrong)})"


def statements(door: Door, event: CloudEvent, appended_at: datetime) -> Read:
    """A registration as canonical statements: pseudonyms instead of ids, sets instead of lists.

    Raises:
        InvalidMessage: what is wrong, by field; of many assets in one message, if all are.
    """
    model = REGISTRATIONS.get(event.type)
    if model is None:
        raise InvalidMessage("unknown_type")
    said = inlets.read(model, event, appended_at)
    if isinstance(said, RegisteredBatch):
        return _batch(door, said, appended_at)
    if isinstance(said, Registered):
        return Read([_asset(door, said, appended_at)], [])
    if isinstance(said, Removed):
        check_sizes((said.asset,))
        return Read([Statement(asset=said.asset, systems=(said.system,), removed=True)], [])
    return Read([_holding(door, said, stamp(appended_at))], [])


def _batch(door: Door, said: RegisteredBatch, appended_at: datetime) -> Read:
    _check_batch(said)
    read = Read([], [])
    for number, asset in enumerate(said.assets):
        try:
            if not isinstance(asset, dict):
                raise InvalidMessage("wrong_type", "data")
            checked = inlets.check(Registered, said.common | asset, now=appended_at)
            read.statements.append(_asset(door, checked, appended_at))
        except InvalidMessage as error:
            where = f"data.assets.{number}{error.where.removeprefix('data')}"
            read.wrong.append(Wrong(number, InvalidMessage(error.reason, where), asset))
    if not read.statements:
        raise read.wrong[0].error
    return read


def check(door: Door, model: type[Registered | HoldingDeclared], data: object, now: datetime) -> None:
    """See that a registration is one that would be taken.

    Raises:
        InvalidMessage: what is wrong, by field.
    """
    said = inlets.check(model, data, now=now)
    if isinstance(said, Registered):
        _asset(door, said, now)
    else:
        _holding(door, said, stamp(now))


def _asset(door: Door, said: Registered, appended_at: datetime) -> Statement:
    """A registration; nothing was collected or made after it was told of, and nothing is out of reach for ever."""
    check_sizes((said.asset, *said.parents, *said.aliases))
    system = door.registry.system(said.system)
    if system is not None and not system.spells(said.asset):
        raise InvalidMessage("not_canonical", "data.asset")
    if said.data_sources:
        door.check_data_sources(said.data_sources)
    return Statement(
        asset=said.asset,
        kinds=(said.kind.value,),
        systems=(said.system,),
        parents=tuple(sorted(set(said.parents) - {said.asset})) if said.parents else (),
        subjects=tuple(
            [
                Named(door.pseudonym(each), each.ref, each.person or "", door.earliest(each), door.earlier(each))
                for each in said.subjects
            ]
        ),
        data_sources=tuple(sorted(set(said.data_sources))) if said.data_sources else (),
        purposes=declared(said.purposes, door.registry.purposes, "undeclared_purpose"),
        categories=declared(said.categories, door.registry.categories, "undeclared_category"),
        collected_at=stamp(_within(said.collected_at, appended_at)) if said.collected_at else "",
        derived_at=stamp(_within(said.derived_at, appended_at)) if said.derived_at else "",
        content_digest=said.digest or "",
        shared=said.shared,
        aliases=tuple(sorted(set(said.aliases) - {said.asset})) if said.aliases else (),
        command_id=said.command_id or "",
        attributes=tuple(sorted(said.attributes.items())) if said.attributes else (),
    )


def _within(moment: datetime, appended_at: datetime) -> datetime:
    return max(EARLIEST, min(moment, appended_at))


def _holding(door: Door, said: Inlet, at: str) -> Statement:
    if isinstance(said, HoldingWithdrawn):
        check_sizes((said.holding,))
        return Statement(asset=said.holding, systems=(said.system,), holding=Holding(withdrawn=at))
    if not isinstance(said, HoldingDeclared):
        raise InvalidMessage("unknown_type")
    check_sizes((said.holding,))
    for namespace in said.namespaces:
        if namespace != "*" and door.registry.namespace(namespace) is None:
            raise InvalidMessage("undeclared_namespace", "data.namespaces")
    door.check_data_sources([name for name in said.data_sources if name != "*"])
    return Statement(
        asset=said.holding,
        kinds=(said.kind.value,),
        systems=(said.system,),
        purposes=declared(said.purposes, door.registry.purposes, "undeclared_purpose"),
        categories=declared(said.categories, door.registry.categories, "undeclared_category"),
        holding=Holding(tuple(sorted(set(said.namespaces))), tuple(sorted(set(said.data_sources))), declared=at),
    )


def _check_batch(batch: RegisteredBatch) -> None:
    """What is common stands for every asset: a small message must not become endless work."""
    total = sum(links(batch.common | asset) for asset in batch.assets if isinstance(asset, dict))
    if total > MAX_BATCH_LINKS:
        raise InvalidMessage("too_many_links", f"{total} in one message, at most {MAX_BATCH_LINKS}")
    common = len(orjson.dumps(batch.common))
    whole = len(batch.assets) * common
    if whole > MAX_BATCH_BYTES:
        raise InvalidMessage("too_large", f"{whole} bytes when written out, at most {MAX_BATCH_BYTES}")


def weight(asset: dict[str, Any]) -> int:
    """The bytes of one asset in a message.

    Raises:
        InvalidMessage: no message takes it.
    """
    size = len(orjson.dumps(asset))
    if size > MAX_PAYLOAD_BYTES - FRAME_BYTES:
        raise InvalidMessage("too_large", "data")
    return size


class Filling:
    """Assets that go into one message after another, in order, as many into each as are handled well together."""

    MOST_ASSETS, MOST_BYTES, MOST_LINKS = 500, 400_000, MAX_BATCH_LINKS // 2

    def __init__(self) -> None:
        self._assets = self._bytes = self._links = 0

    def begins(self, asset: dict[str, Any]) -> bool:
        """Whether an asset, which comes behind those before, is the first of a message.

        Raises:
            InvalidMessage: no message takes it.
        """
        size, named = weight(asset), links(asset)
        over = self._bytes + size > self.MOST_BYTES or self._links + named > self.MOST_LINKS
        first = self._assets == 0 or over or self._assets >= self.MOST_ASSETS
        if first:
            self._assets = self._bytes = self._links = 0
        self._assets, self._bytes, self._links = self._assets + 1, self._bytes + size, self._links + named
        return first


def links(asset: dict[str, Any]) -> int:
    """How many memberships an asset makes in the index."""
    return sum(len(value) for field in LINKS if isinstance(value := asset.get(field), list))
