"""`commands.<system>`: what systems are told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from expunge.domain.limits import MAX_EXCLUDED
from expunge.domain.values import Hex
from expunge.domain.vocabulary import Action, Kind, Regime
from expunge.wire.form import Outlet, Stamp


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
    attributes: dict[str, str] = Field(default_factory=dict)
    subjects: tuple[CommandSubject, ...] = ()
    data_sources: tuple[str, ...] = ()
    """What a holding must look for, where the request was about data sources."""
    refused: str | None = None
    """In a repetition: why the last answer about it did not count. It is to be done again, not said again."""


class Exclude(Outlet):
    """What an asset that stays must leave out."""

    subjects: tuple[Hex, ...] = ()
    data_sources: tuple[str, ...] = ()
    assets: Annotated[tuple[str, ...], Field(max_length=MAX_EXCLUDED)] = ()


class PurgeCommanded(Outlet):
    """Purge these. A repetition has the same command_id and a higher attempt."""

    command_id: Hex
    case_id: Hex
    system: str
    action: Action
    stage: int
    generation: int
    attempt: int
    due_at: Stamp
    regime: Regime | None = None
    """Not said where requests under several laws share the command."""
    requests: int | None = None
    """So many requests share the command, of a model that is made anew; `case_id` is then what they have in common."""
    minimum_grade: str
    purposes: tuple[str, ...] = ()
    collected_until: Stamp | None = None
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


class PurgeForgotten(Outlet):
    """Forget what was answered for these commands, whose case is forgotten. None of them is ever carried out again."""

    case_id: Hex
    system: str
    command_ids: tuple[Hex, ...]


FORGOTTEN = "expunge.purge.forgotten.v1"
COMMANDED, WITHDRAWN = "expunge.purge.commanded.v1", "expunge.purge.withdrawn.v1"
