"""A forecaster over a world in memory: the same roles, over what is only looked at."""

from __future__ import annotations

from typing import Any, cast

from expunge.ports import Index
from expunge.replay.forecast import Forecast, Forecaster
from expunge.replay.known import Known
from expunge.replay.looking import LookingIndex, LookingPeople, NoTenure, Uncounted
from expunge.roles.coordinator.coordinator import Coordinator
from expunge.roles.indexer import Indexer
from expunge.roles.intake import Intake
from tests.simulation import PARTITIONS, World


def forecaster(world: World) -> Forecaster:
    known = Known(cast("Any", world.store), cast("Index", world.index), PARTITIONS)
    index, uncounted = LookingIndex(cast("Index", world.index)), Uncounted()
    looking, people, topics = cast("Index", index), cast("Any", LookingPeople()), cast("Any", world.broker)
    return Forecaster(
        Intake(world.door, world, topics, world.vault, uncounted),
        Indexer(world.door, looking, people, topics, world.vault, uncounted),
        Coordinator(world.door, world.store, looking, world, topics, world.vault, uncounted, NoTenure()),
        world.store,
        index,
        known,
    )


def forecast_all(world: World, *topics: str) -> list[tuple[str, Forecast]]:
    """What handling all that lies on inlets once more would do; without what expired or was set aside."""
    asked, left = (
        forecaster(world),
        {(each["topic"], each["partition"], each["offset"]) for each in world.dead_letters()},
    )
    return [
        (topic, asked.of(record, world.broker.now))
        for place, log in sorted(world.broker.logs.items())
        if (topic := place[0]).split(".")[0] in topics
        for record in log[world.firsts.get(place, 0) :]
        if ("t." + topic, record.partition, record.position.offset) not in left
    ]
