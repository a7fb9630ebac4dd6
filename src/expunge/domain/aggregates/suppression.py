"""Suppressions: what must not be collected again, as an aggregate of its own for each person and each data source.

One writer decides on each (rule "suppressions"): every message for a suppression passes through `cases` under its key.
What was said is kept as latest moments only, so any order of the same words ends in the same state; revocation wins
ties.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pydantic import Field

from expunge.domain.aggregates.decision import Context, Decision
from expunge.domain.digest import name
from expunge.domain.limits import KEPT_CASES, KEPT_GRANTS
from expunge.domain.scope import Granted
from expunge.domain.values import Hex, Value
from expunge.wire.cases.suppression import Published, PurposeWord, Suppress
from expunge.wire.suppressions import SuppressionEntry, SuppressionSet

EVERYTHING = "*"
"""The purpose of an erasure or of a withdrawn source: no purpose may be served with this."""
RESTRICTED = "=restricted"
"""The purpose of a restriction: nothing but storing is allowed (GDPR 18). Collecting is not forbidden by it, so it is
never published."""


def restriction_key(pseudonym: str) -> str:
    """The key of what is said of a person's restrictions: Expunge's own, so a pseudonym is enough to lift them."""
    return name("restriction", pseudonym)


def source_key(data_source: str) -> str:
    """The key of a data source's suppression: names are no secrets, so the digest has no key."""
    return name("suppression", data_source)


class Revocation(Value):
    """One case's word: what it is about must not be collected again."""

    case_id: str
    at_ms: int
    until: int = 0
    ends_ms: int = 0
    """When it ends by policy, in milliseconds since 1970; 0: never."""


class Purpose(Value):
    """What was said about one purpose."""

    revocations: tuple[Revocation, ...] = ()
    """The latest of each case, in order of time; at most KEPT_CASES, of which the earliest are taken together."""
    cancelled: tuple[str, ...] = ()
    """The last cases that were cancelled: their words count no longer, whenever they come."""
    grants: tuple[int, ...] = ()
    """Moments of grants, in order."""

    @property
    def standing(self) -> tuple[Revocation, ...]:
        """The revocations that count."""
        return tuple(each for each in self.revocations if each.case_id not in self.cancelled)

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases that carry them out."""
        return tuple(sorted({each.case_id for each in self.standing} - {""}))

    @property
    def revoked_ms(self) -> int:
        """The latest of them, in milliseconds since 1970; 0: none."""
        return max((each.at_ms for each in self.standing), default=0)

    @property
    def ends_ms(self) -> int:
        """When the last of them ends; 0: never."""
        return _furthest({each.ends_ms for each in self.standing})

    @property
    def granted_ms(self) -> int | None:
        """The first grant after the revocation: consent that is confirmed later takes nothing back."""
        return next((at for at in self.grants if at > self.revoked_ms), None)

    @property
    def limit(self) -> int | None:
        """What was collected up to here (seconds since 1970) is suppressed; 0: everything; None: nothing is."""
        ends = {each.until for each in self.standing}
        if not ends:
            return None
        until = _furthest(ends)
        if self.granted_ms is None:
            return until
        again = max(1, self.granted_ms // 1000 - 1)
        return min(again, until) if until else again

    def with_word(self, word: PurposeWord) -> Purpose:
        """The same with one more word; any order of the same words ends alike."""
        if word.word == "granted":
            return self.model_copy(update={"grants": self._needed(sorted({*self.grants, word.at_ms}))})
        if word.word == "ended":
            left = tuple(each for each in self.revocations if not 0 < each.ends_ms <= word.at_ms)
            return self.model_copy(update={"revocations": left})
        if word.word == "cancelled":
            left = tuple(each for each in self.revocations if each.case_id != word.case_id)
            known_cases = tuple(each for each in self.cancelled if each != word.case_id)
            cancelled = (*known_cases, word.case_id)[-KEPT_CASES:]
            return self.model_copy(update={"revocations": left, "cancelled": cancelled})
        if word.word == "revoked" and word.case_id and word.case_id in self.cancelled:
            return self
        said = Revocation(case_id=word.case_id, at_ms=word.at_ms, until=word.until, ends_ms=word.ends_ms)
        known = sorted({*self.revocations, said}, key=lambda each: (each.at_ms, each.case_id, each.until, each.ends_ms))
        while len(known) > KEPT_CASES:
            first, second, *others = known
            until, end = _furthest({first.until, second.until}), _furthest({first.ends_ms, second.ends_ms})
            known = [Revocation(case_id="", at_ms=second.at_ms, until=until, ends_ms=end), *others]
        return self.model_copy(update={"revocations": tuple(known)})

    def _needed(self, grants: list[int]) -> tuple[int, ...]:
        """As many grants as are kept: if there are more, the first after each revocation, and the last of all."""
        if len(grants) <= KEPT_GRANTS:
            return tuple(grants)
        firsts = (next((at for at in grants if at > each.at_ms), 0) for each in self.revocations)
        return tuple(sorted({*firsts, grants[-1]} - {0})[-KEPT_GRANTS:])


def _furthest(ends: Collection[int]) -> int:
    """What reaches furthest stands; 0 is without end."""
    return 0 if 0 in ends else max(ends, default=0)


class Suppression(Value):
    """Everything that was said about one person or data source."""

    suppression: Hex
    data_source: str = ""
    sequence: int = 0
    purposes: dict[str, Purpose] = Field(default_factory=dict)

    @classmethod
    def of(cls, key: str, said: SuppressionSet) -> Suppression:
        """As much of it as is published: what each purpose's revocations come to, whatever cases they were of."""
        purposes = {
            each.purpose: Purpose(
                revocations=(Revocation(case_id="", at_ms=each.since_ms, until=each.until, ends_ms=each.ends_ms),)
            )
            for each in said.entries
        }
        return cls(suppression=key, data_source=said.data_source or "", sequence=said.sequence, purposes=purposes)

    @property
    def entries(self) -> tuple[SuppressionEntry, ...]:
        """What is suppressed, by purpose; empty: nothing is."""
        return tuple(
            SuppressionEntry(purpose=purpose, since_ms=each.revoked_ms, until=limit, ends_ms=each.ends_ms)
            for purpose, each in sorted(self.purposes.items())
            if purpose != RESTRICTED and (limit := each.limit) is not None
        )

    def published(self) -> SuppressionSet:
        """As it stands on `suppressions`."""
        named = {"data_source": self.data_source} if self.data_source else {"pseudonym": self.suppression}
        return SuppressionSet(**named, sequence=self.sequence, entries=self.entries)


@dataclass(frozen=True, slots=True, repr=False)
class Publish:
    """Say on `suppressions` how it stands."""


@dataclass(frozen=True, slots=True, repr=False)
class GrantAgain:
    """Tell a case that a purpose which it revoked was granted again."""

    case_id: str
    granted: Granted


Effect = Publish | GrantAgain
SuppressionDecision = Decision[Suppression, None, Effect]


def decide(before: Suppression | None, message: Suppress | Published, context: Context) -> SuppressionDecision:
    """The decision on one message: words about purposes, or what was read back from `suppressions`."""
    del context
    state = before or Suppression(suppression=message.suppression)
    if isinstance(message, Published):
        behind = message.sequence < state.sequence
        again = bool(state.entries) if message.lifted else behind
        return Decision(state, effects=(Publish(),) if again else ())
    purposes = dict(state.purposes)
    for word in message.words:
        purposes[word.purpose] = purposes.get(word.purpose, Purpose()).with_word(word)
        said = purposes[word.purpose]
        if word.word == "ended" and not (said.revocations or said.cancelled or said.grants):
            del purposes[word.purpose]
    if purposes == state.purposes:
        return Decision(state)
    after = state.model_copy(
        update={"purposes": purposes, "data_source": message.data_source, "sequence": state.sequence + 1}
    )
    is_news = after.entries != state.entries or after.data_source != state.data_source
    publish = (Publish(),) if is_news else ()
    return Decision(after, effects=(*publish, *_granted(after)))


def _granted(state: Suppression) -> Iterator[GrantAgain]:
    """Told again with every word: a case takes it once, and one that opened after the grant must hear of it, too."""
    for purpose, each in sorted(state.purposes.items()):
        if each.granted_ms is not None:
            granted = Granted(purpose=purpose, since=each.granted_ms // 1000)
            yield from (GrantAgain(case_id, granted) for case_id in each.cases)
