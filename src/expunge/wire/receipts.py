"""`receipts.<system>`: what systems answer to commands."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    StrictInt,
    model_validator,
)

from expunge.domain.events import Instant
from expunge.domain.limits import MAX_DISCOVERED, MAX_RESULTS
from expunge.domain.vocabulary import Claim
from expunge.wire.form import AssetId, Code, Hex16, Inlet, Short, SystemName, Word

_CLAIMS = frozenset(claim.value for claim in Claim)

_CLAIM = re.compile(r"[a-z][a-z0-9_]{0,63}")


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
    discovered: Annotated[tuple[Discovered, ...], Field(max_length=MAX_DISCOVERED)] = ()

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
    results: Annotated[tuple[Answer, ...], Field(max_length=MAX_RESULTS)] = ()
    all: Outcome | None = None
    exceptions: Annotated[tuple[Answer, ...], Field(max_length=MAX_RESULTS)] = ()
    performed_at: Instant
    expected_by: Instant | None = None
    job: Short | None = None
    evidence: dict[str, Any] | None = None


RECEIPT = "expunge.purge.receipted.v1"
