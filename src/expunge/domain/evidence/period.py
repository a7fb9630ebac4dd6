"""What a log tells of a span of time: how many requests, how long they took, what came of them.

A pure function of the log's entries and the span: whoever has the published log comes to the same figures. A request
belongs to the month in which it was received, by its publisher's word, whenever that was logged; how it stands is how
it stood at the end of the span. It has ended when nothing of it is open: `partially_completed` is no end. Dry runs are
no requests.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

from expunge.domain.evidence.reading import Body, Told, facts_of, moment, name_of, plain
from expunge.domain.values import Value

FEWEST = 5
"""A cell of a finer cut with fewer requests could tell of one person: it is not shown."""
ALL = "all"
A_DAY_SECONDS = 86_400
PUT_OFF = "put_off"
OUTCOMES = ("complied", "partial", PUT_OFF, "refused", "not_found", "cancelled", "superseded")
"""What may come of a request, in the words of certificates; `put_off`: all of it stays for now."""
TAKEN_BACK = frozenset({"cancelled", "superseded"})
ENDING = frozenset({"deferred", "beyond_use", "held"})
NOT_DONE = frozenset({*ENDING, "exempt", "not_found", "open", "failed"})


class Days(Value):
    """How many days passed from a request to its first end; those that were taken back are not among them."""

    median: float
    mean: float
    p95: float


class Counts(Value):
    """Some requests, counted."""

    received: int
    ended: int
    """At least once, by the end of the span."""
    open: int
    """By then, also again."""
    on_time: int
    """Ended, for the first time, by their deadline."""
    late: int
    """Ended after their deadline, or never ended and past it."""
    extended: int
    reopened: int
    outcomes: dict[str, int]
    """Of those that are not open."""
    days: Days | None
    """Of those that ended; None: none did."""


class Line(Value):
    """The requests under one law, of one month or of all."""

    regime: str
    month: str
    """`2026-11`, or `all`."""
    counts: Counts | None
    """None: they are too few to be told apart from a person, or what is not shown of others would follow from them."""


class Standing(Value):
    """Things that stay for now or by law at the end of the span, by what was said of them, where they are not few."""

    claim: str
    reason: str
    requests: int
    """That have such things."""
    things: int


class Period(Value):
    """A span of time."""

    version: int = 1
    since: str
    until: str
    """The first day after it."""
    as_of: str
    """Until when the log was heard: the end of the span, or the last fact of a log that does not go so far."""
    lines: tuple[Line, ...]
    """First all, then each regime, then its months."""
    stays: tuple[Standing, ...]
    carried_over: int | None
    """Received before, and open at its beginning; None: they are few."""
    carried_over_ended: int | None
    untold: int
    """Cases of which facts are missing in this log, or are said in two ways: they are in no other figure."""
    fewest: int = FEWEST


class Deletes(Value):
    """The row on requests to delete of 11 CCR 7102(a)(1)."""

    received: int
    complied_in_whole_or_in_part: int
    put_off: int
    """Answered that all of it stays for now: by a schedule, or under a hold."""
    nothing_found: int
    """Answered that nothing of the person was there: under which of the others it counts is counsel's to say."""
    denied: int
    taken_back: int
    pending: int
    """Received in the year, and not answered by its end."""
    median_days: float | None
    mean_days: float | None


class CcpaMetrics(Value):
    """The table of 11 CCR 7102(a)(1), as far as this log knows it. What other systems answer is null, never zero."""

    version: int = 1
    year: int
    as_of: str
    requests_to_delete: Deletes
    requests_to_correct: None = None
    requests_to_know: None = None
    requests_to_opt_out: None = None
    requests_to_limit: None = None


class Case:
    """One request, as it stood at the end of the span."""

    def __init__(self, opened: Body) -> None:
        body = opened["data"]["body"]
        self.told, self.sequence, self._said = Told([opened]), 1, [hash(plain(opened))]
        self.regime, self.scope, self.dry_run = body["regime"], body["scope"], body["dry_run"]
        self.received = moment(body["received_at"])
        self.ended: float | None = None
        """When it first ended."""
        self.is_open, self.reopened, self.late = True, 0, False
        self.outcome, self.is_whole = "", True

    def take(self, fact: Body) -> None:
        """One more fact, in order; one that is said again must say the same."""
        number, said = fact["data"]["sequence"], hash(plain(fact))
        if number <= self.sequence:
            self.is_whole = self.is_whole and self._said[number - 1] == said
            return
        self.is_whole = self.is_whole and number == self.sequence + 1
        self.sequence = number
        self._said.append(said)
        if self.is_whole:
            self._hear(fact)

    def _hear(self, fact: Body) -> None:
        self.told.take(fact)
        name = name_of(fact)
        is_end = name == "closed" and fact["data"]["body"]["status"] != "partially_completed"
        if is_end:
            said = self.told.case()
            if self.ended is None:  # what came back later, and was purged again, was no delay
                self.ended, self.late = said["ended_at"], not said["on_time"]
            self.is_open, self.outcome = False, self._outcome(said["outcome"])
        elif name in {"reopened", "closed"} and not self.is_open:
            self.is_open, self.reopened = True, self.reopened + 1

    def _outcome(self, said: str) -> str:
        claims = {line["claim"] for chunk in self.told.chunks.values() for line in chunk.lines()}
        return PUT_OFF if said == "complied" and claims and claims <= NOT_DONE else said

    def is_late(self, until: float) -> bool:
        """Whether its deadline passed before it had ended."""
        return self.late or (self.ended is None and self.told.due_at < until)


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


class Requests(NamedTuple):
    """What a log tells of requests."""

    cases: list[Case]
    untold: int
    """Of which the beginning is missing."""
    at: float
    """How far it goes: when the last fact was said that was heard (seconds since 1970), or the moment asked for."""


def requests(events: Iterable[dict[str, Any]], until: date) -> Requests:
    """The requests that a log tells of, as they stood at the beginning of a day (UTC).

    Args:
        events: the entries of the log, in order, as far as they are JSON.
        until: what was said from then on is passed over.

    Raises:
        ValueError, LookupError, TypeError: an entry is not of the form that it must have.
    """
    found: dict[str, Case] = {}
    begun, untold = set[str](), set[str]()
    end, last = _day(until), 0.0
    for fact in (fact for event in events for fact in facts_of(event)):
        key, number, at = fact["data"]["case_id"], fact["data"]["sequence"], moment(fact["time"])
        last = max(last, at)
        if number == 1:
            begun.add(key)
        elif key not in begun:
            untold.add(key)
        if key in found:
            if at < end:
                found[key].take(fact)
        elif number == 1 and name_of(fact) == "opened":
            found[key] = Case(fact)
    return Requests([case for case in found.values() if not case.dry_run], len(untold), min(last, end))


def period(logged: Requests, since: date, until: date) -> Period:
    """The figures of a span; of one that is not over as far as the log goes.

    Args:
        logged: see `requests`.
        since: its first day.
        until: the first day after it.
    """
    begin, end = _day(since), _day(until)
    told = [each for each in logged.cases if each.is_whole]
    mine = [each for each in told if begin <= each.received < end]
    before = [each for each in told if each.received < begin and (each.ended is None or each.ended >= begin)]
    few = 0 < len(before) < FEWEST
    return Period(
        since=since.isoformat(),
        until=until.isoformat(),
        as_of=_stamp(logged.at),
        lines=tuple(_lines(mine, logged.at)),
        stays=tuple(_stays(mine)),
        carried_over=None if few else len(before),
        carried_over_ended=None if few else sum(each.ended is not None for each in before),
        untold=logged.untold + len(logged.cases) - len(told),
    )


def _lines(mine: Sequence[Case], end: float) -> list[Line]:
    by_regime: dict[str, list[Case]] = defaultdict(list)
    for each in mine:
        by_regime[each.regime].append(each)
    regimes = sorted(by_regime)
    lines = _shown([(ALL, ALL, mine)], end)
    for line in _shown([(regime, ALL, by_regime[regime]) for regime in regimes], end):
        lines.append(line)
        if line.counts is not None:
            lines += _shown(_months(line.regime, by_regime[line.regime]), end)
    return lines


def _stays(mine: Sequence[Case]) -> Iterator[Standing]:
    things: Counter[tuple[str, str]] = Counter()
    having: Counter[tuple[str, str]] = Counter()
    for each in mine:
        lines = [line for chunk in each.told.chunks.values() for line in chunk.lines()]
        said = [(line["claim"], line.get("reason", "")) for line in lines if line["claim"] in {*ENDING, "exempt"}]
        things.update(said)
        having.update(set(said))
    for (claim, reason), number in sorted(having.items()):
        if number >= FEWEST:
            yield Standing(claim=claim, reason=reason, requests=number, things=things[claim, reason])


def _months(regime: str, some: Sequence[Case]) -> list[tuple[str, str, list[Case]]]:
    months: dict[str, list[Case]] = defaultdict(list)
    for each in some:
        months[datetime.fromtimestamp(each.received, UTC).strftime("%Y-%m")].append(each)
    return [(regime, month, months[month]) for month in sorted(months)]


def _shown(cells: Sequence[tuple[str, str, Sequence[Case]]], end: float) -> list[Line]:
    """Cells that add up to one that is shown: those that may be."""
    hidden = _hidden([len(some) for _, _, some in cells])
    return [
        Line(regime=regime, month=month, counts=None if at in hidden else _counts(some, end))
        for at, (regime, month, some) in enumerate(cells)
    ]


def _hidden(sizes: Sequence[int]) -> set[int]:
    """Which cells are not shown: the small ones, and with them the next, until those that are hidden are not few.

    Their sum follows from what is shown: of few it would tell as much as they.
    """
    hidden = {at for at, size in enumerate(sizes) if 0 < size < FEWEST}
    others = sorted((size, at) for at, size in enumerate(sizes) if at not in hidden and size)
    while hidden and others and (len(hidden) == 1 or sum(sizes[at] for at in hidden) < FEWEST):
        hidden.add(others.pop(0)[1])
    return hidden


def _counts(some: Sequence[Case], end: float) -> Counts:
    outcomes = Counter(each.outcome for each in some if not each.is_open)
    return Counts(
        received=len(some),
        ended=sum(each.ended is not None for each in some),
        open=sum(each.is_open for each in some),
        on_time=sum(each.ended is not None and not each.late for each in some),
        late=sum(each.is_late(end) for each in some),
        extended=sum(each.told.extended for each in some),
        reopened=sum(each.reopened > 0 for each in some),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES if outcomes[outcome]},
        days=_days(some),
    )


def _days(some: Sequence[Case]) -> Days | None:
    found = sorted(_took(each) for each in some if each.ended is not None and each.outcome not in TAKEN_BACK)
    if not found:
        return None
    p95 = found[min(len(found) - 1, -(-95 * len(found) // 100) - 1)]
    return Days(median=round(statistics.median(found), 1), mean=round(statistics.fmean(found), 1), p95=round(p95, 1))


def _took(case: Case) -> float:
    return ((case.ended or case.received) - case.received) / A_DAY_SECONDS


def ccpa_metrics(logged: Requests, year: int) -> CcpaMetrics:
    """The metrics of a calendar year, of requests as they stood at its end."""
    begin, end = _day(date(year, 1, 1)), _day(date(year + 1, 1, 1))
    mine = [
        each
        for each in logged.cases
        if each.is_whole and each.regime == "ccpa" and each.scope == "erasure" and begin <= each.received < end
    ]
    outcomes = Counter(each.outcome if each.ended is not None else "" for each in mine)
    days = _days(mine)
    return CcpaMetrics(
        year=year,
        as_of=_stamp(logged.at),
        requests_to_delete=Deletes(
            received=len(mine),
            complied_in_whole_or_in_part=outcomes["complied"] + outcomes["partial"],
            put_off=outcomes[PUT_OFF],
            nothing_found=outcomes["not_found"],
            denied=outcomes["refused"],
            taken_back=outcomes["cancelled"] + outcomes["superseded"],
            pending=outcomes[""],
            median_days=days.median if days else None,
            mean_days=days.mean if days else None,
        ),
    )
