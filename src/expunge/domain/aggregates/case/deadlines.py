"""The dates of a case: what is said when they come near or pass, and how they are put off."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.aggregates.case import closing, confirm
from expunge.domain.aggregates.case.fact import CaseFact, heard
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.values import Hex
from expunge.domain.vocabulary import CLOSED
from expunge.wire.cases.words import ExtensionSaid


class Warned(CaseFact):
    """The due date came near while something was open."""

    fact = "warned"

    def change(self, case: Case) -> Case:
        """Once for each due date."""
        return case.model_copy(update={"warned": True})


class Extended(CaseFact):
    """An operator put the due date off, and the requester was told why."""

    fact = "extended"
    due_at: datetime
    warn_at: datetime
    operator: str
    control: Hex

    def change(self, case: Case) -> Case:
        """Once for a case."""
        put_off = {"due_at": self.due_at, "warn_at": self.warn_at, "extended": True, "warned": False}
        return heard(case, self.control).model_copy(update=put_off)


class Overdue(CaseFact):
    """The due date passed while something was open."""

    fact = "overdue"

    def change(self, case: Case) -> Case:
        """Once for a case."""
        return case.model_copy(update={"overdue": True})


class ProvisionEnded(CaseFact):
    """The deadline of an order's provision passed, with so many obligations open."""

    fact = "provision_ended"
    provision: str
    open: int

    def change(self, case: Case) -> Case:
        """Once for each."""
        ended = (
            each.model_copy(update={"ended": True}) if each.provision == self.provision else each
            for each in case.deadlines
        )
        return case.model_copy(update={"deadlines": tuple(ended)})


def warn(turn: Turn) -> None:
    """The due date comes near while something is open."""
    case = turn.case
    if case.warned or case.status in CLOSED or case.dry_run or turn.now < case.warn_at:
        return
    turn.record(Warned())


def end_term(turn: Turn) -> None:
    """The due date: what is missing now is said."""
    case = turn.case
    if case.overdue or case.status in CLOSED or case.dry_run or turn.now < case.due_at:
        return
    turn.record(Overdue())
    confirm.say(turn, "overdue")


def end_provision(turn: Turn, provision: str) -> None:
    """The deadline of a provision of the order: what is open under it is said, or may yet be found."""
    case = turn.case
    deadline = next((each for each in case.deadlines if each.provision == provision), None)
    if deadline is None or deadline.ended or case.dry_run or turn.now < deadline.due_at:
        return
    left = case.open_under(provision)
    turn.record(ProvisionEnded(provision=provision, open=left))
    if left or not closing.planned_whole(case):
        confirm.say(turn, "overdue", provision=provision)


def extend(turn: Turn, message: ExtensionSaid) -> None:
    """More time, once, and only inside the first term: after that it is too late to tell the requester (GDPR 12(3))."""
    case = turn.case
    if message.content in case.controls:
        return
    reason = _why_not(turn)
    if reason or case.extendable_to is None:
        turn.emit(SetAside(message.place, message.content, reason))
        return
    turn.record(
        Extended(
            due_at=case.extendable_to,
            warn_at=case.extended_warn_at or case.extendable_to,
            operator=message.operator,
            control=message.content,
        )
    )
    confirm.say(turn, "extended", reason=message.reason)


def _why_not(turn: Turn) -> str:
    case = turn.case
    if case.extended:
        return "extended_already"
    if case.extendable_to is None:
        return "no_extension_in_this_regime"
    if case.status in CLOSED or case.cancelling:
        return "case_has_ended"
    return "too_late_to_extend" if case.overdue or turn.now >= case.due_at else ""
