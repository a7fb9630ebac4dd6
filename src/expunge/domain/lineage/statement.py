"""Canonical statements: one registrar's message about one asset, in Expunge's own form. They only ever add."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from expunge.domain.digest import SIZE, hidden
from expunge.domain.events import millis
from expunge.domain.limits import KEPT_ALIASES, KEPT_ATTRIBUTES, KEPT_PARENTS, KEPT_REFS
from expunge.domain.lineage.row import SUBJECT_BYTES, Holding, Row, combine, kept_first, moment


class Named(NamedTuple):
    """A person named by a statement: the pseudonym, and the system's own handle for them."""

    pseudonym: bytes
    ref: str | None = None
    person: str = ""
    """Names with the same label in one statement are one person's; without one each stands for itself."""
    earliest: bytes = b""
    """The pseudonym under the first version of the id's normaliser, where there have been several: see `Row`."""
    earlier: tuple[bytes, ...] = ()
    """Once the secret was rotated: every name that they have had under secrets before the newest. Not kept."""

    def renamed(self, newest: Callable[[bytes], bytes]) -> Named:
        """The same under the newest secret."""
        pseudonym, earliest = newest(self.pseudonym), newest(self.earliest) if self.earliest else b""
        earlier = (self.pseudonym, self.earliest) if self.earliest else (self.pseudonym,)
        is_old = pseudonym != self.pseudonym
        return self._replace(pseudonym=pseudonym, earliest=earliest, earlier=earlier if is_old else ())

    def __repr__(self) -> str:
        return hidden(self)


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
    forgotten_parents: tuple[str, ...] = ()
    """The keys of its parents, where its own id is forgotten, in hexadecimal."""
    forgotten: str = ""
    """The key of the asset itself, where its id is forgotten; `asset` is empty then."""

    def data(self) -> dict[str, Any]:  # noqa: C901, PLR0912 - a list of fields; a loop over names takes twice as long
        """The statement as it stands on the `assets` topic; empty fields are left out."""
        fields: dict[str, Any] = {"asset": self.asset} if self.asset else {"forgotten": self.forgotten}
        if self.aliases:
            fields["aliases"] = self.aliases
        if self.categories:
            fields["categories"] = self.categories
        if self.collected_at:
            fields["collected_at"] = self.collected_at
        if self.command_id:
            fields["command_id"] = self.command_id
        if self.data_sources:
            fields["data_sources"] = self.data_sources
        if self.derived_at:
            fields["derived_at"] = self.derived_at
        if self.kinds:
            fields["kinds"] = self.kinds
        if self.parents:
            fields["parents"] = self.parents
        if self.purposes:
            fields["purposes"] = self.purposes
        if self.removed:
            fields["removed"] = True
        if self.shared:
            fields["shared"] = True
        if self.systems:
            fields["systems"] = self.systems
        if self.attributes:
            fields["attributes"] = dict(self.attributes)
        if self.content_digest:
            fields["digest"] = self.content_digest
        if self.forgotten_parents:
            fields["forgotten_parents"] = self.forgotten_parents
        if self.holding:
            fields["holding"] = self.holding.data()
        if self.subjects:
            named = [(each.pseudonym.hex(), each.ref or "") for each in self.subjects]
            fields["subjects"] = sorted(set(named)) if len(named) > 1 else named
            if earliest := {each.pseudonym.hex(): each.earliest.hex() for each in self.subjects if each.earliest}:
                fields["earliest"] = earliest
            if len(named) > 1 and (several := [names for names in self._persons() if len(names) > 1]):
                fields["persons"] = sorted(sorted(each.hex() for each in names) for names in several)
        return fields

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Statement:
        """A statement as `data` has written it; labels of persons are others, and mean the same."""
        get, none = data.get, ()
        person = {name: names[0] for names in get("persons", none) for name in names}
        earliest = get("earliest", {})
        holding, attributes = get("holding"), get("attributes")
        return cls(
            get("asset", ""),
            tuple(get("kinds", none)),
            tuple(get("systems", none)),
            tuple(get("parents", none)),
            tuple(
                [
                    Named(bytes.fromhex(n), ref or None, person.get(n, ""), bytes.fromhex(earliest.get(n, "")))
                    for n, ref in get("subjects", none)
                ]
            ),
            tuple(get("data_sources", none)),
            tuple(get("purposes", none)),
            tuple(get("categories", none)),
            get("collected_at") or "",
            get("derived_at") or "",
            get("digest") or "",
            bool(get("shared")),
            bool(get("removed")),
            tuple(get("aliases", none)),
            get("command_id") or "",
            tuple(attributes.items()) if attributes else none,
            Holding.of(holding) if holding else None,
            tuple(get("forgotten_parents", none)),
            get("forgotten", ""),
        )

    def node(self, key: Callable[[str], bytes]) -> bytes:
        """The key of the asset; `key` makes one from an id."""
        return bytes.fromhex(self.forgotten) if self.forgotten else key(self.asset)

    def parents_of(self, key: Callable[[str], bytes]) -> tuple[bytes, ...]:
        """The keys of all of its parents; `key` makes them from ids."""
        if not self.forgotten_parents:
            return tuple(map(key, self.parents))
        return (*map(key, self.parents), *map(bytes.fromhex, self.forgotten_parents))

    def without_ids(self, key: Callable[[str], bytes]) -> Statement:
        """The same once the asset's id is forgotten: keys, what it was, and who it named by pseudonym."""
        return Statement(
            asset="",
            kinds=self.kinds,
            subjects=tuple(
                Named(pseudonym, earliest=earliest)
                for pseudonym, earliest in sorted({(each.pseudonym, each.earliest) for each in self.subjects})
            ),
            data_sources=self.data_sources,
            purposes=self.purposes,
            collected_at=self.collected_at,
            derived_at=self.derived_at,
            removed=self.removed,
            forgotten_parents=tuple(sorted({node.hex() for node in self.parents_of(key)})),
            forgotten=self.node(key).hex(),
        )

    def renamed(self, newest: Callable[[bytes], bytes]) -> Statement:
        """The same with everybody's name under the newest secret; the very same where all are."""
        subjects = tuple(each.renamed(newest) for each in self.subjects)
        return self if subjects == self.subjects else replace(self, subjects=subjects)

    def in_row(self, row: Row, newest: Callable[[bytes], bytes]) -> Row:
        """What stands of the asset, with the names that this statement has for the same people."""
        for names in self._persons():
            mine = [each for each in self.subjects if each.pseudonym in names]
            row = row.stated_of(names, {name: newest(name) for each in mine for name in each.earlier})
        return row

    def _persons(self) -> list[set[bytes]]:
        """The pseudonyms that it names, those of one person together."""
        if len(self.subjects) == 1:
            return [{self.subjects[0].pseudonym}]
        persons: dict[str | bytes, set[bytes]] = {}
        for each in self.subjects:
            persons.setdefault(each.person or each.pseudonym, set()).add(each.pseudonym)
        return list(persons.values())

    def row(self, parents: tuple[bytes, ...]) -> Row:
        """What this statement alone says; rows of one asset are merged.

        Args:
            parents: the keys of `parents`.
        """
        if self.forgotten:
            return replace(self, forgotten="").row(parents).forgotten()
        people = {min(names) for names in self._persons()}
        first = min(people, default=b"")
        refs = [(each.pseudonym.hex(), each.ref) for each in self.subjects if each.ref]
        return Row(
            self.asset,
            combine(self.kinds, self.systems, self.data_sources, self.purposes, self.categories),
            max(0, int(moment(self.collected_at).timestamp())) if self.collected_at else 0,
            max(0, millis(moment(self.derived_at))) if self.derived_at else 0,
            kept_first(first[:SUBJECT_BYTES], shared=self.shared or len(people) > 1),
            self.shared or len(people) > 1,
            self.removed,
            tuple(sorted(set(parents))[:KEPT_PARENTS]) if len(parents) > 1 else parents,
            frozenset(sorted(refs)[:KEPT_REFS]) if refs else _NONE,
            tuple(sorted(self.attributes)[:KEPT_ATTRIBUTES]) if self.attributes else (),
            self.holding,
            self.aliases[:KEPT_ALIASES],
            next((each.earliest for each in self.subjects if each.pseudonym == first), b"")[:SUBJECT_BYTES],
        )


def in_row(statements: Iterable[Statement], newest: Callable[[bytes], bytes], row: Row) -> Row:
    """A row with the names that statements about its asset have for the same people; see `Statement.in_row`."""
    for each in statements:
        row = each.in_row(row, newest)
    return row


_NONE: frozenset[tuple[str, str]] = frozenset()


def identity_of(data: dict[str, Any]) -> str:
    """The digest that names a statement on `assets`: said again, it is the same message."""
    raw = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(raw, digest_size=SIZE).hexdigest()
