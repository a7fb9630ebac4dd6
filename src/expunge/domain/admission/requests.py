"""Requests at the door: from what a publisher says to the root of a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import rfc8785

from expunge.domain.admission.door import Door, Origin, canonical, check_sizes, declared
from expunge.domain.aggregates.suppression import RESTRICTED, restriction_key
from expunge.domain.events import CloudEvent, millis
from expunge.domain.identity import normalise, versions
from expunge.domain.limits import MAX_SEALS_BYTES
from expunge.domain.planning.policy.about import About
from expunge.domain.registry import Publisher
from expunge.domain.scope import Provision, Scope, ScopeKind, Subject
from expunge.domain.vocabulary import Regime
from expunge.errors import InvalidMessage
from expunge.wire import inlets
from expunge.wire.cases.case import Root, Seal
from expunge.wire.cases.suppression import PurposeWord, Suppress
from expunge.wire.form import Identity
from expunge.wire.requests import (
    REQUESTS,
    ConsentGranted,
    Matter,
    Request,
    RestrictionLifted,
)

JURISDICTIONS: dict[str, Regime] = {
    **dict.fromkeys(
        (
            *("AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT"),
            *("LU", "MT", "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "EU"),
        ),
        Regime.GDPR,
    ),
    "GB": Regime.UK_GDPR,
    "US-CA": Regime.CCPA,
    "US-IL": Regime.BIPA,
    "BR": Regime.LGPD,
    "IN": Regime.DPDP,
}
"""Jurisdictions (ISO 3166) whose regime is known; any other is refused, never taken for `none`."""

SealFor = Callable[[str, bytes], str]


def request(
    door: Door,
    event: CloudEvent,
    publisher: Publisher,
    came: Origin,
    *,
    seal_for: SealFor,
    salt: str,
    watermark: dict[str, dict[str, int]],
) -> Root:
    """A request as the root of a case: checked against what is declared, pseudonymised, sealed.

    Raises:
        InvalidMessage: what is wrong, by field.
    """
    kind, request = _read(door, event, publisher, came.at)
    scope = _scope(door, kind, request, publisher)
    regime, received_at = _regime(request, publisher), min(request.received_at, came.at)
    reach = door.policies.current.reach
    if kind.about is About.SUBJECT and regime not in reach.everything:
        until = int((received_at + timedelta(days=reach.tail_days)).timestamp())
        scope = scope.model_copy(update={"until": until})
    case_id = door.keys.case(event.source, request.request_id)
    asked = request.model_dump(mode="json", exclude_none=True) | {"type": event.type}
    return Root(
        case_id=case_id,
        request_id=request.request_id,
        source=event.source,
        event_id=event.id,
        publisher=publisher.name,
        scope=scope,
        regime=regime,
        jurisdiction=request.jurisdiction.upper() if request.jurisdiction else None,
        received_at=received_at,
        policy=door.policies.current.digest,
        clamped=request.received_at > came.at,
        correlation_id=request.correlation_id,
        batch=request.batch,
        dry_run=request.dry_run,
        salt=salt,
        seals=_seals(door, getattr(request, "subjects", ()), seal_for),
        suppressions=_suppressed_as(door, scope, getattr(request, "subjects", ())),
        matter=request.matter,
        watermark=watermark,
        content=door.keys.content(canonical(asked)),
        place=came.place,
    )


def _read(door: Door, event: CloudEvent, publisher: Publisher, now: datetime) -> tuple[ScopeKind, Request]:
    """What is asked, if this publisher may ask for it, and of what kind it is."""
    if event.type not in REQUESTS:
        raise InvalidMessage("unknown_type")
    kind, model = REQUESTS[event.type]
    if kind not in publisher.may:
        raise InvalidMessage("not_allowed", "type")
    if kind is ScopeKind.WITHDRAWAL and not (publisher.is_bound or door.allow_unsigned):
        raise InvalidMessage("unsigned", "whoever withdraws data sources has a key, or a topic of their own")
    return kind, inlets.read(model, event, now)


def _suppressed_as(door: Door, scope: Scope, identities: Sequence[Identity]) -> tuple[str, ...]:
    if scope.kind is ScopeKind.RESTRICTION:
        return _restricted_as(door, identities)
    return door.suppressions(identities)


def _restricted_as(door: Door, identities: Sequence[Identity]) -> tuple[str, ...]:
    """The keys of what is said of a person's restrictions, under every secret: it stays where it was said first."""
    return tuple(sorted({restriction_key(each.hex()) for identity in identities for each in door.ever(identity)}))


def granted(door: Door, event: CloudEvent, publisher: Publisher, appended_at: datetime) -> list[Suppress]:
    """Consent given again, as words for the person's suppressions.

    Raises:
        InvalidMessage: what is wrong, by field; a bare pseudonym is not enough to find a suppression.
    """
    if ScopeKind.REVOCATION not in publisher.may:
        raise InvalidMessage("not_allowed", "type")
    said = inlets.read(ConsentGranted, event, appended_at)
    for identity in said.subjects:
        _subjects(door, identity, publisher)
    keys = door.suppressions(said.subjects)
    if not keys:
        raise InvalidMessage("bad_identity", "data.subjects: namespace and id, not a pseudonym")
    at_ms = millis(min(said.received_at, appended_at))
    purposes = declared(said.purposes, door.registry.purposes, "undeclared_purpose")
    words = tuple(PurposeWord(purpose=purpose, at_ms=at_ms, word="granted") for purpose in purposes)
    return [Suppress(suppression=key, words=words) for key in keys]


def lifted(door: Door, event: CloudEvent, publisher: Publisher, appended_at: datetime) -> list[Suppress]:
    """A restriction that ends, as words for what is said of the person's restrictions.

    Raises:
        InvalidMessage: what is wrong, by field.
    """
    if ScopeKind.RESTRICTION not in publisher.may:
        raise InvalidMessage("not_allowed", "type")
    said = inlets.read(RestrictionLifted, event, appended_at)
    if said.dry_run:
        raise InvalidMessage("not_carried_out", "data.dry_run")
    at_ms = millis(min(said.received_at, appended_at))
    words = (PurposeWord(purpose=RESTRICTED, at_ms=at_ms, word="granted"),)
    for identity in said.subjects:
        _subjects(door, identity, publisher)
    return [Suppress(suppression=key, words=words) for key in _restricted_as(door, said.subjects)]


def _scope(door: Door, kind: ScopeKind, request: Request, publisher: Publisher) -> Scope:
    """The roots that a request names, whatever its type: people, purposes, data sources, assets."""
    people, purposes, sources, assets = (
        getattr(request, root, ()) for root in ("subjects", "purposes", "data_sources", "assets")
    )
    subjects = [each for identity in people for each in _subjects(door, identity, publisher)]
    door.check_data_sources(sources)
    if publisher.data_sources is not None and set(sources) - set(publisher.data_sources):
        raise InvalidMessage("not_allowed", "data.data_sources")
    check_sizes(assets)
    unique = {(s.pseudonym, s.namespace or ""): s for s in subjects}
    return Scope(
        kind=kind,
        subjects=tuple(unique[key] for key in sorted(unique)),
        purposes=declared(purposes, door.registry.purposes, "undeclared_purpose"),
        data_sources=tuple(sorted(set(sources))),
        assets=tuple(sorted(set(assets))),
        provisions=_provisions(door, request.matter) if request.matter else (),
    )


def _provisions(door: Door, matter: Matter) -> tuple[Provision, ...]:
    return tuple(
        Provision(
            id=each.id,
            due_at=each.deadline,
            kinds=each.kinds,
            categories=declared(each.categories, door.registry.categories, "undeclared_category"),
        )
        for each in matter.provisions
    )


def _subjects(door: Door, identity: Identity, publisher: Publisher) -> list[Subject]:
    """A person as the case looks for them: under every pseudonym that an id of theirs may have been registered by."""
    allowed = publisher.namespaces
    if allowed is not None and identity.namespace not in allowed:
        raise InvalidMessage("not_allowed", "data.subjects.namespace")
    return [Subject(pseudonym=each.hex(), namespace=identity.namespace) for each in door.pseudonyms(identity)]


def _seals(door: Door, identities: Sequence[Identity], seal_for: SealFor) -> tuple[Seal, ...]:
    seals = []
    for identity in identities:
        space = door.registry.namespace(identity.namespace or "")
        if space is None or identity.id is None:
            continue
        plain = {
            "namespace": space.name,
            "id": normalise(space.normaliser, identity.id, versions(space.normaliser, identity.id)[0]),
            "given": identity.id,
            "tenant": door.tenant_of(identity),
        }
        pseudonym, *also = (each.hex() for each in door.pseudonyms(identity))
        seals += [
            Seal(
                system=system.name,
                pseudonym=pseudonym,
                also=tuple(also),
                sealed=seal_for(system.sealing_key, rfc8785.dumps(plain)),
            )
            for system in door.registry.systems
            if system.sealing_key and space.name in system.reveal
        ]
    weights: Counter[str] = Counter()
    for seal in seals:
        weights[seal.system] += len(seal.sealed)
    if weights and max(weights.values()) > MAX_SEALS_BYTES:
        raise InvalidMessage("too_large", "identities sealed to a system that needs them in clear")
    return tuple(seals)


def _regime(request: Request, publisher: Publisher) -> Regime:
    if request.matter is not None and request.regime not in {None, Regime.ORDER}:
        raise InvalidMessage("bad_field", "data.regime: a matter is an order's")
    if request.matter is not None:
        return Regime.ORDER
    if request.regime is not None:
        return request.regime
    if request.jurisdiction is not None:
        regime = JURISDICTIONS.get(request.jurisdiction.upper())
        if regime is None:
            raise InvalidMessage("bad_field", "data.jurisdiction")
        return regime
    return publisher.default_regime
