"""Looking at a deployment as a whole, again and again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cached_property

from expunge.adapters.broker import Reader
from expunge.bootstrap import Installation
from expunge.domain.events import EARLIEST
from expunge.domain.topics import read_by
from expunge.overview.state import Behind, Overview, behind_on, overview
from expunge.replay.letters import LetterBook
from expunge.roles import ROLES


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
            (case for number in partitions for case in expunge.cases.living(number)),
            [expunge.cases.reader(number).standing for number in partitions],
            self._assets(),
            [each for role in ROLES for each in self._behind(role)],
            self._letters.open_by_reason(),
            now,
        )

    def _assets(self) -> dict[str, int]:
        declared = {system.name: 0 for system in self._expunge.settings.systems}
        return declared | self._expunge.index.population()

    def _behind(self, role: str) -> Collection[Behind]:
        topics = self._expunge.topics
        names = read_by(role, self._expunge.door.registry)
        logs = topics.logs([(name, number) for name in names for number in range(topics.partitions(name))])
        return behind_on(role, logs, {place: each.next for place, each in topics.committed_by(role).items()})

    @cached_property
    def _reader(self) -> Reader:
        return self._expunge.broker.reader(["dead-letters"], EARLIEST)

    def close(self) -> None:
        """Let go of what it reads with."""
        if "_reader" in self.__dict__:
            self._reader.close()
