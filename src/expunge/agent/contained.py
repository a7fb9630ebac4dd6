"""What a purger raises costs the culprit, and nobody else: a batch that raises is tried in halves.

Where every part of a batch raises, the system as a whole is in trouble, and asking it on would make that worse.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from expunge.agent.memory import Trouble
from expunge.agent.types import Purger, Result, Target
from expunge.domain.events import LATEST
from expunge.errors import place_of

PARTS_WITHOUT_SUCCESS = 7
"""A batch, its halves and its quarters: if all of them raise, it is not for one target."""
MOST_RAISED = 40
"""So often a batch may raise: some three culprits in five hundred are found at once, further ones by and by."""

log = structlog.get_logger()


def purge(system: str, purger: Purger, batch: Sequence[Target]) -> tuple[list[Result], list[Trouble]]:
    """The results of a batch, and the targets in whose purge something was raised.

    A target in a part that raised is given again as `interrupted`: nobody knows what was done of it before.
    """
    parts, raised, reason = deque([list(batch)]), 0, ""
    results: list[Result] = []
    troubles: list[Trouble] = []
    while parts:
        part = parts.popleft()
        if raised >= (MOST_RAISED if results else PARTS_WITHOUT_SUCCESS):
            troubles += [Trouble(target, reason, alone=False) for target in part]
            continue
        try:
            results += _sound(list(purger.purge(part)), part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered by name
            raised, reason = raised + 1, reason_of(error)
            _say(system, error, len(part))
            again = [replace(target, interrupted=True) for target in part]
            middle = len(part) // 2
            if middle:
                parts += [again[:middle], again[middle:]]
            else:
                troubles.append(Trouble(again[0], reason, alone=True))
    return results, troubles


def _sound(results: list[Result], part: Sequence[Target]) -> list[Result]:
    """The results, if they are some.

    Raises:
        TypeError: something else was returned, or a moment that is none.
    """
    asked = {target.key for target in part}
    for each in results:
        if not isinstance(each, Result) or each.target.key not in asked:
            raise TypeError("a purger returns results for the targets that it was given")
        if each.expected_by is not None and not (
            isinstance(each.expected_by, datetime) and each.expected_by.astimezone(UTC) < LATEST
        ):
            raise TypeError("expected_by is a moment that comes")
    return results


def reason_of(error: Exception) -> str:
    """The class of an error as a reason code: its text may name whom it is about."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
    return "raised_" + re.sub(r"[^a-z0-9_]", "_", words)[:50]


def _say(system: str, error: Exception, targets: int) -> None:
    log.error("the purger raised", system=system, error=type(error).__name__, where=place_of(error), targets=targets)
