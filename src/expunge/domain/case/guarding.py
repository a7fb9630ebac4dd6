"""The guard against deleting the company by mistake: a large plan waits for operators, who approve that very plan."""

from __future__ import annotations

from collections import Counter, defaultdict

from expunge.domain.case import confirm, facts, purging
from expunge.domain.case.messages import Approved, RateAnswered, Rejected
from expunge.domain.case.state import Case, Generation
from expunge.domain.case.turn import AskRate, LeaveRate, SetAside, SuppressAgain, Turn
from expunge.domain.policy.limits import Of, Threshold
from expunge.domain.rates import Limit, rate_id
from expunge.domain.vocabulary import OVER, Status


def passed(case: Case, generation: Generation, guard: tuple[Threshold, ...]) -> list[Threshold]:
    """The thresholds that a plan lies above, together with the earlier plans of its case that nobody approved.

    What comes late comes in plans of its own; many small ones must not pass where one large one would not.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for each in case.generations:
        if each.number <= generation.number and not each.rejected and (each.awaiting or not each.approvals):
            counted.update({(s, kind): n for s, kinds in each.counted.items() for kind, n in kinds.items()})
    about = case.scope.about
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


def thresholds(turn: Turn, number: int) -> tuple[str, ...]:
    """The ids of the thresholds that a plan lies above."""
    return tuple(row.id for row in passed(turn.case, turn.case.numbered(number), turn.policy.guard))


def held_back(turn: Turn, number: int) -> bool:
    """Let a plan that has just been fixed wait, if the guard of its policy says so; whether it waits.

    A dry run ends with its plan.
    """
    generation = turn.case.numbered(number)
    above = passed(turn.case, generation, turn.policy.guard)
    if not above or turn.case.dry_run:
        return False  # what a dry run would wait for its `planned` has said
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
    if generation is None:
        return
    if message.operator in generation.approved_by:
        turn.emit(SetAside(message.place, message.content, "approved_already"))
        return
    turn.record(facts.PlanApproved(generation=generation.number, operator=message.operator, control=message.content))
    _go(turn, before)


def rejected(turn: Turn, message: Rejected) -> None:
    """A plan that will not be carried out.

    With the first plan the whole request is refused, other plans that wait with it: none of them has gone. A later one
    stays open while the rest goes on.
    """
    generation, before = _awaiting(turn, message), turn.case
    if generation is None:
        return
    _reject(turn, generation, message.operator, message.content, message.reason, before)


def _reject(turn: Turn, generation: Generation, operator: str, control: str, reason: str, before: Case) -> None:
    whole = generation.number == 1
    for each in turn.case.generations:
        if each.number == generation.number or (whole and each.fixed and not each.rejected):
            fact = facts.PlanRejected(generation=each.number, operator=operator, control=control)
            leave_groups(turn, each)
            turn.record(fact)
    if whole:
        turn.record(facts.Closed(status=Status.REFUSED))
        confirm.say(turn, "refused", outcome="refused", reason=reason)
        return
    _go(turn, before)


def leave_groups(turn: Turn, *generations: Generation) -> None:
    """Plans that are given up wait in no group any more: nobody must be kept waiting with them."""
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for each in generations:
        for rate, (group, place) in each.rates.items():
            if group:
                places[rate, group].append(place)
    for (rate, group), found in sorted(places.items()):
        turn.emit(LeaveRate(rate, group, tuple(found)))


def ask_rates(turn: Turn, number: int) -> None:
    """Have a plan counted together with those of other cases, as policy asks for, before it goes."""
    generation, limits = turn.case.numbered(number), _limits(turn)
    known = {each.name for each in turn.registry.systems if each.integrated}
    sums = {f"system:{s}": sum(kinds.values()) for s, kinds in generation.counted.items() if s in known}
    sums[f"publisher:{turn.case.publisher}"] = generation.obligations
    asks = {of: n for of, n in sorted(sums.items()) if n and limits[of.partition(":")[0]]}
    if not asks or turn.case.dry_run:
        return
    turn.record(facts.RatesAsked(generation=number, rates=tuple(rate_id(of) for of in asks)))
    for of, obligations in asks.items():
        turn.emit(AskRate(of, number, obligations, limits[of.partition(":")[0]]))


def _limits(turn: Turn) -> dict[str, tuple[Limit, ...]]:
    found: dict[str, tuple[Limit, ...]] = {}
    for of in Of:
        rows = (row for row in turn.policy.rates if row.of is of)
        found[of.value] = tuple(
            Limit(rule=row.id, per=row.per, more_than=row.more_than, approvals=row.approvals) for row in rows
        )
    return found


def rate_answered(turn: Turn, message: RateAnswered) -> None:
    """A plan may go as far as one publisher or system is concerned, or waits in a group."""
    generation = next((each for each in turn.case.generations if each.number == message.generation), None)
    if generation is None or generation.rates.get(message.rate) != (0, 0):
        return
    if turn.case.status in OVER or turn.case.cancelling or generation.rejected:
        if message.group:
            turn.emit(LeaveRate(message.rate, message.group, (message.place,)))
        return
    before, waited = turn.case, generation.awaiting
    if not message.group:
        turn.record(facts.RateCleared(generation=message.generation, rate=message.rate))
        _go(turn, before)
        return
    turn.record(
        facts.RateWaits(
            generation=message.generation,
            rate=message.rate,
            group=message.group,
            place=message.place,
            rules=message.rules,
        )
    )
    if not waited:
        confirm.say(turn, "awaiting_approval", plan_digest=generation.plan_digest)
    look_at_groups(turn)


def look_at_groups(turn: Turn) -> None:
    """What operators have said about the groups in which plans of the case wait."""
    for generation in turn.case.generations:
        for rate, (group, place) in sorted(generation.rates.items()):
            verdict = turn.standing.verdict_on(rate, group, place) if group else None
            before = turn.case
            if verdict is None or turn.case.status in OVER or turn.case.numbered(generation.number).rejected:
                continue
            if verdict.let_go:
                said = {"operator": verdict.operator, "control": verdict.control}
                turn.record(facts.RateCleared(generation=generation.number, rate=rate, **said))
                _go(turn, before)
            else:
                current = turn.case.numbered(generation.number)
                _reject(turn, current, verdict.operator, verdict.control, verdict.reason, before)


def _go(turn: Turn, before: Case) -> None:
    suppress_if_let_go(turn, before)
    purging.advance(turn)


def _awaiting(turn: Turn, message: Approved | Rejected) -> Generation | None:
    """The plan that a word is about; a word about another than those that wait is set aside, and changes nothing."""
    if message.content in turn.case.controls:
        return None
    plans = [each for each in turn.case.generations if each.plan_digest == message.plan_digest]
    waits = bool(plans) and len(plans[0].approved_by) < plans[0].approvals and not plans[0].rejected
    reason = "" if waits else "plan_does_not_wait" if plans else "no_such_plan"
    if turn.case.status in OVER or turn.case.cancelling:
        reason = "case_has_ended"
    if reason:
        turn.emit(SetAside(message.place, message.content, reason))
        return None
    return plans[0]
