"""The end of a restriction: consent that is given again, or a restriction that is lifted.

What was restricted is let go again, by a command of its own; what was not yet restricted need not be any more.
"""

from __future__ import annotations

from expunge.domain.case import chunk_facts
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.turn import Turn
from expunge.domain.suppression import RESTRICTED
from expunge.domain.vocabulary import Action

GRANTED = "granted"
"""As a word for which a command is withdrawn."""


def ended(turn: Turn, chunk: ChunkState) -> ChunkState:
    """The chunk after what was granted again was held against it. While its command is out, nothing changes."""
    purposes = turn.case.granted and _due(turn, chunk)
    if not purposes or chunk.out:
        return chunk
    if not chunk.attempt:
        if not set(purposes) >= set(_restricted_for(turn, chunk)):
            return chunk  # it is restricted for another purpose, too: then for all, and let go for this one
        turn.record(chunk_facts.Spared(chunk=chunk.summary.digest), chunk)
    else:
        turn.record(chunk_facts.LiftDue(chunk=chunk.summary.digest, purposes=purposes), chunk)
    return turn.chunks[chunk.summary.digest]


def must_stop(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """The word against a command that restricts for nothing any more."""
    if not turn.case.granted or chunk.lifting or not chunk.attempt:
        return ()
    return (GRANTED,) if set(_due(turn, chunk)) >= set(_restricted_for(turn, chunk)) else ()


def _due(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    """The purposes for which a chunk must be let go of, and was not yet."""
    if chunk.summary.action is not Action.RESTRICT or not chunk.commandable:
        return ()
    again = {each.purpose for each in turn.case.granted} - set(chunk.lifted)
    return tuple(sorted(again.intersection(_restricted_for(turn, chunk))))


def _restricted_for(turn: Turn, chunk: ChunkState) -> tuple[str, ...]:
    if chunk.summary.action is not Action.RESTRICT:
        return (RESTRICTED,)
    return turn.reader.body(turn.case.case_id, chunk.summary.digest).purposes or (RESTRICTED,)
