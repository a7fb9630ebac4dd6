"""How much is asked for across cases: by one publisher, or of one system, in an hour and in a day.

A faulty job that publishes millions of small erasures passes every guard of a single case. What it asks for is counted
by an aggregate of its own (design: "One writer"): above a limit, plans wait as one group until operators have looked at
it. A group is a list that only grows, so its first so many members are named by their number: an approval is for them,
and what joins later waits for the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from expunge.domain.aggregates.decision import Context, Decision, SetAside
from expunge.domain.aggregates.heard import Hearing
from expunge.domain.digest import digest
from expunge.domain.events import millis
from expunge.domain.limits import KEPT_CONTROLS
from expunge.domain.planning.policy.limits import Per
from expunge.domain.values import Hex
from expunge.wire.cases.rate import Ask, GroupVerdict, Limit, RateAnswer, RateAsked, RateLeft
from expunge.wire.cases.words import ApprovalSaid, RejectionSaid

BUCKET_MS = 300_000
HOUR, DAY = 13, 289
"""In buckets, the one under way included."""
CAPTURES_MS = 3_600_000
"""So long after the last plan above a limit whatever comes joins the group; what comes later is judged by itself."""
_BUCKETS = {Per.HOUR: HOUR, Per.DAY: DAY}
_COUNT_DIGITS = 8


class Rate(Hearing):
    """What was asked for of one publisher or system."""

    rate: Hex
    of: str
    buckets: dict[int, int] = Field(default_factory=dict)
    """Five minutes -> obligations of plans that were let pass in them; what operators let go is not counted."""
    group: int = 0
    """The group under way, or the last one."""
    members: int = 0
    obligations: int = 0
    settled: int = 0
    """Members that operators have spoken about."""
    left: tuple[int, ...] = ()
    """Places of members that wait no longer although operators have not spoken about them."""
    begun_ms: int = 0
    above_ms: int = 0
    """When a plan was last above a limit."""
    rules: tuple[str, ...] = ()
    approvals: int = 1
    approved: dict[str, int] = Field(default_factory=dict)
    """Operator -> the members that they have approved."""
    controls: tuple[str, ...] = ()

    @property
    def waiting(self) -> int:
        """Plans that wait for operators."""
        return self.members - self.settled - len(self.left)

    @property
    def digest(self) -> str:
        """The name of the group with the members that it has now."""
        tail = digest("group", self.rate, self.group, self.begun_ms).hex()[: 32 - _COUNT_DIGITS]
        return f"{self.members:0{_COUNT_DIGITS}x}{tail}"

    def named(self, plan_digest: str) -> int | None:
        """How many members a digest names; None if it is not of this group."""
        count = int(plan_digest[:_COUNT_DIGITS], 16)
        known = plan_digest[_COUNT_DIGITS:] == self.digest[_COUNT_DIGITS:]
        return count if known and self.settled < count <= self.members else None


@dataclass(frozen=True, slots=True, repr=False)
class AnswerPlan:
    """Answer a plan that asked."""

    said: RateAnswer


@dataclass(frozen=True, slots=True, repr=False)
class TellMembers:
    """Tell every case what operators have said about the members of a group."""

    rate: str
    verdict: GroupVerdict


Effect = AnswerPlan | TellMembers | SetAside
RateDecision = Decision[Rate, None, Effect]


def decide(
    rate: Rate | None, message: RateAsked | RateLeft | ApprovalSaid | RejectionSaid, context: Context, key: str
) -> RateDecision:
    """The decision on one message: a plan that asks, plans that wait no longer, an operator's word.

    Args:
        rate: the state, where there is one.
        message: of all rates of which it speaks only `key` is meant.
        context: what is known besides.
        key: of the rate.
    """
    if isinstance(message, RateAsked):
        ask = next(each for each in message.asks if each.rate == key)
        known = rate or Rate(rate=key, of=ask.of)
        if known.has_heard(message.partition, message.cause):
            return Decision(known)
        return _count(known.having_heard(message.partition, message.cause), ask, millis(context.at))
    if rate is None:
        return Decision(None)
    return _leave(rate, message) if isinstance(message, RateLeft) else _hear(rate, message)


def _count(rate: Rate, ask: Ask, now_ms: int) -> RateDecision:
    """Count a plan, or let it wait."""
    bucket = now_ms // BUCKET_MS
    buckets = {at: n for at, n in rate.buckets.items() if at > bucket - DAY}
    rate = rate.model_copy(update={"buckets": buckets})
    above = [limit for limit in ask.limits if _sum(buckets, bucket, limit) + ask.obligations > limit.more_than]
    captured = bool(rate.waiting) and now_ms <= rate.above_ms + CAPTURES_MS
    if above or captured:
        after = _join(rate, ask, above, now_ms)
        said = RateAnswer(rate=rate.rate, group=after.group, place=after.members, rules=after.rules)
        return Decision(after, effects=(AnswerPlan(said),))
    counted = {**buckets, bucket: buckets.get(bucket, 0) + ask.obligations}
    return Decision(rate.model_copy(update={"buckets": counted}), effects=(AnswerPlan(RateAnswer(rate=rate.rate)),))


def _join(state: Rate, ask: Ask, above: list[Limit], now_ms: int) -> Rate:
    if not state.waiting:
        begun = {"group": state.group + 1, "members": 0, "obligations": 0, "settled": 0, "left": (), "approved": {}}
        state = state.model_copy(update=begun | {"rules": (), "approvals": 1, "begun_ms": now_ms})
    rules = tuple(sorted({*state.rules, *(limit.rule for limit in above)}))
    return state.model_copy(
        update={
            "members": state.members + 1,
            "obligations": state.obligations + ask.obligations,
            "rules": rules,
            "approvals": max((state.approvals, *(limit.approvals for limit in above))),
            "above_ms": now_ms if above else state.above_ms,
        }
    )


def _leave(rate: Rate, message: RateLeft) -> RateDecision:
    """Plans have left their group, unless that has ended."""
    if rate.has_heard(message.partition, message.cause):
        return Decision(rate)
    gone = (at for at in message.places if message.group == rate.group and at > rate.settled)
    left = tuple(sorted({*rate.left, *gone}))
    return Decision(rate.having_heard(message.partition, message.cause).model_copy(update={"left": left}))


def _sum(buckets: dict[int, int], now: int, limit: Limit) -> int:
    return sum(number for at, number in buckets.items() if at > now - _BUCKETS[limit.per])


def _hear(rate: Rate, message: ApprovalSaid | RejectionSaid) -> RateDecision:
    """An approval, or a rejection, of the members that a digest names; those before them are meant, too."""
    if message.content in rate.controls:
        return Decision(rate)
    count = rate.named(message.plan_digest)
    if count is None:
        return _set_aside(rate, message, "no_such_plan" if rate.waiting else "plan_does_not_wait")
    after = rate.model_copy(update={"controls": (*rate.controls, message.content)[-KEPT_CONTROLS:]})
    said: dict[str, Any] = {"group": rate.group, "operator": message.operator, "control": message.content}
    if isinstance(message, RejectionSaid):
        return _judge(after, GroupVerdict(**said, up_to=count, let_go=False, reason=message.reason))
    if count <= rate.approved.get(message.operator, 0):
        return _set_aside(rate, message, "approved_already")
    after = after.model_copy(update={"approved": {**rate.approved, message.operator: count}})
    counts = sorted(after.approved.values(), reverse=True)
    agreed = counts[rate.approvals - 1] if len(counts) >= rate.approvals else 0
    if agreed <= rate.settled:
        return Decision(after)
    return _judge(after, GroupVerdict(**said, up_to=agreed, let_go=True))


def _set_aside(rate: Rate, message: ApprovalSaid | RejectionSaid, reason: str) -> RateDecision:
    return Decision(rate, effects=(SetAside(message.place, message.content, reason),))


def _judge(rate: Rate, verdict: GroupVerdict) -> RateDecision:
    left = tuple(at for at in rate.left if at > verdict.up_to)
    after = rate.model_copy(update={"settled": verdict.up_to, "left": left})
    return Decision(after, effects=(TellMembers(rate.rate, verdict),))
