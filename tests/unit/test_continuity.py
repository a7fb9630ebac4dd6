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
from expunge.wire import operations

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PLACE = ("cases", 0)
AT_7 = Reached(8, Position(3, 7), 1)
AT_12 = Reached(13, Position(3, 12), 9)


@pytest.mark.parametrize(
    ("known", "log", "verdict"),
    [
        ([], Log(0, 5), GoOn(0)),
        ([Reached(0)], Log(0, 0), GoOn(0)),
        ([AT_7], Log(0, 20), GoOn(7, (AT_7,), again=True)),
        ([AT_7], Log(7, 8), GoOn(7, (AT_7,), again=True)),
        ([Reached(8), AT_7], Log(7, 8), GoOn(7, (AT_7,), again=True)),  # whoever knows the last record
        ([AT_7], Log(8, 20), GoOn(8)),  # the record that was handled last has expired since
        ([Reached(12), AT_7], Log(0, 20), GoOn(7, (AT_7,), again=True)),  # the store has forgotten
        ([AT_7, Reached(10)], Log(0, 10), GoOn(7, (AT_7,), again=True)),
        (
            [AT_7._replace(next=10)],
            Log(0, 10),
            GoOn(7, (AT_7._replace(next=10),), again=True),
        ),
        ([AT_7, AT_12], Log(0, 20), GoOn(7, (AT_7, AT_12), again=True)),  # both must lie there still
        ([AT_7, AT_12], Log(8, 20), GoOn(8, (AT_12,))),
        (
            [Reached(0), Reached(1, Position(3, 0), 1)],
            Log(0, 9),
            GoOn(0, (Reached(1, Position(3, 0), 1),)),
        ),  # not again
        ([AT_7, AT_12], Log(0, 10), Lost(Why.CUT, 10, 13, 1)),  # store and log have lost their ends together
        ([AT_7], Log(9, 20), Lost(Why.EXPIRED, 8, 9)),
        ([], Log(4, 20), Lost(Why.EXPIRED, 0, 4)),
        ([Reached(12), AT_7], Log(10, 20), Lost(Why.EXPIRED, 8, 10)),
        ([AT_7], Log(0, 5), Lost(Why.CUT, 5, 8, 1)),
        ([AT_7], Log(0, 0), Lost(Why.CUT, 0, 8, 1)),
    ],
)
def test_where_to_go_on(known: list[Reached], log: Log, verdict: GoOn | Lost) -> None:
    assert compared(known, log) == verdict


@pytest.mark.parametrize(
    ("met", "met_ms", "is_another"),
    [
        (Position(3, 7), 1, False),
        (Position(3, 9), 5, False),  # compaction has taken the one that was handled
        (Position(4, 9), 5, False),
        (Position(-1, 7), 1, False),  # a broker that tells no epochs
        (Position(4, 7), 1, True),
        (Position(3, 7), 2, True),  # a topic that was made anew, whose epochs are the same
        (Position(0, 7), 2, True),
    ],
)
def test_what_lies_where_the_last_record_lay(met: Position, met_ms: int, is_another: bool) -> None:  # noqa: FBT001
    assert contradicts(AT_7, met, met_ms, 2) == (Lost(Why.CUT, 2, 8, 1) if is_another else None)
    assert contradicts(Reached(8), met, met_ms, 2) is None


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
    restored: list[tuple[int | None, bool]] = field(default_factory=list)
    restarted: list[Position] = field(default_factory=list)
    asked: int = 0
    at: float = 100.0
    another: bool = False
    does_not_answer: bool = False
    refuses: bool = False

    def __post_init__(self) -> None:
        self.losses, self.metrics = MemoryLosses(), MemoryMetrics()
        parts = (self, self, self, self.losses, self.metrics, self, self, self.restore)
        self.continuity = Continuity("coordinator", *parts)  # type: ignore[arg-type]

    def restore(self, since_ms: int | None, has_forgotten: bool) -> None:  # noqa: FBT001
        self.restored.append((since_ms, has_forgotten))

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

    def after(self, place: Place, at_ms: int) -> int:
        assert at_ms == 1
        return 3

    def committed_by(self, role: str) -> dict[Place, Reached]:
        return self.committed

    def is_another(self) -> bool:
        return self.another

    def accept(self) -> None:
        if self.does_not_answer:
            raise Unavailable("a server of several does not answer")
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
    at = datetime.fromtimestamp(0.001, UTC) if offset == 7 and epoch == 3 else NOW
    return Record(*PLACE, Position(epoch, offset), at, b"k", b"v")


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
    assert world.losses.known() == {}  # nobody is asked while a batch is at hand
    world.continuity.settle()
    assert world.losses.known()[PLACE].lost == Lost(Why.CUT, 0, 8, 1)
    world.at += LOOK_SECONDS
    world.continuity.settle()  # it is looked for a word, and the comparison alone says that all is well
    assert world.begun == [7]


def test_a_cut_is_not_forgotten_when_the_log_has_grown_again() -> None:
    """Also by the next process: what lies below would be jumped over without a word."""
    world = World(log=Log(0, 5))
    world.continuity.settle()
    other = World(log=Log(0, 20))
    other.losses.places = world.losses.places
    other.continuity.settle()
    assert (world.begun, other.begun) == ([], [])
    other.losses.acknowledge(PLACE, Word("olga", "the disk", 5, 8))
    other.at += LOOK_SECONDS
    other.continuity.settle()
    assert (other.restarted, other.begun) == (
        [Position(-1, 2)],
        [3],
    )


def test_what_a_store_has_forgotten_is_read_again_before_its_log_can_hide_it() -> None:
    """One power cut took the end of both: the committed offset alone still knew."""
    world = World(log=Log(0, 20), committed={PLACE: AT_12})
    world.continuity.settle()
    assert world.begun == [7]
    assert world.continuity.admitted([record(7), record(8), record(12, epoch=4)]) == [record(8)]
    world.continuity.settle()
    assert world.losses.known()[PLACE].lost == Lost(Why.CUT, 0, 13, 1)  # as the store knows it, or less would be read


def test_what_happens_while_a_log_that_was_cut_stands_still_is_part_of_the_loss() -> None:
    world = World(log=Log(0, 5))
    world.continuity.settle()
    world.log, world.known, world.at = Log(30, 40), {PLACE: Reached(2)}, world.at + LOOK_SECONDS
    world.losses.acknowledge(PLACE, Word("olga", "the disk", 5, 8))
    world.continuity.settle()
    assert world.begun == []
    assert world.losses.known()[PLACE].lost == Lost(Why.CUT, 5, 30, 0)


def test_a_word_is_about_the_loss_that_was_known() -> None:
    world = World(log=Log(12, 20))
    world.losses.acknowledge(PLACE, Word("olga", "why not", 8, 10))
    world.continuity.settle()
    assert world.begun == []
    world.losses.acknowledge(PLACE, Word("olga", "why not", 8, 12))
    world.at += LOOK_SECONDS
    world.continuity.settle()
    assert world.begun == [12]


def test_a_lost_partition_stands_still_until_a_word_which_is_a_fact_first() -> None:
    world = World(log=Log(12, 20))
    world.continuity.settle()
    world.continuity.settle()  # and is not asked about at every turn
    assert (world.begun, world.asked, world.said) == ([], 1, [])
    assert str(world.losses.known()[PLACE]) == "expired, offsets 8 to 11"
    assert world.metrics.gauges["lost_partitions", "coordinator"] == 1
    world.losses.acknowledge(PLACE, Word("olga", "why not", 8, 12))
    world.at += LOOK_SECONDS
    world.continuity.settle()
    (fact,) = world.said
    said = json.loads(fact.value or b"")
    assert (said["type"], said["data"]["operator"], said["data"]["until"]) == (operations.LOSS, "olga", 12)
    assert world.restarted == [Position(3, 11)]
    assert world.begun == [12]
    assert (world.losses.known(), world.losses.word(PLACE)) == ({}, None)
    assert world.metrics.gauges["lost_partitions", "coordinator"] == 0


def test_nothing_is_read_before_what_a_store_has_forgotten_was_put_back() -> None:
    world = World(committed={PLACE: Reached(12)})
    world.continuity.settle()
    assert (world.restored, world.begun) == ([(1, True)], [7])


def test_what_ended_before_it_was_said_in_the_store_is_put_back_at_a_start_too() -> None:
    """A resolver that died between its answer and its commit, with a Redis that lost that walk, left nobody to know."""
    world = World()
    world.continuity.settle()
    assert world.restored == [(1, False)]
    world.stop([PLACE])
    world.continuity.settle()  # the same partition needs no more
    world.stop([PLACE])
    world.known = {PLACE: Reached(5, Position(3, 4), 0)}
    world.continuity.settle()  # one that reaches less far does
    assert world.restored == [(1, False), (0, True)]
    idle = World(log=Log(0, 8))
    idle.continuity.settle()
    assert idle.restored == [(None, False)]


def test_nothing_is_committed_before_the_last_handled_record_has_come_again() -> None:
    world = World()
    world.continuity.settle()
    assert world.continuity.cover({PLACE: Reached(7), ("cases", 1): Reached(3)}) == {("cases", 1): Reached(3)}
    world.continuity.admitted([record(7)])
    assert world.continuity.cover({PLACE: Reached(9)}) == {PLACE: Reached(9)}


def test_another_store_that_cannot_be_accepted_yet_is_compared_when_it_can() -> None:
    """What it was asked had answered only in part; the notice was gone, and nothing was compared."""
    world = World()
    world.continuity.settle()
    world.another = world.does_not_answer = True
    with pytest.raises(Unavailable):
        world.continuity.settle()
    with pytest.raises(Unavailable):
        world.continuity.cover({PLACE: Reached(9)})
    world.does_not_answer = False
    assert world.continuity.settle()
    assert world.begun == [7, 7]


def test_another_store_is_compared_once_and_nothing_is_committed_before() -> None:
    world = World()
    world.continuity.settle()
    world.another = True
    with pytest.raises(Unavailable):
        world.continuity.cover({PLACE: Reached(9)})
    world.continuity.settle()
    assert (world.restored, world.begun) == ([(1, False), (1, False)], [7, 7])
    world.continuity.admitted([record(7)])
    world.continuity.cover({PLACE: Reached(9)})
