"""Models that took another's place: only one to which the case's data does not lead counts.

See design: "Nothing false is said".
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from expunge.domain.aggregates.case import late
from expunge.domain.aggregates.case.chunks import LETTERS, OPEN_LETTERS, ChunkState, Note
from expunge.domain.aggregates.case.effects import LookIntoReplacement, NoteAnswers
from expunge.domain.aggregates.case.fact import ChunkFact, reread
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.backoff import doubled
from expunge.domain.events import millis
from expunge.domain.values import A_DAY, Hex
from expunge.domain.vocabulary import Claim
from expunge.wire.cases.case import ReplacementSeen
from expunge.wire.tasks import ReplacementVerdict

SOON = timedelta(seconds=1)


class ReplacementAsked(ChunkFact):
    """A resolver was asked to look at the model that took a target's place."""

    fact = "replacement_asked"
    replacement: Hex
    """Its key."""
    looks: int
    next_at: datetime

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """It waits for the answer."""
        del chunk
        return {"replacement": self.replacement, "looks": self.looks, "next_at": self.next_at}


class ReplacementJudged(ChunkFact):
    """What the index says of it. Only if it is clean the model counts as made anew."""

    fact = "replacement_judged"
    replacement: Hex
    verdict: ReplacementVerdict

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """A clean one is the answer; any other is none."""
        if self.verdict is ReplacementVerdict.CLEAN:
            after: dict[str, Any] = {"replacement": "", "looks": 0, "clean": self.replacement, "exhausted": False}
            return after | reread(chunk, OPEN_LETTERS, LETTERS[Claim.RETRAINED_WITHOUT])
        after = reread(chunk, OPEN_LETTERS, LETTERS[Claim.FAILED])
        note = Note(reason=f"replacement_{self.verdict}", ordinals=chunk.left)
        walked = self.replacement if self.verdict is ReplacementVerdict.STALE else chunk.walked
        return after | {"notes": (*after["notes"], note), "walked": walked}


def ask(turn: Turn, chunk: ChunkState, replacement: str) -> None:
    """Have a resolver look at the model that took the target's place; soon again, then ever later, at last daily.

    What it was made from may become clean, or it may be registered, or itself be made anew, after this.
    """
    digest = chunk.summary.digest
    looks = chunk.looks + 1 if chunk.replacement == replacement else 1
    next_at = turn.now + doubled(SOON, looks - 1, A_DAY)
    turn.record(ReplacementAsked(chunk=digest, replacement=replacement, looks=looks, next_at=next_at))
    fixed_at = turn.case.numbered(chunk.generation).fixed_at or turn.case.opened_at
    turn.emit(LookIntoReplacement(digest, replacement, looks, millis(fixed_at)))


def take_verdict(turn: Turn, message: ReplacementSeen) -> None:
    """What the index says of a replacement.

    One that was made too early holds the case's data, so it is planned itself; what it was made from is clean by now.
    """
    chunk, clean = turn.chunk(message.chunk), message.verdict is ReplacementVerdict.CLEAN
    if chunk is None or chunk.replacement != message.replacement or not chunk.open:
        return
    if clean and not _is_all_known(turn):
        return  # what leads to it may not be marked yet: it is looked at again
    digest, walked = message.chunk, chunk.walked
    turn.record(ReplacementJudged(chunk=digest, replacement=message.replacement, verdict=message.verdict))
    if clean:
        body = turn.body(chunk)
        turn.emit(NoteAnswers(digest, clean=body.assets, gone=(), at_ms=0))
        late.plan_produced(turn, digest)
    elif message.verdict is ReplacementVerdict.STALE and walked != message.replacement:
        late.plan_also(turn, [message.replacement])


def _is_all_known(turn: Turn) -> bool:
    """Whether the indexers have passed what was registered before the receipt, and every walk has ended."""
    case = turn.case
    return not case.watermark and case.open_generation is None and not case.held
