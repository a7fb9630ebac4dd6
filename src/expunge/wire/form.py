"""How events are written: bases of their data, and the words and bounds that many of them share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    StrictStr,
    StringConstraints,
    model_validator,
)

from expunge.domain.events import stamp
from expunge.domain.limits import MAX_ASSET_BYTES, MAX_TEXT_CHARACTERS, MAX_WORD_CHARACTERS

AssetId = Annotated[StrictStr, StringConstraints(min_length=1, max_length=MAX_ASSET_BYTES)]


Word = Annotated[StrictStr, StringConstraints(min_length=1, max_length=MAX_WORD_CHARACTERS)]

Code = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9_.-]{1,64}$")]

Short = Annotated[StrictStr, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]

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


Stamp = Annotated[datetime, PlainSerializer(stamp, return_type=str, when_used="json")]
"""A moment as it is said: in UTC, with milliseconds."""
Zoned = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.isoformat(timespec="milliseconds"), return_type=str, when_used="json"),
]
"""The same in the zone in which its day ends."""


class Outlet(BaseModel):
    """Base of what is said: nothing is emitted that the schema lacks, and nothing that would say what absence says."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__

    def data(self) -> dict[str, Any]:
        """As it stands in an event."""
        return self.model_dump(mode="json", exclude_defaults=True)
