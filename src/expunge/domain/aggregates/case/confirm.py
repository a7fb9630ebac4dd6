"""What the publisher hears: counts in the closed vocabulary, never an id of an asset or a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from expunge.domain.aggregates.case.chunks import GRANTED_AGAIN, Tally
from expunge.domain.aggregates.case.effects import Confirm
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.events import stamp
from expunge.domain.limits import MAX_LINES
from expunge.domain.planning.policy.rules import Seen
from expunge.domain.vocabulary import DEFERRALS, FINAL, MODELS, OPEN, OVER, Claim, Kind, Status
from expunge.wire.confirmations import MILESTONES

RECORD_NOTICE = (
    "What names you and your data in the record of this request is kept as evidence and used for nothing else, as a "
    "rule until {months} months after it has ended. A legal hold may lengthen that, and an operator may shorten it. "
    "After that counts, dates and keyed digests are kept, so that what should be gone is noticed if it comes back."
)

BEFORE_WORK = frozenset({"acknowledged", "planned", "awaiting_approval"})
"""Milestones at which nothing has been commanded yet: what nobody has answered for is no failure."""


def say(turn: Turn, milestone: str, *, thresholds: tuple[str, ...] = (), **fields: str) -> None:
    """Tell the requester about a milestone, as much as policy lets be seen; see `body` for the fields."""
    case = turn.case if turn.policy.holds.requester_sees is Seen.HELD else without_holds(turn.case)
    bases = {rule.id: rule.legal_basis for rule in turn.policy.dispositions if rule.legal_basis}
    notice = {"record_notice": RECORD_NOTICE.format(months=turn.policy.retention.case_months)}
    said = (
        body(case, **fields, bases=bases, begun=milestone not in BEFORE_WORK)
        | notice
        | ({"thresholds": list(thresholds)} if thresholds else {})
    )
    turn.emit(Confirm(milestone, MILESTONES[milestone].model_validate(said)))


def without_holds(case: Case) -> Case:
    """The case as it is told where policy lets nobody hear of a hold: what is held has not been done yet."""
    counts: Counter[Tally] = Counter()
    for line, number in case.counts:
        held = line.claim == Claim.HELD
        counts[line._replace(claim=Claim.DEFERRED.value, reason="", until="") if held else line] += number
    return case.model_copy(update={"counts": tuple(sorted(counts.items()))})


def body(
    case: Case,
    *,
    plan_digest: str = "",
    outcome: str = "",
    reason: str = "",
    provision: str = "",
    bases: Mapping[str, str] | None = None,
    begun: bool = True,
) -> dict[str, Any]:
    """The data of a confirmation, all milestones alike.

    `bases` are the legal bases of exemptions, by rule; `begun` says whether silence is worth a word by now.
    """
    exemptions = _lines(case, lambda line: line.claim == Claim.EXEMPT, "system", "kind", "reason")
    deferrals = _lines(case, lambda line: line.claim in DEFERRALS, "system", "kind", "claim", "reason", "until")
    data: dict[str, Any] = {
        "case_id": case.case_id,
        "request_id": case.request_id,
        "correlation_id": case.correlation_id,
        "batch": case.batch,
        "regime": case.regime.value,
        "received_at": stamp(case.received_at),
        "received_at_clamped": case.clamped,
        "due_at": case.due_at.isoformat(timespec="milliseconds"),
        "clock": case.clock,
        "extended": case.extended,
        "reason": reason or None,
        "provision": provision or None,
        "provisions": provisions(case),
        "dry_run": case.dry_run,
        "outcome": outcome or None,
        "plan_digest": plan_digest or (case.generations[-1].plan_digest if case.generations else "") or None,
        "counts": counts(case),
        "deferrals": _with_bases(deferrals, bases or {}),
        "denials": [],
        "exemptions": _with_bases(exemptions, bases or {}),
        "models": _lines(case, lambda line: line.kind in MODELS, "kind", "action", "claim"),
        "recipients": _lines(case, lambda line: line.kind == Kind.RECIPIENT_COPY, "system", "claim", "reason"),
        "failures": _lines(case, lambda line: _is_failure(line, begun), "system", "kind", "claim", "reason"),
    }
    return {key: value for key, value in data.items() if value is not None}


def _is_failure(line: Tally, begun: bool) -> bool:  # noqa: FBT001 - of one call
    return line.claim == Claim.FAILED or (line.claim == OPEN and (begun or bool(line.reason)))


def counts(case: Case) -> dict[str, dict[str, int]]:
    """Obligations by kind and claim; `open` where nobody has answered."""
    table: dict[str, Counter[str]] = {}
    for line, number in case.counts:
        table.setdefault(line.kind, Counter())[line.claim] += number
    return {kind: dict(sorted(claims.items())) for kind, claims in sorted(table.items())}


def provisions(case: Case) -> list[dict[str, Any]]:
    """The provisions of an order with their deadlines, and how many obligations under each are open."""
    return [
        {
            "provision": each.provision,
            "due_at": each.due_at.isoformat(timespec="milliseconds"),
            "open": case.open_under(each.provision),
        }
        for each in case.deadlines
    ]


def _with_bases(lines: list[dict[str, Any]], bases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Lines whose reason is a rule of policy with a legal basis say that, too."""
    return [line | ({"legal_basis": bases[line["reason"]]} if line.get("reason") in bases else {}) for line in lines]


def outcome_of(case: Case) -> str:
    """One word for the requester: complied, partial, refused, superseded or not_found; none before there is an end.

    Nothing found is never called complied.
    """
    if case.status not in FINAL:
        return ""
    if case.status in OVER:
        return case.status.value
    said = [(line.claim, line.reason) for line, _ in case.counts if line.claim != Claim.NOT_FOUND]
    if said and all(each == (Claim.EXEMPT, GRANTED_AGAIN) for each in said):
        return "superseded"  # nothing had to be done any more
    claims = {claim for claim, reason in said if reason != GRANTED_AGAIN}
    if case.status is Status.PARTIALLY_COMPLETED:
        return "partial"
    if Claim.EXEMPT in claims:
        return "partial" if len(claims) > 1 else "refused"
    return "complied" if claims else "not_found"


def _lines(case: Case, wanted: Callable[[Tally], bool], *fields: str) -> list[dict[str, Any]]:
    grouped: Counter[tuple[str, ...]] = Counter()
    for line, number in case.counts:
        if wanted(line):
            grouped[tuple(getattr(line, name) for name in fields)] += number
    rows: list[dict[str, Any]] = [
        {name: value for name, value in zip(fields, key, strict=True) if value} | {"count": number}
        for key, number in sorted(grouped.items())
    ]
    cut = rows[MAX_LINES:]
    return [*rows[:MAX_LINES], {"more": len(cut), "count": sum(row["count"] for row in cut)}] if cut else rows
