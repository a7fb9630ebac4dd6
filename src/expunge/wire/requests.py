"""`requests`: what publishers ask for. A further kind of request is a model here, and its row in `REQUESTS`."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)

from expunge.domain.events import Id, Instant
from expunge.domain.limits import MAX_IDENTITIES, MAX_LABELS, MAX_PROVISIONS, MAX_WITHDRAWN
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import Kind, Regime
from expunge.wire.form import AssetId, Identity, Short, Strict, Word


class Requester(Strict):
    """Who asked, as the publisher verified it. Kept with the case; nothing is decided on it yet."""

    kind: Word
    verified: dict[str, StrictStr] | None = None


class MatterProvision(Strict):
    """A part of an order with a deadline of its own: perhaps of some kinds of assets, perhaps of some categories."""

    id: Annotated[StrictStr, StringConstraints(pattern=r"^[A-Za-z0-9().,_-]{1,64}$")]
    """As the order numbers it (`III(A)`); it stands in the ledger for ever."""
    deadline: Instant
    obligation: Short = ""
    """Its words, for reports."""
    kinds: Annotated[tuple[Kind, ...], Field(max_length=MAX_LABELS)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()


class Matter(Strict):
    """The order of a court or an authority that a request carries out."""

    authority: Word
    docket: Word
    order_date: Word
    provisions: Annotated[tuple[MatterProvision, ...], Field(min_length=1, max_length=MAX_PROVISIONS)]
    expected_count: Annotated[StrictInt, Field(ge=0)] | None = None
    manifest_digest: Word | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Matter:
        if len({each.id for each in self.provisions}) < len(self.provisions):
            raise ValueError("two provisions have the same id")
        return self


class Request(Strict):
    """What every request says."""

    request_id: Id
    received_at: Instant
    regime: Regime | None = None
    jurisdiction: Word | None = None
    correlation_id: Id | None = None
    batch: Id | None = None
    dry_run: StrictBool = False
    requester: Requester | None = None
    matter: Matter | None = None


class ErasureRequested(Request):
    """Forget one person: all identities belong to that person."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=MAX_IDENTITIES)]


class ConsentRevoked(Request):
    """One person takes back their consent to some purposes."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=MAX_IDENTITIES)]
    purposes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=MAX_LABELS)]


class ConsentGranted(Strict):
    """One person consents (again): suppression ends for what is collected from then on. It opens no case."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=MAX_IDENTITIES)]
    purposes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=MAX_LABELS)]
    received_at: Instant
    request_id: Id | None = None
    correlation_id: Id | None = None


class ProcessingRestricted(Request):
    """One person's data may be stored and not used, until the restriction is lifted (GDPR 18)."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=MAX_IDENTITIES)]


class RestrictionLifted(Request):
    """A restriction ends. It opens no case: those that restricted let go, and say so."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=MAX_IDENTITIES)]


class SourceWithdrawn(Request):
    """Everything that came from these sources must go, and everything made from it."""

    data_sources: Annotated[tuple[Word, ...], Field(min_length=1, max_length=MAX_LABELS)]


class AssetWithdrawn(Request):
    """These assets must go, and what was made from them."""

    assets: Annotated[tuple[AssetId, ...], Field(min_length=1, max_length=MAX_WITHDRAWN)]


REQUESTS: dict[str, tuple[ScopeKind, type[Request]]] = {
    "expunge.erasure.requested.v1": (ScopeKind.ERASURE, ErasureRequested),
    "expunge.consent.revoked.v1": (ScopeKind.REVOCATION, ConsentRevoked),
    "expunge.source.withdrawn.v1": (ScopeKind.WITHDRAWAL, SourceWithdrawn),
    "expunge.asset.withdrawn.v1": (ScopeKind.ASSET, AssetWithdrawn),
    "expunge.processing.restricted.v1": (ScopeKind.RESTRICTION, ProcessingRestricted),
}

GRANT = "expunge.consent.granted.v1"

LIFT = "expunge.processing.restriction_lifted.v1"
