"""California's DROP: the file in which a data broker says what became of each row that it has accessed.

`Id,Status`, one line a row: 2 exempted, 3 deleted, 5 not found (Civil Code 1798.99.86, 11 CCR 7614). There is no status
for "under way": a row is held until one of them is true. 4 (opted out, because several consumers share the identifier)
is the broker's to decide, who alone sees that: such rows are none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from expunge.domain.aggregates.case.chunks import GRANTED_AGAIN
from expunge.domain.aggregates.case.state import Case
from expunge.domain.vocabulary import DEFERRALS, MEANINGS, OPEN, Action, After, Claim, Regime, Status

EXEMPTED, DELETED, NOT_FOUND = 2, 3, 5
HEADER = "Id,Status"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""As DROP gives them: nothing that a spreadsheet would take for a formula, or for another cell."""


class Answer(NamedTuple):
    """What may be said of a row, or why nothing may be yet."""

    status: int
    """0: it is held."""
    why: str = ""


class Rows(NamedTuple):
    """The rows of a download."""

    said: dict[str, int]
    """Id -> status."""
    held: dict[str, str]
    """Id -> why it is not said yet."""
    taken_back: list[str]
    """To these no answer is due: the consumer took the request back."""

    def csv(self) -> str:
        """The file."""
        lines = [f"{name},{status}" for name, status in sorted(self.said.items())]
        return "".join(f"{line}\r\n" for line in (HEADER, *lines))


def rows(cases: Iterable[Case], batch: str) -> Rows:
    """What may be said of each request of one download.

    Args:
        cases: all there are; those count that were asked for under DROP, by their `batch`, and were no dry runs.
        batch: what the download was called.
    """
    found: dict[str, list[Case]] = {}
    for case in cases:
        if case.regime is Regime.DROP and case.batch == batch and not case.dry_run:
            found.setdefault(case.request_id, []).append(case)
    said, held, taken_back = dict[str, int](), dict[str, str](), list[str]()
    for name, several in found.items():
        answer = answer_of(several[0])
        if len(several) > 1:
            held[name] = "several publishers have asked under this id"
        elif not _ID.fullmatch(name):
            held[name] = "this is no id that DROP gives"
        elif several[0].status is Status.CANCELLED:
            taken_back.append(name)
        elif answer.status:
            said[name] = answer.status
        else:
            held[name] = answer.why
    return Rows(said, held, sorted(taken_back))


def answer_of(case: Case) -> Answer:
    """What may be said of one request, as its case stands."""
    lines = [line for line, number in case.counts if number]
    claims = {line.claim for line in lines}
    if case.status is Status.REFUSED:
        return Answer(0, "its plan was rejected: a person decides what is said")
    if case.status is not Status.COMPLETED or claims & {OPEN, Claim.FAILED}:
        return Answer(0, "put off: something is still there" if claims & DEFERRALS else "not done yet")
    if any(line.reason == GRANTED_AGAIN for line in lines):
        return Answer(0, "consent was given again: a person decides what is said")
    return _of_claims(claims - {Claim.NOT_FOUND})


def _of_claims(matched: set[str]) -> Answer:
    """The same by what was claimed of all that was found. A recipient that was told counts as directed, and no more."""
    if not matched:
        return Answer(NOT_FOUND)
    if matched == {Claim.EXEMPT}:
        return Answer(EXEMPTED)
    rest = [MEANINGS[Claim(claim)] for claim in matched - {Claim.EXEMPT}]
    gone = [each for each in rest if each.done and each.after is not After.THERE]
    told = [each for each in rest if each.done and set(each.answers) == {Action.NOTIFY}]
    if gone and len(gone) + len(told) == len(rest):
        return Answer(DELETED)
    return Answer(0, "something is still there, or only a recipient was told")
