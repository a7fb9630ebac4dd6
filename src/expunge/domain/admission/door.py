"""The door: who exists, the keys, the rules; and what all inlets check alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import NamedTuple

import rfc8785
from pydantic import TypeAdapter, ValidationError

from expunge.domain import digest, signatures
from expunge.domain.events import CloudEvent, Instant, Record
from expunge.domain.identity import Keys, versions
from expunge.domain.limits import MAX_ASSET_BYTES
from expunge.domain.normalisers import newest
from expunge.domain.planning.policy.rules import Policies
from expunge.domain.registry import Operator, Publisher, Registry
from expunge.domain.topics import carries_requests
from expunge.errors import InvalidMessage
from expunge.wire.cases.said import Place
from expunge.wire.form import Identity


class Origin(NamedTuple):
    """When an event came in, and where it lies: all that admission knows of the way on which it came."""

    at: datetime
    place: Place
    leader_epoch: int = -1
    """Of the broker that took it; -1: nobody counts them."""
    signers: frozenset[str] = frozenset()
    """Public keys of declared parties with which it is signed."""


FRESH = timedelta(minutes=10)
"""By so much the moment that a signed word bears may differ from that at which it was appended (rule "signed")."""
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Instant)


@dataclass(frozen=True, slots=True, repr=False)
class Door:
    """Who exists, the keys, the rules, the prefix of all topics, and whether unsigned orders are believed."""

    registry: Registry
    keys: Keys
    policies: Policies
    prefix: str = ""
    allow_unsigned: bool = False

    def place_of(self, record: Record) -> Place:
        """Where a record lies, by the topic's full name."""
        return Place(topic=self.prefix + record.topic, partition=record.partition, offset=record.position.offset)

    def origin(self, record: Record) -> Origin:
        """The same for what came on a topic."""
        return Origin(record.appended_at, self.place_of(record), record.position.leader_epoch)

    def opened(self, event: CloudEvent, record: Record) -> tuple[CloudEvent, Origin]:
        """An event out of its envelope, and the way on which it came.

        Raises:
            InvalidMessage: nobody who is declared has signed it; see `signatures.opened`.
        """
        inner, signers = signatures.opened(event, self.registry.public_keys)
        return inner, self.origin(record)._replace(signers=signers)

    def publisher(self, event: CloudEvent, came: Origin) -> Publisher:
        """The declared publisher of an event.

        Raises:
            InvalidMessage: its source is not declared, or somebody else may have said it.
        """
        publisher = self.registry.publisher_of(event.source)
        if publisher is None:
            raise InvalidMessage("undeclared_source")
        topic = came.place.topic.removeprefix(self.prefix)
        if carries_requests(topic) and topic != publisher.topic:
            raise InvalidMessage("wrong_topic", f"requests of {publisher.name} are written to {publisher.topic}")
        _refuse_unsigned(publisher.key, came)
        return publisher

    def refuse_unless_said_by(self, operator: Operator, event: CloudEvent, came: Origin) -> None:
        """See that an operator has said a word, and has said it now: an old one might be published again.

        Raises:
            InvalidMessage: it is not signed by them, or bears another moment.
        """
        _refuse_unsigned(operator.key, came)
        if not operator.key and not self.allow_unsigned:
            raise InvalidMessage("unsigned", "controls must be signed, or allow_unsigned be set")
        if operator.key:
            self.refuse_stale(event, came)

    def refuse_stale(self, event: CloudEvent, came: Origin) -> None:
        """See that something signed is said now, where its moment says what holds.

        Raises:
            InvalidMessage: it bears another moment than that at which it was appended, or none.
        """
        if abs(came.at - _moment_of(event)) > FRESH:
            raise InvalidMessage("stale", "time")

    def pseudonym(self, identity: Identity) -> bytes:
        """The pseudonym of an identity, made here or brought along.

        Raises:
            InvalidMessage: the namespace is not declared, or the id is not of its form.
        """
        return self.keys.newest(self._first(identity))

    def pseudonyms(self, identity: Identity) -> list[bytes]:
        """Every pseudonym under which a person may stand in the index, the newest first: for whoever must find them.

        Raises:
            InvalidMessage: see `pseudonym`.
        """
        return [name for first in self._firsts(identity) for name in self.keys.live(first)]

    def earlier(self, identity: Identity) -> tuple[bytes, ...]:
        """Once the secret was rotated: those that were made with secrets before the newest.

        Raises:
            InvalidMessage: see `pseudonym`.
        """
        newest = self.keys.epochs.newest
        if newest == 1:
            return ()
        return tuple(name for name in self.ever(identity) if name[0] < newest)

    def ever(self, identity: Identity) -> list[bytes]:
        """Every pseudonym that a person may ever have had, as far as they follow from what is said.

        Raises:
            InvalidMessage: see `pseudonym`.
        """
        newest = self.keys.epochs.newest
        return [
            self.keys.until(first, epoch)
            for first in self._firsts(identity)
            for epoch in range(newest, first[0] - 1, -1)
        ]

    def earliest(self, identity: Identity) -> bytes:
        """The pseudonym under the first version of its normaliser that takes the id; empty where there is only one.

        Raises:
            InvalidMessage: see `pseudonym`.
        """
        space = self.registry.namespace(identity.namespace or "")
        if space is None or identity.id is None or newest(space.normaliser) == 1:
            return b""
        return self.keys.newest(self._firsts(identity)[-1])

    def _first(self, identity: Identity, version: int = 0) -> bytes:
        """A person as whoever brings a pseudonym along says, or under the first secret."""
        space = self.registry.namespace(identity.namespace or "")
        if space is None and (identity.pseudonym is None or identity.namespace is not None):
            raise InvalidMessage("undeclared_namespace", "data.subjects.namespace")
        if identity.pseudonym is not None:
            raw = bytes.fromhex(identity.pseudonym)
            # What was made with the newest secret does not say what it was before, under which assets may stand still.
            if not 0 < raw[0] <= self.keys.epochs.oldest:
                raise InvalidMessage("bad_identity", "a pseudonym of an epoch that is not live")
            return raw
        if space is None:
            raise InvalidMessage("undeclared_namespace", "data.subjects.namespace")
        tenant = self.tenant_of(identity)
        return self.keys.first(tenant, space.name, space.normaliser, identity.id or "", version)

    def _firsts(self, identity: Identity) -> list[bytes]:
        """The same by every version of the normaliser, the newest first."""
        space = self.registry.namespace(identity.namespace or "")
        if identity.id is None or space is None:
            return [self._first(identity)]
        return [self._first(identity, version) for version in versions(space.normaliser, identity.id)]

    def tenant_of(self, identity: Identity) -> str:
        """Whose customer a person is: the deployment's own, where nobody says otherwise."""
        return identity.tenant or self.registry.tenant

    def suppressions(self, identities: Sequence[Identity]) -> tuple[str, ...]:
        """The keys under which a person is suppressed, as far as the publisher says who it is."""
        found: set[str] = set()
        for identity in identities:
            space = self.registry.namespace(identity.namespace or "")
            if space is not None and identity.id is not None:
                tenant = self.tenant_of(identity)
                made = partial(self.keys.suppression.of, tenant, space.name, space.normaliser, identity.id)
                found.update(made(version) for version in versions(space.normaliser, identity.id))
        return tuple(sorted(found))

    def check_data_sources(self, names: Sequence[str]) -> None:
        """Hold data sources to the declared patterns.

        Raises:
            InvalidMessage: one fits none.
        """
        for name in names:
            if not self.registry.knows_data_source(name):
                raise InvalidMessage("undeclared_data_source", "data.data_sources")


def _refuse_unsigned(keys: Sequence[str], came: Origin) -> None:
    """Whoever has a key must use it, whatever `allow_unsigned` says: otherwise anybody could leave it out."""
    if keys and not came.signers:
        raise InvalidMessage("unsigned", "a key is declared for whoever says this")
    if keys and came.signers.isdisjoint(keys):
        raise InvalidMessage("bad_signature", "signed by somebody else")


def _moment_of(event: CloudEvent) -> datetime:
    try:
        return _MOMENT.validate_python((event.model_extra or {}).get("time"))
    except ValidationError:
        raise InvalidMessage("stale", "time: a signed word says when it was said") from None


def canonical(value: object) -> bytes:
    """A value as RFC 8785 spells it, so that the same content has the same digest.

    Raises:
        InvalidMessage: it holds what JSON cannot carry exactly.
    """
    try:
        return digest.canonical(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise InvalidMessage("bad_field", "a number or text that JSON cannot carry exactly") from None


FIELD_OF = {"undeclared_purpose": "data.purposes", "undeclared_category": "data.categories"}


@lru_cache(maxsize=4096)
def declared(names: tuple[str, ...], known: tuple[str, ...], reason: str) -> tuple[str, ...]:
    """Names, sorted, if all of them are declared.

    Raises:
        InvalidMessage: one is not; for `undeclared_purpose` in `data.purposes`.
    """
    if set(names) - set(known):
        raise InvalidMessage(reason, FIELD_OF.get(reason, ""))
    return tuple(sorted(set(names)))


def check_sizes(assets: Sequence[str]) -> None:
    """Hold asset ids to their largest size.

    Raises:
        InvalidMessage: one is too long, or no text.
    """
    for asset in assets:
        try:
            size = len(asset.encode())
        except UnicodeEncodeError:
            raise InvalidMessage("bad_field", "an asset id that is not Unicode text") from None
        if size > MAX_ASSET_BYTES:
            raise InvalidMessage("bad_field", f"an asset id of more than {MAX_ASSET_BYTES} bytes")
