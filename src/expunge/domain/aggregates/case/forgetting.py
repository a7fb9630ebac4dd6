"""The end of a case's data: when nobody needs it any more, what names people and assets goes (design: "Forgetting").

What stays of it are counts, dates and keyed digests: enough to catch what comes back years later, and to say that it
was forgotten. Chunks are replaced by the keys of their targets page by page; when the last page is kept, all goes at
once. Until then nothing has gone, so whatever turns up meanwhile finds the case as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from expunge.domain.aggregates.case.chunks import at_once
from expunge.domain.aggregates.case.effects import Forget, ForgetOn, KeepKeys
from expunge.domain.aggregates.case.fact import CaseFact, heard
from expunge.domain.aggregates.case.state import Case, gone_in
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.identity import Keys
from expunge.domain.limits import CHUNKS_PER_PAGE
from expunge.domain.scope import names_of_person
from expunge.domain.topics import READ_AGAIN
from expunge.domain.values import Hex
from expunge.domain.vocabulary import DEFERRALS, OVER, UNDONE, Claim, Status
from expunge.wire.cases.case import ForgetGoesOn, Root
from expunge.wire.cases.words import ForgetSaid, Hold, HoldKind

NOT_ENDED = "case_has_not_ended"
UNDER_HOLD = "case_is_held"
FORGOTTEN_ALREADY = "case_is_forgotten"
FROZEN = "case_is_frozen"
ASKED_ALREADY = "asked_already"


class ForgetAsked(CaseFact):
    """An operator has the case forgotten before its evidence period has passed."""

    fact = "forget_asked"
    operator: str
    control: Hex
    forget_at: datetime

    def change(self, case: Case) -> Case:
        """That is its time, unless it goes on before. Nobody looks once more into what is to be forgotten."""
        return heard(case, self.control).model_copy(update={"forget_at": self.forget_at, "probes_due": ()})


class Forgotten(CaseFact):
    """What named people and assets in the case has gone."""

    fact = "forgotten"
    at: datetime

    def change(self, case: Case) -> Case:
        """What its publisher called it goes, too."""
        gone: dict[str, Any] = {"request_id": "", "correlation_id": None, "batch": None, "forget_at": None}
        gone |= {"forgotten_gone": dict(sorted(gone_in(case).items())), "probe": None, "probes_due": ()}
        return case.model_copy(update=gone | {"forgotten": len(case.generations), "forgotten_at": self.at})


def may_be_forgotten(case: Case) -> bool:
    """Whether nothing is left to be done in it, to end, or to be let go of: what is kept of it is kept as evidence."""
    if case.is_forgotten:
        return False
    if case.status in OVER:
        return not case.out
    if case.dry_run:
        return bool(case.generations) and case.open_generation is None and not case.watermark
    ended = case.status in {Status.COMPLETED, Status.COMPLETED_WITH_DEFERRALS}
    waits = case.out or case.live or case.held or case.watermark or case.words or case.cancelling or case.probing
    walks = case.open_generation is not None or not all(each.done for each in case.generations)
    return ended and not (waits or walks or case.count(UNDONE | DEFERRALS | {Claim.RESTRICTED}))


def ask(turn: Turn, message: ForgetSaid) -> None:
    """It is forgotten as soon as nobody can read again what was said of it on topics that are kept for a while."""
    if message.content in turn.case.controls:
        return
    reason = _why_not(turn) or (UNDER_HOLD if _names_held(turn, _all_chunks(turn)) else "")
    if reason:
        turn.emit(SetAside(message.place, message.content, reason))
        return
    if turn.case.forget_at is not None and turn.case.forget_at <= turn.now:  # another word would put it off
        turn.emit(SetAside(message.place, message.content, ASKED_ALREADY))
        return
    turn.record(ForgetAsked(operator=message.operator, control=message.content, forget_at=turn.now))


def time_of(case: Case) -> datetime | None:
    """When a case is forgotten: not before what was said of it last can be read no more; None: at no time yet."""
    if case.forget_at is None or not may_be_forgotten(case):
        return None
    return max(case.forget_at, (case.told_at or case.now) + READ_AGAIN)


def is_due(turn: Turn) -> None:
    """Its time has come."""
    case, wanted = turn.case, time_of(turn.case)
    if wanted is not None and turn.now >= wanted:
        go_on(turn, ForgetGoesOn(case_id=case.case_id, serial=case.sequence))


def go_on(turn: Turn, message: ForgetGoesOn) -> None:
    """Keep what must be known of some chunks; with the last of them the case is forgotten.

    A page that was asked for before something happened in the case asks for nothing any more. Each page looks for what
    it names itself in the holds on assets; one that was placed since the first page sends all back to the first.
    """
    if message.serial != turn.case.sequence or _why_not(turn):
        return
    newest = max((hold.number for hold in turn.standing.active), default=0)
    every = _all_chunks(turn)
    left = [digest for digest in every if digest > message.after or newest > message.holds]
    page = _page(turn, left)
    if _names_held(turn, page):
        return
    if page:
        turn.emit(KeepKeys(page))
    if len(page) < len(left):
        turn.emit(ForgetOn(page[-1], message.serial, max(newest, message.holds)))
        return
    turn.record(Forgotten(at=turn.now))
    turn.emit(Forget(tuple(every)))


def _all_chunks(turn: Turn) -> list[str]:
    return sorted({digest for each in turn.case.generations for digest in turn.digests(each.number)})


def _page(turn: Turn, digests: Sequence[str]) -> tuple[str, ...]:
    page = digests[:CHUNKS_PER_PAGE]
    chunks = (turn.chunk(digest) for digest in page)
    return tuple(page[: at_once(chunk.summary.size if chunk else 0 for chunk in chunks)])


def _why_not(turn: Turn) -> str:
    case = turn.case
    if case.is_forgotten:
        return FORGOTTEN_ALREADY
    if not may_be_forgotten(case):
        return NOT_ENDED
    if case.case_id in turn.standing.frozen:  # something waits for it
        return FROZEN
    root, keys = turn.root, turn.keys
    return UNDER_HOLD if any(covers(hold, case, root, keys) for hold in turn.standing.active) else ""


def covers(hold: Hold, case: Case, root: Root | None, keys: Keys) -> bool:
    """Whether a hold asks that evidence of a case is kept: it is about the case, or about what that is about.

    Args:
        hold: the hold.
        case: the case.
        root: what it was opened with.
        keys: of people and assets.
    """
    value, kind = hold.scope.value, hold.scope.kind
    if kind is HoldKind.CASE:
        return value == case.case_id
    if kind is HoldKind.SYSTEM:
        return any(line.system == value for line, _ in case.counts)
    if root is None:
        return False
    if kind is HoldKind.SUBJECT:
        return keys.is_one([each.pseudonym for each in root.scope.subjects], names_of_person(value))
    if kind is HoldKind.DATA_SOURCE:
        return value in root.scope.data_sources
    return bytes.fromhex(value) in root.withdrawn_nodes(keys.asset)


def _names_held(turn: Turn, digests: Sequence[str]) -> bool:
    """Whether a hold on an asset covers a target of some chunks."""
    held = {hold.scope.value for hold in turn.standing.active if hold.scope.kind is HoldKind.ASSET}
    chunks = (chunk for digest in digests if held and (chunk := turn.chunk(digest)) is not None)
    return any(turn.keys.asset(asset).hex() in held for chunk in chunks for asset in turn.body(chunk).assets)
