"""How many records a poll takes: it follows their size, and what handling the last ones took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from expunge.adapters.records import BATCH_BYTES, BATCH_SECONDS, FIRST_RECORDS, Last, Portion, Trail
from expunge.domain.aggregates.case import chunks
from expunge.domain.aggregates.case.chunks import at_once
from expunge.domain.continuity import Reached
from expunge.domain.events import Position, Record
from expunge.domain.limits import TARGETS_PER_MESSAGE
from expunge.roles.resolver.recovery import earlier, unsure_since
from tests.simulation import REGISTRY, World

RECORD = Record("cases", 0, Position(0, 0), datetime(2026, 11, 1, tzinfo=UTC), b"k", b"v")
MOST = 500


def batch(portion: Portion, each: float, most: int = MOST, record: Record = RECORD, whole: float = 0.0) -> int:
    """One batch, of which deciding on each record takes so long, and on it as a whole; how many there were."""
    number = min(portion.records, most)
    portion.follow([record] * number)
    portion.took(number, whole + number * each)
    return number


def test_batches_grow() -> None:
    portion = Portion(MOST)
    assert [batch(portion, 0.0) for _ in range(6)] == [FIRST_RECORDS, 64, 128, 256, MOST, MOST]
    batch(portion, 0.0, most=3)  # a look at what others hold
    assert batch(portion, 0.0) == MOST


def test_batches_of_large_records_are_of_few() -> None:
    portion, large = Portion(MOST), replace(RECORD, value=bytes(BATCH_BYTES // 4))
    batch(portion, 0.0, record=large)
    assert batch(portion, 0.0, record=large) == 4


def test_a_batch_takes_about_so_long_however_much_its_records_stand_for() -> None:
    # 260 receipts of one order's chunks, each of a thousand assets, were one batch of 2.7 s
    portion = Portion(MOST)
    taken = [batch(portion, 0.01) * 0.01 for _ in range(50)]
    assert max(taken[8:]) <= 1.1 * BATCH_SECONDS
    assert sum(taken) / len(taken) > BATCH_SECONDS / 3


@pytest.mark.parametrize("whole", [0.1, 0.2, 0.26, 0.3, 0.5])
def test_what_a_batch_costs_whatever_its_size_makes_no_batches_of_one(whole: float) -> None:
    """A broker that answers late is asked once a batch: four records a second were left of 600."""
    portion = Portion(MOST)
    taken = [batch(portion, 0.001, whole=whole) for _ in range(100)]
    seconds = sum(whole + number * 0.001 for number in taken)
    assert sum(taken) / seconds > 0.3 * MOST / (whole + MOST * 0.001)
    heavy = [batch(portion, 0.02) for _ in range(40)]  # and then what is heavy by itself
    assert max(heavy[-10:]) * 0.02 <= 2 * BATCH_SECONDS


def test_what_was_slow_once_is_not_slow_for_ever() -> None:
    portion = Portion(MOST)
    batch(portion, 60.0, most=1)
    assert batch(portion, 0.0001) == 1
    assert [batch(portion, 0.0001) for _ in range(12)][-1] == MOST


def test_whoever_goes_back_can_name_where_they_stand() -> None:
    """Of a place without a name a resolver that came back had to read all of `plans`."""
    trail, lasts = Trail[str](), [Last(Position(0, number), 1000 + number) for number in range(6)]
    for each in lasts[:3]:
        trail.handed("p", each)
    trail.begin()
    for each in lasts[3:]:
        trail.handed("p", each)
    assert trail.last("p") == lasts[5]
    trail.back("p", 5)
    assert trail.last("p") == lasts[4]
    trail.back("p", 3)
    assert trail.last("p") == lasts[2]  # the last one of the poll before
    trail.back("p", 0)
    assert trail.last("p") is None
    trail.handed("q", lasts[0])
    trail.forget("q")
    assert trail.last("q") is None


@pytest.mark.parametrize(
    ("ends", "reached", "since"),
    [
        ({"0": 5}, {0: Reached(5, Position(0, 4), 1_000_000)}, 9_000_000),  # to its end: nothing is missing
        ({"0": 5, "1": 7}, {0: Reached(5, None, 1_000), 1: Reached(6, Position(0, 5), 5_000_000)}, 5_000_000),
        ({"0": 5}, {0: Reached(3)}, 0),
        ({"0": 5}, {}, 0),
        ({"0": 0}, {}, 9_000_000),
    ],
)
def test_what_may_be_missing_is_what_lies_behind_what_the_store_says(
    ends: dict[str, int], reached: dict[int, Reached], since: int
) -> None:
    known = {("walks", number): at for number, at in reached.items()}
    assert unsure_since({"walks": ends}, known, 9_000_000) == earlier(since)


def test_a_decision_takes_chunks_by_their_targets_and_one_at_least() -> None:
    assert at_once([TARGETS_PER_MESSAGE + 1, 1]) == 1
    assert at_once([TARGETS_PER_MESSAGE // 2] * 5) == 2
    assert at_once([1] * 7) == 7


def test_a_stage_and_a_forgetting_go_on_in_further_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 commands of 1,000 targets were one decision, of seconds; so were as many chunks that are forgotten."""
    monkeypatch.setattr(chunks, "TARGETS_PER_MESSAGE", 2)
    systems = tuple(each.model_copy(update={"batch_size": 1}) for each in REGISTRY.systems)
    world = World(registry=REGISTRY.model_copy(update={"systems": systems}))
    for number in range(7):
        world.register(f"p{number}", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    assert world.status(case_id) == "completed"
    world.say("case.forgotten", case_id, reason="asked for")
    world.settle()
    world.tick(86_400 * 60)
    world.settle()
    said = [event["type"] for event in world.broker.events("cases")]
    assert said.count("expunge.internal.continue.v1") == 3
    assert said.count("expunge.internal.forget_on.v1") >= 3
