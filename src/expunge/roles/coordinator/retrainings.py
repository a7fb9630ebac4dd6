"""What cases say to the aggregates of models, and what those lead to: joint commands, receipts for cases, facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.effects import Reschedule
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.retraining.decide import SendJoint, Tell, Turn, WithdrawJoint
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.digest import digest, name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record
from expunge.domain.planning.chunks import Chunk, encoded
from expunge.domain.planning.policy.models import Models
from expunge.roles.coordinator import commands
from expunge.roles.coordinator.aggregates import SOURCE, ledger_fact
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import Root
from expunge.wire.cases.retraining import JoinAsked, LeaveAsked, Member, Message, ScheduleAsked, retraining_id
from expunge.wire.cases.table import TYPE_OF

Fetch = Callable[[Member], tuple[Root, Chunk]]
"""What a member's case was opened with, and the chunk that waits: neither ever changes."""


@dataclass(frozen=True, slots=True, repr=False)
class Voice:
    """A case as it speaks to the aggregate of the model in one of its chunks."""

    case_id: str
    body: Chunk
    model: bytes
    """The key of the model."""
    record: Record
    event: CloudEvent
    at: int
    """Which part of its decision this is."""

    def join(self, chunk: ChunkState, attempt: int, case: Case, models: Models, people_bytes: int) -> Outgoing:
        """Ask for the model to be made anew: a command that is one with those of other cases."""
        due_at = case.due_of(chunk.summary.provision)
        member = Member(
            case_id=self.case_id,
            chunk=chunk.summary.digest,
            command_id=chunk.command_id,
            attempt=attempt,
            begin_by=models.begin_by(case.now, due_at),
            due_at=due_at,
            latest=due_at - timedelta(hours=models.needs_hours),
            heard=chunk.receipt[1],
            excludes=digest("excluded", *self.body.excluded).hex(),
            excluded=len(self.body.excluded),
            excluded_bytes=sum(map(encoded, self.body.excluded)),
            people_bytes=people_bytes,
        )
        joined = JoinAsked(system=self.body.system, policy=case.policy, member=member, **self._spoken())
        return to_aggregate(joined, self.record, self.event)

    def leave(self, chunk: ChunkState, policy: str) -> Outgoing:
        """Do not go on with it for this case."""
        left = LeaveAsked(
            system=self.body.system,
            policy=policy,
            case_id=self.case_id,
            command_id=chunk.command_id,
            attempt=chunk.attempt,
            **self._spoken(),
        )
        return to_aggregate(left, self.record, self.event)

    def _spoken(self) -> dict[str, Any]:
        key = retraining_id(self.body.system, self.model)
        return _spoken(key, self.record, f"{self.case_id}{self.at:06d}")


def reschedule(said: Reschedule, case_id: str, record: Record, event: CloudEvent, at: int) -> Outgoing:
    """An operator's word about when a model is made anew for a case."""
    key = retraining_id(said.system, bytes.fromhex(said.model))
    word = (*said.word[0].model_dump().values(), said.word[1]) if said.word else None
    told = ScheduleAsked(
        case_id=case_id, begin_by=said.begin_by, word=word, **_spoken(key, record, f"{case_id}{at:06d}")
    )
    return to_aggregate(told, record, event)


def _spoken(key: str, record: Record, who: str) -> dict[str, Any]:
    """To which aggregate something is said, and what rises with all that is said to it from this partition."""
    position = record.position
    cause = (position.leader_epoch, position.offset, who)
    return {"retraining": key, "partition": record.partition, "cause": cause}


def to_aggregate(message: Message, record: Record, event: CloudEvent) -> Outgoing:
    """What a case says to the aggregate of a model."""
    kind = TYPE_OF[type(message)]
    identity = name(event.source, event.id, kind, message.retraining, message.cause[2])
    return Outgoing(
        "cases", message.retraining, Event(kind, SOURCE, identity, record.appended_at, message.model_dump(mode="json"))
    )


def messages(
    turn: Turn, door: Door, fetch: Fetch, dead: DeadLetters, record: Record, event: CloudEvent
) -> tuple[list[Outgoing], list[Outgoing]]:
    """What a decision leads to: commands and what cases are told, then the facts that speak of them."""
    first: list[Outgoing] = []
    for emission in turn.emissions:
        match emission:
            case SendJoint(state):
                first.append(_joint_command(state, door, fetch, record))
            case WithdrawJoint(state):
                first.append(_withdrawal(state, record))
            case Tell(receipt):
                kind = TYPE_OF[type(receipt)]
                content = (receipt.command_id, receipt.attempt, receipt.sequence, receipt.status)
                told = Event(
                    kind,
                    SOURCE,
                    name(event.source, event.id, kind, *content),
                    record.appended_at,
                    receipt.model_dump(mode="json", exclude_defaults=True),
                )
                first.append(Outgoing("cases", receipt.case_id, told))
            case _:
                first.append(dead.at(emission.place, emission.reason, emission.content, record.appended_at))
    state = turn.state
    return first, [
        ledger_fact(state.retraining, state.policy, number, fact, record, state.now) for number, fact in turn.facts
    ]


def _joint_command(state: Retraining, door: Door, fetch: Fetch, record: Record) -> Outgoing:
    parties = [fetch(member) for _, member in sorted(state.members.items())]
    kinds = {(chunk.kind, root.regime, root.policy) for root, chunk in parties}
    least = max(door.policies.of(policy).minimum_grade(kind, regime)[0] for kind, regime, policy in kinds)
    return commands.joint_command(state, parties, least, record.appended_at)


def _withdrawal(state: Retraining, record: Record) -> Outgoing:
    told = (state.command_id, state.retraining, state.system, state.attempt)
    return commands.withdrawal(*told, "nobody_waits", record.appended_at)
