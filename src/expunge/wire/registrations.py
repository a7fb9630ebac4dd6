"""`registrations`: what registrars say of assets and holdings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from expunge.domain.events import AnyInstant
from expunge.domain.limits import MAX_ATTRIBUTES, MAX_BATCH, MAX_LABELS, MAX_PARENTS, MAX_SUBJECTS
from expunge.domain.vocabulary import Kind
from expunge.wire.form import AssetId, Hex16, Identity, Inlet, Short, SystemName, Word


class NamedIdentity(Identity):
    """A person as a registrar names them; `ref` is the system's own handle for them in this asset."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    ref: Word | None = None
    person: Word | None = None
    """A label that means something in this list alone: identities that bear the same one are one person's."""


class Registered(Inlet):
    """What a registrar says of one asset."""

    asset: AssetId
    kind: Kind
    system: SystemName
    parents: Annotated[tuple[AssetId, ...], Field(max_length=MAX_PARENTS)] = ()
    subjects: Annotated[tuple[NamedIdentity, ...], Field(max_length=MAX_SUBJECTS)] = ()
    data_sources: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    purposes: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    collected_at: Annotated[AnyInstant | None, Field(validate_default=True)] = None
    derived_at: AnyInstant | None = None
    digest: Word | None = None
    shared: StrictBool = False
    aliases: Annotated[tuple[AssetId, ...], Field(max_length=MAX_LABELS)] = ()
    command_id: Hex16 | None = None
    attributes: Annotated[dict[Word, Short], Field(max_length=MAX_ATTRIBUTES, default_factory=dict)]

    @field_validator("collected_at")
    @classmethod
    def _dated(cls, moment: datetime | None, info: ValidationInfo) -> datetime | None:
        if moment is None and (info.data.get("subjects") or info.data.get("data_sources")):
            raise PydanticCustomError("missing", "required where subjects or data_sources are given")
        return moment


class RegisteredBatch(Inlet):
    """Many assets in one message; `common` holds what all of them share."""

    common: dict[str, Any] = Field(default_factory=dict)
    assets: Annotated[tuple[Any, ...], Field(min_length=1, max_length=MAX_BATCH)]
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
    namespaces: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    data_sources: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    purposes: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()
    categories: Annotated[tuple[Word, ...], Field(max_length=MAX_LABELS)] = ()

    @model_validator(mode="after")
    def _answers_something(self) -> HoldingDeclared:
        if not (self.namespaces or self.data_sources):
            raise ValueError("a holding answers for namespaces, data_sources, or both")
        return self


class HoldingWithdrawn(Inlet):
    """The system no longer answers for this holding."""

    holding: AssetId
    system: SystemName


REGISTERED, MANY_REGISTERED = "expunge.asset.registered.v1", "expunge.assets.registered.v1"
REMOVED = "expunge.asset.removed.v1"
DECLARED = "expunge.holding.declared.v1"

REGISTRATIONS: dict[str, type[Inlet]] = {
    REGISTERED: Registered,
    MANY_REGISTERED: RegisteredBatch,
    REMOVED: Removed,
    DECLARED: HoldingDeclared,
    "expunge.holding.withdrawn.v1": HoldingWithdrawn,
}
