"""What a case is about: the roots of its walk, and how far the walk reaches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple, Self

from expunge.domain.digest import digest
from expunge.domain.planning.policy.about import About
from expunge.domain.values import Hex, Value
from expunge.domain.vocabulary import Kind


class ScopeKind(StrEnum):
    """The kinds of request that become cases, and what each is about in the words of a policy."""

    # A further kind is a row here, and one of its event in `wire.requests.REQUESTS`: what publishers may ask, the
    # command line, and how a policy speaks of it follow. It needs a scene in `tools/story.py`.
    about: About

    def __new__(cls, value: str, about: About) -> Self:
        """A member: its name, and the policy's word for it."""
        member = str.__new__(cls, value)
        member._value_, member.about = value, about
        return member

    ERASURE = "erasure", About.SUBJECT
    REVOCATION = "revocation", About.PURPOSE
    WITHDRAWAL = "withdrawal", About.DATA_SOURCE
    ASSET = "asset", About.ASSET
    RESTRICTION = "restriction", About.RESTRICTION


class Arrival(IntEnum):
    """How a walk comes to a node, and so how it may go on from there.

    A node reached from a container is taken only if it is a container itself (rule "containers"); a withdrawn asset is
    walked through whatever it is.
    """

    THROUGH = 0
    CONTAINERS = 1
    ROOT = 2
    MEMBER = 3
    """As THROUGH, from a person who is a root: only what was collected in time for the case.

    See design: "No asset escapes".
    """
    EITHER = 4
    """Both as MEMBER and as CONTAINERS: neither of them takes all that the other does."""

    def joined(self, other: Arrival) -> Arrival:
        """The way that takes whatever either of two ways takes."""
        if {self, other} == {Arrival.MEMBER, Arrival.CONTAINERS}:
            return Arrival.EITHER
        return self if self.width >= other.width else other

    @property
    def width(self) -> int:
        """How much it lets a walk take."""
        return _WIDTH[self]

    @property
    def onward(self) -> Arrival:
        """How the children of a node with this reach are arrived at."""
        return Arrival.CONTAINERS if self is Arrival.CONTAINERS else Arrival.THROUGH


_WIDTH = {Arrival.CONTAINERS: 0, Arrival.MEMBER: 0, Arrival.EITHER: 1, Arrival.THROUGH: 2, Arrival.ROOT: 3}


class Subject(Value):
    """One identity of the person: its pseudonym, and its namespace where the publisher named it."""

    pseudonym: Hex
    namespace: str | None = None


def one_person(pseudonyms: Collection[str]) -> str:
    """All names of one person as one value, who is looked for once, whatever number of names they have."""
    return "+".join(sorted(pseudonyms))


def names_of_person(value: str) -> list[str]:
    """The pseudonyms in such a value."""
    return value.split("+")


class Granted(Value):
    """A revoked purpose that was granted again: what is collected from then on may be kept."""

    purpose: str
    since: int
    """In seconds since 1970."""


class Provision(Value):
    """A part of an order with a deadline of its own; where several fit an asset, the first of them counts."""

    id: str
    due_at: datetime
    kinds: tuple[Kind, ...] = ()
    categories: tuple[str, ...] = ()

    def covers(self, kind: Kind, categories: frozenset[str]) -> bool:
        """Whether it is about an asset; without kinds it is about all, and so with categories."""
        of_category = not self.categories or not categories.isdisjoint(self.categories)
        return (not self.kinds or kind in self.kinds) and of_category


class Scope(Value):
    """The roots of a case and the purposes it is limited to."""

    kind: ScopeKind
    subjects: tuple[Subject, ...] = ()
    data_sources: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    until: int = 0
    """Of what names the person, only what was collected up to here, in seconds since 1970; 0: everything."""
    granted: tuple[Granted, ...] = ()
    provisions: tuple[Provision, ...] = ()
    """Of an order."""

    def provision_of(self, kind: Kind, categories: frozenset[str]) -> str:
        """The id of the provision that an asset falls under; empty where none is about it."""
        return next((each.id for each in self.provisions if each.covers(kind, categories)), "")

    def for_collected(self, collected: int) -> Scope:
        """The scope as it holds for what was collected at a moment: without the purposes that were granted by then."""
        again = {each.purpose for each in self.granted if collected >= each.since}
        if not again:
            return self
        return self.model_copy(update={"purposes": tuple(p for p in self.purposes if p not in again), "granted": ()})

    def called(self, live: Callable[[bytes], Sequence[bytes]]) -> dict[str, tuple[str, ...]]:
        """Every name that the index may have for its people -> the names that the request has (rule "rotated").

        Args:
            live: the names that follow from one, under every secret that people stand under, the newest first.
        """
        own: dict[bytes, tuple[str, ...]] = {}
        index: dict[str, bytes] = {}
        for each in self.subjects:
            names = live(bytes.fromhex(each.pseudonym))
            own[names[0]] = (*own.get(names[0], ()), each.pseudonym)
            index |= dict.fromkeys([each.pseudonym, *(name.hex() for name in names)], names[0])
        return {name: own[newest] for name, newest in index.items()}

    @property
    def people(self) -> list[bytes]:
        """What the request calls those whom it is about."""
        return [bytes.fromhex(each.pseudonym) for each in self.subjects]

    @property
    def bounded(self) -> bool:
        """Whether containers are boundaries: for one person and for withdrawn assets, not for a data source."""
        return self.kind is not ScopeKind.WITHDRAWAL


class GroupKind(StrEnum):
    """What has members in the index."""

    CHILDREN = "children"
    SUBJECT = "subject"
    SOURCE = "source"


class Group(NamedTuple):
    """Assets that belong together: what was made from an asset, what names a person, what came from a data source."""

    kind: GroupKind
    node: bytes
    """The asset's key, the pseudonym, or the node of the data source."""


SHARDS = 256
"""Parts in which the members of a group can be read: by the second byte of their keys."""


def shard_of(key: bytes) -> int:
    """The shard of an asset: the second byte of its key (of pseudonyms the first says the epoch)."""
    return key[1]


def place_of(node: bytes) -> bytes:
    """Where a node lies in the index: in this order, neighbours lie together."""
    return node[1:5]


def data_source_node(name: str) -> bytes:
    """The node that stands for a data source; names are no secrets, so the digest has no key."""
    return digest("data-source", name)
