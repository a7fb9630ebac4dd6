"""The door: what a message must be before anything is decided on it. Pure; sealing is a function handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import rfc8785

from expunge.domain import inlets
from expunge.domain.case.messages import Answered, Approved, Control, Extended, Place, Receipted, Rejected, Root, Seal
from expunge.domain.events import CloudEvent, Record, stamp
from expunge.domain.identity import EPOCH, Keys, normalise
from expunge.domain.policy.rules import Policies
from expunge.domain.registry import Publisher, Registry
from expunge.domain.row import Holding
from expunge.domain.scope import Provision, Scope, ScopeKind, Subject
from expunge.domain.statement import Named, Statement
from expunge.domain.suppression import Suppress, Word
from expunge.domain.vocabulary import Kind, Regime
from expunge.errors import InvalidMessage

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

EARLIEST = datetime.fromtimestamp(0, UTC)
"""A request that was received before this is a clock that was never set, and outside of what calendars are good for."""
MAX_BATCH_EDGES = 20_000
"""Parents of all assets of one registration message."""

MAX_SEALED_BYTES = 600_000
"""Of all seals of a request together: they stand in one message."""
SealFor = Callable[[str, bytes], str]


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

    def publisher(self, event: CloudEvent) -> Publisher:
        """The declared publisher of an event.

        Raises:
            InvalidMessage: its source is not declared.
        """
        publisher = self.registry.publisher_of(event.source)
        if publisher is None:
            raise InvalidMessage("undeclared_source")
        return publisher

    def request(
        self,
        event: CloudEvent,
        publisher: Publisher,
        record: Record,
        *,
        seal_for: SealFor,
        salt: str,
        watermark: dict[str, dict[str, int]],
    ) -> Root:
        """A request as the root of a case: checked against what is declared, pseudonymised, sealed.

        Raises:
            InvalidMessage: what is wrong, by field.
        """
        if event.type not in inlets.REQUESTS:
            raise InvalidMessage("not_carried_out" if event.type in inlets.LATER_TYPES else "unknown_type")
        name, model = inlets.REQUESTS[event.type]
        if name not in publisher.may:
            raise InvalidMessage("not_allowed", "type")
        if ScopeKind(name) is ScopeKind.WITHDRAWAL and not self.allow_unsigned:
            raise InvalidMessage("unsigned", "a withdrawal of a data source must be signed, or allow_unsigned be set")
        request = inlets.read(model, event)
        if request.received_at < EARLIEST:
            raise InvalidMessage("bad_field", "data.received_at: before 1970")
        scope = self._scope(name, request, publisher)
        regime, received_at = _regime(request, publisher), min(request.received_at, record.appended_at)
        reach = self.policies.current.reach
        if scope.kind is ScopeKind.ERASURE and regime not in reach.everything:
            until = int((received_at + timedelta(days=reach.tail_days)).timestamp())
            scope = scope.model_copy(update={"until": until})
        case_id = self.keys.case(event.source, request.request_id)
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
            policy=self.policies.current.digest,
            clamped=request.received_at > record.appended_at,
            correlation_id=request.correlation_id,
            batch=request.batch,
            dry_run=request.dry_run,
            salt=salt,
            seals=self._seals(getattr(request, "subjects", ()), seal_for),
            suppressions=self._suppressions(getattr(request, "subjects", ())),
            matter=request.matter,
            watermark=watermark,
            content=self.keys.content(_canonical(asked)),
            place=self.place_of(record),
        )

    def granted(self, event: CloudEvent, publisher: Publisher, appended_at: datetime) -> list[Suppress]:
        """Consent given again, as words for the person's suppressions.

        Raises:
            InvalidMessage: what is wrong, by field; a bare pseudonym is not enough to find a suppression.
        """
        if ScopeKind.REVOCATION not in publisher.may:
            raise InvalidMessage("not_allowed", "type")
        said = inlets.read(inlets.ConsentGranted, event)
        for identity in said.subjects:
            self._subject(identity, publisher)
        keys = self._suppressions(said.subjects)
        if not keys:
            raise InvalidMessage("bad_identity", "data.subjects: namespace and id, not a pseudonym")
        at_ms = int(min(said.received_at, appended_at).timestamp() * 1000)
        purposes = _declared(said.purposes, self.registry.purposes, "undeclared_purpose")
        words = tuple(Word(purpose=purpose, at_ms=at_ms, word="granted") for purpose in purposes)
        return [Suppress(suppression=key, words=words) for key in keys]

    def control(self, event: CloudEvent, record: Record) -> Control:
        """An operator's word about one case.

        Raises:
            InvalidMessage: what is wrong, by field; or the operator is not declared, or not for this.
        """
        if event.type not in inlets.CONTROLS:
            raise InvalidMessage("not_carried_out" if event.type in inlets.LATER_TYPES else "unknown_type")
        if not self.allow_unsigned:
            raise InvalidMessage("unsigned", "controls must be signed, or allow_unsigned be set")
        role, model = inlets.CONTROLS[event.type]
        said = inlets.read(model, event)
        operator = self.registry.operator(said.operator)
        if operator is None:
            raise InvalidMessage("undeclared_operator", "data.operator")
        if role not in operator.roles:
            raise InvalidMessage("not_allowed", "data.operator")
        content = self.keys.content(_canonical(said.model_dump(mode="json") | {"type": event.type, "id": event.id}))
        spoken = {
            "case_id": said.case_id,
            "operator": operator.name,
            "content": content,
            "place": self.place_of(record),
        }
        match said:
            case inlets.PlanApproved(plan_digest=plan):
                return Approved(plan_digest=plan, **spoken)
            case inlets.PlanRejected(plan_digest=plan, reason=reason):
                return Rejected(plan_digest=plan, reason=reason, **spoken)
            case inlets.DeadlineExtended(reason=reason):
                return Extended(reason=reason, **spoken)
        raise InvalidMessage("unknown_type")

    def _suppressions(self, identities: Sequence[inlets.Identity]) -> tuple[str, ...]:
        """The keys under which a person is suppressed, as far as the publisher says who it is."""
        found = set()
        for identity in identities:
            space = self.registry.namespace(identity.namespace or "")
            if space is not None and identity.id is not None:
                tenant = identity.tenant or self.registry.tenant
                found.add(self.keys.suppression.of(tenant, space.name, space.normaliser, identity.id))
        return tuple(sorted(found))

    def _scope(self, name: str, request: inlets.Request, publisher: Publisher) -> Scope:
        subjects: list[Subject] = []
        purposes: tuple[str, ...] = ()
        data_sources: tuple[str, ...] = ()
        assets: tuple[str, ...] = ()
        if isinstance(request, inlets.ErasureRequested | inlets.ConsentRevoked):
            subjects = [self._subject(identity, publisher) for identity in request.subjects]
        if isinstance(request, inlets.ConsentRevoked):
            purposes = _declared(request.purposes, self.registry.purposes, "undeclared_purpose")
        if isinstance(request, inlets.SourceWithdrawn):
            self._check_data_sources(request.data_sources)
            if publisher.data_sources is not None and set(request.data_sources) - set(publisher.data_sources):
                raise InvalidMessage("not_allowed", "data.data_sources")
            data_sources = tuple(sorted(set(request.data_sources)))
        if isinstance(request, inlets.AssetWithdrawn):
            assets = tuple(sorted(set(request.assets)))
            _check_sizes(assets)
        unique = {(s.pseudonym, s.namespace or ""): s for s in subjects}
        return Scope(
            kind=ScopeKind(name),
            subjects=tuple(unique[key] for key in sorted(unique)),
            purposes=purposes,
            data_sources=data_sources,
            assets=assets,
            provisions=self._provisions(request.matter) if request.matter else (),
        )

    def _provisions(self, matter: inlets.Matter) -> tuple[Provision, ...]:
        return tuple(
            Provision(
                id=each.id,
                due_at=each.deadline,
                kinds=each.kinds,
                categories=_declared(each.categories, self.registry.categories, "undeclared_category"),
            )
            for each in matter.provisions
        )

    def _check_data_sources(self, names: Sequence[str]) -> None:
        for name in names:
            if not self.registry.knows_data_source(name):
                raise InvalidMessage("undeclared_data_source", "data.data_sources")

    def _subject(self, identity: inlets.Identity, publisher: Publisher) -> Subject:
        allowed = publisher.namespaces
        if allowed is not None and identity.namespace not in allowed:
            raise InvalidMessage("not_allowed", "data.subjects.namespace")
        return Subject(pseudonym=self.pseudonym(identity).hex(), namespace=identity.namespace)

    def pseudonym(self, identity: inlets.Identity) -> bytes:
        """The pseudonym of an identity, made here or brought along.

        Raises:
            InvalidMessage: the namespace is not declared, or the id is not of its form.
        """
        space = self.registry.namespace(identity.namespace or "")
        if space is None and (identity.pseudonym is None or identity.namespace is not None):
            raise InvalidMessage("undeclared_namespace", "data.subjects.namespace")
        if identity.pseudonym is not None:
            raw = bytes.fromhex(identity.pseudonym)
            if raw[0] != EPOCH:
                raise InvalidMessage("bad_identity", "a pseudonym of an epoch that is not live")
            return raw
        if space is None:
            raise InvalidMessage("undeclared_namespace", "data.subjects.namespace")
        tenant = identity.tenant or self.registry.tenant
        return self.keys.pseudonym(tenant, space.name, space.normaliser, identity.id or "")

    def _seals(self, identities: Sequence[inlets.Identity], seal_for: SealFor) -> tuple[Seal, ...]:
        seals = []
        for identity in identities:
            space = self.registry.namespace(identity.namespace or "")
            if space is None or identity.id is None:
                continue
            plain = {"namespace": space.name, "id": normalise(space.normaliser, identity.id), "given": identity.id}
            pseudonym = self.pseudonym(identity).hex()
            seals += [
                Seal(
                    system=system.name,
                    pseudonym=pseudonym,
                    sealed=seal_for(system.sealing_key, rfc8785.dumps(plain)),
                )
                for system in self.registry.systems
                if system.sealing_key and space.name in system.reveal
            ]
        if sum(len(seal.sealed) for seal in seals) > MAX_SEALED_BYTES:
            raise InvalidMessage("too_large", "identities sealed to all systems that need them in clear")
        return tuple(seals)

    def receipt(self, event: CloudEvent, record: Record, system: str) -> tuple[inlets.PurgeReceipted, Receipted]:
        """A receipt, as it came and as the case will see it.

        Raises:
            InvalidMessage: it is no receipt, or speaks for another system than its topic's.
        """
        if event.type != inlets.RECEIPT:
            raise InvalidMessage("unknown_type")
        receipt = inlets.read(inlets.PurgeReceipted, event)
        if receipt.system != system or self.registry.system(system) is None:
            raise InvalidMessage("wrong_system", "data.system")
        answers = (*receipt.results, *receipt.exceptions)
        _check_sizes([found.asset for answer in answers for found in answer.discovered])
        said = receipt.model_dump(mode="json", exclude={"performed_at", "job", "evidence"}, exclude_none=True)
        taken = Receipted(
            case_id=receipt.case_id,
            command_id=receipt.command_id,
            system=system,
            attempt=receipt.attempt,
            sequence=receipt.sequence,
            status=receipt.status,
            all=receipt.all,
            answers=tuple(
                Answered(asset=answer.asset, outcome=inlets.Outcome.model_validate(answer.model_dump()))
                for answer in answers
            ),
            expected_by=receipt.expected_by,
            content=self.keys.content(_canonical(said)),
            place=self.place_of(record),
            appended_ms=int(record.appended_at.timestamp() * 1000),
        )
        return receipt, taken

    def statements(self, event: CloudEvent, appended_at: datetime) -> list[Statement]:
        """A registration as canonical statements: pseudonyms instead of ids, sets instead of lists.

        Raises:
            InvalidMessage: what is wrong, by field; one wrong asset makes the whole message wrong.
        """
        model = inlets.REGISTRATIONS.get(event.type)
        if model is None:
            raise InvalidMessage("unknown_type")
        said = inlets.read(model, event)
        if isinstance(said, inlets.RegisteredBatch):
            _check_batch(said)
            common = said.common
            return [self._asset(inlets.check(inlets.Registered, common | asset), appended_at) for asset in said.assets]
        if isinstance(said, inlets.Registered):
            return [self._asset(said, appended_at)]
        if isinstance(said, inlets.Removed):
            _check_sizes((said.asset,))
            return [Statement(asset=said.asset, systems=(said.system,), removed=True)]
        return [self._holding(said, stamp(appended_at))]

    def _asset(self, said: inlets.Registered, appended_at: datetime) -> Statement:
        """A registration; nothing was collected or made after it was told of, and nothing is out of reach for ever."""
        _check_sizes((said.asset, *said.parents, *said.aliases))
        if said.data_sources:
            self._check_data_sources(said.data_sources)
        return Statement(
            asset=said.asset,
            kinds=(said.kind.value,),
            systems=(said.system,),
            parents=tuple(sorted(set(said.parents) - {said.asset})) if said.parents else (),
            subjects=tuple([Named(self.pseudonym(identity), identity.ref) for identity in said.subjects]),
            data_sources=tuple(sorted(set(said.data_sources))) if said.data_sources else (),
            purposes=_declared(said.purposes, self.registry.purposes, "undeclared_purpose"),
            categories=_declared(said.categories, self.registry.categories, "undeclared_category"),
            collected_at=stamp(min(said.collected_at, appended_at)) if said.collected_at else "",
            derived_at=stamp(min(said.derived_at, appended_at)) if said.derived_at else "",
            content_digest=said.digest or "",
            shared=said.shared,
            aliases=tuple(sorted(set(said.aliases) - {said.asset})) if said.aliases else (),
            command_id=said.command_id or "",
            attributes=tuple(sorted(said.attributes.items())) if said.attributes else (),
        )

    def _holding(self, said: inlets.Inlet, at: str) -> Statement:
        if isinstance(said, inlets.HoldingWithdrawn):
            _check_sizes((said.holding,))
            return Statement(asset=said.holding, systems=(said.system,), holding=Holding(withdrawn=at))
        if not isinstance(said, inlets.HoldingDeclared):
            raise InvalidMessage("unknown_type")
        _check_sizes((said.holding,))
        for namespace in said.namespaces:
            if namespace != "*" and self.registry.namespace(namespace) is None:
                raise InvalidMessage("undeclared_namespace", "data.namespaces")
        self._check_data_sources([name for name in said.data_sources if name != "*"])
        return Statement(
            asset=said.holding,
            kinds=(said.kind.value,),
            systems=(said.system,),
            purposes=_declared(said.purposes, self.registry.purposes, "undeclared_purpose"),
            categories=_declared(said.categories, self.registry.categories, "undeclared_category"),
            holding=Holding(tuple(sorted(set(said.namespaces))), tuple(sorted(set(said.data_sources))), declared=at),
        )


def discovered(receipt: inlets.PurgeReceipted) -> list[dict[str, object]]:
    """Assets that a system found while it purged others, as registrations derived from what it was told to purge."""
    pairs = [(answer.asset, found) for answer in (*receipt.results, *receipt.exceptions) for found in answer.discovered]
    return [
        {
            "asset": found.asset,
            "kind": Kind(found.kind).value,
            "system": found.system or receipt.system,
            "parents": [asset],
        }
        for asset, found in pairs
    ]


def _canonical(value: object) -> bytes:
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise InvalidMessage("bad_field", "a number or text that JSON cannot carry exactly") from None


@lru_cache(maxsize=4096)
def _declared(names: tuple[str, ...], known: tuple[str, ...], reason: str) -> tuple[str, ...]:
    if set(names) - set(known):
        raise InvalidMessage(reason)
    return tuple(sorted(set(names)))


def _check_batch(batch: inlets.RegisteredBatch) -> None:
    """What is common stands for every asset: a small message must not become an endless list of edges."""
    common = batch.common.get("parents")
    shared = len(common) if isinstance(common, list) else 0
    own = [asset.get("parents", common) for asset in batch.assets]
    edges = sum(len(parents) if isinstance(parents, list) else shared for parents in own)
    if edges > MAX_BATCH_EDGES:
        raise InvalidMessage("too_many_parents", f"{edges} in one message, at most {MAX_BATCH_EDGES}")


def _check_sizes(assets: Sequence[str]) -> None:
    for asset in assets:
        try:
            size = len(asset.encode())
        except UnicodeEncodeError:
            raise InvalidMessage("bad_field", "an asset id that is not Unicode text") from None
        if size > inlets.MAX_ASSET_BYTES:
            raise InvalidMessage("bad_field", f"an asset id of more than {inlets.MAX_ASSET_BYTES} bytes")


def _regime(request: inlets.Request, publisher: Publisher) -> Regime:
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
