"""Topics as they are: created, checked against what they must be, and how far groups have read them.

What can be asked of any client of Kafka stands here; a client's own folder answers the few questions at the end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from expunge.domain.continuity import Log, Place, Reached
from expunge.domain.events import millis
from expunge.domain.topics import INLETS_OF_ASSETS, Topic
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Finding, Offsets

KAFKA = "Kafka"

Spec = Literal["earliest", "latest", "max_timestamp"] | int
"""Which offset of a partition: a number is a moment, of which the first at or after it is meant."""


class Found(NamedTuple):
    """An offset and its moment in milliseconds; each -1 where there is none."""

    offset: int
    timestamp_ms: int


def by_topic(found: Mapping[Place, int]) -> Offsets:
    """Offsets of partitions, by topic."""
    offsets: Offsets = {}
    for (topic, number), offset in sorted(found.items()):
        offsets.setdefault(topic, {})[str(number)] = offset
    return offsets


class ClusterTopics(ABC):
    """See `ports.Topics`, `ports.logs.Logs` and `ports.Progress` for what each method promises."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._client: Any = None
        self._partitions: dict[str, int] = {}

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Any]:
        """The admin client, made when there is none; one that failed is never used again."""
        try:
            with self._translated(doing):
                if self._client is None:
                    self._client = self._made()
                yield self._client
        except Unavailable:
            self.close()
            raise

    def existing(self) -> dict[str, int]:
        """This deployment's topics (without prefix) and their partition counts."""
        found = self.counted([name for name in self.all() if name.startswith(self._prefix)])
        return {name.removeprefix(self._prefix): number for name, number in found.items()}

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
        self._partitions = {}

    def create(self, wanted: Sequence[Topic]) -> list[str]:
        """Create what is missing; names of what was created."""
        existing, brokers = self.existing(), self.brokers()
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            self.make({self._prefix + topic.name: topic for topic in missing}, brokers)
        self.forget()
        return [topic.name for topic in missing]

    def check(self, wanted: Sequence[Topic]) -> list[Finding]:
        """What is missing or set wrongly."""
        existing, brokers = self.existing(), self.brokers()
        missing = [self._prefix + topic.name for topic in wanted if topic.name not in existing]
        which = f"topic {missing[0]} is" if len(missing) == 1 else f"{len(missing)} topics are"
        more = f", {missing[0]} among them" if len(missing) > 1 else ""
        found = [Finding(f"{which} missing{more}", "expunge topics create")] if missing else []
        present = [topic for topic in wanted if topic.name in existing]
        settings = self.configs([self._prefix + topic.name for topic in present]) if present else {}
        for topic in present:
            name, has = self._prefix + topic.name, existing[topic.name]
            if topic.fixed and has != topic.partitions:
                mend = f"set kafka.partitions to what the topic has ({has}), or start a deployment with another prefix"
                found.append(Finding(f"topic {name} has {has} partitions, configuration says {topic.partitions}", mend))
            for key, value in topic.settings(brokers).items():
                actual = settings.get(name, {}).get(key)
                if actual is not None and actual != value:
                    mend = f"kafka-configs --alter --topic {name} --add-config {key}={value}"
                    found.append(Finding(f"topic {name} has {key}={actual}, it must be {value}", mend))
        return found

    def empty(self, topics: Sequence[str]) -> bool:
        """Whether nothing was ever written to these topics."""
        ends = self.ends(topics)
        return all(offset == 0 for partitions in ends.values() for offset in partitions.values())

    def end_offsets(self) -> Offsets:
        """See `ports.Progress.end_offsets`: how many partitions there are is asked every time, for they may grow."""
        found = self.counted([self._prefix + topic for topic in INLETS_OF_ASSETS])
        return self.ends(INLETS_OF_ASSETS, {name.removeprefix(self._prefix): number for name, number in found.items()})

    def ends(self, topics: Sequence[str], counts: Mapping[str, int] | None = None) -> Offsets:
        """Where topics end now."""
        found = self.offsets(dict.fromkeys(self._places(topics, counts), "latest"))
        return self._offsets({place: each.offset for place, each in found.items()})

    def _places(self, topics: Sequence[str], counts: Mapping[str, int] | None = None) -> list[Place]:
        counts = counts or {topic: self.partitions(topic) for topic in topics}
        return [(self._prefix + topic, number) for topic in topics for number in range(counts[topic])]

    def latest(self) -> datetime | None:
        """The latest moment at which anything of this deployment was appended, by the brokers' clocks."""
        counts = self.existing()
        places = self._places(list(counts), counts) if counts else []
        found = self.offsets(dict.fromkeys(places, "max_timestamp")) if places else {}
        stamps = [each.timestamp_ms for each in found.values() if each.timestamp_ms >= 0]
        return datetime.fromtimestamp(max(stamps) / 1000, UTC) if stamps else None

    def span(self, topic: str, partition: int, role: str) -> tuple[int, int]:
        """How far a role has read a partition, and where it ends: its next message lies between them."""
        end = self.ends([topic])[topic].get(str(partition), 0)
        reached = (self.committed(self._prefix + role) or {}).get((self._prefix + topic, partition))
        return reached.next if reached else 0, end

    def unread(self, group: str, topics: Sequence[str], since: datetime) -> dict[str, int]:
        """Topic -> how many of its messages a group has not read that were appended before a moment; none: left out."""
        committed, places = self.committed(self._prefix + group) or {}, self._places(topics)
        starts = self.offsets(dict.fromkeys(places, "earliest"))
        ends = self.offsets(dict.fromkeys(places, "latest"))
        later = self.offsets(dict.fromkeys(places, millis(since)))
        found: Counter[str] = Counter()
        for place in places:
            until = later[place].offset if later[place].offset >= 0 else ends[place].offset
            read = committed[place].next if place in committed else 0
            number = until - max(read, starts[place].offset)
            found[place[0].removeprefix(self._prefix)] += max(0, number)
        return {topic: number for topic, number in found.items() if number}

    def logs(self, places: Collection[Place]) -> dict[Place, Log]:
        """See `ports.logs.Logs.logs`."""
        named = {(self._prefix + topic, number): (topic, number) for topic, number in places}
        starts = self.offsets(dict.fromkeys(named, "earliest"))
        ends = self.offsets(dict.fromkeys(named, "latest"))
        return {place: Log(starts[name].offset, ends[name].offset) for name, place in named.items()}

    def after(self, place: Place, at_ms: int) -> int:
        """See `ports.logs.Logs.after`."""
        named = (self._prefix + place[0], place[1])
        found = self.offsets({named: at_ms + 1})[named].offset
        return found if found >= 0 else self.offsets({named: "latest"})[named].offset

    def committed_by(self, role: str) -> dict[Place, Reached]:
        """See `ports.logs.Logs.committed_by`.

        Raises:
            Unavailable: nobody can say. That a role has committed nothing is another thing.
        """
        found = self.committed(self._prefix + role)
        if found is None:
            raise Unavailable("Kafka did not say what was committed: the group has no coordinator", server=KAFKA)
        return {(topic.removeprefix(self._prefix), number): each for (topic, number), each in found.items()}

    def _offsets(self, found: Mapping[Place, int]) -> Offsets:
        return by_topic({(topic.removeprefix(self._prefix), number): each for (topic, number), each in found.items()})

    # What a client answers. Topics and groups are named in full.

    @abstractmethod
    def _made(self) -> Any:
        """An admin client."""

    @abstractmethod
    def _translated(self, doing: str) -> AbstractContextManager[None]:
        """Turns the client's exceptions into Expunge's."""

    @abstractmethod
    def brokers(self) -> int:
        """How many brokers there are."""

    @abstractmethod
    def all(self) -> list[str]:
        """Every topic of the cluster, in order."""

    @abstractmethod
    def counted(self, topics: Collection[str]) -> dict[str, int]:
        """Topic -> how many partitions it has; one that is not there is left out."""

    @abstractmethod
    def make(self, topics: Mapping[str, Topic], brokers: int) -> None:
        """Create topics, and return when they can be used."""

    @abstractmethod
    def delete(self, topics: Sequence[str]) -> None:
        """Delete topics."""

    @abstractmethod
    def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """Topic -> its settings."""

    @abstractmethod
    def members(self, group: str) -> list[str]:
        """The members of a group, by what they call themselves.

        Those that died are among them until their session ends.
        """

    @abstractmethod
    def offsets(self, wanted: Mapping[Place, Spec]) -> dict[Place, Found]:
        """Offsets of partitions."""

    @abstractmethod
    def committed(self, group: str) -> dict[Place, Reached] | None:
        """How far a group has read; None: nobody can say, on a new cluster or on one that is electing."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""
