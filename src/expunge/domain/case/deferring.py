"""Commands that policy puts off: until a day, until something has happened, or while a law wants something kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from expunge.domain.case import chunk_facts
from expunge.domain.case.chunks import ChunkState
from expunge.domain.case.turn import Turn

BY_POLICY = "by_policy"
_EPOCH = datetime.fromtimestamp(0, UTC)


class Waiting(NamedTuple):
    """Why a command must wait, and until when; without a moment, until something happens."""

    reason: str
    """Of what a law wants kept, the rule, whose legal basis the requester is told."""
    until: datetime | None


def waits(turn: Turn, chunk: ChunkState) -> Waiting | None:
    """Why a chunk's command must wait by policy; None if it need not."""
    summary = chunk.summary
    kept = _EPOCH + timedelta(days=summary.keep_until)
    if kept > turn.now:
        return Waiting(summary.rule, kept)
    fixed_at = turn.case.numbered(chunk.generation).fixed_at or turn.now
    until = fixed_at + timedelta(days=summary.defer_days)
    if not summary.defer_until:
        return Waiting(BY_POLICY, until) if until > turn.now else None
    if turn.case.has_happened(summary.defer_until, summary.system) or (summary.defer_days and until <= turn.now):
        return None
    return Waiting(f"until_{summary.defer_until}", until if summary.defer_days else None)


def put_off(turn: Turn, chunk: ChunkState) -> bool:
    """Put a chunk's command off, if policy says so; whether it does."""
    found = waits(turn, chunk)
    if found is not None:
        fact = chunk_facts.Deferred(chunk=chunk.summary.digest, until=found.until, reason=found.reason)
        turn.record(fact, chunk)
    return found is not None
