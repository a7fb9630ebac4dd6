"""What an agent is asked, and what it can answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

from expunge.domain.digest import name
from expunge.domain.events import stamp
from expunge.domain.vocabulary import DEFERRALS, Action, Claim, Kind


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """The person that a target is about: always a pseudonym; the system's own handle or the id where there is one."""

    pseudonym: str
    ref: str | None = None
    namespace: str | None = None
    """Of whose ids the pseudonym is; empty where nobody has said, None where a coordinator of 0.1 says it of none."""
    id: str | None = None
    """In clear and normalised, opened with the system's key, if the system's `reveal` names the namespace.

    None where nothing was sealed, or it could not be opened. Another pseudonym of the same id may have it.
    """
    given: str | None = None
    """The id as the publisher spelled it."""
    tenant: str | None = None
    """Whose customer the person is, where one deployment serves several tenants."""
    closed: bool = False
    """An id was sealed for this system, and could not be opened: nobody may say that this person is not there."""


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """One asset or holding to be purged. `repr` shows nothing: ids do not belong in logs."""

    command_id: str
    case_id: str
    asset: str
    kind: Kind
    action: Action
    purposes: tuple[str, ...] = ()
    collected_until: datetime | None = None
    """What was collected of the person after this moment stays; None: whenever it was collected."""
    people: tuple[Person, ...] = ()
    data_sources: tuple[str, ...] = ()
    """What a holding must look for, where the request was about data sources."""
    excluded_assets: frozenset[str] = frozenset()
    excluded_data_sources: frozenset[str] = frozenset()
    attributes: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    """How often the command was said."""
    refused: str = ""
    """Why Expunge did not count the last answer; empty where there was none, or it counts."""
    interrupted: bool = False
    """An earlier try was cut off with its outcome unknown, or has deleted it: what is missing is gone by that."""

    @property
    def key(self) -> str:
        """Names the target in its command: what an answer is kept under (at most 65 letters, no personal data)."""
        return f"{self.command_id}.{self.identity}"

    @property
    def identity(self) -> str:
        """What an effect is remembered by: the case, what is to be done, to what, and without what.

        See rule "one chunk, one command".

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
    untouched: bool = False
    """Of a failure: nothing was changed by this try."""

    @property
    def final(self) -> bool:
        """Whether a repeated command is answered from memory."""
        return self.claim is not None and self.claim is not Claim.FAILED and self.claim not in DEFERRALS

    @property
    def erased(self) -> bool:
        """Whether it says that the target was there and this try, or an earlier one, has deleted it."""
        return self.claim in (Claim.DELETED, Claim.KEY_DESTROYED)

    def wire(self) -> dict[str, Any]:
        """The result as it stands in a receipt."""
        return {"asset": self.target.asset, "claim": self.claim, **self.fields}

    def kept(self) -> str:
        """The result as JSON, for a system that keeps its agent's answers in a transaction of its own."""
        return json.dumps(self.wire())


class Discovery(TypedDict):
    """Something that was found on the way, and that Expunge did not name: it is commanded in the same case."""

    asset: str
    kind: str


class _Made(TypedDict):
    asset: str


class Made(_Made, total=False):
    """What took the place of a model or data set that was made anew; it must be registered, too."""

    digest: str


class Fields(TypedDict, total=False):
    """What may stand beside a claim."""

    matched: int
    """Rows, objects or vectors that were there."""
    affected: int
    """Those of them that were changed: fewer than matched is no success."""
    method: str
    """How it was done, in a word (`lines_dropped`, `crypto_erasure`); policy may refuse a method."""
    artefact_digest: str
    """Of what was made anew: `sha256:...`."""
    reason_code: str
    """Why, as a code of at most 64 lower-case letters, digits, `_`, `.` and `-`."""
    detail: str
    """For people, without personal data; at most 1,024 characters."""
    until: str
    """When something ends, RFC 3339."""
    safeguard: str
    """What keeps data from being used where the claim is `beyond_use`."""
    discovered: list[Discovery]
    replacement: Made


def deleted(target: Target, **fields: Unpack[Fields]) -> Result:
    """It was there, and it is gone."""
    return Result(target, Claim.DELETED, dict(fields))


def not_found(target: Target, **fields: Unpack[Fields]) -> Result:
    """It is not there, and this agent did not delete it."""
    return Result(target, Claim.NOT_FOUND, dict(fields))


def failed(target: Target, reason: str, *, untouched: bool = False, **fields: Unpack[Fields]) -> Result:
    """It could not be done; the command will be repeated.

    Args:
        target: which.
        reason: a code such as `permission_denied`.
        untouched: whether it is certain that this try changed nothing (a transaction was rolled back, the call was
            refused). Where it is not, what is missing next time is taken to be gone by this try.
        fields: what else is to be said.
    """
    return Result(target, Claim.FAILED, {"reason_code": reason, **fields}, untouched=untouched)


def deferred(target: Target, until: datetime, reason: str) -> Result:
    """It will be done at a date (a backup's rotation); Expunge asks again then."""
    return Result(target, Claim.DEFERRED, {"until": stamp(until), "reason_code": reason}, untouched=True)


def later(target: Target, expected_by: datetime) -> Result:
    """It has begun and takes long; the library asks the purger again at `expected_by`."""
    return Result(target, None, expected_by=expected_by)


def done(target: Target, claim: Claim, **fields: Unpack[Fields]) -> Result:
    """Any other claim (`restricted`, `rebuilt_without`, ...)."""
    return Result(target, claim, dict(fields))


def kept_result(target: Target, text: str) -> Result:
    """A result that `Result.kept` has written.

    Raises:
        ValueError: the text is none.
    """
    said = json.loads(text)
    claim = Claim(said.pop("claim"))
    said.pop("asset", None)
    return Result(target, claim, said)


class Purger(Protocol):
    """What a team writes; `Withdrawable` and `Recalling` say which methods more are called where they are there."""

    def purge(self, batch: Sequence[Target]) -> Sequence[Result]:
        """Purge a batch gathered over commands; one result for each target, in any order.

        A target without a result counts as failed. What is raised fails the targets of the batch with the error's
        class; they come again later, in smaller batches, with `interrupted` set, until the culprit stands alone.
        """


@runtime_checkable
class Withdrawable(Protocol):
    """A purger whose work may go on behind `later`, and can be stopped."""

    def withdraw(self, command_id: str) -> None:
        """Stop what is under way for a command; what it has done by then stays said."""


@runtime_checkable
class Recalling(Protocol):
    """A purger that keeps its answers in the transaction of its own store, with `Target.key` and `Result.kept`."""

    def recall(self, batch: Sequence[Target]) -> Sequence[Result]:
        """The answers that were committed for these targets, made by `kept_result`; none for the others.

        Asked before targets are purged whose last try was cut off: what is answered here is not done again.
        """
