"""Looking at a deployment as a whole, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property

from expunge.adapters.broker import Reader
from expunge.bootstrap import Installation
from expunge.domain.aggregates.case.state import Case
from expunge.domain.continuity import Log, Place
from expunge.domain.events import EARLIEST
from expunge.domain.topics import all_topics
from expunge.overview.state import Behind, InSystem, Overview, behind_on, first_unread, overview
from expunge.replay.letters import LetterBook
from expunge.roles import ROLES


def in_systems(expunge: Installation, now: datetime) -> dict[str, InSystem]:
    """What live cases wait for in each system, by its name."""
    seen = overview(_living(expunge), (), _assets(expunge), (), {}, now)
    return {each.system: each for each in seen.systems}


def _living(expunge: Installation) -> Iterator[Case]:
    for number in range(expunge.settings.kafka.partitions):
        yield from expunge.cases.living(number)


def _assets(expunge: Installation) -> dict[str, int]:
    return {system.name: 0 for system in expunge.settings.systems} | expunge.index.population()


class Lookout:
    """Reads what an overview needs, and writes nothing. Of dead letters only what has come since the last look."""

    def __init__(self, expunge: Installation) -> None:
        self._expunge, self._letters = expunge, LetterBook()

    def look(self, now: datetime) -> Overview:
        """The deployment as it stands.

        Raises:
            Unavailable: Kafka or Redis is away.
        """
        expunge, partitions = self._expunge, range(self._expunge.settings.kafka.partitions)
        self._letters.take(self._reader.to_the_end())
        return overview(
            _living(expunge),
            [expunge.cases.reader(number).standing for number in partitions],
            _assets(expunge),
            [each for role in ROLES for each in self._behind(role, now)],
            self._letters.open_by_reason(),
            now,
        )

    def _behind(self, role: str, now: datetime) -> list[Behind]:
        expunge, topics = self._expunge, self._expunge.topics
        known = {each.name: each for each in all_topics(expunge.door.registry, 1, 1, 1) if each.role == role}
        logs = topics.logs([(name, number) for name in known for number in range(topics.partitions(name))])
        reached = {place: each.next for place, each in topics.committed_by(role).items()}
        kept = {name: each.retention_ms / 1000 for name, each in known.items() if each.cleanup == "delete"}
        ages = {place: self._age(place, log, reached.get(place), now) for place, log in logs.items()}
        return behind_on(role, logs, reached, ages, {name: kept.get(name) for name in known})

    def _age(self, place: Place, log: Log, reached: int | None, now: datetime) -> float:
        """How long ago the first unread message of a partition was appended; 0: there is none."""
        offset = first_unread(log, reached)
        if offset is None:
            return 0.0
        found = self._expunge.broker.record_at(self._expunge.settings.prefix + place[0], place[1], offset)
        return max(0.0, (now - found.appended_at).total_seconds()) if found is not None else 0.0

    @cached_property
    def _reader(self) -> Reader:
        return self._expunge.broker.reader(["dead-letters"], EARLIEST)

    def close(self) -> None:
        """Let go of what it reads with."""
        if "_reader" in self.__dict__:
            self._reader.close()
