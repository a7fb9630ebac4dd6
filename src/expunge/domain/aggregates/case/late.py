"""What turns up under a case's marks when the walk has passed: it belongs to the open or to the next generation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from expunge.domain.aggregates.case import deferral, resolution
from expunge.domain.aggregates.case.chunks import ChunkState, Phase
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact
from expunge.domain.aggregates.case.state import Case, HeldBack
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.limits import MAX_HELD, MAX_PRODUCED
from expunge.domain.scope import Arrival
from expunge.domain.values import Hex
from expunge.domain.vocabulary import CLOSED, Action
from expunge.wire.cases.case import HoldingKnown, Late, LateAsset
from expunge.wire.tasks import TaskKind


class LateHeld(CaseFact):
    """Late assets wait for the next generation: the open one has collected for long enough."""

    fact = "late_held"
    assets: tuple[HeldBack, ...]

    def change(self, case: Case) -> Case:
        """Of what is said of one asset twice the later stands."""
        known = {each.key: each for each in (*case.held, *self.assets)}
        return case.model_copy(update={"held": tuple(known[key] for key in sorted(known))})


class Produced(ChunkFact):
    """Assets that a joint command produced lie under marks of the case: whether they are clean is not known yet."""

    fact = "produced"
    assets: tuple[Hex, ...]
    """Their keys."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """They are noted until the answer about the model has shown what they are worth."""
        return {"produced": tuple(sorted({*chunk.produced, *self.assets}))}


class ProducedPlanned(ChunkFact):
    """What was produced and was not found to be clean is planned itself."""

    fact = "produced_planned"
    assets: tuple[Hex, ...]

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """They are noted no longer."""
        return {"produced": tuple(each for each in chunk.produced if each not in self.assets)}


def take_late(turn: Turn, message: Late) -> None:
    """Assets that turned up under this case's marks.

    What a rebuild of this very case produced, and the index agrees, is not late (rule "own products"). What a joint
    command produced may have been made for others, or too early: it is noted until the answer about the model has shown
    what it is worth. What was collected of the person after the case's reach is a new customer's, and is let be.
    """
    for asset in message.assets:
        _note_produced(turn, asset)
    _walk(turn, TaskKind.LATE, [asset for asset in message.assets if not _is_own(turn, asset)])


def ask_holding(turn: Turn, message: HoldingKnown) -> None:
    """A holding was declared: it is asked, unless the case is alive only for what its holds and deferrals ask for."""
    if turn.case.status not in CLOSED:
        _walk(turn, TaskKind.HOLDING, [LateAsset(key=message.holding, arrival=Arrival.THROUGH)])


def plan_also(turn: Turn, keys: Iterable[str]) -> None:
    """Plan what holds the case's data although it was made for the case: too early, or from too much."""
    _walk(turn, TaskKind.LATE, [LateAsset(key=key, arrival=Arrival.THROUGH) for key in keys])


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
        turn.record(ProducedPlanned(chunk=digest, assets=left))
        plan_also(turn, left)


def _note_produced(turn: Turn, asset: LateAsset) -> None:
    chunk = _made_by(turn, asset)
    if chunk is None or not _may_be_noted(chunk, asset) or asset.key in chunk.produced:
        return
    if len(chunk.produced) < MAX_PRODUCED:
        turn.record(Produced(chunk=chunk.summary.digest, assets=(asset.key,)))


def _is_own(turn: Turn, asset: LateAsset) -> bool:
    """Whether a command of the case produced it, so that it need not be planned, or not yet.

    Only a command that makes something produces anything, and a name in a statement proves nothing: it must be late for
    no other reason than that it was made from, or is, the very thing that the command had made anew.
    """
    chunk = _made_by(turn, asset)
    if chunk is None:
        return False
    if chunk.pooled:
        return _may_be_noted(chunk, asset) and asset.key in chunk.produced
    made = chunk.action is Action.REBUILD_WITHOUT and chunk.attempt > 0 and not asset.named and not asset.returned
    return made and bool(asset.via) and set(asset.via) == {chunk.summary.target}


def _made_by(turn: Turn, asset: LateAsset) -> ChunkState | None:
    return turn.chunk_of(asset.command_id) if asset.command_id else None


def _may_be_noted(chunk: ChunkState, asset: LateAsset) -> bool:
    return chunk.pooled and bool(chunk.open) and chunk.phase is Phase.SENT and not asset.returned


def _walk(turn: Turn, kind: TaskKind, assets: list[LateAsset]) -> None:
    until = turn.case.until
    reached = [each for each in assets if not (until and each.collected > until)]
    if turn.case.dry_run:
        return
    if any(each.returned for each in reached):
        deferral.note_restored(turn)
    for back in (False, True):  # what came back at several moments is one task, as of the last of them
        alike = [each for each in reached if bool(each.returned) is back]
        if alike:
            _walk_or_hold(turn, kind, alike)


def _walk_or_hold(turn: Turn, kind: TaskKind, assets: list[LateAsset]) -> None:
    """Walk in the open generation as long as it collects, else in the next: a stream of late assets starves nothing."""
    case, generation = turn.case, turn.case.open_generation
    collects = generation is None or turn.now < (generation.settles_at or case.opened_at + resolution.PLAN_ANYWAY)
    if collects or len(case.held) + len(assets) > MAX_HELD:
        nodes = {asset.key: asset.arrival for asset in assets}
        resolution.walk(turn, kind, nodes, max(asset.returned for asset in assets))
        return
    holding = kind is TaskKind.HOLDING
    known = {each.key: each for each in case.held}
    turn.record(
        LateHeld(
            assets=tuple(
                HeldBack(key=a.key, arrival=_wider(known.get(a.key), a.arrival), holding=holding, returned=a.returned)
                for a in assets
            )
        )
    )


def _wider(held: HeldBack | None, arrival: int) -> int:
    return Arrival(held.arrival).joined(Arrival(arrival)) if held else arrival
