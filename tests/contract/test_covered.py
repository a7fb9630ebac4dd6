"""How far what stands in the store reaches, and what is known to be lost (rule "compared")."""

from __future__ import annotations

import pytest

from expunge.adapters.memory.stores import MemoryLosses
from expunge.adapters.redis.cases import RedisCaseStore
from expunge.adapters.redis.covered import IndexCovered, NothingKept, StateCovered
from expunge.adapters.redis.losses import RedisLosses
from expunge.adapters.redis.server import Server
from expunge.domain.continuity import Lost, Reached, Why
from expunge.domain.events import Position
from expunge.errors import Unavailable
from expunge.ports import Batch, Changes
from expunge.ports.logs import Loss, Losses, Word
from tests.contract.conftest import server_of

A, B = ("registrations", 0), ("receipts.a:b", 11)


@pytest.fixture(params=["redis", "cluster"])
def server(request: pytest.FixtureRequest) -> Server:
    return server_of(request)


def test_an_index_says_how_far_it_reaches_and_of_what_it_was_never_told_that_it_is_nothing(server: Server) -> None:
    covered = IndexCovered(server)
    assert covered.covered([A, B]) == {A: Reached(0), B: Reached(0)}
    told = {A: Reached(8, Position(3, 7), 1_700_000_000_000), B: Reached(2)}
    covered.cover(told)
    assert covered.covered([A, B]) == told
    covered.cover({A: Reached(5)})  # whoever is behind makes something be done twice, and nothing be lost
    assert covered.covered([A]) == {A: Reached(5)}
    covered.restart(B, Position(-1, 99))
    assert covered.everywhere() == {A: Reached(5), B: Reached(100)}


def test_the_tag_that_knows_least_decides(server: Server) -> None:
    """Tags may lie on several servers, of which one has forgotten."""
    covered = IndexCovered(server)
    covered.cover({A: Reached(8, Position(3, 7), 5)})
    server.client.hset(server.sentinel(17), "registrations:0", "6:3:5:4")
    assert covered.covered([A]) == {A: Reached(6, Position(3, 5), 4)}
    server.client.hdel(server.sentinel(200), "registrations:0")
    assert covered.covered([A]) == {A: Reached(0)}
    server.client.delete(server.sentinel(201))
    with pytest.raises(Unavailable, match="rebuild"):
        covered.covered([A])


def test_of_an_index_of_0_1_nobody_knows_until_it_is_said(server: Server) -> None:
    server.client.hdel(server.key(0, "meta"), "covers")
    covered = IndexCovered(server)
    assert covered.covered([A, B]) == {}
    covered.cover({A: Reached(8)})
    assert covered.covered([A, B]) == {A: Reached(8)}


def test_a_state_reaches_to_its_position_and_is_started_anew_under_it(server: Server) -> None:
    covered, store = StateCovered(server, "pos"), RedisCaseStore(server)
    assert covered.covered([("cases", 3)]) == {("cases", 3): Reached(0)}
    store.write([Batch(3, None, Position(2, 9), Changes())])
    assert covered.covered([("cases", 3), ("cases", 4)]) == {
        ("cases", 3): Reached(10, Position(2, 9)),
        ("cases", 4): Reached(0),
    }
    covered.restart(("cases", 3), Position(-1, 4))
    assert store.positions([3]) == {3: Position(-1, 4)}


def test_who_keeps_nothing_says_nothing(server: Server) -> None:
    assert NothingKept(server).covered([A]) == {}


@pytest.fixture(params=["memory", "redis"])
def losses(request: pytest.FixtureRequest) -> Losses:
    return MemoryLosses() if request.param == "memory" else RedisLosses(request.getfixturevalue("single"))


def test_losses_are_kept_by_place_with_what_was_said_of_them(losses: Losses) -> None:
    loss = Loss("intake", Lost(Why.CUT, 5, 8, 1_700_000_000_000))
    losses.note(A, loss)
    losses.note(B, loss)
    assert losses.known() == {A: loss, B: loss}
    assert losses.word(A) is None
    losses.acknowledge(A, Word("olga", "why/not: so", 5, 8))
    assert losses.word(A) == Word("olga", "why/not: so", 5, 8)
    losses.settled(A)
    assert (losses.known(), losses.word(A)) == ({B: loss}, None)
