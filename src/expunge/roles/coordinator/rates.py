"""Rates: what plans of cases ask for together, and what operators say of groups of plans."""

from __future__ import annotations

from expunge.domain.aggregates import rate
from expunge.domain.aggregates.decision import Context
from expunge.domain.aggregates.rate import AnswerPlan, TellMembers
from expunge.ports import Topics
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import RateAnswered
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.words import ApprovalSaid, GroupSaid, RejectionSaid


class Rates:
    """Counts, one publisher or system at a time."""

    def __init__(self, topics: Topics, dead: DeadLetters) -> None:
        self._topics, self._dead = topics, dead

    def hear(
        self,
        view: View,
        message: RateAsked | RateLeft | ApprovalSaid | RejectionSaid,
        context: Context,
        cause: Cause,
        waves: Waves,
    ) -> None:
        """Decide on one message."""
        decision = rate.decide(view.rate(message.key), message, context)
        if decision.state is not None:
            view.changes.rates[message.key] = decision.state
        for effect in decision.effects:
            match effect:
                case AnswerPlan(asked, group, place, rules):
                    place_in_group = {"group": group, "place": place, "rules": rules}
                    mine = {"case_id": asked.case_id, "generation": asked.generation, "rate": asked.rate}
                    waves.first.append(cause.say(RateAnswered(**mine, **place_in_group)))
                case TellMembers(rate=key, verdict=verdict):
                    said = GroupSaid(rate=key, verdict=verdict)
                    for number in range(self._topics.partitions("cases")):
                        waves.first.append(cause.say(said, number, key=key, partition=number))
                case _:
                    waves.last.append(self._dead.set_aside(effect, cause.at))
