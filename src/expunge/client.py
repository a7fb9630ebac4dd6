"""For services and registrars: say what is known and what must go, in a few lines, without a secret and without Redis.

    from expunge.client import Client, Person

    ann = Person("user_id", "42")
    with Client("kafka:9092", source="/app") as expunge:
        expunge.register("photos:1.jpg", "object", "photos", collected_at=taken, people=[ann])
        expunge.erase(ann, request_id="ticket-7", received_at=asked)

Every call returns when the broker has what was said for good, and raises otherwise. The same call again does no harm,
for the same words are the same event. What would be refused is refused here, by the models that make the schemas;
whether names are declared, only the deployment knows: it says so on its topics of confirmations and dead letters.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from expunge.adapters.broker import DEFAULT, broker
from expunge.adapters.signing import Signer
from expunge.adapters.system import SystemClock
from expunge.domain.admission import registrations
from expunge.domain.admission.door import check_sizes
from expunge.domain.digest import hidden, name
from expunge.domain.events import Event, Outgoing, stamp
from expunge.domain.identity import check_size
from expunge.domain.vocabulary import Kind, Regime
from expunge.wire import inlets
from expunge.wire.form import Inlet
from expunge.wire.registrations import DECLARED, MANY_REGISTERED, REGISTERED, REGISTRATIONS, REMOVED, Registered
from expunge.wire.requests import GRANT, LIFT, REQUESTS, ConsentGranted, Request, RestrictionLifted

"""Of a message with many assets."""


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """One id of a person.

    `ref` and `person` belong to registrations: the system's own handle, and a label that is the same for all ids of one
    person in one registration.
    """

    namespace: str
    id: str
    tenant: str | None = None
    ref: str | None = None
    person: str | None = None

    def __repr__(self) -> str:
        return hidden(self)

    def data(self) -> dict[str, str]:
        """As it stands in a message."""
        fields = ("namespace", "id", "tenant", "ref", "person")
        return {each: value for each in fields if (value := getattr(self, each)) is not None}


@dataclass(frozen=True, slots=True, repr=False)
class Asset:
    """Something that is kept: what it is, who keeps it, whom it names, and what it was made from.

    Attributes:
        id: as its system calls it.
        kind: what it is.
        system: who keeps it.
        people: whom it names: each a person, and several ids of one person as one sequence of them. With people, or
            with data sources, `collected_at` must be said.
        data_sources: where it came from.
        parents: ids of what it was made from.
        collected_at: when it was collected.
        derived_at: when it was made from its parents.
        command_id: of the command that made somebody make it (`Target.command_id`).
        more: other fields of a registration: purposes, categories, aliases, attributes, digest, shared.
    """

    id: str
    kind: Kind | str
    system: str
    people: Sequence[Person | Sequence[Person]] = ()
    data_sources: Sequence[str] = ()
    parents: Sequence[str] = ()
    collected_at: datetime | None = None
    derived_at: datetime | None = None
    command_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return hidden(self)

    def data(self) -> dict[str, Any]:
        """As it stands in a message."""
        said: dict[str, Any] = {"asset": self.id, "kind": str(self.kind), "system": self.system, **self.more}
        lists = {"data_sources": self.data_sources, "parents": self.parents}
        said |= {name: list(values) for name, values in lists.items() if values}
        if self.people:
            said["subjects"] = _several(self.people)
        for moment, when in (("collected_at", self.collected_at), ("derived_at", self.derived_at)):
            if when is not None:
                said[moment] = stamp(_aware(when))
        return said | ({"command_id": self.command_id} if self.command_id else {})


class Client:
    """Says things as one service.

    Args:
        bootstrap_servers: Kafka's addresses.
        source: the CloudEvents source of the service; for requests, one that a declared publisher has.
        prefix: of the deployment's topics.
        options: settings of the Kafka client under its own names; kafka-python's, for the client that comes along.
        client: the Kafka client, as `kafka.client` in a deployment's configuration.
        signing_key: the file of the key with which requests are signed, where the publisher is declared with one.
        publisher: its declared name, where it has a topic of its own for requests.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        source: str,
        *,
        prefix: str = "expunge.",
        options: dict[str, Any] | None = None,
        client: str = DEFAULT,
        signing_key: Path | None = None,
        publisher: str | None = None,
    ) -> None:
        self._signer = Signer.of(signing_key) if signing_key else None
        self._requests = f"requests.{publisher}" if publisher else "requests"
        self._source, self._clock = source, SystemClock()
        kafka = broker(bootstrap_servers, options, prefix, client)
        self._topics, self._sender = kafka.topics, kafka.sender()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._sender.close()
        self._topics.close()

    def register(self, asset: str, kind: Kind | str, system: str, **fields: Any) -> None:
        """Say that an asset is there; `fields` are those of `Asset`.

        Raises:
            InvalidMessage: what is wrong, by field.
            Unavailable: the broker does not have it for sure; say it again.
        """
        self.register_all([Asset(asset, kind, system, **fields)])

    def register_all(self, assets: Iterable[Asset]) -> int:
        """The same of many, in as few messages as their sizes allow; how many they were."""
        said = [each.data() for each in assets]
        for each in said:
            inlets.check(Registered, each)
            check_sizes([each["asset"], *each.get("parents", ()), *each.get("aliases", ())])
            _check_ids(each)
        messages = [self._event(*_registration(assets)) for assets in _messages(said)]
        self._sender.publish([Outgoing("registrations", event.id, event) for event in messages])
        return len(said)

    def remove(self, asset: str, system: str, reason: str = "") -> None:
        """Say that an asset is gone. It is a hint: a case commands it all the same."""
        self._say("registrations", REMOVED, {"asset": asset, "system": system, "reason": reason})

    def declare(
        self,
        holding: str,
        system: str,
        kind: Kind | str = Kind.RECORD,
        *,
        namespaces: Sequence[str] = (),
        data_sources: Sequence[str] = (),
        **fields: Any,
    ) -> None:
        """Say that a system finds data itself, and must be asked about every person or data source.

        Args:
            holding: what it is asked by.
            system: the system.
            kind: what it holds.
            namespaces: whose ids it can look for; `*`: all.
            data_sources: the same for data sources.
            fields: purposes, categories.
        """
        said = {"holding": holding, "system": system, "kind": str(kind), **fields}
        lists = {"namespaces": namespaces, "data_sources": data_sources}
        self._say("registrations", DECLARED, said | {name: list(values) for name, values in lists.items() if values})

    def erase(self, *people: Person, **about: Any) -> str:
        """Ask that one person be forgotten, whose ids these are; the request's id. `about`: see `request`."""
        return self.request("expunge.erasure.requested.v1", _subjects(people), **about)

    def revoke(self, *people: Person, purposes: Sequence[str], **about: Any) -> str:
        """One person takes back their consent to some purposes."""
        return self.request("expunge.consent.revoked.v1", _subjects(people) | {"purposes": list(purposes)}, **about)

    def restrict(self, *people: Person, **about: Any) -> str:
        """One person's data may be stored and not used."""
        return self.request("expunge.processing.restricted.v1", _subjects(people), **about)

    def lift(self, *people: Person, **about: Any) -> str:
        """A restriction ends."""
        return self.request(LIFT, _subjects(people), **about)

    def withdraw(self, *data_sources: str, **about: Any) -> str:
        """Everything that came from these sources must go, and everything made from it."""
        return self.request("expunge.source.withdrawn.v1", {"data_sources": list(data_sources)}, **about)

    def withdraw_assets(self, *assets: str, **about: Any) -> str:
        """These assets must go, and what was made from them."""
        return self.request("expunge.asset.withdrawn.v1", {"assets": list(assets)}, **about)

    def grant(self, *people: Person, purposes: Sequence[str], received_at: datetime | None = None) -> None:
        """One person consents (again) to some purposes; it opens no case."""
        said = _subjects(people) | {"purposes": list(purposes), "received_at": self._moment(received_at)}
        self._say(self._requests, GRANT, said)

    def request(
        self,
        kind: str,
        what: Mapping[str, Any],
        *,
        request_id: str | None = None,
        received_at: datetime | None = None,
        regime: Regime | str | None = None,
        jurisdiction: str | None = None,
        dry_run: bool = False,
        **fields: Any,
    ) -> str:
        """Publish a request of any type; its id, by which confirmations name it.

        Args:
            kind: the type of the event.
            what: whom or what it is about.
            request_id: the same request bears the same id; none: a new one.
            received_at: when the person asked, from which the law counts; none: now.
            regime: the law; none: the publisher's own.
            jurisdiction: where the person is (`DE`, `US-CA`): it says the law where `regime` does not.
            dry_run: plan, say what would be done, and stop.
            fields: correlation_id, batch, requester, matter.
        """
        identity = request_id or str(uuid.uuid4())
        said: dict[str, Any] = {"request_id": identity, "received_at": self._moment(received_at), **what, **fields}
        said |= {"regime": str(regime)} if regime else {}
        said |= {"jurisdiction": jurisdiction} if jurisdiction else {}
        said |= {"dry_run": True} if dry_run else {}
        model: type[Request] = REQUESTS[kind][1] if kind in REQUESTS else RestrictionLifted
        inlets.check(model, said)
        check_sizes(said.get("assets", ()))
        _check_ids(said)
        event = Event(kind, self._source, identity, self._clock.now(), said)
        self._sender.publish([Outgoing(self._requests, identity, self._signed(event))])
        return identity

    def _signed(self, event: Event) -> Event:
        return self._signer.event(event) if self._signer else event

    def _moment(self, moment: datetime | None) -> str:
        return stamp(_aware(moment) if moment else self._clock.now())

    def _say(self, topic: str, kind: str, said: dict[str, Any]) -> None:
        models: dict[str, type[Inlet]] = {GRANT: ConsentGranted, **REGISTRATIONS}
        inlets.check(models[kind], said)
        check_sizes([said[field] for field in ("asset", "holding") if field in said])
        _check_ids(said)
        event = self._event(kind, said)
        message = self._signed(event) if topic == self._requests else event
        self._sender.publish([Outgoing(topic, event.id, message)])

    def _event(self, kind: str, said: dict[str, Any]) -> Event:
        identity = name(kind, self._source, orjson.dumps(said, option=orjson.OPT_SORT_KEYS))
        return Event(kind, self._source, identity, self._clock.now(), said)


def _registration(assets: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return (REGISTERED, assets[0]) if len(assets) == 1 else (MANY_REGISTERED, {"assets": assets})


def _messages(said: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    messages: list[list[dict[str, Any]]] = []
    filling = registrations.Filling()
    for each in said:
        if filling.begins(each):
            messages.append([])
        messages[-1].append(each)
    return messages


def _subjects(people: Sequence[Person]) -> dict[str, Any]:
    return {"subjects": [_person(each).data() for each in people]}


def _several(people: Sequence[Person | Sequence[Person]]) -> list[dict[str, Any]]:
    """People, those of one sequence as one."""
    said: list[dict[str, Any]] = []
    for number, each in enumerate(people):
        if isinstance(each, list | tuple):
            if not each:
                raise ValueError("a person has at least one id")
            said += [_person(one).data() | {"person": f"together-{number}"} for one in each]
        else:
            said.append(_person(each).data())
    return said


def _person(value: object) -> Person:
    """A person, as somebody passed it.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Person):
        raise TypeError(f"a Person is needed, as in Person('user_id', '12345'), and not {type(value).__name__}")
    return value


def _check_ids(said: Mapping[str, Any]) -> None:
    """Hold people's ids to their largest size; whether they are of their namespace's form, the deployment knows.

    Raises:
        InvalidMessage: one is too long, or no text.
    """
    for person in said.get("subjects", ()):
        if person.get("id") is not None:
            check_size(person["id"])


def _aware(moment: datetime) -> datetime:
    """A moment with its zone: a clock's time without one could be anybody's.

    Raises:
        ValueError: it has none.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone: datetime.now(UTC), for example")
    return moment.astimezone(UTC)
