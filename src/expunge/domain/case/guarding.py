"""The guard against deleting the company by mistake: a large plan waits for operators, who approve that very plan."""

from __future__ import annotations

from collections import Counter

from expunge.domain.case import confirm, facts, purging
from expunge.domain.case.messages import Approved, Rejected
from expunge.domain.case.state import Case, Generation
from expunge.domain.case.turn import SetAside, SuppressAgain, Turn
from expunge.domain.policy.dispose import ABOUT
from expunge.domain.policy.rules import Threshold
from expunge.domain.vocabulary import OVER, Status


def passed(case: Case, generation: Generation, guard: tuple[Threshold, ...]) -> list[Threshold]:
    """The thresholds that a plan lies above, together with the earlier plans of its case that nobody approved.

    What comes late comes in plans of its own; many small ones must not pass where one large one would not.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for each in case.generations:
        if each.number <= generation.number and not each.rejected and (each.awaiting or not each.approvals):
            counted.update({(s, kind): n for s, kinds in each.counted.items() for kind, n in kinds.items()})
    about = ABOUT[case.scope]
    return [row for row in guard if (not row.scope or about in row.scope) and _above(case, row, counted)]


def _above(case: Case, row: Threshold, counted: Counter[tuple[str, str]]) -> bool:
    by_system: Counter[str] = Counter()
    for (system, kind), number in counted.items():
        if not row.kind or kind in row.kind:
            by_system[system] += number
    if row.share is None:
        return by_system.total() > row.more_than
    known = case.population
    return any(n > row.more_than and n > row.share * known.get(system, 0) for system, n in by_system.items())


def held_back(turn: Turn, number: int) -> bool:
    """Let a plan that has just been fixed wait, if the guard of its policy says so; whether it waits.

    A dry run ends with its plan.
    """
    generation = turn.case.numbered(number)
    above = passed(turn.case, generation, turn.policy.guard)
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
    confirm.say(turn, "awaiting_approval", plan_digest=generation.plan_digest)
    return True


def suppress_if_let_go(turn: Turn, before: Case) -> None:
    """With the first plan that goes it is settled that the request is carried out.

    From then on, what it is about must not be collected again.
    """
    if turn.case.let_go and not before.let_go and not turn.case.dry_run:
        turn.emit(SuppressAgain())


def approved(turn: Turn, message: Approved) -> None:
    """One operator's approval; with the last that is needed the plan is carried out."""
    generation, before = _awaiting(turn, message), turn.case
    if generation is None or message.operator in generation.approved_by:
        return
    turn.record(facts.PlanApproved(generation=generation.number, operator=message.operator, control=message.content))
    suppress_if_let_go(turn, before)
    purging.advance(turn)


def rejected(turn: Turn, message: Rejected) -> None:
    """A plan that will not be carried out.

    With the first plan the whole request is refused, other plans that wait with it: none of them has gone. A later one
    stays open while the rest goes on.
    """
    generation, before = _awaiting(turn, message), turn.case
    if generation is None:
        return
    whole = generation.number == 1
    for each in turn.case.generations:
        if each is generation or (whole and each.fixed and not each.rejected):
            fact = facts.PlanRejected(generation=each.number, operator=message.operator, control=message.content)
            turn.record(fact)
    if whole:
        turn.record(facts.Closed(status=Status.REFUSED))
        confirm.say(turn, "refused", outcome="refused", reason=message.reason)
        return
    suppress_if_let_go(turn, before)
    purging.advance(turn)


def _awaiting(turn: Turn, message: Approved | Rejected) -> Generation | None:
    """The plan that a word is about; a word about another than those that wait is set aside, and changes nothing."""
    if message.content in turn.case.controls:
        return None
    plans = [each for each in turn.case.generations if each.plan_digest == message.plan_digest]
    reason = "" if plans and plans[0].awaiting else "plan_does_not_wait" if plans else "no_such_plan"
    if turn.case.status in OVER or turn.case.cancelling:
        reason = "case_has_ended"
    if reason:
        turn.emit(SetAside(message.place, message.content, reason))
        return None
    return plans[0]
