"""An index that is being made anew, on a real Redis: one writes, and nobody sees half of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.policies import RedisPolicies
from expunge.adapters.redis.rebuilding import Rebuilding
from expunge.adapters.redis.server import TAGS, Server
from expunge.adapters.redis.suspects import RedisSuspects
from expunge.domain.lineage.statement import Statement
from expunge.errors import Changed, ConfigurationError, Forgotten, Unavailable
from expunge.ports import Said, Suspect
from tests.simulation import SHIPPED

Make = Callable[[], Server]
"""A process that connects."""


@pytest.fixture(params=["redis", "cluster"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    prefix = f"contract-{uuid.uuid4().hex[:8]}."
    if request.param == "cluster":
        url = request.getfixturevalue("cluster").url
        yield lambda: Server(url, prefix, cluster=True)
        Server(url, prefix, cluster=True).forget(prefix)
    else:
        url = request.getfixturevalue("real").redis
        yield lambda: Server(url, prefix)
        Server(url, prefix).forget(prefix)


def of(make: Make) -> tuple[Server, Rebuilding]:
    server = make()
    return server, Rebuilding(server)


def is_another(server: Server) -> bool:
    return server.is_another


def test_nobody_sees_it_before_it_has_ended(make: Make) -> None:
    server, rebuilding = of(make)
    role = make()
    role.initialise(512, "check")
    assert role.read([(3, ("GET", role.key(3, "pos:3")))]) == [None]
    role.forget(role.prefix)
    RedisSuspects(role).note("cases", 1, Suspect(1, 1, 1, "Error"))  # what a waiting role may write
    RedisPolicies(role, SHIPPED).keep()
    assert not rebuilding.begin(1024, "check")
    server.read([(3, ("SET", server.key(3, "pos:3"), "here"))])
    with pytest.raises(Forgotten):
        role.read([(3, ("GET", role.key(3, "pos:3")))])
    with pytest.raises(Forgotten, match="half an index"):
        _ = make().meta
    assert not is_another(role)
    rebuilding.end()
    with pytest.raises(Forgotten):
        role.read([(3, ("GET", role.key(3, "pos:3")))])
    assert is_another(role)  # it is another index now, with other buckets
    assert (role.runs, role.width) == (1, 512 // TAGS)
    role.accept()
    assert role.width == 1024 // TAGS
    assert role.read([(3, ("GET", role.key(3, "pos:3")))]) == [b"here"]
    assert rebuilding.begin(1024, "check")  # the answer to the last step was lost
    assert rebuilding.has_ended
    with pytest.raises(ConfigurationError, match="nothing to rebuild"):
        of(make)[1].begin(512, "check")


def test_who_begins_later_takes_over_and_one_that_was_rolled_back_goes_on(make: Make) -> None:
    first, earlier = of(make)
    earlier.begin(512, "check")
    second, later = of(make)
    kept = dict(first.client.hgetall(first.key(0, "rebuild")))
    assert later.begin(1024, "check")
    assert second.meta.buckets == 512  # as it was begun
    with pytest.raises(Forgotten):
        first.read([(3, ("GET", first.key(3, "pos:3")))])
    with pytest.raises(ConfigurationError, match="taken this one over"):
        earlier.begin(512, "check")
    with pytest.raises(Unavailable):
        Rebuilding(first).join(earlier.epoch)
    Rebuilding(first).join(later.epoch)
    first.client.hset(first.key(0, "rebuild"), mapping=kept)  # Redis has lost its last writes
    assert later.begin(512, "check")


def test_what_has_lost_a_part_or_is_of_another_secret_is_emptied_first(make: Make) -> None:
    server, rebuilding = of(make)
    rebuilding.begin(512, "check")
    with pytest.raises(ConfigurationError, match="another secret"):
        of(make)[1].begin(512, "other")
    server.client.delete(server.sentinel(7))
    with pytest.raises(ConfigurationError, match="part of a half-built"):
        of(make)[1].begin(512, "check")
    server.client.delete(server.key(0, "rebuild"))
    with pytest.raises(ConfigurationError, match="part of an index"):
        of(make)[1].begin(512, "check")


def test_a_rebuilt_index_of_another_secret_is_accepted_by_nobody(make: Make) -> None:
    role = make()
    role.initialise(512, "check")
    assert role.meta.epoch == "1"
    assert role.lost_tags("1") == 0
    role.client.delete(role.sentinel(7))
    assert role.lost_tags("1") == 1
    role.forget(role.prefix)
    _, rebuilding = of(make)
    rebuilding.begin(512, "other")
    rebuilding.end()
    with pytest.raises(Changed, match="another secret"):  # the process in its place looks whether it has that one
        role.read([(3, ("GET", role.key(3, "pos:3")))])


def test_a_combination_of_names_is_written_again_into_a_redis_that_is_another(server: Server) -> None:
    """An indexer remembered that it had written it; rows named what nobody could look up any more."""
    index, key = RedisIndex(server), b"k" * 16
    said = [Said(key, Statement("a", ("object",), ("photos",)).row(()), 1)]
    index.put(said)
    server.client.delete(server.key(0, "combinations"))
    server._is_another_now("address", "another")
    server.accept()
    index.put(said)
    (row,) = RedisIndex(server).rows([key])
    assert row is not None
    assert row.combination.systems == {"photos"}
