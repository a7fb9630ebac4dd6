"""What the index knows of how a case's data came into its models, for the case's certificate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from expunge.domain.evidence.ways import MOST_PARENTS, MOST_STEPS, Step
from expunge.domain.identity import Keys
from expunge.domain.lineage.row import Row
from expunge.ports import Index


class Lineage:
    """Follows models upwards, as far as the case's marks reach."""

    def __init__(self, index: Index, keys: Keys) -> None:
        self._index, self._keys = index, keys

    def steps(self, case_id: str, models: Iterable[str], commit: Callable[[str], str]) -> list[Step]:
        """What they, and what they were made from, were made from; at most `MOST_STEPS`.

        Args:
            case_id: the case.
            models: their ids.
            commit: what stands for an id in the certificate.
        """
        names = {self._keys.asset(each): each for each in models}
        rows: Mapping[bytes, Row | None] = self._rows(names)
        steps = list[Step]()
        while rows and len(steps) < MOST_STEPS:
            above = self._above(case_id, dict(islice(rows.items(), MOST_STEPS - len(steps))))
            read = self._rows(sorted({parent for found in above.values() for parent in found} - names.keys()))
            rows = kept = {node: row for node, row in read.items() if row is not None and row.asset}
            names |= {node: row.asset for node, row in kept.items()}
            for node, found in above.items():
                made_from = (commit(names[each]) for each in found if each in names and each != node)
                steps.append(Step(commit(names[node]), tuple(made_from)))
        return steps

    def _rows(self, nodes: Collection[bytes]) -> dict[bytes, Row | None]:
        return dict(zip(nodes, self._index.rows(list(nodes)), strict=True)) if nodes else {}

    def _above(self, case_id: str, rows: Mapping[bytes, Row | None]) -> dict[bytes, list[bytes]]:
        """What the case has found among the parents of nodes."""
        found: dict[bytes, list[bytes]] = {}
        for node, row in rows.items():
            kept = set(row.parents) if row else set()
            found[node] = sorted({*self._index.excluded(case_id, node), *kept})[:MOST_PARENTS]
        every = sorted({each for parents in found.values() for each in parents})
        marks = zip(every, self._index.marks(every) if every else (), strict=True)
        mine = {node for node, several in marks if any(mark.case_id == case_id for mark in several)}
        return {node: [each for each in parents if each in mine] for node, parents in found.items()}
