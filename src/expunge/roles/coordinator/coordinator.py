"""The one writer of every case: decisions become messages first, then state, then the committed offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from pydantic import ValidationError

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case import hearing
from expunge.domain.aggregates.case.chunks import EMISSION_REFUSED
from expunge.domain.aggregates.case.decide import decide
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record, decode, unknown_member
from expunge.domain.partition import partition_of
from expunge.errors import ConfigurationError, Fenced, InvalidMessage, NotUnderstood, Unavailable
from expunge.ports import CaseStore, Index, Metrics, Progress, Refused, Result, Tenure, TimerKey, Topics, Vault
from expunge.roles.common import rejection
from expunge.roles.coordinator.aggregates import hold_published
from expunge.roles.coordinator.commands import COMMAND_TYPE
from expunge.roles.coordinator.emissions import SOURCE, Emitter, Waves
from expunge.roles.coordinator.freezing import Freezer, Read, case_of
from expunge.roles.coordinator.shared import OF_MODELS, Shared, is_of_model
from expunge.roles.coordinator.timers import Timers
from expunge.roles.coordinator.view import Unheard, View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import (
    Applied,
    EmissionRefused,
    Froze,
    HoldingKnown,
    Receipted,
    Reconsider,
    RequestSetAside,
    RequestTaken,
    ThawOn,
    TimerFired,
)
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.retraining import JoinAsked, LeaveAsked, ScheduleAsked
from expunge.wire.cases.suppression import Published, Suppress
from expunge.wire.cases.table import TYPE_OF, TYPES, CaseMessage, Message
from expunge.wire.cases.words import (
    ApprovalSaid,
    GroupSaid,
    HoldReadBack,
    HoldSaid,
    PauseSaid,
    RejectionSaid,
    ReleaseSaid,
    Said,
    ThawSaid,
)

CASES_PER_BROADCAST = 200
MESSAGES_PER_BROADCAST = 1000
"""What one page of cases may lead to, about: whoever comes next waits for the next page."""
_OfMany = HoldingKnown | Suppress | Published | Said | HoldReadBack | RateAsked | RateLeft
MAX_CASE_EVENT_BYTES = 1_048_576
Handler = Callable[[View, Any, Record, CloudEvent, Waves], None]


class Coordinator:
    """See `ports.Role`."""

    name = "coordinator"
    keeps_time = True
    topics = ("cases",)

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
    ) -> None:
        self._door, self._store, self._topics = door, store, topics
        dead = DeadLetters(self.name, door, vault, metrics)
        self._dead, self._emitter = dead, Emitter(door, index, topics, dead, tenure)
        self._freezer, self._timers = Freezer(dead), Timers(store, progress)
        self._shared = Shared(door, store, topics, dead, self._timers)
        self._handlers = self._table()

    def _table(self) -> dict[type[Message], Handler]:
        """Message -> whoever decides on it; a message that is not here is for the case that it names."""
        shared = self._shared
        return {
            HoldingKnown: self._declared,
            **dict.fromkeys((PauseSaid, HoldSaid, ReleaseSaid, GroupSaid), self._broadcast),
            **dict.fromkeys((RateAsked, RateLeft), shared.count),
            **dict.fromkeys((Suppress, Published), shared.suppress),
            **dict.fromkeys((JoinAsked, LeaveAsked, ScheduleAsked), shared.retrain),
            **dict.fromkeys((Receipted, TimerFired), self._of_case_or_model),
            **dict.fromkeys((ApprovalSaid, RejectionSaid), self._of_case_or_group),
            EmissionRefused: self._emission_refused,
            HoldReadBack: self._hold_read_back,
            RequestSetAside: self._rejected,
            Froze: self._froze,
            ThawOn: _nothing,
        }

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide message by message; what the state already includes is skipped whole (rule "positions")."""
        waves = Waves()
        views: dict[int, View] = {}
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for record in batch:
            by_partition[record.partition].append(record)
        for partition, records in sorted(by_partition.items()):
            view = View(self._store, partition)
            fresh = [record for record in records if view.before is None or record.position > view.before]
            if fresh:
                views[partition], decided = self._decided(view, fresh)
                waves.take(decided)
        return Result(_checked(waves, list(views.values())), dict(views))

    def _decided(self, view: View, records: Sequence[Record]) -> tuple[View, Waves]:
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

    def _partition(self, view: View, records: Sequence[Record], waves: Waves) -> None:
        read = [self._read(record) for record in records]
        view.load(each.case_id for each in read if each.case_id and not isinstance(each.message, _OfMany | OF_MODELS))
        for record, each in zip(records, read, strict=True):
            self._hear_of(view, each, record, waves)
            view.after = record.position

    def _hear_of(self, view: View, read: Read, record: Record, waves: Waves) -> None:
        """One message: handled, or set aside for a case that waits."""
        event, message = read.event, read.message
        if event is None or (message is None and not (read.unknown and read.case_id)):
            waves.last.append(self._dead.of(record, InvalidMessage("bad_case_event")))
        elif message is None:
            waves.last += self._freezer.freeze(view, read.case_id, read.unknown, record)
        elif read.case_id in view.standing.frozen and self._freezer.waits(view, read.case_id, message, record):
            if isinstance(message, Applied):  # it is said again later, and not at every tick
                self._timers.frozen(message.case_id, record.appended_at)
        elif isinstance(message, Froze):
            if self._is_known(view, message.case_id):
                self._freezer.froze(view, message, record)
        elif isinstance(message, ThawSaid | ThawOn) and message.case_id in view.standing.frozen:
            self._thaw(view, message, record, event, waves)
        elif reason := view.reason(record, read.case_id):
            waves.last += self._freezer.freeze(view, read.case_id, reason, record)
        elif not read.case_id:  # everybody is told, and whoever cannot hear it is frozen
            self._handle(view, message, record, event, waves)
        else:
            with view.hearing(record, read.case_id):
                self._handle(view, message, record, event, waves)

    def _is_known(self, view: View, key: str) -> bool:
        """Whether there is a case or a model of that id, whoever can read it."""
        if not view.can_read(key) and view.is_there(key):
            return True
        try:
            return view.case(key) is not None or view.retraining(key) is not None
        except NotUnderstood:
            return True

    def _handle(self, view: View, message: Message, record: Record, event: CloudEvent, waves: Waves) -> None:
        self._handlers.get(type(message), self._one)(view, message, record, event, waves)

    def _declared(self, view: View, message: HoldingKnown, record: Record, event: CloudEvent, waves: Waves) -> None:
        """A holding is declared: every case hears of it, one by one where it is a message to that case."""
        if message.case_id:
            self._decide(view, message.case_id, message, record, event, waves)
        else:
            self._broadcast(view, message, record, event, waves)

    def _of_case_or_model(
        self, view: View, message: Receipted | TimerFired, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        decide = self._shared.retrain if is_of_model(message, view) else self._one
        decide(view, message, record, event, waves)

    def _of_case_or_group(
        self, view: View, message: ApprovalSaid | RejectionSaid, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        if rate := view.rate(message.case_id):
            self._shared.about_group(view, rate, message, record, event, waves)
        else:
            self._one(view, message, record, event, waves)

    def _emission_refused(
        self, view: View, message: EmissionRefused, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        decide = self._one if view.case(message.case_id) is not None else self._shared.refused
        decide(view, message, record, event, waves)

    def _hold_read_back(
        self, view: View, message: HoldReadBack, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """What stands on `holds` is older than what is known here: it is said again."""
        del event
        if message.sequence < hearing.sequence(view.standing, message.hold_id):
            waves.first += hold_published(view.standing, message.hold_id, record.appended_at)

    def _froze(self, view: View, message: Froze, record: Record, event: CloudEvent, waves: Waves) -> None:
        """It had to wait itself, for there were too many."""
        del event, waves
        self._freezer.froze(view, message, record)

    def _thaw(self, view: View, message: ThawSaid | ThawOn, record: Record, event: CloudEvent, waves: Waves) -> None:
        """Handle the next message that waits for a frozen case, with the place of this one; the others come after.

        That it was thawed is a fact after those of that message: a process may have died when it had said them, and
        before it had written them down, and no number of a fact may stand for two.
        """
        case_id = message.case_id
        if isinstance(message, ThawSaid):
            self._freezer.settle(view, message)
        reason, kept = view.reason(record, case_id), None
        if isinstance(message, ThawSaid) and self._freezer.skips(view, message):
            kept = self._freezer.next(view, message)
            if kept is not None:
                waves.last.append(self._dead.parked(kept, "skipped"))
        elif reason:
            self._freezer.stay(view, case_id, reason)
            return
        else:
            self._take_up(view, message, record, waves)
        if isinstance(message, ThawSaid) and not reason and view.can_read(case_id):
            with view.hearing(record, case_id):
                if view.case(case_id) is not None:
                    self._decide(view, case_id, message, record, event, waves)
        waves.last += self._freezer.go_on(view, case_id, record, event)
        if case_id not in view.standing.frozen:
            self._timers.applied(case_id)

    def _take_up(self, view: View, message: ThawSaid | ThawOn, record: Record, waves: Waves) -> None:
        kept = self._freezer.next(view, message)
        if kept is None:
            return
        read, moved = self._read(kept), replace(kept, position=record.position)
        with view.hearing(record, message.case_id):
            if read.unknown:
                raise NotUnderstood(read.unknown)
            if read.event is None or read.message is None:
                waves.last.append(self._dead.of(moved, InvalidMessage("bad_case_event")))
            else:
                self._freezer.heard(view, read.message)
                self._handle(view, read.message, moved, read.event, waves)

    def _rejected(self, view: View, message: RequestSetAside, record: Record, event: CloudEvent, waves: Waves) -> None:
        """A request that was set aside: said to its publisher, unless an earlier message has opened its case."""
        del event
        if view.case(message.case_id) is None:
            at, data = record.appended_at, message.rejection
            waves.last.append(rejection(message.publisher, key=message.case_id, time=at, data=data))

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`: what comes for the case of the record waits for a person, in order.

        What everybody is told is told to whoever can hear it: only a case at which that raises something is frozen.
        """
        view, read = View(self._store, record.partition, suspicious=True), self._read(record)
        if view.before is not None and record.position <= view.before:
            return Result()
        waves = Waves()
        if read.case_id:
            self._freezer.park(view, read, error, record)
            view.after = record.position
        elif read.message is not None:
            view, waves = self._heard_by_those_who_can(view, record)
        else:
            view.after = record.position
        waves.last.append(self._dead.parked(record, error))
        return Result(_checked(waves, [view]), {record.partition: view})

    def _heard_by_those_who_can(self, view: View, record: Record) -> tuple[View, Waves]:
        """What everybody is told, as far as it can be heard at all: what raises before any case does is left out."""
        try:
            return self._decided(view, [record])
        except (Unavailable, Fenced, ConfigurationError):
            raise
        except Exception:  # noqa: BLE001 - it has ended processes, and its dead letter says so
            left_out = View(self._store, record.partition)
            left_out.before, left_out.after = view.before, record.position
            return left_out, Waves()

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`: of a command, its obligations are open for that reason.

        See rule "refused records".
        """
        dead, event = self._dead.refused(refused), refused.outgoing.event
        if event is None or event.type != COMMAND_TYPE:
            return dead
        case_id, command, attempt = (event.data[field] for field in ("case_id", "command_id", "attempt"))
        reason = f"{EMISSION_REFUSED}_{refused.reason}"
        said = EmissionRefused(case_id=case_id, command_id=command, attempt=attempt, reason=reason)
        kind = TYPE_OF[EmissionRefused]
        told = Event(kind, SOURCE, name(kind, command, attempt, refused.reason), event.time, said.model_dump())
        return [*dead, Outgoing("cases", case_id, told)]

    def _read(self, record: Record) -> Read:
        """A message, or as much of it as can be read."""
        try:
            event = decode(record, max_bytes=MAX_CASE_EVENT_BYTES)
        except InvalidMessage:
            return Read()
        case_id = case_of(event.data)
        if event.type not in TYPES:
            internal = event.type.startswith("expunge.internal.")
            return Read(event, None, case_id, "unknown_type" if internal else "")
        try:
            message = TYPES[event.type].model_validate(event.data)
        except ValidationError as error:
            member = unknown_member(error)
            return Read(event, None, case_id, f"unknown_{member}" if member else "")
        return Read(event, message, _key_of(message) if isinstance(message, _OfMany | OF_MODELS) else case_id)

    def _one(self, view: View, message: CaseMessage, record: Record, event: CloudEvent, waves: Waves) -> None:
        if isinstance(message, Applied):  # it may wait for something else from now on
            self._timers.applied(message.case_id)
        if isinstance(message, RequestTaken) and view.case(message.case_id) is None:
            view.changes.roots[message.case_id] = message.root
        self._decide(view, message.case_id, message, record, event, waves)
        if isinstance(message, TimerFired):
            self._timers.handled(view, TimerKey(message.case_id, message.timer), record)

    def _decide(
        self, view: View, case_id: str, message: CaseMessage, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        before, door = view.case(case_id), self._door
        decision = decide(before, view, message, record.appended_at, door.registry, door.policies, view.standing)
        view.take(decision, before)
        self._emitter.emit(view, decision, message, record, event, waves, case_id=case_id)

    def _broadcast(
        self, view: View, message: HoldingKnown | Said, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """What concerns every live case: told page by page, in messages behind whatever waits."""
        first = not message.after and not isinstance(message, HoldingKnown)
        if first and not self._hear(view, cast("Said", message), record, waves):
            return
        if not first and not isinstance(message, HoldingKnown) and hearing.overtaken(view.standing, message):
            return  # whoever says the later word tells every case
        page = view.live_cases(message.after, CASES_PER_BROADCAST)
        view.load(page)
        word = "" if isinstance(message, HoldingKnown) else hearing.word_of(message)
        told, before = "", waves.size
        for case_id in page:
            said = Reconsider(case_id=case_id, word=word) if word else cast("HoldingKnown", message)
            if case_id in view.standing.frozen:
                self._freezer.tell_later(view, case_id, said, record)
                told = case_id
                continue
            if reason := view.reason(record, case_id) or ("" if view.can_read(case_id) else "unknown_state"):
                waves.last += self._freezer.cannot_hear(view, case_id, said, record, reason)
            else:
                with view.hearing(record, case_id):
                    self._decide(view, case_id, said, record, event, waves)
            told = case_id
            if waves.size - before >= MESSAGES_PER_BROADCAST:
                break
        more = bool(page) and (told != page[-1] or len(page) == CASES_PER_BROADCAST)
        if word:
            view.changes.standing = view.standing.told(word, all_of_them=not more)
        if more:
            rest = message.model_copy(update={"after": told})
            kind = TYPE_OF[type(message)]
            identity = name(event.source, event.id, kind, told)
            again = Event(kind, SOURCE, identity, record.appended_at, rest.model_dump(mode="json"))
            waves.last.append(Outgoing("cases", told, again, view.partition))

    def _hear(self, view: View, said: Said, record: Record, waves: Waves) -> bool:
        """Take an operator's word into what stands; False if it changes nothing.

        One partition answers for a hold outside: the one to which its id belongs.
        """
        before, after = view.standing, hearing.heard(view.standing, said)
        if isinstance(said, HoldSaid | ReleaseSaid) and self._owner(hearing.hold_id_of(said)) == view.partition:
            reason = hearing.why_not(before, said)
            if reason:
                waves.last.append(self._dead.at(said.place, reason, hearing.content_of(said), record.appended_at))
            elif after is not None:
                waves.first += hold_published(after, hearing.hold_id_of(said), record.appended_at)
        if after is None:
            return False
        view.changes.standing = after
        return not hearing.overtaken(after, said)  # a hold whose release was heard first concerns nobody

    def _owner(self, key: str) -> int:
        return partition_of(key, self._topics.partitions("cases"))

    def write(self, result: Result) -> None:
        """Write each partition's batch under its position."""
        for partition, view in result.writes.items():
            if isinstance(view, View) and view.after is not None:
                self._store.write(partition, view.before, view.after, view.changes)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """See `Timers.due`."""
        return self._timers.due(partitions, now)


def _nothing(view: View, message: ThawOn, record: Record, event: CloudEvent, waves: Waves) -> None:
    """A case goes on that nothing holds up any more."""
    del view, message, record, event, waves


def _key_of(message: Message) -> str:
    """The key of the aggregate that a message is for; empty for what every case is told."""
    match message:
        case RateAsked(rate=key) | RateLeft(rate=key) | Suppress(suppression=key) | Published(suppression=key):
            return key
        case JoinAsked(retraining=key) | LeaveAsked(retraining=key) | ScheduleAsked(retraining=key):
            return key
        case _:
            return ""


def _checked(waves: Waves, views: Sequence[View]) -> Iterator[tuple[Outgoing, ...]]:
    """Waves, each of which leaves only if nothing that was decided on has changed or been forgotten since.

    The write would be refused anyway, but messages leave before it, and the ledger can never be amended.
    """
    if not waves.size:
        for view in views:
            view.check()
    for wave in waves.all():
        for view in views:
            view.check()
        yield wave
