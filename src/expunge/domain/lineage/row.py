"""Rows: what all statements about an asset add up to, and the bytes in which the index keeps it.

Rows merge by union, minimum and maximum only, so any order gives the same bytes (rule "union"). What repeats in
millions of rows, the combination of kinds, systems, data sources, purposes and categories, is kept once under its own
digest. The bytes, big-endian:

    5  digest of all that follows: "has this row changed since it was planned?"
    1  flags, below
    6  digest of the combination
    5  collected at, in seconds since 1970, rounded down; 0 for unknown
    2  length of the asset id, and the id in UTF-8
    then, each if its flag is set: first subject (8 bytes of the pseudonym); derived at (6, milliseconds); a few
    parents' keys (count in one byte, 16 each); extra (JSON): refs, attributes, holding, aliases.

Scripts on the server read the first three fields and the moment, nothing else.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import orjson

from expunge.domain.digest import SIZE
from expunge.domain.limits import KEPT_ALIASES, KEPT_ATTRIBUTES, KEPT_PARENTS, KEPT_REFS
from expunge.domain.vocabulary import CONTAINERS

DIGEST_BYTES = 5
COMBINATION_BYTES = 6
SUBJECT_BYTES = 8
"""Of a pseudonym, in a row: only whether another person is named matters there."""
FIRST_SECRET = b"\x01"
"""The first byte of pseudonyms that were made with the first secret."""
CONTAINER, PASS_THROUGH, SHARED, REMOVED, SUBJECT, DERIVED, PARENTS, EXTRA = (1 << bit for bit in range(8))
_HEAD = struct.Struct(">5sB6s5sH")
_TAIL = struct.Struct(">B6s5sH")
SIGNATURE = slice(DIGEST_BYTES, DIGEST_BYTES + 1 + COMBINATION_BYTES)
"""Of a row's bytes: flags and combination, all that policy needs to know of a row without EXTRA."""
_FLAGS_AT = DIGEST_BYTES
_ID_AT = _HEAD.size


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

    def merged(self, other: Holding) -> Holding:
        """Both words: union, and the latest moments."""
        return Holding(
            namespaces=tuple(sorted({*self.namespaces, *other.namespaces})),
            data_sources=tuple(sorted({*self.data_sources, *other.data_sources})),
            declared=max(self.declared, other.declared),
            withdrawn=max(self.withdrawn, other.withdrawn),
        )

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Holding:
        """From what `data` has written."""
        return cls(tuple(data["namespaces"]), tuple(data["data_sources"]), data["declared"], data["withdrawn"])

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "namespaces": sorted(self.namespaces),
            "data_sources": sorted(self.data_sources),
            "declared": self.declared,
            "withdrawn": self.withdrawn,
        }


@dataclass(frozen=True)
class Combination:
    """The names that millions of rows share. All of them are declared names, no secrets."""

    kinds: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    data_sources: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> bytes:
        """Its name: a digest of the names, never a counter (rule "union")."""
        return hashlib.blake2b(self.encode(), digest_size=COMBINATION_BYTES).digest()

    @cached_property
    def container(self) -> bool:
        """Whether one of its kinds holds many people's data."""
        return bool(self.kinds & CONTAINERS)

    def merged(self, other: Combination) -> Combination:
        """Everything that either names."""
        if self == other:
            return self
        return combine(
            tuple(sorted(self.kinds | other.kinds)),
            tuple(sorted(self.systems | other.systems)),
            tuple(sorted(self.data_sources | other.data_sources)),
            tuple(sorted(self.purposes | other.purposes)),
            tuple(sorted(self.categories | other.categories)),
        )

    def encode(self) -> bytes:
        """The same names are the same bytes, whatever order they came in."""
        lists = (self.kinds, self.systems, self.data_sources, self.purposes, self.categories)
        return orjson.dumps([sorted(names) for names in lists])

    @staticmethod
    def decode(raw: bytes) -> Combination:
        """The combination of `encode`."""
        return combine(*map(tuple, orjson.loads(raw)))


@lru_cache(maxsize=8192)
def combine(
    kinds: tuple[str, ...],
    systems: tuple[str, ...],
    data_sources: tuple[str, ...],
    purposes: tuple[str, ...],
    categories: tuple[str, ...],
) -> Combination:
    """A combination; one object for the same names, as long as it is remembered: they repeat in millions of rows."""
    return Combination(*map(frozenset, (kinds, systems, data_sources, purposes, categories)))


NOTHING = Combination()
FORGOTTEN = "(forgotten)"
"""Among the categories of a row whose id is forgotten: no declared name is spelled so."""


@dataclass(slots=True, repr=False)
class Row:
    """All that is known about one asset, apart from its edges and memberships. Nobody changes one.

    Attributes:
        asset: its id; empty where that is forgotten.
        collected: the earliest moment at which anything in it was collected, in seconds since 1970; 0 for unknown.
        derived_ms: the latest moment at which it was made, in milliseconds since 1970; 0 for unknown.
        first_subject: the beginning of the smallest pseudonym that it names; a second person makes it `shared`. Under
            later secrets than the first a shared row has none: which is the smallest says nothing any more.
        parents: keys of a few of the assets that it was made from: for people, not for walks.
        refs: (pseudonym in hexadecimal, the system's own handle for that person).
        aliases: other ids of the same asset; a row of that id, perhaps with nothing else in it, names this one.
        earliest: what the first subject was called under the first version of a normaliser, so that nobody is a second
            person by a newer one. It is known while rows are merged, and is no part of what is kept.
    """

    asset: str
    combination: Combination = NOTHING
    collected: int = 0
    derived_ms: int = 0
    first_subject: bytes = b""
    shared: bool = False
    removed: bool = False
    parents: tuple[bytes, ...] = ()
    refs: frozenset[tuple[str, str]] = frozenset()
    attributes: tuple[tuple[str, str], ...] = ()
    holding: Holding | None = None
    aliases: tuple[str, ...] = ()
    earliest: bytes = field(default=b"", compare=False)

    @property
    def is_forgotten(self) -> bool:
        """Whether it is gone, and its id was forgotten: it stays a step on walks, and nothing is planned for it.

        Its id may be known again, from what says that it was made from it.
        """
        return FORGOTTEN in self.combination.categories and not self.combination.systems

    def forgotten(self) -> Row:
        """The same once its id is forgotten: what it was, and from what, so that walks go as they did."""
        known = self.combination
        kinds, sources, purposes = sorted(known.kinds), sorted(known.data_sources), sorted(known.purposes)
        return Row(
            asset="",
            combination=combine(tuple(kinds), (), tuple(sources), tuple(purposes), (FORGOTTEN,)),
            collected=self.collected,
            derived_ms=self.derived_ms,
            removed=self.removed,
            parents=self.parents,
        )

    @property
    def container(self) -> bool:
        """Whether a walk for one person stops here, but for other containers (rule "containers")."""
        return self.holding is not None or self.combination.container

    @property
    def flags(self) -> int:
        """What can be known without reading the whole row."""
        return (
            (CONTAINER if self.container else 0)
            | (0 if self.combination.kinds else PASS_THROUGH)
            | (SHARED if self.shared else 0)
            | (REMOVED if self.removed else 0)
            | (SUBJECT if self.first_subject else 0)
            | (DERIVED if self.derived_ms else 0)
            | (PARENTS if self.parents else 0)
            | (EXTRA if self.refs or self.attributes or self.holding or self.aliases else 0)
        )

    def merged(self, other: Row) -> Row:
        """Both rows of one asset: union, minimum and maximum only."""
        first, is_one_person = self._first_subject(other)
        shared = self.shared or other.shared or not is_one_person
        return Row(
            asset=self.asset or other.asset,
            combination=self.combination.merged(other.combination),
            collected=min(filter(None, (self.collected, other.collected)), default=0),
            derived_ms=max(self.derived_ms, other.derived_ms),
            first_subject=kept_first(first, shared=shared),
            shared=shared,
            removed=self.removed or other.removed,
            parents=tuple(sorted({*self.parents, *other.parents})[:KEPT_PARENTS]),
            refs=frozenset(sorted(self.refs | other.refs)[:KEPT_REFS]),
            attributes=_merged_attributes(self.attributes, other.attributes),
            holding=self.holding.merged(other.holding)
            if self.holding and other.holding
            else self.holding or other.holding,
            aliases=tuple(sorted({*self.aliases, *other.aliases})[:KEPT_ALIASES]),
            earliest=self.earliest or other.earliest,
        )

    def renamed(self, before: bytes, after: bytes) -> Row:
        """The same once somebody whom it names has another pseudonym, made with a later secret."""
        first = self.first_subject
        if first == before[:SUBJECT_BYTES]:
            first = kept_first(after[:SUBJECT_BYTES], shared=self.shared)
        names = {before.hex(): after.hex()}
        refs = frozenset((names.get(name, name), ref) for name, ref in self.refs) if self.refs else self.refs
        return replace(self, first_subject=first, refs=refs)

    def stated_of(self, names: Collection[bytes], renames: Mapping[bytes, bytes]) -> Row:
        """The same where it names somebody who is stated again, so that they are no second person.

        Args:
            names: what a statement calls them.
            renames: of each name that they have had under the secret before, what it is now.
        """
        known = {name[:SUBJECT_BYTES] for name in (*names, *renames, *renames.values())}
        first = min(names)[:SUBJECT_BYTES] if self.first_subject in known else self.first_subject
        called = {before.hex(): after.hex() for before, after in renames.items()}
        refs = frozenset((called.get(name, name), ref) for name, ref in self.refs) if self.refs else self.refs
        return replace(self, first_subject=kept_first(first, shared=self.shared), refs=refs)

    def _first_subject(self, other: Row) -> tuple[bytes, bool]:
        """The first person of both rows, by the newest name that is known; and whether that is the only one."""
        mine, others = self.first_subject, other.first_subject
        if mine and others and mine != others:
            if others == self.earliest:
                return mine, True
            return (others, True) if mine == other.earliest else (min(mine, others), False)
        return mine or others, True

    def encode(self) -> bytes:
        """The bytes of the row; equal rows have equal bytes."""
        asset, flags = self.asset.encode(), self.flags
        parts = [
            _TAIL.pack(flags, self.combination.digest, self.collected.to_bytes(5, "big"), len(asset)),
            asset,
            self.first_subject,
        ]
        if flags & DERIVED:
            parts.append(self.derived_ms.to_bytes(6, "big"))
        if flags & PARENTS:
            parts += [bytes((len(self.parents),)), *self.parents]
        if flags & EXTRA:
            held = self.holding.data() if self.holding else None
            parts.append(orjson.dumps([sorted(self.refs), sorted(self.attributes), held, self.aliases]))
        body = b"".join(parts)
        return hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest() + body

    @staticmethod
    def decode(raw: bytes, combination: Combination) -> Row:
        """The row of `encode`; its combination is looked up by `combination_of`."""
        _, flags, _, collected, length = _HEAD.unpack_from(raw)
        at = _ID_AT + length
        asset, first, derived = raw[_ID_AT:at].decode(), b"", 0
        parents: tuple[bytes, ...] = ()
        extra: list[Any] = [[], [], None, []]
        if flags & SUBJECT:
            first, at = raw[at : at + SUBJECT_BYTES], at + SUBJECT_BYTES
        if flags & DERIVED:
            derived, at = int.from_bytes(raw[at : at + 6], "big"), at + 6
        if flags & PARENTS:
            end = at + 1 + SIZE * raw[at]
            parents, at = tuple(raw[place : place + SIZE] for place in range(at + 1, end, SIZE)), end
        if flags & EXTRA:
            extra = orjson.loads(raw[at:])
        refs, attributes, held, aliases = extra
        return Row(
            asset=asset,
            combination=combination,
            collected=int.from_bytes(collected, "big"),
            derived_ms=derived,
            first_subject=first,
            shared=bool(flags & SHARED),
            removed=bool(flags & REMOVED),
            parents=parents,
            refs=frozenset((pseudonym, ref) for pseudonym, ref in refs),
            attributes=tuple((key, value) for key, value in attributes),
            holding=Holding.of(held) if held else None,
            aliases=tuple(aliases),
        )


def kept_first(first: bytes, *, shared: bool) -> bytes:
    """What a row keeps of its first subject: under later secrets than the first nothing where it is shared."""
    return b"" if shared and first[:1] > FIRST_SECRET else first


def asset_of(raw: bytes) -> str:
    """The asset id in a row's bytes."""
    return raw[_ID_AT : _ID_AT + (raw[_ID_AT - 2] << 8 | raw[_ID_AT - 1])].decode()


def has_other_names(raw: bytes) -> bool:
    """Whether the asset of a row's bytes is known under other ids, too."""
    return bool(raw[_FLAGS_AT] & EXTRA and Row.decode(raw, Combination()).aliases)


def flags_of(raw: bytes | None) -> int:
    """The flags in a row's bytes; of no row, that a walk passes through."""
    return raw[_FLAGS_AT] if raw else PASS_THROUGH


def combination_of(raw: bytes) -> bytes:
    """The digest of the combination in a row's bytes."""
    return raw[_FLAGS_AT + 1 : _FLAGS_AT + 1 + COMBINATION_BYTES]


def collected_of(raw: bytes) -> int:
    """When something in it was first collected, in seconds since 1970; 0 for unknown."""
    return int.from_bytes(raw[_ID_AT - 7 : _ID_AT - 2], "big")


def parents_of(raw: bytes) -> list[bytes]:
    """The parents' keys that a row keeps."""
    flags = raw[_FLAGS_AT]
    if not flags & PARENTS:
        return []
    at = _ID_AT + (raw[_ID_AT - 2] << 8 | raw[_ID_AT - 1])
    at += (SUBJECT_BYTES if flags & SUBJECT else 0) + (6 if flags & DERIVED else 0)
    return [raw[place : place + SIZE] for place in range(at + 1, at + 1 + SIZE * raw[at], SIZE)]


def derived_of(raw: bytes) -> int:
    """When it was made, as far as its row knows (milliseconds since 1970); 0 for unknown."""
    flags = raw[_FLAGS_AT]
    if not flags & DERIVED:
        return 0
    at = _ID_AT + (raw[_ID_AT - 2] << 8 | raw[_ID_AT - 1]) + (SUBJECT_BYTES if flags & SUBJECT else 0)
    return int.from_bytes(raw[at : at + 6], "big")


@lru_cache(maxsize=8192)
def moment(text: str) -> datetime:
    """The moment of a stamp."""
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)


def _merged_attributes(
    left: tuple[tuple[str, str], ...], right: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    merged = dict(left)
    for key, value in right:
        merged[key] = max(merged.get(key, ""), value)
    return tuple(sorted(merged.items())[:KEPT_ATTRIBUTES])
