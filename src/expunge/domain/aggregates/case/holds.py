"""Holds, as a case meets them: what a hold covers is kept, whatever the request says, until it is released.

Which holds stand is part of the partition's state (`domain.aggregates.standing`). A hold on the case or on a system
covers a command whole; of the others a resolver says which targets they cover (`roles/resolver/holds`), and no command
leaves before it has. What no hold keeps back is what loses nothing: a restriction, its end, a model that is not served.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from expunge.domain.aggregates.case.chunks import HELD_LETTER, OPEN_LETTERS, ChunkState, Phase
from expunge.domain.aggregates.case.fact import OPEN_ONE, PUT_OFF_LETTERS, CaseFact, ChunkFact, reread
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.standing.state import hold_word
from expunge.domain.limits import HOLDS_PER_TASK
from expunge.domain.vocabulary import KEEPING
from expunge.wire.cases.case import HoldsSeen
from expunge.wire.cases.words import Hold

LOOK_ONCE_MORE = timedelta(minutes=1)
"""A question about holds that nobody has answered is put once more after this."""
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(seconds=30)
INDEX_AT_MOST = timedelta(hours=24)
"""So long, and not beyond its due date, a command waits for the indexers to pass what lay before a hold."""


class HoldsAsked(ChunkFact):
    """A resolver was asked which targets of a chunk some holds cover."""

    fact = "holds_asked"
    holds: tuple[str, ...]
    number: int
    """Of the last of them."""
    next_at: datetime | None = None
    """When to ask once more."""
    after: int = 0
    """How many changes of the index the case had heard of."""
    asked_at: datetime | None = None
    """Since when it waits for the answer."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """It waits for the answer."""
        return {
            "asked": tuple(sorted({*chunk.asked, *self.holds})),
            "asking": self.number,
            "asked_at": self.asked_at or chunk.asked_at,
            "next_at": self.next_at or chunk.next_at,
        }


class HoldsFound(ChunkFact):
    """Which targets of a chunk, by ordinal, holds cover; one that covers none is not named."""

    fact = "holds_found"
    covered: tuple[tuple[str, tuple[int, ...]], ...]
    number: int = 0
    """Of the last hold that was looked into; 0: those that need no look."""
    after: int = 0
    """How many changes of the index the case had heard of when it asked."""
    ahead: bool = False
    """The indexers had not passed what lay before the holds: the command waited for them for as long as it may."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What a hold covers and nobody has answered for is held."""
        covered = {ordinal for _, ordinals in self.covered for ordinal in ordinals}
        after = reread(chunk, PUT_OFF_LETTERS | OPEN_LETTERS, HELD_LETTER, covered)
        after["holds"] = chunk.holds | dict(self.covered)
        if self.number:
            later = max(chunk.looked_at, self.number) if self.after == chunk.looked_after else self.number
            after |= {"looked_at": later, "looked_after": self.after, "asked": (), "asking": 0, "asked_at": None}
            after |= {"next_at": None} if chunk.phase is Phase.BARRED else {}
        return after


class HoldEnded(ChunkFact):
    """A hold was released: what it alone covered is open again."""

    fact = "hold_ended"
    hold: str

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What another covers stays held."""
        left = {hold: covered for hold, covered in chunk.holds.items() if hold != self.hold}
        still = {ordinal for covered in left.values() for ordinal in covered}
        return reread(chunk, {HELD_LETTER}, OPEN_ONE, set(chunk.holds.get(self.hold, ())) - still) | {"holds": left}


class IndexChanged(CaseFact):
    """The lineage of something changed that holds were held against: what was found then must be looked at anew."""

    fact = "index_changed"

    def change(self, case: Case) -> Case:
        """Every look before it is worth nothing."""
        return case.model_copy(update={"index_changes": case.index_changes + 1})


def meet(turn: Turn, chunk: ChunkState) -> ChunkState:
    """The chunk after the holds of its partition were held against it; those that need a look are asked about."""
    digest, standing = chunk.summary.digest, turn.standing.holds_on(turn.case.case_id, chunk.summary.system)
    if chunk.action in KEEPING:
        return chunk
    for ended in sorted(chunk.holds.keys() - {hold.hold_id for hold in standing}):
        chunk = turn.change(HoldEnded(chunk=digest, hold=ended))
    back = {hold: covered for hold, covered in chunk.holds.items() if not chunk.not_kept.isdisjoint(covered)}
    if back:  # what was answered when the hold was met, and was taken back, put off or found since
        chunk = turn.change(HoldsFound(chunk=digest, covered=tuple(sorted(back.items()))))
    whole = tuple(range(chunk.summary.size))
    plain = [hold.hold_id for hold in standing if hold.scope.known_at_once and hold.hold_id not in chunk.holds]
    if plain:
        chunk = turn.change(HoldsFound(chunk=digest, covered=tuple((each, whole) for each in plain)))
    looked_at = chunk.looked_at if chunk.looked_after == turn.case.index_changes else 0
    unknown = [hold for hold in standing if not hold.scope.known_at_once and hold.number > looked_at]
    if unknown and not chunk.asking and not turn.case.cancelling:
        chunk = _ask(turn, chunk, unknown)
    return chunk


def against(chunk: ChunkState) -> tuple[str, ...]:
    """The holds, as words, that cover something which its system may still do by its last command."""
    named = set(chunk.ordinals)
    return tuple(
        hold_word(hold)
        for hold, covered in sorted(chunk.holds.items())
        if any(chunk.is_held(each) for each in named.intersection(covered))
    )


def take_findings(turn: Turn, message: HoldsSeen) -> None:
    """Which targets the holds cover: those are kept, the rest goes on."""
    for found in message.found:
        chunk = turn.chunk(found.chunk)
        if chunk is None or (message.after, message.number) <= (chunk.looked_after, chunk.looked_at):
            continue
        if not message.ready:
            if chunk.asked:
                _ask_later(turn, chunk)
            continue
        turn.record(
            HoldsFound(
                chunk=found.chunk,
                covered=found.covered,
                number=message.number,
                after=message.after,
                ahead=message.ahead,
            )
        )
        turn.look_at(found.chunk)


def ask_again(turn: Turn, chunk: ChunkState) -> None:
    """Put a question once more: nobody answered, or the indexers were behind."""
    _ask(turn, chunk, [turn.standing.holds[each] for each in chunk.asked])


def _ask(turn: Turn, chunk: ChunkState, holds: Sequence[Hold]) -> ChunkState:
    """Have a resolver look into holds, the earliest first; the others are asked about when it has answered.

    What it finds is worth something as long as the lineage of what it looked at does not change: whoever changes it
    tells the case (`LineageChanged`), and the holds are held against the chunk anew.
    """
    first = tuple(sorted(holds, key=lambda hold: hold.number)[:HOLDS_PER_TASK])
    asked, asked_at = tuple(hold.hold_id for hold in first), chunk.asked_at or turn.now
    due = turn.case.due_of(chunk.summary.provision)
    patience = min(asked_at + INDEX_AT_MOST, max(due, asked_at + LOOK_ONCE_MORE))
    turn.to_look_into.setdefault((asked, turn.now >= patience), []).append(chunk.summary.digest)
    return turn.change(
        HoldsAsked(
            chunk=chunk.summary.digest,
            holds=asked,
            number=first[-1].number,
            next_at=turn.now + LOOK_ONCE_MORE,
            after=turn.case.index_changes,
            asked_at=asked_at,
        )
    )


def _ask_later(turn: Turn, chunk: ChunkState) -> None:
    """The indexers have not passed what lay before the holds: they are asked about again, soon and then ever later."""
    waited = turn.now - (chunk.asked_at or turn.now)
    turn.record(
        HoldsAsked(
            chunk=chunk.summary.digest,
            holds=chunk.asked,
            number=chunk.asking,
            next_at=turn.now + min(max(waited, FIRST_WAIT), LONGEST_WAIT),
            after=turn.case.index_changes,
        )
    )
