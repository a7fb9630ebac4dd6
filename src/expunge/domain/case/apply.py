"""`apply`: the facts of a case, replayed one after the other, give its state back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from expunge.domain.case.apply_chunk import APPLY, Chunks, recount
from expunge.domain.case.chunks import LETTERS, ChunkState
from expunge.domain.case.facts import (
    AwaitsApproval,
    CancelAsked,
    Closed,
    Decided,
    Extended,
    Fact,
    GraceBegun,
    GraceEnded,
    Happened,
    IndexApplied,
    IndexChanged,
    LateHeld,
    NothingFound,
    Opened,
    Overdue,
    PlanApproved,
    PlanFixed,
    PlanRejected,
    ProvisionEnded,
    Purged,
    PurposeGranted,
    RateCleared,
    RatesAsked,
    RateWaits,
    Reconsidering,
    Reopened,
    StageEnded,
    StageStarted,
    TaskAnswered,
    Thawed,
    WalkAnnounced,
    WalkWaits,
    Warned,
    WatermarkRaised,
)
from expunge.domain.case.messages import Root
from expunge.domain.case.state import Case, Deadline, Generation
from expunge.domain.controls import Option
from expunge.domain.plan import ChunkSummary, command_id
from expunge.domain.task import task_id
from expunge.domain.vocabulary import OPEN, OVER, Action, Claim, Status


def open_case(fact: Opened, root: Root, now: datetime) -> Case:
    """The state after the first fact; what may not stand in the ledger comes from the root part in `plans`."""
    return Case(
        case_id=root.case_id,
        request_id=root.request_id,
        source=root.source,
        publisher=fact.publisher,
        policy=root.policy,
        scope=fact.scope,
        regime=fact.regime,
        received_at=fact.received_at,
        clamped=fact.clamped,
        clock=fact.clock,
        due_at=fact.due_at,
        warn_at=fact.warn_at,
        extendable_to=fact.extendable_to,
        extended_warn_at=fact.extended_warn_at,
        deadlines=tuple(Deadline(provision=provision, due_at=due_at) for provision, due_at in fact.provisions),
        opened_at=now,
        dry_run=fact.dry_run,
        correlation_id=root.correlation_id,
        batch=root.batch,
        content=root.content,
        now=now,
        sequence=1,
        watermark=root.watermark,
        until=root.scope.until,
    )


def apply(case: Case, chunks: Chunks, fact: Fact) -> tuple[Case, Chunks]:
    """The state after one more fact: the case, and the chunks that the fact changed.

    Args:
        case: the state before.
        chunks: at least the chunks that the fact names.
        fact: any but `Opened`, which is `open_case`'s.
    """
    changed = _APPLY[type(fact)](case, chunks, fact)
    after, touched = changed if isinstance(changed, tuple) else (changed, {})
    return after.model_copy(update={"sequence": case.sequence + 1}), touched


def _walk_announced(case: Case, _: Chunks, fact: WalkAnnounced) -> Case:
    if all(g.number != fact.generation for g in case.generations):
        begun = Generation(number=fact.generation, settles_at=fact.settles_at)
        case = case.model_copy(update={"generations": (*case.generations, begun)})
    generation = case.numbered(fact.generation)
    return case.with_generation(
        fact.generation,
        announced=generation.announced | set(fact.tasks),
        pending={key: returned for key, returned in generation.pending.items() if key not in fact.sealed},
    )


def _walk_waits(case: Case, _: Chunks, fact: WalkWaits) -> Case:
    return case.model_copy(update={"walk_retry_at": fact.retry_at, "walk_waits": case.walk_waits + 1})


def _task_answered(case: Case, _: Chunks, fact: TaskAnswered) -> tuple[Case, Chunks]:
    generation = case.numbered(fact.generation)
    new = {summary.digest: _new_chunk(case.case_id, fact.generation, summary) for summary in fact.chunks}
    sizes, unsettled = Counter(generation.sizes), Counter(generation.unsettled)
    for chunk in new.values():
        if chunk.commandable:
            sizes[chunk.summary.stage] += 1
            unsettled[chunk.summary.stage] += 1
    case = case.with_generation(
        fact.generation,
        announced=generation.announced | {fact.task} | set(fact.spawned),
        answered=generation.answered | ({fact.task} if fact.last else set()),
        pending=_pending(generation, fact),
        sizes=dict(sizes),
        unsettled=dict(unsettled),
        chunks=generation.chunks + len(new),
        obligations=generation.obligations + sum(summary.size for summary in fact.chunks),
        dues=_dues(case, generation, fact.chunks),
        counted=_counted(generation, fact.chunks),
    )
    if fact.population:
        case = case.model_copy(update={"population": dict(sorted(fact.population.items()))})
    if fact.task == task_id(case.case_id, "roots"):
        case = case.model_copy(update={"walk_retry_at": None})
    return recount(case, [], list(new.values())), new


def _dues(case: Case, generation: Generation, chunks: tuple[ChunkSummary, ...]) -> dict[int, datetime]:
    dues = dict(generation.dues)
    for summary in chunks:
        if summary.provision:
            due = case.due_of(summary.provision)
            dues[summary.stage] = min(dues.get(summary.stage, due), due)
    return dues


def _counted(generation: Generation, chunks: tuple[ChunkSummary, ...]) -> dict[str, dict[str, int]]:
    counts = {(system, kind): n for system, kinds in generation.counted.items() for kind, n in kinds.items()}
    for chunk in chunks:
        counts[chunk.system, chunk.kind.value] = counts.get((chunk.system, chunk.kind.value), 0) + chunk.size
    table: dict[str, dict[str, int]] = {}
    for (system, kind), number in sorted(counts.items()):
        table.setdefault(system, {})[kind] = number
    return table


def _pending(generation: Generation, fact: TaskAnswered) -> dict[str, int]:
    pending = dict(generation.pending)
    for key, returned in fact.containers:
        pending[key] = max(pending.get(key, 0), returned)
    return dict(sorted(pending.items()))


def _new_chunk(case_id: str, generation: int, summary: ChunkSummary) -> ChunkState:
    return ChunkState(
        summary=summary,
        generation=generation,
        command_id=command_id(case_id, generation, summary),
        answers=LETTERS[Claim.EXEMPT if summary.action is Action.EXEMPT else OPEN] * summary.size,
    )


def _plan_fixed(case: Case, _: Chunks, fact: PlanFixed) -> Case:
    case = case.with_generation(fact.generation, fixed=True, fixed_at=fact.at, plan_digest=fact.plan_digest)
    return _forward(case.model_copy(update={"held": ()}), Status.PLANNED)


def _late_held(case: Case, _: Chunks, fact: LateHeld) -> Case:
    known = {each.key: each for each in (*case.held, *fact.assets)}
    return case.model_copy(update={"held": tuple(known[key] for key in sorted(known))})


def _awaits_approval(case: Case, _: Chunks, fact: AwaitsApproval) -> Case:
    case = case.with_generation(fact.generation, approvals=fact.approvals, guard=fact.rules)
    return _forward(case, Status.AWAITING_APPROVAL)


def _plan_approved(case: Case, _: Chunks, fact: PlanApproved) -> Case:
    approved_by = (*case.numbered(fact.generation).approved_by, fact.operator)
    return _heard(case, fact.control).with_generation(fact.generation, approved_by=approved_by)


def _plan_rejected(case: Case, _: Chunks, fact: PlanRejected) -> Case:
    """What it had to do stays open; nobody will do it."""
    after = _heard(case, fact.control).with_generation(fact.generation, rejected=True, done=True)
    waits = any(each.awaiting for each in after.generations)
    return after if waits else _forward(after, Status.PURGING)


def _heard(case: Case, control: str) -> Case:
    return case.model_copy(update={"controls": tuple(sorted({*case.controls, control}))})


def _rates_asked(case: Case, _: Chunks, fact: RatesAsked) -> Case:
    return case.with_generation(fact.generation, rates=dict.fromkeys(fact.rates, (0, 0)))


def _rate_waits(case: Case, _: Chunks, fact: RateWaits) -> Case:
    generation = case.numbered(fact.generation)
    rates = {**generation.rates, fact.rate: (fact.group, fact.place)}
    guard = tuple(sorted({*generation.guard, *fact.rules}))
    return _forward(case.with_generation(fact.generation, rates=rates, guard=guard), Status.AWAITING_APPROVAL)


def _rate_cleared(case: Case, _: Chunks, fact: RateCleared) -> Case:
    rates = {rate: at for rate, at in case.numbered(fact.generation).rates.items() if rate != fact.rate}
    case = case.with_generation(fact.generation, rates=rates)
    return _heard(case, fact.control) if fact.control else case


def _nothing_found(case: Case, _: Chunks, fact: NothingFound) -> Case:
    kept = tuple(g for g in case.generations if g.number != fact.generation)
    return case.model_copy(update={"generations": kept, "held": ()})


def _stage_started(case: Case, _: Chunks, fact: StageStarted) -> Case:
    case = case.with_generation(fact.generation, stage=fact.stage, stage_ends_at=fact.ends_at)
    return _forward(case, Status.PURGING)


def _forward(case: Case, status: Status) -> Case:
    """A later generation does not take the case back to a state that it has passed."""
    order = (Status.RESOLVING, Status.PLANNED, Status.AWAITING_APPROVAL, Status.PURGING)
    ahead = case.status in order and order.index(status) > order.index(case.status)
    return case.model_copy(update={"status": status}) if ahead else case


def _stage_ended(case: Case, _: Chunks, fact: StageEnded) -> Case:
    return case.with_generation(fact.generation, stage_ends_at=None)


def _purged(case: Case, _: Chunks, fact: Purged) -> Case:
    return _forward(case.with_generation(fact.generation, done=True, stage_ends_at=None), Status.PURGING)


def _watermark_raised(case: Case, _: Chunks, fact: WatermarkRaised) -> Case:
    return case.model_copy(update={"watermark": fact.watermark})


def _index_applied(case: Case, _: Chunks, __: IndexApplied) -> Case:
    return case.model_copy(update={"watermark": {}})


def _index_changed(case: Case, _: Chunks, __: IndexChanged) -> Case:
    return case.model_copy(update={"index_changes": case.index_changes + 1})


def _purpose_granted(case: Case, _: Chunks, fact: PurposeGranted) -> Case:
    others = tuple(each for each in case.granted if each.purpose != fact.granted.purpose)
    return case.model_copy(update={"granted": (*others, fact.granted)})


def _warned(case: Case, _: Chunks, __: Warned) -> Case:
    return case.model_copy(update={"warned": True})


def _extended(case: Case, _: Chunks, fact: Extended) -> Case:
    case = _heard(case, fact.control)
    put_off = {"due_at": fact.due_at, "warn_at": fact.warn_at, "extended": True, "warned": False}
    return case.model_copy(update=put_off)


def _cancel_asked(case: Case, _: Chunks, fact: CancelAsked) -> Case:
    return _heard(case, fact.control).model_copy(update={"cancelling": True})


def _thawed(case: Case, _: Chunks, fact: Thawed) -> Case:
    return _heard(case, fact.control)


def _decided(case: Case, _: Chunks, fact: Decided) -> Case:
    case, field = _heard(case, fact.control), _SETTLED.get(fact.option)
    if field is None:
        return case
    return case.model_copy(update={field: tuple(sorted({*getattr(case, field), fact.system}))})


_SETTLED = {Option.ACCEPT_NOT_FOUND: "accepted", Option.EXEMPT: "exempted"}
"""Where systems are listed of which something was decided."""


def _happened(case: Case, _: Chunks, fact: Happened) -> Case:
    return case.model_copy(update={"happened": tuple(sorted({*case.happened, (fact.event, fact.system)}))})


def _grace_begun(case: Case, _: Chunks, fact: GraceBegun) -> Case:
    return case.model_copy(update={"grace_until": fact.until})


def _grace_ended(case: Case, _: Chunks, __: GraceEnded) -> Case:
    return case.model_copy(update={"grace_until": None})


def _reconsidering(case: Case, _: Chunks, fact: Reconsidering) -> Case:
    words = {word: serial for word, serial in case.reconsidering.items() if word != fact.word}
    words |= {} if fact.done else {fact.word: fact.serial}
    return case.model_copy(update={"reconsidering": dict(sorted(words.items()))})


def _overdue(case: Case, _: Chunks, __: Overdue) -> Case:
    return case.model_copy(update={"overdue": True})


def _provision_ended(case: Case, _: Chunks, fact: ProvisionEnded) -> Case:
    ended = (
        each.model_copy(update={"ended": True}) if each.provision == fact.provision else each for each in case.deadlines
    )
    return case.model_copy(update={"deadlines": tuple(ended)})


def _closed(case: Case, _: Chunks, fact: Closed) -> Case:
    passes = {} if fact.status in OVER else case.reconsidering
    return case.model_copy(update={"status": fact.status, "reconsidering": passes})


def _reopened(case: Case, _: Chunks, fact: Reopened) -> Case:
    return case.model_copy(update={"status": fact.status})


_OF_CASES: dict[type[Any], Callable[[Case, Chunks, Any], Case | tuple[Case, Chunks]]] = {
    WalkAnnounced: _walk_announced,
    WalkWaits: _walk_waits,
    TaskAnswered: _task_answered,
    PlanFixed: _plan_fixed,
    AwaitsApproval: _awaits_approval,
    PlanApproved: _plan_approved,
    PlanRejected: _plan_rejected,
    RatesAsked: _rates_asked,
    RateWaits: _rate_waits,
    RateCleared: _rate_cleared,
    LateHeld: _late_held,
    NothingFound: _nothing_found,
    StageStarted: _stage_started,
    StageEnded: _stage_ended,
    Purged: _purged,
    WatermarkRaised: _watermark_raised,
    IndexApplied: _index_applied,
    IndexChanged: _index_changed,
    PurposeGranted: _purpose_granted,
    Warned: _warned,
    Extended: _extended,
    CancelAsked: _cancel_asked,
    Decided: _decided,
    Thawed: _thawed,
    Happened: _happened,
    GraceBegun: _grace_begun,
    GraceEnded: _grace_ended,
    Reconsidering: _reconsidering,
    Overdue: _overdue,
    ProvisionEnded: _provision_ended,
    Closed: _closed,
    Reopened: _reopened,
}
_APPLY = _OF_CASES | APPLY
