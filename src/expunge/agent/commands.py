"""Reading commands: what comes is held against the models that make the schemas, and is answered whatever it says.

Fields of a later version are passed over; an action or a kind of a later version is answered `failed` by name, for that
command or that target alone. What cannot be answered, because it does not say what it is, is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, StrictInt, ValidationError

from expunge.agent.types import Person, Result, Target, failed
from expunge.domain.digest import hidden
from expunge.domain.events import EARLIEST, CloudEvent, Position, Record, decode, field_of
from expunge.domain.values import Hex
from expunge.domain.vocabulary import Action, Kind
from expunge.errors import InvalidMessage
from expunge.wire.commands import (
    COMMANDED,
    FORGOTTEN,
    WITHDRAWN,
    CommandSubject,
    CommandTarget,
    PurgeCommanded,
    PurgeForgotten,
    PurgeWithdrawn,
)
from expunge.wire.probes import ASKED, ProbeAsked

MAX_COMMAND_BYTES = 4_194_304
UNSUPPORTED_ACTION, UNSUPPORTED_KIND, MALFORMED = "unsupported_action", "unsupported_kind", "malformed_command"


class _Subject(CommandSubject):
    sealed: str | None = None
    """As a command of an earlier version has it; now `people` says it once."""


class _Target(CommandTarget):
    kind: str  # type: ignore[assignment]  # one of a later version fails alone
    subjects: tuple[_Subject, ...] = ()


class _Revealed(BaseModel):
    """What is sealed to a system of a person."""

    namespace: str
    id: str
    given: str | None = None
    tenant: str | None = None


Attempt = Annotated[StrictInt, Field(ge=1, lt=2**53)]
"""As large as a number in JSON is exact."""


class _Named(BaseModel):
    command_id: Hex
    case_id: Hex
    attempt: Attempt


class _Withdrawn(PurgeWithdrawn):
    attempt: Attempt


class _Commanded(PurgeCommanded):
    action: str  # type: ignore[assignment]
    attempt: Attempt
    regime: str | None = None  # type: ignore[assignment]
    """Of no use to an agent, so one of a later version does no harm."""
    targets: tuple[_Target, ...] = Field(max_length=5000)


class _Asked(ProbeAsked):
    number: Attempt
    targets: tuple[_Target, ...] = Field(max_length=5000)


@dataclass(frozen=True, slots=True)
class Word:
    """What every word about a command says: which it is, and the attempt that an answer must name."""

    command_id: str
    case_id: str
    attempt: int

    def __repr__(self) -> str:
        return hidden(self)


@dataclass(frozen=True, slots=True, repr=False)
class Withdrawal(Word):
    """A command that must not be carried out any more."""


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """A prober's question: are these still there?"""

    number: int
    case_id: str
    command_id: str
    targets: tuple[Target, ...]
    unsupported: tuple[Target, ...]
    """Of kinds that this version does not know."""


@dataclass(frozen=True, slots=True, repr=False)
class Dismissal:
    """Commands whose case is forgotten: what was answered for them need not be known any more."""

    command_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Command(Word):
    """A command as far as it could be read."""

    raw: str = ""
    """As it came, to be read again when it goes on later."""
    action: str = ""
    targets: tuple[Target, ...] = ()
    refused: tuple[Target, ...] = ()
    """Those of the targets about which the last answer did not count."""
    unsupported: tuple[Result, ...] = ()
    """What this version cannot do, with the answer that says so."""
    malformed: bool = False
    """Nothing of it can be carried out; who sent it is told."""


class Reader:
    """Reads what lies on a system's topic of commands.

    Args:
        open_seal: opens identities that were sealed to the system's key; None: it has no key.
    """

    def __init__(self, open_seal: Callable[[str], bytes] | None = None) -> None:
        self._open = open_seal
        self.not_opened = 0
        """Identities that could not be opened."""

    def read(self, raw: bytes) -> Command | Withdrawal | Dismissal:
        """A command, its withdrawal, or that some are forgotten.

        Raises:
            InvalidMessage: it is none of these, or does not say which command it is.
        """
        event = decode(Record("commands", 0, Position(-1, -1), EARLIEST, None, raw), max_bytes=MAX_COMMAND_BYTES)
        if event.type == WITHDRAWN:
            said = _validated(_Withdrawn, event)
            return Withdrawal(said.command_id, said.case_id, said.attempt)
        if event.type == FORGOTTEN:
            return Dismissal(_validated(PurgeForgotten, event).command_ids)
        if event.type != COMMANDED:
            raise InvalidMessage("unknown_type")
        try:
            return self._command(raw.decode(), _validated(_Commanded, event))
        except InvalidMessage:
            word = _word_of(event.data)
            if word is None:
                raise
            return Command(*word, raw=raw.decode(), malformed=True)

    def question(self, raw: bytes) -> Question:
        """What a prober is asked.

        Raises:
            InvalidMessage: it is no question.
        """
        event = decode(Record("probes", 0, Position(-1, -1), EARLIEST, None, raw), max_bytes=MAX_COMMAND_BYTES)
        if event.type != ASKED:
            raise InvalidMessage("unknown_type")
        said = _validated(_Asked, event)
        known = [each.kind in Kind.__members__.values() for each in said.targets]
        targets = [
            self._made(said, each, Action.PROBE, Kind(each.kind) if is_known else Kind.OBJECT)
            for each, is_known in zip(said.targets, known, strict=True)
        ]
        return Question(
            said.number,
            said.case_id,
            said.command_id,
            tuple(each for each, is_known in zip(targets, known, strict=True) if is_known),
            tuple(each for each, is_known in zip(targets, known, strict=True) if not is_known),
        )

    def _command(self, raw: str, said: _Commanded) -> Command:
        word = (said.command_id, said.case_id, said.attempt)
        known = said.action in Action.__members__.values()
        targets, refused, unsupported = [], [], []
        for each in said.targets:
            kind = Kind(each.kind) if each.kind in Kind.__members__.values() else Kind.OBJECT
            target = self._target(said, each, Action(said.action) if known else Action.NOTIFY, kind)
            if not known:
                unsupported.append(failed(target, UNSUPPORTED_ACTION, untouched=True))
            elif kind != each.kind:
                unsupported.append(failed(target, UNSUPPORTED_KIND, untouched=True))
            else:
                targets.append(target)
                refused += [target] if each.refused is not None else []
        return Command(*word, raw, said.action, tuple(targets), tuple(refused), tuple(unsupported))

    def _target(self, said: _Commanded, target: _Target, action: Action, kind: Kind) -> Target:
        return replace(
            self._made(said, target, action, kind),
            excluded_assets=frozenset(said.exclude.assets),
            excluded_data_sources=frozenset(said.exclude.data_sources),
            attempt=said.attempt,
            refused=target.refused or "",
        )

    def _made(self, said: _Commanded | _Asked, target: _Target, action: Action, kind: Kind) -> Target:
        unsaid = "" if any(each.namespace for each in target.subjects) else None
        seals = {name: each.sealed for each in said.people for name in (each.pseudonym, *each.also)}
        return Target(
            command_id=said.command_id,
            case_id=said.case_id,
            asset=target.asset,
            kind=kind,
            action=action,
            purposes=said.purposes,
            collected_until=said.collected_until,
            people=tuple(self._person(subject, seals, unsaid) for subject in target.subjects),
            data_sources=target.data_sources,
            attributes=target.attributes,
        )

    def _person(self, subject: _Subject, seals: dict[str, str], unsaid: str | None) -> Person:
        sealed = seals.get(subject.pseudonym) or subject.sealed
        if self._open is None or sealed is None:
            return Person(subject.pseudonym, subject.ref, subject.namespace or unsaid)
        try:
            said = _Revealed.model_validate_json(self._open(sealed), extra="ignore")
        except (InvalidMessage, ValidationError):
            # Sealed to another key, perhaps: the purger sees a person without an id, and must fail the target.
            self.not_opened += 1
            return Person(subject.pseudonym, subject.ref, subject.namespace or unsaid, closed=True)
        return Person(subject.pseudonym, subject.ref, said.namespace, said.id, said.given or said.id, said.tenant)


M = TypeVar("M", bound=BaseModel)


def _validated(model: type[M], event: CloudEvent) -> M:
    try:
        return model.model_validate(event.data, extra="ignore")
    except ValidationError as error:
        raise InvalidMessage("bad_field", field_of(error, model.model_fields)) from None


def _word_of(data: object) -> tuple[str, str, int] | None:
    """Which command it is, of one of which nothing else can be read; None: it does not say so."""
    try:
        said = _Named.model_validate(data)
    except ValidationError:
        return None
    return said.command_id, said.case_id, said.attempt
