"""Canonical statements and the rows they add up to.

Statements only add: a row is the union of all that was ever said about an asset, and the same bytes in any order
(PROTOCOLS 24). A row's bytes are: an 8-byte digest of its body, one byte of flags that scripts can read, the body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from expunge.domain.digest import digest
from expunge.domain.scope import Arrival
from expunge.domain.vocabulary import CONTAINERS

KEPT_PARENTS = 16
KEPT_REFS = 1000
KEPT_ATTRIBUTES = 32
"""Bounds of what a row keeps for people and agents. The smallest are kept, so that any order keeps the same."""
DIGEST_BYTES = 8
CONTAINER_FLAG = 1
PASS_THROUGH_FLAG = 2


class Named(NamedTuple):
    """A person named by a statement: the pseudonym, and the system's own handle for them."""

    pseudonym: bytes
    ref: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Holding:
    """What a holding answers for; `declared` and `withdrawn` are the latest moments of each word (ISO, UTC)."""

    namespaces: tuple[str, ...] = ()
    data_sources: tuple[str, ...] = ()
    declared: str = ""
    withdrawn: str = ""

    @property
    def active(self) -> bool:
        """Whether the latest word was a declaration; of two in one millisecond the declaration counts."""
        return bool(self.declared) and self.declared >= self.withdrawn

    def matches_namespace(self, namespace: str | None) -> bool:
        """Whether it answers for a person of this namespace; a bare pseudonym may belong to any."""
        return bool(self.namespaces) and (namespace is None or "*" in self.namespaces or namespace in self.namespaces)

    def matches_data_source(self, data_source: str) -> bool:
        """Whether it answers for this data source."""
        return "*" in self.data_sources or data_source in self.data_sources


@dataclass(frozen=True, slots=True, repr=False)
class Statement:
    """One registrar's message about one asset, in Expunge's own form: pseudonyms instead of ids."""

    asset: str
    kinds: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    subjects: tuple[Named, ...] = ()
    data_sources: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    collected_at: str = ""
    derived_at: str = ""
    content_digest: str = ""
    shared: bool = False
    removed: bool = False
    aliases: tuple[str, ...] = ()
    command_id: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    holding: Holding | None = None

    def data(self) -> dict[str, Any]:
        """The statement as it stands on the `assets` topic; empty fields are left out."""
        fields: dict[str, Any] = {
            "asset": self.asset,
            "kinds": list(self.kinds),
            "systems": list(self.systems),
            "parents": sorted(set(self.parents)),
            "subjects": sorted([named.pseudonym.hex(), named.ref or ""] for named in set(self.subjects)),
            "data_sources": sorted(self.data_sources),
            "purposes": sorted(self.purposes),
            "categories": sorted(self.categories),
            "collected_at": self.collected_at,
            "derived_at": self.derived_at,
            "digest": self.content_digest,
            "shared": self.shared,
            "removed": self.removed,
            "aliases": sorted(self.aliases),
            "command_id": self.command_id,
            "attributes": dict(sorted(self.attributes)),
        }
        if self.holding:
            fields["holding"] = _holding_data(self.holding)
        return {key: value for key, value in fields.items() if value}

    def identity(self) -> str:
        """The digest that names this statement on `assets`: said again, it is the same message."""
        return digest(_dump(self.data())).hex()


def _holding_data(holding: Holding) -> dict[str, Any]:
    return {
        "namespaces": sorted(holding.namespaces),
        "data_sources": sorted(holding.data_sources),
        "declared": holding.declared,
        "withdrawn": holding.withdrawn,
    }


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """All that is known about one asset, apart from its edges and memberships."""

    asset: str
    kinds: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    data_sources: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    collected_at: str = ""
    derived_at: str = ""
    first_subject: bytes = b""
    shared: bool = False
    removed: bool = False
    parents: tuple[str, ...] = ()
    refs: frozenset[tuple[str, str]] = frozenset()
    attributes: tuple[tuple[str, str], ...] = ()
    holding: Holding | None = field(default=None)

    @property
    def container(self) -> bool:
        """Whether a walk for one person stops here, but for other containers (PROTOCOLS 18)."""
        return self.holding is not None or bool(self.kinds & CONTAINERS)

    @property
    def flags(self) -> int:
        """What scripts need to know without reading the body."""
        return (CONTAINER_FLAG if self.container else 0) | (0 if self.kinds else PASS_THROUGH_FLAG)

    def merged(self, statement: Statement) -> Row:
        """The row with one more statement: union, minimum and maximum only."""
        subjects = {named.pseudonym for named in statement.subjects} | ({self.first_subject} - {b""})
        return Row(
            asset=statement.asset,
            kinds=self.kinds | set(statement.kinds),
            systems=self.systems | set(statement.systems),
            data_sources=self.data_sources | set(statement.data_sources),
            purposes=self.purposes | set(statement.purposes),
            categories=self.categories | set(statement.categories),
            collected_at=min(filter(None, (self.collected_at, statement.collected_at)), default=""),
            derived_at=max(self.derived_at, statement.derived_at),
            first_subject=min(subjects, default=b""),
            shared=self.shared or statement.shared or len(subjects) > 1,
            removed=self.removed or statement.removed,
            parents=tuple(sorted({*self.parents, *statement.parents})[:KEPT_PARENTS]),
            refs=_merged_refs(self.refs, statement.subjects),
            attributes=_merged_attributes(self.attributes, statement.attributes),
            holding=_merged_holding(self.holding, statement.holding),
        )

    def encode(self) -> bytes:
        """The bytes of the row; equal rows have equal bytes."""
        body: dict[str, Any] = {
            "a": self.asset,
            "k": sorted(self.kinds),
            "s": sorted(self.systems),
            "d": sorted(self.data_sources),
            "p": sorted(self.purposes),
            "c": sorted(self.categories),
            "t": self.collected_at,
            "v": self.derived_at,
            "f": self.first_subject.hex(),
            "m": self.shared,
            "r": self.removed,
            "n": list(self.parents),
            "e": sorted(self.refs),
            "x": dict(self.attributes),
        }
        if self.holding:
            body["h"] = _holding_data(self.holding)
        raw = _dump({key: value for key, value in body.items() if value})
        return digest(raw)[:DIGEST_BYTES] + bytes([self.flags]) + raw

    @staticmethod
    def decode(raw: bytes) -> Row:
        """The row of `encode`."""
        body = json.loads(raw[DIGEST_BYTES + 1 :])
        held = body.get("h")
        return Row(
            asset=body["a"],
            kinds=frozenset(body.get("k", ())),
            systems=frozenset(body.get("s", ())),
            data_sources=frozenset(body.get("d", ())),
            purposes=frozenset(body.get("p", ())),
            categories=frozenset(body.get("c", ())),
            collected_at=body.get("t", ""),
            derived_at=body.get("v", ""),
            first_subject=bytes.fromhex(body.get("f", "")),
            shared=body.get("m", False),
            removed=body.get("r", False),
            parents=tuple(body.get("n", ())),
            refs=frozenset((pseudonym, ref) for pseudonym, ref in body.get("e", ())),
            attributes=tuple(body.get("x", {}).items()),
            holding=Holding(tuple(held["namespaces"]), tuple(held["data_sources"]), held["declared"], held["withdrawn"])
            if held
            else None,
        )


def reach_of(arrival: Arrival, flags: int, *, bounded: bool) -> Arrival:
    """How a walk goes on from a node: by how it arrived and what the node's row says (PROTOCOLS 18).

    `visit.lua` keeps the same rule on the server. A node without a row passes the arrival through.
    """
    if arrival is Arrival.ROOT:
        return arrival
    if not bounded:
        return Arrival.THROUGH
    if flags & CONTAINER_FLAG:
        return Arrival.CONTAINERS
    return arrival if flags & PASS_THROUGH_FLAG else Arrival.THROUGH


def _merged_attributes(
    left: tuple[tuple[str, str], ...], right: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    merged = dict(left)
    for key, value in right:
        merged[key] = max(merged.get(key, ""), value)
    return tuple(sorted(merged.items())[:KEPT_ATTRIBUTES])


def _merged_refs(left: frozenset[tuple[str, str]], subjects: tuple[Named, ...]) -> frozenset[tuple[str, str]]:
    named = {(subject.pseudonym.hex(), subject.ref) for subject in subjects if subject.ref}
    return frozenset(sorted(left | named)[:KEPT_REFS])


def _merged_holding(left: Holding | None, right: Holding | None) -> Holding | None:
    if left is None or right is None:
        return left or right
    return Holding(
        namespaces=tuple(sorted({*left.namespaces, *right.namespaces})),
        data_sources=tuple(sorted({*left.data_sources, *right.data_sources})),
        declared=max(left.declared, right.declared),
        withdrawn=max(left.withdrawn, right.withdrawn),
    )
