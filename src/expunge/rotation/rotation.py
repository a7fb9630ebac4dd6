"""People's names in the index, from one secret to the next (rule "rotated").

While both are in use, whatever is written under the earlier name is written under the later one first. So one pass that
copies what was there before leaves nothing behind, and a pass that finds nothing to copy shows it. A pass may die
anywhere, run twice, and beside all roles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from expunge.domain.digest import hidden
from expunge.domain.identity import Keys
from expunge.domain.lineage.row import Row
from expunge.domain.scope import SHARDS, Group, GroupKind
from expunge.ports import Index
from expunge.ports.people import Name, People

AT_ONCE = 10_000
"""Members that are held in memory together."""

SubjectsOf = Callable[[str], Collection[bytes]]
"""A case -> the names of the people that it is about, as its request has them."""


class _Called(NamedTuple):
    """A person: two names, and the assets that belong to each."""

    before: bytes
    after: bytes
    members: Sequence[bytes]
    known: Sequence[bytes]

    def __repr__(self) -> str:
        return hidden(self)


class Rotation:
    """Takes people's names out of the use of one secret.

    Args:
        people: their names in the index.
        index: the index.
        keys: which know both secrets.
        before: the number of the earlier one.
        subjects_of: whom a case is about.
        tell: is told once for each part of the index that was looked at.
    """

    def __init__(
        self, people: People, index: Index, keys: Keys, before: int, subjects_of: SubjectsOf, tell: Callable[[], None]
    ) -> None:
        self._people, self._index, self._keys, self._before = people, index, keys, before
        self._subjects_of, self._tell = subjects_of, tell

    def copy(self) -> int:
        """Copy to the later names what stands under the earlier ones alone; how much that was."""
        copied = 0
        for part in self._people.named(self._before):
            copied += self._copy(part, self._names(part))
            self._tell()
        return copied

    def drop(self) -> int:
        """Take away the earlier names, which nobody uses any more; how many people's that were.

        Each is copied once more before: on a cluster a server may have lost since what was copied to it.
        """
        dropped = 0
        for part in self._people.named(self._before):
            gone = self._names(part)
            self._copy(part, gone)
            self._people.drop(gone)
            dropped += len(gone)
            self._tell()
        return dropped

    def _names(self, part: Sequence[Name]) -> list[bytes]:
        """The nodes that are people's names."""
        return [name.node for name in part if name.has_members or self._is_person(name.node)]

    def _copy(self, part: Sequence[Name], nodes: Sequence[bytes]) -> int:
        later = {node: self._keys.until(node, self._before + 1) for node in nodes}
        copied = self._people.adopt_marks(list(later.items())) if later else 0
        people = [name.node for name in part if name.has_members]
        small: list[_Called] = []
        found = self._people.members(people), self._people.members([later[node] for node in people])
        for node, members, known in zip(people, *found, strict=True):
            if members is None or known is None:
                copied += self._copy_hub(node, later[node])
            else:
                small.append(_Called(node, later[node], members, known))
        return copied + self._copy_members(small)

    def _copy_hub(self, before: bytes, after: bytes) -> int:
        copied, groups = 0, [Group(GroupKind.SUBJECT, node) for node in (before, after)]
        for shards in self._shards(self._index.sizes(groups[0])):
            members, known = (self._index.members(group, shards) for group in groups)
            copied += self._copy_members([_Called(before, after, members, known)])
        return copied

    def _copy_members(self, called: Sequence[_Called]) -> int:
        missing = [(each.after, member) for each in called for member in set(each.members).difference(each.known)]
        if missing:
            self._index.link_subjects(missing)
        names: dict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
        for each in called:
            for member in each.members:
                names[member].append((each.before, each.after))
        renamed = self._people.rename({member: partial(_renamed, some) for member, some in names.items()})
        return len(missing) + renamed

    def _shards(self, sizes: Sequence[int]) -> list[range]:
        """All shards, in parts of so many members."""
        parts, start, members = list[range](), 0, 0
        for shard, size in enumerate(sizes):
            if members and members + size > AT_ONCE:
                parts.append(range(start, shard))
                start, members = shard, 0
            members += size
        return [*parts, range(start, SHARDS)]

    def _is_person(self, node: bytes) -> bool:
        """Whether a node without members is a name: one of an asset, or of a data source, may begin like one."""
        (marks,) = self._index.marks([node])
        people = (person for mark in marks for person in self._subjects_of(mark.case_id))
        later = self._before + 1  # the root of a case that is forgotten meanwhile knows the later name alone
        name = self._keys.until(node, later)
        return any(person[0] <= later and self._keys.until(person, later) == name for person in people)


def _renamed(names: Sequence[tuple[bytes, bytes]], row: Row) -> Row:
    for before, after in names:
        row = row.renamed(before, after)
    return row
