"""Rates: what plans of cases ask for together, and what operators say of groups of plans."""

from __future__ import annotations

from expunge.domain.aggregates import rate
from expunge.domain.aggregates.decision import Context
from expunge.domain.aggregates.rate import AnswerPlan, RateDecision, TellMembers
from expunge.ports import Topics
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import RateAnswered
from expunge.wire.cases.rate import RateAnswer, RateAsked, RateLeft
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
        """Decide on one message, for each rate of which it speaks."""
        answers: list[RateAnswer] = []
        keys = [ask.rate for ask in message.asks] if isinstance(message, RateAsked) else [message.key]
        for key in keys:
            decision = rate.decide(view.rate(key), message, context, key)
            if decision.state is not None:
                view.changes.rates[key] = decision.state
            self._carry_out(decision, answers, cause, waves)
        if isinstance(message, RateAsked) and answers:
            mine = {"case_id": message.case_id, "generation": message.generation}
            waves.first.append(cause.say(RateAnswered(**mine, answers=tuple(answers))))

    def _carry_out(self, decision: RateDecision, answers: list[RateAnswer], cause: Cause, waves: Waves) -> None:
        for effect in decision.effects:
            match effect:
                case AnswerPlan(said):
                    answers.append(said)
                case TellMembers(rate=key, verdict=verdict):
                    word = GroupSaid(rate=key, verdict=verdict)
                    for number in range(self._topics.partitions("cases")):
                        waves.first.append(cause.say(word, number, key=key, partition=number))
                case _:
                    waves.last.append(self._dead.set_aside(effect, cause.at))
