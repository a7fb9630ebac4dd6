"""The one writer of every case: decisions become messages first, then state, then the committed offset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeGuard, cast

from expunge.domain import rates, suppression
from expunge.domain.admission.door import Door
from expunge.domain.case import hearing
from expunge.domain.case.decide import decide
from expunge.domain.case.messages import (
    TYPE_OF,
    TYPES,
    Applied,
    Approved,
    CaseMessage,
    HoldingDeclared,
    HoldPlaced,
    HoldReadBack,
    HoldReleased,
    Message,
    Opened,
    Receipted,
    Reconsider,
    Rejected,
    Root,
    Said,
    TimerFired,
)
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record, decode, millis, stamp
from expunge.domain.partition import partition_of
from expunge.domain.plan import Chunk
from expunge.domain.rates import Rate, RateAsked, RateLeft
from expunge.domain.registry import System
from expunge.domain.retraining import decide as retrain
from expunge.domain.retraining.messages import Joined, Left, Member, Scheduled, retraining_id
from expunge.domain.suppression import Published, Suppress
from expunge.domain.task import reached
from expunge.errors import InvalidMessage, Unavailable
from expunge.ports import CaseStore, Index, Metrics, Progress, Result, Tenure, TimerKey, Topics, Vault
from expunge.stages import retrainings
from expunge.stages.aggregates import granted_again, group_said, hold_published, published, rate_answered
from expunge.stages.dead_letters import DeadLetters
from expunge.stages.emissions import SOURCE, Emitter, Waves
from expunge.stages.view import View

TIMERS_PER_TICK = 200
CASES_PER_BROADCAST = 200
MESSAGES_PER_BROADCAST = 1000
"""What one page of cases may lead to, about: whoever comes next waits for the next page."""
_OfModels = Joined | Left | Scheduled
_OfMany = HoldingDeclared | Suppress | Published | Said | HoldReadBack | RateAsked | RateLeft
FIRE_AGAIN = timedelta(seconds=10)
"""After this a timer that is still due is sent again: its event may never have become durable."""
MAX_CASE_EVENT_BYTES = 1_048_576


class Coordinator:
    """See `ports.Stage`."""

    name = "coordinator"
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
        self._door, self._store, self._progress, self._topics = door, store, progress, topics
        dead = DeadLetters(self.name, door, vault, metrics)
        self._dead, self._emitter = dead, Emitter(door, index, topics, dead, tenure)
        self._fired: dict[TimerKey, datetime] = {}

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide message by message; what the state already includes is skipped whole (PROTOCOLS 1)."""
        waves = Waves()
        views: dict[int, object] = {}
        by_partition: dict[int, list[Record]] = defaultdict(list)
        for record in batch:
            by_partition[record.partition].append(record)
        for partition, records in sorted(by_partition.items()):
            view = View(self._store, partition)
            fresh = [record for record in records if view.before is None or record.position > view.before]
            if fresh:
                self._partition(view, fresh, waves)
                view.check()
                views[partition] = view
        return Result(waves.all(), views)

    def _partition(self, view: View, records: Sequence[Record], waves: Waves) -> None:  # noqa: C901 - a table of messages
        read = [self._read(record) for record in records]
        view.load(message.case_id for _, message in read if message and not isinstance(message, _OfMany | _OfModels))
        for record, (event, message) in zip(records, read, strict=True):
            if message is None or event is None:
                waves.last.append(self._dead.of(record, InvalidMessage("bad_case_event")))
            elif isinstance(message, HoldingDeclared | Said):
                self._broadcast(view, message, record, event, waves)
            elif isinstance(message, RateAsked | RateLeft):
                self._count(view, message, record, event, waves)
            elif isinstance(message, Approved | Rejected) and (rate := view.rate(message.case_id)):
                self._about_group(view, rate, message, record, event, waves)
            elif isinstance(message, HoldReadBack):
                if message.sequence < hearing.sequence(view.standing, message.hold_id):
                    waves.first += hold_published(view.standing, message.hold_id, record.appended_at)
            elif isinstance(message, Suppress | Published):
                self._suppress(view, message, record, event, waves)
            elif _is_of_model(message, view):
                self._retrain(view, message, record, event, waves)
            elif not isinstance(message, _OfModels):
                self._one(view, message, record, event, waves)
            view.after = record.position

    def _retrain(self, view: View, message: retrain.Heard, record: Record, event: CloudEvent, waves: Waves) -> None:
        """A model that is made anew for several cases is an aggregate of its own."""
        key = message.case_id if isinstance(message, Receipted | TimerFired) else message.retraining
        if isinstance(message, TimerFired):
            self._fired.pop(TimerKey(key, message.timer), None)
        before = view.retraining(key)
        if isinstance(message, Joined | Left):
            owner = message.system
        elif before is not None:
            owner = before.system
        else:
            waves.last += [self._dead.at(*each, record.appended_at) for each in retrain.unheard(message)]
            return
        system, place = self._door.registry.system(owner) or System(name=owner), self._door.place_of(record)
        if isinstance(message, Receipted):  # whatever it says of other assets is not this model's
            mine = (each for each in message.answers if self._model_of(owner, each.asset) == key)
            message = message.model_copy(update={"answers": tuple(mine)})
        turn = retrain.decide(before, message, record.appended_at, system, place)
        if turn is None or not (turn.facts or turn.emissions):
            return
        view.take_retraining(before, turn.state)
        first, last = retrainings.messages(turn, self._door, self._party, self._dead, record, event)
        waves.first += first
        waves.last += last

    def _model_of(self, system: str, asset: str) -> str:
        return retraining_id(system, self._door.keys.asset(asset))

    def _party(self, member: Member) -> tuple[Root, Chunk]:
        """What a member's case was opened with, and its chunk: written once, so any partition's may be read."""
        partition = self._owner(member.case_id)
        root = self._store.root(partition, member.case_id)
        if root is None:
            raise Unavailable("the root of a case is missing: the store forgot it; rebuild")
        return root, self._store.reader(partition).body(member.case_id, member.chunk)

    def _suppress(
        self, view: View, message: Suppress | Published, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """A suppression is its own aggregate; what it leads to names no case but those whose purposes came back."""
        key = message.suppression
        before = view.changes.suppressions.get(key) or self._store.suppression(view.partition, key)
        outcome = suppression.decide(before, message)
        view.changes.suppressions[key] = outcome.after
        if outcome.publish:
            waves.first.append(published(outcome.after, record, event))
        waves.last += [granted_again(case_id, granted, record, event) for case_id, granted in outcome.granted]

    def _read(self, record: Record) -> tuple[CloudEvent | None, Message | None]:
        try:
            event = decode(record, max_bytes=MAX_CASE_EVENT_BYTES)
            return event, TYPES[event.type].model_validate(event.data)
        except (InvalidMessage, KeyError, ValueError):
            return None, None

    def _one(self, view: View, message: CaseMessage, record: Record, event: CloudEvent, waves: Waves) -> None:
        if isinstance(message, HoldingDeclared):
            return
        if isinstance(message, TimerFired):
            self._fired.pop(TimerKey(message.case_id, message.timer), None)
        if isinstance(message, Applied):  # it may wait for something else from now on
            self._fired.pop(TimerKey(message.case_id, "applied"), None)
        if isinstance(message, Opened) and view.case(message.case_id) is None:
            view.changes.roots[message.case_id] = message.root
        self._decide(view, message.case_id, message, record, event, waves)

    def _decide(
        self, view: View, case_id: str, message: CaseMessage, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        before, door = view.case(case_id), self._door
        decision = decide(before, view, message, record.appended_at, door.registry, door.policies, view.standing)
        view.take(decision, before)
        self._emitter.emit(view, decision, message, record, event, waves, case_id=case_id)

    def _broadcast(
        self, view: View, message: HoldingDeclared | Said, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """What concerns every live case: told page by page, in messages behind whatever waits."""
        first = not message.after and not isinstance(message, HoldingDeclared)
        if first and not self._hear(view, cast("Said", message), record, waves):
            return
        if not first and not isinstance(message, HoldingDeclared) and hearing.overtaken(view.standing, message):
            return  # whoever says the later word tells every case
        page = view.live_cases(message.after, CASES_PER_BROADCAST)
        view.load(page)
        word = "" if isinstance(message, HoldingDeclared) else hearing.word_of(message)
        told, before = "", waves.size
        for case_id in page:
            said = Reconsider(case_id=case_id, word=word) if word else cast("HoldingDeclared", message)
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
        if isinstance(said, HoldPlaced | HoldReleased) and self._owner(hearing.hold_id_of(said)) == view.partition:
            reason = hearing.why_not(before, said)
            if reason:
                waves.last.append(self._dead.at(said.place, reason, hearing.content_of(said), record.appended_at))
            elif after is not None:
                waves.first += hold_published(after, hearing.hold_id_of(said), record.appended_at)
        if after is None:
            return False
        view.changes.standing = after
        return not hearing.overtaken(after, said)  # a hold whose release was heard first concerns nobody

    def _count(
        self, view: View, message: RateAsked | RateLeft, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """Count what cases ask for together."""
        state = view.rate(message.rate)
        if isinstance(message, RateLeft):
            after = rates.left(state, message)
            view.changes.rates |= {message.rate: after} if after else {}
        elif answer := rates.asked(state, message, millis(record.appended_at)):
            view.changes.rates[message.rate] = answer.after
            waves.first.append(rate_answered(message, answer, record, event))

    def _about_group(
        self, view: View, rate: Rate, message: Approved | Rejected, record: Record, event: CloudEvent, waves: Waves
    ) -> None:
        """An operator's word about a group of plans, told to all of its members wherever they are."""
        let_go = isinstance(message, Approved)
        reason = message.reason if isinstance(message, Rejected) else ""
        said = (message.operator, message.plan_digest, message.content)
        word = rates.spoken(rate, *said, let_go=let_go, reason=reason)
        view.changes.rates[rate.rate] = word.after
        if word.refused:
            waves.last.append(self._dead.at(message.place, word.refused, message.content, record.appended_at))
        if word.verdict is not None:
            waves.first += group_said(rate.rate, word.verdict, self._topics.partitions("cases"), record, event)

    def _owner(self, key: str) -> int:
        return partition_of(key, self._topics.partitions("cases"))

    def write(self, result: Result) -> None:
        """Write each partition's batch under its position."""
        for partition, view in result.writes.items():
            if isinstance(view, View) and view.after is not None:
                self._store.write(partition, view.before, view.after, view.changes)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Timers that are due, and news from the indexers for the cases that wait for it."""
        messages = [
            _internal(TimerFired(case_id=key.case_id, timer=key.timer), now, partition, key.timer, stamp(at))
            for partition in partitions
            for key, at in self._store.due(partition, now, TIMERS_PER_TICK)
            if self._fire(key, now)
        ]
        return messages + self._news(partitions, now)

    def _fire(self, key: TimerKey, now: datetime) -> bool:
        """Whether to send now: a timer stays due until its event is handled, so it is not sent at every tick."""
        sent = self._fired.get(key)
        if sent is not None and now - sent < FIRE_AGAIN:
            return False
        self._fired[key] = now
        return True

    def _news(self, partitions: Sequence[int], now: datetime) -> list[Outgoing]:
        waiting = [(p, case_id, mark) for p in partitions for case_id, mark in self._store.waiting_for_index(p)]
        applied = self._progress.applied() if waiting else {}
        return [
            _internal(Applied(case_id=case_id, watermark=mark), now, partition, "applied", str(sorted(mark.items())))
            for partition, case_id, mark in waiting
            if reached(applied, mark) and self._fire(TimerKey(case_id, "applied"), now)
        ]


def _is_of_model(message: Message, view: View) -> TypeGuard[retrain.Heard]:
    """Whether something is about a model that is made anew for several cases, and not for one of them."""
    if isinstance(message, TimerFired):
        return message.timer == retrain.TIMER
    return isinstance(message, _OfModels) or (
        isinstance(message, Receipted)
        and view.case(message.case_id) is None
        and view.retraining(message.case_id) is not None
    )


def _internal(message: TimerFired | Applied, now: datetime, partition: int, *content: str) -> Outgoing:
    """A message of the coordinator to itself, named by what it says, so that firing twice is one event."""
    kind = TYPE_OF[type(message)]
    identity = name(kind, message.case_id, *content)
    event = Event(kind, SOURCE, identity, now, message.model_dump(mode="json"))
    return Outgoing("cases", message.case_id, event, partition)
