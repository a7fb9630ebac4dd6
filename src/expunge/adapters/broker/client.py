"""Settings shared by every client, and the one place where Kafka errors become Expunge's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import errors as kafka_errors

from expunge.errors import ConfigurationError, Unavailable

PERMANENT = (
    kafka_errors.UnknownTopicOrPartitionError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.UnsupportedVersionError,
)
"""Errors that trying again does not mend."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into Expunge's; `doing` says what was tried, without ids."""
    try:
        yield
    except PERMANENT as error:
        raise ConfigurationError(f"Kafka refuses to {doing}: {type(error).__name__}") from error
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka did not {doing} ({type(error).__name__})") from error


def common(bootstrap_servers: str, options: dict[str, Any]) -> dict[str, Any]:
    """What every client is given: addresses, and the operator's security settings under kafka-python's names."""
    return {
        "bootstrap_servers": bootstrap_servers.split(","),
        # The default of 30 s keeps a client away from its group long after a lone broker answers again.
        "reconnect_backoff_max_ms": 1000,
        **options,
    }
