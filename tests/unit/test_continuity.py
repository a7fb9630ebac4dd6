"""What is known of a partition is compared with what lies there (rule "compared")."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from expunge.adapters.memory.stores import MemoryLosses, MemoryMetrics
from expunge.domain.continuity import GoOn, Log, Lost, Place, Reached, Why, compared, contradicts, forgotten_since
from expunge.domain.events import Outgoing, Position, Record
from expunge.errors import Unavailable
from expunge.ports import Refused
from expunge.ports.logs import Word
from expunge.runtime.continuity import LOOK_SECONDS, Continuity
from expunge.wire import ledger

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLACE = ("cases", 0)
AT_7 = Reached(8, Position(3, 7), 1)


@pytest.mark.parametrize(
    ("known", "log", "verdict"),
    [
        ([], Log(0, 5), GoOn(0)),
        ([Reached(0)], Log(0, 0), GoOn(0)),
        ([AT_7], Log(0, 20), GoOn(7, Position(3, 7))),
        ([AT_7], Log(7, 8), GoOn(7, Position(3, 7))),
        ([AT_7], Log(8, 20), GoOn(8)),  # the record that was handled last has expired since
        ([Reached(12), AT_7], Log(0, 20), GoOn(7, Position(3, 7))),  # the store has forgotten
        ([Reached(8, Position(3, 7)), Reached(10)], Log(0, 10), GoOn(7, Position(3, 7))),
        ([Reached(10, Position(3, 7))], Log(0, 10), GoOn(7, Position(3, 7))),  # markers of transactions lie between
        ([AT_7], Log(9, 20), Lost(Why.EXPIRED, 8, 9, 9)),
        ([], Log(4, 20), Lost(Why.EXPIRED, 0, 4, 4)),
        ([Reached(12), AT_7], Log(10, 20), Lost(Why.EXPIRED, 8, 10, 10)),
        ([AT_7], Log(0, 5), Lost(Why.CUT, 5, 8, 5, renewed=True)),
        ([AT_7], Log(0, 0), Lost(Why.CUT, 0, 8, 0, renewed=True)),
    ],
)
def test_where_to_go_on(known: list[Reached], log: Log, verdict: GoOn | Lost) -> None:
    assert compared(known, log) == verdict


@pytest.mark.parametrize(
    ("met", "verdict"),
    [
        (Position(3, 7), None),
        (Position(3, 9), None),  # compaction has taken the one that was handled
        (Position(4, 9), None),
        (Position(-1, 7), None),  # a broker that tells no epochs
        (Position(4, 7), Lost(Why.CUT, 2, 8, 2)),
        (Position(0, 7), Lost(Why.CUT, 2, 8, 2, renewed=True)),  # the topic was made anew
    ],
)
def test_what_lies_where_the_last_record_lay(met: Position, verdict: Lost | None) -> None:
    assert contradicts(Position(3, 7), met, 2) == verdict


def test_a_store_has_forgotten_what_was_committed_and_it_does_not_know() -> None:
    assert forgotten_since(AT_7, Reached(12)) == 1
    assert forgotten_since(Reached(0), Reached(12)) == 0
    assert forgotten_since(AT_7, Reached(8)) is None
    assert forgotten_since(Reached(12), AT_7) is None
    assert forgotten_since(None, AT_7) is None
    assert forgotten_since(AT_7, None) is None


@dataclass
class World:
    """A source, a store, the logs, a sink and a clock in one."""

    log: Log = field(default_factory=lambda: Log(0, 20))
    committed: dict[Place, Reached] = field(default_factory=lambda: {PLACE: AT_7})
    known: dict[Place, Reached] = field(default_factory=lambda: {PLACE: AT_7})
    waiting: set[Place] = field(default_factory=lambda: {PLACE})
    begun: list[int] = field(default_factory=list)
    said: list[Outgoing] = field(default_factory=list)
    restored: list[int | None] = field(default_factory=list)
    restarted: list[Position] = field(default_factory=list)
    asked: int = 0
    at: float = 100.0
    another: bool = False
    refuses: bool = False

    def __post_init__(self) -> None:
        self.losses, self.metrics = MemoryLosses(), MemoryMetrics()
        parts = (self, self, self, self.losses, self.metrics, self, self, self.restored.append)
        self.continuity = Continuity("coordinator", *parts)  # type: ignore[arg-type]

    def fresh(self) -> list[Place]:
        return sorted(self.waiting)

    def begin(self, place: Place, offset: int) -> None:
        self.waiting.discard(place)
        self.begun.append(offset)

    def stop(self, places: Collection[Place] | None = None) -> None:
        self.waiting |= set(places or {PLACE})

    def moved(self) -> dict[Place, Reached]:
        return {}

    def commit(self, moved: Mapping[Place, Reached]) -> None:
        """Nothing is kept."""

    def logs(self, places: Collection[Place]) -> dict[Place, Log]:
        self.asked += 1
        return dict.fromkeys(places, self.log)

    def committed_by(self, role: str) -> dict[Place, Reached]:
        return self.committed

    def is_another(self) -> bool:
        return self.another

    def accept(self) -> None:
        self.another = False

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        return self.known

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """Nothing is kept."""

    def restart(self, place: Place, position: Position) -> None:
        self.restarted.append(position)

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        self.said += outgoing
        return [Refused(outgoing[0], "not_authorised")] if self.refuses else []

    def seconds(self) -> float:
        return self.at


def record(offset: int, epoch: int = 3) -> Record:
    return Record(*PLACE, Position(epoch, offset), NOW, b"k", b"v")


def test_what_was_handled_last_is_read_again_and_not_handled() -> None:
    world = World()
    world.continuity.settle()
    assert world.begun == [7]
    assert world.continuity.admitted([record(7), record(8)]) == [record(8)]
    assert world.continuity.admitted([record(9)]) == [record(9)]


def test_another_record_in_its_place_stops_the_partition_and_nothing_behind_it_is_handled() -> None:
    """A group committed at 20 of a log that had been cut and written anew skipped six new messages silently."""
    world = World()
    world.continuity.settle()
    assert world.continuity.admitted([record(7, epoch=4), record(8, epoch=4)]) == []
    assert world.losses.known()[PLACE].lost.why is Why.CUT
    world.at += LOOK_SECONDS
    world.continuity.settle()  # it is looked for a word, and the comparison alone says that all is well
    assert world.begun == [7]


def test_a_lost_partition_stands_still_until_a_word_which_is_a_fact_first() -> None:
    world = World(log=Log(12, 20))
    world.continuity.settle()
    world.continuity.settle()  # and is not asked about at every turn
    assert (world.begun, world.asked, world.said) == ([], 1, [])
    assert str(world.losses.known()[PLACE]) == "expired, offsets 8 to 11"
    assert world.metrics.gauges["lost_partitions", "coordinator"] == 1
    world.losses.acknowledge(PLACE, Word("olga", "why not"))
    world.at += LOOK_SECONDS
    world.continuity.settle()
    (fact,) = world.said
    said = json.loads(fact.value or b"")
    assert (said["type"], said["data"]["operator"], said["data"]["until"]) == (ledger.LOSS, "olga", 12)
    assert world.restarted == [Position(3, 11)]
    assert world.begun == [12]
    assert (world.losses.known(), world.losses.word(PLACE)) == ({}, None)
    assert world.metrics.gauges["lost_partitions", "coordinator"] == 0


def test_a_log_that_is_another_one_altogether_is_read_from_where_it_is_new() -> None:
    """Its epochs begin anew, and every record would have looked older than what the state had included."""
    world = World(log=Log(0, 5))
    world.losses.acknowledge(PLACE, Word("olga", "the disk"))
    world.continuity.settle()
    assert (world.restarted, world.begun) == ([Position(-1, 4)], [5])


def test_nothing_is_read_before_what_a_store_has_forgotten_was_put_back() -> None:
    world = World(committed={PLACE: Reached(12)})
    world.continuity.settle()
    assert (world.restored, world.begun) == ([1], [7])


def test_another_store_is_compared_once_and_nothing_is_committed_before() -> None:
    world = World()
    world.continuity.settle()
    world.another = True
    with pytest.raises(Unavailable):
        world.continuity.cover({PLACE: Reached(9)})
    world.continuity.settle()
    assert (world.restored, world.begun) == ([None], [7, 7])
    world.continuity.cover({PLACE: Reached(9)})
