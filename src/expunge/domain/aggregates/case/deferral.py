"""Commands that policy puts off: until a day, until something has happened, or while a law wants something kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from expunge.domain.aggregates.case.chunks import LETTERS, OPEN_LETTERS, ChunkState, Note, Phase
from expunge.domain.aggregates.case.effects import ReconsiderOn
from expunge.domain.aggregates.case.fact import OPEN_ONE, PUT_OFF_LETTERS, CaseFact, ChunkFact, reread
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.planning.policy.rules import Awaited
from expunge.domain.vocabulary import Claim

BY_POLICY = "by_policy"
HAPPENED = "happened"
"""As a word that is held against all chunks: what policy has put off may wait no longer."""
_EPOCH = datetime.fromtimestamp(0, UTC)


class Deferred(ChunkFact):
    """Policy puts a command off: for what a schedule replaces anyway, or because a law wants something kept."""

    fact = "deferred"
    until: datetime | None
    """None: until something happens."""
    reason: str

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What is open, or was put off before, is deferred."""
        until, letters = self.until.date().isoformat() if self.until else "", OPEN_LETTERS | PUT_OFF_LETTERS
        ordinals = tuple(at for at, letter in enumerate(chunk.answers) if letter in letters)
        after = reread(chunk, letters, LETTERS[Claim.DEFERRED])
        if ordinals:
            after["notes"] = (*after["notes"], Note(reason=self.reason, until=until, ordinals=ordinals))
        return after | {"next_at": self.until, "phase": Phase.PUT_OFF}


class DeferralEnded(ChunkFact):
    """What policy had put off is open again, and commanded."""

    fact = "deferral_ended"

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """It waits for its command."""
        return reread(chunk, PUT_OFF_LETTERS, OPEN_ONE) | {"phase": Phase.BARRED, "next_at": None}


class Happened(CaseFact):
    """Something happened for which commands of the case wait; without a system, it may have been in any."""

    fact = "happened"
    event: str
    system: str = ""

    def change(self, case: Case) -> Case:
        """It is remembered for plans to come."""
        return case.model_copy(update={"happened": tuple(sorted({*case.happened, (self.event, self.system)}))})


class Wait(NamedTuple):
    """Why a command must wait, and until when; without a moment, until something happens."""

    reason: str
    """Of what a law wants kept, the rule, whose legal basis the requester is told."""
    until: datetime | None


def wait_of(turn: Turn, chunk: ChunkState) -> Wait | None:
    """Why a chunk's command must wait by policy; None if it need not."""
    summary = chunk.summary
    kept = _EPOCH + timedelta(days=summary.keep_until)
    if kept > turn.now:
        return Wait(summary.rule, kept)
    fixed_at = turn.case.numbered(chunk.generation).fixed_at or turn.now
    until = fixed_at + timedelta(days=summary.defer_days)
    if not summary.defer_until:
        return Wait(BY_POLICY, until) if until > turn.now else None
    if turn.case.has_happened(summary.defer_until, summary.system) or (summary.defer_days and until <= turn.now):
        return None
    return Wait(f"until_{summary.defer_until}", until if summary.defer_days else None)


def put_off(turn: Turn, chunk: ChunkState, wait: Wait) -> None:
    """Put a chunk's command off."""
    turn.record(Deferred(chunk=chunk.summary.digest, until=wait.until, reason=wait.reason))


def note_event(turn: Turn, event: Awaited, system: str = "") -> None:
    """Remember that something happened for which commands may wait, and look at all chunks for it."""
    turn.record(Happened(event=event, system=system))
    turn.emit(ReconsiderOn(HAPPENED, "", turn.case.sequence))


def note_restored(turn: Turn) -> None:
    """Something that was purged is there again: some backup was restored, and what waited for that waits no longer."""
    awaited = any(rule.defer_until is Awaited.RESTORE for rule in turn.policy.dispositions)
    if awaited and not turn.case.has_happened(Awaited.RESTORE, ""):
        note_event(turn, Awaited.RESTORE)
