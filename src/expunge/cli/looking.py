"""Looking at a deployment as a whole, again and again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property

from expunge.adapters.broker import Reader
from expunge.bootstrap import Installation
from expunge.cli.common import reopened
from expunge.cli.settling import DEAD_LETTERS
from expunge.domain.aggregates.case.state import Case
from expunge.domain.continuity import Place
from expunge.domain.events import EARLIEST
from expunge.domain.topics import read_by
from expunge.errors import Unavailable
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
            Changed: the index is another one; see `begin_anew`.
        """
        expunge, partitions = self._expunge, range(self._expunge.settings.kafka.partitions)
        self._read_letters()
        return overview(
            _living(expunge),
            [expunge.cases.reader(number).standing for number in partitions],
            _assets(expunge),
            self._behind(now),
            self._letters.open_by_reason(),
            now,
        )

    def _read_letters(self) -> None:
        """What has come since, without what is there no more."""
        self._letters.take(self._reader.to_the_end())
        topics = self._expunge.topics
        logs = topics.logs([(DEAD_LETTERS, number) for number in range(topics.partitions(DEAD_LETTERS))])
        self._letters.forget({number: log.first for (_, number), log in logs.items()})

    def _behind(self, now: datetime) -> list[Behind]:
        expunge, topics = self._expunge, self._expunge.topics
        by_role = {role: read_by(role, expunge.door.registry) for role in ROLES}
        kept = self._retention([name for names in by_role.values() for name in names])
        found = []
        for role, names in by_role.items():
            logs = topics.logs([(name, number) for name in names for number in range(topics.partitions(name))])
            reached = {place: each.next for place, each in topics.committed_by(role).items()}
            unread = {place: first_unread(log, reached.get(place)) for place, log in logs.items()}
            ages = {place: self._age(place, at, now) for place, at in unread.items() if at is not None}
            found += behind_on(role, logs, reached, ages, kept)
        return found

    def _retention(self, names: Sequence[str]) -> dict[str, float | None]:
        """For how long topics keep messages, as they are configured now; None: as long as they say something."""
        prefix = self._expunge.settings.prefix
        configs = self._expunge.topics.configs([prefix + name for name in names])
        return {name: _retention_of(configs.get(prefix + name, {})) for name in names}

    def _age(self, place: Place, offset: int, now: datetime) -> float | None:
        """How long ago the first unread message of a partition was appended; None: nobody can say."""
        topic = self._expunge.settings.prefix + place[0]
        with suppress(Unavailable):
            found = self._expunge.broker.record_behind(topic, place[1], offset)
            # Behind the last there may be what closes a transaction: that is nothing to read.
            return max(0.0, (now - found.appended_at).total_seconds()) if found is not None else 0.0
        return None

    def begin_anew(self) -> None:
        """Look at whatever is there from now on, from its beginning: with other connections, and the same settings."""
        self.close()
        self._expunge, self._letters = reopened(self._expunge), LetterBook()

    @cached_property
    def _reader(self) -> Reader:
        return self._expunge.broker.reader([DEAD_LETTERS], EARLIEST)

    def close(self) -> None:
        """Let go of what it reads with."""
        if "_reader" in self.__dict__:
            self.__dict__.pop("_reader").close()


def _retention_of(config: Mapping[str, str]) -> float | None:
    """In seconds, by a topic's configuration."""
    kept = int(config.get("retention.ms", "-1"))
    return kept / 1000 if kept >= 0 and "delete" in config.get("cleanup.policy", "delete") else None
