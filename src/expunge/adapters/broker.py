"""Which client of Kafka is used: a folder of `adapters` that has a module `broker` with a class `Broker`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from expunge.errors import ConfigurationError

if TYPE_CHECKING:
    from expunge.adapters.kafka.broker import Broker

DEFAULT = "kafka"
FOR_OTHERS = ("commands.", "confirmations.", "suppressions")
"""Topics that clients in any language read, not all of which can read every compression (kafkajs: gzip alone)."""


class Compression(NamedTuple):
    """How messages are compressed: `gzip`, `lz4`, `snappy`, `zstd`, or `none`."""

    own: str = "lz4"
    """On topics that only Expunge reads."""
    others: str = "gzip"
    """On topics that others read."""

    def of(self, topic: str) -> str:
        """What is used on a topic (without prefix)."""
        return self.others if topic.startswith(FOR_OTHERS) else self.own


def broker(
    bootstrap_servers: str, options: Mapping[str, Any] | None = None, prefix: str = "", client: str = DEFAULT
) -> Broker:
    """A cluster, spoken to by a client.

    Args:
        bootstrap_servers: its addresses.
        options: settings of the client, under its own names.
        prefix: of all topics and groups.
        client: the folder of the client in `adapters`.

    Raises:
        ConfigurationError: there is no such client.
    """
    module = f"{__package__}.{client}"
    if not client.isidentifier() or find_spec(module) is None or find_spec(f"{module}.broker") is None:
        raise ConfigurationError(f"kafka.client: there is no client {client!r}; `kafka` is always there")
    made = cast("type[Broker]", import_module(f"{module}.broker").Broker)
    return made(bootstrap_servers, options, prefix)
