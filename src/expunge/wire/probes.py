"""`probes.<system>` and `findings.<system>`: what probers are asked, and what they have found."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from expunge.domain.events import Instant
from expunge.domain.limits import MAX_RESULTS
from expunge.domain.values import Hex
from expunge.domain.vocabulary import Finding
from expunge.wire.commands import CommandPerson, CommandTarget
from expunge.wire.form import AssetId, Code, Hex16, Inlet, Outlet, Stamp, SystemName


class ProbeAsked(Outlet):
    """Look whether these are still there; nothing is to be changed."""

    number: int
    """Of the probe in its case."""
    case_id: Hex
    command_id: Hex
    """Of the command by which they were purged."""
    system: str
    purposes: tuple[str, ...] = ()
    collected_until: Stamp | None = None
    """Of what names the person, what was collected later may be there."""
    answer_by: Stamp
    """Later, only what is found still counts."""
    people: tuple[CommandPerson, ...] = ()
    targets: tuple[CommandTarget, ...]


class Found(Inlet):
    """What was found of one target."""

    asset: AssetId
    finding: Finding
    reason_code: Code | None = None
    """Why it cannot be told."""


class ProbeAnswered(Inlet):
    """What a prober has found. It counts only if it is signed with a key of the system's prober."""

    number: Annotated[StrictInt, Field(ge=1)]
    case_id: Hex16
    command_id: Hex16
    system: SystemName
    all: Finding | None = None
    """Of every target that was asked about and that `results` does not name."""
    results: Annotated[tuple[Found, ...], Field(max_length=MAX_RESULTS)] = ()
    looked_at: Instant


ASKED, ANSWERED = "expunge.probe.asked.v1", "expunge.probe.answered.v1"
