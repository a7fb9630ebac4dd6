"""Above which size plans wait for people: of one case, and across cases."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictInt

from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.form import PolicyRow, RuleId, many
from expunge.domain.vocabulary import Kind


class Threshold(PolicyRow):
    """A plan with more than this waits for operators."""

    id: RuleId
    kind: Annotated[tuple[Kind, ...], BeforeValidator(many)] = ()
    """Only obligations of these kinds count; none: all."""
    scope: Annotated[tuple[About, ...], BeforeValidator(many)] = ()
    """Only requests about these; none: all."""
    more_than: StrictInt = Field(ge=0, le=1_000_000_000)
    share: float | None = Field(None, gt=0, le=1)
    """Of what a system has registered: a plan must be above it, and above `more_than`, in one and the same system."""
    approvals: int = Field(1, ge=1, le=10)
    """Distinct operators who must approve the plan."""
    why: str = ""


class Of(StrEnum):
    """Across which cases is counted."""

    PUBLISHER = "publisher"
    SYSTEM = "system"


class Per(StrEnum):
    """In what time."""

    HOUR = "hour"
    DAY = "day"


class RateRule(PolicyRow):
    """Above this, across all cases of one publisher or all commands to one system, plans wait as one group."""

    id: RuleId
    of: Of
    per: Per
    more_than: StrictInt = Field(ge=0, le=1_000_000_000)
    """Obligations."""
    approvals: int = Field(1, ge=1, le=10)
    why: str = ""
