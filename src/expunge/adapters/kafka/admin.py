"""What `ClusterTopics` asks, answered by kafka-python."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)

from expunge.adapters.kafka.client import common, connected, translated
from expunge.adapters.records import recalled
from expunge.adapters.topics import ClusterTopics, Found, Spec
from expunge.domain.continuity import Place, Reached
from expunge.domain.topics import Topic

CALL_MS = 10_000
NO_COORDINATOR = (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError)
SPECS = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max_timestamp": OffsetSpec.MAX_TIMESTAMP}


class KafkaTopics(ClusterTopics):
    """See `adapters.topics.ClusterTopics`."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any], prefix: str) -> None:
        super().__init__(prefix)
        self._settings = common(bootstrap_servers, options)

    def _made(self) -> Any:
        """See `ClusterTopics`."""
        return connected(KafkaAdminClient, self._settings | {"request_timeout_ms": CALL_MS})

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        """See `ClusterTopics`."""
        return translated(doing)

    def brokers(self) -> int:
        """See `ClusterTopics.brokers`."""
        with self._asking("describe the cluster") as client:
            return len(client.describe_cluster()["brokers"])

    def all(self) -> list[str]:
        """See `ClusterTopics.all`."""
        with self._asking("list topics") as client:
            return sorted(client.list_topics())

    def counted(self, topics: Collection[str]) -> dict[str, int]:
        """See `ClusterTopics.counted`."""
        if not topics:
            return {}
        with self._asking("describe topics") as client:
            found = client.describe_topics(list(topics))
        return {each["name"]: len(each["partitions"]) for each in found if each["partitions"]}

    def make(self, topics: Mapping[str, Topic], brokers: int) -> None:
        """See `ClusterTopics.make`."""
        with self._asking("create topics") as client:
            client.create_topics(
                {
                    name: {
                        "num_partitions": topic.partitions,
                        "replication_factor": min(3, brokers),
                        "configs": topic.created_with(brokers),
                    }
                    for name, topic in topics.items()
                },
                wait_for_metadata=True,
            )

    def delete(self, topics: Sequence[str]) -> None:
        """See `ClusterTopics.delete`."""
        if topics:
            with self._asking("delete topics") as client:
                client.delete_topics(list(topics))

    def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """See `ClusterTopics.configs`."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        with self._asking("describe topics") as client:
            found = client.describe_configs(resources, config_filter="all")
        return {
            name: {key: str(entry["value"]) for key, entry in entries.items()}
            for name, entries in found.get("topic", {}).items()
        }

    def members(self, group: str) -> list[str]:
        """See `ClusterTopics.members`."""
        with self._asking("describe a group") as client:
            try:
                found = client.describe_groups([group])[group]
            except NO_COORDINATOR:
                return []  # nobody has ever joined it, or nobody could
        return [str(each["client_id"]) for each in found.get("members", ())]

    def offsets(self, wanted: Mapping[Place, Spec]) -> dict[Place, Found]:
        """See `ClusterTopics.offsets`."""
        asked = {
            TopicPartition(*place): spec if isinstance(spec, int) else SPECS[spec] for place, spec in wanted.items()
        }
        with self._asking("say where topics end") as client:
            found = client.list_partition_offsets(asked)
        return {
            (place.topic, place.partition): Found(each.offset, -1 if each.timestamp is None else each.timestamp)
            for place, each in found.items()
        }

    def committed(self, group: str) -> dict[Place, Reached] | None:
        """See `ClusterTopics.committed`."""
        with self._asking("say what was committed") as client:
            try:
                found = client.list_group_offsets(group)[group]
            except NO_COORDINATOR:
                return None
        return {
            (place.topic, place.partition): recalled(entry.offset, entry.metadata)
            for place, entry in found.items()
            if entry.offset >= 0
        }

    def close(self) -> None:
        """See `ClusterTopics.close`."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError, RuntimeError):
                client.close()
