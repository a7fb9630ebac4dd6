"""What has ended processes, by place, and that an emptied Redis answers nothing at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from expunge.adapters.memory.stores import MemorySuspects
from expunge.adapters.redis.cases import RedisCaseStore
from expunge.adapters.redis.server import Server
from expunge.adapters.redis.suspects import RedisSuspects
from expunge.errors import Unavailable
from expunge.ports import MOST_DEATHS, Suspect, Suspects, Wanted


@pytest.fixture(params=["memory", "redis"])
def suspects(request: pytest.FixtureRequest) -> Suspects:
    return MemorySuspects() if request.param == "memory" else RedisSuspects(request.getfixturevalue("server"))


def test_suspects_are_kept_by_partition_and_forgotten_one_by_one(suspects: Suspects) -> None:
    assert suspects.known() == {}
    range_, parked = Suspect(3, 9, 1, "KeyError"), Suspect(5, 5, MOST_DEATHS, "a clock: ran/ahead")
    suspects.note("receipts.a/b", 0, range_)
    suspects.note("cases", 11, range_)
    suspects.note("cases", 11, parked)
    assert suspects.known() == {("receipts.a/b", 0): range_, ("cases", 11): parked}
    assert parked.is_parked
    assert not range_.is_parked
    suspects.forget("cases", 11)
    suspects.forget("cases", 12)
    assert suspects.known() == {("receipts.a/b", 0): range_}


def test_what_is_parked_is_kept_by_place_and_taken_back(suspects: Suspects) -> None:
    suspects.park("receipts.a/b", 3, 2**40, "a clock: ran/ahead")
    suspects.park("cases", 0, 7, "x")
    assert suspects.parked() == {("receipts.a/b", 3, 2**40): "a clock: ran/ahead", ("cases", 0, 7): "x"}
    assert suspects.known() == {}
    assert suspects.unpark("cases", 0, 7)
    assert not suspects.unpark("cases", 0, 7)
    assert suspects.parked() == {("receipts.a/b", 3, 2**40): "a clock: ran/ahead"}


def test_state_and_position_are_never_read_from_a_redis_that_was_emptied(server: Server) -> None:
    store, case_id = RedisCaseStore(server), "ab" * 16
    reads: list[Callable[[], object]] = [
        lambda: store.positions([0]),
        lambda: store.read({0: Wanted([case_id])}),
        lambda: store.reader(0).position,
        lambda: store.reader(0).cases([case_id]),
        lambda: store.reader(0).standing,
        lambda: store.live_cases(0, "", 10),
        lambda: store.waiting_for_index(0),
        lambda: store.reader(0).suppression("x"),
        lambda: store.set_aside(0, case_id, 0),
        lambda: RedisSuspects(server).known(),
    ]
    for read in reads:
        read()
    server.forget(server.prefix)
    for read in reads:
        with pytest.raises(Unavailable):
            read()
