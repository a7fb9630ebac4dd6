"""A role's partitions are begun only after what was known of them was compared with what lies there (rule "compared").

That is done for every partition that this process is given, and for all of them when the store that keeps the role's
state is another one. Where part of a log is gone the partition stands still, and everything else goes on: what an
operator says then is a fact on the ledger before anything behind the loss is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from expunge.domain.continuity import GoOn, Log, Lost, Place, Reached, compared, contradicts, forgotten_since
from expunge.domain.events import Position, Record
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Metrics
from expunge.ports.logs import Covered, Logs, Loss, Losses, Source, Word
from expunge.runtime.loop import Clock, Sink
from expunge.wire.ledger import loss_acknowledged

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
        restore: Callable[[int | None], None],
    ) -> None:
        # restore: what the role does when its store is another one, or where that has forgotten what was handled since
        # a moment (milliseconds since 1970; 0: perhaps all of it), before anything is read again.
        self._role, self._source, self._covered, self._logs = role, source, covered, logs
        self._losses, self._metrics, self._clock, self._sink = losses, metrics, clock, sink
        self._restore = restore
        self._witnesses: dict[Place, Position] = {}
        self._logs_of: dict[Place, Log] = {}
        self._lost: dict[Place, Lost] = {}
        """Partitions that stand still."""
        self._looked = -LOOK_SECONDS

    def settle(self) -> None:
        """Begin what can be begun.

        Raises:
            Unavailable: somebody who remembers how far the role has come cannot be asked.
        """
        if self._covered.is_another():
            log.warning("the store is another one: what it holds is compared", role=self._role)
            self._covered.accept()  # before anything is compared: if it is another one yet, that is done once more
            self._source.stop()
            self._restore(None)
        fresh = self._source.fresh()
        if not fresh:
            return
        unknown = [place for place in fresh if place not in self._lost]
        now = self._clock.seconds()
        if not unknown and now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._compare(fresh)

    def _compare(self, places: Collection[Place]) -> None:
        logs, committed = self._logs.logs(places), self._logs.committed_by(self._role)
        covered = self._covered.covered(places)
        since = [forgotten_since(covered.get(place), committed.get(place)) for place in places]
        if any(each is not None for each in since):
            log.warning("the store has forgotten what was handled: it is handled again", role=self._role)
            self._restore(min(each for each in since if each is not None))
        self._lost = {place: lost for place, lost in self._lost.items() if place in places}
        for place in places:
            found = compared([by[place] for by in (committed, covered) if place in by], logs[place])
            self._logs_of[place] = logs[place]
            if isinstance(found, Lost):
                self._stand_still(place, found)
            elif place in self._lost and self._lost[place].why != "expired" and found.witness is not None:
                self._stand_still(place, self._lost[place])  # another record lies where the last one lay
            else:
                self._begin(place, found)

    def _begin(self, place: Place, found: GoOn) -> None:
        if found.witness is not None:
            self._witnesses[place] = found.witness
        else:
            self._witnesses.pop(place, None)
        self._lost.pop(place, None)
        self._source.begin(place, found.offset)

    def _stand_still(self, place: Place, lost: Lost) -> None:
        """Nothing of a partition is read until somebody has said that it may be."""
        word = self._losses.word(place)
        if word is not None:
            self._go_on(place, lost, word)
            return
        loss = Loss(self._role, lost)
        if place not in self._lost:
            text = "part of a log is gone: nothing is read there until an operator says `expunge acknowledge-loss`"
            where = {"topic": place[0], "partition": place[1], "what": str(loss)}
            log.error(text, role=self._role, **where)
        self._losses.note(place, loss)
        self._lost[place] = lost
        self._metrics.gauge("lost_partitions", len(self._lost), label=self._role)

    def _go_on(self, place: Place, lost: Lost, word: Word) -> None:
        """What somebody said is a fact before anything else happens; then everybody remembers where to go on."""
        if self._sink.send([loss_acknowledged(self._role, place, lost, word.operator, word.reason)]):
            raise ConfigurationError("Kafka refuses facts for the ledger: `expunge doctor` says what to do")
        epoch = -1 if lost.renewed else self._epoch(place)
        if lost.renewed or lost.why == "expired":
            self._covered.restart(place, Position(epoch, lost.resume - 1))
        self._begin(place, GoOn(lost.resume))
        self._source.commit(self._source.moved())
        self._losses.settled(place)
        self._metrics.gauge("lost_partitions", len(self._lost), label=self._role)
        log.warning("goes on behind a loss", role=self._role, topic=place[0], partition=place[1])

    def _epoch(self, place: Place) -> int:
        known = self._covered.covered([place]).get(place, Reached(0)).last
        return known.leader_epoch if known is not None else -1

    def admitted(self, batch: Sequence[Record]) -> list[Record]:
        """Without what was handled before; a partition whose last handled record is another now stands still."""
        if not self._witnesses:
            return list(batch)
        return [record for record in batch if self._is_new(record)]

    def _is_new(self, record: Record) -> bool:
        place = record.topic, record.partition
        if place in self._lost:
            return False
        witness = self._witnesses.pop(place, None)
        if witness is None:
            return True
        lost = contradicts(witness, record.position, self._logs_of[place].first)
        if lost is not None:
            self._source.stop([place])
            self._stand_still(place, lost)
            return False
        return record.position.offset > witness.offset

    def cover(self, moved: Mapping[Place, Reached]) -> None:
        """What was handled stands in the store: it is said there before it is committed.

        Raises:
            Unavailable: the store is another one than that in which it was put.
        """
        if self._covered.is_another():
            raise Unavailable("the store is another one than before: what was handled is compared first")
        self._covered.cover(moved)
