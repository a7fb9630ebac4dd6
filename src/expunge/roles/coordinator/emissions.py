"""From decisions to messages: commands, confirmations, facts, parts of `plans`.

Messages leave in two waves: what a fact or a confirmation speaks of is durable before it is said (rule "refused
records").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Literal, Protocol

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.decide import Decision
from expunge.domain.aggregates.case.effects import (
    AskRate,
    Confirm,
    ContinueStage,
    Effect,
    LeaveRate,
    LookIntoHolds,
    LookIntoReplacement,
    NoteAnswers,
    ReconsiderOn,
    Reject,
    Reschedule,
    SendCommand,
    SetAside,
    StartTask,
    SuppressAgain,
    SuppressNoLonger,
    WithdrawCommand,
    WriteClaims,
    WriteRoot,
)
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.rate import rate_id
from expunge.domain.aggregates.suppression import EVERYTHING, RESTRICTED, source_key
from expunge.domain.digest import name
from expunge.domain.events import CloudEvent, Event, Outgoing, Record, millis
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.row import Row
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.scope import Arrival, Scope, ScopeKind
from expunge.ports import Index, Offsets, Tenure, Topics
from expunge.roles.common import late_messages, plan_part, rejection, suppress_message, task_message
from expunge.roles.coordinator import commands, retrainings
from expunge.roles.coordinator.aggregates import ledger_fact
from expunge.roles.dead_letters import DeadLetters
from expunge.roles.exclusions import left_out
from expunge.wire.cases.case import Continue, LateAsset, Receipted, Reconsider, Root
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.suppression import PurposeWord, Suppress
from expunge.wire.cases.table import TYPE_OF, CaseMessage
from expunge.wire.tasks import HoldAsked, Task, TaskKind, later_marks, pack, task_id

SOURCE = "/expunge/coordinator"
PERSON_BYTES = 80
"""A pseudonym with the names of its fields in JSON; its namespace comes on top."""
ROOT_TYPE = "expunge.plan.root.v1"
CLAIMS_TYPE = "expunge.plan.claims.v1"
POLICY_TYPE = "expunge.plan.policy.v1"


@dataclass(slots=True, repr=False)
class Waves:
    """Messages in the order in which they must become durable."""

    first: list[Outgoing] = field(default_factory=list)
    last: list[Outgoing] = field(default_factory=list)

    def take(self, others: Waves) -> None:
        """Add what another part of the work leads to."""
        self.first += others.first
        self.last += others.last

    @property
    def size(self) -> int:
        """How many messages there are."""
        return len(self.first) + len(self.last)

    def all(self) -> tuple[tuple[Outgoing, ...], ...]:
        """The waves that hold something."""
        return tuple(tuple(wave) for wave in (self.first, self.last) if wave)


class Bodies(Protocol):
    """Where the emitter finds what a decision only names."""

    def root(self, case_id: str) -> Root:
        """What a case was opened with."""

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk."""


@dataclass(frozen=True, slots=True, repr=False)
class _Cause:
    """The message that led to a decision, from which every output has its id."""

    record: Record
    event: CloudEvent
    at: int
    """Which of the decision's outputs."""

    @property
    def appended_ms(self) -> int:
        return millis(self.record.appended_at)

    def place(self, case_id: str) -> tuple[int, tuple[int, int, str]]:
        """The partition, and what rises in it with everything that its cases say."""
        position = self.record.position
        return self.record.partition, (position.leader_epoch, position.offset, case_id)

    def output(self, kind: str, *content: str | int) -> str:
        return name(self.event.source, self.event.id, kind, *content)


FIRST = (
    WriteRoot,
    StartTask,
    SendCommand,
    WithdrawCommand,
    Reschedule,
    LookIntoHolds,
    LookIntoReplacement,
    WriteClaims,
)
"""What facts and confirmations speak of; and all that is said to one aggregate, or it would be overtaken."""


class Emitter:
    """Makes the messages of a decision."""

    def __init__(self, door: Door, index: Index, topics: Topics, dead: DeadLetters, tenure: Tenure) -> None:
        self._door, self._index, self._topics, self._dead, self._tenure = door, index, topics, dead, tenure

    def emit(
        self,
        bodies: Bodies,
        decision: Decision,
        message: CaseMessage,
        record: Record,
        event: CloudEvent,
        waves: Waves,
        *,
        case_id: str = "",
    ) -> None:
        """Append a decision's messages to the waves."""
        case_id = case_id or getattr(message, "case_id", "")
        for at, effect in enumerate(decision.effects):
            first = isinstance(effect, FIRST)
            made = self._make(bodies, decision, effect, message, _Cause(record, event, at), case_id)
            (waves.first if first else waves.last).extend(made)
        if decision.case is not None:
            case = decision.case
            waves.last.extend(
                ledger_fact(case.case_id, case.policy, sequence, fact, record, case.now)
                for sequence, fact in decision.facts
            )

    def _make(  # noqa: C901, PLR0911, PLR0912 - a table of effects
        self,
        bodies: Bodies,
        decision: Decision,
        effect: Effect,
        message: CaseMessage,
        cause: _Cause,
        case_id: str,
    ) -> list[Outgoing]:
        now, root = cause.record.appended_at, partial(bodies.root, case_id)
        match effect:
            case WriteRoot(opened):
                return [self._part(case_id, "root", ROOT_TYPE, opened.model_dump(mode="json"), cause)]
            case SuppressAgain():
                return suppress(root(), now)
            case StartTask():
                return [self._task(bodies, decision, effect, case_id, cause)]
            case SendCommand(chunk, attempt) if chunk.pooled:
                if decision.case is None:
                    raise RuntimeError("emissions: a command without a case")
                voice, opened = self._voice(bodies, case_id, chunk, cause), root()
                models = self._door.policies.of(opened.policy).models
                return [voice.join(chunk, attempt, decision.case, models, commands.weight(voice.body, opened))]
            case WithdrawCommand(chunk, _) if chunk.pooled:
                return [self._voice(bodies, case_id, chunk, cause).leave(chunk, root().policy)]
            case Reschedule():
                return [retrainings.reschedule(effect, case_id, cause.record, cause.event, cause.at)]
            case SendCommand(chunk, attempt):
                body = bodies.body(case_id, chunk.summary.digest)
                opened = root()
                least, _ = self._door.policies.of(opened.policy).minimum_grade(body.kind, opened.regime)
                return [commands.command(chunk, attempt, body, opened, decision.case, least, now)]
            case WithdrawCommand(chunk, reason):
                told = (chunk.command_id, case_id, chunk.summary.system, chunk.attempt)
                return [commands.withdrawal(*told, reason, now)]
            case LookIntoHolds():
                return [self._look(effect, root(), decision, now)]
            case LookIntoReplacement():
                return [self._look_at(root(), effect, now)]
            case AskRate():
                return [_ask_rate(effect, case_id, cause)]
            case LeaveRate(rate, group, places):
                partition, spoken = cause.place(case_id)
                gone = RateLeft(rate=rate, partition=partition, cause=spoken, group=group, places=places)
                return [_to_rate(gone, cause, case_id)]
            case ReconsiderOn(word, after, serial):
                again = Reconsider(case_id=case_id, word=word, after=after, serial=serial)
                return [_to_itself(again, cause, case_id, word, after)]
            case SuppressNoLonger():
                return suppress(root(), now, taken_back=True)
            case WriteClaims(chunk, sequence):
                said = message.model_dump(mode="json", exclude_defaults=True) if isinstance(message, Receipted) else {}
                return [self._part(case_id, f"claims:{chunk}:{sequence}", CLAIMS_TYPE, said, cause)]
            case NoteAnswers():
                return self._note_answers(bodies.root(case_id), bodies.body(case_id, effect.chunk), effect, cause)
            case Confirm(milestone, data):
                return [_confirmation(decision, milestone, data, cause)]
            case Reject(refused, reason):
                return self._reject(refused, reason, cause)
            case SetAside(place, content, reason):
                return [self._dead.at(place, reason, content, cause.record.appended_at)]
            case ContinueStage(generation, stage):
                go_on = Continue(case_id=case_id, generation=generation, stage=stage)
                return [_to_itself(go_on, cause, generation, stage)]

    def _part(self, case_id: str, part: str, kind: str, data: dict[str, Any], cause: _Cause) -> Outgoing:
        event = Event(kind, SOURCE, name(kind, case_id, part), cause.record.appended_at, data)
        return plan_part(self._topics, case_id, part, event)

    def _task(self, bodies: Bodies, decision: Decision, start: StartTask, case_id: str, cause: _Cause) -> Outgoing:
        root = bodies.root(case_id)
        roots = start.kind is TaskKind.ROOTS
        case = decision.case
        if case is None:
            raise RuntimeError("emissions: a task without a case")
        task = Task(
            case_id=case_id,
            task_id=start.task_id,
            generation=start.generation,
            kind=start.kind,
            scope=_scope(root, case, named=roots or start.kind is TaskKind.CONTAINERS),
            regime=root.regime,
            policy=case.policy,
            nodes=start.nodes,
            returned=start.returned,
            watermark=case.watermark if roots else {},
            people_bytes=self._people_bytes(root),
            force=start.force or not roots,
            found=start.found,
            system=start.system,
        )
        if start.found:
            named = {self._door.keys.asset(each.asset): Arrival.THROUGH for each in start.found}
            task = task.model_copy(update={"nodes": pack(named)})
        return task_message(task, cause.record.appended_at, SOURCE)

    def _look(self, look: LookIntoHolds, root: Root, decision: Decision, now: datetime) -> Outgoing:
        if decision.case is None:
            raise RuntimeError("emissions: holds without a case")
        asked = (*look.chunks, *(hold.hold_id for hold in look.holds))
        identity = task_id(root.case_id, "holds", look.after, int(look.force), *asked)
        watermark: Offsets = {}
        for hold in look.holds:
            watermark = later_marks(watermark, hold.watermark)
        task = Task(
            case_id=root.case_id,
            task_id=identity,
            generation=1,
            kind=TaskKind.HOLDS,
            scope=_scope(root, decision.case, named=False),
            regime=root.regime,
            policy=root.policy,
            chunks=look.chunks,
            holds=tuple(HoldAsked(hold_id=hold.hold_id, scope=hold.scope) for hold in look.holds),
            number=look.holds[-1].number,
            after=look.after,
            watermark=watermark,
            force=look.force,
        )
        return task_message(task, now, SOURCE)

    def _look_at(self, root: Root, look: LookIntoReplacement, now: datetime) -> Outgoing:
        task = Task(
            case_id=root.case_id,
            task_id=task_id(root.case_id, "replacement", look.chunk, look.replacement, look.looks),
            generation=1,
            kind=TaskKind.REPLACEMENT,
            scope=root.scope.model_copy(update={"assets": ()}),
            regime=root.regime,
            policy=root.policy,
            node=look.replacement,
            chunks=(look.chunk,),
            made_after_ms=look.made_after_ms,
            force=True,
        )
        return task_message(task, now, SOURCE)

    def _voice(self, bodies: Bodies, case_id: str, chunk: ChunkState, cause: _Cause) -> retrainings.Voice:
        body = bodies.body(case_id, chunk.summary.digest)
        return retrainings.Voice(
            case_id, body, self._door.keys.asset(body.assets[0]), cause.record, cause.event, cause.at
        )

    def _people_bytes(self, root: Root) -> dict[str, int]:
        plain = sum(PERSON_BYTES + len(subject.namespace or "") for subject in root.scope.subjects)
        return {system.name: plain for system in self._door.registry.systems} if plain else {}

    def _note_answers(self, root: Root, chunk: Chunk, said: NoteAnswers, cause: _Cause) -> list[Outgoing]:
        """What a receipt means for marks; what was stated again before the receipt was known has come back."""
        key = self._door.keys.asset
        self._mark_clean(root, chunk, [key(asset) for asset in said.clean], cause)
        returned = self._set_state(root.case_id, map(key, said.gone), MarkState.GONE, said.at_ms)
        late = {node: LateAsset(key=node.hex(), arrival=Arrival.THROUGH, returned=said.at_ms + 1) for node in returned}
        return list(late_messages(root.case_id, late, cause.record.appended_at, SOURCE))

    def _set_state(self, case_id: str, nodes: Iterable[bytes], state: MarkState, since_ms: int) -> list[bytes]:
        found = list(nodes)
        return self._index.set_state(case_id, found, state, since_ms, self._tenure.until_ms()) if found else []

    def _mark_clean(self, root: Root, chunk: Chunk, nodes: Sequence[bytes], cause: _Cause) -> None:
        """Only what was told to leave out all that is known by now is clean; a newer command may be under way."""
        told = {self._door.keys.asset(asset) for asset in chunk.excluded}

        def clean(node: bytes, row: Row | None) -> bool:
            found = left_out(self._index, self._door.keys, root.case_id, root.scope, node, row)
            return not found.cut and told.issuperset(found.others)

        found = [node for node, row in zip(nodes, self._index.rows(nodes), strict=True) if clean(node, row)]
        self._set_state(root.case_id, found, MarkState.CLEAN, cause.appended_ms)

    def _reject(self, root: Root, reason: str, cause: _Cause) -> list[Outgoing]:
        data = {"source": root.source, "id": root.event_id, "request_id": root.request_id, "reason": reason}
        told = rejection(
            root.publisher, key=root.case_id, time=cause.record.appended_at, data=data | root.place.model_dump()
        )
        return [told, self._dead.at(root.place, reason, root.content, cause.record.appended_at)]


def policy_part(topics: Topics, policy: Policy, time: datetime) -> Outgoing:
    """A policy on `plans`, before anything is decided under it: a rebuild finds there what cases are bound to."""
    data = {"policy": policy.digest, "rules": policy.model_dump(mode="json")}
    event = Event(POLICY_TYPE, SOURCE, name(POLICY_TYPE, policy.digest), time, data)
    return Outgoing("plans", f"policy:{policy.digest}", event, partition_of(policy.digest, topics.partitions("plans")))


def _scope(root: Root, case: Case, *, named: bool) -> Scope:
    """What a task is about; the withdrawn assets where they are `named`. Grants change what the case reaches."""
    return root.scope.model_copy(update={"granted": case.granted} | ({} if named else {"assets": ()}))


def suppress(root: Root, time: datetime, *, taken_back: bool = False) -> list[Outgoing]:
    """Words for the suppressions of a request, each to the aggregate that decides on it (rule "suppressions")."""
    scope, at_ms = root.scope, millis(root.received_at)
    word: Literal["cancelled", "revoked"] = "cancelled" if taken_back else "revoked"
    words = tuple(
        PurposeWord(purpose=purpose, at_ms=at_ms, word=word, until=scope.until, case_id=root.case_id)
        for purpose in scope.purposes or (RESTRICTED if scope.kind is ScopeKind.RESTRICTION else EVERYTHING,)
    )
    people = [Suppress(suppression=key, words=words) for key in root.suppressions]
    sources = [Suppress(suppression=source_key(name), data_source=name, words=words) for name in scope.data_sources]
    return [suppress_message(each, time, SOURCE) for each in (*people, *sources)]


def _ask_rate(ask: AskRate, case_id: str, cause: _Cause) -> Outgoing:
    partition, spoken = cause.place(case_id)
    asked = RateAsked(
        rate=rate_id(ask.of),
        partition=partition,
        cause=spoken,
        of=ask.of,
        case_id=case_id,
        generation=ask.generation,
        obligations=ask.obligations,
        limits=ask.limits,
    )
    return _to_rate(asked, cause, case_id, ask.generation)


def _to_rate(message: RateAsked | RateLeft, cause: _Cause, *content: str | int) -> Outgoing:
    """What a case says to the one process that counts for its publisher or system."""
    kind = TYPE_OF[type(message)]
    identity = cause.output(kind, message.rate, *content)
    event = Event(kind, SOURCE, identity, cause.record.appended_at, message.model_dump(mode="json"))
    return Outgoing("cases", message.rate, event)


def _to_itself(message: Continue | Reconsider, cause: _Cause, *content: str | int) -> Outgoing:
    """The coordinator's message to itself, behind whatever waits."""
    kind = TYPE_OF[type(message)]
    event = Event(kind, SOURCE, cause.output(kind, *content), cause.record.appended_at, message.model_dump())
    return Outgoing("cases", message.case_id, event)


def _confirmation(decision: Decision, milestone: str, data: dict[str, Any], cause: _Cause) -> Outgoing:
    case = decision.case
    if case is None:
        raise RuntimeError("emissions: a confirmation without a case")
    kind = f"expunge.case.{milestone}.v1"
    identity = cause.output(kind, case.case_id, str(data.get("plan_digest")))
    return Outgoing(
        f"confirmations.{case.publisher}",
        case.case_id,
        Event(kind, SOURCE, identity, case.now, data),
    )
