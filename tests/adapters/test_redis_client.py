"""What the Redis client is given: no server is needed for that."""

from __future__ import annotations

import json

import pytest
import redis

from expunge.adapters.redis.server import Server, translated
from expunge.errors import ConfigurationError, Unavailable


@pytest.mark.parametrize("url", ["http://:hunter2@host", "redis//host", "redis://host:hunter2/0", ""])
def test_an_address_that_is_none_is_an_error_for_people(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"redis\.url") as refused:
        Server(url, "x.")
    assert "hunter2" not in json.dumps(str(refused.value))


class Connection:
    """A connection to a server process."""

    def __init__(self, process: str, port: int = 1) -> None:
        self.process, self.port, self.began = process, port, False

    def on_connect(self) -> None:
        self.began = True

    def send_command(self, *words: str) -> None:
        assert (self.began, words) == (True, ("INFO", "server"))

    def read_response(self) -> bytes:
        if not self.process:
            raise redis.exceptions.NoPermissionError("NOPERM")
        return f"# Server\r\nredis_version:7\r\nrun_id:{self.process}\r\n".encode()

    def repr_pieces(self) -> list[tuple[str, object]]:
        return [("host", "h"), ("port", self.port)]


def test_a_server_that_is_another_process_than_before_is_noticed_by_the_first_connection_alone() -> None:
    server = Server("redis://h", "x.")
    server._greet(Connection("a"))
    server._greet(Connection("a"))
    server._greet(Connection("b", port=2))  # another server of the same deployment
    assert server.replaced == 0
    with pytest.raises(Unavailable, match="compared first"), translated():
        server._greet(Connection("b"))
    server._greet(Connection("b"))
    assert server.replaced == 1


def test_a_server_that_does_not_say_who_it_is_is_believed() -> None:
    server = Server("redis://h", "x.")
    server._greet(Connection("a"))
    server._greet(Connection(""))
    server._greet(Connection("a"))
    assert server.replaced == 0
