"""The dates of a case: what is said when they come near or pass, and how they are put off."""

from __future__ import annotations

from expunge.domain.case import closing, confirm, facts, purging
from expunge.domain.case.messages import Extended
from expunge.domain.case.turn import SetAside, Turn
from expunge.domain.vocabulary import CLOSED


def warn(turn: Turn) -> None:
    """The due date comes near while something is open."""
    case = turn.case
    if case.warned or case.status in CLOSED or case.dry_run or turn.now < case.warn_at:
        return
    turn.record(facts.Warned())


def due(turn: Turn) -> None:
    """The due date: what is missing now is said."""
    case = turn.case
    if case.overdue or case.status in CLOSED or case.dry_run or turn.now < case.due_at:
        return
    turn.record(facts.Overdue())
    confirm.say(turn, "overdue")
    purging.advance(turn)


def provision_due(turn: Turn, provision: str) -> None:
    """The deadline of a provision of the order: what is open under it is said, or may yet be found."""
    case = turn.case
    deadline = next((each for each in case.deadlines if each.provision == provision), None)
    if deadline is None or deadline.ended or case.dry_run or turn.now < deadline.due_at:
        return
    left = case.open_under(provision)
    turn.record(facts.ProvisionEnded(provision=provision, open=left))
    if left or not closing.planned_whole(case):
        confirm.say(turn, "overdue", provision=provision)


def extended(turn: Turn, message: Extended) -> None:
    """More time, once, and only inside the first term: after that it is too late to tell the requester (GDPR 12(3))."""
    case = turn.case
    if message.content in case.controls:
        return
    reason = _why_not(turn)
    if reason or case.extendable_to is None:
        turn.emit(SetAside(message.place, message.content, reason))
        return
    turn.record(
        facts.Extended(
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
