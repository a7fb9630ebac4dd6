"""Topics as they are: created, checked against what they must be, and how far groups have read them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
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
from expunge.domain.events import millis
from expunge.domain.topics import INLETS_OF_ASSETS, Topic
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Finding, Offsets

INDEXER_GROUP = "indexer"
COUNT_SECONDS = 1.0
CALL_MS = 10_000
NO_COORDINATOR = (CoordinatorNotAvailableError, NotCoordinatorError, CoordinatorLoadInProgressError)


class KafkaTopics:
    """See `ports.Topics` and `ports.Progress` for what each method promises."""

    def __init__(self, bootstrap_servers: str, options: dict[str, Any], prefix: str) -> None:
        self._settings = common(bootstrap_servers, options)
        self._prefix = prefix
        self._partitions: dict[str, int] = {}
        self._client: Any = None
        self._inlets: dict[str, int] = {}
        self._inlets_at = -math.inf

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Any]:
        """The admin client, made when there is none; one that failed is never used again."""
        try:
            with translated(doing):
                if self._client is None:
                    self._client = connected(KafkaAdminClient, self._settings | {"request_timeout_ms": CALL_MS})
                yield self._client
        except Unavailable:
            self.close()
            raise

    def brokers(self) -> int:
        """How many brokers there are."""
        with self._asking("describe the cluster") as client:
            return len(client.describe_cluster()["brokers"])

    def existing(self) -> dict[str, int]:
        """This deployment's topics (without prefix) and their partition counts."""
        with self._asking("list topics") as client:
            names = [name for name in client.list_topics() if name.startswith(self._prefix)]
            found = client.describe_topics(names) if names else []
        return {each["name"].removeprefix(self._prefix): len(each["partitions"]) for each in found}

    def all(self) -> list[str]:
        """Every topic of the cluster, by its full name."""
        with self._asking("list topics") as client:
            return sorted(client.list_topics())

    def delete(self, topics: Sequence[str]) -> None:
        """Delete topics, named in full."""
        if topics:
            with self._asking("delete topics") as client:
                client.delete_topics(list(topics))

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

    def forget(self) -> None:
        """Ask anew how many partitions there are when that is needed next."""
        self._partitions, self._inlets_at = {}, -math.inf

    def create(self, wanted: Sequence[Topic]) -> list[str]:
        """Create what is missing; names of what was created."""
        existing, brokers = self.existing(), self.brokers()
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            with self._asking("create topics") as client:
                client.create_topics(
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
        missing = [self._prefix + topic.name for topic in wanted if topic.name not in existing]
        which = f"topic {missing[0]} is" if len(missing) == 1 else f"{len(missing)} topics are"
        more = f", {missing[0]} among them" if len(missing) > 1 else ""
        found = [Finding(f"{which} missing{more}", "expunge topics create")] if missing else []
        present = [topic for topic in wanted if topic.name in existing]
        settings = self._configs([topic.name for topic in present])
        for topic in present:
            name, has = self._prefix + topic.name, existing[topic.name]
            if topic.fixed and has != topic.partitions:
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
        with self._asking("describe topics") as client:
            found = client.describe_configs(resources, config_filter="all")
        configs: dict[str, dict[str, str]] = {}
        for name, entries in found.get("topic", {}).items():
            configs[name.removeprefix(self._prefix)] = {key: str(entry["value"]) for key, entry in entries.items()}
        return configs

    def empty(self, topics: Sequence[str]) -> bool:
        """Whether nothing was ever written to these topics."""
        ends = self.ends(topics)
        return all(offset == 0 for partitions in ends.values() for offset in partitions.values())

    def members(self, group: str) -> list[str]:
        """The members of a group, named in full, by what they call themselves.

        Those that died are among them until their session ends.
        """
        with self._asking("describe a group") as client:
            try:
                found = client.describe_groups([group])[group]
            except NO_COORDINATOR:
                return []  # nobody has ever joined it, or nobody could
        return [str(each["client_id"]) for each in found.get("members", ())]

    def end_offsets(self) -> Offsets:
        """See `ports.Progress.end_offsets`: how many partitions there are is asked every second, for they may grow.

        What is said on a new one in that second is late at worst: the marks find it.
        """
        if time.monotonic() - self._inlets_at >= COUNT_SECONDS:
            self._inlets, self._inlets_at = self._counted(INLETS_OF_ASSETS), time.monotonic()
        return self.ends(INLETS_OF_ASSETS, self._inlets)

    def _counted(self, topics: Sequence[str]) -> dict[str, int]:
        with self._asking("describe topics") as client:
            found = client.describe_topics([self._prefix + topic for topic in topics])
        return {each["name"].removeprefix(self._prefix): len(each["partitions"]) for each in found}

    def ends(self, topics: Sequence[str], counts: Mapping[str, int] | None = None) -> Offsets:
        """Where topics end now."""
        counts = counts or {topic: self.partitions(topic) for topic in topics}
        wanted = {
            TopicPartition(self._prefix + topic, partition): OffsetSpec.LATEST
            for topic in topics
            for partition in range(counts[topic])
        }
        with self._asking("say where topics end") as client:
            found = client.list_partition_offsets(wanted)
        return self._offsets({partition: info.offset for partition, info in found.items()})

    def latest(self) -> datetime | None:
        """The latest moment at which anything of this deployment was appended, by the brokers' clocks."""
        wanted = {
            TopicPartition(self._prefix + topic, partition): OffsetSpec.MAX_TIMESTAMP
            for topic, count in self.existing().items()
            for partition in range(count)
        }
        with self._asking("say when it took its last messages") as client:
            found = client.list_partition_offsets(wanted) if wanted else {}
        stamps = [info.timestamp for info in found.values() if info.timestamp is not None and info.timestamp >= 0]
        return datetime.fromtimestamp(max(stamps) / 1000, UTC) if stamps else None

    def span(self, topic: str, partition: int, role: str) -> tuple[int, int]:
        """How far a role has read a partition, and where it ends: its next message lies between them."""
        end = self.ends([topic])[topic].get(str(partition), 0)
        return self._committed(role).get(TopicPartition(self._prefix + topic, partition), 0), end

    def unread(self, group: str, topics: Sequence[str], since: datetime) -> dict[str, int]:
        """Topic -> how many of its messages a group has not read that were appended before a moment; none: left out."""
        committed = self._committed(group)
        places = [TopicPartition(self._prefix + topic, n) for topic in topics for n in range(self.partitions(topic))]
        with self._asking("say what lies on topics") as client:
            starts = client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
            ends = client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
            later = client.list_partition_offsets(dict.fromkeys(places, millis(since)))
        found: Counter[str] = Counter()
        for place in places:
            until = later[place].offset if later[place].offset >= 0 else ends[place].offset
            number = until - max(committed.get(place, 0), starts[place].offset)
            found[place.topic.removeprefix(self._prefix)] += max(0, number)
        return {topic: number for topic, number in found.items() if number}

    def applied(self) -> Offsets:
        """See `ports.Progress.applied`: where nothing is known to be applied, nothing closes."""
        return self._offsets(self._committed(INDEXER_GROUP))

    def _committed(self, group: str) -> dict[TopicPartition, int]:
        """How far a group has read; nothing on a new cluster, or on one that is electing."""
        with self._asking("say what was committed") as client:
            try:
                found = client.list_group_offsets(self._prefix + group)[self._prefix + group]
            except NO_COORDINATOR:
                return {}
        return {place: entry.offset for place, entry in found.items() if entry.offset >= 0}

    def _offsets(self, found: dict[TopicPartition, int]) -> Offsets:
        offsets: Offsets = {}
        for partition, offset in sorted(found.items()):
            topic = partition.topic.removeprefix(self._prefix)
            offsets.setdefault(topic, {})[str(partition.partition)] = offset
        return offsets

    def close(self) -> None:
        """Let go of the connection."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError, RuntimeError):
                client.close()
