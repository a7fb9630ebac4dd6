"""What a person should see to in an overview, each in one line with the command that says more."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.overview.state import Overview

NEAR_SECONDS = 2 * 86_400
"""So near to retention it is time to see to what is unread."""


def alarms_of(seen: Overview) -> Iterator[str]:
    """What a person should see to, each with the command that says more."""
    if seen.overdue:
        yield f"{_many(seen.overdue, 'case is', 'cases are')} overdue: expunge case list --due-within 0d"
    if seen.frozen:
        yield f"{_many(seen.frozen, 'case is', 'cases are')} frozen: expunge doctor"
    if seen.awaiting_approval:
        plans = _many(seen.awaiting_approval, "plan waits", "plans wait")
        yield f"{plans} for approval: expunge case list --status awaiting_approval"
    if seen.pauses:
        yield f"commands are paused for {', '.join(seen.pauses)}: expunge resume"
    for each in seen.behind:
        if each.left_seconds is not None and each.left_seconds < NEAR_SECONDS:
            left = age_of(each.left_seconds)
            yield f"in {left} retention takes what {each.role} has not read of {each.topic}: start it"
    if number := sum(seen.letters.values()):
        yield f"{_many(number, 'message is', 'messages are')} set aside: expunge dead-letters list"


def _many(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def age_of(seconds: float) -> str:
    """A span as people say it."""
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"
