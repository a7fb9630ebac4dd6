"""Words that are held against the chunks of a case, page by page: what operators say, and what changes what they meant.

Commands that are with systems are withdrawn, and a word is in force when the systems have answered (rule "withdrawn
first"). What follows for each chunk the gate decides.
"""

from __future__ import annotations

from expunge.domain.aggregates.case import approval, decisions, retrying
from expunge.domain.aggregates.case.chunks import ChunkState, Phase, at_once
from expunge.domain.aggregates.case.deferral import HAPPENED
from expunge.domain.aggregates.case.effects import ReconsiderOn
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.holds import IndexChanged
from expunge.domain.aggregates.case.restriction import GRANTED, PurposeGranted
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.limits import CHUNKS_PER_MESSAGE
from expunge.domain.vocabulary import OVER
from expunge.wire.cases.case import GrantedAgain, LineageChanged, Reconsider
from expunge.wire.cases.words import RetrySaid

INDEX = "index"
"""The lineage of something changed that holds were held against: all live chunks are looked at."""


class Reconsidering(CaseFact):
    """What an operator said is held against the chunks of a large case, page by page."""

    fact = "reconsidering"
    word: str
    serial: int
    done: bool

    def change(self, case: Case) -> Case:
        """Of several passes for one word the latest says when all is done."""
        words = {word: serial for word, serial in case.reconsidering.items() if word != self.word}
        words |= {} if self.done else {self.word: self.serial}
        return case.model_copy(update={"reconsidering": dict(sorted(words.items()))})


def reconsider(turn: Turn, message: Reconsider) -> None:
    """Hold what stands against one page of chunks, and go on behind whatever waits."""
    if turn.case.dry_run and not turn.case.cancelling:
        return
    if message.word in {GRANTED, decisions.DECIDED, HAPPENED} or message.word.startswith(retrying.RETRY):
        _look_at_all(turn, message.word, message.after)
    else:
        _look_at_live(turn, message)


def grant(turn: Turn, message: GrantedAgain) -> None:
    """A revoked purpose was granted again, or a restriction lifted.

    Walks from here on leave alone what was collected since, and what was restricted for it is let go.
    """
    if message.granted not in turn.case.granted:
        turn.record(PurposeGranted(granted=message.granted))
        _look_at_all(turn, GRANTED, "")


def retry(turn: Turn, message: RetrySaid) -> None:
    """An operator has it tried at once what would be tried later."""
    case = turn.case
    if message.content in case.controls:
        return
    if case.status in OVER or case.cancelling or case.dry_run or not retrying.owes(case, message.system):
        turn.emit(SetAside(message.place, message.content, retrying.NOTHING_TO_RETRY))
        return
    turn.record(retrying.Retried(operator=message.operator, control=message.content, system=message.system))
    _look_at_all(turn, retrying.RETRY + message.system, "")


def look_anew(turn: Turn, message: LineageChanged) -> None:
    """What was found for holds may hold no longer: no command leaves, or is repeated, before it was looked at anew."""
    if turn.standing.asks_the_index and turn.case.alive:
        turn.record(IndexChanged())
        reconsider(turn, Reconsider(case_id=message.case_id, word=INDEX))


def _look_at_live(turn: Turn, message: Reconsider) -> None:
    approval.look_at_groups(turn)
    if turn.case.status in OVER:
        return
    left = turn.live(message.after, CHUNKS_PER_MESSAGE + 1)
    page = left[: min(CHUNKS_PER_MESSAGE, at_once(chunk.summary.size for chunk in left))]
    for chunk in page:
        turn.look_at(chunk.summary.digest)
    more = len(left) > len(page)
    serial = message.serial or turn.case.sequence
    if more and not message.serial:
        turn.record(Reconsidering(word=message.word, serial=serial, done=False))
    if not more and turn.case.reconsidering.get(message.word) == message.serial:
        turn.record(Reconsidering(word=message.word, serial=serial, done=True))
    if more:
        turn.emit(ReconsiderOn(message.word, page[-1].summary.digest, serial))


def _look_at_all(turn: Turn, word: str, after: str) -> None:
    """Look at one page of all chunks, answered ones too."""
    every = sorted({digest for each in turn.case.generations for digest in turn.digests(each.number)})
    left = [digest for digest in every if digest > after]
    chunks = (turn.chunk(digest) for digest in left[:CHUNKS_PER_MESSAGE])
    page = left[: min(CHUNKS_PER_MESSAGE, at_once(chunk.summary.size if chunk else 0 for chunk in chunks))]
    for digest in page:
        if (chunk := turn.chunk(digest)) is not None:
            _look_at(turn, word, chunk)
    if len(left) > len(page):
        turn.emit(ReconsiderOn(word, page[-1], turn.case.sequence))


def _look_at(turn: Turn, word: str, chunk: ChunkState) -> None:
    if word == decisions.DECIDED:
        decisions.exempt(turn, chunk)
    elif word.startswith(retrying.RETRY):
        retrying.try_now(turn, chunk, word.removeprefix(retrying.RETRY))
    elif chunk.phase is not Phase.WAITING:
        turn.look_at(chunk.summary.digest)
