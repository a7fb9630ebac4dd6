"""How many records a poll takes: it follows their size, and what handling the last ones took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from expunge.adapters.records import BATCH_BYTES, BATCH_SECONDS, FIRST_RECORDS, Portion
from expunge.domain.aggregates.case.chunks import at_once
from expunge.domain.events import Position, Record
from expunge.domain.limits import TARGETS_PER_MESSAGE

RECORD = Record("cases", 0, Position(0, 0), datetime(2026, 11, 1, tzinfo=UTC), b"k", b"v")
MOST = 500


class Handled:
    """Records of which each takes so many seconds, handed over as a portion says."""

    def __init__(self, *, by_time: bool = True) -> None:
        self.now = 0.0
        self.portion = Portion(MOST, by_time=by_time, seconds=lambda: self.now)

    def batch(self, each: float, most: int = MOST, record: Record = RECORD) -> int:
        number = min(self.portion.asked(), most)
        self.portion.follow([record] * number)
        self.now += number * each
        return number


def test_batches_grow_while_they_are_full_and_no_further_than_what_came() -> None:
    handled = Handled()
    assert [handled.batch(0.0) for _ in range(6)] == [FIRST_RECORDS, 64, 128, 256, MOST, MOST]
    handled.batch(0.0, most=1)  # a burst after a lull comes in small batches first: nobody knows yet what it takes
    assert handled.batch(0.0) == FIRST_RECORDS


def test_batches_of_large_records_are_of_few() -> None:
    handled = Handled()
    large = replace(RECORD, value=bytes(BATCH_BYTES // 4))
    handled.batch(0.0, record=large)
    assert handled.batch(0.0, record=large) == 4


def test_a_batch_takes_about_so_long_however_much_its_records_stand_for() -> None:
    # 260 receipts of one order's chunks, each of a thousand assets, were one batch of 2.7 s
    handled = Handled()
    taken = [handled.batch(0.01) * 0.01 for _ in range(50)]
    assert max(taken[1:]) <= 2 * BATCH_SECONDS
    assert sum(taken) / len(taken) > BATCH_SECONDS / 3


def test_what_was_slow_once_is_not_slow_for_ever() -> None:
    handled = Handled()
    handled.batch(60.0, most=1)  # a server was away
    assert handled.batch(0.0001) == 1
    assert [handled.batch(0.0001) for _ in range(12)][-1] == MOST


def test_a_wait_for_records_is_no_time_that_handling_takes() -> None:
    handled = Handled()
    handled.batch(0.0)
    handled.portion.asked()
    handled.portion.follow([])
    handled.now += 100
    assert handled.batch(0.0) == 2 * FIRST_RECORDS


def test_a_role_that_cuts_its_batches_itself_is_left_to_it() -> None:
    handled = Handled(by_time=False)
    assert [handled.batch(1.0) for _ in range(2)] == [FIRST_RECORDS, 64]


def test_a_decision_takes_chunks_by_their_targets_and_one_at_least() -> None:
    assert at_once([TARGETS_PER_MESSAGE + 1, 1]) == 1
    assert at_once([TARGETS_PER_MESSAGE // 2] * 5) == 2
    assert at_once([1] * 7) == 7
