"""Whether a case's data leads to a model that took another's place.

A walk marks whatever it reaches, and what is registered later under a mark is found by the indexer. So it is enough to
look at what the model says that it was made from, one step: had the case reached anything further up, it would have
marked that, too. Who does not say from what and when it was made, or names more than a row keeps, is not believed.
"""

from __future__ import annotations

from expunge.domain.marks import MarkState
from expunge.domain.row import KEPT_PARENTS
from expunge.domain.task import Replacement
from expunge.ports import Index

_ENDED = frozenset({MarkState.CLEAN, MarkState.GONE})


def judged(index: Index, case_id: str, key: bytes) -> Replacement:
    """The verdict about a model, by its key."""
    (row,) = index.rows([key])
    if row is None or not row.combination.kinds:
        return Replacement.UNREGISTERED
    (own,) = index.peek(case_id, [key])
    if own.mark is not None:  # the case has planned it: what it asked for must have been done
        return Replacement.CLEAN if own.mark.state in _ENDED else Replacement.UNCLEAN
    if not row.parents or not row.derived_ms or len(row.parents) >= KEPT_PARENTS:
        return Replacement.UNCLEAR
    parents = list(row.parents)
    if any(above is None or not above.combination.kinds for above in index.rows(parents)):
        return Replacement.UNCLEAR
    marks = [peek.mark for peek in index.peek(case_id, parents) if peek.mark is not None]
    if any(mark.state not in _ENDED for mark in marks):
        return Replacement.UNCLEAN
    fresh = all(mark.state is MarkState.CLEAN and row.derived_ms > mark.since_ms for mark in marks)
    return Replacement.CLEAN if fresh else Replacement.STALE
