"""Settings shared by every client, and the one place where librdkafka's errors become Expunge's.

Clients of librdkafka come up without asking anybody, connect in the background, and go on trying: whoever must know
that the broker is there asks it for something. As in the folder beside it, a client that was closed is never used
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from expunge.errors import ConfigurationError, Unavailable

KAFKA = "Kafka"
CALL_SECONDS = 10.0
BOOTSTRAP_SECONDS = 5.0
REFUSED_FOR_GOOD = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too_large",
    KafkaError.RECORD_LIST_TOO_LARGE: "too_large",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "unknown_topic",
    KafkaError._UNKNOWN_TOPIC: "unknown_topic",  # noqa: SLF001 - so are the names of local errors spelled
    KafkaError._UNKNOWN_PARTITION: "unknown_topic",  # noqa: SLF001
    KafkaError.TOPIC_EXCEPTION: "unknown_topic",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "not_authorised",
}
"""Errors of one message that trying again does not mend: it alone is left out (rule "refused records")."""
PERMANENT = frozenset(
    {
        *REFUSED_FOR_GOOD,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._INVALID_ARG,  # noqa: SLF001
        KafkaError._AUTHENTICATION,  # noqa: SLF001
    }
)
"""Errors that trying again does not mend."""
THEIRS = ("security.", "ssl.", "sasl.", "socket.", "broker.", "reconnect.", "client.dns.", "enable.ssl.", "https.")
"""What settings of connections and security begin with; all others are Expunge's."""


def name_of(error: KafkaError) -> str:
    """The error's name; its text may hold addresses."""
    return str(error.name())


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into Expunge's; `doing` says what was tried, without ids."""
    try:
        yield
    except KafkaException as error:
        raise failure(error.args[0], doing) from error


def failure(error: KafkaError, doing: str) -> ConfigurationError | Unavailable:
    """An error as Expunge's."""
    if error.code() in PERMANENT:
        return ConfigurationError(f"Kafka refuses to {doing}: {name_of(error)}")
    return Unavailable(f"Kafka did not {doing} ({name_of(error)})", server=KAFKA)


def common(bootstrap_servers: str, options: dict[str, Any]) -> dict[str, Any]:
    """What every client is given: addresses, and the operator's security settings under librdkafka's names.

    Raises:
        ConfigurationError: a setting is none of connections and security.
    """
    if wrong := sorted(name for name in options if not name.startswith(THEIRS)):
        text = f"kafka.options: {', '.join(wrong)} is not among the settings of connections and security"
        raise ConfigurationError(f"{text} that librdkafka has: correct its name, or take it out")
    return {
        "bootstrap.servers": bootstrap_servers,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,  # what matters comes back as an error
        **options,
    }


def made(make: Any, settings: dict[str, Any]) -> Any:
    """A client.

    Raises:
        ConfigurationError: librdkafka does not know a setting, or not such a value.
    """
    try:
        return make(settings)
    except KafkaException as error:
        raise ConfigurationError(f"kafka.options: {error.args[0].str()}") from error
