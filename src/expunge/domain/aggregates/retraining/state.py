"""The state of one model's aggregate. Its size is bounded by how many may share one command."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from expunge.domain.aggregates.heard import Hearing
from expunge.domain.digest import digest
from expunge.domain.limits import MAX_EXCLUDED, MAX_MEMBERS, MAX_WEIGHT
from expunge.domain.values import Hex, Value
from expunge.wire.cases.retraining import Member


class RoundPhase(StrEnum):
    """Whether the owner of the model has a joint command."""

    IDLE = "idle"
    """It has none: whoever waits has still time, or nobody does."""
    SENT = "sent"
    RECALLED = "recalled"
    """Nobody waits for it any more; the owner has not said yet that it lets go."""


class Leaver(Value):
    """A case that has left and hears so when the owner has let go, or that was served by an earlier round."""

    case_id: Hex
    command_id: Hex
    attempt: int


class Round(Value):
    """The round before: its owner may still say something of it."""

    number: int
    attempt: int
    members: tuple[Leaver, ...]


class Retraining(Hearing):
    """One model in one system."""

    retraining: Hex
    system: str
    policy: Hex
    """Of the case that spoke last; each case judges the answer by its own."""
    now: datetime
    sequence: int = 0
    waiting: dict[str, Member] = Field(default_factory=dict)
    """Command id of the case -> who waits for the next round."""
    members: dict[str, Member] = Field(default_factory=dict)
    """Of the round under way, or of the last one: whoever its command names, for good."""
    gone: frozenset[str] = frozenset()
    """Members that have left since."""
    leaving: dict[str, Leaver] = Field(default_factory=dict)
    """Who waits for the owner to let go."""
    round: int = 0
    before: Round | None = None
    phase: RoundPhase = RoundPhase.IDLE
    attempt: int = 0
    recalls: int = 0
    next_at: datetime | None = None
    """When to send, or withdraw, once more."""
    receipt: tuple[int, int] = (0, 0)
    """(attempt, sequence) of the owner's last promise or answer in this round."""
    content: str = ""
    """The digest of the answer with that number; empty for a promise."""
    told: int = 0
    """The number under which cases were told of that."""
    answered: int = 0
    """The same of the last answer that ended a round."""
    failed: bool = False
    """What the owner's last answer said."""

    @property
    def is_told_again(self) -> bool:
        """Whether the owner has answered this round already, and whoever waits could not take the answer."""
        return bool(self.content) and self.receipt[0] < self.attempt

    @property
    def command_id(self) -> str:
        """Of the joint command of this round."""
        return self.command_of(self.round)

    @property
    def next_command_id(self) -> str:
        """Of the joint command of the next round."""
        return self.command_of(self.round + 1)

    def command_of(self, number: int) -> str:
        """The id of the joint command of a round."""
        return digest("retrain", self.retraining, number).hex()

    @property
    def present(self) -> tuple[Member, ...]:
        """Who waits for the round under way."""
        return tuple(each for command, each in self.members.items() if command not in self.gone)

    @property
    def due_at(self) -> datetime:
        """The earliest due date of the round (rule "joint retrains")."""
        return min(each.due_at for each in self.members.values())

    @property
    def begin_at(self) -> datetime | None:
        """When the next round begins, if nobody else comes: every due date holds."""
        return min((each.begin_by for each in self.waiting.values()), default=None)

    @property
    def timer(self) -> datetime | None:
        """When it must be looked at again."""
        return self.begin_at if self.phase is RoundPhase.IDLE else self.next_at

    def fitting(self) -> tuple[str, ...]:
        """Of those who wait, the earliest that one command can name; at least one."""
        chosen: list[str] = []
        known: set[str] = set()
        excluded = weight = 0
        for command, each in sorted(self.waiting.items(), key=lambda item: (item[1].begin_by, item[0])):
            weight += each.people_bytes
            if each.excludes not in known:
                known.add(each.excludes)
                excluded, weight = excluded + each.excluded, weight + each.excluded_bytes
            over = excluded > MAX_EXCLUDED or weight > MAX_WEIGHT or len(chosen) == MAX_MEMBERS
            if chosen and over:
                break
            chosen.append(command)
        return tuple(chosen)

    @property
    def full(self) -> bool:
        """Whether more wait than one command can name: then it need not wait for others."""
        return len(self.fitting()) < len(self.waiting)

    def has_answered(self, member: Member) -> bool:
        """Whether an answer is on its way to a case that asks again because it has not heard it yet."""
        mine = member.command_id in self.members and member.command_id not in self.gone
        return self.phase is RoundPhase.IDLE and mine and member.heard < self.answered


def without(known: dict[str, Member], commands: Iterable[str]) -> dict[str, Member]:
    """Members but for some."""
    left = set(commands)
    return {command: each for command, each in known.items() if command not in left}
