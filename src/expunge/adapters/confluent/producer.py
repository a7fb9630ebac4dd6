"""Producing with confluent-kafka."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from expunge.adapters.confluent.admin import ConfluentTopics
from expunge.adapters.confluent.client import KAFKA, REFUSED_FOR_GOOD, common, made, name_of
from expunge.adapters.sender import DELIVERY_SECONDS, Compression, Publishing
from expunge.domain.events import Outgoing
from expunge.domain.partition import partition_of
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Refused

FULL_SECONDS = 0.1


class ConfluentSender(Publishing):
    """See `ports.Sender`. One per process; built anew after any failure, never repaired."""

    def __init__(
        self,
        bootstrap_servers: str,
        options: dict[str, Any],
        prefix: str,
        topics: ConfluentTopics,
        compression: Compression = Compression(),  # noqa: B008 - a tuple of texts
    ) -> None:
        super().__init__(prefix, topics, compression)
        self._settings = common(bootstrap_servers, options) | {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 2,
            "batch.size": 131_072,
            "message.max.bytes": 4_194_304,
            "request.timeout.ms": 10_000,
            "delivery.timeout.ms": DELIVERY_SECONDS * 1000,
            "retry.backoff.ms": 20,
        }

    def _wave(self, outgoing: Sequence[Outgoing]) -> list[Refused]:
        answers: dict[int, KafkaError | None] = {}
        reasons = {at: self._one(message, partial(_heard, answers, at)) for at, message in enumerate(outgoing)}
        for producer in self._producers.values():
            producer.flush(DELIVERY_SECONDS + 5)
        refused = []
        for at, message in enumerate(outgoing):
            error = answers.get(at)
            if reason := reasons[at] or (REFUSED_FOR_GOOD.get(error.code(), "") if error else ""):
                refused.append(Refused(message, reason))
            elif error is not None or at not in answers:
                what = name_of(error) if error is not None else "no answer"
                raise Unavailable(
                    f"Kafka did not take a message for {self._prefix}{message.topic} ({what})", server=KAFKA
                )
        if refused:  # an idempotent producer may fail good records behind one that was refused (rule "refused records")
            self.discard()
        return refused

    def _one(self, message: Outgoing, heard: Any) -> str:
        """Hand a message over; why it is refused, where that can be said at once."""
        topic, key, _, partition = message
        try:
            partitions = self._topics.partitions(topic)  # to a missing one a message waits until it is given up
        except ConfigurationError:
            return "unknown_topic"
        where = partition_of(key, partitions) if partition is None else partition
        producer = self._producer(topic)
        while True:
            try:
                producer.produce(
                    self._prefix + topic, message.value, key.encode(), where, on_delivery=heard, headers=self.headers
                )
            except BufferError:  # it takes more when some have been answered
                producer.poll(FULL_SECONDS)
            except KafkaException as error:
                return REFUSED_FOR_GOOD.get(error.args[0].code(), "") or _raise(error)
            else:
                return ""

    def _made(self, codec: str) -> Any:
        """See `Publishing`."""
        return made(Producer, self._settings | {"compression.type": codec})

    def _discard(self, producer: Any) -> None:
        """See `Publishing`."""
        producer.purge()
        producer.flush(1)


def _heard(answers: dict[int, KafkaError | None], at: int, error: KafkaError | None, _: Any) -> None:
    answers[at] = error


def _raise(error: KafkaException) -> str:
    raise Unavailable(f"Kafka did not take a message ({name_of(error.args[0])})", server=KAFKA) from error
