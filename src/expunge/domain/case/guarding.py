"""The guard against deleting the company by mistake: a large plan waits for operators, who approve that very plan."""

from __future__ import annotations

from collections import Counter

from expunge.domain.case import closing, confirm, facts, purging
from expunge.domain.case.messages import Approved, Rejected
from expunge.domain.case.state import Case, Generation
from expunge.domain.case.turn import Confirm, SetAside, SuppressAgain, Turn
from expunge.domain.policy.dispose import ABOUT
from expunge.domain.policy.rules import Threshold
from expunge.domain.vocabulary import Status


def passed(case: Case, generation: Generation, guard: tuple[Threshold, ...]) -> list[Threshold]:
    """The thresholds that a plan lies above, together with the earlier plans of its case that nobody approved.

    What comes late comes in plans of its own; many small ones must not pass where one large one would not.
    """
    counted: Counter[str] = Counter()
    for each in case.generations:
        if each.number <= generation.number and not each.rejected and (each.awaiting or not each.approvals):
            counted.update(each.by_kind)
    about = ABOUT[case.scope]
    return [
        row
        for row in guard
        if (not row.scope or about in row.scope)
        and sum(number for kind, number in counted.items() if not row.kind or kind in row.kind) > row.more_than
    ]


def let_go(turn: Turn, number: int) -> None:
    """Carry a plan out; a dry run ends here.

    With the first plan it is settled that the request is carried out: from then on, what it is about must not be
    collected again.
    """
    if number == 1 and not turn.case.dry_run:
        turn.emit(SuppressAgain())
    purging.advance(turn)


def held_back(turn: Turn, number: int) -> bool:
    """Let a plan that has just been fixed wait, if the guard of its policy says so; whether it waits."""
    generation = turn.case.numbered(number)
    above = passed(turn.case, generation, turn.policies.of(generation.policy).guard)
    if not above or turn.case.dry_run:
        return False
    turn.record(
        facts.AwaitsApproval(
            generation=number,
            plan_digest=generation.plan_digest,
            rules=tuple(row.id for row in above),
            approvals=max(row.approvals for row in above),
        )
    )
    turn.emit(Confirm("awaiting_approval", confirm.body(turn.case, plan_digest=generation.plan_digest)))
    purging.advance(turn)
    return True


def approved(turn: Turn, message: Approved) -> None:
    """One operator's approval; with the last that is needed the plan is carried out."""
    generation = _awaiting(turn, message)
    if generation is None or message.operator in generation.approved_by:
        return
    turn.record(facts.PlanApproved(generation=generation.number, operator=message.operator, control=message.content))
    if not turn.case.numbered(generation.number).awaiting:
        let_go(turn, generation.number)


def rejected(turn: Turn, message: Rejected) -> None:
    """A plan that will not be carried out. Without another the case is refused; with one, this part stays open."""
    generation = _awaiting(turn, message)
    if generation is None:
        return
    turn.record(facts.PlanRejected(generation=generation.number, operator=message.operator, control=message.content))
    if generation.number == 1:
        turn.record(facts.Closed(status=Status.REFUSED))
        turn.emit(Confirm("refused", confirm.body(turn.case, outcome="refused", reason=message.reason)))
    else:
        closing.conclude(turn)


def _awaiting(turn: Turn, message: Approved | Rejected) -> Generation | None:
    """The plan that a word is about; a word about another than those that wait is set aside, and changes nothing."""
    plans = [each for each in turn.case.generations if each.plan_digest == message.plan_digest]
    if not plans:
        turn.emit(SetAside(message.place, message.content, "no_such_plan"))
        return None
    if not plans[0].awaiting:
        turn.emit(SetAside(message.place, message.content, "plan_does_not_wait"))
        return None
    return plans[0]
