"""Worlds in which a message ends whoever handles it."""

from __future__ import annotations

from typing import Any

from expunge.domain.events import Event, Record
from expunge.domain.partition import partition_of
from tests.simulation import PARTITIONS, World

BAD = "internal.receipted"


def world_with(*people: str) -> World:
    world = World()
    for person in people:
        world.register(f"photo-{person}", subjects=[person])
    world.settle(ticks=1)
    return world


def commanded() -> tuple[World, str]:
    """A case whose command lies with a system that says nothing by itself."""
    world = world_with("ann")
    world.answers["photos"] = lambda _: []
    case_id = world.erase("ann")
    world.settle(ticks=1)
    return world, case_id


def frozen(world: World, case_id: str) -> Any:
    return world.store.reader(partition_of(case_id, PARTITIONS)).standing.frozen.get(case_id)


def poisoned(world: World, case_id: str, role: str = "coordinator", what: str = BAD) -> None:
    """From now on, messages of the case end the role that handles them."""

    def ends(who: str, record: Record) -> bool:
        value = record.value or b""
        return who == role and what.encode() in value and case_id.encode() in value

    world.poison = ends


def tell(world: World, kind: str, case_id: str, data: dict[str, Any]) -> None:
    """Something on `cases` for a case, as another role or a newer version says it."""
    event = Event(kind, "/expunge/resolver", f"{kind}-{len(world.broker.events('cases'))}", world.clock, data)
    world.broker.append("cases", case_id, event.encode(), partition_of(case_id, PARTITIONS))
