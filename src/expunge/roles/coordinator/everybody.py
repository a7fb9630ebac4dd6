"""What every case of a partition must obey or hear: taken into what stands there, and told page by page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from expunge.domain.aggregates.decision import Context, SetAside
from expunge.domain.aggregates.standing import decide as standing
from expunge.domain.aggregates.standing.decide import PublishHold, TellCases
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing
from expunge.domain.limits import CASES_PER_BROADCAST, MESSAGES_PER_BROADCAST
from expunge.domain.partition import partition_of
from expunge.ports import Topics
from expunge.roles.common import COORDINATOR
from expunge.roles.coordinator.cases import Cases
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.freezing import Freezer
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import HoldingKnown, Reconsider
from expunge.wire.cases.words import HoldReadBack, HoldSaid, ReleaseSaid, Said
from expunge.wire.holds import HOLD_SET, HeldScope, HoldSet


class Everybody:
    """Hears what is said to all, and tells them."""

    def __init__(self, cases: Cases, freezer: Freezer, topics: Topics, dead: DeadLetters) -> None:
        self._cases, self._freezer, self._topics, self._dead = cases, freezer, topics, dead

    def hear(
        self, view: View, message: Said | HoldingKnown | HoldReadBack, context: Context, cause: Cause, waves: Waves
    ) -> None:
        """Decide on one message. A holding that is declared may be said to one case alone."""
        if isinstance(message, HoldingKnown) and message.case_id:
            self._cases.hear(view, message, context, cause, waves)
            return
        decision = standing.decide(view.standing, message, context)
        if decision.state is not None and decision.state is not view.standing:
            view.changes.standing = decision.state
        for effect in decision.effects:
            match effect:
                case PublishHold(hold_id):
                    if self._answers_for(view, message):
                        waves.first += _published(view.standing, hold_id, cause.at)
                case SetAside():
                    if self._answers_for(view, message):
                        waves.last.append(self._dead.set_aside(effect, cause.at))
                case TellCases(word):
                    if not isinstance(message, HoldReadBack):
                        self._tell(view, message, word, context, cause, waves)

    def _answers_for(self, view: View, message: Said | HoldingKnown | HoldReadBack) -> bool:
        """Whether this partition speaks of a hold to those outside: one does, that to which its id belongs."""
        if not isinstance(message, HoldSaid | ReleaseSaid):
            return True
        return partition_of(standing.hold_id_of(message), self._topics.partitions("cases")) == view.partition

    def _tell(
        self, view: View, message: Said | HoldingKnown, word: str, context: Context, cause: Cause, waves: Waves
    ) -> None:
        """Tell one page of the live cases; the others are told in a message behind whatever waits."""
        page = view.live_cases(message.after, CASES_PER_BROADCAST)
        view.load(page)
        told = self._tell_page(view, page, message, word, context, cause, waves)
        more = bool(page) and (told != page[-1] or len(page) == CASES_PER_BROADCAST)
        if word:
            view.changes.standing = view.standing.told(word, all_of_them=not more)
        if more:
            rest = message.model_copy(update={"after": told})
            waves.last.append(cause.say(rest, told, key=told, partition=view.partition))

    def _tell_page(
        self,
        view: View,
        page: Iterable[str],
        message: Said | HoldingKnown,
        word: str,
        context: Context,
        cause: Cause,
        waves: Waves,
    ) -> str:
        """Tell cases until that has led to enough messages; the last one that was told."""
        told, before = "", waves.size
        for case_id in page:
            said = message if isinstance(message, HoldingKnown) else Reconsider(case_id=case_id, word=word)
            self._tell_case(view, case_id, said, replace(context, standing=view.standing), cause, waves)
            told = case_id
            if waves.size - before >= MESSAGES_PER_BROADCAST:
                break
        return told

    def _tell_case(
        self,
        view: View,
        case_id: str,
        said: Reconsider | HoldingKnown,
        context: Context,
        cause: Cause,
        waves: Waves,
    ) -> None:
        record = cause.record
        if case_id in view.standing.frozen:
            self._freezer.tell_later(view, case_id, said, record)
        elif reason := view.reason(record, case_id) or ("" if view.can_read(case_id) else "unknown_state"):
            waves.last += self._freezer.cannot_hear(view, case_id, said, record, reason)
        else:
            with view.hearing(record, case_id):
                self._cases.decide(view, case_id, said, context, cause, waves)


def _published(stands: Standing, hold_id: str, time: datetime) -> list[Outgoing]:
    """A hold as it stands on `holds`: the newest message of an id holds everything. Nothing of one never placed."""
    hold, sequence = stands.holds.get(hold_id), standing.sequence(stands, hold_id)
    if hold is None:
        return []
    end = stands.release_of(hold_id)
    said = HoldSet(
        hold_id=hold_id,
        sequence=sequence,
        scope=HeldScope(kind=hold.scope.kind, value=hold.scope.value),
        basis=hold.basis,
        custodian=hold.custodian,
        operator=hold.operator,
        placed_at=hold.placed_at,
        review_by=hold.review_by,
        released_at=end.at if end else None,
        released_by=end.operator if end else None,
    )
    event = Event(HOLD_SET, COORDINATOR, name(HOLD_SET, hold_id, sequence), time, said.data())
    return [Outgoing("holds", hold_id, event)]
