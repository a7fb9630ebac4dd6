"""What operators say for every case of a partition, taken into what stands there. Pure."""

from __future__ import annotations

from expunge.domain.aggregates.standing import Standing, group_word, hold_word, pause_word
from expunge.wire.cases.words import GroupSaid, HoldSaid, PauseSaid, ReleaseSaid, Said

PLACED, RELEASED = 1, 2
"""Sequences of what `holds` says of a hold."""


def word_of(said: Said) -> str:
    """The name of a word."""
    if isinstance(said, GroupSaid):
        return group_word(said.rate)
    return pause_word(said.pause.scope) if isinstance(said, PauseSaid) else hold_word(hold_id_of(said))


def hold_id_of(said: HoldSaid | ReleaseSaid) -> str:
    """The hold that is spoken of."""
    return said.hold.hold_id if isinstance(said, HoldSaid) else said.hold_id


def content_of(said: HoldSaid | ReleaseSaid) -> str:
    """The keyed digest of what was said."""
    return said.hold.content if isinstance(said, HoldSaid) else said.content


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
