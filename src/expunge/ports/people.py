"""People's names in the index, while one secret takes another's place (rule "rotated")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from expunge.domain.digest import hidden
from expunge.domain.lineage.row import Row


class Name(NamedTuple):
    """A node of the index that is a person's name, or looks like one."""

    node: bytes
    has_members: bool
    """Whether assets belong to it. Without any it may be an asset that nobody has registered, and that has marks."""

    def __repr__(self) -> str:
        return hidden(self)


class People(Protocol):
    """What `Index` need not do while people keep their names. Whatever is written may be written twice."""

    def named(self, epoch: int) -> Iterator[list[Name]]:
        """Nodes that begin with the byte of a secret and have members or marks, part by part.

        What is added while this reads may be left out.
        """

    def members(self, nodes: Sequence[bytes]) -> list[Sequence[bytes] | None]:
        """The assets that belong to names; None: too many to come along, to be read with `Index.members`."""

    def adopt_marks(self, names: Sequence[tuple[bytes, bytes]]) -> int:
        """Give the second of two names the marks of the first, of cases that have none there; how many that were."""

    def rename(self, changes: Mapping[bytes, Callable[[Row], Row]]) -> int:
        """Change rows, each as it is when it is written; how many were others before.

        Marks that say how such a row looked say in the same step how it looks now: nothing has been stated of it.
        """

    def drop(self, nodes: Sequence[bytes]) -> None:
        """Take away the members and marks of names that nobody uses any more."""
