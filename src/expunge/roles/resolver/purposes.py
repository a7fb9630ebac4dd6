"""The purposes that an asset inherits: those of what it was made from, where it states none of its own."""

from __future__ import annotations

from expunge.domain.limits import KEPT_PARENTS
from expunge.domain.lineage.row import Row
from expunge.ports import Index


class Inheritance:
    """Reads upwards, and remembers for one task.

    Where not everything above is known (a parent that nobody registered, or that states nothing and was made from
    nothing; more parents than a row keeps; a cycle), nothing is inherited: another purpose may remain, so the asset
    counts as one that states none.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._known: dict[bytes, frozenset[str]] = {}

    def of(self, row: Row) -> frozenset[str]:
        """The union of the purposes of its parents, each stated or inherited; empty where that is not known whole."""
        rows = self._above(row)
        known = self._known
        waiting = [key for key in rows if key not in known]
        while waiting:  # from the top downwards: each round settles what has only settled parents
            settled = [key for key in waiting if self._settles(rows[key])]
            if not settled:
                known |= dict.fromkeys(waiting, frozenset())  # a cycle
                break
            known |= {key: self._purposes(rows[key]) for key in settled}
            waiting = [key for key in waiting if key not in known]
        return self._union(row)

    def _above(self, row: Row) -> dict[bytes, Row | None]:
        """Everything above that must be known, level by level; not beyond what states its purposes."""
        found: dict[bytes, Row | None] = {}
        level = sorted(set(row.parents) - self._known.keys())
        while level:
            found |= zip(level, self._index.rows(level), strict=True)
            fresh = (found[key] for key in level)
            above = {parent for each in fresh if each and not each.combination.purposes for parent in each.parents}
            level = sorted(above - found.keys() - self._known.keys())
        return found

    def _settles(self, row: Row | None) -> bool:
        if row is None or row.combination.purposes:
            return True
        return all(parent in self._known for parent in row.parents)

    def _purposes(self, row: Row | None) -> frozenset[str]:
        if row is None:
            return frozenset()
        return row.combination.purposes or self._union(row)

    def _union(self, row: Row) -> frozenset[str]:
        each = [self._known[parent] for parent in row.parents]
        whole = all(each) and 0 < len(row.parents) < KEPT_PARENTS
        return frozenset().union(*each) if whole else frozenset()
