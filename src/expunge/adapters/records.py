"""What members of groups do alike, whatever their client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from expunge.domain.continuity import Place, Reached
from expunge.domain.events import LATEST, Position, Record, millis

LATEST_MS = millis(LATEST)
FIRST_RECORDS = 32
SHORT_SECONDS = 0.2
BATCH_BYTES = 2_000_000
"""What a batch should hold at most, about: how many records a poll takes follows the size of the last ones."""
BATCH_SECONDS = 0.25
"""What deciding on a batch should take at most, about: a small record may stand for a thousand assets, and what comes
meanwhile waits for the end of the batch, and for its messages to leave."""


APART = 1.5
"""So many times as large must one batch be as another to tell what a record costs."""


class Pace:
    """What batches take: so much whatever their size, and so much for each record."""

    def __init__(self) -> None:
        self._last, self._other = (0, 0.0), (0, 0.0)
        """Of the last batch, and of the last one of another size: how many records, and seconds."""

    def follow(self, number: int, seconds: float) -> None:
        """One more batch."""
        few, many = sorted((number, self._last[0]))
        if many > APART * few:
            self._other = self._last
        self._last = number, seconds

    def records_within(self, seconds: float) -> float:
        """How many records fit; where a batch's own cost leaves little room, as many as cost as much as that."""
        (number, took), (other, before) = self._last, self._other
        mean = took / number
        each = (took - before) / (number - other) if other and other != number else mean
        if not 0 < each <= mean:  # they were not alike: it is what stands in them that differs
            each = mean
        whole = took - each * number
        return max(seconds - whole, whole) / each


class Portion:
    """How many records the next poll takes: as many as the size of the last ones lets it, and what they took."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = min(FIRST_RECORDS, most)
        self._in_time = most
        """How many are decided on in time, as far as is known."""
        self._pace = Pace()

    @property
    def records(self) -> int:
        """How many."""
        return max(1, min(self._next, self._in_time))

    def follow(self, batch: Sequence[Record]) -> None:
        """Follow the size of what came."""
        if batch:
            mean = max(1, sum(len(record.value or b"") for record in batch) // len(batch))
            self._next = max(1, min(self._most, 2 * self._next, BATCH_BYTES // mean))

    def took(self, number: int, seconds: float) -> None:
        """Follow what deciding on some records took, and nothing besides.

        No more than twice as many come next: what is known of few may not hold of many.
        """
        self._pace.follow(number, seconds)
        if seconds > BATCH_SECONDS:
            self._in_time = max(1, min(2 * number, int(self._pace.records_within(BATCH_SECONDS))))
        elif number >= self._in_time:
            more = 2 * number if seconds < BATCH_SECONDS / 2 else int(self._pace.records_within(BATCH_SECONDS))
            self._in_time = max(number, min(2 * number, more))


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


K = TypeVar("K")


class Trail(Generic[K]):
    """The last record of each partition that was handed over, and those of the same poll before it.

    Whoever leaves the end of a batch for the next one stands behind a record that was handled, and must be able to name
    it: of a place without a name nobody could say since when it is unsure, or whether it is the same log.
    """

    def __init__(self) -> None:
        self._lasts: dict[K, list[Last]] = {}

    def begin(self) -> None:
        """A poll begins: nobody goes back behind what it hands over."""
        for lasts in self._lasts.values():
            del lasts[:-1]

    def handed(self, place: K, last: Last) -> None:
        """A record is handed over."""
        self._lasts.setdefault(place, []).append(last)

    def back(self, place: K, offset: int) -> None:
        """What lies at an offset and behind it is handed over again."""
        self._lasts[place] = [each for each in self._lasts.get(place, ()) if each.position.offset < offset]

    def last(self, place: K) -> Last | None:
        """The last one; None: it is not known."""
        lasts = self._lasts.get(place)
        return lasts[-1] if lasts else None

    def forget(self, place: K | None = None) -> None:
        """A partition is another's, or begins anew; None: all are."""
        if place is None:
            self._lasts.clear()
        else:
            self._lasts.pop(place, None)


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
