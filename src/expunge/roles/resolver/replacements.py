"""Whether a case's data leads to a model that took another's place.

A walk marks whatever it reaches, and what is registered later under a mark is found by the indexer, so it is enough to
look at what the model says that it was made from, one step: had the case reached anything further up, it would have
marked that, too. (The coordinator believes it only when the indexers have passed what was registered before the receipt
and no walk is under way.) Who does not say from what and when it was made is not believed.
"""

from __future__ import annotations

from dataclasses import dataclass

from expunge.domain.identity import Keys
from expunge.domain.limits import KEPT_PARENTS
from expunge.domain.lineage.marks import Mark, MarkState
from expunge.domain.lineage.row import Row
from expunge.domain.planning.chunks import Chunk
from expunge.ports import Index
from expunge.roles.exclusions import names_of
from expunge.wire.tasks import ReplacementVerdict

_ENDED = frozenset({MarkState.CLEAN, MarkState.GONE})


@dataclass(frozen=True, slots=True, repr=False)
class ReplacementJudge:
    """Looks for one case at what took the place of one model."""

    index: Index
    keys: Keys
    case_id: str
    chunk: Chunk
    """Of the model that was to be made anew."""
    made_after_ms: int
    """Milliseconds since 1970."""

    def judged(self, key: bytes) -> ReplacementVerdict:
        """The verdict about a model, by its key."""
        (row,) = self.index.rows([key])
        if row is None or not row.combination.kinds:
            return ReplacementVerdict.UNREGISTERED
        old = names_of(self.index, self.keys, [self.keys.asset(self.chunk.assets[0])])
        if key in old or not self._may_replace(row):
            return ReplacementVerdict.UNCLEAR
        (own,) = self.index.peek(self.case_id, [key])
        if own.mark is not None and (verdict := _planned(own.mark, row.derived_ms)):
            return verdict
        above = [self._stated(parent) for parent in row.parents]
        if not all(names and not old.intersection(names) for names in above):
            return ReplacementVerdict.UNCLEAR
        return self._marked([name for names in above for name in names], row.derived_ms)

    def _may_replace(self, row: Row) -> bool:
        """Whether it is a model of the same system, says from what it was made, and was made for the request."""
        alike = self.chunk.kind in row.combination.kinds and self.chunk.system in row.combination.systems
        return alike and 0 < len(row.parents) < KEPT_PARENTS and row.derived_ms > self.made_after_ms

    def _stated(self, asset: bytes) -> list[bytes]:
        """The names of an asset under which somebody has registered it: there stand the marks that say how it is."""
        names = sorted(names_of(self.index, self.keys, [asset]))
        rows = zip(names, self.index.rows(names), strict=True)
        return [name for name, row in rows if row is not None and row.combination.kinds]

    def _marked(self, parents: list[bytes], made_ms: int) -> ReplacementVerdict:
        marks = [peek.mark for peek in self.index.peek(self.case_id, parents) if peek.mark is not None]
        if any(mark.state not in _ENDED for mark in marks):
            return ReplacementVerdict.UNCLEAN
        fresh = all(mark.state is MarkState.CLEAN and made_ms > mark.since_ms for mark in marks)
        return ReplacementVerdict.CLEAN if fresh else ReplacementVerdict.STALE


def _planned(mark: Mark, made_ms: int) -> ReplacementVerdict | None:
    """The verdict about what the case has planned itself; None if it was made anew since that was done."""
    if mark.state not in _ENDED:
        return ReplacementVerdict.UNCLEAN
    if made_ms <= mark.since_ms:
        return ReplacementVerdict.CLEAN
    return ReplacementVerdict.UNCLEAN if mark.state is MarkState.GONE else None
