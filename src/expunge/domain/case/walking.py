"""From the request to a fixed plan: tasks out, chunks in, late assets into the next generation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from expunge.domain.case import chunk_facts, confirm, deciding, facts, guarding, purging
from expunge.domain.case.chunks import Phase
from expunge.domain.case.messages import Late, LateAsset, Opened, Planned, Root
from expunge.domain.case.state import MAX_HELD, Held
from expunge.domain.case.turn import ReconsiderOn, Reject, StartTask, Turn, WriteRoot
from expunge.domain.digest import digest
from expunge.domain.plan import plan_digest
from expunge.domain.policy.clocks import deadlines
from expunge.domain.policy.rules import Event, Policy
from expunge.domain.registry import A_DAY
from expunge.domain.scope import Arrival
from expunge.domain.task import Found, PlannedStatus, TaskKind, pack, task_id
from expunge.domain.vocabulary import FINAL, OVER, Action

PLAN_ANYWAY = timedelta(seconds=30)
"""After this the walk no longer waits for the indexers; closing still does (rule "not ready")."""
MAX_WAIT_SECONDS = 15
SETTLES = timedelta(seconds=1)
"""How long the second generation collects what is late before its plan is fixed; each further one takes twice as long,
so that a stream of late assets does not become a stream of plans (rule "late assets")."""
SETTLES_AT_MOST = timedelta(hours=1)
CONTAINERS_PER_TASK = 200
FOUND_PER_TASK = 200
"""Discovered assets in one task: ids of 2,048 bytes, and as much for what they were found in, below 1 MiB."""
MAX_PRODUCED = 100
"""Assets that one joint command produced and that wait for its answer; what is more is planned at once."""


def opened(turn: Turn, message: Opened) -> None:
    """A request: a new case, a repetition of one, or another request under the same id."""
    root = message.root
    if turn.case_or_none is not None:
        if turn.case.content != root.content:
            turn.emit(Reject(root, "request_id_reused"))
        return
    turn.open(_first_fact(root, turn.policies.of(root.policy), turn.now), root)
    turn.emit(WriteRoot(root))
    confirm.say(turn, "acknowledged")
    task = task_id(root.case_id, "roots")
    turn.record(facts.WalkAnnounced(generation=1, tasks=(task,)))
    turn.emit(StartTask(TaskKind.ROOTS, task, 1))


def _first_fact(root: Root, policy: Policy, now: datetime) -> facts.Opened:
    dates = deadlines(policy, root.regime, root.jurisdiction, root.received_at)
    return facts.Opened(
        scope=root.scope.kind,
        regime=root.regime,
        publisher=root.publisher,
        received_at=root.received_at,
        clamped=root.clamped,
        clock=dates.clock,
        acknowledge_by=dates.acknowledge,
        acknowledged_late=dates.acknowledge is not None and now > dates.acknowledge,
        due_at=max((each.due_at for each in root.scope.provisions), default=dates.due),
        warn_at=min((each.due_at for each in root.scope.provisions), default=dates.due) - dates.warning,
        extendable_to=dates.extended,
        extended_warn_at=dates.extended - dates.warning if dates.extended else None,
        provisions=tuple((each.id, each.due_at) for each in root.scope.provisions),
        dry_run=root.dry_run,
        commitment=digest("commitment", root.salt, root.content).hex(),
    )


def walk_again(turn: Turn) -> None:
    """The timer of a walk that found the indexers behind."""
    due = turn.case.walk_retry_at
    if due is None or turn.now < due:
        return
    force = turn.now - turn.case.opened_at >= PLAN_ANYWAY
    turn.record(facts.WalkWaits(retry_at=turn.now + PLAN_ANYWAY))
    turn.emit(StartTask(TaskKind.ROOTS, task_id(turn.case.case_id, "roots"), 1, force=force))


def planned(turn: Turn, message: Planned) -> None:
    """A task's answer. Every one counts, also a second answer of a repeated task (rule "chunks")."""
    if message.status is PlannedStatus.NOT_READY:
        _wait(turn, message.task_id)
        return
    new = tuple(summary for summary in message.chunks if turn.chunk(summary.digest) is None)
    generation = turn.case.open_generation
    awaited = generation is not None and message.task_id in generation.announced - generation.answered
    known = any(message.task_id in each.answered for each in turn.case.generations)
    if known and not new and not awaited:
        return
    if new and turn.case.status in FINAL:
        turn.record(facts.Reopened())
        confirm.say(turn, "reopened")
    number = generation.number if generation else turn.case.generation.number + 1
    if generation is None:
        _announce(turn, number, message.task_id)
    turn.record(
        facts.TaskAnswered(
            generation=number,
            task=message.task_id,
            spawned=message.spawned,
            chunks=new,
            containers=message.containers,
            last=message.status is PlannedStatus.DONE,
            population=message.population,
        )
    )
    if message.watermark:
        turn.record(facts.WatermarkRaised(watermark=later_marks(turn.case.watermark, message.watermark)))
    for summary in new if turn.case.exempted else ():
        deciding.exempt(turn, turn.chunks[summary.digest])
    fix_if_walked(turn)


def _wait(turn: Turn, task: str) -> None:
    answered = any(task in generation.answered for generation in turn.case.generations)
    if answered or turn.case.open_generation is None:
        return
    seconds = min(2**turn.case.walk_waits, MAX_WAIT_SECONDS)
    turn.record(facts.WalkWaits(retry_at=turn.now + timedelta(seconds=seconds)))


def fix_if_walked(turn: Turn) -> None:
    """Fix the open generation's plan once its walk has ended and it has collected what is late for long enough."""
    generation = turn.case.open_generation
    if generation is None or not generation.walked:
        return
    if generation.settles_at is not None and turn.now < generation.settles_at:
        return
    if generation.pending:
        _plan_containers(turn, generation.number, generation.pending)
        return
    held = turn.case.held
    if generation.number > 1 and not generation.chunks:
        turn.record(facts.NothingFound(generation=generation.number))
    else:
        _fix(turn, generation.number)
    _walk_held(turn, held)
    purging.advance(turn)


def _walk_held(turn: Turn, held: tuple[Held, ...]) -> None:
    """Begin the next generation with what waited for it."""
    for kind, holding in ((TaskKind.LATE, False), (TaskKind.HOLDING, True)):
        for back in (False, True):
            alike = [each for each in held if each.holding is holding and bool(each.returned) is back]
            if alike:
                _start(turn, kind, {each.key: each.arrival for each in alike}, max(each.returned for each in alike))


def _plan_containers(turn: Turn, number: int, pending: dict[str, int]) -> None:
    for returned in sorted(set(pending.values())):
        alike = [key for key in pending if pending[key] == returned]
        for start in range(0, len(alike), CONTAINERS_PER_TASK):
            part = alike[start : start + CONTAINERS_PER_TASK]
            task = task_id(turn.case.case_id, "containers", number, turn.case.sequence, *part)
            turn.record(facts.WalkAnnounced(generation=number, tasks=(task,), sealed=tuple(part)))
            nodes = pack({bytes.fromhex(key): Arrival.CONTAINERS for key in part})
            turn.emit(StartTask(TaskKind.CONTAINERS, task, number, nodes=nodes, returned=returned))


def _fix(turn: Turn, number: int) -> None:
    case = turn.case
    plan = plan_digest(case.case_id, number, turn.digests(number))
    generation = case.generation
    turn.record(
        facts.PlanFixed(
            generation=number,
            plan_digest=plan,
            chunks=generation.chunks,
            obligations=generation.obligations,
            at=turn.now,
        )
    )
    grace = turn.policy.grace_of(case.scope.about, case.regime)
    due = min((each.due_at for each in case.deadlines), default=case.due_at)
    until = min(turn.now + grace, due - A_DAY)  # something must be left of the time to carry it out
    if number == 1 and until > turn.now and not case.dry_run:
        turn.record(facts.GraceBegun(until=until))
    confirm.say(turn, "planned", plan_digest=plan, thresholds=guarding.thresholds(turn, number))
    if not guarding.held_back(turn, number):
        guarding.ask_rates(turn, number)
        guarding.suppress_if_let_go(turn, case)


def late(turn: Turn, message: Late, kind: TaskKind = TaskKind.LATE) -> None:
    """Assets that turned up under this case's marks: their walk belongs to the open or the next generation.

    What a rebuild of this very case produced, and the index agrees, is not late (rule "own products"). What a joint
    command produced may have been made for others, or too early: it is noted until the answer about the model has shown
    what it is worth. What was collected of the person after the case's reach is a new customer's, and is let be.
    """
    case = turn.case
    if case.dry_run:
        return
    concerned = [asset for asset in message.assets if not _own(turn, asset)]
    beyond = {a.key for a in concerned if case.until and a.collected > case.until}
    reached = [a for a in concerned if a.key not in beyond]
    if any(each.returned for each in reached):
        _restored(turn)
    for back in (False, True):  # what came back at several moments is one task, as of the last of them
        alike = [a for a in reached if bool(a.returned) is back]
        if alike:
            _walk(turn, kind, alike, max(a.returned for a in alike))


def _own(turn: Turn, asset: LateAsset) -> bool:
    """Whether a command of the case produced it, so that it need not be planned, or not yet.

    Only a command that makes something produces anything, and a name in a statement proves nothing: it must be late for
    no other reason than that it was made from, or is, the very thing that the command had made anew.
    """
    chunk = turn.chunk_of(asset.command_id) if asset.command_id else None
    if chunk is None:
        return False
    if not chunk.pooled:
        made = chunk.action is Action.REBUILD_WITHOUT and chunk.attempt > 0 and not asset.named and not asset.returned
        return made and bool(asset.via) and set(asset.via) == {chunk.summary.target}
    under_way = chunk.open and chunk.phase is Phase.SENT
    if not under_way or asset.returned or len(chunk.produced) >= MAX_PRODUCED:
        return False
    if asset.key not in chunk.produced:
        turn.record(chunk_facts.Produced(chunk=chunk.summary.digest, assets=(asset.key,)), chunk)
    return True


def plan_produced(turn: Turn, digest: str, *, but: str = "", whole: bool = False) -> None:
    """Plan what a joint command produced when the model's answer is known, unless that was found to be clean.

    Args:
        turn: the decision in progress.
        digest: the model's chunk.
        but: the model that took its place: it is being looked at, and everything else is planned before that counts.
        whole: while there is no answer, too, for the case has left that command.
    """
    chunk = turn.chunk(digest)
    if chunk is None or (chunk.open and not (but or whole)):
        return
    left = tuple(key for key in chunk.produced if key not in {chunk.clean, but})
    if left:
        turn.record(chunk_facts.ProducedPlanned(chunk=digest, assets=left), chunk)
        assets = tuple(LateAsset(key=key, arrival=Arrival.THROUGH) for key in left)
        late(turn, Late(case_id=turn.case.case_id, assets=assets))


def discovered(turn: Turn, system: str, found: Sequence[Found], receipt: str) -> None:
    """What a system found while it purged: registered, and commanded in the case that asked, whatever it was found in.

    Args:
        turn: the decision in progress.
        system: whose receipt says so.
        found: the assets.
        receipt: the keyed digest of the receipt.
    """
    case = turn.case
    if case.status in OVER or case.cancelling or case.dry_run:
        return
    for number, start in enumerate(range(0, len(found), FOUND_PER_TASK)):
        part = tuple(found[start : start + FOUND_PER_TASK])
        task = task_id(case.case_id, TaskKind.DISCOVERED, receipt, number)
        if any(task in each.announced for each in case.generations):
            continue
        generation = turn.case.open_generation.number if turn.case.open_generation else turn.case.generation.number + 1
        _announce(turn, generation, task)
        turn.emit(StartTask(TaskKind.DISCOVERED, task, generation, found=part, system=system))


def later_marks(left: dict[str, dict[str, int]], right: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The later of two watermarks, inlet by inlet."""
    return {
        topic: {
            partition: max(left.get(topic, {}).get(partition, 0), right.get(topic, {}).get(partition, 0))
            for partition in sorted({*left.get(topic, {}), *right.get(topic, {})})
        }
        for topic in sorted({*left, *right})
    }


def _restored(turn: Turn) -> None:
    """Something that was purged is there again: some backup was restored, and what waited for that waits no longer."""
    awaited = any(rule.defer_until is Event.RESTORE for rule in turn.policy.dispositions)
    if awaited and not turn.case.has_happened(Event.RESTORE, ""):
        turn.record(facts.Happened(event=Event.RESTORE))
        turn.emit(ReconsiderOn(deciding.HAPPENED, "", turn.case.sequence))


def _walk(turn: Turn, kind: TaskKind, assets: list[LateAsset], returned: int) -> None:
    """Walk in the open generation as long as it collects, else in the next: a stream of late assets starves nothing."""
    case, generation = turn.case, turn.case.open_generation
    collects = generation is None or turn.now < (generation.settles_at or case.opened_at + PLAN_ANYWAY)
    if collects or len(case.held) + len(assets) > MAX_HELD:
        _start(turn, kind, {asset.key: asset.arrival for asset in assets}, returned)
        return
    holding = kind is TaskKind.HOLDING
    known = {each.key: each for each in case.held}
    turn.record(
        facts.LateHeld(
            assets=tuple(
                Held(key=a.key, arrival=_wider(known.get(a.key), a.arrival), holding=holding, returned=a.returned)
                for a in assets
            )
        )
    )


def _wider(held: Held | None, arrival: int) -> int:
    return Arrival(held.arrival).joined(Arrival(arrival)) if held else arrival


def _start(turn: Turn, kind: TaskKind, nodes: dict[str, int], returned: int) -> None:
    case = turn.case
    packed = pack({bytes.fromhex(key): Arrival(arrival) for key, arrival in nodes.items()})
    number = case.open_generation.number if case.open_generation else case.generation.number + 1
    # Said again it is walked again: what was known of an asset may have changed since the task before read it.
    task = task_id(case.case_id, kind, case.sequence, packed)
    _announce(turn, number, task)
    turn.emit(StartTask(kind, task, number, nodes=packed, returned=returned))


def _announce(turn: Turn, number: int, task: str) -> None:
    """A task of a later generation; the first of them says until when the generation collects what is late."""
    case, settles_at = turn.case, None
    if case.open_generation is None:
        settles_at = turn.now + min(SETTLES * 2 ** min(number - 2, 20), SETTLES_AT_MOST)
    turn.record(facts.WalkAnnounced(generation=number, tasks=(task,), settles_at=settles_at))
