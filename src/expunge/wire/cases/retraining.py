"""What a case says to the aggregate of a model, on `cases` under the aggregate's id."""

from __future__ import annotations

from datetime import datetime

from expunge.domain.digest import digest
from expunge.domain.values import Hex, Value
from expunge.wire.cases.said import Aggregate, CaseEvent, SaidAt


def retraining_id(system: str, model: bytes) -> str:
    """The key of the aggregate of a model, whose own key this is, in one system."""
    return digest("retraining", system, model).hex()


class Member(Value):
    """A chunk of a case that waits for the model."""

    case_id: Hex
    chunk: Hex
    command_id: Hex
    """Of the case: the model's owner never sees it."""
    attempt: int
    begin_by: datetime
    """When it must be begun at the latest, whoever else may come."""
    due_at: datetime
    latest: datetime
    """So long before that, an operator may put it off."""
    heard: int
    """The number of the last receipt that the case knows."""
    excludes: Hex
    """The digest of what it has left out: whoever has the same left out adds nothing to that."""
    excluded: int
    """How many assets that are."""
    excluded_bytes: int
    people_bytes: int
    """What its people add to the joint command."""


class FromCase(CaseEvent):
    """What a case says; heard once, however often it is said (`cause`)."""

    aggregate = Aggregate.RETRAINING
    retraining: Hex
    partition: int
    cause: SaidAt

    @property
    def key(self) -> str:
        """Of the aggregate of the model."""
        return self.retraining


class JoinAsked(FromCase):
    """A case asks for the model to be made anew, for the first time or again."""

    system: str
    policy: Hex
    member: Member


class LeaveAsked(FromCase):
    """A case must not go on: it is cancelled, paused, or the model is held."""

    system: str
    policy: Hex
    case_id: Hex
    command_id: Hex
    attempt: int


class ScheduleAsked(FromCase):
    """An operator says by when the model must be begun for a case that waits."""

    case_id: Hex
    begin_by: datetime
    word: tuple[str, int, int, str] | None
    """Where the word lies (topic, partition, offset), and its keyed digest; None: it may be about another model."""


Message = JoinAsked | LeaveAsked | ScheduleAsked
