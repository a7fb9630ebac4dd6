"""What a case is about: the roots of its walk, and how far the walk reaches."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from expunge.domain.digest import digest

Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A 16-byte key or id in hexadecimal."""


class Value(BaseModel):
    """Base of Expunge's own immutable values; `repr` shows no content."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    __str__ = __repr__


class ScopeKind(StrEnum):
    """The four kinds of request that this version carries out."""

    ERASURE = "erasure"
    REVOCATION = "revocation"
    WITHDRAWAL = "withdrawal"
    ASSET = "asset"


class Arrival(IntEnum):
    """How a walk comes to a node, and so how it may go on from there.

    A node reached from a container is taken only if it is a container itself (PROTOCOLS 18); a withdrawn asset is
    walked through whatever it is.
    """

    THROUGH = 0
    CONTAINERS = 1
    ROOT = 2

    @property
    def width(self) -> int:
        """How much it lets a walk take: a wider arrival visits a node again."""
        return (Arrival.CONTAINERS, Arrival.THROUGH, Arrival.ROOT).index(self)

    @property
    def onward(self) -> Arrival:
        """How the children of a node with this reach are arrived at."""
        return Arrival.CONTAINERS if self is Arrival.CONTAINERS else Arrival.THROUGH


class Subject(Value):
    """One identity of the person: its pseudonym, and its namespace where the publisher named it."""

    pseudonym: Hex
    namespace: str | None = None


class Scope(Value):
    """The roots of a case and the purposes it is limited to."""

    kind: ScopeKind
    subjects: tuple[Subject, ...] = ()
    data_sources: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    @property
    def bounded(self) -> bool:
        """Whether containers are boundaries: for one person and for withdrawn assets, not for a data source."""
        return self.kind is not ScopeKind.WITHDRAWAL


def data_source_node(name: str) -> bytes:
    """The node that stands for a data source; names are no secrets, so the digest has no key."""
    return digest("data-source", name)
