"""What members of groups do alike, whatever their client."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from expunge.domain.continuity import Place, Reached
from expunge.domain.events import LATEST, Position, Record, millis

LATEST_MS = millis(LATEST)
FIRST_RECORDS = 32
SHORT_SECONDS = 0.2
BATCH_BYTES = 2_000_000
"""What a batch should hold at most, about: how many records a poll takes follows the size of the last ones."""
BATCH_SECONDS = 0.25
"""What a batch should take at most, about, and follows from what the last ones took: a small record may stand for a
thousand assets, and what comes meanwhile waits for the end of the batch, and for its messages to leave."""


class Portion:
    """How many records the next poll takes."""

    def __init__(self, most: int, *, by_time: bool, seconds: Callable[[], float] = time.monotonic) -> None:
        self._most, self._by_time, self._seconds = most, by_time, seconds
        self._next = min(FIRST_RECORDS, most)
        self._in_time = most
        """How many are handled in time, as far as is known."""
        self._handed, self._at = 0, 0.0

    def asked(self) -> int:
        """How many records the poll takes that begins; what was handed over was handled by now, or given up."""
        handed, self._handed = self._handed, 0
        if handed and self._by_time:
            took = self._seconds() - self._at
            if took > BATCH_SECONDS:
                self._in_time = max(1, int(handed * BATCH_SECONDS / took))
            elif handed >= self._in_time:
                self._in_time *= 2
        return max(1, min(self._next, self._in_time))

    def follow(self, batch: Sequence[Record]) -> None:
        """Follow the size of what came."""
        if batch:
            mean = max(1, sum(len(record.value or b"") for record in batch) // len(batch))
            self._next = min(self._most, max(FIRST_RECORDS, 2 * len(batch)), BATCH_BYTES // mean)
            self._handed, self._at = len(batch), self._seconds()


class ReaderToTheEnd(ABC):
    """What readers of topics outside of any group do alike, whatever their client."""

    @abstractmethod
    def poll(self, seconds: float) -> list[Record]:
        """Records that came, waiting up to `seconds`."""

    def to_the_end(self) -> Iterator[Record]:
        """Everything that lies on the topics by now; what comes meanwhile may come along."""
        ends = self._ends()
        while self._is_before(ends):
            yield from self.poll(SHORT_SECONDS)

    def behind(self) -> bool:
        """Whether more lies on the topics than was handed over."""
        return self._is_before(self._ends())

    @abstractmethod
    def _ends(self) -> Mapping[Any, int]:
        """Where each partition ends now, by what the client calls it."""

    @abstractmethod
    def _is_before(self, ends: Mapping[Any, int]) -> bool:
        """Whether something that lies before these ends was not handed over yet."""


def first_offsets(batch: Sequence[Record], prefix: str) -> dict[Place, int]:
    """Where a batch begins in each of its partitions."""
    first: dict[Place, int] = {}
    for record in batch:
        place = (prefix + record.topic, record.partition)
        first[place] = min(record.position.offset, first.get(place, record.position.offset))
    return first


def moment(stamp_ms: int) -> datetime:
    """A record's time, inside the calendar."""
    return datetime.fromtimestamp(min(max(stamp_ms, 0), LATEST_MS) / 1000, UTC)


class Last(NamedTuple):
    """The last record of a partition that was handed over, and when it was appended."""

    position: Position
    at_ms: int


def remembered(reached: Reached) -> str:
    """What is said beside an offset: the last record that was handled before it, and when that was appended."""
    last = reached.last
    return f"{last.leader_epoch}:{last.offset}:{reached.at_ms}" if last is not None else ""


def recalled(following: int, text: str | None) -> Reached:
    """The same, read; nothing but the offset where nothing is said beside it, or by nobody of ours."""
    parts = (text or "").split(":")
    try:
        epoch, offset, at_ms = map(int, parts)
    except ValueError:
        return Reached(following)
    return Reached(following, Position(epoch, offset), at_ms)


def reached(following: int, last: Last | None) -> Reached:
    """How far a partition was handed over."""
    return Reached(following, last.position, last.at_ms) if last is not None else Reached(following)
