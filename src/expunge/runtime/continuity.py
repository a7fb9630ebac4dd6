"""A role's partitions are begun only after what was known of them was compared with what lies there (rule "compared").

That is done for every partition that this process is given, and for all of them when the store that keeps the role's
state is another one. Where part of a log is gone the partition stands still, and everything else goes on: what an
operator says then is a fact on the ledger before anything behind the loss is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from expunge.domain.continuity import (
    GoOn,
    Log,
    Lost,
    Place,
    Reached,
    Why,
    compared,
    contradicts,
    forgotten_since,
    still,
)
from expunge.domain.events import Position, Record, millis
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Metrics
from expunge.ports.logs import Covered, Logs, Loss, Losses, Source, Word
from expunge.runtime.loop import Clock, Sink
from expunge.wire.operations import loss_acknowledged

LOOK_SECONDS = 1.0
"""So often an operator's word is looked for."""

log = structlog.get_logger()


class Continuity:
    """Which partitions of one process are begun, and where."""

    def __init__(
        self,
        role: str,
        source: Source,
        covered: Covered,
        logs: Logs,
        losses: Losses,
        metrics: Metrics,
        clock: Clock,
        sink: Sink,
        restore: Callable[[int | None, bool], None],
    ) -> None:
        # restore: what the role does at a start and when its store is another one, before anything is read again: with
        # the moment since when that may have forgotten what was handled (milliseconds since 1970; 0: perhaps all of
        # it; None: nothing), and whether it certainly has.
        self._role, self._source, self._covered, self._logs = role, source, covered, logs
        self._losses, self._metrics, self._clock, self._sink = losses, metrics, clock, sink
        self._restore, self._is_unsettled = restore, True
        self._witnesses: dict[Place, list[Reached]] = {}
        self._unproven: set[Place] = set()
        """Partitions of which the last handled record has not come again yet."""
        self._put_back_from: int | None = None
        """Since when this process has put back what this store may have forgotten."""
        self._firsts: dict[Place, int] = {}
        self._lost: dict[Place, Lost] = {}
        """Partitions that stand still."""
        self._said: set[Place] = set()
        self._looked = -math.inf

    def settle(self) -> bool:
        """Begin what can be begun. True if everything was stopped, for the store is another one.

        Raises:
            Unavailable: somebody who remembers how far the role has come cannot be asked.
        """
        is_another = self._covered.is_another()
        if is_another:
            log.warning("the store is another one: what it holds is compared", role=self._role)
            self._source.stop()  # first: if some server does not answer to be accepted, all is stopped nevertheless
            self._is_unsettled, self._put_back_from = True, None
            self._covered.accept()  # before anything is compared: if it is another one yet, that is done once more
        fresh = self._source.fresh()
        self._lost = {place: lost for place, lost in self._lost.items() if place in fresh}
        self._metrics.gauge("lost_partitions", len(self._lost), label=self._role)
        if any(place not in self._lost for place in fresh) or (fresh and self._is_time()):
            self._compare(fresh)
        return is_another

    def _is_time(self) -> bool:
        return self._clock.seconds() - self._looked >= LOOK_SECONDS

    def _compare(self, places: Collection[Place]) -> None:
        self._looked = self._clock.seconds()
        logs, committed = self._logs.logs(places), self._logs.committed_by(self._role)
        covered, noted = self._covered.covered(places), self._losses.known()
        self._put_back([place for place in places if place not in self._lost], logs, committed, covered)
        for place in places:
            self._firsts[place] = logs[place].first
            known = [by[place] for by in (committed, covered) if place in by]
            found = compared(known, logs[place])
            cut = self._lost.get(place) or (noted[place].lost if place in noted else None)
            if cut is not None and cut.why is Why.CUT:  # a log that has grown again looks as if nothing had been
                found = still(cut, known, logs[place].first)
            if isinstance(found, Lost):
                self._stand_still(place, found)
            else:
                if place in noted:
                    self._losses.settled(place)
                self._begin(place, found)

    def _put_back(
        self,
        places: Sequence[Place],
        logs: Mapping[Place, Log],
        committed: Mapping[Place, Reached],
        covered: Mapping[Place, Reached],
    ) -> None:
        """Have the role put back what the store may have forgotten, before anything is read again.

        What a process did that ended before it could say so in the store is known to nobody: so where something lies
        behind what the store knows of, that is done from there. Once for this store: a partition that is given again
        needs no more.
        """
        forgotten = [forgotten_since(covered.get(place), committed.get(place)) for place in places]
        has_forgotten = any(each is not None for each in forgotten)
        since = [each for each in forgotten if each is not None]
        since += [
            covered[place].at_ms for place in places if place in covered and logs[place].end > covered[place].next
        ]
        before = self._put_back_from
        needed = min(since, default=None)
        is_new = needed is not None and (before is None or needed < before)
        if has_forgotten and is_new:
            log.warning("the store has forgotten what was handled: it is handled again", role=self._role)
        if is_new or self._is_unsettled:
            self._restore(needed, has_forgotten)
            self._put_back_from = needed if is_new else before
        self._is_unsettled = False

    def _begin(self, place: Place, found: GoOn) -> None:
        self._witnesses[place] = list(found.witnesses)
        if found.again:
            self._unproven.add(place)
        else:
            self._unproven.discard(place)
        self._lost.pop(place, None)
        self._said.discard(place)
        self._source.begin(place, found.offset)

    def _stand_still(self, place: Place, lost: Lost) -> None:
        """Nothing of a partition is read until somebody has said that it may be, knowing what is lost."""
        word = self._losses.word(place)
        if word is not None and word.since == lost.since and word.until >= lost.until:
            self._go_on(place, lost, word)
            return
        loss = Loss(self._role, lost)
        if place not in self._said:
            self._said.add(place)
            text = "part of a log is gone: nothing is read there until an operator says `expunge acknowledge-loss`"
            where = {"topic": place[0], "partition": place[1], "what": str(loss)}
            log.error(text, role=self._role, **where)
        self._lost[place] = lost
        self._losses.note(place, loss)
        self._metrics.gauge("lost_partitions", len(self._lost), label=self._role)

    def _go_on(self, place: Place, lost: Lost, word: Word) -> None:
        """What somebody said is a fact before anything else happens; then everybody remembers where to go on.

        Of a log that was cut, whatever was appended after the last record that was handled is new, wherever it lies.
        """
        is_cut = lost.why is Why.CUT
        resume = self._logs.after(place, lost.at_ms) if is_cut else lost.until
        fact = loss_acknowledged(self._role, place, lost, resume, word.operator, word.reason)
        if self._sink.send([fact]):
            raise ConfigurationError("Kafka refuses facts for the ledger: `expunge doctor` says what to do")
        self._covered.restart(place, Position(-1 if is_cut else self._epoch(place), resume - 1))
        self._begin(place, GoOn(resume))
        self._source.commit({each: at for each, at in self._source.moved().items() if each == place})
        self._losses.settled(place)
        self._metrics.gauge("lost_partitions", len(self._lost), label=self._role)
        log.warning("goes on behind a loss", role=self._role, topic=place[0], partition=place[1])

    def _epoch(self, place: Place) -> int:
        known = self._covered.covered([place]).get(place, Reached(0)).last
        return known.leader_epoch if known is not None else -1

    def admitted(self, batch: Sequence[Record]) -> list[Record]:
        """Without what was handled before; a partition whose last handled record is another now stands still."""
        if not self._lost and not any(self._witnesses.values()):
            return list(batch)
        return [record for record in batch if self._is_new(record)]

    def _is_new(self, record: Record) -> bool:
        place = record.topic, record.partition
        if place in self._lost:
            return False
        waiting, offset, was_handled = self._witnesses.get(place, []), record.position.offset, False
        while waiting and (last := waiting[0].last) is not None and last.offset <= offset:
            lost = contradicts(waiting.pop(0), record.position, millis(record.appended_at), self._firsts[place])
            if lost is not None:
                self._source.stop([place])
                self._lost[place], self._looked = lost, -math.inf  # what follows is done before the next poll
                return False
            was_handled = was_handled or (place in self._unproven and offset == last.offset)
        self._unproven.discard(place)
        return not was_handled

    def cover(self, moved: Mapping[Place, Reached]) -> dict[Place, Reached]:
        """What was handled stands in the store: it is said there before it is committed.

        Returns:
            What may be committed: where the last handled record has not come again yet, nothing was handled since.

        Raises:
            Unavailable: the store is another one than that in which it was put.
        """
        if self._covered.is_another():
            raise Unavailable("the store is another one than before: what was handled is compared first")
        handled = {place: each for place, each in moved.items() if place not in self._unproven}
        self._covered.cover(handled)
        return handled
