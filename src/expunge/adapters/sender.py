"""What every client's sender does alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from expunge.adapters.topics import ClusterTopics
from expunge.domain.events import CONTENT_TYPE, Outgoing
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Refused

MENDS = {
    "unknown_topic": "run `expunge topics create`",
    "not_authorised": "give this user write access to it",
    "too_large": "say less in one message",
}


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


HEADERS = [("content-type", CONTENT_TYPE.encode())]
REPLAY = "expunge-replay"
"""The header of whatever a replay leads to: which replay."""
DELIVERY_SECONDS = 20


class Publishing(ABC):
    """See `ports.Sender`: producing in waves (design: "No deletion is lost"), and for people.

    Every message of a wave is durable, or the producers are thrown away. One per process; built anew after any failure,
    never repaired.
    """

    def __init__(self, prefix: str, topics: ClusterTopics, compression: Compression) -> None:
        self._prefix, self._topics, self._compression = prefix, topics, compression
        self.headers = list(HEADERS)
        """Of every message."""
        self._producers: dict[str, Any] = {}
        """By compression: a client compresses by producer, and not by topic."""

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        """See `ports.Sender.send`."""
        if not outgoing:
            return ()
        try:
            refused = self._wave(outgoing)
            if len(outgoing) > 1:  # what was refused may only have shared a batch with what is too large
                refused = [again for each in refused for again in self._wave([each.outgoing])]
        except (Unavailable, ConfigurationError):
            self.discard()
            self._topics.forget()  # one of them may be gone
            raise
        return refused

    def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Send what a person asked for: all of it, or an error that says what is wrong.

        Raises:
            ConfigurationError: a topic is missing, closed to this user, or too small for the message.
            Unavailable: see `send`.
        """
        for message, reason in self.send(outgoing):
            raise ConfigurationError(
                f"Kafka refuses a message for {self._prefix}{message.topic} ({reason}): {MENDS[reason]}"
            )

    def _producer(self, topic: str) -> Any:
        """The producer for a topic, made when there is none."""
        codec = self._compression.of(topic)
        if codec not in self._producers:
            self._producers[codec] = self._made(codec)
        return self._producers[codec]

    def discard(self) -> None:
        """Throw the producers away, and what they have not sent; the next wave connects anew."""
        producers, self._producers = self._producers, {}
        for producer in producers.values():
            self._discard(producer)

    close = discard

    @abstractmethod
    def _wave(self, outgoing: Sequence[Outgoing]) -> list[Refused]:
        """Make messages durable, but for those that are refused for good.

        Raises:
            Unavailable: one is not durable.
        """

    @abstractmethod
    def _made(self, codec: str) -> Any:
        """A producer that compresses so."""

    @abstractmethod
    def _discard(self, producer: Any) -> None:
        """End a producer in a bounded time."""
