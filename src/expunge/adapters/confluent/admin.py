"""What `ClusterTopics` asks, answered by confluent-kafka."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are meant to be taken from there
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from expunge.adapters.confluent.client import BOOTSTRAP_SECONDS, CALL_SECONDS, KAFKA, common, made, translated
from expunge.adapters.records import recalled
from expunge.adapters.topics import ClusterTopics, Found, Spec
from expunge.domain.continuity import Place, Reached
from expunge.domain.topics import Topic
from expunge.errors import Unavailable

LOOK_SECONDS = 0.05
NO_LEADER = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
NO_COORDINATOR = {
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.GROUP_ID_NOT_FOUND,
}
SPECS: dict[str, Any] = {
    "earliest": OffsetSpec.earliest,
    "latest": OffsetSpec.latest,
    "max_timestamp": OffsetSpec.max_timestamp,
}


class ConfluentTopics(ClusterTopics):
    """See `adapters.topics.ClusterTopics`."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any], prefix: str) -> None:
        super().__init__(prefix)
        self._settings = common(bootstrap_servers, options)

    def _made(self) -> Any:
        """See `ClusterTopics`."""
        return made(AdminClient, self._settings)

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        """See `ClusterTopics`."""
        return translated(doing)

    def _cluster(self, doing: str) -> Any:
        with self._asking(doing) as client:
            return client.list_topics(timeout=BOOTSTRAP_SECONDS)

    def brokers(self) -> int:
        """See `ClusterTopics.brokers`."""
        return len(self._cluster("describe the cluster").brokers)

    def all(self) -> list[str]:
        """See `ClusterTopics.all`."""
        return sorted(self._cluster("list topics").topics)

    def counted(self, topics: Collection[str]) -> dict[str, int]:
        """See `ClusterTopics.counted`."""
        known = self._cluster("describe topics").topics if topics else {}
        return {name: len(known[name].partitions) for name in topics if name in known and known[name].partitions}

    def make(self, topics: Mapping[str, Topic], brokers: int) -> None:
        """See `ClusterTopics.make`."""
        new = [
            NewTopic(name, each.partitions, min(3, brokers), config=each.created_with(brokers))
            for name, each in topics.items()
        ]
        with self._asking("create topics") as client:
            for created in client.create_topics(new, operation_timeout=CALL_SECONDS).values():
                created.result(2 * CALL_SECONDS)
        deadline = time.monotonic() + CALL_SECONDS
        while missing := topics.keys() - self.counted(topics).keys():  # a broker learns of them a moment later
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka has created {len(missing)} topics that it does not know yet", server=KAFKA)
            time.sleep(LOOK_SECONDS)

    def delete(self, topics: Sequence[str]) -> None:
        """See `ClusterTopics.delete`."""
        if topics:
            with self._asking("delete topics") as client:
                for deleted in client.delete_topics(list(topics), operation_timeout=CALL_SECONDS).values():
                    deleted.result(2 * CALL_SECONDS)

    def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """See `ClusterTopics.configs`."""
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
        with self._asking("describe topics") as client:
            found = client.describe_configs(resources, request_timeout=CALL_SECONDS)
            return {
                resource.name: {key: str(entry.value) for key, entry in answer.result(2 * CALL_SECONDS).items()}
                for resource, answer in found.items()
            }

    def members(self, group: str) -> list[str]:
        """See `ClusterTopics.members`."""
        with self._asking("describe a group") as client:
            answer = client.describe_consumer_groups([group], request_timeout=CALL_SECONDS)[group]
            found = _unless_no_coordinator(answer)
        return [str(each.client_id) for each in found.members] if found is not None else []

    def offsets(self, wanted: Mapping[Place, Spec]) -> dict[Place, Found]:
        """See `ClusterTopics.offsets`."""
        asked = {TopicPartition(*place): _spec(spec) for place, spec in wanted.items()}
        deadline = time.monotonic() + CALL_SECONDS
        with self._asking("say where topics end") as client:
            while True:
                found = client.list_offsets(asked, request_timeout=CALL_SECONDS)
                try:
                    answers = {place: each.result(2 * CALL_SECONDS) for place, each in found.items()}
                except KafkaException as error:  # of a new topic not every broker knows the leader at once
                    if error.args[0].code() not in NO_LEADER or time.monotonic() > deadline:
                        raise
                    time.sleep(LOOK_SECONDS)
                else:
                    break
        return {(at.topic, at.partition): Found(each.offset, each.timestamp) for at, each in answers.items()}

    def committed(self, group: str) -> dict[Place, Reached] | None:
        """See `ClusterTopics.committed`."""
        with self._asking("say what was committed") as client:
            asked = [ConsumerGroupTopicPartitions(group)]
            answer = client.list_consumer_group_offsets(asked, request_timeout=CALL_SECONDS)[group]
            found = _unless_no_coordinator(answer)
        if found is None:
            return None
        return {
            (each.topic, each.partition): recalled(each.offset, each.metadata)
            for each in found.topic_partitions
            if each.offset >= 0
        }

    def close(self) -> None:
        """See `ClusterTopics.close`."""
        self._client = None  # the library ends it with its last reference


def _unless_no_coordinator(answer: Any) -> Any:
    """What a group answered; None where nobody has ever joined it, or nobody could."""
    try:
        return answer.result(2 * CALL_SECONDS)
    except KafkaException as error:
        if error.args[0].code() in NO_COORDINATOR:
            return None
        raise


def _spec(spec: Spec) -> Any:
    kinds: Any = OffsetSpec
    return kinds.for_timestamp(spec) if isinstance(spec, int) else SPECS[spec]()
