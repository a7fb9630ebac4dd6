"""The marks of cases, as their facts and what is on its way to them have led to (see `domain.lineage.marks`).

They are set before there are rows, so that a statement finds the mark of its asset open and is noted there, as it was
when it came; how far each reaches is widened when the rows are there (`settling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from expunge.domain.identity import Keys
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.walk import Trip
from expunge.domain.planning.chunks import Chunk
from expunge.domain.scope import Arrival, Scope, data_source_node
from expunge.ports import Gone, Index, Rule
from expunge.wire.cases.case import Root

TASK = "0" * 32
"""The owner of restored marks: no task of a case. One that is repeated plans its own roots all the same."""
PER_VISIT = 5_000


def in_trips(arrival: Arrival, keys: Sequence[bytes]) -> list[Trip]:
    """Nodes to visit as roots of a task's own, in parts."""
    return [Trip(arrival, True, keys[at : at + PER_VISIT]) for at in range(0, len(keys), PER_VISIT)]  # noqa: FBT003 - a tuple


class Marks:
    """Writes marks. Whatever is said twice, in the same order, ends alike."""

    def __init__(self, index: Index, keys: Keys, *, bare: bool) -> None:
        # bare: whether no row has been written yet, so that nothing says what is a container.
        self._index, self._keys = index, keys
        self._arrival = Arrival.CONTAINERS if bare else Arrival.THROUGH

    def roots(self, root: Root) -> None:
        """People, data sources and assets that a case begins at."""
        scope = root.scope
        nodes = self._keys.nodes(scope.people)
        nodes += [data_source_node(each) for each in scope.data_sources]
        self._index.mark_roots(root.case_id, TASK, nodes, scope.until)
        self._visit(root.case_id, scope, root.withdrawn_nodes(self._keys.asset), Arrival.ROOT)

    def chunks(self, root: Root, chunks: Iterable[Chunk]) -> None:
        """What a case has planned is marked, and open: also what was clean, or came back after it was gone."""
        for chunk in chunks:
            self.nodes(root, [self._keys.asset(asset) for asset in chunk.assets], chunk.returned)

    def found(self, root: Root, keys: Sequence[bytes]) -> None:
        """What a system discovered: marked whatever it is, for nobody may have registered it yet."""
        self._visit(root.case_id, root.scope, sorted(keys), Arrival.THROUGH)

    def nodes(self, root: Root, keys: Sequence[bytes], returned: int = 0) -> None:
        """The same of single nodes."""
        known = self._visit(root.case_id, root.scope, sorted(set(keys)), self._arrival, returned)
        if known:
            self._index.set_state(root.case_id, known, MarkState.OPEN, 0)

    def _visit(
        self, case_id: str, scope: Scope, keys: Sequence[bytes], arrival: Arrival, returned: int = 0
    ) -> list[bytes]:
        """Mark nodes; those that were marked before."""
        trips = in_trips(arrival, keys)
        rule = Rule(bounded=scope.bounded, returned=returned)
        visits = self._index.visit(case_id, TASK, trips, rule) if trips else ()
        return [each.key for part in visits for each in part if each.known]

    def gone(self, case_id: str, nodes: Sequence[bytes], since_ms: int) -> None:
        """Their system said that they are deleted."""
        self._index.set_gone([Gone(case_id, nodes, since_ms)])

    def clean(self, case_id: str, nodes: Sequence[bytes], since_ms: int) -> None:
        """Their system said that the case's data is out of them."""
        self._index.set_state(case_id, nodes, MarkState.CLEAN, since_ms)
