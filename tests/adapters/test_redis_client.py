"""What the Redis client is given: no server is needed for that."""

from __future__ import annotations

import json

import pytest
import redis

from expunge.adapters.redis.covered import IndexCovered, NothingKept
from expunge.adapters.redis.server import Server, translated
from expunge.errors import ConfigurationError, Unavailable


@pytest.mark.parametrize("url", ["http://:hunter2@host", "redis//host", "redis://host:hunter2/0", ""])
def test_an_address_that_is_none_is_an_error_for_people(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url") as refused:
        Server(url, "x.")
    assert "hunter2" not in json.dumps(str(refused.value))


class Connection:
    """A connection to a server."""

    def __init__(self, process: str, port: int = 1, replication: str = "r") -> None:
        self.process, self.port, self.replication, self.asked = process, port, replication, ""

    def on_connect(self) -> None: ...

    def send_command(self, *words: str) -> None:
        self.asked = words[1]

    def read_response(self) -> bytes:
        if not self.process:
            raise redis.ResponseError("unknown command 'INFO'")
        if self.asked == "server":
            return f"# Server\r\nredis_version:7\r\nrun_id:{self.process}\r\n".encode()
        return f"# Replication\r\nmaster_replid:{self.replication}\r\nmaster_replid2:0\r\n".encode()

    def repr_pieces(self) -> list[tuple[str, object]]:
        return [("host", "h"), ("port", self.port)]


@pytest.fixture
def server() -> Server:
    server = Server("redis://h", "x.")
    server.compares = True
    server._greet(Connection("a"))
    return server


@pytest.mark.parametrize("other", [Connection("b"), Connection("a", replication="promoted again")])
def test_nobody_uses_a_server_that_is_another_before_it_is_accepted(server: Server, other: Connection) -> None:
    server._greet(Connection("a"))
    server._greet(Connection("b", port=2))  # another server of the same deployment
    assert not server.is_another
    for _ in range(2):  # whichever thread comes first
        with pytest.raises(Unavailable, match="compared first"), translated():
            server._greet(other)
    said = [server.is_another]
    server.accept()
    server._greet(other)
    assert [*said, server.is_another] == [True, False]


def test_a_server_that_does_not_say_who_it_is_is_believed(server: Server) -> None:
    server._greet(Connection(""))
    server._greet(Connection("a"))
    assert not server.is_another


def test_who_keeps_nothing_waits_for_no_server_and_who_keeps_something_does() -> None:
    """A pause must get through while Redis is away."""
    away = Server("redis://127.0.0.1:1", "x.")
    assert not NothingKept(away).is_another()
    with pytest.raises(Unavailable):
        IndexCovered(away).is_another()
