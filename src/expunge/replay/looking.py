"""An index that answers as if it had been written to, and writes nothing: for whoever asks what would happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from expunge.domain.lineage.marks import Mark, MarkState
from expunge.domain.lineage.row import Row
from expunge.domain.scope import Group, GroupKind, data_source_node
from expunge.ports import GaugeName, Gone, Index, Made, MetricName, Put, Said

T = TypeVar("T")


class LookingIndex:
    """What indexers and coordinators ask of `ports.Index`. Each statement is held against what stands there alone."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.news = 0
        """How much would change: rows, notes on marks that something was stated again, memberships, holdings."""
        self.rows, self.marks, self.excluded = index.rows, index.marks, index.excluded
        self.notes_returns_since, self.combination = index.notes_returns_since, index.combination

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """See `ports.Index.begin`: done at once."""
        done = work()
        return lambda: done

    def put(self, said: Sequence[Said]) -> list[Put]:
        """See `ports.Index.put`."""
        keys = [each.key for each in said]
        puts, links = [], list[tuple[Group, bytes]]()
        found = zip(said, self.rows(keys), self.marks(keys), self._index.watchers(keys), strict=True)
        for each, known, marks, watchers in found:
            row = known.merged(each.row) if known else each.row
            self.news += known is None or row.encode() != known.encode()
            self.news += sum(_is_noted(mark, each.at_ms) for mark in marks)
            sources = [Group(GroupKind.SOURCE, data_source_node(name)) for name in sorted(row.combination.data_sources)]
            links += [(source, each.key) for source in sources]
            puts.append(Put(row.encode(), marks, watchers))
        self._look(links)
        return puts

    def link_children(self, edges: Sequence[tuple[bytes, bytes]], made: Sequence[Made] = ()) -> list[Sequence[Mark]]:
        """See `ports.Index.link_children`."""
        del made
        self._look((Group(GroupKind.CHILDREN, parent), child) for parent, child in edges)
        return self.marks([parent for parent, _ in edges])

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """See `ports.Index.link_subjects`."""
        self._look((Group(GroupKind.SUBJECT, subject), asset) for subject, asset in members)
        return self.marks([subject for subject, _ in members])

    def _look(self, links: Iterable[tuple[Group, bytes]]) -> None:
        self.news += self._index.are_members(list(dict.fromkeys(links))).count(False)

    def set_state(
        self, case_id: str, nodes: Sequence[bytes], state: MarkState, since_ms: int, lease_until_ms: int = 0
    ) -> list[bytes]:
        """See `ports.Index.set_state`: nothing has come back."""
        del case_id, nodes, state, since_ms, lease_until_ms
        return []

    def set_gone(self, gone: Sequence[Gone], lease_until_ms: int = 0) -> list[list[bytes]]:
        """See `ports.Index.set_gone`: nothing has come back."""
        del lease_until_ms
        return [[] for _ in gone]

    def add_holding(self, key: bytes) -> None:
        """See `ports.Index.add_holding`."""
        self.news += key not in self._index.holdings()

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """See `ports.Index.exclude`: no news, for the walk that took the container read its parents from its row."""


def _is_noted(mark: Mark, at_ms: int) -> bool:
    """Whether a mark of what is gone would say from then on that it was stated again.

    Open marks note each statement, too, and do not say when they were made: what a store that was set back has
    forgotten of that is not seen here. Roles notice such a store, and read again what it lacks (docs/recovery.md).
    """
    return mark.state is MarkState.GONE and at_ms > mark.since_ms and not mark.stated_again


class LookingPeople:
    """See `ports.people.People`: nobody is renamed."""

    def rename(self, changes: Mapping[bytes, Callable[[Row], Row]]) -> int:
        """See `ports.people.People.rename`."""
        del changes
        return 0


class Uncounted:
    """See `ports.Metrics`: what is only looked at is no event of the deployment."""

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """See `ports.Metrics.gauge`."""


class NoTenure:
    """See `ports.Tenure`: nothing is written under it."""

    def until_ms(self) -> int:
        """See `ports.Tenure.until_ms`."""
        return 0
