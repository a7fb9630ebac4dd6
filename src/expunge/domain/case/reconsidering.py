"""What operators say of running cases (cancelled, paused, held, let go again), held against every live chunk.

Commands that are with systems are withdrawn, and the word is in force when the systems have answered (rule "withdrawn
first").
"""

from __future__ import annotations

from expunge.domain.case import (
    chunk_facts,
    closing,
    commanding,
    confirm,
    deciding,
    facts,
    guarding,
    purging,
    restrictions,
    walking,
)
from expunge.domain.case.chunks import ChunkState, Phase
from expunge.domain.case.commanding import CANCEL
from expunge.domain.case.messages import Cancelled, GrantedAgain, HoldsSeen, IndexChanged, Receipted, Reconsider
from expunge.domain.case.turn import ReconsiderOn, SetAside, SuppressNoLonger, Turn
from expunge.domain.vocabulary import OVER, Status

CHUNKS_PER_MESSAGE = 200


def cancelled(turn: Turn, message: Cancelled) -> None:
    """The request is taken back: nothing more is commanded, and the case ends when no system has a command any more.

    What is gone by then is gone, and said.
    """
    case = turn.case
    if message.content in case.controls:
        return
    if case.status in OVER or case.cancelling:
        turn.emit(SetAside(message.place, message.content, "case_has_ended"))
        return
    guarding.leave_groups(turn, *case.generations)
    turn.record(facts.CancelAsked(operator=message.operator, control=message.content))
    reconsider(turn, Reconsider(case_id=case.case_id, word=CANCEL))


def reconsider(turn: Turn, message: Reconsider) -> None:
    """Hold what stands against one page of live chunks, and go on behind whatever waits."""
    if turn.case.dry_run and not turn.case.cancelling:
        return
    if message.word in {restrictions.GRANTED, deciding.DECIDED, deciding.HAPPENED}:
        look_at_all(turn, message)
        return
    guarding.look_at_groups(turn)
    if turn.case.status in OVER:
        return
    page = turn.live(message.after, CHUNKS_PER_MESSAGE + 1)
    for chunk in page[:CHUNKS_PER_MESSAGE]:
        commanding.look_again(turn, turn.chunks.get(chunk.summary.digest, chunk))
        if not turn.case.cancelling:
            walking.plan_produced(turn, chunk.summary.digest)
    more = len(page) > CHUNKS_PER_MESSAGE
    serial = message.serial or turn.case.sequence
    if more and not message.serial:
        turn.record(facts.Reconsidering(word=message.word, serial=serial, done=False))
    if not more and turn.case.reconsidering.get(message.word) == message.serial:
        turn.record(facts.Reconsidering(word=message.word, serial=serial, done=True))
    if more:
        turn.emit(ReconsiderOn(message.word, page[CHUNKS_PER_MESSAGE - 1].summary.digest, serial))
    _go_on(turn)


def granted(turn: Turn, message: GrantedAgain) -> None:
    """A revoked purpose was granted again, or a restriction lifted.

    Walks from here on leave alone what was collected since, and what was restricted for it is let go.
    """
    if message.granted in turn.case.granted:
        return
    turn.record(facts.PurposeGranted(granted=message.granted))
    look_at_all(turn, Reconsider(case_id=turn.case.case_id, word=restrictions.GRANTED))


def look_at_all(turn: Turn, message: Reconsider) -> None:
    """Look at one page of all chunks, answered ones too, and go on behind whatever waits."""
    every = sorted({digest for each in turn.case.generations for digest in turn.digests(each.number)})
    page = [digest for digest in every if digest > message.after][: CHUNKS_PER_MESSAGE + 1]
    for digest in page[:CHUNKS_PER_MESSAGE]:
        chunk = turn.chunk(digest)
        if chunk is not None and message.word == deciding.DECIDED:
            deciding.exempt(turn, chunk)
        elif chunk is not None and chunk.phase is not Phase.WAITING:
            commanding.look_again(turn, chunk)
    if len(page) > CHUNKS_PER_MESSAGE:
        turn.emit(ReconsiderOn(message.word, page[CHUNKS_PER_MESSAGE - 1], turn.case.sequence))
    _go_on(turn)


INDEX = "index"
"""As a word that is held against all live chunks: the lineage of something changed that holds were held against."""


def index_changed(turn: Turn, message: IndexChanged) -> None:
    """What was found for holds may hold no longer: no command leaves, or is repeated, before it was looked at anew."""
    del message
    if turn.standing.asks_the_index and turn.case.alive:
        turn.record(facts.IndexChanged())
        reconsider(turn, Reconsider(case_id=turn.case.case_id, word=INDEX))


def holds_seen(turn: Turn, message: HoldsSeen) -> None:
    """Which targets the holds cover: those are kept, the rest goes on."""
    for found in message.found:
        chunk = turn.chunk(found.chunk)
        if chunk is None or (message.after, message.number) <= (chunk.looked_after, chunk.looked_at):
            continue
        if not message.ready:
            if chunk.asked:
                commanding.ask_later(turn, chunk)
            continue
        fact = chunk_facts.HoldsFound(
            chunk=found.chunk,
            covered=found.covered,
            number=message.number,
            after=message.after,
            ahead=message.ahead,
        )
        turn.record(fact, chunk)
        commanding.look_again(turn, turn.chunks[found.chunk])
        walking.plan_produced(turn, found.chunk)
    _go_on(turn)


def withdrawn(turn: Turn, chunk: ChunkState, message: Receipted) -> None:
    """A system says that it will not carry out a withdrawn command; what was free meanwhile is commanded anew."""
    if chunk.command_id != message.command_id or chunk.phase is not Phase.RECALLED:
        return
    fact = chunk_facts.Withdrawn(chunk=chunk.summary.digest, attempt=message.attempt, sequence=message.sequence)
    turn.record(fact, chunk)
    if turn.chunks[chunk.summary.digest].live and not turn.case.cancelling:
        commanding.look_again(turn, turn.chunks[chunk.summary.digest])


def _go_on(turn: Turn) -> None:
    if turn.case.cancelling:
        end_if_cancelled(turn)
    else:
        purging.advance(turn)


def end_if_cancelled(turn: Turn) -> None:
    """The cancellation is confirmed once no system has a command of the case that it may still carry out."""
    case = turn.case
    if not case.cancelling or case.out or case.status in OVER:
        return
    turn.record(facts.Closed(status=Status.CANCELLED))
    confirm.say(turn, "cancelled", outcome=closing.CANCELLED)
    if case.let_go:
        turn.emit(SuppressNoLonger())
