"""A request that is taken back: nothing more is commanded for it, and what is gone by then is gone, and said."""

from __future__ import annotations

from expunge.domain.aggregates.case import approval, closing, confirm, words
from expunge.domain.aggregates.case.effects import SuppressNoLonger
from expunge.domain.aggregates.case.fact import CaseFact, heard
from expunge.domain.aggregates.case.gate import CANCEL
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.values import Hex
from expunge.domain.vocabulary import OVER, Status
from expunge.wire.cases.case import Reconsider
from expunge.wire.cases.words import CancellationSaid

CANCELLED = "cancelled"
"""The outcome of a request that was taken back."""


class CancelAsked(CaseFact):
    """An operator cancelled the request: nothing more is commanded, and what is with systems is withdrawn."""

    fact = "cancel_asked"
    operator: str
    control: Hex

    def change(self, case: Case) -> Case:
        """It ends when no system has a command of it any more."""
        return heard(case, self.control).model_copy(update={"cancelling": True})


def cancel(turn: Turn, message: CancellationSaid) -> None:
    """Take back what is with systems, and wait until they have let go."""
    case = turn.case
    if message.content in case.controls:
        return
    if case.status in OVER or case.cancelling:
        turn.emit(SetAside(message.place, message.content, "case_has_ended"))
        return
    approval.leave_groups(turn, *case.generations)
    turn.record(CancelAsked(operator=message.operator, control=message.content))
    words.reconsider(turn, Reconsider(case_id=case.case_id, word=CANCEL))


def end(turn: Turn) -> None:
    """The cancellation is confirmed once no system has a command of the case that it may still carry out."""
    case = turn.case
    if not case.cancelling or case.out or case.status in OVER:
        return
    closing.end(turn, Status.CANCELLED)
    confirm.say(turn, "cancelled", outcome=CANCELLED)
    if case.let_go:
        turn.emit(SuppressNoLonger())
