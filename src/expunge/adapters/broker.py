"""A cluster as the rest of Expunge sees it, and which client of Kafka speaks to it.

A client is a folder beside this file with a module `broker` in which `CLIENT` names its parts; `[kafka] client` names
the folder, and tests/contract/test_broker.py holds every client to the same promises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol, cast

from expunge.adapters.sender import Compression, Publishing
from expunge.adapters.topics import ClusterTopics
from expunge.domain.events import Record
from expunge.errors import ConfigurationError
from expunge.ports.logs import Source

DEFAULT = "kafka"
NEEDS = {"confluent": "confluent_kafka"}
"""Client -> what it needs that is no part of a plain installation: the extra of that name."""
PLAIN = Compression()


class Records(Source, Protocol):
    """A member of a group; see `ports.logs.Source`."""

    revocations: int
    """How often partitions were taken away: what was read before may have been answered by others since."""

    def rewind_to_committed(self, batch: Sequence[Record]) -> None:
        """Read the partitions of a batch again from where the group has committed."""


class Reader(Protocol):
    """Reads topics from a moment on, in no group, committing nothing: for people who look."""

    def poll(self, seconds: float) -> list[Record]:
        """Records that came, waiting up to `seconds`."""

    def to_the_end(self) -> Iterator[Record]:
        """Everything that lies on the topics by now; what comes meanwhile may come along."""

    def behind(self) -> bool:
        """Whether more lies on the topics than was handed over."""

    def close(self) -> None:
        """Let go of the connection."""


class Places(Protocol):
    """Looks up single records, for people, over one connection."""

    def behind(self, topic: str, partition: int, offset: int) -> Record | None:
        """The first record at a place or behind it; None: the place is there no more, or nothing lies behind it.

        `topic` is given with its prefix.

        Raises:
            Unavailable: Kafka has not handed it over in time.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Client(NamedTuple):
    """The parts of a client: each is made with addresses, options and the prefix, and with what it needs besides."""

    topics: Callable[..., ClusterTopics]
    sender: Callable[..., Publishing]
    records: Callable[..., Records]
    reader: Callable[..., Reader]
    places: Callable[..., Places]


class Broker:
    """A cluster, and the prefix under which the topics of a deployment stand."""

    def __init__(
        self, client: Client, bootstrap_servers: str, options: Mapping[str, Any] | None = None, prefix: str = ""
    ) -> None:
        self._client, self._to = client, (bootstrap_servers, dict(options or {}), prefix)

    @cached_property
    def topics(self) -> ClusterTopics:
        """Topics, groups, and how far they have come."""
        return self._client.topics(*self._to)

    def sender(self, compression: Compression = PLAIN) -> Publishing:
        """A producer; see `ports.Sender`."""
        return self._client.sender(*self._to, self.topics, compression)

    def records(
        self,
        group: str,
        topics: Sequence[str],
        *,
        max_records: int,
        session_timeout_ms: int,
        client_id: str = "",
        begins: bool = False,
    ) -> Records:
        """A member of a group.

        With `begins` it begins its partitions itself, where the group has committed or at the first record that is
        there: for those to whom whatever is missing is said again.
        """
        settings = {"max_records": max_records, "session_timeout_ms": session_timeout_ms, "client_id": client_id}
        return self._client.records(*self._to, group, topics, begins=begins, **settings)

    def reader(self, topics: Sequence[str], since: datetime, partitions: Collection[int] | None = None) -> Reader:
        """A reader outside of any group, of some partitions or of all."""
        return self._client.reader(*self._to, topics, since, partitions)

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at a place, for people; `topic` with its prefix. None: it is not there any more."""
        found = self.record_behind(topic, partition, offset)
        return found if found is not None and found.position.offset == offset else None

    def record_behind(self, topic: str, partition: int, offset: int) -> Record | None:
        """The first record at a place or behind it, where that place is still there; see `Places.behind`."""
        return self._places.behind(topic, partition, offset)

    @cached_property
    def _places(self) -> Places:
        servers, options, _ = self._to
        return self._client.places(servers, options)

    def close(self) -> None:
        """Let go of the connections for topics and places, if there are any."""
        for name in self.__dict__.keys() & {"topics", "_places"}:
            self.__dict__[name].close()


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
        ConfigurationError: there is no such client, or what it needs is not installed.
    """
    module = f"{__package__}.{client}"
    if not client.isidentifier() or find_spec(module) is None or find_spec(f"{module}.broker") is None:
        raise ConfigurationError(f"kafka.client: there is no client {client!r}; `kafka` is always there")
    if client in NEEDS and find_spec(NEEDS[client]) is None:
        text = f"kafka.client: {client!r} needs what is not installed: pip install 'expunge[{client}]'"
        raise ConfigurationError(text)
    return Broker(cast("Client", import_module(f"{module}.broker").CLIENT), bootstrap_servers, options, prefix)
