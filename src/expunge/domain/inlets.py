"""What others may say: the data of every event that Expunge reads from its inlets."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from expunge.domain.events import NOW, AnyInstant, CloudEvent, Id, Instant, field_of
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import Claim, Kind, Regime
from expunge.errors import InvalidMessage

M = TypeVar("M", bound=BaseModel)

AssetId = Annotated[StrictStr, StringConstraints(min_length=1, max_length=2048)]
_CLAIMS = frozenset(claim.value for claim in Claim)
_CLAIM = re.compile(r"[a-z][a-z0-9_]{0,63}")
Word = Annotated[StrictStr, StringConstraints(min_length=1, max_length=256)]
Code = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9_.-]{1,64}$")]
MAX_ASSET_BYTES = 2048
Short = Annotated[StrictStr, StringConstraints(max_length=1024)]
SystemName = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""As systems are declared; what is no such name could be anything, and must not reach the ledger."""
Hex16 = Annotated[StrictStr, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Inlet(BaseModel):
    """Base of the tolerant inlets: unknown fields are ignored. `repr` shows no content."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__


class Strict(Inlet):
    """Base of requests: a mistyped field must never delete for real, so unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Identity(Strict):
    """A person as a publisher knows them: namespace and id, or a pseudonym that the publisher made itself."""

    namespace: Word | None = None
    id: StrictStr | None = None
    tenant: Word | None = None
    pseudonym: Hex16 | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Identity:
        if self.pseudonym is None and (self.namespace is None or self.id is None):
            raise ValueError("an identity is namespace and id, or pseudonym")
        if self.pseudonym is not None and (self.id is not None or self.tenant is not None):
            raise ValueError("an identity with a pseudonym has no id")
        return self


class NamedIdentity(Identity):
    """A person as a registrar names them; `ref` is the system's own handle for them in this asset."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    ref: Word | None = None
    person: Word | None = None
    """A label that means something in this list alone: identities that bear the same one are one person's."""


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
    kinds: Annotated[tuple[Kind, ...], Field(max_length=16)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=64)] = ()


class Matter(Strict):
    """The order of a court or an authority that a request carries out."""

    authority: Word
    docket: Word
    order_date: Word
    provisions: Annotated[tuple[MatterProvision, ...], Field(min_length=1, max_length=32)]
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

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]


class ConsentRevoked(Request):
    """One person takes back their consent to some purposes."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]
    purposes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]


class ConsentGranted(Strict):
    """One person consents (again): suppression ends for what is collected from then on. It opens no case."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]
    purposes: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]
    received_at: Instant
    request_id: Id | None = None
    correlation_id: Id | None = None


class ProcessingRestricted(Request):
    """One person's data may be stored and not used, until the restriction is lifted (GDPR 18)."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]


class RestrictionLifted(Request):
    """A restriction ends. It opens no case: those that restricted let go, and say so."""

    subjects: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=16)]


class SourceWithdrawn(Request):
    """Everything that came from these sources must go, and everything made from it."""

    data_sources: Annotated[tuple[Word, ...], Field(min_length=1, max_length=64)]


class AssetWithdrawn(Request):
    """These assets must go, and what was made from them."""

    assets: Annotated[tuple[AssetId, ...], Field(min_length=1, max_length=1000)]


class Registered(Inlet):
    """What a registrar says of one asset."""

    asset: AssetId
    kind: Kind
    system: SystemName
    parents: Annotated[tuple[AssetId, ...], Field(max_length=1000)] = ()
    subjects: Annotated[tuple[NamedIdentity, ...], Field(max_length=1000)] = ()
    data_sources: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    purposes: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    collected_at: Annotated[AnyInstant | None, Field(validate_default=True)] = None
    derived_at: AnyInstant | None = None
    digest: Word | None = None
    shared: StrictBool = False
    aliases: Annotated[tuple[AssetId, ...], Field(max_length=64)] = ()
    command_id: Hex16 | None = None
    attributes: Annotated[dict[Word, Short], Field(max_length=32, default_factory=dict)]

    @field_validator("collected_at")
    @classmethod
    def _dated(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        if moment is None and (info.data.get("subjects") or info.data.get("data_sources")):
            raise PydanticCustomError("missing", "required where subjects or data_sources are given")
        return moment


class RegisteredBatch(Inlet):
    """Many assets in one message; `common` holds what all of them share."""

    common: dict[str, Any] = {}
    assets: Annotated[tuple[Any, ...], Field(min_length=1, max_length=1000)]
    """Each is looked at by itself: a wrong one costs no other."""


class Removed(Inlet):
    """A hint that an asset is gone; it is still commanded."""

    asset: AssetId
    system: SystemName
    reason: Short = ""


class HoldingDeclared(Inlet):
    """A system's standing statement "ask me": it finds data itself, by subject or by data source."""

    holding: AssetId
    system: SystemName
    kind: Kind
    namespaces: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    data_sources: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    purposes: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _answers_something(self) -> HoldingDeclared:
        if not (self.namespaces or self.data_sources):
            raise ValueError("a holding answers for namespaces, data_sources, or both")
        return self


class HoldingWithdrawn(Inlet):
    """The system no longer answers for this holding."""

    holding: AssetId
    system: SystemName


class Replacement(Inlet):
    """What took the place of a rebuilt or retrained asset."""

    asset: AssetId
    digest: Word | None = None


class Discovered(Inlet):
    """An asset that a system found while it purged another."""

    asset: AssetId
    kind: Word
    """As registrations name it; one that is not known fails as a registration, and not the receipt."""
    system: SystemName | None = None
    """The receipt's own, where it is given: of others a system has nothing to say."""


UNKNOWN_CLAIM = "unknown_claim"
"""Why an obligation failed: its system claims what this version has no word for."""


class Outcome(Inlet):
    """A claim and what belongs to it. A claim that a later version knows fails by name, and alone."""

    claim: Claim
    reason_code: Code | None = None
    detail: Short | None = None
    matched: Annotated[StrictInt, Field(ge=0)] | None = None
    affected: Annotated[StrictInt, Field(ge=0)] | None = None
    until: Instant | None = None
    trigger: Code | None = None
    safeguard: Short | None = None
    method: Word | None = None
    artefact_digest: Word | None = None
    replacement: Replacement | None = None
    discovered: Annotated[tuple[Discovered, ...], Field(max_length=1000)] = ()

    @model_validator(mode="before")
    @classmethod
    def _known(cls, said: object) -> object:
        claim = said.get("claim") if isinstance(said, dict) else None
        if isinstance(said, dict) and isinstance(claim, str) and claim not in _CLAIMS and _CLAIM.fullmatch(claim):
            return {**said, "claim": Claim.FAILED, "reason_code": UNKNOWN_CLAIM}
        return said


class Answer(Outcome):
    """A system's claim about one target."""

    asset: AssetId


class PurgeReceipted(Inlet):
    """A system's answer to a command, obligation by obligation."""

    command_id: Hex16
    case_id: Hex16
    system: SystemName
    attempt: Annotated[StrictInt, Field(ge=1)]
    sequence: Annotated[StrictInt, Field(ge=1)]
    status: Literal["accepted", "done", "failed", "withdrawn"]
    """`withdrawn`: the command will not be carried out any more; `results` say what was done before."""
    results: Annotated[tuple[Answer, ...], Field(max_length=5000)] = ()
    all: Outcome | None = None
    exceptions: Annotated[tuple[Answer, ...], Field(max_length=5000)] = ()
    performed_at: Instant
    expected_by: Instant | None = None
    job: Short | None = None
    evidence: dict[str, Any] | None = None


REQUESTS: dict[str, tuple[ScopeKind, type[Request]]] = {
    "expunge.erasure.requested.v1": (ScopeKind.ERASURE, ErasureRequested),
    "expunge.consent.revoked.v1": (ScopeKind.REVOCATION, ConsentRevoked),
    "expunge.source.withdrawn.v1": (ScopeKind.WITHDRAWAL, SourceWithdrawn),
    "expunge.asset.withdrawn.v1": (ScopeKind.ASSET, AssetWithdrawn),
    "expunge.processing.restricted.v1": (ScopeKind.RESTRICTION, ProcessingRestricted),
}
REGISTRATIONS: dict[str, type[Inlet]] = {
    "expunge.asset.registered.v1": Registered,
    "expunge.assets.registered.v1": RegisteredBatch,
    "expunge.asset.removed.v1": Removed,
    "expunge.holding.declared.v1": HoldingDeclared,
    "expunge.holding.withdrawn.v1": HoldingWithdrawn,
}
GRANT = "expunge.consent.granted.v1"
LIFT = "expunge.processing.restriction_lifted.v1"
RECEIPT = "expunge.purge.receipted.v1"


LATER_FIELDS = frozenset({"window"})
"""Fields of requests that this version does not carry out."""


def _fields(model: type[BaseModel]) -> set[str]:
    """Names of the fields of a model and of the models within."""
    names = set(model.model_fields)
    for inner in (
        Identity,
        NamedIdentity,
        Requester,
        Matter,
        MatterProvision,
        Answer,
        Outcome,
        Replacement,
        Discovered,
    ):
        names |= set(inner.model_fields)
    return names


KNOWN_FIELDS: frozenset[str] = LATER_FIELDS.union(
    *(_fields(model) for _, model in REQUESTS.values()),
    *map(_fields, REGISTRATIONS.values()),
    _fields(PurgeReceipted),
    _fields(ConsentGranted),
)
"""Names that may be repeated in a rejection; any other may be personal."""


def read(model: type[M], event: CloudEvent, now: datetime, known: frozenset[str] = KNOWN_FIELDS) -> M:
    """The data of an event as its model.

    Args:
        model: what it must be.
        event: the event.
        now: when it was appended; no date may lie more than a hundred years beyond that.
        known: names of fields that may be repeated in a rejection.

    Raises:
        InvalidMessage: a field is missing, wrong, unknown, or not carried out; the text names the field only.
    """
    return check(model, event.data, known, now)


def check(model: type[M], data: object, known: frozenset[str] = KNOWN_FIELDS, now: datetime | None = None) -> M:
    """`data` as `model`; see `read`."""
    if not isinstance(data, dict):
        raise InvalidMessage("wrong_type", "data")
    try:
        return model.model_validate(data, context={NOW: now})
    except ValidationError as error:
        kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
        where = f"data.{field_of(error, known)}"
        if kind == "extra_forbidden":
            later = error.errors(include_url=False, include_input=False)[0]["loc"][0] in LATER_FIELDS
            raise InvalidMessage("not_carried_out" if later else "unknown_field", where) from None
        raise InvalidMessage("missing_field" if kind == "missing" else "bad_field", where) from None
