"""When a case must be looked at again: its timers, and news from the indexers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from expunge.domain.events import Outgoing, Record, stamp
from expunge.domain.limits import MOST_FIRED, TIMERS_PER_TICK
from expunge.ports import CaseStore, Progress, TimerKey
from expunge.roles.common import COORDINATOR, on_cases
from expunge.roles.coordinator.view import LATER, View
from expunge.wire.cases.case import Applied, TimerFired
from expunge.wire.tasks import reached

APPLIED = "applied"
"""News from the indexers, among timers."""
FIRE_AGAIN = timedelta(seconds=10)
"""After this a timer that is still due is sent again: its event may never have become durable."""


class Timers:
    """What is due, sent as messages; their firing is decided on like anything else."""

    def __init__(self, store: CaseStore, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._fired: dict[TimerKey, datetime] = {}
        self._skips: dict[int, int] = {}
        """Partition -> how many of its due timers the next page leaves out."""

    def due(self, partitions: Sequence[int], now: datetime) -> list[Outgoing]:
        """Timers that are due, and news from the indexers for the cases that wait for it."""
        messages = [
            _internal(TimerFired(case_id=key.case_id, timer=key.timer), now, partition, key.timer, stamp(at))
            for partition in partitions
            for key, at in self._page(partition, now)
            if self._fire(key, now)
        ]
        return messages + self._news(partitions, now)

    def handled(self, view: View, key: TimerKey, record: Record) -> None:
        """A timer has fired: it is removed or moved in the write of this very batch."""
        self._fired.pop(key, None)
        view.fired(key, record.appended_at)

    def applied(self, case_id: str) -> None:
        """A case has heard how far the indexers are: it may wait for something else from now on."""
        self._fired.pop(TimerKey(case_id, APPLIED), None)

    def frozen(self, case_id: str, now: datetime) -> None:
        """A case does not hear how far the indexers are: it is said again later, and not at every tick."""
        self._fired[TimerKey(case_id, APPLIED)] = now + LATER

    def _page(self, partition: int, now: datetime) -> list[tuple[TimerKey, datetime]]:
        """A page of what is due. Behind a full page comes the next one, and then the first again.

        So timers that are due and not handled yet, however many they are, keep nobody waiting but for a few ticks.
        """
        skip = self._skips.get(partition, 0)
        found = self._store.due(partition, now, TIMERS_PER_TICK, skip)
        self._skips[partition] = skip + TIMERS_PER_TICK if len(found) == TIMERS_PER_TICK else 0
        return found

    def _fire(self, key: TimerKey, now: datetime) -> bool:
        """Whether to send now: a timer stays due until its event is handled, so it is not sent at every tick."""
        sent = self._fired.get(key)
        if sent is not None and now - sent < FIRE_AGAIN:
            return False
        if len(self._fired) >= MOST_FIRED:  # of partitions that are another's by now
            self._fired = {each: at for each, at in self._fired.items() if now - at < FIRE_AGAIN}
        self._fired[key] = now
        return True

    def _news(self, partitions: Sequence[int], now: datetime) -> list[Outgoing]:
        waiting = [(p, case_id, mark) for p in partitions for case_id, mark in self._store.waiting_for_index(p)]
        applied = self._progress.applied() if waiting else {}
        return [
            _internal(Applied(case_id=case_id, watermark=mark), now, partition, APPLIED, str(sorted(mark.items())))
            for partition, case_id, mark in waiting
            if reached(applied, mark) and self._fire(TimerKey(case_id, APPLIED), now)
        ]


def _internal(message: TimerFired | Applied, now: datetime, partition: int, *content: str) -> Outgoing:
    """A message of the coordinator to itself, named by what it says, so that firing twice is one event."""
    return on_cases(message, now, COORDINATOR, message.case_id, *content, partition=partition)
