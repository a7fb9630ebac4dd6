"""Settings shared by every client, how one is made, and the one place where Kafka errors become Expunge's.

One rule holds for all of them: a client that was closed, or that did not come up, is never used again. Whoever needs
one makes another; while the broker is away making one fails, in a few seconds, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from expunge.errors import ConfigurationError, Unavailable

KAFKA = "Kafka"
BOOTSTRAP_MS = 5_000
LOOK_AGAIN_MS = 50
REFUSED_FOR_GOOD: dict[type[Exception], str] = {
    kafka_errors.MessageSizeTooLargeError: "too_large",
    kafka_errors.RecordListTooLargeError: "too_large",
    kafka_errors.UnknownTopicOrPartitionError: "unknown_topic",
    kafka_errors.InvalidTopicError: "unknown_topic",
    kafka_errors.TopicAuthorizationFailedError: "not_authorised",
}
"""Errors of one message that trying again does not mend: it alone is left out (rule "refused records")."""
PERMANENT = (
    *REFUSED_FOR_GOOD,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.UnsupportedVersionError,
    kafka_errors.KafkaConfigurationError,
)
"""Errors that trying again does not mend."""


OURS = frozenset({"bootstrap_servers", "kafka_client"})
"""What an operator says elsewhere, or not at all."""
SHARED: frozenset[str] = frozenset.intersection(
    *(frozenset(client.DEFAULT_CONFIG) for client in (KafkaProducer, KafkaConsumer, KafkaAdminClient))
)
"""Settings that every client of the library has: security, sockets, time limits. What one alone has is Expunge's."""
SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into Expunge's; `doing` says what was tried, without ids."""
    try:
        yield
    except PERMANENT as error:
        raise ConfigurationError(f"Kafka refuses to {doing}: {type(error).__name__}") from error
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka did not {doing} ({type(error).__name__})", server=KAFKA) from error


def common(bootstrap_servers: str, options: dict[str, Any]) -> dict[str, Any]:
    """What every client is given: addresses, and the operator's security settings under kafka-python's names.

    Raises:
        ConfigurationError: a setting is not one that the library's clients share, or a protocol is none: the library
            would speak without encryption then, and say nothing.
    """
    if wrong := sorted(options.keys() - (SHARED - OURS)):
        text = f"kafka.options: {', '.join(wrong)} is not among the settings of connections and security"
        raise ConfigurationError(f"{text} that kafka-python's clients share: correct its name, or take it out")
    if options.get("security_protocol", SECURITY_PROTOCOLS[0]) not in SECURITY_PROTOCOLS:
        raise ConfigurationError(f"kafka.options: security_protocol is one of {', '.join(SECURITY_PROTOCOLS)}")
    return {
        "bootstrap_servers": bootstrap_servers.split(","),
        # The default of 30 s keeps a client away from its group long after a lone broker answers again.
        "reconnect_backoff_max_ms": 1000,
        "bootstrap_timeout_ms": BOOTSTRAP_MS,
        **options,
    }


class _Patient(KafkaNetClient):  # type: ignore[misc]
    """The library's network client, whose producer waits for a broker that is not ready to take requests."""

    def connection_delay(self, node_id: Any) -> float:
        """Milliseconds until a look at a node that is not ready is worth while.

        The library says 0 while it connects, and seconds where its producer's thread takes milliseconds: with a broker
        that hangs that thread would turn without a pause (kafka-python 3.0.12). An answer still wakes it at once.
        """
        return max(LOOK_AGAIN_MS, 1000 * float(super().connection_delay(node_id)))


def connected(make: Any, settings: dict[str, Any]) -> Any:
    """A client that has reached the broker.

    One that does not is left by the library with its thread and its sockets: they are closed here, or an outage of some
    minutes would use up the process.
    """
    opened: list[_Patient] = []

    def remembered(**given: Any) -> _Patient:
        opened.append(_Patient(**given))
        return opened[-1]

    try:
        return make(**settings, kafka_client=remembered)
    except BaseException:
        for each in opened:
            with contextlib.suppress(kafka_errors.KafkaError, OSError, RuntimeError):
                each.close()
        raise
