"""What a fixed plan waits for before it goes: operators, for a large one; and a time in which it can be taken back.

The guard keeps the company from being deleted by mistake. Operators approve that very plan, or reject it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import model_validator

from expunge.domain.aggregates.case import closing, confirm
from expunge.domain.aggregates.case.effects import AskRate, LeaveRate
from expunge.domain.aggregates.case.fact import CaseFact, heard
from expunge.domain.aggregates.case.state import Case, Generation
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.planning.policy.limits import Of, Threshold
from expunge.domain.values import A_DAY, Hex
from expunge.domain.vocabulary import OVER, Status
from expunge.wire.cases.case import RateAnswered
from expunge.wire.cases.rate import Ask, Limit
from expunge.wire.cases.said import rate_id
from expunge.wire.cases.words import ApprovalSaid, RejectionSaid


class AwaitsApproval(CaseFact):
    """A plan lies above thresholds of its policy: no command leaves until so many operators have approved it."""

    fact = "awaits_approval"
    generation: int
    plan_digest: Hex
    rules: tuple[str, ...]
    approvals: int

    def change(self, case: Case) -> Case:
        """It waits."""
        case = case.with_generation(self.generation, approvals=self.approvals, guard=self.rules)
        return case.forward(Status.AWAITING_APPROVAL)


class PlanApproved(CaseFact):
    """An operator approved a plan."""

    fact = "plan_approved"
    generation: int
    operator: str
    control: Hex
    """Keyed digest of the operator's word."""

    def change(self, case: Case) -> Case:
        """One more has."""
        approved_by = (*case.numbered(self.generation).approved_by, self.operator)
        return heard(case, self.control).with_generation(self.generation, approved_by=approved_by)


class PlanRejected(CaseFact):
    """An operator rejected a plan: it is not carried out."""

    fact = "plan_rejected"
    generation: int
    operator: str
    control: Hex

    def change(self, case: Case) -> Case:
        """What it had to do stays open; nobody will do it."""
        after = heard(case, self.control).with_generation(self.generation, rejected=True, done=True)
        waits = any(each.awaiting for each in after.generations)
        return after if waits else after.forward(Status.PURGING)


class RatesAsked(CaseFact):
    """It is being counted with other cases whether a plan may go."""

    fact = "rates_asked"
    generation: int
    rates: tuple[Hex, ...]

    def change(self, case: Case) -> Case:
        """None has answered."""
        return case.with_generation(self.generation, rates=dict.fromkeys(self.rates, (0, 0)))


class RateWaits(CaseFact):
    """With other cases a plan is above a limit: it waits at a place in a group."""

    fact = "rate_waits"
    generation: int
    rate: Hex
    group: int
    place: int
    rules: tuple[str, ...]

    def change(self, case: Case) -> Case:
        """It waits."""
        generation = case.numbered(self.generation)
        rates = {**generation.rates, self.rate: (self.group, self.place)}
        guard = tuple(sorted({*generation.guard, *self.rules}))
        return case.with_generation(self.generation, rates=rates, guard=guard).forward(Status.AWAITING_APPROVAL)


class RateCleared(CaseFact):
    """A plan may go as far as some publisher or systems are concerned."""

    fact = "rate_cleared"
    generation: int
    rates: tuple[Hex, ...]
    operator: str = ""
    control: str = ""
    """The word by which an operator let it go, with others; empty where none was needed."""

    @model_validator(mode="before")
    @classmethod
    def _of_one(cls, said: Any) -> Any:
        """0.1 recorded each by itself."""
        return {**said, "rates": (said["rate"],)} if isinstance(said, dict) and "rate" in said else said

    def change(self, case: Case) -> Case:
        """It waits for fewer."""
        rates = {rate: at for rate, at in case.numbered(self.generation).rates.items() if rate not in self.rates}
        case = case.with_generation(self.generation, rates=rates)
        return heard(case, self.control) if self.control else case


class GraceBegun(CaseFact):
    """Until this moment the request can be taken back before anything is done for it."""

    fact = "grace_begun"
    until: datetime

    def change(self, case: Case) -> Case:
        """Nothing is commanded before."""
        return case.model_copy(update={"grace_until": self.until})


class GraceEnded(CaseFact):
    """The time in which it could be taken back is over."""

    fact = "grace_ended"

    def change(self, case: Case) -> Case:
        """It goes on."""
        return case.model_copy(update={"grace_until": None})


def exceeded(case: Case, generation: Generation, guard: tuple[Threshold, ...]) -> list[Threshold]:
    """The thresholds that a plan lies above, together with the earlier plans of its case that nobody approved.

    What comes late comes in plans of its own; many small ones must not pass where one large one would not.
    """
    counted: Counter[tuple[str, str]] = Counter()
    for each in case.generations:
        if each.number <= generation.number and not each.rejected and (each.awaiting or not each.approvals):
            counted.update({(s, kind): n for s, kinds in each.counted.items() for kind, n in kinds.items()})
    about = case.scope.about
    return [row for row in guard if (not row.scope or about in row.scope) and _is_above(case, row, counted)]


def _is_above(case: Case, row: Threshold, counted: Counter[tuple[str, str]]) -> bool:
    by_system: Counter[str] = Counter()
    for (system, kind), number in counted.items():
        if not row.kind or kind in row.kind:
            by_system[system] += number
    if row.share is None:
        return by_system.total() > row.more_than
    known = case.population
    return any(n > row.more_than and n > row.share * known.get(system, 0) for system, n in by_system.items())


def ask(turn: Turn, number: int, above: Sequence[Threshold]) -> None:
    """Let a plan that has just been fixed wait for operators, or have it counted with others, as policy says.

    A dry run ends with its plan: what it would wait for its `planned` has said.

    Args:
        turn: the decision in progress.
        number: of the plan's generation.
        above: the thresholds that it lies above.
    """
    if turn.case.dry_run:
        return
    if not above:
        _ask_rates(turn, number)
        return
    plan = turn.case.numbered(number).plan_digest
    rules, approvals = tuple(row.id for row in above), max(row.approvals for row in above)
    turn.record(AwaitsApproval(generation=number, plan_digest=plan, rules=rules, approvals=approvals))
    confirm.say(turn, "awaiting_approval", plan_digest=plan)


def _ask_rates(turn: Turn, number: int) -> None:
    """Have a plan counted together with those of other cases, as policy asks for, before it goes."""
    generation, limits = turn.case.numbered(number), _limits(turn)
    known = {each.name for each in turn.registry.systems if each.integrated}
    sums = {f"system:{s}": sum(kinds.values()) for s, kinds in generation.counted.items() if s in known}
    sums[f"publisher:{turn.case.publisher}"] = generation.obligations
    asks = {of: n for of, n in sorted(sums.items()) if n and limits[of.partition(":")[0]]}
    if not asks:
        return
    said = tuple(
        Ask(rate=rate_id(of), of=of, obligations=n, limits=limits[of.partition(":")[0]]) for of, n in asks.items()
    )
    turn.record(RatesAsked(generation=number, rates=tuple(ask.rate for ask in said)))
    turn.emit(AskRate(number, said))


def _limits(turn: Turn) -> dict[str, tuple[Limit, ...]]:
    found: dict[str, tuple[Limit, ...]] = {}
    for of in Of:
        rows = (row for row in turn.policy.rates if row.of is of)
        found[of.value] = tuple(
            Limit(rule=row.id, per=row.per, more_than=row.more_than, approvals=row.approvals) for row in rows
        )
    return found


def begin_grace(turn: Turn, number: int) -> None:
    """With the first plan begins the time in which the request can be taken back, if policy gives any."""
    case = turn.case
    due = min((each.due_at for each in case.deadlines), default=case.due_at)
    # Something must be left of the time to carry it out.
    until = min(turn.now + turn.policy.grace_of(case.scope.about, case.regime), due - A_DAY)
    if number == 1 and until > turn.now and not case.dry_run:
        turn.record(GraceBegun(until=until))


def end_grace(turn: Turn) -> None:
    """The time in which it can be taken back may be over."""
    until = turn.case.grace_until
    if until is not None and turn.now >= until:
        turn.record(GraceEnded())


def approve(turn: Turn, message: ApprovalSaid) -> None:
    """One operator's approval; with the last that is needed the plan is carried out."""
    generation = _plan_meant(turn, message)
    if generation is None:
        return
    if message.operator in generation.approved_by:
        turn.emit(SetAside(message.place, message.content, "approved_already"))
        return
    turn.record(PlanApproved(generation=generation.number, operator=message.operator, control=message.content))


def reject(turn: Turn, message: RejectionSaid) -> None:
    """A plan that will not be carried out.

    With the first plan the whole request is refused, other plans that wait with it: none of them has gone. A later one
    stays open while the rest goes on.
    """
    generation = _plan_meant(turn, message)
    if generation is not None:
        _reject(turn, generation, message.operator, message.content, message.reason)


def _reject(turn: Turn, generation: Generation, operator: str, control: str, reason: str) -> None:
    whole = generation.number == 1
    for each in turn.case.generations:
        if each.number == generation.number or (whole and each.fixed and not each.rejected):
            leave_groups(turn, each)
            turn.record(PlanRejected(generation=each.number, operator=operator, control=control))
    if whole:
        closing.end(turn, Status.REFUSED)
        confirm.say(turn, "refused", outcome="refused", reason=reason)


def leave_groups(turn: Turn, *generations: Generation) -> None:
    """Plans that are given up wait in no group any more: nobody must be kept waiting with them."""
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for each in generations:
        for rate, (group, place) in each.rates.items():
            if group:
                places[rate, group].append(place)
    for (rate, group), found in sorted(places.items()):
        turn.emit(LeaveRate(rate, group, tuple(found)))


def take_rate_answer(turn: Turn, message: RateAnswered) -> None:
    """A plan may go as far as some publisher or systems are concerned, or waits in groups."""
    number = message.generation
    generation = next((each for each in turn.case.generations if each.number == number), None)
    if generation is None:
        return
    known = generation.rates
    new = [answer for answer in message.answers if known.get(answer.rate) == (0, 0)]
    for answer in message.answers:  # a place that nobody waits at: it was asked for twice
        if answer.group and answer not in new and known.get(answer.rate) != (answer.group, answer.place):
            turn.emit(LeaveRate(answer.rate, answer.group, (answer.place,)))
    waits = [answer for answer in new if answer.group]
    if turn.case.status in OVER or turn.case.cancelling or generation.rejected:
        for answer in waits:
            turn.emit(LeaveRate(answer.rate, answer.group, (answer.place,)))
        return
    if cleared := tuple(answer.rate for answer in new if not answer.group):
        turn.record(RateCleared(generation=number, rates=cleared))
    for answer in waits:
        turn.record(RateWaits(generation=number, **answer.model_dump()))
    if waits and not generation.awaiting:
        confirm.say(turn, "awaiting_approval", plan_digest=generation.plan_digest)
    look_at_groups(turn)


def look_at_groups(turn: Turn) -> None:
    """What operators have said about the groups in which plans of the case wait."""
    for generation in turn.case.generations:
        for rate, (group, place) in sorted(generation.rates.items()):
            verdict = turn.standing.verdict_on(rate, group, place) if group else None
            current = turn.case.numbered(generation.number)
            if verdict is None or turn.case.status in OVER or current.rejected:
                continue
            said = {"operator": verdict.operator, "control": verdict.control}
            if verdict.let_go:
                turn.record(RateCleared(generation=generation.number, rates=(rate,), **said))
            else:
                _reject(turn, current, **said, reason=verdict.reason)


def _plan_meant(turn: Turn, message: ApprovalSaid | RejectionSaid) -> Generation | None:
    """The plan that a word is about; None for a word about another than those that wait, which is set aside."""
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
