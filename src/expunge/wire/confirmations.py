"""`confirmations.<publisher>`: what publishers hear."""

from __future__ import annotations

from datetime import date

from expunge.domain.values import Hex
from expunge.domain.vocabulary import Regime
from expunge.wire.form import Outlet, Stamp, Zoned


class Line(Outlet):
    """One line of a list in a confirmation: how many obligations, never which."""

    count: int
    system: str | None = None
    kind: str | None = None
    action: str | None = None
    claim: str | None = None
    reason: str | None = None
    legal_basis: str | None = None
    until: date | None = None
    more: int | None = None
    """In the last line of a list that was cut: how many lines follow."""


class ProvisionLine(Outlet):
    """How a provision of an order stands."""

    provision: str
    due_at: Zoned
    open: int


class CaseConfirmed(Outlet):
    """A milestone of a case, the same fields for every milestone."""

    case_id: Hex
    request_id: str
    correlation_id: str | None = None
    batch: str | None = None
    regime: Regime
    received_at: Stamp
    received_at_clamped: bool
    due_at: Zoned
    clock: str
    """The rule of policy that the dates come from."""
    extended: bool
    reason: str | None = None
    """An operator's, for an extension or a refusal."""
    provision: str | None = None
    """Of an order: whose deadline has passed."""
    provisions: tuple[ProvisionLine, ...]
    dry_run: bool
    outcome: str | None = None
    plan_digest: Hex | None = None
    thresholds: tuple[str, ...] = ()
    """Of a plan: the rows of the guard that it lies above; a dry run would have waited for operators there."""
    counts: dict[str, dict[str, int]]
    deferrals: tuple[Line, ...]
    denials: tuple[Line, ...]
    exemptions: tuple[Line, ...]
    models: tuple[Line, ...]
    recipients: tuple[Line, ...]
    failures: tuple[Line, ...]
    record_notice: str


class CasePlanned(CaseConfirmed):
    """The same of a plan: it has a name."""

    plan_digest: Hex


class CaseExtended(CaseConfirmed):
    """The same of more time that was taken: an operator has said why."""

    reason: str


class CaseEnded(CaseConfirmed):
    """The same of an end: it says in one word what came of it."""

    outcome: str


class RequestRejected(Outlet):
    """A request that was not taken, where it lies, and why."""

    source: str
    id: str
    request_id: str | None = None
    reason: str
    where: str | None = None
    topic: str
    partition: int
    offset: int


MILESTONES: dict[str, type[CaseConfirmed]] = {
    "acknowledged": CaseConfirmed,
    "planned": CasePlanned,
    "awaiting_approval": CasePlanned,
    "extended": CaseExtended,
    "refused": CaseEnded,
    "completed": CaseEnded,
    "completed_with_deferrals": CaseEnded,
    "partially_completed": CaseEnded,
    "overdue": CaseConfirmed,
    "reopened": CaseConfirmed,
    "cancelled": CaseEnded,
    "restricted": CaseConfirmed,
}


REJECTED = "expunge.request.rejected.v1"
