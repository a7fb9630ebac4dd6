"""A case told as sentences, from its facts: what happened, when, and who said so. Nobody and no asset is named in them.

Facts that say the same of several chunks within a minute are one sentence, with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from expunge.domain.aggregates.case.chunks import CLAIMS
from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.planning.chunks import ChunkSummary
from expunge.domain.vocabulary import MEANINGS, OPEN, Claim

TOGETHER_SECONDS = 60
"""So close together facts are told in one sentence."""


class Sentence(NamedTuple):
    """What happened."""

    at: datetime
    """When the first of its facts was said."""
    text: str
    facts: int = 1
    """How many facts it tells."""


def told(facts: Iterable[tuple[datetime, CaseFact]]) -> Iterator[Sentence]:
    """The history of a case.

    Args:
        facts: all of them in order, each with its moment.
    """
    known: dict[str, ChunkSummary] = {}
    open_: dict[tuple[str, str], tuple[datetime, Counter[str], int]] = {}
    for at, fact in facts:
        for each in getattr(fact, "chunks", ()) if fact.fact == "task_answered" else ():
            known[each.digest] = each
        say = SENTENCES[fact.fact]
        if not isinstance(say, Several):
            yield from _settled(open_, at if say is None else None)
            if say is not None:
                yield Sentence(at, say(fact))
            continue
        yield from _settled(open_, at)
        summary = known.get(getattr(fact, "chunk", ""))
        key = (fact.fact, summary.system if summary else "")
        first, counted, number = open_.get(key, (at, Counter(), 0))
        counted.update(say.counts(fact, summary))
        open_[key] = (first, counted, number + 1)
    yield from _settled(open_, None)


def _settled(
    open_: dict[tuple[str, str], tuple[datetime, Counter[str], int]], at: datetime | None
) -> Iterator[Sentence]:
    """What is told of several chunks, as soon as nothing more belongs to it at a moment; None: nothing ever will."""
    over = [
        key for key, (first, _, _) in open_.items() if at is None or (at - first).total_seconds() > TOGETHER_SECONDS
    ]
    for key in over:
        first, counted, number = open_.pop(key)
        several = SENTENCES[key[0]]
        if isinstance(several, Several):
            yield Sentence(first, several.text(key[1] or "a system", counted), number)


class Several(NamedTuple):
    """How facts of a sort are told together."""

    counts: Callable[[Any, ChunkSummary | None], Mapping[str, int]]
    """What each adds up to."""
    text: Callable[[str, Mapping[str, int]], str]
    """The sentence, of a system and the sums."""


def _targets(fact: Any, chunk: ChunkSummary | None) -> dict[str, int]:
    del fact
    if chunk is None:
        return {}
    what = "holding" if chunk.holding else chunk.kind.value
    return {f"{chunk.action.value.replace('_', ' ')} {{}} {what}": chunk.size}


PLURALS = {"index": "indexes", "recipient_copy": "recipient copies"}


def _list(counted: Mapping[str, int]) -> str:
    return ", ".join(_item(what, number) for what, number in sorted(counted.items())) or "nothing that is known"


def _item(what: str, number: int) -> str:
    before, is_of_kind, kind = what.partition("{} ")
    if not is_of_kind:
        return f"{number:,} {what}"
    said = kind if number == 1 else PLURALS.get(kind, f"{kind}s")
    return f"{before}{number:,} {said.replace('_', ' ')}"


def _claims(fact: Any, chunk: ChunkSummary | None) -> dict[str, int]:
    del chunk
    return Counter(_claim(CLAIMS[letter]) for letter in fact.answers)


def _claim(claim: str) -> str:
    return "still open" if claim == OPEN else MEANINGS[Claim(claim)].said


def _ordinals(*names: str) -> Callable[[Any, ChunkSummary | None], Mapping[str, int]]:
    words = {"absent": "not there", "found": "still there", "unknown": "that nobody can tell of"}
    return lambda fact, _: {words[each]: len(getattr(fact, each)) for each in names if getattr(fact, each)}


def _reasons(fact: Any, chunk: ChunkSummary | None) -> dict[str, int]:
    return {str(fact.reason).replace("_", " "): chunk.size if chunk else 1}


def _day(moment: datetime | None) -> str:
    return moment.date().isoformat() if moment else "no day that is known"


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


def _who(fact: Any) -> str:
    return f"operator {fact.operator}" if fact.operator else "policy"


def _about(text: str, *, counts: Callable[[Any, ChunkSummary | None], Mapping[str, int]] = _targets) -> Several:
    return Several(counts, lambda system, counted: text.format(system=system, what=_list(counted)))


def _opened(fact: Any) -> str:
    dry = ", as a dry run: nothing is carried out" if fact.dry_run else ""
    return (
        f"{fact.publisher} asked, under {fact.regime.value} ({fact.scope.value.replace('_', ' ')}{dry}); received on "
        f"{_day(fact.received_at)}, due on {_day(fact.due_at)}"
    )


def _fixed(fact: Any) -> str:
    size = f"{_item('{} obligation', fact.obligations)} in {_item('{} command', fact.chunks)}"
    return f"plan {fact.generation} is fixed: {size} ({fact.plan_digest[:12]})"


def _decided(fact: Any) -> str:
    where = f"in {fact.system}" if fact.system else "of a model"
    return f"{_who(fact)} decided what is open {where}: {fact.option.value.replace('_', ' ')}"


def _probe(fact: Any) -> str:
    which = f"a sample of {fact.sample:,} of {fact.of:,}" if fact.sample else f"all {fact.of:,}"
    by = f"{_who(fact)} has others look" if fact.operator else "as was asked before, others look"
    return f"probe {fact.number}: {by} whether {which} that were called gone are gone"


SENTENCES: dict[str, Callable[[Any], str] | Several | None] = {
    "opened": _opened,
    "walk_announced": None,
    "walk_waits": lambda fact: (
        f"the index was behind what had been registered: looked again at {_minute(fact.retry_at)}"
    ),
    "task_answered": None,
    "plan_fixed": _fixed,
    "nothing_found": lambda _: "what had turned up later led to nothing new",
    "late_held": lambda fact: f"{_item('{} asset', len(fact.assets))} turned up late, for the next plan",
    "produced": _about("{system} made something anew, and what it made is looked at ({what})"),
    "produced_planned": _about("what {system} made anew holds data of the case still, and is planned ({what})"),
    "watermark_raised": lambda _: "a system found assets that nobody had registered: the case waits until they are",
    "index_applied": lambda _: "all that had been registered when the request came is in the index",
    "awaits_approval": lambda fact: (
        f"plan {fact.generation} waits for {_item('{} operator', fact.approvals)} ({', '.join(fact.rules)})"
    ),
    "plan_approved": lambda fact: f"{_who(fact)} approved plan {fact.generation}",
    "plan_rejected": lambda fact: f"{_who(fact)} rejected plan {fact.generation}: it is not carried out",
    "rates_asked": None,
    "rate_waits": lambda fact: (
        f"with other cases plan {fact.generation} is above a limit ({', '.join(fact.rules)}), and waits"
    ),
    "rate_cleared": lambda fact: f"plan {fact.generation} may go beside those of other cases ({_who(fact)})",
    "grace_begun": lambda fact: f"until {_minute(fact.until)} it can be taken back before anything is done",
    "grace_ended": lambda _: "the time in which it could be taken back is over",
    "stage_started": lambda fact: (
        f"stage {fact.stage} of plan {fact.generation} begins, until {_minute(fact.ends_at)} at the most"
    ),
    "stage_ended": lambda fact: (
        f"stage {fact.stage} of plan {fact.generation} is over: "
        + ("its time has passed" if fact.by_clock else "all is settled")
    ),
    "purged": lambda fact: f"every stage of plan {fact.generation} is over",
    "commanded": _about("{system} was told to {what}"),
    "joined": _about("{what} in {system} waits to be one with what other cases need"),
    "command_refused": _about("Kafka did not take a command for {system}: {what}", counts=_reasons),
    "barred": _about("what {system} is to do may not leave yet: paused, held, or still being looked into ({what})"),
    "recalled": _about("{system} was told not to go on with {what}"),
    "exhausted": _about("{system} has not answered to any repetition: it is told once a day ({what})"),
    "accepted": _about("{system} has taken it, and says that it will answer ({what})"),
    "answered": _about("{system} answered: {what}", counts=_claims),
    "withdrawn": _about("{system} has let go of {what}"),
    "replacement_asked": _about("what took the place of a model in {system} is looked at ({what})"),
    "replacement_judged": _about(
        "what took the place of a model in {system}: {what}",
        counts=lambda fact, _: {fact.verdict.value.replace("_", " "): 1},
    ),
    "holds_asked": None,
    "holds_found": None,
    "hold_ended": _about("a hold over what {system} has was released: {what}"),
    "index_changed": None,
    "deferred": _about("put off in {system}: {what}", counts=_reasons),
    "deferral_ended": _about("what was put off in {system} is open again: {what}"),
    "happened": lambda fact: (
        f"{fact.event.replace('_', ' ')} in {fact.system or 'some system'}: what waited for that goes on"
    ),
    "purpose_granted": lambda _: "consent was given again: what is collected from then on is none of the case's",
    "spared": _about("{what} in {system} need not be done any more: consent was given again, or a restriction lifted"),
    "lift_due": _about("what was restricted in {system} is to be let go again: {what}"),
    "reconsidering": None,
    "retried": lambda fact: f"{_who(fact)} asked that what is open in {fact.system or 'any system'} be tried at once",
    "tried_by_hand": None,
    "decided": _decided,
    "exempted": _about("{what} in {system} is kept: an operator decided so"),
    "thawed": lambda fact: f"{_who(fact)} let the case go on that a message had frozen",
    "cancel_asked": lambda fact: f"{_who(fact)} cancelled the request: nothing more is commanded",
    "warned": lambda _: "the due date is near, and something is open",
    "extended": lambda fact: f"{_who(fact)} put the due date off to {_day(fact.due_at)}",
    "overdue": lambda _: "the due date has passed, and something is open",
    "provision_ended": lambda fact: f"the deadline of provision {fact.provision} has passed, with {fact.open:,} open",
    "closed": lambda fact: f"the case ended: {fact.status.value.replace('_', ' ')}",
    "reopened": lambda _: "the case goes on: something of it turned up, or an answer was taken back",
    "probe_begun": _probe,
    "probe_asked": None,
    "probe_put": None,
    "probed": _about("somebody else looked into {system}: {what}", counts=_ordinals("absent", "found", "unknown")),
    "probe_ended": lambda fact: (
        f"probe {fact.number} is over" + (f"; {fact.silent:,} were never told" if fact.silent else "")
    ),
    "forget_asked": lambda fact: f"{_who(fact)} has the case forgotten on {_day(fact.forget_at)}",
    "forgotten": lambda _: "what named people and assets in the case has gone",
}
"""How each fact is told; None: it says nothing that people need."""
