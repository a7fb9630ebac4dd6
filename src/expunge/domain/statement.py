"""Canonical statements: one registrar's message about one asset, in Expunge's own form. They only ever add."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from expunge.domain.digest import digest
from expunge.domain.row import KEPT_ATTRIBUTES, KEPT_PARENTS, KEPT_REFS, Holding, Row, combine, moment


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
        fields: dict[str, Any] = {
            "asset": self.asset,
            "kinds": self.kinds,
            "systems": self.systems,
            "parents": self.parents,
            "subjects": self.subjects and sorted((each.pseudonym.hex(), each.ref or "") for each in self.subjects),
            "data_sources": self.data_sources,
            "purposes": self.purposes,
            "categories": self.categories,
            "collected_at": self.collected_at,
            "derived_at": self.derived_at,
            "digest": self.content_digest,
            "shared": self.shared,
            "removed": self.removed,
            "aliases": self.aliases,
            "command_id": self.command_id,
            "attributes": self.attributes and dict(self.attributes),
            "holding": self.holding and self.holding.data(),
        }
        return {key: value for key, value in fields.items() if value}

    def row(self, parents: tuple[bytes, ...]) -> Row:
        """What this statement alone says; rows of one asset are merged.

        Args:
            parents: the keys of `parents`.
        """
        people = {each.pseudonym for each in self.subjects}
        refs = sorted((each.pseudonym.hex(), each.ref) for each in self.subjects if each.ref)
        return Row(
            asset=self.asset,
            combination=combine(
                frozenset(self.kinds),
                frozenset(self.systems),
                frozenset(self.data_sources),
                frozenset(self.purposes),
                frozenset(self.categories),
            ),
            collected=max(0, int(moment(self.collected_at).timestamp())),
            derived_ms=max(0, int(moment(self.derived_at).timestamp() * 1000)),
            first_subject=min(people, default=b""),
            shared=self.shared or len(people) > 1,
            removed=self.removed,
            parents=tuple(sorted(set(parents))[:KEPT_PARENTS]),
            refs=frozenset(refs[:KEPT_REFS]),
            attributes=tuple(sorted(self.attributes)[:KEPT_ATTRIBUTES]),
            holding=self.holding,
        )


def identity_of(data: dict[str, Any]) -> str:
    """The digest that names a statement on `assets`: said again, it is the same message."""
    return digest(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hex()
