"""How much is asked for across cases: by one publisher, or of one system, in an hour and in a day.

A faulty job that publishes millions of small erasures passes every guard of a single case. What it asks for is counted
by an aggregate of its own (design: "One writer"): above a limit, plans wait as one group until operators have looked at
it. A group is a list that only grows, so its first so many members are named by their number: an approval is for them,
and what joins later waits for the next.
"""

from __future__ import annotations

from typing import NamedTuple

from expunge.domain.digest import digest, name
from expunge.domain.planning.policy.limits import Per
from expunge.domain.values import Hex, Value
from expunge.wire.cases.rate import Limit, RateAsked, RateLeft, Verdict
from expunge.wire.cases.said import SaidAt

BUCKET_MS = 300_000
HOUR, DAY = 13, 289
"""In buckets, the one under way included."""
CAPTURES_MS = 3_600_000
"""So long after the last plan above a limit whatever comes joins the group; what comes later is judged by itself."""
_BUCKETS = {Per.HOUR: HOUR, Per.DAY: DAY}
_COUNT_DIGITS = 8


def rate_id(of: str) -> str:
    """The key of what is counted: `publisher:NAME` or `system:NAME`."""
    return name("rate", of)


class Rate(Value):
    """What was asked for of one publisher or system."""

    rate: Hex
    of: str
    buckets: dict[int, int] = {}
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
    approved: dict[str, int] = {}
    """Operator -> the members that they have approved."""
    controls: tuple[str, ...] = ()
    seen: dict[int, SaidAt] = {}
    """Partition -> the last cause from there: what is said again after a crash is not counted twice."""

    @property
    def waiting(self) -> int:
        """Plans that wait for operators."""
        return self.members - self.settled - len(self.left)

    def heard(self, partition: int, cause: SaidAt) -> bool:
        """Whether this was said before."""
        known = self.seen.get(partition)
        return known is not None and tuple(cause) <= tuple(known)

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


class Answer(NamedTuple):
    """What a plan that asked is told."""

    after: Rate
    group: int = 0
    """The group in which it waits; 0: it may go."""
    place: int = 0
    rules: tuple[str, ...] = ()


def asked(before: Rate | None, message: RateAsked, now_ms: int) -> Answer | None:
    """Count a plan, or let it wait; None if it was answered before."""
    state = before or Rate(rate=message.rate, of=message.of)
    if state.heard(message.partition, message.cause):
        return None
    bucket = now_ms // BUCKET_MS
    buckets = {at: n for at, n in state.buckets.items() if at > bucket - DAY}
    seen = {**state.seen, message.partition: message.cause}
    state = state.model_copy(update={"buckets": buckets, "seen": seen})
    above = [limit for limit in message.limits if _sum(buckets, bucket, limit) + message.obligations > limit.more_than]
    captured = bool(state.waiting) and now_ms <= state.above_ms + CAPTURES_MS
    if not (above or captured):
        counted = {**buckets, bucket: buckets.get(bucket, 0) + message.obligations}
        return Answer(state.model_copy(update={"buckets": counted}))
    return _joined(state, message, above, now_ms)


def _joined(state: Rate, message: RateAsked, above: list[Limit], now_ms: int) -> Answer:
    if not state.waiting:
        begun = {"group": state.group + 1, "members": 0, "obligations": 0, "settled": 0, "left": (), "approved": {}}
        state = state.model_copy(update=begun | {"rules": (), "approvals": 1, "begun_ms": now_ms})
    rules = tuple(sorted({*state.rules, *(limit.rule for limit in above)}))
    after = state.model_copy(
        update={
            "members": state.members + 1,
            "obligations": state.obligations + message.obligations,
            "rules": rules,
            "approvals": max((state.approvals, *(limit.approvals for limit in above))),
            "above_ms": now_ms if above else state.above_ms,
        }
    )
    return Answer(after, after.group, after.members, rules)


def left(state: Rate | None, message: RateLeft) -> Rate | None:
    """The state when plans have left their group; None if that was heard before, or the group has ended."""
    if state is None or state.heard(message.partition, message.cause):
        return None
    seen = {**state.seen, message.partition: message.cause}
    gone = (at for at in message.places if message.group == state.group and at > state.settled)
    return state.model_copy(update={"seen": seen, "left": tuple(sorted({*state.left, *gone}))})


def _sum(buckets: dict[int, int], now: int, limit: Limit) -> int:
    return sum(number for at, number in buckets.items() if at > now - _BUCKETS[limit.per])


class Word(NamedTuple):
    """What an operator's word leads to."""

    after: Rate
    verdict: Verdict | None = None
    refused: str = ""


def spoken(state: Rate, operator: str, plan_digest: str, control: str, *, let_go: bool, reason: str = "") -> Word:
    """An approval, or a rejection, of the members that a digest names; those before them are meant, too."""
    if control in state.controls:
        return Word(state)
    count = state.named(plan_digest)
    if count is None:
        return Word(state, refused="plan_does_not_wait" if not state.waiting else "no_such_plan")
    heard = {"controls": (*state.controls, control)[-100:]}
    if not let_go:
        said = {"operator": operator, "control": control, "reason": reason}
        verdict = Verdict(group=state.group, up_to=count, let_go=False, **said)
        return Word(_settled(state.model_copy(update=heard), count), verdict)
    if count <= state.approved.get(operator, 0):
        return Word(state, refused="approved_already")
    approved = {**state.approved, operator: count}
    after = state.model_copy(update=heard | {"approved": approved})
    counts = sorted(approved.values(), reverse=True)
    agreed = counts[state.approvals - 1] if len(counts) >= state.approvals else 0
    if agreed <= state.settled:
        return Word(after)
    verdict = Verdict(group=state.group, up_to=agreed, let_go=True, operator=operator, control=control)
    return Word(_settled(after, agreed), verdict)


def _settled(state: Rate, count: int) -> Rate:
    return state.model_copy(update={"settled": count, "left": tuple(at for at in state.left if at > count)})
