"""Suppressions: what must not be collected again, as an aggregate of its own for each person and each data source.

One writer decides on each (PROTOCOLS 27): every message for a suppression passes through `cases` under its key. What
was said is kept as latest moments only, so any order of the same words ends in the same state; revocation wins ties.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from expunge.domain.digest import name
from expunge.domain.scope import Granted, Hex, Value

EVERYTHING = "*"
"""The purpose of an erasure or of a withdrawn source: no purpose may be served with this."""
KEPT_CASES = 256
KEPT_GRANTS = 64


def source_key(data_source: str) -> str:
    """The key of a data source's suppression: names are no secrets, so the digest has no key."""
    return name("suppression", data_source)


class Word(Value):
    """One word about one purpose."""

    purpose: str
    at_ms: int
    """`received_at`, in milliseconds since 1970."""
    word: Literal["revoked", "granted"]
    until: int = 0
    """Of a revocation: only what was collected up to here (seconds since 1970) is meant; 0: everything."""
    case_id: str = ""
    """Of a revocation: the case that carries it out."""


class Suppress(Value):
    """Words for one suppression, on `cases`."""

    suppression: Hex
    data_source: str = ""
    """Set for a data source; else the key is a person's."""
    words: tuple[Word, ...]


class Published(Value):
    """What was read back from `suppressions`: whoever finds less there than it knows publishes again (PROTOCOLS 4)."""

    suppression: Hex
    sequence: Annotated[int, Field(ge=0, lt=2**63)]


class Purpose(Value):
    """The latest words about one purpose."""

    revoked_ms: int = 0
    until: int = 0
    grants: tuple[int, ...] = ()
    """Moments of grants after the revocation, in order: the first ends it. At most KEPT_GRANTS, the earliest."""
    cases: tuple[str, ...] = ()

    @property
    def granted_ms(self) -> int | None:
        """The first grant after the revocation: consent that is confirmed later takes nothing back."""
        return next((at for at in self.grants if at > self.revoked_ms), None)

    @property
    def limit(self) -> int | None:
        """What was collected up to here (seconds since 1970) is suppressed; 0: everything; None: nothing is."""
        if not self.revoked_ms:
            return None
        if self.granted_ms is None:
            return self.until
        again = max(1, self.granted_ms // 1000 - 1)
        return min(again, self.until) if self.until else again

    def with_word(self, word: Word) -> Purpose:
        """The same with one more word."""
        if word.word == "granted":
            later = sorted(each for each in {*self.grants, word.at_ms} if each > self.revoked_ms)
            return self.model_copy(update={"grants": tuple(later[:KEPT_GRANTS])})
        cases = tuple(sorted({*self.cases, word.case_id} - {""})[:KEPT_CASES])
        ends = {word.until, self.until} if self.revoked_ms else {word.until}
        until = 0 if 0 in ends else max(ends)  # what reaches further stands
        revoked = max(self.revoked_ms, word.at_ms)
        grants = tuple(each for each in self.grants if each > revoked)
        return Purpose(revoked_ms=revoked, until=until, grants=grants, cases=cases)


class Suppression(Value):
    """Everything that was said about one person or data source."""

    suppression: Hex
    data_source: str = ""
    sequence: int = 0
    purposes: dict[str, Purpose] = {}

    def data(self) -> dict[str, object]:
        """As it stands on `suppressions`."""
        entries = [
            {"purpose": purpose, "since_ms": each.revoked_ms, "until": limit}
            for purpose, each in sorted(self.purposes.items())
            if (limit := each.limit) is not None
        ]
        named = {"data_source": self.data_source} if self.data_source else {"pseudonym": self.suppression}
        return {**named, "sequence": self.sequence, "entries": entries}


class Outcome(NamedTuple):
    """What a message leads to."""

    after: Suppression
    publish: bool
    granted: tuple[tuple[str, Granted], ...] = ()
    """Cases whose revoked purposes were granted again."""


def decide(before: Suppression | None, message: Suppress | Published) -> Outcome:
    """The decision on one message; pure."""
    state = before or Suppression(suppression=message.suppression)
    if isinstance(message, Published):
        return Outcome(state, publish=message.sequence < state.sequence)
    purposes = dict(state.purposes)
    for word in message.words:
        purposes[word.purpose] = purposes.get(word.purpose, Purpose()).with_word(word)
    if purposes == state.purposes:
        return Outcome(state, publish=False)
    after = state.model_copy(
        update={"purposes": purposes, "data_source": message.data_source, "sequence": state.sequence + 1}
    )
    # Told again with every word: a case takes it once, and one that opened after the grant must hear of it, too.
    granted = tuple(
        (case_id, Granted(purpose=purpose, since=each.granted_ms // 1000))
        for purpose, each in sorted(purposes.items())
        if each.granted_ms is not None
        for case_id in each.cases
    )
    return Outcome(after, after.data() != state.data() | {"sequence": after.sequence}, granted)
