"""Models that took another's place: only one to which the case's data does not lead counts.

See design: "Nothing false is said".
"""

from __future__ import annotations

from expunge.domain.case import chunk_facts, purging, walking
from expunge.domain.case.messages import Late, LateAsset, ReplacementSeen
from expunge.domain.case.turn import NoteAnswers, Turn
from expunge.domain.scope import Arrival
from expunge.domain.task import Replacement


def seen(turn: Turn, message: ReplacementSeen) -> None:
    """What the index says of a replacement.

    One that was made too early holds the case's data, so it is planned itself; what it was made from is clean by now.
    """
    chunk = turn.chunk(message.chunk)
    if chunk is None or chunk.replacement != message.replacement or not chunk.open:
        return
    if message.verdict is Replacement.CLEAN and not _all_known(turn):
        return  # what leads to it may not be marked yet: it is looked at again
    digest, walked = chunk.summary.digest, chunk.walked
    turn.record(
        chunk_facts.ReplacementJudged(chunk=digest, replacement=message.replacement, verdict=message.verdict), chunk
    )
    if message.verdict is Replacement.CLEAN:
        body = turn.reader.body(turn.case.case_id, digest)
        turn.emit(NoteAnswers(digest, clean=body.assets, gone=(), at_ms=0))
        walking.plan_produced(turn, digest)
    elif message.verdict is Replacement.STALE and walked != message.replacement:
        asset = LateAsset(key=message.replacement, arrival=Arrival.THROUGH)
        walking.late(turn, Late(case_id=turn.case.case_id, assets=(asset,)))
    purging.advance(turn)


def _all_known(turn: Turn) -> bool:
    """Whether the indexers have passed what was registered before the receipt, and every walk has ended."""
    case = turn.case
    return not case.watermark and case.open_generation is None and not case.held
