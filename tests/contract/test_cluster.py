"""A Redis Cluster while its slots move and its servers change, on Redis and on Valkey."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import redis
from redis.exceptions import RedisClusterException

from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.server import Call, Server
from expunge.adapters.redis.slots import Slots
from expunge.domain.digest import digest, name
from expunge.domain.lineage.statement import Statement
from expunge.domain.lineage.walk import Trip
from expunge.domain.scope import Arrival
from expunge.errors import ConfigurationError, Forgotten, Unavailable
from expunge.ports import Rule, Said
from tests.deployment import until
from tests.own_redis import own_cluster
from tests.servers import Servers
from tools.devstack.cluster import Cluster, client, is_synchronised, role, slots_of
from tools.devstack.devstack import redis_server, valkey_server

CASE, TASK = name("case"), name("task")
PREFIX = "cluster."


@pytest.fixture(params=["redis", "valkey"], scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("own")
    with own_cluster(directory, {"redis": redis_server, "valkey": valkey_server}[request.param]()) as cluster:
        yield cluster


@pytest.fixture
def server(made: Cluster) -> Iterator[Server]:
    server = Server(made.url, PREFIX, cluster=True)
    server.initialise(512, "check")
    server.compares = True
    yield server
    Server(made.url, PREFIX, cluster=True).forget(PREFIX)


def key(number: int) -> bytes:
    return digest("asset", f"a{number}")


def said(number: int) -> Said:
    statement = Statement(f"a{number}", kinds=("object",), systems=("s",))
    return Said(key(number), statement.row(()), 1)


def slot_of(server: Server, tag: int) -> int:
    return int(server.client.keyslot(server.key(tag, "x")))


def test_what_is_being_moved_is_neither_read_nor_written(made: Cluster, server: Server) -> None:
    """Scripts find keys that nobody has declared: one that has moved already would be read as one that never was."""
    index, numbers = RedisIndex(server), [n for n in range(20_000) if key(n)[1] == 7]
    index.put([said(number) for number in numbers])
    keys, seen = sorted(key(number) for number in numbers), Counter[str]()

    def look() -> None:
        try:
            found = index.visit(CASE, TASK, [Trip(Arrival.THROUGH, own=True, keys=keys)], Rule(bounded=True))
            seen["whole" if all(each.row for part in found for each in part) else "in part"] += 1
        except Unavailable:
            seen["refused"] += 1

    look()
    made.move_slot(slot_of(server, 7), 1, look)
    assert (seen["whole"], seen["in part"]) == (1, 0)
    assert seen["refused"] > 1
    look()
    assert (seen["whole"], seen["in part"]) == (2, 0)
    assert all(index.rows(keys))


def away(_: Slots) -> NoReturn:
    raise redis.ConnectionError


def test_a_replica_that_takes_its_masters_place_is_another_server(
    made: Cluster, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.read([(tag, ("GET", server.key(tag, "x"))) for tag in range(256)]) == [None] * 256
    server.accept()
    server.look()
    assert not server.is_another
    for node in server.client.get_nodes():  # also to replicas: who has which slot is asked of anybody
        server.client.get_redis_connection(node).ping()
    master = next(port for port in made.ports if port in made.processes and role(port) == "master")
    tag = next(each for each in range(256) if slot_of(server, each) in slots_of(master))
    made.kill(master)

    def another() -> bool:
        with contextlib.suppress(Unavailable):
            server.read([(tag, ("GET", server.key(tag, "x")))])
            pytest.fail("it was read before it was compared")
        return server.is_another

    until(another, 60)
    with monkeypatch.context() as patched:
        patched.setattr(Slots, "primaries", away)
        with pytest.raises(Unavailable):
            server.accept()
    until(lambda: server.is_another, 1)  # it was forgotten when some server had not answered

    def accepted() -> bool:  # by then everybody knows that the dead one is no primary any more
        server.accept()
        return not server.is_another

    until(accepted, 60)
    assert until(lambda: server.read([(tag, ("GET", server.key(tag, "x")))]), 30) == [None]
    assert not server.is_another
    made.start_one(master)
    until(lambda: role(master) == "slave" and is_synchronised(master), 30)


def test_a_master_that_is_empty_is_not_read(made: Cluster, server: Server) -> None:
    master = next(port for port in made.ports if role(port) == "master")
    tag = next(each for each in range(256) if slot_of(server, each) in slots_of(master))
    other = next(each for each in range(256) if slot_of(server, each) not in slots_of(master))
    client(master).flushall()
    assert server.read([(other, ("GET", server.key(other, "x")))]) == [None]
    with pytest.raises(Forgotten):
        server.read([(other, ("GET", server.key(other, "x"))), (tag, ("GET", server.key(tag, "x")))])
    assert 0 < server.lost_tags("1") < 256


def test_one_server_is_no_cluster(real: Servers) -> None:
    with pytest.raises(ConfigurationError, match="is no cluster"):
        Server(real.redis, PREFIX, cluster=True).read_meta()


def test_a_cluster_that_the_settings_do_not_name_says_so(made: Cluster) -> None:
    with pytest.raises(Unavailable, match="cluster = true"):
        Server(made.url, PREFIX).lost_tags("1")


def test_a_call_that_no_cluster_takes_is_a_defect(server: Server) -> None:
    """Said to be an outage it would be tried for ever."""
    with pytest.raises(RedisClusterException):
        server.guarded(lambda client: client.mget([server.key(1, "a"), server.key(2, "b")]))


def test_scripts_that_one_server_has_lost_are_not_run_again_on_the_others(made: Cluster, server: Server) -> None:
    """A commit that is run twice answers the second time that somebody else has written."""
    master = next(port for port in made.ports if port in made.processes and role(port) == "master")
    on = {slot_of(server, tag) in slots_of(master): tag for tag in range(256)}
    calls = [Call("commit", [tag], ["", "1"], [server.key(tag, "tried")]) for tag in on.values()]
    client(master).script_flush()
    assert server.run(calls) == [1, 1]


def test_an_index_that_has_gone_is_not_begun_by_whoever_asks_since_when_it_notes_returns(
    made: Cluster, server: Server
) -> None:
    assert server.notes_returns_since() == 0  # it has done so from the beginning
    Server(made.url, PREFIX, cluster=True).forget(PREFIX)
    with pytest.raises(Forgotten):
        server.notes_returns_since()
    assert Server(made.url, PREFIX, cluster=True).read_meta() is None


def test_a_url_that_no_cluster_has_is_refused() -> None:
    for url in ("redis://127.0.0.1:1/1", "unix:///tmp/redis.sock"):
        with pytest.raises(ConfigurationError, match="one database"):
            Server(url, PREFIX, cluster=True)


def test_a_row_outlives_the_server_on_which_combinations_were_written_first(server: Server) -> None:
    RedisIndex(server).put([said(1)])
    server.client.delete(server.key(0, "combinations"))
    (row,) = RedisIndex(server).rows([key(1)])
    assert row is not None
    assert row.combination.systems == {"s"}
