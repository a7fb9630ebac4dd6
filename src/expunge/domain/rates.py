"""How much is asked for across cases: by one publisher, or of one system, in an hour and in a day.

A faulty job that publishes millions of small erasures passes every guard of a single case. What it asks for is counted
by an aggregate of its own (DESIGN 4.2): above a limit, plans wait as one group until operators have looked at it. A
group is a list that only grows, so its first so many members are named by their number: an approval is for them, and
what joins later waits for the next.
"""

from __future__ import annotations

from typing import NamedTuple

from expunge.domain.digest import digest, name
from expunge.domain.policy.limits import Per
from expunge.domain.scope import Hex, Value

BUCKET_MS = 300_000
HOUR, DAY = 12, 288
"""In buckets."""
_BUCKETS = {Per.HOUR: HOUR, Per.DAY: DAY}
_COUNT_DIGITS = 8
RECENT = 1000


def rate_id(of: str) -> str:
    """The key of what is counted: `publisher:NAME` or `system:NAME`."""
    return name("rate", of)


class Limit(Value):
    """A row of the asking case's policy."""

    rule: str
    per: Per
    more_than: int
    approvals: int


class RateAsked(Value):
    """A plan asks whether it may go."""

    rate: Hex
    of: str
    case_id: Hex
    generation: int
    obligations: int
    limits: tuple[Limit, ...]


class Verdict(Value):
    """Operators' word about the members of a group up to a number."""

    group: int
    up_to: int
    let_go: bool
    operator: str = ""
    control: str = ""


class Rate(Value):
    """What was asked for of one publisher or system."""

    rate: Hex
    of: str
    buckets: dict[int, int] = {}
    """Five minutes -> obligations that went in them without waiting."""
    group: int = 0
    """The group under way, or the last one."""
    members: int = 0
    obligations: int = 0
    settled: int = 0
    """Members that operators have spoken about."""
    rules: tuple[str, ...] = ()
    approvals: int = 1
    approved: dict[str, int] = {}
    """Operator -> the members that they have approved."""
    controls: tuple[str, ...] = ()
    recent: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    """What the last plans that asked were told: one that asks again after a crash is told, and counted, the same."""

    @property
    def waiting(self) -> int:
        """Plans that wait for operators."""
        return self.members - self.settled

    @property
    def digest(self) -> str:
        """The name of the group with the members that it has now."""
        tail = digest("group", self.rate, self.group).hex()[: 32 - _COUNT_DIGITS]
        return f"{self.members:0{_COUNT_DIGITS}x}{tail}"

    def named(self, plan_digest: str) -> int | None:
        """How many members a digest names; None if it is not of this group."""
        count = int(plan_digest[:_COUNT_DIGITS], 16)
        known = plan_digest[_COUNT_DIGITS:] == self.digest[_COUNT_DIGITS:]
        return count if known and self.settled < count <= self.members else None


class Answer(NamedTuple):
    """What a plan that asked is told."""

    after: Rate
    group: int = 0
    """The group in which it waits; 0: it may go."""
    place: int = 0
    rules: tuple[str, ...] = ()


def asked(before: Rate | None, message: RateAsked, now_ms: int) -> Answer:
    """Count a plan, or let it wait. While a group waits, nothing overtakes it."""
    state, asker = before or Rate(rate=message.rate, of=message.of), f"{message.case_id}:{message.generation}"
    if asker in state.recent:
        return Answer(state, *state.recent[asker])
    answer = _counted(state, message, now_ms)
    recent = dict(list(state.recent.items())[1 - RECENT :]) | {asker: (answer.group, answer.place, answer.rules)}
    return answer._replace(after=answer.after.model_copy(update={"recent": recent}))


def _counted(state: Rate, message: RateAsked, now_ms: int) -> Answer:
    bucket = now_ms // BUCKET_MS
    buckets = {at: n for at, n in state.buckets.items() if at > bucket - DAY}
    above = [limit for limit in message.limits if _sum(buckets, bucket, limit) + message.obligations > limit.more_than]
    if not (above or state.waiting):
        buckets[bucket] = buckets.get(bucket, 0) + message.obligations
        return Answer(state.model_copy(update={"buckets": buckets}))
    rules = tuple(limit.rule for limit in above) or state.rules
    approvals = max((limit.approvals for limit in above), default=state.approvals)
    if not state.waiting:
        begun = {"group": state.group + 1, "members": 0, "obligations": 0, "settled": 0, "approved": {}}
        state = state.model_copy(update=begun | {"rules": rules, "approvals": approvals})
    after = state.model_copy(
        update={
            "buckets": buckets,
            "members": state.members + 1,
            "obligations": state.obligations + message.obligations,
            "rules": tuple(sorted({*state.rules, *rules})),
            "approvals": max(state.approvals, approvals),
        }
    )
    return Answer(after, after.group, after.members, rules)


def _sum(buckets: dict[int, int], now: int, limit: Limit) -> int:
    return sum(number for at, number in buckets.items() if at > now - _BUCKETS[limit.per])


class Word(NamedTuple):
    """What an operator's word leads to."""

    after: Rate
    verdict: Verdict | None = None
    refused: str = ""


def spoken(state: Rate, operator: str, plan_digest: str, control: str, *, let_go: bool) -> Word:
    """An approval, or a rejection, of the members that a digest names; those before them are meant, too."""
    if control in state.controls:
        return Word(state)
    count = state.named(plan_digest)
    if count is None:
        return Word(state, refused="plan_does_not_wait" if not state.waiting else "no_such_plan")
    heard = {"controls": (*state.controls, control)[-100:]}
    if not let_go:
        verdict = Verdict(group=state.group, up_to=count, let_go=False, operator=operator, control=control)
        return Word(state.model_copy(update=heard | {"settled": count}), verdict)
    approved = {**state.approved, operator: max(count, state.approved.get(operator, 0))}
    after = state.model_copy(update=heard | {"approved": approved})
    counts = sorted(approved.values(), reverse=True)
    agreed = counts[state.approvals - 1] if len(counts) >= state.approvals else 0
    if agreed <= state.settled:
        return Word(after)
    verdict = Verdict(group=state.group, up_to=agreed, let_go=True, operator=operator, control=control)
    return Word(after.model_copy(update={"settled": agreed}), verdict)
