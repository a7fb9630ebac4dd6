"""Topics as they are: created, checked against what they must be, and how far groups have read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from expunge.adapters.broker.client import common, translated
from expunge.domain.topics import FIXED_PARTITIONS, Topic
from expunge.errors import ConfigurationError
from expunge.ports import Offsets

REGISTRATION_INLETS = ("registrations",)
"""The inlets whose statements a case waits for."""

INDEXER_GROUP = "indexer"
NO_COORDINATOR = (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be, with the mend."""

    problem: str
    mend: str


class KafkaTopics:
    """See `ports.Topics` and `ports.Progress` for what each method promises."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any], prefix: str) -> None:
        self._settings = common(bootstrap_servers, options)
        self._prefix = prefix
        self._partitions: dict[str, int] = {}
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The admin client, connected when it is first needed."""
        if self._client is None:
            with translated("answer"):
                self._client = KafkaAdminClient(**self._settings, request_timeout_ms=10_000)
        return self._client

    def brokers(self) -> int:
        """How many brokers there are."""
        with translated("describe the cluster"):
            return len(self.client.describe_cluster()["brokers"])

    def existing(self) -> dict[str, int]:
        """This deployment's topics (without prefix) and their partition counts."""
        with translated("list topics"):
            names = [name for name in self.client.list_topics() if name.startswith(self._prefix)]
            found = self.client.describe_topics(names) if names else []
        return {each["name"].removeprefix(self._prefix): len(each["partitions"]) for each in found}

    def all(self) -> list[str]:
        """Every topic of the cluster, by its full name."""
        with translated("list topics"):
            return sorted(self.client.list_topics())

    def delete(self, topics: Sequence[str]) -> None:
        """Delete topics, named in full."""
        if topics:
            with translated("delete topics"):
                self.client.delete_topics(list(topics))

    def partitions(self, topic: str) -> int:
        """See `ports.Topics.partitions`.

        Raises:
            ConfigurationError: the topic does not exist.
        """
        if topic not in self._partitions:
            self._partitions = self.existing()
        if topic not in self._partitions:
            raise ConfigurationError(f"topic {self._prefix}{topic} is missing: run `expunge topics create`")
        return self._partitions[topic]

    def create(self, wanted: Sequence[Topic]) -> list[str]:
        """Create what is missing; names of what was created."""
        existing, brokers = self.existing(), self.brokers()
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            with translated("create topics"):
                self.client.create_topics(
                    {
                        self._prefix + topic.name: {
                            "num_partitions": topic.partitions,
                            "replication_factor": min(3, brokers),
                            "configs": topic.settings(brokers),
                        }
                        for topic in missing
                    },
                    wait_for_metadata=True,
                )
        self._partitions = {}
        return [topic.name for topic in missing]

    def check(self, wanted: Sequence[Topic]) -> list[Finding]:
        """What is missing or set wrongly."""
        existing, brokers = self.existing(), self.brokers()
        found = [
            Finding(f"topic {self._prefix}{topic.name} is missing", "run `expunge topics create`")
            for topic in wanted
            if topic.name not in existing
        ]
        present = [topic for topic in wanted if topic.name in existing]
        settings = self._configs([topic.name for topic in present])
        for topic in present:
            name, has = self._prefix + topic.name, existing[topic.name]
            if topic.name in FIXED_PARTITIONS and has != topic.partitions:
                mend = f"set kafka.partitions to what the topic has ({has}), or start a deployment with another prefix"
                found.append(Finding(f"topic {name} has {has} partitions, configuration says {topic.partitions}", mend))
            for key, value in topic.settings(brokers).items():
                actual = settings.get(topic.name, {}).get(key)
                if actual is not None and actual != value:
                    mend = f"kafka-configs --alter --topic {name} --add-config {key}={value}"
                    found.append(Finding(f"topic {name} has {key}={actual}, it must be {value}", mend))
        return found

    def _configs(self, topics: Sequence[str]) -> dict[str, dict[str, str]]:
        if not topics:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, self._prefix + name) for name in topics]
        with translated("describe topics"):
            found = self.client.describe_configs(resources, config_filter="all")
        configs: dict[str, dict[str, str]] = {}
        for name, entries in found.get("topic", {}).items():
            configs[name.removeprefix(self._prefix)] = {key: str(entry["value"]) for key, entry in entries.items()}
        return configs

    def empty(self, topics: Sequence[str]) -> bool:
        """Whether nothing was ever written to these topics."""
        ends = self.ends(topics)
        return all(offset == 0 for partitions in ends.values() for offset in partitions.values())

    def end_offsets(self) -> Offsets:
        """See `ports.Progress.end_offsets`."""
        return self.ends(REGISTRATION_INLETS)

    def ends(self, topics: Sequence[str]) -> Offsets:
        """Where topics end now."""
        wanted = {
            TopicPartition(self._prefix + topic, partition): OffsetSpec.LATEST
            for topic in topics
            for partition in range(self.partitions(topic))
        }
        with translated("say where topics end"):
            found = self.client.list_partition_offsets(wanted)
        return self._offsets({partition: info.offset for partition, info in found.items()})

    def applied(self) -> Offsets:
        """See `ports.Progress.applied`."""
        group = self._prefix + INDEXER_GROUP
        with translated("say what was committed"):
            try:
                found = self.client.list_group_offsets(group)[group]
            except NO_COORDINATOR:
                return {}  # a new cluster, or one that is electing: nothing is known to be applied, so nothing closes
        return self._offsets({partition: entry.offset for partition, entry in found.items() if entry.offset >= 0})

    def _offsets(self, found: dict[TopicPartition, int]) -> Offsets:
        offsets: Offsets = {}
        for partition, offset in sorted(found.items()):
            topic = partition.topic.removeprefix(self._prefix)
            offsets.setdefault(topic, {})[str(partition.partition)] = offset
        return offsets

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
