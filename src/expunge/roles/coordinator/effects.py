"""From what cases ask for to messages: commands, tasks, confirmations, parts of `plans`; and notes on marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case import effects as effect
from expunge.domain.aggregates.case.decide import CaseDecision
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.aggregates.suppression import EVERYTHING, RESTRICTED, source_key
from expunge.domain.digest import digest, name
from expunge.domain.events import Event, Outgoing, millis
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.row import Row
from expunge.domain.planning.chunks import Chunk, encoded
from expunge.domain.scope import Arrival, Scope, ScopeKind
from expunge.ports import Gone, Index, Tenure, Topics
from expunge.roles.common import COORDINATOR, late_messages, plan_part, rejection, suppress_message, task_message
from expunge.roles.coordinator import commands, probes
from expunge.roles.coordinator.cause import Cause, Waves
from expunge.roles.coordinator.view import View
from expunge.roles.dead_letters import DeadLetters
from expunge.roles.exclusions import left_out
from expunge.wire.cases.case import Continue, ForgetGoesOn, LateAsset, ProbeGoesOn, Receipted, Reconsider, Root
from expunge.wire.cases.rate import RateAsked, RateLeft
from expunge.wire.cases.retraining import JoinAsked, LeaveAsked, Member, ScheduleAsked, retraining_id
from expunge.wire.cases.suppression import PurposeWord, Suppress
from expunge.wire.cases.table import CaseMessage
from expunge.wire.commands import COMMANDED
from expunge.wire.forgotten import FORGOTTEN, KeyedChunk, in_parts
from expunge.wire.tasks import HoldAsked, Task, TaskKind, later_marks, pack, task_id

PERSON_BYTES = 80
"""A pseudonym with the names of its fields in JSON; its namespace comes on top."""
ROOT_TYPE = "expunge.plan.root.v1"
CLAIMS_TYPE = "expunge.plan.claims.v1"

FIRST = (
    effect.WriteRoot,
    effect.StartTask,
    effect.SendCommand,
    effect.WithdrawCommand,
    effect.AskProber,
    effect.ProbeOn,
    effect.Reschedule,
    effect.LookIntoHolds,
    effect.LookIntoReplacement,
    effect.WriteClaims,
    effect.KeepKeys,
    effect.ForgetOn,
    effect.Forget,
)
"""What facts and confirmations speak of; and all that is said to one aggregate, or it would be overtaken."""


@dataclass(frozen=True, slots=True, repr=False)
class Told:
    """A decision whose effects are being carried out."""

    view: View
    case_id: str
    decision: CaseDecision
    message: CaseMessage
    cause: Cause
    at: int
    """Which of the effects."""

    @property
    def case(self) -> Case:
        """The case after the decision."""
        if self.decision.state is None:
            raise RuntimeError("effects: of a case that is not there")
        return self.decision.state

    @property
    def root(self) -> Root:
        """What the case was opened with."""
        return self.view.root(self.case_id)

    def body(self, chunk: str) -> Chunk:
        """The targets of a chunk."""
        return self.view.chunks.body(self.case_id, chunk)

    def said(self) -> dict[str, Any]:
        """To the aggregate of a model: from which partition, and what rises with all that is said from there."""
        partition, said_at = self.cause.said_at(f"{self.case_id}{self.at:06d}")
        return {"partition": partition, "cause": said_at}


class Effects:
    """Carries out what decisions of cases ask for."""

    def __init__(self, door: Door, index: Index, topics: Topics, dead: DeadLetters, tenure: Tenure) -> None:
        self._door, self._index, self._topics, self._dead, self._tenure = door, index, topics, dead, tenure
        self._table: dict[type[Any], Callable[[Any, Told], Iterable[Outgoing]]] = {
            effect.WriteRoot: self._write_root,
            effect.StartTask: self._start_task,
            effect.SendCommand: self._send,
            effect.WithdrawCommand: self._withdraw,
            effect.AskProber: _ask_prober,
            effect.ProbeOn: _probe_on,
            effect.Reschedule: _reschedule,
            effect.LookIntoHolds: _look_into_holds,
            effect.LookIntoReplacement: _look_into_replacement,
            effect.WriteClaims: self._write_claims,
            effect.NoteAnswers: self._note_answers,
            effect.KeepKeys: self._keep_keys,
            effect.ForgetOn: _forget_on,
            effect.Forget: self._forget,
            effect.AskRate: _ask_rate,
            effect.LeaveRate: _leave_rate,
            effect.ReconsiderOn: _reconsider_on,
            effect.ContinueStage: _continue_stage,
            effect.SuppressAgain: lambda _, told: self._suppress(told),
            effect.SuppressNoLonger: lambda _, told: self._suppress(told, taken_back=True),
            effect.Confirm: _confirm,
            effect.Reject: self._reject,
            effect.TellRejected: _tell_rejected,
            SetAside: lambda asked, told: [self._dead.set_aside(asked, told.cause.at)],
        }

    def carry_out(
        self, view: View, case_id: str, decision: CaseDecision, message: CaseMessage, cause: Cause, waves: Waves
    ) -> None:
        """Append a decision's messages to the waves: its effects, then its facts."""
        for at, asked in enumerate(decision.effects):
            made = self._table[type(asked)](asked, Told(view, case_id, decision, message, cause, at))
            (waves.first if isinstance(asked, FIRST) else waves.last).extend(made)
        if decision.state is not None:
            case = decision.state
            waves.facts[case.case_id] += cause.facts(case.case_id, case.policy, decision.facts, case.now)

    def _part(self, part: str, kind: str, data: dict[str, Any], told: Told) -> list[Outgoing]:
        event = Event(kind, COORDINATOR, name(kind, told.case_id, part), told.cause.at, data)
        return [plan_part(self._topics, told.case_id, part, event)]

    def _write_root(self, asked: effect.WriteRoot, told: Told) -> list[Outgoing]:
        return self._part("root", ROOT_TYPE, asked.root.model_dump(mode="json"), told)

    def _write_claims(self, asked: effect.WriteClaims, told: Told) -> list[Outgoing]:
        said = (
            told.message.model_dump(mode="json", exclude_defaults=True) if isinstance(told.message, Receipted) else {}
        )
        return self._part(f"claims:{asked.chunk}:{asked.sequence}", CLAIMS_TYPE, said, told)

    def _keep_keys(self, asked: effect.KeepKeys, told: Told) -> Iterator[Outgoing]:
        """Chunks by the keys of their targets."""
        chunks = [chunk for digest in asked.chunks if (chunk := told.view.chunks.chunk(told.case_id, digest))]
        keyed = [KeyedChunk.of(told.body(c.summary.digest), c.answers, self._door.keys.asset) for c in chunks]
        for part in in_parts(told.case_id, keyed):
            yield from self._part(part.part, FORGOTTEN, part.model_dump(mode="json", exclude_defaults=True), told)

    def _forget(self, asked: effect.Forget, told: Told) -> list[Outgoing]:
        """What the case was opened with stays without names beside the whole of it, which is swept away later.

        Each of its systems hears which commands it need not remember. See rule "forgotten".
        """
        keys = self._door.keys
        root = told.root.without_names(keys.asset).renamed(keys.risen)
        chunks = [chunk for digest in asked.chunks if (chunk := told.view.chunks.chunk(told.case_id, digest))]
        dismissed = list(commands.forgotten(told.case_id, chunks, told.cause.at))
        told.view.forget(root, asked.chunks)
        return [*self._part("root:forgotten", ROOT_TYPE, root.model_dump(mode="json"), told), *dismissed]

    def _start_task(self, start: effect.StartTask, told: Told) -> list[Outgoing]:
        root, roots = told.root, start.kind is TaskKind.ROOTS
        found = {self._door.keys.asset(each.asset): Arrival.THROUGH for each in start.found}
        people = sum(PERSON_BYTES + len(subject.namespace or "") for subject in root.scope.subjects)
        task = Task(
            case_id=told.case_id,
            task_id=start.task_id,
            generation=start.generation,
            kind=start.kind,
            scope=_scope(told, named=roots or start.kind is TaskKind.CONTAINERS),
            regime=root.regime,
            policy=told.case.policy,
            nodes=pack(found) if found else start.nodes,
            returned=start.returned,
            watermark=told.case.watermark if roots else {},
            people_bytes={system.name: people for system in self._door.registry.systems} if people else {},
            force=start.force or not roots,
            found=start.found,
            system=start.system,
            forgotten=told.case.forgotten,
        )
        return [task_message(task, told.cause.at, COORDINATOR)]

    def _send(self, asked: effect.SendCommand, told: Told) -> list[Outgoing]:
        """A command; one that is one with those of other cases goes to the aggregate of the model."""
        chunk, root, body = asked.chunk, told.root, told.body(asked.chunk.summary.digest)
        policy = self._door.policies.of(root.policy)
        if not chunk.pooled:
            least, _ = policy.minimum_grade(body.kind, root.regime)
            return [commands.command(chunk, asked.attempt, body, root, told.case, least, told.cause.at)]
        due_at = told.case.due_of(chunk.summary.provision)
        member = Member(
            case_id=told.case_id,
            chunk=chunk.summary.digest,
            command_id=chunk.command_id,
            attempt=asked.attempt,
            begin_by=policy.models.begin_by(told.case.now, due_at),
            due_at=due_at,
            latest=due_at - timedelta(hours=policy.models.needs_hours),
            heard=chunk.receipt[1],
            excludes=digest("excluded", *body.excluded).hex(),
            excluded=len(body.excluded),
            excluded_bytes=sum(map(encoded, body.excluded)),
            people_bytes=commands.weight(body, root),
        )
        joined = JoinAsked(**self._to_model(body, told), system=body.system, policy=told.case.policy, member=member)
        return [told.cause.say(joined, joined.key, joined.cause[2])]

    def _withdraw(self, asked: effect.WithdrawCommand, told: Told) -> list[Outgoing]:
        chunk = asked.chunk
        if not chunk.pooled:
            about = (chunk.command_id, told.case_id, chunk.summary.system, chunk.attempt)
            return [commands.withdrawal(*about, asked.reason, told.cause.at)]
        body = told.body(chunk.summary.digest)
        mine = {"case_id": told.case_id, "command_id": chunk.command_id, "attempt": chunk.attempt}
        left = LeaveAsked(**self._to_model(body, told), system=body.system, policy=told.root.policy, **mine)
        return [told.cause.say(left, left.key, left.cause[2])]

    def _to_model(self, body: Chunk, told: Told) -> dict[str, Any]:
        return {"retraining": retraining_id(body.system, self._door.keys.asset(body.assets[0])), **told.said()}

    def _note_answers(self, said: effect.NoteAnswers, told: Told) -> list[Outgoing]:
        """What a receipt means for marks. What is gone waits until the batch has been decided on (`settle`)."""
        key, body, made = self._door.keys.asset, told.body(said.chunk), list[Outgoing]()
        if said.clean:
            made += self.settle(told.view)
            self._mark_clean(told, body, [key(asset) for asset in said.clean])
        if said.gone:
            told.view.gone.append((Gone(told.case_id, [key(asset) for asset in said.gone], said.at_ms), told.cause.at))
        return made

    def settle(self, view: View) -> list[Outgoing]:
        """Mark what is gone; what was stated again before its receipt was known has come back."""
        gone, view.gone = view.gone, []
        answers = self._index.set_gone([each for each, _ in gone], self._tenure.until_ms()) if gone else []
        made: list[Outgoing] = []
        for (each, at), returned in zip(gone, answers, strict=True):
            back = {n: LateAsset(key=n.hex(), arrival=Arrival.THROUGH, returned=each.since_ms + 1) for n in returned}
            made += late_messages(each.case_id, back, at, COORDINATOR)
        return made

    def _mark_clean(self, told: Told, chunk: Chunk, nodes: Sequence[bytes]) -> None:
        """Only what was told to leave out all that is known by now is clean; a newer command may be under way."""
        excluded = {self._door.keys.asset(asset) for asset in chunk.excluded}

        def is_clean(node: bytes, row: Row | None) -> bool:
            found = left_out(self._index, self._door.keys, told.case_id, told.root.scope, node, row)
            return not (found.cut or found.unnamed) and excluded.issuperset(found.others)

        clean = [node for node, row in zip(nodes, self._index.rows(nodes), strict=True) if is_clean(node, row)]
        if clean:
            lease = self._tenure.until_ms()
            self._index.set_state(told.case_id, clean, MarkState.CLEAN, told.cause.at_ms, lease)

    def _suppress(self, told: Told, *, taken_back: bool = False) -> list[Outgoing]:
        end = self._door.policies.of(told.root.policy).retention.suppressed_until(told.root.received_at)
        return suppress(told.root, told.cause, millis(end) if end else 0, taken_back=taken_back)

    def _reject(self, asked: effect.Reject, told: Told) -> list[Outgoing]:
        root, now = asked.root, told.cause.at
        data = {"source": root.source, "id": root.event_id, "request_id": root.request_id, "reason": asked.reason}
        said = rejection(root.publisher, key=root.case_id, time=now, data=data | root.place.model_dump())
        return [said, self._dead.set_aside(SetAside(root.place, root.content, asked.reason), now)]


def _scope(told: Told, *, named: bool) -> Scope:
    """What a task is about; the withdrawn assets where they are `named`. Grants change what the case reaches."""
    return told.root.scope.model_copy(update={"granted": told.case.granted} | ({} if named else {"assets": ()}))


def _look_into_holds(look: effect.LookIntoHolds, told: Told) -> list[Outgoing]:
    asked, watermark = (*look.chunks, *(hold.hold_id for hold in look.holds)), dict[str, dict[str, int]]()
    for hold in look.holds:
        watermark = later_marks(watermark, hold.watermark)
    task = Task(
        case_id=told.case_id,
        task_id=task_id(told.case_id, "holds", look.after, int(look.force), *asked),
        generation=1,
        kind=TaskKind.HOLDS,
        scope=_scope(told, named=False),
        regime=told.root.regime,
        policy=told.root.policy,
        chunks=look.chunks,
        holds=tuple(HoldAsked(hold_id=hold.hold_id, scope=hold.scope) for hold in look.holds),
        number=look.holds[-1].number,
        after=look.after,
        watermark=watermark,
        force=look.force,
    )
    return [task_message(task, told.cause.at, COORDINATOR)]


def _look_into_replacement(look: effect.LookIntoReplacement, told: Told) -> list[Outgoing]:
    task = Task(
        case_id=told.case_id,
        task_id=task_id(told.case_id, "replacement", look.chunk, look.replacement, look.looks),
        generation=1,
        kind=TaskKind.REPLACEMENT,
        scope=told.root.scope.model_copy(update={"assets": ()}),
        regime=told.root.regime,
        policy=told.root.policy,
        node=look.replacement,
        chunks=(look.chunk,),
        made_after_ms=look.made_after_ms,
        force=True,
    )
    return [task_message(task, told.cause.at, COORDINATOR)]


def suppress(root: Root, cause: Cause, ends_ms: int, *, taken_back: bool = False) -> list[Outgoing]:
    """Words for the suppressions of a request, each to the aggregate that decides on it (rule "suppressions").

    What policy lets end is that a person must not be collected: no restriction, and no data source.
    """
    scope, at_ms = root.scope, millis(root.received_at)
    word: Literal["cancelled", "revoked"] = "cancelled" if taken_back else "revoked"
    words = tuple(
        PurposeWord(purpose=purpose, at_ms=at_ms, word=word, until=scope.until, case_id=root.case_id)
        for purpose in scope.purposes or (RESTRICTED if scope.kind is ScopeKind.RESTRICTION else EVERYTHING,)
    )
    ends = 0 if scope.kind is ScopeKind.RESTRICTION else ends_ms
    said = tuple(word.model_copy(update={"ends_ms": ends}) for word in words)
    people = [Suppress(suppression=key, words=said) for key in root.suppressions]
    sources = [Suppress(suppression=source_key(name), data_source=name, words=words) for name in scope.data_sources]
    return [suppress_message(each, cause.at, COORDINATOR) for each in (*people, *sources)]


def _ask_rate(ask: effect.AskRate, told: Told) -> list[Outgoing]:
    partition, said_at = told.cause.said_at(told.case_id)
    asked = RateAsked(
        partition=partition, cause=said_at, case_id=told.case_id, generation=ask.generation, asks=ask.asks
    )
    return [told.cause.say(asked, told.case_id, ask.generation)]


def _leave_rate(asked: effect.LeaveRate, told: Told) -> list[Outgoing]:
    partition, said_at = told.cause.said_at(told.case_id)
    left = RateLeft(rate=asked.rate, partition=partition, cause=said_at, group=asked.group, places=asked.places)
    return [told.cause.say(left, left.rate, told.case_id)]


def _reschedule(asked: effect.Reschedule, told: Told) -> list[Outgoing]:
    """An operator's word about when a model is made anew for a case."""
    word = (*asked.word[0].model_dump().values(), asked.word[1]) if asked.word else None
    key = retraining_id(asked.system, bytes.fromhex(asked.model))
    said = {"case_id": told.case_id, "begin_by": asked.begin_by, "word": word}
    scheduled = ScheduleAsked(retraining=key, **told.said(), **said)
    return [told.cause.say(scheduled, key, scheduled.cause[2])]


def _reconsider_on(asked: effect.ReconsiderOn, told: Told) -> list[Outgoing]:
    """The coordinator's message to itself, behind whatever waits."""
    again = Reconsider(case_id=told.case_id, word=asked.word, after=asked.after, serial=asked.serial)
    return [told.cause.say(again, told.case_id, asked.word, asked.after)]


def _forget_on(asked: effect.ForgetOn, told: Told) -> list[Outgoing]:
    go_on = ForgetGoesOn(case_id=told.case_id, after=asked.after, serial=asked.serial, holds=asked.holds)
    return [told.cause.say(go_on, asked.after, asked.serial, asked.holds)]


def _ask_prober(asked: effect.AskProber, told: Told) -> list[Outgoing]:
    body = told.body(asked.chunk.summary.digest)
    return [probes.question(asked.chunk, body, told.root, asked.answer_by, told.cause.at)]


def _probe_on(asked: effect.ProbeOn, told: Told) -> list[Outgoing]:
    go_on = ProbeGoesOn(case_id=told.case_id, number=asked.number, after=asked.after, passed=asked.passed)
    return [told.cause.say(go_on, asked.number, asked.after)]


def _continue_stage(asked: effect.ContinueStage, told: Told) -> list[Outgoing]:
    go_on = Continue(case_id=told.case_id, generation=asked.generation, stage=asked.stage)
    return [told.cause.say(go_on, asked.generation, asked.stage)]


def _confirm(asked: effect.Confirm, told: Told) -> list[Outgoing]:
    case, kind = told.case, f"expunge.case.{asked.milestone}.v1"
    identity = told.cause.output(kind, case.case_id, str(asked.said.plan_digest))
    event = Event(kind, COORDINATOR, identity, case.now, asked.said.data())
    return [Outgoing(f"confirmations.{case.publisher}", case.case_id, event)]


def _tell_rejected(asked: effect.TellRejected, told: Told) -> list[Outgoing]:
    return [rejection(asked.publisher, key=told.case_id, time=told.cause.at, data=asked.rejection)]


def is_command(event: Event | None) -> bool:
    """Whether an event tells a system to purge something."""
    return event is not None and event.type == COMMANDED
