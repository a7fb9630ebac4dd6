"""Models that are made anew for several cases: what cases and owners say, and what they are told."""

from __future__ import annotations

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.decision import Context
from expunge.domain.aggregates.retraining import decide as retraining
from expunge.domain.aggregates.retraining.decide import SendJoint, Tell, WithdrawJoint
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.events import Outgoing
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.errors import Unavailable
from expunge.ports import CaseStore, TimerKey, Topics
from expunge.roles.coordinator import commands
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.timers import Timers
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import Root, TimerFired
from expunge.wire.cases.retraining import Member


class Retrainings:
    """Decides on the aggregate of one model at a time. To its cases it is what a system is."""

    def __init__(self, door: Door, store: CaseStore, topics: Topics, dead: DeadLetters, timers: Timers) -> None:
        self._door, self._store, self._topics, self._dead, self._timers = door, store, topics, dead, timers

    def hear(self, view: View, message: retraining.Heard, context: Context, cause: Cause, waves: Waves) -> None:
        """Decide on one message."""
        before = view.retraining(message.key)
        decision = retraining.decide(before, message, context)
        state = decision.state
        if state is not None and (decision.facts or decision.effects):
            view.take_retraining(before, state)
        if isinstance(message, TimerFired):
            self._timers.handled(view, TimerKey(message.case_id, message.timer), cause.record)
        for effect in decision.effects:
            match effect:
                case SendJoint(sent):
                    waves.first.append(self._joint_command(sent, cause))
                case WithdrawJoint(sent):
                    told = (sent.command_id, sent.retraining, sent.system, sent.attempt)
                    waves.first.append(commands.withdrawal(*told, "nobody_waits", cause.at))
                case Tell(receipt):
                    content = (receipt.command_id, receipt.attempt, receipt.sequence, receipt.status)
                    waves.first.append(cause.say(receipt, *content, whole=False))
                case _:
                    waves.last.append(self._dead.set_aside(effect, cause.at))
        if state is not None:
            waves.facts[state.retraining] += cause.facts(state.retraining, state.policy, decision.facts, state.now)

    def _joint_command(self, state: Retraining, cause: Cause) -> Outgoing:
        parties = [self._party(member) for _, member in sorted(state.members.items())]
        kinds = {(chunk.kind, root.regime, root.policy) for root, chunk in parties}
        policies = self._door.policies
        least = max(policies.of(policy).minimum_grade(kind, regime)[0] for kind, regime, policy in kinds)
        return commands.joint_command(state, parties, least, cause.at)

    def _party(self, member: Member) -> tuple[Root, Chunk]:
        """What a member's case was opened with, and its chunk: written once, so any partition's may be read."""
        partition = partition_of(member.case_id, self._topics.partitions("cases"))
        root = self._store.reader(partition).root(member.case_id)
        if root is None:
            raise Unavailable("the root of a case is missing: the store forgot it; rebuild")
        return root, self._store.reader(partition).body(member.case_id, member.chunk)
