"""The loop: its order, and the three fates of a message."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from expunge.adapters.memory.stores import MemoryMetrics, MemorySuspects
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import Event, Outgoing, Position, Record
from expunge.errors import Fenced, Unavailable
from expunge.ports import Refused, Result, Suspect
from expunge.runtime.loop import COMMIT_SECONDS, POLL_SECONDS, Loop

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RECORD = Record("cases", 0, Position(0, 7), NOW, b"k", b"v")
OUT = Outgoing("ledger", "k", Event("t", "/s", "id", NOW, {}))


class World:
    """Role, source, sink and clock in one, noting the order of calls; `broken` raises at a step."""

    name, topics, keeps_time, cuts_batches = "role", ("cases",), True, False

    def __init__(self, broken: dict[str, Exception] | None = None, batch: Sequence[Record] = (RECORD,)) -> None:
        self.calls: list[str] = []
        self.broken = broken or {}
        self.batch = list(batch)
        self.refuses: Sequence[Refused] = ()
        self.suspects = MemorySuspects()
        self.metrics = MemoryMetrics()
        self.at, self.takes = 1000.0, {"poll": 0.2}
        self.rests: list[float] = []
        self.paced: list[tuple[int, float]] = []
        self.waits: list[float] = []
        self.silent = 0.0

    def silent_seconds(self) -> float:
        return self.silent

    def took(self, number: int, seconds: float) -> None:
        self.paced.append((number, seconds))

    def _step(self, step: str) -> None:
        self.calls.append(step)
        self.at += self.takes.get(step, 0.0)
        error = self.broken.pop(step, None)
        if error:
            raise error

    def poll(self, seconds: float) -> list[Record]:
        self.waits.append(seconds)
        self._step("poll")
        return list(self.batch)

    def handle(self, batch: Sequence[Record]) -> Result:
        self._step("handle")
        return Result(((OUT,), (OUT, OUT)))

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        self._step(f"send {len(outgoing)}")
        refused, self.refuses = self.refuses, ()
        return refused

    def park(self, record: Record, error: str) -> Result:
        self._step(f"park {record.position.offset} {error}")
        return Result(((OUT,),))

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        self._step(f"refused {refused.reason}")
        return (OUT, OUT, OUT)

    def write(self, result: Result) -> None:
        self._step("write")

    def fresh(self) -> list[Place]:
        return []

    def begin(self, place: Place, offset: int) -> None:
        """Nothing is fresh."""

    def stop(self, places: Collection[Place] | None = None) -> None:
        self._step(f"stop {sorted(places or ())}")

    def moved(self) -> dict[Place, Reached]:
        return {("cases", 0): Reached(8)}

    def settle(self) -> bool:
        self._step("settle")
        return False

    def admitted(self, batch: Sequence[Record]) -> list[Record]:
        return list(batch)

    def cover(self, moved: Mapping[Place, Reached]) -> Mapping[Place, Reached]:
        self._step("cover")
        return moved

    def commit(self, moved: Mapping[Place, Reached]) -> None:
        self._step("commit")

    def ticked(self) -> None:
        pass

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        self._step("tick")
        return ()

    def partitions(self) -> list[int]:
        return [0]

    def rewind(self, batch: Sequence[Record]) -> None:
        self._step(f"rewind {len(batch)}")

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self._step("rest")

    def close(self) -> None:
        self._step("close")

    def now(self) -> datetime:
        return NOW

    def seconds(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.rests.append(seconds)
        self._step("wait")

    def loop(self) -> Loop:
        return Loop(self, self, self, self, self.metrics, self.suspects, self, self)

    def turn(self) -> list[str]:
        self.loop().turn()
        return self.calls


ORDER = ["settle", "poll", "handle", "send 1", "send 2", "write", "cover", "commit", "tick"]


def test_outputs_before_state_before_offsets() -> None:
    assert World().turn() == ORDER


def test_positions_are_committed_without_records_too() -> None:
    """Transaction markers and expired records move the position; what waits for it must see that (rule "applied")."""
    assert World(batch=()).turn() == ["settle", "poll", "cover", "commit", "tick"]


@pytest.mark.parametrize("step", ["handle", "send 1", "send 2", "write"])
def test_what_is_unavailable_is_read_again_and_not_committed(step: str) -> None:
    calls = World({step: Unavailable("x")}).turn()
    assert calls == [*ORDER[: ORDER.index(step) + 1], "rewind 1", "rest", "wait"]


def test_a_lost_partition_is_compared_and_begun_anew() -> None:
    assert World({"write": Fenced("x")}).turn()[-2:] == ["write", "stop [('cases', 0)]"]


def test_nothing_is_read_while_what_is_known_cannot_be_compared() -> None:
    assert World({"settle": Unavailable("x")}).turn() == ["settle", "rewind 0", "rest", "wait"]


def test_what_is_not_said_in_the_store_is_not_committed() -> None:
    world = World({"cover": Unavailable("x")})
    assert "commit" not in world.turn()


@pytest.mark.parametrize("slow", ["rewind 1", "rest"])
def test_a_rest_that_is_over_before_it_begins_is_none(slow: str) -> None:
    """Seconds below zero ended a coordinator whose Redis was away: asking it for suspects took longer than the rest."""
    world = World({"handle": Unavailable("x")})
    world.takes[slow] = 60.0
    assert world.turn()[-3:] == ["rewind 1", "rest", "wait"]
    assert min(world.rests) == 0.0


@pytest.mark.parametrize("step", ["commit", "tick"])
def test_what_was_handled_is_not_read_again_whatever_fails_after_that(step: str) -> None:
    assert World({step: Unavailable("x")}).turn()[-4:] == [step, "rewind 0", "rest", "wait"]


def test_offsets_are_committed_a_few_times_a_second_and_nothing_waits_for_longer() -> None:
    """A commit for every message cost intake a third of its time, and the broker more."""
    world = World()
    world.takes = {"poll": 0.03}
    loop = world.loop()
    for _ in range(9):
        loop.turn()
    assert [world.calls[: at + 1].count("poll") for at, call in enumerate(world.calls) if call == "commit"] == [1, 5, 9]
    loop.turn()
    loop.turn()
    assert world.waits[-2:] == [POLL_SECONDS, pytest.approx(COMMIT_SECONDS - 0.03)]


def test_what_was_handled_is_committed_before_the_role_stops() -> None:
    world = World()
    world.takes = {"poll": 0.03}
    turns = iter([False, False, True])
    world.loop().run(lambda: next(turns))
    assert world.calls[-3:] == ["commit", "close", "close"]
    assert world.calls.count("commit") == 2


def test_a_suspect_that_has_passed_is_committed_at_once() -> None:
    """A death behind it must not bring it back."""
    world = World()
    world.takes = {"poll": 0.01}
    loop = world.loop()
    loop.turn()
    world.suspects.note("cases", 0, Suspect(RECORD.position.offset, RECORD.position.offset, 1, "x"))
    loop._suspicion.refresh()
    loop.turn()
    assert world.calls.count("commit") == 2
    assert world.suspects.known() == {}


def test_what_is_read_again_has_not_passed() -> None:
    """What was handled of a partition that another has taken since is not committed, and may end a process yet."""
    world = World()
    world.takes = {"poll": 0.03}
    loop = world.loop()
    loop.turn()
    loop.turn()
    assert loop._handled
    world.broken = {"write": Fenced("x")}
    loop.turn()
    assert not loop._handled


@pytest.mark.parametrize("step", ["handle", "send 2", "write"])
def test_any_other_error_ends_the_process_before_the_commit(step: str) -> None:
    world = World({step: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        world.turn()
    assert "commit" not in world.calls


def test_a_broker_that_answers_nothing_is_not_taken_for_one_that_is_back() -> None:
    """A poll of a broker that is away ends without a word, and "goes on" was said in the middle of the outage."""
    world = World(broken={"poll": Unavailable("away", server="Kafka")}, batch=[])
    loop = world.loop()
    loop.turn()
    world.at, world.silent = world.at + 30, 60.0
    loop.turn()
    assert loop._outage.failures == 1
    world.silent = 1.0
    loop.turn()
    assert loop._outage.failures == 0
    world.broken = {"poll": Unavailable("away", server="Kafka")}  # it had answered once in between
    loop.turn()
    world.at, world.silent = world.at + 8, 10.0
    loop.turn()
    assert loop._outage.failures == 1


def test_the_loop_stops_after_the_batch_under_way_and_closes() -> None:
    world = World()
    answers = iter([False, True])
    world.loop().run(lambda: next(answers))
    assert world.calls == [*ORDER, "cover", "commit", "close", "close"]


class Needy(World):
    """A role that cannot handle one record before another one of the same batch was written."""

    def __init__(self) -> None:
        super().__init__(
            batch=[replace(RECORD, partition=p, position=Position(0, n)) for p in (0, 1) for n in range(4)]
        )
        self.written: set[tuple[int, int]] = set()
        self.handled: list[tuple[int, int]] = []
        self.sizes: list[int] = []
        self.silent = 0.0

    def handle(self, batch: Sequence[Record]) -> Result:
        places = [(record.partition, record.position.offset) for record in batch]
        self.sizes.append(len(places))
        if (0, 1) in places and (1, 2) not in self.written:
            raise Unavailable("it needs what another one leads to")
        self.handled = places
        return Result()

    def write(self, result: Result) -> None:
        self.written |= set(self.handled)

    def rewind(self, batch: Sequence[Record]) -> None:
        """Whatever is not written is handed over again."""

    def poll(self, seconds: float) -> list[Record]:
        return [each for each in self.batch if (each.partition, each.position.offset) not in self.written]


def test_what_one_record_needs_of_another_in_its_batch_is_written_first() -> None:
    """A case and the retraining that its own batch joined: after a restore both came at once, and waited for ever."""
    world = Needy()
    loop = world.loop()
    for _ in range(8):
        loop.turn()
    assert len(world.written) == len(world.batch)
    assert world.sizes[0] == len(world.batch)
    assert loop._outage.failures == 0


class Picky(World):
    """A role that takes one record of a batch."""

    def __init__(self) -> None:
        super().__init__(batch=[replace(RECORD, topic=t, position=Position(0, n)) for t in "ab" for n in range(3)])
        self.taken: list[str] = []

    def handle(self, batch: Sequence[Record]) -> Result:
        self.taken.append(batch[0].topic)
        return Result(taken=1)

    def rewind(self, batch: Sequence[Record]) -> None:
        """Whatever was not taken is handed over again."""


def test_topics_take_turns_where_a_role_leaves_the_end_of_a_batch() -> None:
    """A person's request queued behind all steps of an order, for 12 s."""
    world = Picky()
    loop = world.loop()
    for _ in range(4):
        loop.turn()
    assert sorted(world.taken[:2]) == sorted(world.taken[2:]) == ["a", "b"]


def test_only_deciding_makes_batches_smaller_and_only_where_nobody_cuts_them() -> None:
    """Sending and writing cost the same for one record: batches fell to one where a disk was slow."""
    world = World()
    world.takes |= {"handle": 0.5, "send 1": 2.0, "write": 3.0, "commit": 4.0}
    world.loop().turn()
    ((number, seconds),) = world.paced
    assert (number, round(seconds, 3)) == (1, 0.5)
    world.cuts_batches = True
    world.loop().turn()
    assert len(world.paced) == 1
