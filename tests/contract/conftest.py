"""A real Redis under a prefix of its own, with an empty index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from expunge.adapters.redis.server import Server
from tests.servers import Servers


@pytest.fixture
def server(real: Servers) -> Iterator[Server]:
    server = Server(real.redis, f"contract-{uuid.uuid4().hex[:8]}.")
    server.initialise(512, "check")
    yield server
    server.forget(server._prefix.decode())
