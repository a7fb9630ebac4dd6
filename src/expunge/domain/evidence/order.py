"""What an order came to, provision by provision, and held against the order's own list: a function of a certificate.

Of the list Expunge is told nothing: whoever has it, and the openings of its entries (`certificate.opening`), can see
which of them are in the certificate, and which were never registered.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from expunge.domain.evidence.sentences import sentence
from expunge.domain.vocabulary import MEANINGS, OF_MODELS, OPEN, OVER, Claim, Kind

Number = Annotated[StrictInt, Field(ge=0)]
NO_RECIPIENT = "no recipient is registered, which says nothing of whether anything was passed on"


State = Literal[
    "nothing_found", "met_in_time", "met_late", "met_untold", "stays", "missed", "not_yet_due", "not_carried_out"
]
"""How a provision stands. `met_*`: nothing is open, and nothing stays; `met_untold`: whether that was so when it was
due, no fact says. `stays`: nothing is open, and something is there still, for now or by law."""


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Line(_Said):
    """Things that are alike, and what may be said of them."""

    kind: str
    system: str
    said: str
    count: Number


class ProvisionOf(_Said):
    """One provision of the order."""

    provision: str
    due_at: str
    obligations: Number
    done: Number
    not_found: Number
    stays: Number
    """For now, or by law."""
    open: Number
    open_when_due: Number | None
    """Null: its deadline had not passed when the certificate was made."""
    state: State


class Reconciled(_Said):
    """The order's list, held against what the certificate is about."""

    listed: Number
    registered: Number
    """Of those listed, in the certificate, whatever became of them."""
    never_registered: Number
    besides: Number
    """In the certificate, and not listed: made from what is, or found otherwise."""


class Transfer(_Said):
    """A third party, and what it was told to purge."""

    system: str
    lines: tuple[Line, ...]
    not_asked: str | None = None


class Order(_Said):
    """What an order came to."""

    version: Literal[1] = 1
    certificate: str
    """SHA-256 of the payload of the certificate."""
    case_id: str
    authority: str | None
    docket: str | None
    order_date: str | None
    status: str
    ended_at: str
    found: Number
    expected: Number | None
    """By the order's own count."""
    provisions: tuple[ProvisionOf, ...]
    under_no_provision: Number
    reconciled: Reconciled | None
    """Null: no list was given."""
    models: tuple[Line, ...]
    transfers: tuple[Transfer, ...]
    not_shown: tuple[str, ...]


def order(predicate: Mapping[str, Any], name: str, reconciled: Reconciled | None) -> Order:
    """The report.

    Args:
        predicate: of a certificate that holds.
        name: SHA-256 of its payload.
        reconciled: the order's list, held against its obligations.
    """
    case, rows = predicate["case"], predicate["inventory"]
    matter = case["matter"] or {}
    known = {each["provision"] for each in case["provisions"]}
    return Order(
        certificate=name,
        case_id=case["id"],
        authority=matter.get("authority"),
        docket=matter.get("docket"),
        order_date=matter.get("order_date"),
        status=case["status"],
        ended_at=case["ended_at"],
        found=predicate["obligations"]["number"],
        expected=case["expected_count"],
        provisions=tuple(_provision(each, rows, case) for each in case["provisions"]),
        under_no_provision=sum(row["count"] for row in rows if row.get("provision", "") not in known),
        reconciled=reconciled,
        models=tuple(_lines(row for row in rows if row["kind"] in {kind.value for kind in OF_MODELS})),
        transfers=tuple(_transfers(predicate)),
        not_shown=tuple(predicate["not_shown"]),
    )


def _provision(said: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], case: Mapping[str, Any]) -> ProvisionOf:
    counts: Counter[str] = Counter()
    for row in rows:
        if row.get("provision") == said["provision"]:
            counts[_became(row["claim"])] += row["count"]
    return ProvisionOf(
        provision=said["provision"],
        due_at=said["due_at"],
        obligations=counts.total(),
        done=counts["done"],
        not_found=counts["not_found"],
        stays=counts["stays"],
        open=said["open"],
        open_when_due=said["open_when_due"],
        state=_state(counts, said, case),
    )


def _state(counts: Counter[str], said: Mapping[str, Any], case: Mapping[str, Any]) -> State:
    """How it stands at the end of the case, as far as that is told."""
    was_due = said["open_when_due"] is not None or case["ended_at"] > said["due_at"]
    if case["status"] in OVER:
        return "not_carried_out"
    if not counts.total():
        return "nothing_found"
    if said["open"]:
        return "missed" if was_due else "not_yet_due"
    if counts["stays"]:
        return "stays"
    if said["open_when_due"]:
        return "met_late"
    is_told = said["open_when_due"] == 0 or not was_due
    return "met_in_time" if is_told and case["ended_at"] <= said["due_at"] else "met_untold"


def _became(claim: str) -> str:
    if claim in {OPEN, Claim.FAILED}:
        return "open"
    if claim == Claim.NOT_FOUND:
        return "not_found"
    return "done" if MEANINGS[Claim(claim)].done else "stays"


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counts[row["kind"], row["system"], sentence(row["claim"], row.get("grade", ""))] += row["count"]
    for (kind, system, said), number in sorted(counts.items()):
        yield Line(kind=kind, system=system, said=said, count=number)


def _transfers(predicate: Mapping[str, Any]) -> Iterator[Transfer]:
    """Third parties, and copies that recipients have."""
    third = {each["system"]: each for each in predicate["systems"] if each.get("third_party")}
    copies = {row["system"] for row in predicate["inventory"] if row["kind"] == Kind.RECIPIENT_COPY}
    for system in sorted({*third, *copies}):
        rows = [row for row in predicate["inventory"] if row["system"] == system]
        if system not in third:
            rows = [row for row in rows if row["kind"] == Kind.RECIPIENT_COPY]
        why = third.get(system, {}).get("not_asked")
        yield Transfer(system=system, lines=tuple(_lines(rows)), not_asked=why)


class Openings(BaseModel):
    """A line of the file of openings: an entry of the list, and what opens its commitment."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    case_id: str
    """Of whose certificate."""
    asset: str
    opening: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def reconcile(
    listed: Iterable[str], openings: Mapping[str, bytes], commitments: Iterable[str]
) -> tuple[Reconciled, list[str]]:
    """Hold a list against a certificate; and those of its entries that were never registered.

    Args:
        listed: the ids of the order's list; each counts once.
        openings: of each of them, what opens its commitment.
        commitments: of the certificate's obligations (`asset`), hexadecimal.

    Raises:
        ValueError: an entry has no opening.
    """
    known = {bytes.fromhex(each) for each in commitments if each}
    met, missing, number = set[bytes](), list[str](), 0
    for asset in dict.fromkeys(listed):
        opening = openings.get(asset)
        if opening is None:
            raise ValueError("an entry of the list has no opening")
        number += 1
        commitment = hashlib.sha256(opening + asset.encode()).digest()
        if commitment in known:
            met.add(commitment)
        else:
            missing.append(asset)
    said = Reconciled(listed=number, registered=len(met), never_registered=len(missing), besides=len(known) - len(met))
    return said, missing
