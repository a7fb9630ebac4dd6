"""What the index knows of how a case's data came into its models, for the case's certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from expunge.domain.evidence.ways import MOST_PARENTS, MOST_STEPS, Step
from expunge.domain.identity import Keys
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
        waiting, steps = list(names), list[Step]()
        while waiting and len(steps) < MOST_STEPS:
            level, waiting = waiting[: MOST_STEPS - len(steps)], []
            above = self._above(case_id, level)
            every = sorted({parent for found in above.values() for parent in found} - names.keys())
            for node, row in zip(every, self._index.rows(every) if every else (), strict=True):
                if row is not None and row.asset:
                    names[node] = row.asset
                    waiting.append(node)
            for node in level:
                made_from = (commit(names[each]) for each in above[node] if each in names and each != node)
                steps.append(Step(commit(names[node]), tuple(made_from)))
        return steps

    def _above(self, case_id: str, nodes: list[bytes]) -> dict[bytes, list[bytes]]:
        """What the case has found among the parents of nodes."""
        found: dict[bytes, list[bytes]] = {}
        for node, row in zip(nodes, self._index.rows(nodes), strict=True):
            kept = set(row.parents) if row else set()
            found[node] = sorted({*self._index.excluded(case_id, node), *kept})[:MOST_PARENTS]
        every = sorted({each for parents in found.values() for each in parents})
        marks = zip(every, self._index.marks(every) if every else (), strict=True)
        mine = {node for node, several in marks if any(mark.case_id == case_id for mark in several)}
        return {node: [each for each in parents if each in mine] for node, parents in found.items()}
