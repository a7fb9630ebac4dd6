"""The report of one case as a page: what its certificate says, in plain words, with figures.

It is a pure function of the certificate's statement: the same statement is the same page, byte by byte. Whatever stands
in it is escaped by the template; what may be said of a claim is bound to its grade (`domain.evidence.sentences`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from expunge.domain.characters import acts
from expunge.domain.evidence.order import NO_RECIPIENT, Order
from expunge.domain.evidence.sentences import looked, sentence
from expunge.domain.vocabulary import MEANINGS, OPEN, Claim

WIDTH = 640
"""Of figures, in their own units."""


class Part(NamedTuple):
    """A part of a bar."""

    group: str
    number: int
    begin: float
    width: float


class Bar(NamedTuple):
    """What was found of one kind, by what became of it."""

    kind: str
    number: int
    parts: list[Part]


class Moment(NamedTuple):
    """A point of the timeline."""

    name: str
    day: str
    at: float
    end: bool
    """Whether its label stands left of it, for it lies at the right end."""
    row: int
    """Labels that would meet stand in rows."""


GROUPS: Mapping[str, str] = {
    "done": "answered as done",
    "not_found": "not found",
    "stays": "still there for now, or by law",
    "open": "open, or failed",
}
COLOURS = {"done": "#1b7f5c", "not_found": "#8a94a3", "stays": "#c98a12", "open": "#c0392b"}
"""Told apart by their lightness, too; none of them says anything that does not stand beside it in words."""
GRADES: Mapping[str, str] = {
    "e3": "somebody else has looked",
    "e2": "its system has signed",
    "e1": "its system says so, unsigned",
    "e0": "nobody's answer (decided here, or open)",
}
"""What an obligation rests on, for people."""
GRADE_COLOURS: Mapping[str, str] = {"e3": "#1b4f8a", "e2": "#5b8fcb", "e1": "#adc8e6", "e0": "#d5dae1"}
_GROUP_OF = {Claim.NOT_FOUND: "not_found", Claim.FAILED: "open"}


def group_of(claim: str) -> str:
    """Which part of a bar a claim belongs to."""
    if claim == OPEN:
        return "open"
    known = Claim(claim)
    return _GROUP_OF.get(known) or ("done" if MEANINGS[known].done else "stays")


def environment() -> Environment:
    """Where templates are found, and how whatever stands in a page becomes text."""
    made = Environment(
        loader=PackageLoader("expunge.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_plainly_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"plainly": lambda word: str(word).replace("_", " "), "day": _day}
    made.filters["looked"] = looked
    made.globals["grade_colours"] = GRADE_COLOURS
    return made


STATES: Mapping[str, str] = {
    "nothing_found": "nothing was found that falls under it",
    "met_in_time": "nothing open, in time",
    "met_late": "nothing open, late",
    "met_untold": "nothing open now; how much was open when it was due is not told",
    "stays": "nothing open; part of it stays for now, or by law",
    "not_carried_out": "the request was taken back, or refused",
    "missed": "missed: something is open",
    "not_yet_due": "open, and not yet due",
}
"""How a provision of an order stands, for people."""
COLOUR_OF: Mapping[str, str] = {
    "nothing_found": "not_found",
    "met_in_time": "done",
    "met_late": "stays",
    "met_untold": "stays",
    "stays": "stays",
    "not_carried_out": "open",
    "missed": "open",
    "not_yet_due": "stays",
}


def _plainly_shown(value: object) -> object:
    """Text from outside without what only acts: such a character stands there by its number."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(f"\\u{ord(each):04x}" if each != "\n" and acts(each) else each for each in value)


def page(statement: dict[str, Any], key: str, payload_sha256: str, order: Order | None = None) -> str:
    """The page.

    Args:
        statement: of the certificate.
        key: the log's public key, as whoever checks holds it.
        payload_sha256: names the certificate.
        order: what it came to, where the page is to be about an order.
    """
    said = statement["predicate"]
    template = environment().get_template("page.html" if order is None else "order.html")
    return template.render(
        order=order,
        states=STATES,
        colour_of=COLOUR_OF,
        no_recipient=NO_RECIPIENT,
        said=said,
        case=said["case"],
        totals=totals(said["inventory"]),
        bars=bars(said["inventory"]),
        rows=_rows(said["inventory"]),
        grades=GRADES,
        rests_on=rests_on(said["inventory"]),
        moments=moments(said["case"]),
        groups=GROUPS,
        colours=COLOURS,
        width=WIDTH,
        key=key,
        name=payload_sha256,
        checkpoint=said["log"]["checkpoint"],
    )


def totals(inventory: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How much there is of each group."""
    counts = Counter(dict.fromkeys(GROUPS, 0))
    for row in inventory:
        counts[group_of(row["claim"])] += row["count"]
    return dict(counts)


def rests_on(inventory: Sequence[dict[str, Any]]) -> list[Part]:
    """A bar of what all of it rests on."""
    counts: Counter[str] = Counter()
    for row in inventory:
        counts[{"E4": "e3"}.get(row.get("grade", "E0"), row.get("grade", "E0").lower())] += row["count"]
    return parts_of(counts, among=GRADES)


def bars(inventory: Sequence[dict[str, Any]]) -> list[Bar]:
    """A bar for each kind, each as long as the others: what matters is what became of it."""
    kinds: dict[str, Counter[str]] = {}
    for row in inventory:
        kinds.setdefault(row["kind"], Counter())[group_of(row["claim"])] += row["count"]
    return [Bar(kind, sum(counts.values()), parts_of(counts)) for kind, counts in sorted(kinds.items())]


def parts_of(counts: Mapping[str, int], whole: int = 0, among: Iterable[str] = GROUPS) -> list[Part]:
    """A bar's parts: what is something is seen. `whole` is as long as the figure is wide; 0: the bar itself is."""
    number, begin, parts = whole or sum(counts.values()), 0.0, list[Part]()
    for group in among:
        if counts.get(group):
            width = round(WIDTH * counts[group] / number, 2)
            parts.append(Part(group, counts[group], round(begin, 2), max(width, 2.0)))
            begin += width
    return parts


def moments(case: dict[str, Any]) -> list[Moment]:
    """What happened when, on a line from the request to its end or its deadline, whichever came later."""
    named = {
        "asked": case["received_at"],
        "taken up": case["opened_at"],
        "ended": case["ended_at"],
        "due": case["due_at"],
    }
    times = {name: datetime.fromisoformat(at).timestamp() for name, at in named.items()}
    first, last = min(times.values()), max(times.values())
    span = (last - first) or 1.0
    found: list[Moment] = []
    for row, (name, at) in enumerate(sorted(times.items(), key=lambda each: (each[1], each[0]))):
        place = round(WIDTH * (at - first) / span, 2)
        found.append(Moment(name, _day(named[name]), place, place > WIDTH / 2, row))
    return found


def _rows(inventory: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    said = [
        row | {"sentence": sentence(row["claim"], row.get("grade", "")), "group": group_of(row["claim"])}
        for row in inventory
    ]
    return sorted(said, key=lambda row: list(GROUPS).index(row["group"]))


def _day(stamped: str) -> str:
    return stamped[:10]
