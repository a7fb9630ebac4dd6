"""Probes: somebody else than its agent looks into a system whether what that called gone is gone (rule "probed").

A probe asks about all obligations that were answered so, or about a sample that nobody can foretell, page by page. What
is found is open again, and commanded anew: no answer to an earlier command closes it. What is not there is of grade E3.
Who does not answer in time has shown nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from expunge.domain.aggregates.case import closing, confirm
from expunge.domain.aggregates.case.chunks import (
    FAILED_LETTER,
    GONE,
    ChunkState,
    Disproved,
    Looked,
    Note,
    Phase,
    at_once,
)
from expunge.domain.aggregates.case.effects import AskProber, ProbeOn
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, Chunks, heard, reread
from expunge.domain.aggregates.case.state import Case, Probe, ProbeDue, gone_in
from expunge.domain.aggregates.case.turn import Turn
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.digest import name
from expunge.domain.limits import CHUNKS_PER_MESSAGE
from expunge.domain.planning.chunks import Chunk
from expunge.domain.values import A_DAY, Hex
from expunge.domain.vocabulary import FINAL, OVER, WORST_FIRST, Finding, Status
from expunge.wire.cases.case import ProbeAnswered, ProbeGoesOn
from expunge.wire.cases.words import ProbeSaid

PATIENCE = timedelta(days=7)
"""So long a prober is waited for."""
FOUND_BY_PROBE = "found_by_probe"
"""Why an obligation is open again: its system called it gone, and it is there."""
NOTHING_TO_PROBE = "nothing_to_probe"
NOT_PROBED = "answer_without_probe"


class ProbeBegun(CaseFact):
    """A probe begins: an operator has asked for it, or it is time for it again."""

    fact = "probe_begun"
    number: int
    operator: str = ""
    """Empty where it is one that was asked for before, again."""
    control: str = ""
    seed: Hex
    sample: int
    of: int
    ends_at: datetime
    due: tuple[ProbeDue, ...]
    """What is left of those to come."""

    def change(self, case: Case) -> Case:
        """Its questions are to be put."""
        probe = Probe(number=self.number, seed=self.seed, sample=self.sample, of=self.of, ends_at=self.ends_at)
        after = heard(case, self.control) if self.control else case
        return after.model_copy(update={"probe": probe, "probes": self.number, "probes_due": self.due})


class ProbeAsked(ChunkFact):
    """A prober is asked about targets of a chunk."""

    fact = "probe_asked"
    number: int
    ordinals: tuple[int, ...]

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What an earlier probe has heard is said by its facts."""
        del chunk
        return {"looked": Looked(number=self.number, silent=self.ordinals)}

    def apply(self, case: Case, chunks: Chunks) -> tuple[Case, Chunks]:
        """They are counted."""
        after, touched = super().apply(case, chunks)
        return _counted(after, self.number, asked=len(self.ordinals)), touched


class ProbePut(CaseFact):
    """The questions of a probe about some chunks were put."""

    fact = "probe_put"
    number: int
    after: str
    """The last of them."""
    passed: int
    """Of how many obligations it was asked, or not, so far."""
    is_all: bool

    def change(self, case: Case) -> Case:
        """It ends when all of them are answered."""
        if case.probe is None or case.probe.number != self.number:
            return case
        so_far = {"after": self.after, "passed": self.passed, "is_asked": self.is_all}
        return case.model_copy(update={"probe": case.probe.model_copy(update=so_far)})


class Probed(ChunkFact):
    """A prober answered about targets of a chunk, which are named by their ordinals."""

    fact = "probed"
    number: int
    by: str
    """The id of its key."""
    absent: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    """There; what had been called gone is open again."""
    unknown: tuple[int, ...] = ()
    received: str
    """Which part of the case in `plans` is the answer as it came."""

    def changes(self, chunk: ChunkState) -> dict[str, Any]:
        """What was found is open, and to be commanded again; what its system has said of it counts no longer."""
        after: dict[str, Any] = {}
        if chunk.looked is not None and chunk.looked.number == self.number:
            after["looked"] = self._heard(chunk.looked)
        there = {each: Disproved(self.number, chunk.attempt) for each in self.found}
        if there:
            after["disproved"] = dict(sorted((chunk.disproved | there).items()))
        if back := tuple(each for each in self.found if chunk.answers[each] in GONE):
            after |= reread(chunk, GONE, FAILED_LETTER, back)
            after["notes"] = (*after["notes"], Note(reason=FOUND_BY_PROBE, ordinals=back))
            if chunk.phase is Phase.SENT and not chunk.out:  # it has been carried out, as its system says
                after |= {"phase": Phase.BARRED, "next_at": None}
        return after

    def _heard(self, looked: Looked) -> Looked:
        told = {*self.absent, *self.found, *self.unknown}
        return Looked(
            number=looked.number,
            moved=looked.moved,
            silent=tuple(each for each in looked.silent if each not in told),
            unknown=tuple(sorted({*looked.unknown} - told | {*self.unknown})),
            absent=tuple(sorted({*looked.absent} - told | {*self.absent})),
        )

    def apply(self, case: Case, chunks: Chunks) -> tuple[Case, Chunks]:
        """They are counted: what was not told before, and what was told otherwise."""
        before = chunks[self.chunk].looked
        after, touched = super().apply(case, chunks)
        if before is None or before.number != self.number:
            return _counted(after, self.number, besides=len(self.found)), touched
        asked = before.asked()
        again = {*self.absent, *self.found}
        numbers = {
            "absent": len(self.absent) - len(again.intersection(before.absent)),
            "found": len(asked.intersection(self.found)),
            "besides": len(self.found) - len(asked.intersection(self.found)),
            "unknown": len(self.unknown) - len(again.intersection(before.unknown)),
        }
        return _counted(after, self.number, **numbers), touched


class ProbeEnded(CaseFact):
    """Everybody who was asked has answered, is waited for no longer, or is asked anew by another probe."""

    fact = "probe_ended"
    number: int
    status: Status
    """Of the case by then: where it has ended, its certificate is made anew."""
    silent: int
    """Obligations of which nobody has said anything."""

    def change(self, case: Case) -> Case:
        """What is found later still counts."""
        probe = case.probe
        over = probe.model_copy(update={"is_over": True}) if probe and probe.number == self.number else probe
        return case.model_copy(update={"probe": over})


def _counted(case: Case, number: int, **numbers: int) -> Case:
    probe = case.probe
    if probe is None or probe.number != number:
        return case
    sums = {each: getattr(probe, each) + more for each, more in numbers.items()}
    return case.model_copy(update={"probe": probe.model_copy(update=sums)})


def ask(turn: Turn, message: ProbeSaid) -> None:
    """An operator asks for a probe, and perhaps for others later; one that goes on ends with that."""
    case = turn.case
    if message.content in case.controls:
        return
    if case.status in OVER or case.cancelling or case.is_forgotten or not _number(turn):
        turn.emit(SetAside(message.place, message.content, NOTHING_TO_PROBE))
        return
    due = tuple(ProbeDue(at=turn.now + days * A_DAY, sample=message.sample) for days in sorted(message.again_days))
    _begin(turn, message.sample, due, operator=message.operator, control=message.content)


def begin_again(turn: Turn) -> None:
    """It is time for a probe that an operator has asked for; of several whose time has come one is made."""
    now = [each for each in turn.case.probes_due if each.at <= turn.now]
    if now and not turn.case.cancelling:
        sample = 0 if any(not each.sample for each in now) else max(each.sample for each in now)
        _begin(turn, sample, turn.case.probes_due[len(now) :])


def _begin(turn: Turn, sample: int, due: tuple[ProbeDue, ...], *, operator: str = "", control: str = "") -> None:
    if turn.case.probing is not None:
        _end(turn)
    number = turn.case.probes + 1
    begun = ProbeBegun(
        number=number,
        operator=operator,
        control=control,
        seed=turn.keys.content(f"probe {number} of {turn.case.case_id}".encode()),
        sample=sample,
        of=_number(turn),
        ends_at=turn.now + PATIENCE,
        due=due,
    )
    turn.record(begun)
    go_on(turn, ProbeGoesOn(case_id=turn.case.case_id, number=number, after="", passed=0))


def go_on(turn: Turn, message: ProbeGoesOn) -> None:
    """Put the questions about some chunks, once, whatever is said twice; a probe that has ended asks nothing more."""
    probe = turn.case.probing
    here = (message.number, message.after, message.passed)
    if probe is None or probe.is_asked or here != (probe.number, probe.after, probe.passed):
        return
    kept = [each.number for each in turn.case.generations if each.number > turn.case.forgotten]
    every = sorted({digest for number in kept for digest in turn.digests(number)})
    left = [digest for digest in every if digest > message.after][: CHUNKS_PER_MESSAGE + 1]
    chunks = [chunk for digest in left if (chunk := turn.chunk(digest)) is not None]
    page = chunks[: min(CHUNKS_PER_MESSAGE, at_once(chunk.summary.size for chunk in chunks))]
    passed = message.passed
    for chunk in page:
        eligible = _eligible(turn, chunk)
        ordinals = chosen(probe, chunk.summary.digest, eligible, passed)
        passed += len(eligible)
        if ordinals:
            asked = ProbeAsked(chunk=chunk.summary.digest, number=probe.number, ordinals=ordinals)
            turn.emit(AskProber(turn.change(asked), probe.ends_at))
    after = page[-1].summary.digest if page else message.after
    more = len(chunks) > len(page)
    turn.record(ProbePut(number=probe.number, after=after, passed=passed, is_all=not more))
    if more:
        turn.emit(ProbeOn(probe.number, after, passed))


def _number(turn: Turn) -> int:
    """How many obligations could be looked at: called gone, in a system that somebody looks into."""
    gone = gone_in(turn.case)
    probed = [each.name for each in turn.registry.systems if each.is_probed]
    return sum(gone[system] - turn.case.forgotten_gone.get(system, 0) for system in probed)


def _eligible(turn: Turn, chunk: ChunkState) -> tuple[int, ...]:
    """The same of one chunk. What is commanded for several cases at once is nobody's alone to command again."""
    if not turn.system(chunk).is_probed or chunk.pooled:
        return ()
    return tuple(ordinal for ordinal, letter in enumerate(chunk.answers) if letter in GONE)


def chosen(probe: Probe, chunk: str, eligible: Sequence[int], passed: int) -> tuple[int, ...]:
    """The ordinals of a chunk that a probe asks about.

    Each chunk has its share of the sample, which is spread evenly from a beginning that the seed says; which of its
    targets these are, a digest under the seed says. So all together are as many as were asked for.

    Args:
        probe: which probe.
        chunk: the digest of the chunk.
        eligible: the ordinals that can be asked about.
        passed: how many there were in chunks before it.
    """
    if not probe.sample or probe.sample >= probe.of:
        return tuple(eligible)
    offset = int(probe.seed, 16) % probe.of
    begin, end = ((probe.sample * at + offset) // probe.of for at in (passed, passed + len(eligible)))
    drawn = sorted(eligible, key=lambda ordinal: name(probe.seed, chunk, ordinal))
    return tuple(sorted(drawn[: end - begin]))


def take_answer(turn: Turn, message: ProbeAnswered) -> None:
    """What a prober has found: each finding counts once, and whatever was found counts however late it is said."""
    chunk = turn.chunk_of(message.command_id)
    if chunk is None or chunk.summary.system != message.system or message.number > turn.case.probes:
        turn.emit(SetAside(message.place, message.content, NOT_PROBED))
        return
    said = dict(_findings(turn.body(chunk), chunk, message))
    probed = Probed(
        chunk=chunk.summary.digest,
        number=message.number,
        by=message.by,
        found=tuple(_found(chunk, message.number, said)),
        absent=_told(turn, chunk, message.number, said, Finding.ABSENT),
        unknown=_told(turn, chunk, message.number, said, Finding.UNKNOWN),
        received=message.received,
    )
    if turn.case.status in OVER:
        if probed.found:  # nobody is told anything more in its name: a person must see it
            turn.emit(SetAside(message.place, message.content, FOUND_BY_PROBE))
        return
    if probed.found or probed.absent or probed.unknown:
        turn.record(probed)
    if probed.found:
        turn.look_at(chunk.summary.digest)
    is_back = any(chunk.answers[each] in GONE for each in probed.found)
    if is_back and turn.case.status in FINAL and not turn.case.cancelling:
        _reopen(turn)


def _reopen(turn: Turn) -> None:
    """What was said when the case ended is true no more: it ends anew, and then its certificate says so."""
    was_done = turn.case.status in closing.DONE
    turn.record(closing.Reopened(status=Status.PURGING))
    if was_done:
        confirm.say(turn, "reopened")


def _findings(body: Chunk, chunk: ChunkState, message: ProbeAnswered) -> Iterator[tuple[int, Finding]]:
    """What is said of each target, by its ordinal; of two findings the worse counts."""
    single: dict[str, Finding] = {}
    for asset, finding in message.answers:
        single[asset] = min(finding, single.get(asset, finding), key=WORST_FIRST.index)
    asked: Collection[int] = _asked(chunk, message.number)
    current = chunk.looked is not None and chunk.looked.number == message.number
    if not current and message.all is Finding.FOUND:  # by an earlier probe: which it asked about is not known any more
        asked = range(chunk.summary.size)
    for ordinal, asset in enumerate(body.assets):
        said = single.get(asset) or (message.all if ordinal in asked else None)
        if said is not None:
            yield ordinal, said


def _asked(chunk: ChunkState, number: int) -> frozenset[int]:
    looked = chunk.looked
    return looked.asked() if looked and looked.number == number else frozenset()


def _found(chunk: ChunkState, number: int, said: dict[int, Finding]) -> Iterator[int]:
    """What was found of what this probe asked about, or is called gone, unless that is known by it or a later one."""
    asked = _asked(chunk, number)
    for ordinal in [each for each, finding in said.items() if finding is Finding.FOUND]:
        known = chunk.disproved.get(ordinal)
        if ordinal in asked or (chunk.answers[ordinal] in GONE and (known is None or known.number < number)):
            yield ordinal


def _told(turn: Turn, chunk: ChunkState, number: int, said: dict[int, Finding], finding: Finding) -> tuple[int, ...]:
    """What was not found, or cannot be told, of what nobody had told by then.

    That something was not there when its system had not yet said for the last time that it is gone, tells nothing.
    """
    if turn.case.probing is None or turn.case.probing.number != number or chunk.looked is None:
        return ()
    looked = chunk.looked
    known = {*looked.absent} | ({*looked.unknown} if finding is Finding.UNKNOWN else set())
    stale = {at for at, each in said.items() if each is Finding.ABSENT and at in looked.moved}
    worth = said | dict.fromkeys(stale, Finding.UNKNOWN)
    return tuple(sorted(each for each in _asked(chunk, number) - known if worth.get(each) is finding))


def end(turn: Turn) -> None:
    """End a probe of which everything is answered, or whose time is over."""
    probe = turn.case.probing
    if probe is not None and ((probe.is_asked and not probe.silent) or turn.now >= probe.ends_at):
        _end(turn)


def _end(turn: Turn) -> None:
    probe = turn.case.probing
    if probe is not None:
        turn.record(ProbeEnded(number=probe.number, status=turn.case.status, silent=probe.silent))
