"""People's names in the index in memory; see `memory`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from expunge.adapters.memory.index import MemoryIndex
from expunge.domain.lineage.row import DIGEST_BYTES, Row
from expunge.domain.scope import Group, GroupKind
from expunge.ports.people import Name


class MemoryPeople:
    """See `ports.people.People`."""

    def __init__(self, index: MemoryIndex) -> None:
        self._index = index

    def named(self, epoch: int) -> Iterator[list[Name]]:
        """See `ports.people.People.named`."""
        groups = self._index.groups.items()
        people = {group.node for group, members in groups if group.kind is GroupKind.SUBJECT and members}
        marked = {node for node, marks in self._index.marked.items() if marks}
        for node in sorted(people | marked):
            if node[0] == epoch:
                yield [Name(node, has_members=node in people)]

    def members(self, nodes: Sequence[bytes]) -> list[Sequence[bytes] | None]:
        """See `ports.people.People.members`."""
        found = [list(self._index.groups.get(Group(GroupKind.SUBJECT, node), ())) for node in nodes]
        return [None if len(members) > self._index.hub else members for members in found]

    def adopt_marks(self, names: Sequence[tuple[bytes, bytes]]) -> int:
        """See `ports.people.People.adopt_marks`."""
        given = 0
        for before, after in names:
            for case_id, mark in list(self._index.marked.get(before, {}).items()):
                if case_id not in self._index.marked[after]:
                    self._index.marked[after][case_id] = replace(mark)
                    given += 1
        return given

    def rename(self, changes: Mapping[bytes, Callable[[Row], Row]]) -> int:
        """See `ports.people.People.rename`."""
        done = 0
        for node, change in changes.items():
            (row,) = self._index.rows([node])
            if row is None or (after := change(row)) == row:
                continue
            old, self._index.raw[node] = row.encode(), after.encode()
            now, done = self._index.raw[node][:DIGEST_BYTES], done + 1
            for mark in self._index.marked[node].values():
                mark.digest = now if mark.digest == old[:DIGEST_BYTES] else mark.digest
            seen = self._index.watched[node]
            seen |= {case_id: now for case_id, digest in seen.items() if digest == old[:DIGEST_BYTES]}
        return done

    def drop(self, nodes: Sequence[bytes]) -> None:
        """See `ports.people.People.drop`."""
        for node in nodes:
            self._index.groups.pop(Group(GroupKind.SUBJECT, node), None)
            self._index.marked.pop(node, None)
