"""Producing with kafka-python."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from expunge.adapters.kafka.admin import KafkaTopics
from expunge.adapters.kafka.client import KAFKA, REFUSED_FOR_GOOD, common, connected, translated
from expunge.adapters.sender import DELIVERY_SECONDS, Compression, Publishing
from expunge.domain.events import Outgoing
from expunge.domain.partition import partition_of
from expunge.errors import ConfigurationError, Unavailable, Wedged
from expunge.ports import Refused

CLOSE_SECONDS = 5
LINGER_MS = 100
"""Longer than a wave takes to be handed over: each is flushed, and what left before that would be more requests."""


class KafkaSender(Publishing):
    """See `ports.Sender`. One per process; built anew after any failure, never repaired."""

    def __init__(
        self,
        bootstrap_servers: str,
        options: dict[str, Any],
        prefix: str,
        topics: KafkaTopics,
        compression: Compression = Compression(),  # noqa: B008 - a tuple of texts
    ) -> None:
        super().__init__(prefix, topics, compression)
        self._settings = common(bootstrap_servers, options) | {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": LINGER_MS,
            "batch_size": 131_072,
            "max_request_size": 4_194_304,
            "request_timeout_ms": 10_000,
            "delivery_timeout_ms": DELIVERY_SECONDS * 1000,
            "max_block_ms": DELIVERY_SECONDS * 1000,
            "retry_backoff_ms": 20,
            "allow_auto_create_topics": False,
        }

    def _wave(self, outgoing: Sequence[Outgoing]) -> list[Refused]:
        with translated("take messages"):
            sent = [self._one(message) for message in outgoing]
            for producer in self._producers.values():
                producer.flush(timeout=DELIVERY_SECONDS + 5)
        refused, failed = [], ""
        for message, future in zip(outgoing, sent, strict=True):
            reason = future if isinstance(future, str) else _reason(future)
            if reason:
                refused.append(Refused(message, reason))
            elif not future.succeeded():
                error = type(future.exception).__name__ if future.is_done else "no answer"
                failed = f"Kafka did not take a message for {self._prefix}{message.topic} ({error})"
        if failed:
            raise Unavailable(failed, server=KAFKA)
        if refused:  # an idempotent producer may fail good records behind one that was refused (rule "refused records")
            self.discard()
        return refused

    def _one(self, message: Outgoing) -> Any:
        """What will be known of a message; a text where it can be said at once why it is refused."""
        # The count is looked up before sending: to a missing topic a send blocks for max_block_ms (rule
        # "refused records").
        topic, key, _, partition = message
        producer = self._producer(topic)
        try:
            partitions = self._topics.partitions(topic)
            if partition is None:
                partition = partition_of(key, partitions)
            return producer.send(
                self._prefix + topic, key=key.encode(), value=message.value, partition=partition, headers=self.headers
            )
        except ConfigurationError:  # the topic does not exist
            return "unknown_topic"
        except tuple(REFUSED_FOR_GOOD) as error:
            return REFUSED_FOR_GOOD[type(error)]

    def _made(self, codec: str) -> Any:
        """See `Publishing`."""
        return connected(KafkaProducer, self._settings | ({"compression_type": codec} if codec != "none" else {}))

    def _discard(self, producer: Any) -> None:
        """See `Publishing`; a thread that does not end ends the process (rule "refused records")."""
        with contextlib.suppress(KafkaError, OSError, TimeoutError):
            producer.close(timeout=CLOSE_SECONDS)
        sender = producer._sender  # noqa: SLF001 - the client offers no other way to end its thread
        if sender.is_alive():
            sender.force_close()
            sender.join(CLOSE_SECONDS)
            if sender.is_alive():
                raise Wedged("kafka: the sender thread of a discarded producer does not end")


def _reason(future: Any) -> str:
    """Why the broker does not take a message for good; empty where it did, or may yet."""
    return REFUSED_FOR_GOOD.get(type(future.exception), "") if future.is_done and future.exception else ""
