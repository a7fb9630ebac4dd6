"""Keeps on `plans` what a batch has changed that stands on no ledger (`wire.kept`), beside everything else it says."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from expunge.domain.aggregates.rate import Rate
from expunge.domain.events import Outgoing, Position, Record
from expunge.domain.values import Value
from expunge.errors import NotUnderstood
from expunge.ports import CaseStore, Wanted
from expunge.roles.coordinator.view import View
from expunge.wire.kept import Kept, KeptKind, on_plans

LEFT, LEFT_FOR = 20, timedelta(hours=1)
"""So many states of one aggregate are left, and of the last hour one a minute: the last one that was committed must be
among them, and offsets are committed a few times a second, unless the group's coordinator is away."""
A_MINUTE = timedelta(minutes=1)
_COUNTED = {"buckets", "seen"}
"""Of a rate: what changes with every plan. It is kept when a bucket begins."""


class Keeping:
    """Says what has changed, and takes back what it has said of the same long before."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, KeptKind, str], _Said] = defaultdict(_Said)
        """What this process has said of what changes often. What another has said before stays."""
        self._written: dict[int, Position] = {}
        """Up to where this process has written partitions itself, or said how they stand."""
        self._saying: dict[int, Position] = {}

    def written(self, view: View) -> None:
        """A batch is in the store."""
        if view.after is not None:
            self._written[view.partition] = view.after

    def taken_up(self, store: CaseStore, partitions: Sequence[int]) -> Iterator[Outgoing]:
        """How partitions stand that this process holds and has not written last.

        Perhaps no message comes for long, and a version that keeps nothing may have written what stands.
        """
        self._saying = {}
        at = store.positions(partitions)
        fresh = [each for each in partitions if at[each] is not None and self._written.get(each) != at[each]]
        for number, reader in store.read({each: Wanted() for each in fresh}).items() if fresh else ():
            position = reader.position
            if position is None:
                continue
            try:
                kept = _kept(KeptKind.STANDING, "", position, reader.standing)
            except NotUnderstood:  # whoever wrote it has kept it
                continue
            self._saying[number] = position
            yield from on_plans(kept, number)

    def said(self) -> None:
        """What was said of partitions that were taken up is durable."""
        self._written |= self._saying
        self._saying = {}

    def of(self, view: View) -> Iterator[Outgoing]:
        """What a batch has changed in one partition."""
        changes, at, now = view.changes, view.after, view.now
        if at is None:
            return
        is_anothers = view.partition not in self._written or self._written[view.partition] != view.before
        if changes.standing is not None or is_anothers:
            yield from self._often(view, _kept(KeptKind.STANDING, "", at, view.standing), now)
        for key, rate in changes.rates.items():
            if _is_news(rate, view.stored_rate(key)):
                yield from self._often(view, _kept(KeptKind.RATE, key, at, rate), now)
        for key, suppression in changes.suppressions.items():
            kept = _kept(KeptKind.SUPPRESSION, key, at, suppression)
            yield from on_plans(kept, view.partition)
        for kept in _waiting(changes.set_aside):
            yield from on_plans(kept, view.partition)

    def _often(self, view: View, kept: Kept, now: datetime) -> Iterator[Outgoing]:
        messages = on_plans(kept, view.partition)
        yield from messages
        said = self._said[view.partition, kept.kind, kept.key]
        for parts in said.taken_back(tuple(each.key for each in messages), now):
            yield from (Outgoing("plans", part, None, view.partition) for part in parts)


Parts = tuple[str, ...]
"""Keys of the messages that hold one state."""


class _Said:
    """States of one aggregate that lie on `plans`."""

    def __init__(self) -> None:
        self._last: dict[Parts, datetime] = {}
        self._minutes: deque[tuple[Parts, datetime]] = deque()

    def taken_back(self, parts: Parts, now: datetime) -> Iterator[Parts]:
        """Remember one more, and forget others."""
        # What is said again, for the store went back, is the latest again.
        self._last.pop(parts, None)
        self._minutes = deque(each for each in self._minutes if each[0] != parts)
        self._last[parts] = now
        while len(self._last) > LEFT:
            first = next(iter(self._last))
            at = self._last.pop(first)
            if self._minutes and at - self._minutes[-1][1] < A_MINUTE:
                yield first
            else:
                self._minutes.append((first, at))
        while self._minutes and now - self._minutes[0][1] > LEFT_FOR:
            yield self._minutes.popleft()[0]


def _kept(kind: KeptKind, key: str, at: Position, state: Value) -> Kept:
    return Kept(kind=kind, key=key, leader_epoch=at.leader_epoch, offset=at.offset, text=state.model_dump_json())


def _is_news(after: Rate, before: Rate | None) -> bool:
    """Whether a rate has changed in more than its counts, or another bucket has begun."""
    if before is None or after.buckets.keys() - before.buckets.keys():
        return True
    return after.model_dump(exclude=_COUNTED) != before.model_dump(exclude=_COUNTED)


def _waiting(set_aside: list[tuple[str, Record]]) -> Iterator[Kept]:
    """Messages that wait for frozen cases from this batch on."""
    numbers: dict[Position, int] = defaultdict(int)
    for case_id, record in set_aside:
        position, text = record.position, (record.value or b"").decode()
        yield Kept(
            kind=KeptKind.ASIDE,
            key=case_id,
            leader_epoch=position.leader_epoch,
            offset=position.offset,
            number=numbers[position],
            text=text,
            appended_at=record.appended_at,
        )
        numbers[position] += 1
