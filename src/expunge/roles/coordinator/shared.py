"""What concerns several cases and is an aggregate of its own: rates, suppressions, models made anew together."""

from __future__ import annotations

from typing import TypeGuard

from expunge.domain.admission.door import Door
from expunge.domain.aggregates import rate as rates
from expunge.domain.aggregates import suppression
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining import decide as retraining
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Record, millis
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.domain.registry import System
from expunge.domain.vocabulary import Claim
from expunge.errors import Unavailable
from expunge.ports import CaseStore, TimerKey, Topics
from expunge.roles.coordinator import retrainings
from expunge.roles.coordinator.aggregates import granted_again, group_said, published, rate_answered
from expunge.roles.coordinator.emissions import Waves
from expunge.roles.coordinator.timers import Timers
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import EmissionRefused, Receipted, Root, TimerFired
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.retraining import JoinAsked, LeaveAsked, Member, ScheduleAsked, retraining_id
from expunge.wire.cases.suppression import Published, Suppress
from expunge.wire.cases.table import Message
from expunge.wire.cases.words import ApprovalSaid, RejectionSaid
from expunge.wire.receipts import Outcome

OF_MODELS = JoinAsked | LeaveAsked | ScheduleAsked


class Shared:
    """Decides on them, each by its own pure rules, and lays what comes of it over the state."""

    def __init__(self, door: Door, store: CaseStore, topics: Topics, dead: DeadLetters, timers: Timers) -> None:
        self._door, self._store, self._topics, self._dead, self._timers = door, store, topics, dead, timers

    def count(self, view: View, message: RateAsked | RateLeft, record: Record, event: CloudEvent, waves: Waves) -> None:
        """Count what cases ask for together."""
        state = view.rate(message.rate)
        if isinstance(message, RateLeft):
            after = rates.left(state, message)
            view.changes.rates |= {message.rate: after} if after else {}
        elif answer := rates.asked(state, message, millis(record.appended_at)):
            view.changes.rates[message.rate] = answer.after
            waves.first.append(rate_answered(message, answer, record, event))

    def about_group(
        self,
        view: View,
        rate: Rate,
        message: ApprovalSaid | RejectionSaid,
        record: Record,
        event: CloudEvent,
        waves: Waves,
    ) -> None:
        """An operator's word about a group of plans, told to all of its members wherever they are."""
        let_go = isinstance(message, ApprovalSaid)
        reason = message.reason if isinstance(message, RejectionSaid) else ""
        said = (message.operator, message.plan_digest, message.content)
        word = rates.spoken(rate, *said, let_go=let_go, reason=reason)
        view.changes.rates[rate.rate] = word.after
        if word.refused:
            waves.last.append(self._dead.at(message.place, word.refused, message.content, record.appended_at))
        if word.verdict is not None:
            waves.first += group_said(rate.rate, word.verdict, self._topics.partitions("cases"), record, event)

    def refused(self, view: View, message: EmissionRefused, record: Record, event: CloudEvent, waves: Waves) -> None:
        """To the aggregate of a model it is as if the owner had failed, and said nothing else yet."""
        if (state := view.retraining(message.case_id)) is None:
            return
        outcome = Outcome(claim=Claim.FAILED, reason_code=message.reason)
        failed = Receipted(
            case_id=message.case_id,
            command_id=message.command_id,
            system=state.system,
            attempt=message.attempt,
            sequence=0,
            status="failed",
            all=outcome,
            content=name(message.command_id, message.attempt, message.reason),
            place=self._door.place_of(record),
        )
        self.retrain(view, failed, record, event, waves)

    def retrain(self, view: View, message: retraining.Heard, record: Record, event: CloudEvent, waves: Waves) -> None:
        """A model that is made anew for several cases is an aggregate of its own."""
        key = message.case_id if isinstance(message, Receipted | TimerFired) else message.retraining
        before = view.retraining(key)
        if isinstance(message, JoinAsked | LeaveAsked):
            owner = message.system
        elif before is not None:
            owner = before.system
        else:
            waves.last += [self._dead.at(*each, record.appended_at) for each in retraining.unheard(message)]
            if isinstance(message, TimerFired):
                self._timers.handled(view, TimerKey(key, message.timer), record)
            return
        system, place = self._door.registry.system(owner) or System(name=owner), self._door.place_of(record)
        if isinstance(message, Receipted):  # whatever it says of other assets is not this model's
            mine = (each for each in message.answers if self._model_of(owner, each.asset) == key)
            message = message.model_copy(update={"answers": tuple(mine)})
        turn = retraining.decide(before, message, record.appended_at, system, place)
        if turn is not None and (turn.facts or turn.emissions):
            view.take_retraining(before, turn.state)
        if isinstance(message, TimerFired):
            self._timers.handled(view, TimerKey(key, message.timer), record)
        if turn is None or not (turn.facts or turn.emissions):
            return
        first, last = retrainings.messages(turn, self._door, self._party, self._dead, record, event)
        waves.first += first
        waves.last += last

    def _model_of(self, system: str, asset: str) -> str:
        return retraining_id(system, self._door.keys.asset(asset))

    def _party(self, member: Member) -> tuple[Root, Chunk]:
        """What a member's case was opened with, and its chunk: written once, so any partition's may be read."""
        partition = partition_of(member.case_id, self._topics.partitions("cases"))
        root = self._store.reader(partition).root(member.case_id)
        if root is None:
            raise Unavailable("the root of a case is missing: the store forgot it; rebuild")
        return root, self._store.reader(partition).body(member.case_id, member.chunk)

    def suppress(
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


def is_of_model(message: Message, view: View) -> TypeGuard[retraining.Heard]:
    """Whether something is about a model that is made anew for several cases, and not for one of them."""
    if isinstance(message, TimerFired):
        return message.timer == retraining.TIMER
    return isinstance(message, OF_MODELS) or (
        isinstance(message, Receipted)
        and view.case(message.case_id) is None
        and view.retraining(message.case_id) is not None
    )
