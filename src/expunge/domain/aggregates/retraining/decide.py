"""`decide` for a model's aggregate: one message, one state, facts and what follows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from expunge.domain.aggregates.decision import Context, Decision, SetAside
from expunge.domain.aggregates.retraining import facts
from expunge.domain.aggregates.retraining.facts import RetrainFact, apply, first_state
from expunge.domain.aggregates.retraining.state import Leaver, Retraining, RoundPhase
from expunge.domain.digest import name
from expunge.domain.identity import Keys
from expunge.domain.limits import MAX_WAITING
from expunge.domain.registry import System
from expunge.domain.values import A_DAY
from expunge.domain.vocabulary import DEFERRALS, Claim
from expunge.wire.cases.case import EmissionRefused, Receipted, TimerFired
from expunge.wire.cases.retraining import FromCase, JoinAsked, LeaveAsked, Member, ScheduleAsked, retraining_id
from expunge.wire.cases.said import Place
from expunge.wire.receipts import Outcome

TIMER = "retrain"
ASK_AGAIN = timedelta(days=30)
"""When an owner is asked again that has put a model off without a date."""
OLD = 1
"""The number of what is older than all that cases have heard: it only fills what is open."""


@dataclass(frozen=True, slots=True, repr=False)
class SendJoint:
    """Tell the owner to make the model anew without all that the members leave out."""

    state: Retraining


@dataclass(frozen=True, slots=True, repr=False)
class WithdrawJoint:
    """Tell the owner not to go on."""

    state: Retraining


@dataclass(frozen=True, slots=True, repr=False)
class Tell:
    """A receipt for a case, as a system would send it."""

    receipt: Receipted


Heard = JoinAsked | LeaveAsked | ScheduleAsked | Receipted | EmissionRefused | TimerFired
Effect = SendJoint | WithdrawJoint | Tell | SetAside
RetrainingDecision = Decision[Retraining, RetrainFact, Effect]


@dataclass(slots=True, repr=False)
class RetrainTurn:
    """One decision in progress."""

    state: Retraining
    now: datetime
    system: System
    place: Place
    """Where the message lies that led to it."""
    facts: list[tuple[int, RetrainFact]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def record(self, fact: RetrainFact) -> None:
        """Record a fact and apply it."""
        self.state = apply(self.state, fact)
        self.facts.append((self.state.sequence, fact))

    def promise(self, members: Iterable[Member], until: datetime, *, joint: str) -> None:
        """Tell cases to wait, and under which id the owner is, or will be, told."""
        for each in members:
            self._tell(each, "accepted", expected_by=until, joint=joint, begun=joint == self.state.command_id)

    def let_go(self, whom: Leaver) -> None:
        """Tell a case that nothing more will be done for it."""
        self._tell(whom, "withdrawn")

    def pass_on(self, whom: Member | Leaver, said: Receipted, number: int) -> None:
        """Pass the owner's answer on to a case that it concerns; that the owner lets go is no answer.

        What the aggregate says it numbers by its own facts: that rises, whatever numbers owners give.
        """
        status = "done" if said.status == "withdrawn" else said.status
        fields = {
            "case_id": whom.case_id,
            "command_id": whom.command_id,
            "attempt": whom.attempt,
            "sequence": number,
            "status": status,
        }
        self.effects.append(Tell(said.model_copy(update=fields)))

    def _tell(self, whom: Member | Leaver, status: Literal["accepted", "withdrawn"], **more: Any) -> None:
        receipt = Receipted(
            case_id=whom.case_id,
            command_id=whom.command_id,
            system=self.state.system,
            attempt=whom.attempt,
            sequence=max(self.state.sequence, OLD),
            status=status,
            content=self.state.retraining,
            place=self.place,
            **more,
        )
        self.effects.append(Tell(receipt))


def decide(state: Retraining | None, message: Heard, context: Context) -> RetrainingDecision:
    """The decision on what a case or the model's owner says, or on a moment that has come."""
    if state is None and isinstance(message, JoinAsked | LeaveAsked):
        state = first_state(message.retraining, message.system, message.policy, context.at)
    if state is None:  # nobody has asked for the model yet
        return Decision(None, effects=tuple(_unheard(message)))
    if isinstance(message, FromCase) and state.has_heard(message.partition, message.cause):
        return Decision(state)
    now, policy = max(state.now, context.at), message.policy if isinstance(message, JoinAsked | LeaveAsked) else ""
    owner = context.registry.system(state.system) or System(name=state.system)
    before = state.model_copy(update={"now": now, "policy": policy or state.policy})
    turn = RetrainTurn(before, now, owner, context.place)
    match message:
        case JoinAsked():
            _join(turn, message)
        case LeaveAsked():
            _leave(turn, message)
        case ScheduleAsked():
            _schedule(turn, message)
        case Receipted():
            _take_receipt(turn, _of_this_model(state, message, context.keys))
        case EmissionRefused():
            _take_receipt(turn, _as_failure(state, message, context.place))
        case TimerFired():
            _fire(turn)
    changed = turn.facts or turn.effects
    return Decision(turn.state if changed else state, tuple(turn.facts), tuple(turn.effects))


def _of_this_model(state: Retraining, message: Receipted, keys: Keys) -> Receipted:
    """Whatever a receipt says of other assets is not this model's."""
    key = state.retraining
    mine = tuple(each for each in message.answers if retraining_id(state.system, keys.asset(each.asset)) == key)
    return message.model_copy(update={"answers": mine})


def _as_failure(state: Retraining, message: EmissionRefused, place: Place) -> Receipted:
    """A command that the broker did not take is as if the owner had failed, and said nothing else yet."""
    return Receipted(
        case_id=message.case_id,
        command_id=message.command_id,
        system=state.system,
        attempt=message.attempt,
        sequence=0,
        status="failed",
        all=Outcome(claim=Claim.FAILED, reason_code=message.reason),
        content=name(message.command_id, message.attempt, message.reason),
        place=place,
    )


def _join(turn: RetrainTurn, message: JoinAsked) -> None:
    member, state = message.member, turn.state
    known = {**state.waiting, **state.members}
    if len(state.waiting) >= MAX_WAITING and member.command_id not in known:
        _promise_next(turn, member)
        return
    turn.record(
        facts.RetrainJoined(system=message.system, member=member, partition=message.partition, heard=message.cause)
    )
    if member.command_id in turn.state.waiting:
        _promise_next(turn, member)
        _begin(turn)
    elif turn.state.next_at is not None:
        turn.promise([member], turn.state.next_at, joint=turn.state.command_id)


def _promise_next(turn: RetrainTurn, member: Member) -> None:
    """Nothing is to be expected before the next round begins, and that not before the owner is free."""
    moments = (turn.state.begin_at, turn.state.next_at, turn.now)
    until = max(each for each in moments if each is not None) + turn.system.timeout
    turn.promise([member], until, joint=turn.state.next_command_id)


def _begin(turn: RetrainTurn) -> None:
    """Begin the next round, if its time has come and the owner is free.

    Where nobody waits but whom the last round was for, the owner is told that again under its own id (rule
    "repetitions"): an answer was refused, or was for a while only.
    """
    state, next_at = turn.state, turn.now + turn.system.timeout
    if state.phase is not RoundPhase.IDLE or state.begin_at is None:
        return
    if turn.now < state.begin_at and not state.full:
        return
    chosen = state.fitting()
    if state.members.keys() >= set(chosen):
        attempt, told = state.attempt + 1, {"members": chosen, "next_at": next_at}
        turn.record(facts.RetrainReopened(command_id=state.command_id, attempt=attempt, **told))
    else:
        number, command = state.round + 1, state.next_command_id
        turn.record(facts.RetrainBegun(round=number, command_id=command, members=chosen, next_at=next_at))
    turn.effects.append(SendJoint(turn.state))
    turn.promise(turn.state.present, next_at, joint=turn.state.command_id)


def _leave(turn: RetrainTurn, message: LeaveAsked) -> None:
    """Whoever leaves hears at once that nothing is done for it, unless it is the last for whom something is."""
    leaver = Leaver(case_id=message.case_id, command_id=message.command_id, attempt=message.attempt)
    known = leaver.command_id in turn.state.leaving
    turn.record(
        facts.RetrainLeft(system=message.system, leaver=leaver, partition=message.partition, heard=message.cause)
    )
    if known:
        return  # it hears when the owner has let go
    if leaver.command_id in turn.state.leaving:
        _recall(turn)
        return
    turn.let_go(leaver)
    _begin(turn)


def _recall(turn: RetrainTurn) -> None:
    next_at = turn.now + turn.system.after_withdrawal(turn.state.recalls)
    turn.record(facts.RetrainRecalled(command_id=turn.state.command_id, next_at=next_at))
    turn.effects.append(WithdrawJoint(turn.state))


def _schedule(turn: RetrainTurn, message: ScheduleAsked) -> None:
    state = turn.state
    if state.phase is RoundPhase.SENT and any(each.case_id == message.case_id for each in state.present):
        return  # it has begun
    if all(each.case_id != message.case_id for each in state.waiting.values()):
        turn.effects += _unheard(message)
        return
    turn.record(
        facts.RetrainScheduled(
            case_id=message.case_id, begin_by=message.begin_by, partition=message.partition, heard=message.cause
        )
    )
    for each in turn.state.waiting.values():
        if each.case_id == message.case_id:
            _promise_next(turn, each)
    _begin(turn)


def _unheard(message: Heard) -> list[SetAside]:
    """A word about a model that does not wait is set aside, and changes nothing."""
    if not isinstance(message, ScheduleAsked) or message.word is None:
        return []
    topic, partition, offset, content = message.word
    return [SetAside(Place(topic=topic, partition=partition, offset=offset), content, "no_model_waits")]


def _take_receipt(turn: RetrainTurn, message: Receipted) -> None:
    """What the owner says of the round under way, or of the last one, is passed on to whoever waits for it."""
    state, before = turn.state, turn.state.before
    fits = message.command_id == state.command_id and message.system == state.system
    if before and message.system == state.system and message.command_id == state.command_of(before.number):
        for each in before.members if message.attempt <= before.attempt else ():
            turn.pass_on(each, message, OLD)
        return
    if not fits or message.attempt > state.attempt:
        turn.effects.append(SetAside(message.place, message.content, "receipt_without_command"))
        return
    if message.status == "accepted":
        if state.phase is RoundPhase.SENT and (message.attempt, message.sequence) > state.receipt:
            _pass_promise_on(turn, message)
        return
    answered = message.all is not None or bool(message.answers) or message.status == "failed"
    done = _pass_answer_on(turn, message) if answered else False
    if state.phase is RoundPhase.RECALLED and (done or message.status == "withdrawn"):
        leaving = tuple(turn.state.leaving.values())
        turn.record(facts.RetrainLetGo(attempt=message.attempt, sequence=message.sequence))
        for each in leaving:
            turn.let_go(each)
    _begin(turn)


def _pass_promise_on(turn: RetrainTurn, message: Receipted) -> None:
    next_at = turn.system.awaited(message.expected_by, turn.state.due_at, turn.now)
    turn.record(facts.RetrainPromised(attempt=message.attempt, sequence=message.sequence, next_at=next_at))
    turn.promise(turn.state.present, next_at, joint=turn.state.command_id)


def _pass_answer_on(turn: RetrainTurn, message: Receipted) -> bool:
    """Pass an answer on; whether it ends the round.

    It does not if it says that nothing was achieved, or that it will be later: until then the owner may still go on.
    Cases are told of an older answer, or of two with one number, as they would be by a system (rule "later answer").
    """
    state, place = turn.state, (message.attempt, message.sequence)
    outcomes = [each.outcome for each in message.answers] or ([message.all] if message.all else [])
    failed = message.status == "failed" or any(each.claim is Claim.FAILED for each in outcomes)
    later = [each.until or turn.now + ASK_AGAIN for each in outcomes if each.claim in DEFERRALS]
    again = place == state.receipt and state.content in {"", message.content}
    number = state.told if place == state.receipt else OLD
    if place > state.receipt or again:
        next_at = turn.now + turn.system.after_failure(message.attempt) if failed else max(later, default=None)
        turn.record(
            facts.RetrainAnswered(
                attempt=message.attempt,
                sequence=message.sequence,
                receipt=message.content,
                failed=failed,
                next_at=state.next_at if state.phase is RoundPhase.RECALLED else next_at,
                ended=not (failed or later),
            )
        )
        number = turn.state.told
    waiting: tuple[Member | Leaver, ...] = (*state.present, *state.leaving.values())
    for each in waiting:
        turn.pass_on(each, message, number)
    return not (failed or later)


def _fire(turn: RetrainTurn) -> None:
    """The time of a round has come, or nobody answered."""
    state = turn.state
    if state.phase is RoundPhase.IDLE:
        _begin(turn)
    elif state.next_at is None or turn.now < state.next_at:
        return
    elif state.phase is RoundPhase.RECALLED:
        _recall(turn)
    else:
        wait = max(A_DAY, turn.system.timeout) if state.attempt > turn.system.retries else turn.system.timeout
        turn.record(
            facts.RetrainRepeated(command_id=state.command_id, attempt=state.attempt + 1, next_at=turn.now + wait)
        )
        turn.effects.append(SendJoint(turn.state))
        if not state.failed:
            turn.promise(turn.state.present, turn.now + wait, joint=turn.state.command_id)
