"""What is recorded of a model's aggregate, and `apply`: the facts, replayed, give its state back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, get_args

from expunge.domain.aggregates.retraining.state import Leaver, Phase, Retraining, Round, without
from expunge.domain.values import Hex, Value
from expunge.wire.cases.retraining import Member
from expunge.wire.cases.said import SaidAt


class RetrainJoined(Value):
    """A case waits for the model, or asked again while it is being made anew."""

    fact: ClassVar[str] = "retrain_joined"
    system: str
    member: Member
    partition: int
    heard: SaidAt


class RetrainLeft(Value):
    """A case does not wait any more."""

    fact: ClassVar[str] = "retrain_left"
    system: str
    leaver: Leaver
    partition: int
    heard: SaidAt


class RetrainScheduled(Value):
    """An operator said by when to begin for a case that waits."""

    fact: ClassVar[str] = "retrain_scheduled"
    case_id: Hex
    begin_by: datetime
    partition: int
    heard: SaidAt


class RetrainBegun(Value):
    """A round began: the owner of the model was told, once for all of these cases (grade E0)."""

    fact: ClassVar[str] = "retrain_begun"
    round: int
    command_id: Hex
    members: tuple[Hex, ...]
    """The command ids of its cases."""
    next_at: datetime


class RetrainReopened(Value):
    """The owner was told again what it was told last: its answer was refused, or was for a while only."""

    fact: ClassVar[str] = "retrain_reopened"
    command_id: Hex
    attempt: int
    members: tuple[Hex, ...]
    """The command ids of the cases that wait for it."""
    next_at: datetime


class RetrainRepeated(Value):
    """The owner was told once more: it was silent, or failed."""

    fact: ClassVar[str] = "retrain_repeated"
    command_id: Hex
    attempt: int
    next_at: datetime


class RetrainPromised(Value):
    """The owner says by when it will answer (still E0)."""

    fact: ClassVar[str] = "retrain_promised"
    attempt: int
    sequence: int
    next_at: datetime


class RetrainAnswered(Value):
    """The owner answered; each case judges the answer by its own policy."""

    fact: ClassVar[str] = "retrain_answered"
    attempt: int
    sequence: int
    receipt: Hex
    failed: bool
    ended: bool
    """Whether the owner has done with it."""
    next_at: datetime | None


class RetrainRecalled(Value):
    """Nobody waits any more: the owner was told not to go on, and is told again until it answers."""

    fact: ClassVar[str] = "retrain_recalled"
    command_id: Hex
    next_at: datetime


class RetrainLetGo(Value):
    """The owner will not go on."""

    fact: ClassVar[str] = "retrain_let_go"
    attempt: int
    sequence: int


RetrainFact = (
    RetrainJoined
    | RetrainLeft
    | RetrainScheduled
    | RetrainBegun
    | RetrainReopened
    | RetrainRepeated
    | RetrainPromised
    | RetrainAnswered
    | RetrainRecalled
    | RetrainLetGo
)
ALL: tuple[type[Value], ...] = get_args(RetrainFact)


def first_state(retraining: str, system: str, policy: str, now: datetime) -> Retraining:
    """The state before the first fact."""
    return Retraining(retraining=retraining, system=system, policy=policy, now=now)


def apply(state: Retraining, fact: Any) -> Retraining:
    """The state after one more fact."""
    changes = _APPLY[type(fact)](state, fact)
    return state.model_copy(update=changes | {"sequence": state.sequence + 1})


def _seen(state: Retraining, fact: Any) -> dict[int, SaidAt]:
    return {**state.seen, fact.partition: fact.heard}


def _joined(state: Retraining, fact: RetrainJoined) -> dict[str, Any]:
    command, seen = fact.member.command_id, {"seen": _seen(state, fact)}
    under_way = state.phase is not Phase.IDLE and command in state.members and command not in state.gone
    if under_way or state.has_answered(fact.member):  # its answer is on its way
        attempt = fact.member.attempt
        again = state.members[command].model_copy(update={"attempt": attempt})
        return seen | {"members": {**state.members, command: again}}
    known, member = state.waiting.get(command), fact.member
    if known is not None:  # to ask again puts nothing off
        member = member.model_copy(update={"begin_by": known.begin_by})
    return seen | {"waiting": {**state.waiting, command: member}}


def _left(state: Retraining, fact: RetrainLeft) -> dict[str, Any]:
    command = fact.leaver.command_id
    changes: dict[str, Any] = {"seen": _seen(state, fact)}
    if command in state.waiting:
        changes["waiting"] = without(state.waiting, [command])
    elif command in state.members and state.phase is not Phase.IDLE:
        gone = state.gone | {command}
        changes["gone"] = gone
        if gone >= state.members.keys():
            changes["leaving"] = {**state.leaving, command: fact.leaver}
    return changes


def _scheduled(state: Retraining, fact: RetrainScheduled) -> dict[str, Any]:
    changed = {
        command: each.model_copy(update={"begin_by": min(fact.begin_by, each.latest)})
        for command, each in state.waiting.items()
        if each.case_id == fact.case_id
    }
    return {"waiting": {**state.waiting, **changed}, "seen": _seen(state, fact)}


def _begun(state: Retraining, fact: RetrainBegun) -> dict[str, Any]:
    return {
        "round": fact.round,
        "members": {command: state.waiting[command] for command in fact.members},
        "waiting": without(state.waiting, fact.members),
        "gone": frozenset(),
        "before": _before(state),
        "phase": Phase.SENT,
        "attempt": 1,
        "recalls": 0,
        "receipt": (0, 0),
        "content": "",
        "failed": False,
        "next_at": fact.next_at,
    }


def _before(state: Retraining) -> Round | None:
    members = tuple(
        Leaver(case_id=each.case_id, command_id=each.command_id, attempt=each.attempt) for each in state.present
    )
    return Round(number=state.round, attempt=state.attempt, members=members) if members else None


def _reopened(state: Retraining, fact: RetrainReopened) -> dict[str, Any]:
    again = {command: state.waiting[command] for command in fact.members}
    return {
        "members": {**state.members, **again},
        "waiting": without(state.waiting, fact.members),
        "gone": frozenset(state.members.keys() - set(fact.members)),
        "phase": Phase.SENT,
        "attempt": fact.attempt,
        "failed": False,
        "next_at": fact.next_at,
    }


def _repeated(_: Retraining, fact: RetrainRepeated) -> dict[str, Any]:
    return {"attempt": fact.attempt, "next_at": fact.next_at}


def _promised(state: Retraining, fact: RetrainPromised) -> dict[str, Any]:
    place = (fact.attempt, fact.sequence)
    return {"receipt": place, "content": "", "told": state.sequence + 1, "next_at": fact.next_at}


def _answered(state: Retraining, fact: RetrainAnswered) -> dict[str, Any]:
    place = max(state.receipt, (fact.attempt, fact.sequence))
    changes: dict[str, Any] = {"receipt": place, "content": fact.receipt, "failed": fact.failed}
    changes |= {"told": state.sequence + 1, "next_at": fact.next_at}
    changes |= {"answered": state.sequence + 1} if fact.ended else {}
    if state.phase is Phase.SENT and fact.ended:
        changes["phase"] = Phase.IDLE
    return changes


def _recalled(state: Retraining, fact: RetrainRecalled) -> dict[str, Any]:
    return {"phase": Phase.RECALLED, "recalls": state.recalls + 1, "next_at": fact.next_at}


def _let_go(state: Retraining, fact: RetrainLetGo) -> dict[str, Any]:
    place = max(state.receipt, (fact.attempt, fact.sequence))
    return {"phase": Phase.IDLE, "leaving": {}, "recalls": 0, "next_at": None, "receipt": place}


_APPLY: dict[type[Any], Callable[[Retraining, Any], dict[str, Any]]] = {
    RetrainJoined: _joined,
    RetrainLeft: _left,
    RetrainScheduled: _scheduled,
    RetrainBegun: _begun,
    RetrainReopened: _reopened,
    RetrainRepeated: _repeated,
    RetrainPromised: _promised,
    RetrainAnswered: _answered,
    RetrainRecalled: _recalled,
    RetrainLetGo: _let_go,
}
