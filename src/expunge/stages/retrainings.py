"""What models' aggregates lead to, as messages: joint commands, receipts for cases, facts."""

from __future__ import annotations

from collections.abc import Callable

from expunge.domain.admission.door import Door
from expunge.domain.case.messages import TYPE_OF, Root
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record
from expunge.domain.plan import Chunk
from expunge.domain.retraining.decide import SendJoint, Tell, Turn, WithdrawJoint
from expunge.domain.retraining.messages import Member, Message
from expunge.domain.retraining.state import Retraining
from expunge.stages import commands
from expunge.stages.aggregates import SOURCE, ledger_fact
from expunge.stages.dead_letters import DeadLetters

Fetch = Callable[[Member], tuple[Root, Chunk]]
"""What a member's case was opened with, and the chunk that waits: neither ever changes."""


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
