"""What an agent is asked, and what it can answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from expunge.domain.digest import name
from expunge.domain.events import stamp
from expunge.domain.vocabulary import DEFERRALS, Action, Claim, Kind


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """The person that a target is about: always a pseudonym; the system's own handle or the id where there is one."""

    pseudonym: str
    ref: str | None = None
    namespace: str | None = None
    id: str | None = None
    """In clear and normalised, opened with the system's key, if the system's `reveal` names the namespace."""
    given: str | None = None
    """The id as the publisher spelled it."""


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """One asset or holding to be purged. `repr` shows nothing: ids do not belong in logs."""

    command_id: str
    case_id: str
    asset: str
    kind: Kind
    action: Action
    purposes: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    data_sources: tuple[str, ...] = ()
    """What a holding must look for, where the request was about data sources."""
    excluded_assets: frozenset[str] = frozenset()
    excluded_data_sources: frozenset[str] = frozenset()
    attributes: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    """An earlier try or command has purged it, or begun to: what is missing now is gone because of that."""

    @property
    def identity(self) -> str:
        """What an answer is remembered by: the case, what is to be done, to what, and without what (PROTOCOLS 48).

        The exclusions are part of it: a dataset rebuilt without three photos is not yet rebuilt without a fourth.
        """
        without = (*sorted(self.excluded_assets), "|", *sorted(self.excluded_data_sources))
        people = sorted(person.pseudonym for person in self.people)
        return name(
            self.case_id, self.asset, self.action, *self.purposes, "|", *people, "|", *self.data_sources, "|", *without
        )


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """The answer for one target; made by the functions below."""

    target: Target
    claim: Claim | None
    fields: dict[str, Any] = field(default_factory=dict)
    expected_by: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether a repeated command is answered from memory."""
        return self.claim is not None and self.claim is not Claim.FAILED and self.claim not in DEFERRALS

    def wire(self) -> dict[str, Any]:
        """The result as it stands in a receipt."""
        return {"asset": self.target.asset, "claim": self.claim, **self.fields}


def deleted(target: Target, **fields: Any) -> Result:
    """It was there, and it is gone."""
    return Result(target, Claim.DELETED, fields)


def not_found(target: Target, **fields: Any) -> Result:
    """It is not there, and this agent did not delete it."""
    return Result(target, Claim.NOT_FOUND, fields)


def failed(target: Target, reason: str, **fields: Any) -> Result:
    """It could not be done; `reason` is a code such as `permission_denied`. The command will be repeated."""
    return Result(target, Claim.FAILED, {"reason_code": reason, **fields})


def deferred(target: Target, until: datetime, reason: str) -> Result:
    """It will be done at a date (a backup's rotation); Expunge asks again then."""
    return Result(target, Claim.DEFERRED, {"until": stamp(until), "reason_code": reason})


def later(target: Target, expected_by: datetime) -> Result:
    """It has begun and takes long; the library asks the purger again at `expected_by`."""
    return Result(target, None, expected_by=expected_by)


def done(target: Target, claim: Claim, **fields: Any) -> Result:
    """Any other claim (`restricted`, `rebuilt_without`, ...)."""
    return Result(target, claim, fields)


class Purger(Protocol):
    """What a team writes."""

    def purge(self, batch: Sequence[Target]) -> Sequence[Result]:
        """Purge a batch gathered over commands; one result for each target, in any order.

        A target without a result counts as failed. An exception ends the agent before anything is committed; the
        same targets come again with `interrupted` set.
        """
