"""The one writer of every case: decisions become messages first, then state, then the committed offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import EMISSION_REFUSED
from expunge.domain.aggregates.decision import Context
from expunge.domain.events import Outgoing, Record, decode, unknown_member
from expunge.domain.limits import MAX_CASE_EVENT_BYTES
from expunge.domain.topics import read_by
from expunge.errors import ConfigurationError, Fenced, InvalidMessage, NotUnderstood, Unavailable
from expunge.ports import Batch, CaseStore, Index, Metrics, Progress, Refused, Result, Tenure, Topics, Vault, Wanted
from expunge.roles.common import COORDINATOR, on_cases
from expunge.roles.coordinator.again import NotesAgain
from expunge.roles.coordinator.cases import Cases
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.effects import Effects, is_command
from expunge.roles.coordinator.everybody import Everybody
from expunge.roles.coordinator.freezing import Freezer, ReadMessage, case_of
from expunge.roles.coordinator.keeping import Keeping
from expunge.roles.coordinator.rates import Rates
from expunge.roles.coordinator.retrainings import Retrainings
from expunge.roles.coordinator.suppressions import Suppressions
from expunge.roles.coordinator.timers import Timers
from expunge.roles.coordinator.view import Unheard, View
from expunge.roles.dead_letters import SKIPPED, DeadLetters
from expunge.wire.cases.case import Applied, EmissionRefused, Froze, ThawOn
from expunge.wire.cases.rate import RateAsked
from expunge.wire.cases.said import Aggregate, among_rates
from expunge.wire.cases.table import TYPE_OF, TYPES, Message
from expunge.wire.cases.words import ThawSaid


class Room(Protocol):
    """Where messages for one kind of aggregate are decided on."""

    def hear(self, view: View, message: Any, context: Context, cause: Cause, waves: Waves) -> None:
        """Decide on one message: lay what changes over the state, and append what it leads to."""


class Coordinator:
    """See `ports.Role`."""

    name = "coordinator"
    keeps_time = True
    cuts_batches = False
    topics = read_by(name)

    def __init__(
        self,
        door: Door,
        store: CaseStore,
        index: Index,
        progress: Progress,
        topics: Topics,
        vault: Vault,
        metrics: Metrics,
        tenure: Tenure,
        *,
        apart: bool = False,
    ) -> None:
        # apart: the index may forget what was written last while the state does not.
        self._door, self._store = door, store
        self._again = NotesAgain(index, door.keys, apart=apart)
        dead = DeadLetters(self.name, door, vault, metrics)
        self._dead, self._freezer, self._timers = dead, Freezer(dead), Timers(store, progress)
        self._effects = Effects(door, index, topics, dead, tenure)
        self._cases, self._keeping = Cases(self._effects, self._timers), Keeping()
        self._rooms: Mapping[Aggregate, Room] = {
            Aggregate.CASE: self._cases,
            Aggregate.RATE: Rates(topics, dead),
            Aggregate.SUPPRESSION: Suppressions(),
            Aggregate.RETRAINING: Retrainings(door, store, topics, dead, self._timers),
            Aggregate.STANDING: Everybody(self._cases, self._freezer, topics, dead),
        }

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide message by message; what the state already includes is skipped whole (rule "positions")."""
        waves = Waves()
        views: dict[int, View] = {}
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for record in batch:
            by_partition[record.partition].append(record)
        said = {each: [(record, _read(record)) for record in found] for each, found in sorted(by_partition.items())}
        readers = self._store.read({each: _wanted(read for _, read in found) for each, found in said.items()})
        for partition, found in said.items():
            view = View(self._store, partition, readers[partition])
            fresh = [each for each in found if view.before is None or each[0].position > view.before]
            if fresh:
                view, decided = self._decided(view, fresh)
                views[partition] = view
                waves.take(decided)
            self._again.look(view, found)
            waves.last += self._effects.settle(view)
        return Result(self._checked(waves, list(views.values())), dict(views))

    def _decided(self, view: View, records: Sequence[tuple[Record, ReadMessage]]) -> tuple[View, Waves]:
        """The state after some messages, and what follows from them.

        Where it turns out that a case cannot hear one of them, all are decided anew without that: what the attempt had
        changed by then is no state that anything has led to.
        """
        while True:
            waves = Waves()
            try:
                self._partition(view, records, waves)
            except Unheard as unheard:
                view = view.anew(unheard)
            else:
                return view, waves

    def _partition(self, view: View, records: Sequence[tuple[Record, ReadMessage]], waves: Waves) -> None:
        view.load(_wanted(read for _, read in records).cases)
        for record, each in records:
            self._hear_of(view, each, record, waves)
            view.after, view.now = record.position, record.appended_at
        waves.last += self._effects.settle(view)

    def _hear_of(self, view: View, read: ReadMessage, record: Record, waves: Waves) -> None:
        """One message: decided on, or set aside for a case that waits."""
        event, message, frozen = read.event, read.message, view.standing.frozen
        if event is None or (message is None and not (read.unknown and read.key)):
            waves.last.append(self._dead.of(record, InvalidMessage("bad_case_event")))
        elif message is None:
            waves.last += self._freezer.freeze(view, read.key, read.unknown, record)
        elif isinstance(message, Froze):
            if read.key in frozen or self._is_known(view, read.key):
                self._freezer.froze(view, message, record)
        elif isinstance(message, ThawSaid | ThawOn) and read.key in frozen:
            self._thaw(view, message, Cause(record, event), waves)
        elif read.key in frozen:
            self._freezer.let_wait(view, read.key, message, record)
            if isinstance(message, Applied):  # it is said again later, and not at every tick
                self._timers.frozen(message.case_id, record.appended_at)
        elif reason := view.reason(record, read.key):
            waves.last += self._freezer.freeze(view, read.key, reason, record)
        elif not read.key:  # everybody is told, and whoever cannot hear it is frozen
            self._hear(view, message, Cause(record, event), waves)
        else:
            with view.hearing(record, read.key):
                self._hear(view, message, Cause(record, event), waves)

    def _is_known(self, view: View, key: str) -> bool:
        """Whether there is a case or a model of that id, whoever can read it."""
        try:
            return view.is_there(key) or view.retraining(key) is not None
        except NotUnderstood:
            return True

    def _hear(self, view: View, message: Message, cause: Cause, waves: Waves) -> None:
        """Look up who decides on a message: its type says so."""
        if isinstance(message, ThawOn):  # a case goes on that nothing holds up any more
            return
        if isinstance(message, Froze):  # it had to wait itself, for there were too many
            self._freezer.froze(view, message, cause.record)
            return
        room = self._rooms[view.aggregate_of(message)]
        room.hear(view, message, self._context(view, cause), cause, waves)

    def _context(self, view: View, cause: Cause) -> Context:
        door, place = self._door, self._door.place_of(cause.record)
        return Context(cause.at, place, door.registry, door.policies, door.keys, view.standing)

    def _thaw(self, view: View, message: ThawSaid | ThawOn, cause: Cause, waves: Waves) -> None:
        """Handle the next message that waits for a frozen case, with the place of this one; the others come after.

        That it was thawed is a fact after those of that message: a process may have died when it had said them, and
        before it had written them down, and no number of a fact may stand for two.
        """
        case_id, record = message.case_id, cause.record
        if isinstance(message, ThawSaid):
            self._freezer.settle(view, message)
        reason, kept = view.reason(record, case_id), None
        if isinstance(message, ThawSaid) and self._freezer.skips(view, message):
            kept = self._freezer.next(view, message)
            if kept is not None:
                waves.last.append(self._dead.parked(kept, SKIPPED))
        elif reason:
            self._freezer.stay(view, case_id, reason)
            return
        else:
            self._take_up(view, message, record, waves)
        if isinstance(message, ThawSaid) and not reason and view.can_read(case_id):
            with view.hearing(record, case_id):
                if view.case(case_id) is not None:
                    self._cases.hear(view, message, self._context(view, cause), cause, waves)
        waves.last += self._freezer.go_on(view, case_id, cause)
        if case_id not in view.standing.frozen:
            self._timers.applied(case_id)

    def _take_up(self, view: View, message: ThawSaid | ThawOn, record: Record, waves: Waves) -> None:
        kept = self._freezer.next(view, message)
        if kept is None:
            return
        read, moved = _read(kept), replace(kept, position=record.position)
        with view.hearing(record, message.case_id):
            if read.unknown:
                raise NotUnderstood(read.unknown)
            if read.event is None or read.message is None:
                waves.last.append(self._dead.of(moved, InvalidMessage("bad_case_event")))
            else:
                self._freezer.heard(view, read.message)
                heard = read.message
                heard = heard.taken_up(record.position) if isinstance(heard, RateAsked) else heard
                self._hear(view, heard, Cause(moved, read.event), waves)

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`: what comes for the case of the record waits for a person, in order.

        What everybody is told is told to whoever can hear it: only a case at which that raises something is frozen.
        """
        view, read = View(self._store, record.partition, suspicious=True), _read(record)
        if view.before is not None and record.position <= view.before:
            return Result()
        waves = Waves()
        if read.key:
            self._freezer.park(view, read, error, record)
            view.after, view.now = record.position, record.appended_at
        elif read.message is not None:
            view, waves = self._heard_by_those_who_can(view, record, read)
        else:
            view.after, view.now = record.position, record.appended_at
        waves.last.append(self._dead.parked(record, error))
        return Result(self._checked(waves, [view]), {record.partition: view})

    def _heard_by_those_who_can(self, view: View, record: Record, read: ReadMessage) -> tuple[View, Waves]:
        """What everybody is told, as far as it can be heard at all: what raises before any case does is left out."""
        try:
            return self._decided(view, [(record, read)])
        except (Unavailable, Fenced, ConfigurationError):
            raise
        except Exception:  # noqa: BLE001 - it has ended processes, and its dead letter says so
            left_out = View(self._store, record.partition)
            left_out.before, left_out.after, left_out.now = view.before, record.position, record.appended_at
            return left_out, Waves()

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`: of a command, its obligations are open for that reason.

        See rule "refused records".
        """
        dead, event = self._dead.refused(refused), refused.outgoing.event
        if event is None or not is_command(event):
            return dead
        case_id, command, attempt = (event.data[field] for field in ("case_id", "command_id", "attempt"))
        reason = f"{EMISSION_REFUSED}_{refused.reason}"
        said = EmissionRefused(case_id=case_id, command_id=command, attempt=attempt, reason=reason)
        return [*dead, on_cases(said, event.time, COORDINATOR, command, attempt, refused.reason)]

    def write(self, result: Result) -> None:
        """Write each partition's batch under its position."""
        views = (view for view in result.writes.values() if isinstance(view, View))
        written = [view for view in views if view.after]
        batches = [Batch(v.partition, v.before, v.after, v.changes) for v in written if v.after]
        if batches:
            self._store.write(batches)
        for view in written:
            self._keeping.written(view)

    def _checked(self, waves: Waves, views: Sequence[View]) -> Iterator[tuple[Outgoing, ...]]:
        """Waves, each of which leaves only if nothing that was decided on has changed or been forgotten since.

        The write would be refused anyway, but messages leave before it, and the ledger can never be amended.
        """
        waves.last += [message for view in views for message in self._keeping.of(view)]
        sent = waves.all()
        if not sent:
            self._check(views)
        for wave in sent:
            self._check(views)
            yield wave

    def _check(self, views: Sequence[View]) -> None:
        """See that nobody wrote while this was read: a decision on a state of two moments is nobody's decision.

        Raises:
            Fenced: somebody did: another process owns the partition.
        """
        stored = self._store.positions([view.partition for view in views]) if views else {}
        if any(stored[view.partition] != view.before for view in views):
            raise Fenced("the state of this partition changed while it was read")

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """See `Timers.due`; and how partitions stand that were taken up."""
        return [*self._timers.due(partitions, now), *self._keeping.taken_up(self._store, partitions)]

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""
        self._keeping.said()


def _wanted(read: Iterable[ReadMessage]) -> Wanted:
    """What a decision on some messages will ask for first."""
    cases, rates, suppressions = set[str](), set[str](), set[str]()
    for each in read:
        message = each.message
        if message is None or message.aggregate in {Aggregate.CASE, Aggregate.STANDING}:
            cases |= {each.key} - {""}  # those of all cases that are said to one alone, too
        elif isinstance(message, RateAsked):
            rates |= {ask.rate for ask in message.asks}
        elif message.aggregate is Aggregate.SUPPRESSION:
            suppressions.add(each.key)
    return Wanted(cases, rates, suppressions)


def _read(record: Record) -> ReadMessage:
    """A message, or as much of it as can be read."""
    try:
        event = decode(record, max_bytes=MAX_CASE_EVENT_BYTES)
    except InvalidMessage:
        return ReadMessage()
    case_id = case_of(event.data)
    if case_id and event.type == TYPE_OF[RateAsked]:
        case_id = among_rates(case_id)
    if event.type not in TYPES:
        internal = event.type.startswith("expunge.internal.")
        return ReadMessage(event, None, case_id, "unknown_type" if internal else "")
    try:
        message = TYPES[event.type].model_validate(event.data)
    except ValidationError as error:
        member = unknown_member(error)
        return ReadMessage(event, None, case_id, f"unknown_{member}" if member else "")
    return ReadMessage(event, message, message.key)
