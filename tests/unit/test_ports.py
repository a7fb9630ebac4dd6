"""The ports of the servers that tests and demo start."""

from __future__ import annotations

from tests.servers import SETTINGS

EPHEMERAL = 32_768
"""From here on Linux gives ports to whoever connects to anything."""


def test_no_server_has_a_port_that_a_client_may_be_given() -> None:
    """A broker found its port taken by a connection that somebody had opened, once in many runs."""
    ports = [port for instance in SETTINGS["instances"].values() for port in instance.values()]
    assert len(set(ports)) == len(ports)
    assert max(ports) < EPHEMERAL
