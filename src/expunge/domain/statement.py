"""Canonical statements: one registrar's message about one asset, in Expunge's own form. They only ever add."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from expunge.domain.digest import SIZE
from expunge.domain.row import (
    KEPT_ATTRIBUTES,
    KEPT_PARENTS,
    KEPT_REFS,
    SUBJECT_BYTES,
    Holding,
    Row,
    combine,
    moment,
)


class Named(NamedTuple):
    """A person named by a statement: the pseudonym, and the system's own handle for them."""

    pseudonym: bytes
    ref: str | None = None


@dataclass(slots=True, repr=False)
class Statement:
    """One registrar's message about one asset, with pseudonyms instead of ids. Every tuple is sorted, without doubles.

    It is not frozen for speed alone (an indexer makes tens of thousands a second); nobody changes one.
    """

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
        fields: dict[str, Any] = {"asset": self.asset}
        for field in _PLAIN_FIELDS:
            value = getattr(self, field)
            if value:
                fields[field] = value
        if self.attributes:
            fields["attributes"] = dict(self.attributes)
        if self.content_digest:
            fields["digest"] = self.content_digest
        if self.holding:
            fields["holding"] = self.holding.data()
        if self.subjects:
            fields["subjects"] = sorted({(each.pseudonym.hex(), each.ref or "") for each in self.subjects})
        return fields

    def row(self, parents: tuple[bytes, ...]) -> Row:
        """What this statement alone says; rows of one asset are merged.

        Args:
            parents: the keys of `parents`.
        """
        people = {each.pseudonym for each in self.subjects} if self.subjects else ()
        refs = [(each.pseudonym.hex(), each.ref) for each in self.subjects if each.ref]
        return Row(
            self.asset,
            combine(self.kinds, self.systems, self.data_sources, self.purposes, self.categories),
            max(0, int(moment(self.collected_at).timestamp())) if self.collected_at else 0,
            max(0, int(moment(self.derived_at).timestamp() * 1000)) if self.derived_at else 0,
            min(people, default=b"")[:SUBJECT_BYTES],
            self.shared or len(people) > 1,
            self.removed,
            tuple(sorted(set(parents))[:KEPT_PARENTS]) if len(parents) > 1 else parents,
            frozenset(sorted(refs)[:KEPT_REFS]) if refs else _NONE,
            tuple(sorted(self.attributes)[:KEPT_ATTRIBUTES]) if self.attributes else (),
            self.holding,
        )


_PLAIN_FIELDS = (
    "aliases",
    "categories",
    "collected_at",
    "command_id",
    "data_sources",
    "derived_at",
    "kinds",
    "parents",
    "purposes",
    "removed",
    "shared",
    "systems",
)
_NONE: frozenset[tuple[str, str]] = frozenset()


def identity_of(data: dict[str, Any]) -> str:
    """The digest that names a statement on `assets`: said again, it is the same message."""
    raw = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(raw, digest_size=SIZE).hexdigest()
