"""What is recorded of a model's aggregate: each fact says what it changes; replayed, they give its state back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from expunge.domain.aggregates.retraining.state import Leaver, Retraining, Round, RoundPhase, without
from expunge.domain.values import Hex, Value
from expunge.wire.cases.retraining import Member
from expunge.wire.cases.said import SaidAt


class RetrainFact(Value):
    """Something that happened to the aggregate of a model."""

    fact: ClassVar[str]
    """Its name: the type of its event on the ledger (`wire.ledger`)."""

    def changes(self, state: Retraining) -> dict[str, Any]:
        """Fields of the state, as they are after it."""
        raise NotImplementedError


class SaidByCase(RetrainFact):
    """What a case said."""

    partition: int
    heard: SaidAt

    def _seen(self, state: Retraining) -> dict[int, SaidAt]:
        return state.having_heard(self.partition, self.heard).seen


class RetrainJoined(SaidByCase):
    """A case waits for the model, or asked again while it is being made anew."""

    fact = "retrain_joined"
    system: str
    member: Member

    def changes(self, state: Retraining) -> dict[str, Any]:
        """Whoever asks again while the owner has it, or whose answer is on its way, waits for no further round."""
        command, seen = self.member.command_id, {"seen": self._seen(state)}
        under_way = state.phase is not RoundPhase.IDLE and command in state.members and command not in state.gone
        if under_way or state.has_answered(self.member):  # its answer is on its way
            attempt = self.member.attempt
            again = state.members[command].model_copy(update={"attempt": attempt})
            return seen | {"members": {**state.members, command: again}}
        known, member = state.waiting.get(command), self.member
        if known is not None:  # to ask again puts nothing off
            member = member.model_copy(update={"begin_by": known.begin_by})
        return seen | {"waiting": {**state.waiting, command: member}}


class RetrainLeft(SaidByCase):
    """A case does not wait any more."""

    fact = "retrain_left"
    system: str
    leaver: Leaver

    def changes(self, state: Retraining) -> dict[str, Any]:
        """The last to leave hears so when the owner has let go."""
        command = self.leaver.command_id
        changes: dict[str, Any] = {"seen": self._seen(state)}
        if command in state.waiting:
            changes["waiting"] = without(state.waiting, [command])
        elif command in state.members and state.phase is not RoundPhase.IDLE:
            gone = state.gone | {command}
            changes["gone"] = gone
            if gone >= state.members.keys():
                changes["leaving"] = {**state.leaving, command: self.leaver}
        return changes


class RetrainScheduled(SaidByCase):
    """An operator said by when to begin for a case that waits."""

    fact = "retrain_scheduled"
    case_id: Hex
    begin_by: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """No moment is later than what the due date allows."""
        changed = {
            command: each.model_copy(update={"begin_by": min(self.begin_by, each.latest)})
            for command, each in state.waiting.items()
            if each.case_id == self.case_id
        }
        return {"waiting": {**state.waiting, **changed}, "seen": self._seen(state)}


class RetrainBegun(RetrainFact):
    """A round began: the owner of the model was told, once for all of these cases (grade E0)."""

    fact = "retrain_begun"
    round: int
    command_id: Hex
    members: tuple[Hex, ...]
    """The command ids of its cases."""
    next_at: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """A round holds whom its command names, for good."""
        return {
            "round": self.round,
            "members": {command: state.waiting[command] for command in self.members},
            "waiting": without(state.waiting, self.members),
            "gone": frozenset(),
            "before": _before(state),
            "phase": RoundPhase.SENT,
            "attempt": 1,
            "recalls": 0,
            "receipt": (0, 0),
            "content": "",
            "failed": False,
            "next_at": self.next_at,
        }


class RetrainReopened(RetrainFact):
    """The owner was told again what it was told last: its answer was refused, or was for a while only."""

    fact = "retrain_reopened"
    command_id: Hex
    attempt: int
    members: tuple[Hex, ...]
    """The command ids of the cases that wait for it."""
    next_at: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """The round goes on with those who could not take its answer."""
        again = {command: state.waiting[command] for command in self.members}
        return {
            "members": {**state.members, **again},
            "waiting": without(state.waiting, self.members),
            "gone": frozenset(state.members.keys() - set(self.members)),
            "phase": RoundPhase.SENT,
            "attempt": self.attempt,
            "failed": False,
            "next_at": self.next_at,
        }


class RetrainRepeated(RetrainFact):
    """The owner was told once more: it was silent, or failed."""

    fact = "retrain_repeated"
    command_id: Hex
    attempt: int
    next_at: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """The same command, once more."""
        del state
        return {"attempt": self.attempt, "next_at": self.next_at}


class RetrainPromised(RetrainFact):
    """The owner says by when it will answer (still E0)."""

    fact = "retrain_promised"
    attempt: int
    sequence: int
    next_at: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """It is waited for until then."""
        place = (self.attempt, self.sequence)
        return {"receipt": place, "content": "", "told": state.sequence + 1, "next_at": self.next_at}


class RetrainAnswered(RetrainFact):
    """The owner answered; each case judges the answer by its own policy."""

    fact = "retrain_answered"
    attempt: int
    sequence: int
    receipt: Hex
    failed: bool
    ended: bool
    """Whether the owner has done with it."""
    next_at: datetime | None

    def changes(self, state: Retraining) -> dict[str, Any]:
        """An answer that ends the round leaves the owner free."""
        place = max(state.receipt, (self.attempt, self.sequence))
        changes: dict[str, Any] = {"receipt": place, "content": self.receipt, "failed": self.failed}
        changes |= {"told": state.sequence + 1, "next_at": self.next_at}
        changes |= {"answered": state.sequence + 1} if self.ended else {}
        if state.phase is RoundPhase.SENT and self.ended:
            changes["phase"] = RoundPhase.IDLE
        return changes


class RetrainRecalled(RetrainFact):
    """Nobody waits any more: the owner was told not to go on, and is told again until it answers."""

    fact = "retrain_recalled"
    command_id: Hex
    next_at: datetime

    def changes(self, state: Retraining) -> dict[str, Any]:
        """It is waited for until the owner lets go."""
        return {"phase": RoundPhase.RECALLED, "recalls": state.recalls + 1, "next_at": self.next_at}


class RetrainLetGo(RetrainFact):
    """The owner will not go on."""

    fact = "retrain_let_go"
    attempt: int
    sequence: int

    def changes(self, state: Retraining) -> dict[str, Any]:
        """Nobody has it any more."""
        place = max(state.receipt, (self.attempt, self.sequence))
        return {"phase": RoundPhase.IDLE, "leaving": {}, "recalls": 0, "next_at": None, "receipt": place}


def _before(state: Retraining) -> Round | None:
    members = tuple(
        Leaver(case_id=each.case_id, command_id=each.command_id, attempt=each.attempt) for each in state.present
    )
    return Round(number=state.round, attempt=state.attempt, members=members) if members else None


ALL: tuple[type[RetrainFact], ...] = (
    RetrainJoined,
    RetrainLeft,
    RetrainScheduled,
    RetrainBegun,
    RetrainReopened,
    RetrainRepeated,
    RetrainPromised,
    RetrainAnswered,
    RetrainRecalled,
    RetrainLetGo,
)
"""Every kind of fact."""


def first_state(retraining: str, system: str, policy: str, now: datetime) -> Retraining:
    """The state before the first fact."""
    return Retraining(retraining=retraining, system=system, policy=policy, now=now)


def apply(state: Retraining, fact: RetrainFact) -> Retraining:
    """The state after one more fact."""
    return state.model_copy(update=fact.changes(state) | {"sequence": state.sequence + 1})
