"""The report of a span of time as a page: the figures of `domain.evidence.period`, and how to come to them oneself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from expunge.domain.evidence.period import ALL, ENDING, Counts, Line, Period
from expunge.domain.vocabulary import MEANINGS, Claim
from expunge.report.page import COLOURS, WIDTH, Bar, environment, parts_of

GROUPS: Mapping[str, str] = {"done": "ended on time", "stays": "open, and not late", "open": "late"}
WORDS: Mapping[str, str] = {
    "complied": "complied with",
    "partial": "complied with in part",
    "put_off": "of which all stays for now",
    "refused": "refused",
    "not_found": "of which nothing was found",
    "cancelled": "taken back",
    "superseded": "overtaken by a consent that was given again",
}
"""What came of a request, for people."""


class Regime(NamedTuple):
    """What is shown of the requests under one law."""

    name: str
    counts: Counts | None
    lines: list[Line]
    """Its months, and then all of it."""
    bars: list[Bar]


def period_page(said: Period, key: str, checkpoints: Sequence[str]) -> str:
    """The page; a pure function of what it is given.

    Args:
        said: the figures.
        key: the log's public key, as whoever checks holds it.
        checkpoints: of the logs that were read, as they are signed.
    """
    claims = [Claim(each) for each in (*ENDING, Claim.EXEMPT)]
    return (
        environment()
        .get_template("period.html")
        .render(
            said=said,
            whole=said.lines[0].counts,
            last_day=(date.fromisoformat(said.until) - timedelta(days=1)).isoformat(),
            regimes=_regimes(said.lines),
            groups=GROUPS,
            colours=COLOURS,
            width=WIDTH,
            words=WORDS,
            sentences={each.value: MEANINGS[each].said for each in claims},
            key=key,
            checkpoints=checkpoints,
        )
    )


def _regimes(lines: Sequence[Line]) -> list[Regime]:
    found = []
    for line in lines[1:]:
        if line.month == ALL:
            months = [each for each in lines if each.regime == line.regime and each.month != ALL]
            shown = [(each.month, each.counts) for each in months if each.counts is not None]
            most = max((counts.received for _, counts in shown), default=0)
            bars = [_bar(month, counts, most) for month, counts in shown]
            found.append(Regime(line.regime, line.counts, [*months, line], bars))
    return sorted(found, key=lambda each: (each.counts is None, each.name))


def _bar(month: str, counts: Counts, most: int) -> Bar:
    """Requests of one month, each in one part; the largest month is as wide as the figure."""
    waiting = counts.received - counts.on_time - counts.late
    return Bar(month, counts.received, parts_of({"done": counts.on_time, "stays": waiting, "open": counts.late}, most))
