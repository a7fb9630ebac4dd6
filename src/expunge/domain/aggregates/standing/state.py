"""What every case of a partition must obey: pauses and holds, as operators have said them.

Each `cases` partition keeps what stands as a part of its own state, so that a decision sees it without asking anybody
(design: "One writer"). Of two words about the same thing the later one holds, in whatever order they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from pydantic import Field

from expunge.domain.digest import name
from expunge.domain.events import millis
from expunge.domain.limits import KEPT_VERDICTS
from expunge.domain.values import Value
from expunge.wire.cases.rate import GroupVerdict
from expunge.wire.cases.words import Hold, HoldKind, Pause, Release

EVERYTHING = "all"
REMEMBERED = timedelta(hours=1)
"""So long a word about a scope is known again; what is published once more later is refused at the door as stale."""
MOST_REMEMBERED = 1_000


class Frozen(Value):
    """A case that no message is handled for until somebody has looked: what comes for it waits in order."""

    topic: str
    partition: int
    offset: int
    """Where the message lies that ended its processes, or that this version cannot read."""
    elsewhere: bool = False
    """Whether another role has set that message aside: the case waits until it is published again, or left out."""
    reason: str
    since: datetime
    waiting: int = 0
    """Messages that wait, the first of them perhaps that one."""
    taken: int = 0
    """Messages that were handled since."""
    thawing: bool = False
    further: tuple[tuple[str, int, int], ...] = ()
    """Topic, partition and offset of more messages that other roles have set aside since; at most MOST_PLACES.

    What says so of one more waits itself, and is heard when places have been named in a thaw.
    """

    @property
    def places(self) -> tuple[tuple[str, int, int], ...]:
        """Topic, partition and offset of what other roles have set aside and nobody has published again since."""
        first = ((self.topic, self.partition, self.offset),) if self.elsewhere else ()
        return *first, *self.further

    @property
    def turn(self) -> str:
        """Names the next message that waits: since when the case is frozen, and how many were handled before."""
        return f"{millis(self.since)}/{self.taken}"

    def without(self, places: Collection[tuple[str, int, int]]) -> Frozen:
        """The same after some of these were published again, or left out for good."""
        elsewhere = self.elsewhere and (self.topic, self.partition, self.offset) not in places
        further = tuple(each for each in self.further if each not in places)
        return self.model_copy(update={"elsewhere": elsewhere, "further": further})


class Standing(Value):
    """What stands in one partition."""

    pauses: dict[str, Pause] = Field(default_factory=dict)
    holds: dict[str, Hold] = Field(default_factory=dict)
    released: dict[str, Release] = Field(default_factory=dict)
    """Hold -> its end, which may be heard first. One that was said before the hold was placed ends nothing."""
    verdicts: dict[str, tuple[GroupVerdict, ...]] = Field(default_factory=dict)
    """Rate -> what operators have said about members of its groups, in order; at most KEPT_VERDICTS."""
    frozen: dict[str, Frozen] = Field(default_factory=dict)
    """Case -> why it waits."""
    telling: tuple[str, ...] = ()
    """Words of which not every case has been told yet."""
    unsettled: dict[str, int] = Field(default_factory=dict)
    """Word -> cases in which a system may still act against it, or has not said yet that it will not."""

    def pauses_of(self, publisher: str, system: str, case_id: str) -> tuple[str, ...]:
        """The pauses that keep a command back, as words."""
        scopes = (EVERYTHING, f"system:{system}", f"publisher:{publisher}", f"case:{case_id}")
        return tuple(pause_word(each) for each in scopes if self.is_paused(each))

    def is_paused(self, scope: str) -> bool:
        """Whether commands are paused for a scope, as `Pause` names it."""
        return scope in self.pauses and self.pauses[scope].paused

    def holds_on(self, case_id: str, system: str) -> tuple[Hold, ...]:
        """The holds that may cover something in a command."""
        own = {HoldKind.CASE: case_id, HoldKind.SYSTEM: system}
        return tuple(hold for hold in self.active if own.get(hold.scope.kind, hold.scope.value) == hold.scope.value)

    @property
    def asks_the_index(self) -> bool:
        """Whether some hold stands of which only the index knows what it covers."""
        return any(not hold.scope.known_at_once for hold in self.active)

    def with_frozen(self, case_id: str, frozen: Frozen | None) -> Standing:
        """The same with a case frozen, or not any more."""
        others = {each: what for each, what in self.frozen.items() if each != case_id}
        return self.model_copy(update={"frozen": others | ({case_id: frozen} if frozen else {})})

    @property
    def active(self) -> tuple[Hold, ...]:
        """The holds that have not been released, in order."""
        return tuple(hold for name, hold in sorted(self.holds.items()) if self.release_of(name) is None)

    def release_of(self, hold_id: str) -> Release | None:
        """The end of a hold; None while it stands, or of one that was never placed."""
        hold, release = self.holds.get(hold_id), self.released.get(hold_id)
        return release if hold and release and release.order.is_after(hold.order) else None

    def paused(self, pause: Pause) -> Standing | None:
        """The same with one more word about a scope; None if a later one holds already."""
        known = self.pauses.get(pause.scope)
        if known is not None and not pause.order.is_after(known.order):
            return None
        if known is not None and pause.word:
            said = ((known.word, known.at), *known.earlier)
            if pause.word in {word for word, _ in said}:
                return None
            recent = tuple(each for each in said if pause.at - each[1] <= REMEMBERED)[:MOST_REMEMBERED]
            pause = pause.model_copy(update={"earlier": recent})
        return self.model_copy(update={"pauses": {**self.pauses, pause.scope: pause}})

    def placed(self, hold: Hold) -> Standing | None:
        """The same with one more hold; None if the id stands for one that was said before."""
        known = self.holds.get(hold.hold_id)
        if known is not None and not known.order.is_after(hold.order):
            return None
        numbered = hold.model_copy(update={"number": 1 + max((each.number for each in self.holds.values()), default=0)})
        return self.model_copy(update={"holds": {**self.holds, hold.hold_id: numbered}})

    def freed(self, hold_id: str, release: Release) -> Standing | None:
        """The same with a hold released; None if a later word of that kind was heard before."""
        known = self.released.get(hold_id)
        if known is not None:
            said = tuple(word for word in (known.word, *known.earlier) if word)
            if not release.order.is_after(known.order) or release.word in said:
                return None
            release = release.model_copy(update={"earlier": said[:MOST_REMEMBERED]})
        return self.model_copy(update={"released": {**self.released, hold_id: release}})

    def judged(self, rate: str, verdict: GroupVerdict) -> Standing | None:
        """The same with one more word about a group; None if it was heard before."""
        known = self.verdicts.get(rate, ())
        last = known[-1] if known else None
        if verdict in known or (last and (last.group, last.up_to) >= (verdict.group, verdict.up_to)):
            return None
        if last and last.let_go and verdict.let_go and last.group == verdict.group:
            known = known[:-1]  # an approval of more members is one of those before, too
        return self.model_copy(update={"verdicts": {**self.verdicts, rate: (*known, verdict)[-KEPT_VERDICTS:]}})

    def verdict_on(self, rate: str, group: int, place: int) -> GroupVerdict | None:
        """What operators have said about one member of a group."""
        said = (each for each in self.verdicts.get(rate, ()) if each.group == group and place <= each.up_to)
        return next(said, None)

    def in_force(self, word: str) -> bool:
        """Whether nothing in this partition can happen against a word any more."""
        return word not in self.telling and not self.unsettled.get(word)

    def told(self, word: str, *, all_of_them: bool) -> Standing:
        """The same when a word is being told to cases, or all have been told."""
        others = tuple(each for each in self.telling if each != word)
        return self.model_copy(update={"telling": others if all_of_them else (*others, word)})

    def settled(self, before: frozenset[str], after: frozenset[str]) -> Standing:
        """The same after a case has changed: the words that were, and are, unsettled in it."""
        if before == after:
            return self
        counts = Counter(self.unsettled)
        counts.subtract(before - after)
        counts.update(after - before)
        return self.model_copy(update={"unsettled": {word: n for word, n in sorted(counts.items()) if n > 0}})


def name_of_word(identity: str) -> str:
    """What an operator's word is called where it stands: a digest of its event's id, which everybody can make."""
    return name("word", identity)


def pause_word(scope: str) -> str:
    """The name of what is said about a scope."""
    return f"pause:{scope}"


def group_word(rate: str) -> str:
    """The name of what is said about a group."""
    return f"group:{rate}"


def hold_word(hold_id: str) -> str:
    """The name of a hold among words."""
    return f"hold:{hold_id}"
