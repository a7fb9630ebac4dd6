"""Which records are handled alone, or not at all, because something among them has ended processes.

See rule "third death".

The first death says only that it was one of a batch. After it the records of that batch are handled one by one, so the
second is at one position, and the third at the same one sets that record aside. What passes is a suspect no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from expunge.domain.events import Record
from expunge.errors import Unavailable
from expunge.ports import MOST_DEATHS, Suspect, Suspects

log = structlog.get_logger()


class Suspicion:
    """What one process knows of deaths, its own and those of its predecessors."""

    def __init__(self, suspects: Suspects, topics: Sequence[str]) -> None:
        self._suspects, self._topics = suspects, frozenset(topics)
        self._known: dict[tuple[str, int], Suspect] | None = None
        self._parked: dict[tuple[str, int, int], str] = {}

    def refresh(self) -> None:
        """Hear what others, an operator among them, have noted; while that cannot be had, what is known stands."""
        try:
            self._load()
        except Unavailable:
            if self._known is None:
                raise

    def _load(self) -> dict[tuple[str, int], Suspect]:
        found, parked = self._suspects.known(), self._suspects.parked()
        self._parked = {place: reason for place, reason in parked.items() if place[0] in self._topics}
        self._known = {place: each for place, each in found.items() if place[0] in self._topics}
        return self._known

    def of(self, record: Record) -> Suspect | None:
        """What is known of a record; None: nothing.

        Raises:
            Unavailable: nobody knows yet, so nothing may be handled.
        """
        known, offset = self._load() if self._known is None else self._known, record.position.offset
        if self._parked and (reason := self._parked.get((record.topic, record.partition, offset))) is not None:
            return Suspect(offset, offset, MOST_DEATHS, reason, by_operator=True)
        found = known.get((record.topic, record.partition)) if known else None
        return found if found is not None and found.first <= offset <= found.last else None

    def died(self, part: Sequence[Record], error: Exception) -> None:
        """The process is about to end because of one of these records; whoever takes over must know."""
        try:
            known = self._load()
            for topic, partition in sorted({(record.topic, record.partition) for record in part}):
                offsets = [r.position.offset for r in part if (r.topic, r.partition) == (topic, partition)]
                suspect = _narrowed(known.get((topic, partition)), offsets, type(error).__name__, alone=len(part) == 1)
                self._suspects.note(topic, partition, suspect)
        except Unavailable:  # the death is not counted; the next one will be
            log.warning("a death could not be noted")

    def passed(self, part: Sequence[Record]) -> None:
        """These records were handled, or set aside, and that is committed: before, a death would bring them back."""
        if not self._known and not self._parked:
            return
        passed: dict[tuple[str, int], int] = {}
        for record in part:
            place = (record.topic, record.partition)
            passed[place] = max(record.position.offset, passed.get(place, -1))
        for place, suspect in list((self._known or {}).items()):
            if passed.get(place, -1) >= suspect.last:
                self._suspects.forget(*place)
                self._known = {each: what for each, what in (self._known or {}).items() if each != place}
        for topic, partition, offset in list(self._parked):  # one that a predecessor has passed, too
            if passed.get((topic, partition), -1) >= offset:
                self._suspects.unpark(topic, partition, offset)
                del self._parked[topic, partition, offset]


def _narrowed(known: Suspect | None, offsets: list[int], error: str, *, alone: bool) -> Suspect:
    """What is suspected after one more death. A record that was handled with others may be innocent."""
    first, last = min(offsets), max(offsets)
    if known is None or known.last < first or last < known.first:
        return Suspect(first, last, 1, error)
    deaths = known.deaths + 1 if alone else max(known.deaths, 1)
    return Suspect(max(first, known.first), min(last, known.last), min(deaths, MOST_DEATHS), error)
