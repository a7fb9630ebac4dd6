"""The end of a case: what may be called completed, and what may not.

See design: "Nothing false is said" and "States of a case".
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from expunge.domain.aggregates.case import confirm
from expunge.domain.aggregates.case.chunks import EMISSION_REFUSED, Tally
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.planning.policy.rules import NotFound
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import DEFERRALS, OPEN, OVER, RESTRICTING, UNDONE, Claim, Status

DONE = frozenset({Status.COMPLETED, Status.COMPLETED_WITH_DEFERRALS})


class Closed(CaseFact):
    """The case reached one of its final states."""

    fact = "closed"
    status: Status
    forget_at: datetime | None = None
    """Until when it is kept as evidence; 0.1 did not say."""

    def change(self, case: Case) -> Case:
        """What is over goes on with nothing."""
        end: dict[str, Any] = {"status": self.status, "forget_at": self.forget_at}
        if self.status in OVER:
            end |= {"reconsidering": {}, "probe": None, "probes_due": ()}
        return case.model_copy(update=end)


class Reopened(CaseFact):
    """Something that belongs to the case turned up after it was closed, or an answer was taken back."""

    fact = "reopened"
    status: Status = Status.RESOLVING

    def change(self, case: Case) -> Case:
        """It goes on, with what is being planned if that is why."""
        after = case.model_copy(update={"status": self.status, "forget_at": None})
        planning = case.open_generation
        return after.with_generation(planning.number, reopened=True) if planning else after


def end(turn: Turn, status: Status) -> None:
    """Record that the case has ended, and until when it is kept."""
    turn.record(Closed(status=status, forget_at=turn.policy.retention.until(turn.now)))


def conclude(turn: Turn) -> None:
    """Close the case if nothing stands in the way, or say at the due date what is missing."""
    status = _status(turn.case, turn.policy.not_found)
    again = turn.case.status in DONE and turn.case.count(UNDONE) and not turn.case.cancelling
    if status is None and again:
        turn.record(Reopened(status=Status.PURGING))
        confirm.say(turn, "reopened")
    if status is None or status is turn.case.status:
        return
    restricts = turn.case.scope is ScopeKind.RESTRICTION and not turn.case.granted
    if status is Status.COMPLETED and restricts and turn.case.count(RESTRICTING):
        confirm.say(turn, "restricted")
    end(turn, status)
    confirm.say(turn, status.value, outcome=confirm.outcome_of(turn.case))


def _status(case: Case, misses: NotFound) -> Status | None:
    """The final state that holds now; None while the case must go on."""
    walking = case.open_generation is not None or not all(generation.done for generation in case.generations)
    if case.dry_run or case.cancelling or case.status in OVER or ((walking or case.watermark) and not case.overdue):
        return None
    if case.status in DONE and not case.count(UNDONE) and (walking or case.watermark):
        return None  # what a late walk looks for may not be there: until it is found, nothing is missing
    if walking or case.watermark or case.count(UNDONE) or too_many_misses(case, misses):
        failed = not case.unfinished and _answerable(case) and not (walking or case.watermark)
        late = case.overdue and case.now >= case.patient_until
        return Status.PARTIALLY_COMPLETED if late or failed else None
    return Status.COMPLETED_WITH_DEFERRALS if case.count(DEFERRALS) else Status.COMPLETED


def planned_whole(case: Case) -> bool:
    """Whether every walk has ended, and nothing waits for the indexers or for operators."""
    fixed = case.open_generation is None and not any(each.waits for each in case.generations)
    return fixed and not case.watermark


def _answerable(case: Case) -> bool:
    """Whether something open could have been answered: `unowned` and the like wait for the due date."""
    return any(line.claim == Claim.FAILED or (line.claim == OPEN and _is_silent(line)) for line, _ in case.counts)


def _is_silent(line: Tally) -> bool:
    return not line.reason or line.reason.startswith(EMISSION_REFUSED)


def too_many_misses(case: Case, allowed: NotFound) -> list[str]:
    """Systems that say `not_found` of more of their own assets than policy lets pass without an operator."""
    misses: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for line, number in case.counts:
        if not line.holding and line.claim not in UNDONE and line.system not in case.accepted:
            answered[line.system] += number
            misses[line.system] += number if line.claim == Claim.NOT_FOUND else 0
    return sorted(s for s, n in misses.items() if n >= allowed.misses and n > allowed.share * answered[s])
