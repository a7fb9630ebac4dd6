"""`apply` for facts about one chunk: its state, and the counts of its case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from expunge.domain.case.chunk_facts import (
    Accepted,
    Answered,
    Barred,
    Commanded,
    CommandRefused,
    DeferralEnded,
    Deferred,
    Exempted,
    Exhausted,
    HoldEnded,
    HoldsAsked,
    HoldsFound,
    Joined,
    LiftDue,
    Produced,
    ProducedPlanned,
    Recalled,
    ReplacementAsked,
    ReplacementJudged,
    Spared,
    Withdrawn,
)
from expunge.domain.case.chunks import (
    ENDING_LETTERS,
    GRANTED_AGAIN,
    HELD_LETTER,
    LETTERS,
    OPEN_LETTERS,
    ChunkState,
    Note,
    Phase,
    Tally,
)
from expunge.domain.case.state import Case
from expunge.domain.task import Replacement
from expunge.domain.vocabulary import OPEN, Claim

KEPT_COMMANDS = 20
"""Of one chunk: a receipt of an earlier one is set aside."""
DECIDED = "decided"
Chunks = dict[str, ChunkState]
"""Chunk states that a fact changes, by digest."""
_OPEN = LETTERS[OPEN]
_RESTRICTED = frozenset({LETTERS[Claim.RESTRICTED], LETTERS[Claim.REDACTED]})
_DEFERRED = ENDING_LETTERS - {HELD_LETTER}
"""Put off by policy or by a system; what a hold of ours covers is not."""


def _commanded(case: Case, chunks: Chunks, fact: Commanded | Joined) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    changes: dict[str, Any] = {"attempt": fact.attempt, "next_at": fact.next_at, "phase": Phase.SENT}
    if before.phase is not Phase.SENT or fact.command_id != before.command_id:
        changes |= _named(before, fact.command_id)
    if fact.command_id != before.command_id:
        changes |= {"round": before.round + 1, "used": before.attempt, "exhausted": False}
        changes |= {"replacement": "", "begun": False}
    changes |= {"command_id": fact.command_id, "recalled_for": (), "refused": ""}
    if before.refused:
        changes |= {"notes": tuple(note for note in before.notes if note.reason != before.refused)}
    return _changed(_turned(case, before), before, **changes)


def _refused(case: Case, chunks: Chunks, fact: CommandRefused) -> tuple[Case, Chunks]:
    """If it was the first of its command, nothing is with the system. The stage need not wait for it."""
    before = chunks[fact.chunk]
    open_ones = tuple(at for at in before.left if before.answers[at] == _OPEN)
    kept = (
        note.model_copy(update={"ordinals": tuple(sorted({*note.ordinals} - {*open_ones}))}) for note in before.notes
    )
    note = Note(reason=fact.reason, ordinals=open_ones)
    changes = {
        "notes": (*(each for each in kept if each.ordinals), *((note,) if open_ones else ())),
        "phase": Phase.BARRED if before.tries == 1 else before.phase,
        "refused": fact.reason,
        "exhausted": True,
        "next_at": fact.next_at,
    }
    return _changed(case, before, **changes)


def _named(chunk: ChunkState, command: str) -> dict[str, Any]:
    """What the command names; what earlier ones named is kept, for their receipts may come yet."""
    left = chunk.left
    part = left if len(left) < chunk.summary.size else ()
    if command == chunk.command_id:
        return {"named": {**chunk.named, command: part} if part else chunk.named}
    return {"named": _latest(chunk, command, left)}


def _latest(chunk: ChunkState, command: str, ordinals: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The latest commands of a chunk, in order, with one more: the one before it stands in front of that."""
    earlier = {each: named for each, named in chunk.named.items() if each not in (chunk.command_id, command)}
    named = {**earlier, chunk.command_id: chunk.ordinals, command: ordinals}
    return dict(list(named.items())[-KEPT_COMMANDS:])


def _turned(case: Case, chunk: ChunkState) -> Case:
    """One chunk fewer to which its stage must still come."""
    if not chunk.waits:
        return case
    sent = Counter(case.numbered(chunk.generation).sent) + Counter({chunk.summary.stage: 1})
    return case.with_generation(chunk.generation, sent=dict(sent))


def _barred(case: Case, chunks: Chunks, fact: Barred) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    answers, notes = _reread(before, _DEFERRED if before.phase is Phase.PUT_OFF else (), _OPEN)
    changes = {"phase": Phase.BARRED, "answers": answers, "notes": notes, "next_at": None}
    return _changed(_turned(case, before), before, **changes)


def _recalled(case: Case, chunks: Chunks, fact: Recalled) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    again = before.recalls + (fact.next_at != before.next_at)
    changes = {"phase": Phase.RECALLED, "recalled_for": fact.words, "next_at": fact.next_at, "recalls": again}
    return _changed(case, before, **changes)


def _withdrawn(case: Case, chunks: Chunks, fact: Withdrawn) -> tuple[Case, Chunks]:
    """What the system had put off, it has put off no longer: nobody will do it before it is told again."""
    before = chunks[fact.chunk]
    others = set(range(before.summary.size)) - before.held
    answers, notes = _reread(before, ENDING_LETTERS, _OPEN, others)
    changes = {
        "phase": Phase.BARRED,
        "answers": answers,
        "notes": notes,
        "next_at": None,
        "recalled_for": (),
        "recalls": 0,
    }
    receipt = max(before.receipt, (fact.attempt, fact.sequence))
    return _changed(case, before, **changes, receipt=receipt)


def _holds_asked(case: Case, chunks: Chunks, fact: HoldsAsked) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    asked = tuple(sorted({*before.asked, *fact.holds}))
    changes: dict[str, Any] = {"asked": asked, "asking": fact.number, "asked_at": fact.asked_at or before.asked_at}
    return _changed(case, before, **changes, next_at=fact.next_at or before.next_at)


def _holds_found(case: Case, chunks: Chunks, fact: HoldsFound) -> tuple[Case, Chunks]:
    """What a hold covers and nobody has answered for is held."""
    before = chunks[fact.chunk]
    covered = {ordinal for _, ordinals in fact.covered for ordinal in ordinals}
    answers, notes = _reread(before, _DEFERRED | OPEN_LETTERS, HELD_LETTER, covered)
    changes: dict[str, Any] = {"holds": before.holds | dict(fact.covered), "answers": answers, "notes": notes}
    if fact.number:
        looked_at = max(before.looked_at, fact.number) if fact.after == before.looked_after else fact.number
        changes |= {"looked_at": looked_at, "looked_after": fact.after, "asked": (), "asking": 0, "asked_at": None}
        if before.phase is Phase.BARRED:
            changes["next_at"] = None
    return _changed(case, before, **changes)


def _hold_ended(case: Case, chunks: Chunks, fact: HoldEnded) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    after = before.model_copy(update={"holds": {each: n for each, n in before.holds.items() if each != fact.hold}})
    free = set(before.holds.get(fact.hold, ())) - after.held
    answers, notes = _reread(before, {HELD_LETTER}, _OPEN, free)
    return _changed(case, before, holds=after.holds, answers=answers, notes=notes)


def _reread(
    chunk: ChunkState, letters: Collection[str], becomes: str, among: Collection[int] | None = None
) -> tuple[str, tuple[Note, ...]]:
    """Answers and notes when some letters become another: what was said with them no longer holds."""
    wanted = range(chunk.summary.size) if among is None else among
    changed = {each for each in wanted if chunk.answers[each] in letters}
    answers = "".join(becomes if at in changed else letter for at, letter in enumerate(chunk.answers))
    kept = (note.model_copy(update={"ordinals": tuple(sorted({*note.ordinals} - changed))}) for note in chunk.notes)
    return answers, tuple(note for note in kept if note.ordinals)


def _spared(case: Case, chunks: Chunks, fact: Spared) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    ordinals = before.left
    answers, notes = _reread(before, OPEN_LETTERS, LETTERS[Claim.EXEMPT])
    note = Note(reason=GRANTED_AGAIN, ordinals=ordinals)
    changes = {"answers": answers, "notes": (*notes, note) if ordinals else notes, "phase": Phase.BARRED}
    return _changed(_turned(case, before), before, **changes)


def _exempted(case: Case, chunks: Chunks, fact: Exempted) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    note = Note(reason=DECIDED, ordinals=before.left)
    answers, notes = _reread(before, OPEN_LETTERS, LETTERS[Claim.EXEMPT])
    return _changed(case, before, answers=answers, notes=(*notes, note))


def _lift_due(case: Case, chunks: Chunks, fact: LiftDue) -> tuple[Case, Chunks]:
    """Whatever may have been restricted is to be let go: also what its system failed to answer for."""
    before = chunks[fact.chunk]
    answers, notes = _reread(before, OPEN_LETTERS | _RESTRICTED, _OPEN)
    lifted = tuple(sorted({*before.lifted, *fact.purposes}))
    changes = {"lifting": fact.purposes, "lifted": lifted, "phase": Phase.BARRED, "next_at": None}
    return _changed(case, before, **changes, answers=answers, notes=notes, exhausted=False)


def _deferred(case: Case, chunks: Chunks, fact: Deferred) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    until, letters = fact.until.date().isoformat() if fact.until else "", OPEN_LETTERS | _DEFERRED
    ordinals = tuple(at for at, letter in enumerate(before.answers) if letter in letters)
    note = Note(reason=fact.reason, until=until, ordinals=ordinals)
    answers, notes = _reread(before, letters, LETTERS[Claim.DEFERRED])
    notes = (*notes, note) if ordinals else notes
    changes = {"answers": answers, "notes": notes, "next_at": fact.until, "phase": Phase.PUT_OFF}
    return _changed(_turned(case, before), before, **changes)


def _deferral_ended(case: Case, chunks: Chunks, fact: DeferralEnded) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    answers, notes = _reread(before, _DEFERRED, _OPEN)
    return _changed(case, before, answers=answers, notes=notes, phase=Phase.BARRED, next_at=None)


def _exhausted(case: Case, chunks: Chunks, fact: Exhausted) -> tuple[Case, Chunks]:
    return _changed(case, chunks[fact.chunk], exhausted=True)


def _accepted(case: Case, chunks: Chunks, fact: Accepted) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    changes: dict[str, Any] = {"begun": fact.begun}
    if fact.joint and fact.joint not in before.named:  # what is made under it was made by this command
        changes["named"] = _latest(before, fact.joint, ())
    return _changed(case, before, **changes, receipt=(fact.attempt, fact.sequence), next_at=fact.next_at)


def _replacement_asked(case: Case, chunks: Chunks, fact: ReplacementAsked) -> tuple[Case, Chunks]:
    changes = {"replacement": fact.replacement, "looks": fact.looks, "next_at": fact.next_at}
    return _changed(case, chunks[fact.chunk], **changes)


def _produced(case: Case, chunks: Chunks, fact: Produced) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(case, before, produced=tuple(sorted({*before.produced, *fact.assets})))


def _produced_planned(case: Case, chunks: Chunks, fact: ProducedPlanned) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(case, before, produced=tuple(each for each in before.produced if each not in fact.assets))


def _replacement_judged(case: Case, chunks: Chunks, fact: ReplacementJudged) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    if fact.verdict is Replacement.CLEAN:
        answers, notes = _reread(before, OPEN_LETTERS, LETTERS[Claim.RETRAINED_WITHOUT])
        changes: dict[str, Any] = {"replacement": "", "looks": 0, "clean": fact.replacement, "exhausted": False}
        return _changed(case, before, **changes, answers=answers, notes=notes)
    left = before.left
    answers, notes = _reread(before, OPEN_LETTERS, LETTERS[Claim.FAILED])
    note = Note(reason=f"replacement_{fact.verdict}", ordinals=left)
    walked = fact.replacement if fact.verdict is Replacement.STALE else before.walked
    return _changed(case, before, answers=answers, notes=(*notes, note), walked=walked)


def _answered(case: Case, chunks: Chunks, fact: Answered) -> tuple[Case, Chunks]:
    before = chunks[fact.chunk]
    return _changed(
        case,
        before,
        receipt=max(before.receipt, (fact.attempt, fact.sequence)),
        receipt_content=fact.receipt,
        answers=fact.answers,
        notes=fact.notes,
        next_at=fact.next_at,
        replacement=before.replacement if HELD_LETTER in fact.answers else "",
    )


def _changed(case: Case, before: ChunkState, **changes: Any) -> tuple[Case, Chunks]:
    after = before.model_copy(update=changes)
    if after.next_at is not None and not after.ticks:
        after = after.model_copy(update={"next_at": None})
    if before.settled != after.settled:
        generation = case.numbered(before.generation)
        unsettled = Counter(generation.unsettled)
        unsettled[before.summary.stage] += 1 if before.settled else -1
        case = case.with_generation(before.generation, unsettled=dict(unsettled))
    return recount(case, [before], [after]), {before.summary.digest: after}


def recount(case: Case, before: list[ChunkState], after: list[ChunkState]) -> Case:
    """The case with its counts after some chunks have changed."""
    counts: Counter[Tally] = Counter(dict(case.counts))
    words: Counter[str] = Counter(case.unsettled)
    sums = {"unfinished": case.unfinished, "out": case.out, "live": case.live}
    for sign, chunks in ((-1, before), (1, after)):
        for chunk in chunks:
            for line, number in chunk.tally().items():
                counts[line] += sign * number
            for word in chunk.unsettles:
                words[word] += sign
            sums["unfinished"] += sign * (not chunk.finished)
            sums["out"] += sign * chunk.out
            sums["live"] += sign * chunk.live
    kept = tuple(sorted((line, number) for line, number in counts.items() if number))
    left = {word: number for word, number in sorted(words.items()) if number}
    return case.model_copy(update={"counts": kept, "unsettled": left, **sums})


APPLY: dict[type[Any], Callable[[Case, Chunks, Any], Case | tuple[Case, Chunks]]] = {
    Commanded: _commanded,
    CommandRefused: _refused,
    Joined: _commanded,
    ReplacementAsked: _replacement_asked,
    ReplacementJudged: _replacement_judged,
    Produced: _produced,
    ProducedPlanned: _produced_planned,
    Barred: _barred,
    Recalled: _recalled,
    Withdrawn: _withdrawn,
    HoldsAsked: _holds_asked,
    HoldsFound: _holds_found,
    HoldEnded: _hold_ended,
    Spared: _spared,
    LiftDue: _lift_due,
    Exempted: _exempted,
    Deferred: _deferred,
    DeferralEnded: _deferral_ended,
    Exhausted: _exhausted,
    Accepted: _accepted,
    Answered: _answered,
}
"""What each of these facts changes."""
