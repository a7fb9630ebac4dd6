"""What operators say for every case of a partition, taken into what stands there, and told to the cases. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.domain.aggregates.decision import Context, Decision, SetAside
from expunge.domain.aggregates.standing.state import Standing, group_word, hold_word, pause_word
from expunge.wire.cases.case import HoldingKnown
from expunge.wire.cases.words import GroupSaid, HoldReadBack, HoldSaid, PauseSaid, ReleaseSaid, Said

PLACED, RELEASED = 1, 2
"""Sequences of what `holds` says of a hold."""


@dataclass(frozen=True, slots=True, repr=False)
class PublishHold:
    """Say on `holds` how a hold stands."""

    hold_id: str


@dataclass(frozen=True, slots=True, repr=False)
class TellCases:
    """Tell the cases of the partition, page by page."""

    word: str
    """The name of the word that every case must obey from here on; empty where it is none."""


Effect = PublishHold | TellCases | SetAside
StandingDecision = Decision[Standing, None, Effect]


def decide(standing: Standing, message: Said | HoldingKnown | HoldReadBack, context: Context) -> StandingDecision:
    """The decision on one message.

    Of one hold every partition is told, and one answers for it outside: that to which its id belongs.
    """
    del context
    if isinstance(message, HoldingKnown):
        return Decision(standing, effects=(TellCases(""),))
    if isinstance(message, HoldReadBack):  # what stands on `holds` may be older than what is known here
        behind = message.sequence < sequence(standing, message.hold_id)
        return Decision(standing, effects=(PublishHold(message.hold_id),) if behind else ())
    if message.after:
        return Decision(standing, effects=_told(standing, message))
    after = heard(standing, message)
    outside = _outside(standing, message, is_news=after is not None)
    return (
        Decision(standing, effects=outside)
        if after is None
        else Decision(after, (), (*outside, *_told(after, message)))
    )


def _told(standing: Standing, message: Said) -> tuple[Effect, ...]:
    """Whoever says a later word about the same thing tells every case; this one need not be told any further."""
    return () if overtaken(standing, message) else (TellCases(word_of(message)),)


def _outside(standing: Standing, message: Said, *, is_news: bool) -> tuple[Effect, ...]:
    """What is said of a hold outside: that it stands, or why the word about it is not taken."""
    if not isinstance(message, HoldSaid | ReleaseSaid):
        return ()
    if reason := why_not(standing, message):
        content = message.hold.content if isinstance(message, HoldSaid) else message.content
        return (SetAside(message.place, content, reason),)
    return (PublishHold(hold_id_of(message)),) if is_news else ()


def word_of(said: Said) -> str:
    """The name of a word."""
    if isinstance(said, GroupSaid):
        return group_word(said.rate)
    return pause_word(said.pause.scope) if isinstance(said, PauseSaid) else hold_word(hold_id_of(said))


def hold_id_of(said: HoldSaid | ReleaseSaid) -> str:
    """The hold that is spoken of."""
    return said.hold.hold_id if isinstance(said, HoldSaid) else said.hold_id


def heard(standing: Standing, said: Said) -> Standing | None:
    """What stands after a word; None if it changes nothing: it is older, or was heard before."""
    match said:
        case PauseSaid(pause=pause):
            return standing.paused(pause)
        case HoldSaid(hold=hold):
            return standing.placed(hold)
        case ReleaseSaid(hold_id=hold_id, release=release):
            return standing.freed(hold_id, release)
        case GroupSaid(rate=rate, verdict=verdict):
            return standing.judged(rate, verdict)


def why_not(standing: Standing, said: HoldSaid | ReleaseSaid) -> str:
    """Why a word about a hold is set aside; empty where it is taken, or is a repetition."""
    known = standing.holds.get(hold_id_of(said))
    if isinstance(said, ReleaseSaid):
        return "" if known else "no_such_hold"
    return "hold_id_reused" if known and known.content != said.hold.content else ""


def sequence(standing: Standing, hold_id: str) -> int:
    """How much is known of a hold: nothing, that it was placed, that it was released."""
    if hold_id not in standing.holds:
        return 0
    return RELEASED if standing.release_of(hold_id) else PLACED


def overtaken(standing: Standing, said: Said) -> bool:
    """Whether a later word about the same thing was heard while cases were being told of this one."""
    match said:
        case PauseSaid(pause=pause):
            return standing.pauses[pause.scope].order != pause.order
        case HoldSaid(hold=hold):
            return standing.release_of(hold.hold_id) is not None
        case ReleaseSaid(hold_id=hold_id, release=release):
            return standing.released[hold_id].order != release.order
        case GroupSaid(rate=rate, verdict=verdict):
            return standing.verdicts[rate][-1] != verdict
