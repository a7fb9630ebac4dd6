"""What every client's sender does alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from expunge.domain.events import Outgoing
from expunge.errors import ConfigurationError
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


class Publishing(ABC):
    """A sender that people can use, too."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    @abstractmethod
    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        """See `ports.Sender.send`."""

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

    @abstractmethod
    def discard(self) -> None:
        """Throw away what it is connected with; the next wave connects anew."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""
