"""Producing in waves: every message of a wave is durable, or the producer is thrown away (DESIGN 4.1)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from expunge.adapters.broker.client import PERMANENT, common, translated
from expunge.domain.events import CONTENT_TYPE, Outgoing
from expunge.domain.partition import partition_of
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Topics

DELIVERY_SECONDS = 20
CLOSE_SECONDS = 5
HEADERS = [("content-type", CONTENT_TYPE.encode())]


class KafkaSender:
    """See `ports.Sender`. One per process; built anew after any failure, never repaired."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any], prefix: str, topics: Topics) -> None:
        self._settings = common(bootstrap_servers, options) | {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "lz4",
            "linger_ms": 2,
            "batch_size": 131_072,
            "max_request_size": 4_194_304,
            "request_timeout_ms": 10_000,
            "delivery_timeout_ms": DELIVERY_SECONDS * 1000,
            "max_block_ms": DELIVERY_SECONDS * 1000,
            "retry_backoff_ms": 20,
            "allow_auto_create_topics": False,
        }
        self._prefix, self._topics = prefix, topics
        self._producer: Any = None

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """See `ports.Sender.send`.

        Raises:
            ConfigurationError: a topic is missing, refused, or too small for the message.
        """
        if not outgoing:
            return
        try:
            self._wave(outgoing)
        except (Unavailable, ConfigurationError):
            self.discard()
            raise

    def _wave(self, outgoing: Sequence[Outgoing]) -> None:
        with translated("take messages"):
            if self._producer is None:
                self._producer = KafkaProducer(**self._settings)
            futures = [self._one(message) for message in outgoing]
            self._producer.flush(timeout=DELIVERY_SECONDS + 5)
        for message, future in zip(outgoing, futures, strict=True):
            if future.succeeded():
                continue
            error = type(future.exception).__name__ if future.is_done else "no answer"
            text = f"Kafka did not take a message for {self._prefix}{message.topic} ({error})"
            raise ConfigurationError(text) if isinstance(future.exception, PERMANENT) else Unavailable(text)

    def _one(self, message: Outgoing) -> Any:
        # The count is looked up before sending: a send to a missing topic blocks for max_block_ms (PROTOCOLS 8).
        topic, key, _, partition = message
        partitions = self._topics.partitions(topic)
        if partition is None:
            partition = partition_of(key, partitions)
        return self._producer.send(
            self._prefix + topic, key=key.encode(), value=message.value, partition=partition, headers=HEADERS
        )

    def discard(self) -> None:
        """Throw the producer away; a sender thread that does not end ends the process (PROTOCOLS 8)."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            producer.close(timeout=CLOSE_SECONDS)
        sender = producer._sender  # noqa: SLF001 - the client offers no other way to end its thread
        if sender.is_alive():
            sender.force_close()
            sender.join(CLOSE_SECONDS)
            if sender.is_alive():
                raise RuntimeError("kafka: the sender thread of a discarded producer does not end")

    close = discard
