"""Cases: each is decided on by `domain.aggregates.case`; its effects become messages (`effects`)."""

from __future__ import annotations

from expunge.domain.aggregates.case.decide import Stored, decide
from expunge.domain.aggregates.decision import Context
from expunge.ports import TimerKey
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.effects import Effects
from expunge.roles.coordinator.timers import Timers
from expunge.roles.coordinator.view import View
from expunge.wire.cases.case import Applied, RequestTaken, TimerFired
from expunge.wire.cases.table import CaseMessage


class Cases:
    """Decides on one case at a time, and lays what comes of it over the state."""

    def __init__(self, effects: Effects, timers: Timers) -> None:
        self._effects, self._timers = effects, timers

    def hear(self, view: View, message: CaseMessage, context: Context, cause: Cause, waves: Waves) -> None:
        """Decide on one message."""
        if isinstance(message, Applied):  # it may wait for something else from now on
            self._timers.applied(message.case_id)
        if isinstance(message, RequestTaken) and view.case(message.case_id) is None:
            view.changes.roots[message.case_id] = message.root
        self.decide(view, message.key, message, context, cause, waves)
        if isinstance(message, TimerFired):
            self._timers.handled(view, TimerKey(message.case_id, message.timer), cause.record)

    def decide(
        self, view: View, case_id: str, message: CaseMessage, context: Context, cause: Cause, waves: Waves
    ) -> None:
        """The same for a message that others are told, too."""
        before = view.case(case_id)
        decision = decide(Stored(before, view.chunks), message, context)
        view.take(decision, before)
        self._effects.carry_out(view, case_id, decision, message, cause, waves)
