"""What Expunge says: the data of every event that leaves it, as other people's code may rely on it.

Tests hold every event that any role emits to these models; `schemas/` is generated from them.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from expunge.domain import ledger
from expunge.domain.scope import Hex
from expunge.domain.standing import HoldKind
from expunge.domain.vocabulary import Action, Kind, Regime


class Outlet(BaseModel):
    """Base of what is said: nothing is emitted that the schema lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CommandSubject(Outlet):
    """A person in a command."""

    pseudonym: Hex
    ref: str | None = None
    namespace: str | None = None
    """Of whose ids it is the pseudonym, where that is known: a system may search by it though nothing was sealed."""


class CommandPerson(Outlet):
    """Who is meant by a pseudonym, for a system that cannot act on it: said once in a command."""

    pseudonym: Hex
    also: tuple[Hex, ...] = ()
    """Other pseudonyms of the same id: targets may name the person by them, too."""
    sealed: str
    """`{"namespace", "id", "given", "tenant"}` as JSON, in a libsodium sealed box to the system's key, in base64."""


class CommandTarget(Outlet):
    """One asset or holding to be purged."""

    asset: str
    kind: Kind
    attributes: dict[str, str] = {}
    subjects: tuple[CommandSubject, ...] = ()
    data_sources: tuple[str, ...] = ()
    """What a holding must look for, where the request was about data sources."""
    refused: str | None = None
    """In a repetition: why the last answer about it did not count. It is to be done again, not said again."""


class Exclude(Outlet):
    """What an asset that stays must leave out."""

    subjects: tuple[Hex, ...] = ()
    data_sources: tuple[str, ...] = ()
    assets: Annotated[tuple[str, ...], Field(max_length=1000)] = ()


class PurgeCommanded(Outlet):
    """Purge these. A repetition has the same command_id and a higher attempt."""

    command_id: Hex
    case_id: Hex
    system: str
    action: Action
    stage: int
    generation: int
    attempt: int
    due_at: datetime
    regime: Regime | None = None
    """Not said where requests under several laws share the command."""
    requests: int | None = None
    """So many requests share the command, of a model that is made anew; `case_id` is then what they have in common."""
    minimum_grade: str
    purposes: tuple[str, ...] = ()
    collected_until: datetime | None = None
    """Of what names the person, what was collected later stays: it was collected after the request."""
    exclude: Exclude = Exclude()
    people: tuple[CommandPerson, ...] = ()
    targets: tuple[CommandTarget, ...]


class PurgeWithdrawn(Outlet):
    """Do not carry a command out, now or ever; answer with status `withdrawn` and what was done by then."""

    command_id: Hex
    case_id: Hex
    system: str
    attempt: int
    """Of the last command of that id: the answer's, too."""
    reason: str
    """`cancel`, `pause`, `hold`, `regroup`, `granted`, or `nobody_waits` for a model."""


class HeldScope(Outlet):
    """What a hold covers: a person by pseudonym, an asset by its key."""

    kind: HoldKind
    value: str


class HoldSet(Outlet):
    """A hold as it stands; the newest message of an id holds everything."""

    hold_id: str
    sequence: int
    scope: HeldScope
    basis: str
    custodian: str
    operator: str
    placed_at: datetime
    review_by: datetime | None = None
    released_at: datetime | None = None
    released_by: str | None = None


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
    due_at: datetime
    open: int


class CaseConfirmed(Outlet):
    """A milestone of a case, the same fields for every milestone."""

    case_id: Hex
    request_id: str
    correlation_id: str | None = None
    batch: str | None = None
    regime: Regime
    received_at: datetime
    received_at_clamped: bool
    due_at: datetime
    clock: str
    """The rule of policy that the dates come from."""
    extended: bool
    reason: str | None = None
    """An operator's, for an extension or a refusal."""
    provision: str | None = None
    """Of an order: whose deadline has passed."""
    provisions: tuple[ProvisionLine, ...] = ()
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


class SuppressionEntry(Outlet):
    """What must not be collected again for one purpose; `*` is every purpose."""

    purpose: str
    since_ms: int
    until: int
    """What was collected up to here, in seconds since 1970; 0: whenever it was collected."""


class SuppressionSet(Outlet):
    """Everything that is suppressed of one person or data source. A tombstone lifts it."""

    pseudonym: Hex | None = None
    data_source: str | None = None
    sequence: int
    entries: tuple[SuppressionEntry, ...]


class MessageSetAside(Outlet):
    """A dead letter. `sealed` opens with the deployment's secret alone."""

    reason: str
    where: str
    role: str
    topic: str
    partition: int
    offset: int
    digest: str
    sealed: str | None = None


class HoldingStated(Outlet):
    """The holding's part of a canonical statement."""

    namespaces: tuple[str, ...]
    data_sources: tuple[str, ...]
    declared: str
    withdrawn: str


class AssetStated(Outlet):
    """A canonical statement: pseudonyms instead of ids. The rebuild source of the index."""

    asset: str
    kinds: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    subjects: tuple[tuple[Hex, str], ...] = ()
    persons: tuple[tuple[Hex, ...], ...] = ()
    """Of the subjects, those that are one person's."""
    data_sources: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    collected_at: str | None = None
    derived_at: str | None = None
    digest: str | None = None
    shared: bool = False
    removed: bool = False
    aliases: tuple[str, ...] = ()
    command_id: Hex | None = None
    attributes: dict[str, str] = {}
    holding: HoldingStated | None = None


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

OUTLETS: dict[str, type[BaseModel]] = {
    "expunge.purge.commanded.v1": PurgeCommanded,
    "expunge.purge.withdrawn.v1": PurgeWithdrawn,
    "expunge.hold.set.v1": HoldSet,
    **{f"expunge.case.{milestone}.v1": model for milestone, model in MILESTONES.items()},
    "expunge.request.rejected.v1": RequestRejected,
    "expunge.message.set_aside.v1": MessageSetAside,
    "expunge.asset.stated.v1": AssetStated,
    "expunge.suppression.set.v1": SuppressionSet,
    **{kind: ledger.LedgerFact[fact] for kind, fact in ledger.FACTS.items()},  # type: ignore[valid-type]
}
"""Event type -> data."""


def check(kind: str, data: dict[str, Any]) -> None:
    """Hold an emitted event to its model.

    Raises:
        ValueError: the event says something that the schema lacks, or lacks something.
    """
    model = OUTLETS.get(kind)
    if model is None:
        raise ValueError(f"no schema for {kind}")
    model.model_validate(data)
