"""Suppressions: what must not be collected again, of one person or data source."""

from __future__ import annotations

from expunge.domain.aggregates import suppression
from expunge.domain.aggregates.decision import Context
from expunge.domain.aggregates.suppression import GrantAgain, Suppression
from expunge.domain.events import Event, Outgoing
from expunge.roles.common import COORDINATOR
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.view import View
from expunge.wire.cases.case import GrantedAgain
from expunge.wire.cases.suppression import Published, Suppress
from expunge.wire.suppressions import SUPPRESSION_SET


class Suppressions:
    """Hears words about purposes, and publishes what comes of them."""

    def hear(self, view: View, message: Suppress | Published, context: Context, cause: Cause, waves: Waves) -> None:
        """Decide on one message."""
        decision = suppression.decide(view.suppression(message.key), message, context)
        if decision.state is None:
            return
        view.changes.suppressions[message.key] = decision.state
        for effect in decision.effects:
            if isinstance(effect, GrantAgain):
                told = GrantedAgain(case_id=effect.case_id, granted=effect.granted)
                waves.last.append(cause.say(told, effect.case_id, effect.granted.purpose))
            else:
                waves.first.append(_published(decision.state, cause))


def _published(state: Suppression, cause: Cause) -> Outgoing:
    """As ingesters see it: the newest message of a key holds everything; a tombstone lifts it."""
    identity = cause.output(SUPPRESSION_SET, state.suppression, state.sequence)
    told = Event(SUPPRESSION_SET, COORDINATOR, identity, cause.at, state.published().data())
    return Outgoing("suppressions", state.suppression, told if state.entries else None)
