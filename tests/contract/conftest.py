"""A real Redis, or a real Redis Cluster, under a prefix of its own, with an empty index."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from expunge.adapters.redis.server import Server
from tests.own_redis import own_cluster
from tests.servers import Servers
from tools.devstack.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("cluster")
    with own_cluster(directory) as made:
        yield made


@pytest.fixture
def single(real: Servers) -> Iterator[Server]:
    yield from _under_a_prefix(lambda prefix: Server(real.redis, prefix))


@pytest.fixture
def server(single: Server) -> Server:
    return single


@pytest.fixture
def clustered(cluster: Cluster) -> Iterator[Server]:
    yield from _under_a_prefix(lambda prefix: Server(cluster.url, prefix, cluster=True))


def _under_a_prefix(make: Callable[[str], Server]) -> Iterator[Server]:
    prefix = f"contract-{uuid.uuid4().hex[:8]}."
    server = make(prefix)
    server.initialise(512, "check")
    yield server
    server.forget(prefix)
    server.client.close()


def server_of(request: pytest.FixtureRequest) -> Server:
    """Of a suite that is run against several: a single Redis, or a cluster."""
    found: Server = request.getfixturevalue("clustered" if request.param == "cluster" else "single")
    return found
