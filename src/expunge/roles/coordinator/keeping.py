"""Keeps on `plans` what a batch has changed that stands on no ledger (`wire.kept`), beside everything else it says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from expunge.domain.aggregates.rate import Rate
from expunge.domain.events import Outgoing, Position, Record
from expunge.domain.values import Value
from expunge.roles.coordinator.view import View
from expunge.wire.kept import Kept, KeptKind, in_pieces, on_plans

EARLIER, FOR = 20, timedelta(hours=1)
"""So many states of one aggregate are left, and all of the last hour: the last one that was committed must be among
them, and offsets are committed a few times a second, unless the group's coordinator is away."""
_COUNTED = {"buckets", "seen"}
"""Of a rate: what changes with every plan. It is kept when a bucket begins."""


class Keeping:
    """Says what has changed, and takes back what it has said of the same long before."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, KeptKind, str], dict[tuple[str, ...], datetime]] = defaultdict(dict)
        """Parts that this process has said of what changes often, and when. What another has said before stays."""
        self._begun: set[int] = set()
        """Partitions of which it has said how they stand: a version that kept nothing may have written that."""

    def of(self, view: View) -> Iterator[Outgoing]:
        """What a batch has changed in one partition."""
        changes, at, now = view.changes, view.after, view.now
        if at is None:
            return
        if changes.standing is not None or view.partition not in self._begun:
            self._begun.add(view.partition)
            yield from self._often(view, _kept(KeptKind.STANDING, "", at, view.standing), now)
        for key, rate in changes.rates.items():
            if _is_news(rate, view.stored_rate(key)):
                yield from self._often(view, _kept(KeptKind.RATE, key, at, rate), now)
        for key, suppression in changes.suppressions.items():
            kept = _kept(KeptKind.SUPPRESSION, key, at, suppression)
            yield from (on_plans(each, view.partition) for each in in_pieces(kept))
        for kept in _waiting(changes.set_aside):
            yield from (on_plans(each, view.partition) for each in in_pieces(kept))

    def _often(self, view: View, kept: Kept, now: datetime) -> Iterator[Outgoing]:
        pieces = in_pieces(kept)
        yield from (on_plans(each, view.partition) for each in pieces)
        place, parts = (view.partition, kept.kind, kept.key), tuple(each.part for each in pieces)
        said = self._said[place]
        said.pop(parts, None)  # what is said again, for the store went back, is the latest again
        said[parts] = now
        while len(said) > EARLIER and now - said[first := next(iter(said))] > FOR:
            del said[first]
            yield from (Outgoing("plans", part, None, view.partition) for part in first)


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
