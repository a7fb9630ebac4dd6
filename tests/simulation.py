"""A whole deployment in memory: every role on memory adapters, a broker, and systems that answer, also badly.

Steps are driven from outside, one role at a time, so that a test decides the interleaving; a step can be told to crash
between any two things that it does.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.adapters.archive import DirectoryArchive
from expunge.adapters.ledger_log import DirectoryLog
from expunge.adapters.memory.index import MemoryIndex
from expunge.adapters.memory.people import MemoryPeople
from expunge.adapters.memory.stores import (
    MemoryCaseStore,
    MemoryLosses,
    MemoryMetrics,
    MemoryNotaryStore,
    MemoryPolicies,
    MemorySuspects,
    NoWait,
    UnsafeMemoryVault,
)
from expunge.adapters.policy_file import load_policy
from expunge.adapters.signing import Signer
from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.fact import CaseFact, apply
from expunge.domain.aggregates.case.forgetting import Forgotten
from expunge.domain.aggregates.case.opening import Opened
from expunge.domain.aggregates.case.resolution import TaskAnswered
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.decision import Context
from expunge.domain.aggregates.retraining.facts import RetrainFact, first_state
from expunge.domain.aggregates.retraining.facts import apply as apply_retraining
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Standing, hold_word
from expunge.domain.continuity import Log, Place, Reached
from expunge.domain.digest import name
from expunge.domain.events import CONTENT_TYPE, Event, Outgoing, Position, Record, millis, stamp
from expunge.domain.evidence.notes import verifier
from expunge.domain.identity import Epochs, Keys
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.models import Models
from expunge.domain.registry import Namespace, Operator, Publisher, Registry, System
from expunge.domain.scope import GroupKind
from expunge.domain.topics import INLETS_OF_ASSETS, READ_AGAIN
from expunge.domain.vocabulary import Action, Regime, Status
from expunge.errors import Fenced, Unavailable
from expunge.ports import Offsets, Refused, Result, Role, Topics
from expunge.ports.evidence import Vouchers
from expunge.ports.logs import Source, Word
from expunge.rebuild.rebuild import Into, Rebuild, refuse_another_secret
from expunge.roles.certifying import Evidence, Maker
from expunge.roles.coordinator.coordinator import Coordinator
from expunge.roles.dead_letters import poisoned
from expunge.roles.indexer import Indexer
from expunge.roles.intake import Intake
from expunge.roles.lineage import Lineage
from expunge.roles.notary import Notary
from expunge.roles.resolver.recovery import Recovery, earlier
from expunge.roles.resolver.resolver import Resolver
from expunge.roles.resolver.traversal import Bounds
from expunge.rotation.rotation import Rotation
from expunge.rotation.topics import Renaming
from expunge.runtime.continuity import Continuity
from expunge.runtime.loop import Loop, Sink
from expunge.sweep.sweep import Sweep, Swept
from expunge.wire import ledger
from expunge.wire.cases.said import Place as Lies
from expunge.wire.cases.said import home_of
from expunge.wire.cases.words import Hold
from expunge.wire.secrets import secrets_used

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
PARTITIONS = 2
ALL_ACTIONS = tuple(Action)
SESSION_MS = 10_000


def signer(party: str) -> Signer:
    """Somebody's key, the same in every history."""
    return Signer(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(party.encode()).digest()))


PROBERS = {each: signer(f"prober of {each}") for each in ("photos", "users")}
"""Systems that somebody else than their agent looks into."""
OFTEN: dict[str, Any] = {"actions": ALL_ACTIONS, "timeout_seconds": 60, "retry_seconds": 5, "retries": 2}

REGISTRY = Registry(
    namespaces=(Namespace(name="user_id"), Namespace(name="email", normaliser="email")),
    data_sources=("supplier-*",),
    purposes=("training", "marketing"),
    categories=("biometric",),
    systems=(
        System(
            name="photos",
            probe_key=(signer("prober of photos").public,),
            actions=ALL_ACTIONS,
            batch_size=3,
            timeout_seconds=60,
            retry_seconds=5,
            retries=2,
        ),
        System(name="ml", batch_size=3, **OFTEN),
        System(
            name="users",
            probe_key=(signer("prober of users").public,),
            actions=ALL_ACTIONS,
            timeout_seconds=60,
            retry_seconds=5,
            retries=2,
        ),
        System(name="legacy", integrated=False, reason="no agent yet", owner="legacy-team"),
    ),
    publishers=(
        Publisher(name="app", source="/app", default_regime=Regime.GDPR),
        Publisher(name="limited", source="/app/limited", may=("erasure",), default_regime=Regime.GDPR),
    ),
    operators=(
        Operator(name="olga", roles=("approve", "decide", "hold", "pause", "probe")),
        Operator(name="omar", roles=("approve",)),
        Operator(name="pia", roles=("pause",)),
    ),
)


PARTIES: tuple[System | Publisher | Operator, ...] = (*REGISTRY.systems, *REGISTRY.publishers, *REGISTRY.operators)
SIGNERS = {each.name: signer(each.name) for each in PARTIES}
STRANGER, NOTARY = signer("a stranger"), signer("the notary")
ORIGIN = "expunge.example.org/ledger"


def with_keys(registry: Registry) -> Registry:
    """The same, with a key for everybody."""
    fields = {
        kind: [each.model_copy(update={"key": (signer(each.name).public,)}) for each in getattr(registry, kind)]
        for kind in ("systems", "publishers", "operators")
    }
    known = {each: getattr(registry, each) for each in Registry.model_fields}
    return Registry(**{**known, **fields})


def context(at: datetime = START, registry: Registry = REGISTRY) -> Context:
    """What a decision of an aggregate may look at, of a message at the front of `cases`."""
    place = Lies(topic="cases", partition=0, offset=0)
    return Context(at, place, registry, MemoryPolicies(SHIPPED), Keys(b"s" * 32), Standing())


SHIPPED = load_policy(None).model_copy(update={"models": Models()})
"""But for the time that models wait for others."""
WITHDRAWN, FORGOTTEN = "expunge.purge.withdrawn.v1", "expunge.purge.forgotten.v1"


MOST_SECRETS = 3
FIRST_SECRET = Epochs(1, 1)


class Crash(BaseException):
    """The process was killed here."""


class Poisoned(Exception):
    """What nobody foresaw, at a message."""


@dataclass
class Broker:
    """Topics as lists; the append time is the broker's own clock."""

    now: datetime = START
    logs: dict[tuple[str, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
    epoch: int = 0
    refuses: Callable[[Outgoing], str] = lambda _: ""
    """Why a message is refused for good; empty where it is taken."""

    def partitions(self, topic: str) -> int:
        return 1 if topic == "ledger" else PARTITIONS

    def append(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> Record:
        number = partition_of(key, self.partitions(topic)) if partition is None else partition
        log = self.logs[topic, number]
        record = Record(topic, number, Position(self.epoch, len(log)), self.now, key.encode(), value, CONTENT_TYPE)
        log.append(record)
        return record

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        refused = []
        for message in outgoing:
            if reason := self.refuses(message):
                refused.append(Refused(message, reason))
            else:
                self.append(message.topic, message.key, message.value, message.partition)
        return refused

    def events(self, topic: str) -> list[dict[str, Any]]:
        """Everything on a topic, in order of partition and offset: of the ledger every fact by itself."""
        return [dict(each) for event in self.whole_events(topic) for each in ledger.facts_of(event)]

    def whole_events(self, topic: str) -> list[dict[str, Any]]:
        """The same, record by record."""
        found = sorted((key, log) for key, log in self.logs.items() if key[0] == topic)
        return [json.loads(record.value) for _, log in found for record in log if record.value]

    def topics(self, prefix: str) -> list[str]:
        return sorted({topic for topic, _ in self.logs if topic.startswith(prefix)})


def identity(person: str | dict[str, str]) -> dict[str, str]:
    """Somebody by their user id, or by whatever says who they are."""
    return {"namespace": "user_id", "id": person} if isinstance(person, str) else person


class Dying:
    """A port at whose calls the process may die, or lose the processor to another."""

    def __init__(self, port: object, world: World) -> None:
        self._port, self._world = port, world

    def begin(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """At once, as in memory: another indexer that takes its turn in the middle would wait for the same thread."""
        done = work()
        return lambda: done

    def __getattr__(self, attribute: str) -> Any:
        member = getattr(self._port, attribute)
        if not callable(member):
            return member

        def call(*arguments: Any, **named: Any) -> Any:
            self._world.reach_store()
            self._world.breathe()
            self._world.reach_store()
            result = member(*arguments, **named)
            self._world.breathe()
            return result

        return call


class Seat:
    """What one role's process holds: the partitions that it has begun. See `ports.logs.Source`, `Covered` and `Logs`.

    How far a role has come is what the world says that it has committed; a partition is begun by setting that.
    """

    def __init__(self, role: str, world: World) -> None:
        self._role, self._world, self._begun, self._seen = role, world, set[Place](), world.run

    def fresh(self) -> list[Place]:
        topics = self._world.roles[self._role].topics
        return sorted(place for place in self._world.broker.logs.keys() - self._begun if place[0] in topics)

    def begin(self, place: Place, offset: int) -> None:
        self._begun.add(place)
        self._world.committed[self._role, *place] = offset

    def stop(self, places: Collection[Place] | None = None) -> None:
        self._begun -= set(self._begun if places is None else places)

    def begun(self, place: Place) -> bool:
        return place in self._begun

    def moved(self) -> dict[Place, Reached]:
        return {}

    def commit(self, moved: object) -> None:
        """To begin is to commit."""

    def logs(self, places: Collection[Place]) -> dict[Place, Log]:
        firsts = self._world.firsts
        return {place: Log(firsts.get(place, 0), len(self._world.broker.logs[place])) for place in places}

    def after(self, place: Place, at_ms: int) -> int:
        log = self._world.broker.logs[place]
        return next((n for n, record in enumerate(log) if millis(record.appended_at) > at_ms), len(log))

    def committed_by(self, role: str) -> dict[Place, Reached]:
        known = {(topic, number): at for (who, topic, number), at in self._world.committed.items() if who == role}
        return {place: self._world.reached(place, at) for place, at in known.items()}

    def is_another(self) -> bool:
        return self._seen != self._world.run

    def accept(self) -> None:
        self._seen = self._world.run

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        world, found = self._world, {}
        for place in places:
            if self._role in {"indexer", "resolver"}:
                found[place] = world.covered.get(place, Reached(0))
            elif self._role in {"coordinator", "notary"}:
                store = world.store.positions([place[1]]) if self._role == "coordinator" else {}
                at = store.get(place[1]) if store else world.seen.position(place[1])
                found[place] = Reached(at.offset + 1, at) if at else Reached(0)
                if self._role == "notary" and world.evidence is not None:
                    found[place] = min(found[place], world.ledger_log.reached(), key=lambda each: each.next)
                if self._role == "coordinator" and world.apart:
                    found[place] = min(found[place], world.covered.get(place, Reached(0)), key=lambda each: each.next)
        return found

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        if self._role in {"indexer", "resolver"} or (self._role == "coordinator" and self._world.apart):
            self._world.covered |= reached

    def restart(self, place: Place, position: Position) -> None:
        self._world.covered[place] = Reached(position.offset + 1)


@dataclass(frozen=True)
class _Rotated:
    """What the store says of secrets: which are in use, and of which one not everything was taken away."""

    epochs: Epochs = FIRST_SECRET
    retired: int = 0


class _KeysOf(Keys):
    """The keys of a world in which every process begins anew when another secret is used."""

    def __init__(self, world: World) -> None:
        super().__init__(*(letter * 32 for letter in (b"s", b"t", b"u")[:MOST_SECRETS]))
        self._world = world

    @property
    def epochs(self) -> Epochs:
        return self._world.rotated.epochs


def _in_memory() -> tuple[Any, Any, Any]:
    index = MemoryIndex()
    return index, MemoryCaseStore(), MemoryPeople(index)


def copied(what: Any) -> Any:
    """A copy of state in memory: what it holds at the end cannot change."""
    if isinstance(what, defaultdict):
        return defaultdict(what.default_factory, {key: copied(value) for key, value in what.items()})
    if isinstance(what, dict):
        return {key: copied(value) for key, value in what.items()}
    if isinstance(what, list | set):
        return type(what)(copied(each) for each in what)
    if is_dataclass(what) and not isinstance(what, type) and type(what).__hash__ is None:  # it is not frozen
        return replace(what, **{each.name: copied(getattr(what, each.name)) for each in fields(what)})
    return what


class Deadly:
    """A role whose process ends at poisoned messages."""

    def __init__(self, served: Role, world: World) -> None:
        self._served, self._world = served, world

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._served, attribute)

    def handle(self, batch: Sequence[Record]) -> Result:
        if any(self._world.poison(self._served.name, record) for record in batch):
            raise Poisoned
        return self._served.handle(batch)

    def write(self, result: Result) -> None:
        self._world.breathe()
        self._served.write(result)


@dataclass
class World:
    """The deployment. `breaths` counts down to a crash, or to a turn of somebody else; None: to nothing."""

    registry: Registry = REGISTRY
    step_nodes: int = 20_000
    broker: Broker = field(default_factory=Broker)
    breaths: int | None = None
    intruder: Callable[[], object] | None = None
    """Takes its turn when the breaths are used up, instead of a crash."""
    apart: bool = False
    """Index and state lie on servers of their own, of which one may forget while the other does not."""
    signs: bool = False
    """Whether everybody has a key and signs with it."""
    evidence: Path | None = None
    """Where the notary keeps the ledger's log and certificates; None: it keeps none."""
    vouchers: Vouchers | None = None
    """Who vouches for checkpoints."""
    keeps: object = None
    """What must stay as long as the world does."""
    forged: list[tuple[str, int, int]] = field(default_factory=list)
    """Where messages lie that somebody published in another's name."""
    stores: Callable[[], tuple[Any, Any, Any]] | None = None
    """Makes index, state and people's names on a real Redis instead of in memory."""
    rotated: _Rotated = field(default_factory=_Rotated)
    """What the store says of secrets."""
    secrets: int = 1
    """How many secrets there have ever been."""
    committed: dict[tuple[str, str, int], int] = field(default_factory=dict)
    furthest: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    """The same, whoever may have set it back since."""
    run: int = 0
    """Which run of the store this is."""
    turning: str = ""
    """The role whose turn it is."""
    connected: dict[str, int] = field(default_factory=dict)
    """Role -> the run of the store that its process is connected to."""
    covered: dict[Place, Reached] = field(default_factory=dict)
    """How far what stands in the store reaches, as it says itself."""
    saved: list[Any] | None = None
    firsts: dict[Place, int] = field(default_factory=dict)
    """Where logs begin whose first records have expired."""
    there: set[tuple[str, str]] = field(default_factory=set)
    """Systems and assets that their systems call gone, and that are there until they are told once more."""
    looks: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None
    """How probers answer; None: honestly."""
    found: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    """Case, system and asset that a prober has seen, which probe, and how much was commanded for the case by then."""

    def __post_init__(self) -> None:
        self.begun: dict[str, tuple[Seat, Continuity]] = {}
        self.losses = MemoryLosses()
        self.keys = _KeysOf(self)
        self.policies = MemoryPolicies(SHIPPED)
        registry = with_keys(self.registry) if self.signs else self.registry
        self.door = Door(registry, self.keys, self.policies, "t.", allow_unsigned=not self.signs)
        self.index, self.store, people = self.stores() if self.stores else _in_memory()
        self.seen = MemoryNotaryStore()
        self.lease_clock, self.lease_until = 1_000_000, 0
        if isinstance(self.index, MemoryIndex):
            self.index.now_ms, self.index.hub = self.lease_clock, min(self.index.hub, self.step_nodes)
        self.metrics, self.vault = MemoryMetrics(), UnsafeMemoryVault()
        index: Any = Dying(self.index, self)
        self.people: Any = Dying(people, self)
        store: Any = Dying(self.store, self)
        few = self.step_nodes
        bounds = Bounds(few, frontier_nodes=20 * few, trip_nodes=few, group_nodes=few)
        self.roles: dict[str, Role] = {
            "intake": Intake(self.door, self, cast("Topics", self.broker), self.vault, self.metrics),
            "indexer": Indexer(self.door, index, self.people, self.broker, self.vault, self.metrics),
            "resolver": Resolver(
                self.door,
                index,
                store,
                self,
                self.broker,
                self.vault,
                self.metrics,
                NoWait(),
                self,
                bounds,
                self.broker,
            ),
            "coordinator": Coordinator(
                self.door, store, index, self, self.broker, self.vault, self.metrics, self, apart=self.apart
            ),
            "notary": Notary(self.door, self.seen, self.vault, self.metrics, self._evidence()),
        }
        self.clock = self.broker.now
        """This machine's own, which a role holds the broker's against."""
        self.suspects = MemorySuspects()
        self.poison: Callable[[str, Record], bool] = lambda *_: False
        """Whether a message ends the process of a role that handles it."""
        self.deaths = 0
        self._loops: dict[str, Loop] = {}
        self.answered: dict[tuple[str, int], int] = defaultdict(int)
        self.answers: dict[str, Callable[[dict[str, Any]], list[dict[str, Any]]]] = {}
        self.commanded: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        self.cancels = False
        """Whether some request of this history is taken back."""
        self.done_too_late: list[str] = []
        """Commands that a system carried out after its case had been confirmed to be cancelled."""
        self.withdrawn: set[str] = set()
        self.dismissed: set[str] = set()
        """Commands that systems were told to forget."""
        self.told: set[tuple[str, int]] = set()
        """Commands that some system has heard, by id and attempt."""
        self.learns_from: Callable[[str], list[str]] = lambda _: []
        """What a trainer learns from when it makes a model anew; nothing: a set that nobody's data is in."""
        self.watches_holds = False
        self.seen_holds: dict[str, list[tuple[str, str]]] = defaultdict(list)
        """Hold -> the states that were seen, and what had just happened; see `look_at_holds`."""
        self.registers = True
        """Whether trainers register what they made; a test may do it itself."""
        self.deaf: set[str] = set()
        """Systems that do not answer to withdrawals."""
        self.let_go: Callable[[dict[str, Any]], dict[str, Any]] = lambda data: receipt(data, status="withdrawn")
        self.excluded: dict[tuple[str, str], set[str]] = defaultdict(set)

    def _evidence(self) -> Evidence | None:
        if self.evidence is None:
            return None
        key = bytes.fromhex(NOTARY.public)
        maker = Maker(self.door.registry, not self.signs, verifier(ORIGIN, key), NOTARY.public, NOTARY.sign)
        self.ledger_log = DirectoryLog(self.evidence, ORIGIN, NOTARY)
        self.archive = DirectoryArchive(self.evidence / "certificates")
        topics = cast("Topics", self.broker)
        return Evidence(
            self.ledger_log,
            self.archive,
            self.store,
            topics,
            self.metrics,
            maker,
            self.vouchers,
            Lineage(self.index, self.keys),
        )

    # ports.Tenure

    def until_ms(self) -> int:
        return 0 if self.stores else self.lease_until

    # ports.Progress

    def end_offsets(self) -> Offsets:
        return {
            topic: {str(p): len(self.broker.logs[topic, p]) for p in range(PARTITIONS)} for topic in INLETS_OF_ASSETS
        }

    def applied(self) -> Offsets:
        return {
            topic: {
                str(p): 0 if (topic, p) in self.losses.places else self.covered.get((topic, p), Reached(0)).next
                for p in range(PARTITIONS)
            }
            for topic in INLETS_OF_ASSETS
        }

    # A store that forgets

    def reach_store(self) -> None:
        """A process that finds another store than before hears so once, from its connection."""
        role = self.turning
        if role and self.connected.setdefault(role, self.run) != self.run:
            self.connected[role] = self.run
            raise Unavailable("Redis is another one", server="Redis")

    def save(self) -> None:
        """What the store holds now is all that it will know if it forgets."""
        if not self.stores:
            self.saved = copied([vars(self.index), vars(self.store), vars(self.seen), self.covered, self.rotated])

    def forget(self, what: Collection[str] = ("index", "state", "notes")) -> None:
        """The store is started anew with what it had when it was saved; of servers apart, one of them is."""
        if self.saved is None:
            return
        index, store, seen, self.covered, rotated = copied(self.saved)
        if "index" in what:
            self.rotated = rotated
            vars(self.index).update(index | {"now_ms": self.index.now_ms, "hub": self.index.hub})
        if "state" in what:
            vars(self.store).update(store)
        if "notes" in what:
            vars(self.seen).update(seen)
        self.run += 1

    def rotate(self, crash_after: int | None = None) -> None:
        """One step of a rotation: begin it, copy, or use the earlier secret no longer; it may die on the way."""
        epochs = self.rotated.epochs
        before = epochs.newest - 1
        rotation = Rotation(self.people, self.index, self.keys, before, self._subjects_of, lambda: None)
        renaming = Renaming(self._since, self.people, self.index, self.broker, self.keys, lambda _: None)
        self.breaths, self.intruder = crash_after, None
        try:
            if epochs.oldest < epochs.newest:
                if not renaming.rows() + rotation.copy():
                    self.rotated = _Rotated(Epochs(epochs.newest, epochs.newest), retired=before)
                    renaming.rows()
                    renaming.roots()
                    rotation.drop()
                    self.rotated = replace(self.rotated, retired=0)
            elif self.rotated.retired:
                renaming.rows()
                renaming.roots()
                rotation.drop()
                self.rotated = replace(self.rotated, retired=0)
            elif epochs.newest < MOST_SECRETS:
                self.secrets = max(self.secrets, epochs.newest + 1)
                self.broker.send([secrets_used(self.keys.checks[: self.secrets], self.broker.now)])
                self.rotated = _Rotated(Epochs(epochs.newest, epochs.newest + 1))
        except Crash:
            pass
        finally:
            self.breaths = None

    def rotate_to_the_end(self) -> None:
        """What was begun is ended; so is what the store has forgotten of it."""
        while self.rotated != _Rotated(Epochs(self.secrets, self.secrets)):
            self.rotate()
        if isinstance(self.index, MemoryIndex):
            people = {group.node[0] for group, found in self.index.groups.items() if group.kind is GroupKind.SUBJECT}
            assert people <= {self.secrets}, "somebody stands under an earlier secret still"
            rows = self.index.rows(list(self.index.raw))
            assert {row.first_subject[0] for row in rows if row and row.first_subject} <= {self.secrets}

    def _subjects_of(self, case_id: str) -> list[bytes]:
        root = self.store.reader(partition_of(case_id, PARTITIONS)).root(case_id)
        return root.scope.people if root else []

    def rebuild(self, deaths: Sequence[int] = ()) -> int:
        """The store is empty, and is made anew from the logs; the rebuild dies some times on the way, and goes on.

        Args:
            deaths: after how many of its accesses to the store it dies, each time.

        Returns:
            How often it has died.
        """
        if self.stores:
            return 0
        index = MemoryIndex()
        index.now_ms, index.hub = self.index.now_ms, self.index.hub
        vars(self.index).update(vars(index))
        vars(self.store).update(vars(MemoryCaseStore()))
        vars(self.seen).update(vars(MemoryNotaryStore()))
        self.suspects.places.clear()
        self.suspects.parks.clear()
        self.covered, self.run, self.intruder = {}, self.run + 1, None
        self.rotated = _Rotated(Epochs(self.secrets, self.secrets), retired=self.secrets - 1)
        seat, died = Seat("indexer", self), 0
        for breaths in (*deaths, None):
            self.breaths = breaths
            into = Into(cast("Any", Dying(self.index, self)), cast("Any", Dying(self.store, self)), self.policies, seat)
            try:
                refuse_another_secret(self._since, self.door.keys)
                Rebuild(self._since, seat, into, self.door, self.broker, self, lambda *_: None).run()
            except Crash:
                died += 1
            finally:
                self.breaths = None
        self.saved = None
        return died

    def age(self) -> None:
        """So much time passes that nothing that was said can be read again; cases are forgotten whose time has come."""
        self.tick_clocks(READ_AGAIN.total_seconds())
        for (topic, number), log in self.broker.logs.items():
            if topic not in {"ledger", "plans", "assets", "holds", "suppressions"}:
                self.firsts[topic, number] = len(log)
        self.tick()

    def sweep(self, crash_after: int | None = None) -> Swept:
        """What forgotten cases have left is taken away, a day after they were; it may die after so many breaths."""
        self.tick_clocks(86_400)
        if self.saved is not None:  # what stands is set back by a day at most
            self.save()
        seat, keys, now = Seat("coordinator", self), self.keys, self.broker.now
        index: Any = Dying(self.index, self)
        sweep = Sweep(self._since, seat, self.store, index, self.broker, self, keys, now, lambda *_: None)
        self.breaths = crash_after
        try:
            return sweep.run()
        except (Crash, Unavailable):  # also where the store does not know the newest secret any more
            return Swept()
        finally:
            self.breaths = None
            self.compact()

    def suppressed(self) -> set[str]:
        """The keys of people and sources that are suppressed, as it is published last."""
        logs = [log for (topic, _), log in sorted(self.broker.logs.items()) if topic == "suppressions"]
        last = {(record.key or b"").decode(): record.value for log in logs for record in log}
        return {key for key, value in last.items() if value is not None}

    def deliver(self) -> None:
        """Everything that lies on topics is handled, and no time passes."""
        while any(self.step(role, 50) for role in self.roles):
            pass

    def compact(self) -> None:
        """Of messages with one key the last is left."""
        for (topic, _), log in self.broker.logs.items():
            if topic in {"plans", "assets", "suppressions", "holds"}:
                last = {record.key: at for at, record in enumerate(log)}
                log[:] = [r if last[r.key] == at else replace(r, value=None) for at, r in enumerate(log)]

    def expire(self, topic: str, operator: str) -> None:
        """What nobody has read of a topic is gone; somebody says so, and its role goes on behind it."""
        (role,) = (name for name, served in self.roles.items() if topic in served.topics)
        for number in range(PARTITIONS):
            self.firsts[topic, number] = len(self.broker.logs[topic, number])
            word = Word(operator, "retention was a day", self.covered[topic, number].next, self.firsts[topic, number])
            self.losses.acknowledge((topic, number), word)
        self._end(role)
        self.step(role)

    def reached(self, place: Place, at: int) -> Reached:
        """How far somebody has come, with the record before it."""
        log = self.broker.logs[place]
        if not 0 < at <= len(log):
            return Reached(at)
        return Reached(at, log[at - 1].position, millis(log[at - 1].appended_at))

    def _continuity(self, role: str) -> tuple[Seat, Continuity]:
        seat = Seat(role, self)
        source, sink = cast("Source", seat), cast("Sink", self)
        restore = partial(self._restore, role)
        return seat, Continuity(role, source, seat, seat, self.losses, self.metrics, self, sink, restore)

    def _restore(self, role: str, since_ms: int | None, has_forgotten: bool) -> None:  # noqa: FBT001
        served = self.roles[role]
        if isinstance(served, Resolver):
            served.ask_anew()
        if since_ms is None:
            return
        since = earlier(since_ms)
        if has_forgotten:
            for (topic, partition), offset, reason in poisoned(self._since("dead-letters", since), role, "t."):
                self.suspects.park(topic, partition, offset, reason)
        if role in {"resolver", "coordinator"}:
            plans = partial(self._since, "plans")
            Recovery(plans, self.store, cast("Topics", self.broker), self.keys).restore(since)

    def _since(self, topic: str, since: datetime) -> Iterator[Record]:
        for place, log in sorted(self.broker.logs.items()):
            if place[0] == topic:
                first = self.firsts.get(place, 0)
                yield from (record for record in log[first:] if record.appended_at >= since)

    # Driving

    def breathe(self) -> None:
        if self.breaths is not None:
            self.breaths -= 1
            if self.breaths >= 0:
                return
            self.breaths = None
            if self.intruder is None:
                raise Crash
            intruder, self.intruder = self.intruder, None
            intruder()

    def step(
        self, role: str, limit: int = 3, crash_after: int | None = None, partitions: Collection[int] | None = None
    ) -> bool:
        """One turn of a role's loop: up to `limit` records a partition. True if there was something to do."""
        served = self.roles[role]
        if role not in self._loops:
            self.begun[role] = self._continuity(role)
        self.begun[role][1].settle()
        polled = [
            record
            for (topic, partition), log in sorted(self.broker.logs.items())
            if topic in served.topics and (partitions is None or partition in partitions)
            if self.begun[role][0].begun((topic, partition))
            for record in log[self.committed.get((role, topic, partition), 0) :][:limit]
        ]
        batch = self.begun[role][1].admitted(polled)
        for record in polled:
            if record not in batch:
                self.committed[role, record.topic, record.partition] = record.position.offset + 1
        if not batch:
            return False
        before, lease = dict(self.committed), self.lease_until
        self.breaths, self.lease_until = crash_after, self.lease_clock + SESSION_MS
        others, self.turning = self.turning, role
        try:
            self._turn(role, batch, before)
        except (Crash, Fenced):
            self._end(role)
        except Poisoned:
            self._end(role)
            self.deaths += 1
        except Unavailable as error:
            self._loops[role]._pause(batch, error)
            return error.server == "Redis"  # else it waits for the broker's clock
        finally:
            self.breaths, self.intruder, self.turning = None, None, others
            self.lease_until = lease
        return True

    def _end(self, role: str) -> None:
        """A process ends; another in its place connects anew."""
        self._loops.pop(role, None)
        self.connected.pop(role, None)

    def beside(self, role: str, partition: int, after: int, other: str, limit: int) -> None:
        """One process's turn on one partition, and in the middle of it a whole turn of another on all partitions.

        If both are of one role, the first has lost its partition to the second: it goes on with what it had read, its
        lease has passed, and what it would commit is refused.
        """

        def take_turn() -> None:
            if other == role and not self.stores:
                self.lease_clock += 2 * SESSION_MS
                self.index.now_ms = self.lease_clock
            mine = [number for number in range(PARTITIONS) if other != role or number == partition]
            self.step(other, limit, partitions=mine)

        self.intruder = take_turn
        self.step(role, limit, after, partitions=[partition])

    def forget_beside(self, role: str, after: int) -> None:
        """The store forgets in the middle of a turn."""
        self.intruder = self.forget
        self.step(role, 3, after)

    def _turn(self, role: str, batch: list[Record], before: dict[tuple[str, str, int], int]) -> None:
        loop = self._loops.get(role)
        if loop is None:
            served = cast("Role", Deadly(self.roles[role], self))
            begun = self.begun[role][1]
            loop = self._loops[role] = Loop(
                served, cast("Source", self), self, self, self.metrics, self.suspects, NoWait(), begun
            )
            loop._suspicion.refresh()
        batch = loop.ordered(batch)
        done = loop._handle(batch)
        loop._outage.ends()
        self.breathe()
        self.reach_store()
        self.begun[role][1].cover(
            {(r.topic, r.partition): self.reached((r.topic, r.partition), r.position.offset + 1) for r in batch[:done]}
        )
        self.breathe()
        for record in batch[:done]:
            place = (role, record.topic, record.partition)
            if self.committed.get(place) != before.get(place, self.committed.get(place)):
                continue  # somebody else owns the partition: the group refuses the commit
            before[place] = record.position.offset + 1
            self.committed[role, record.topic, record.partition] = record.position.offset + 1
            self.furthest[place] = max(self.furthest[place], record.position.offset + 1)
            self.breathe()
        loop._suspicion.passed(batch[:done])

    # ports.Source, runtime.loop.Sink and Clock, as far as a turn that is driven from outside needs them

    def rewind(self, batch: Sequence[Record]) -> None:
        """What was not handled is not committed, so it is read again."""

    def poll(self, seconds: float) -> list[Record]:
        raise NotImplementedError

    def partitions_held(self) -> list[int]:
        return list(range(PARTITIONS))

    def rest(self, seconds: float) -> None:
        """Time passes when a test says so."""

    def silent_seconds(self) -> float:
        return 0.0

    def close(self) -> None:
        raise NotImplementedError

    def partitions(self) -> list[int]:
        return self.partitions_held()

    def send(self, wave: Sequence[Outgoing]) -> Sequence[Refused]:
        refused: list[Refused] = []
        for message in wave:
            self.breathe()
            refused += self.broker.send([message])
        return refused

    def now(self) -> datetime:
        return self.clock

    def seconds(self) -> float:
        return self.clock.timestamp()

    def replay(self, role: str, topic: str, partition: int, back: int) -> None:
        """A role reads some records again, as after a lost commit or a rebalance."""
        key = (role, topic, partition)
        first = self.firsts.get((topic, partition), 0)
        self.committed[key] = max(first, self.committed.get(key, 0) - back)

    def tick(self, seconds: float = 1) -> None:
        """Time passes, and timers fire."""
        self.broker.now += timedelta(seconds=seconds)
        self.clock += timedelta(seconds=seconds)
        for role in ("coordinator", "notary"):
            self.broker.send(self.roles[role].tick(range(PARTITIONS), self.clock))
            self.roles[role].ticked()

    def tick_clocks(self, seconds: float) -> None:
        """Time passes for everybody, and nothing fires."""
        self.broker.now += timedelta(seconds=seconds)
        self.clock += timedelta(seconds=seconds)

    def settle(self, *, ticks: int = 12) -> None:
        """Let everything run until nothing happens, time included."""
        idle = 0
        for _ in range(2_000):
            busy = any([self.step(role, 50) for role in self.roles] + [self.answer_all(), self.probe_all()])
            if self.watches_holds:
                self.look_at_holds()
            if busy:
                idle = 0
                continue
            idle += 1
            if idle > ticks:
                return
            self.tick(6)
        raise AssertionError("the world does not come to rest")

    # Publishers, registrars, systems

    def publish(self, topic: str, kind: str, data: dict[str, Any], *, source: str = "/app", event: str = "") -> str:
        identity = event or name(topic, kind, json.dumps(data, sort_keys=True, default=str))
        self.broker.append(topic, identity, self._said(topic, Event(kind, source, identity, self.broker.now, data)))
        return identity

    def _said(self, topic: str, event: Event) -> bytes:
        """An event as whoever publishes it sends it."""
        speaker = event.source.removeprefix("/operators").strip("/").rpartition("/")[2]
        if self.signs and topic != "registrations" and speaker in SIGNERS:
            event = SIGNERS[speaker].event(event)
        return event.encode()

    def forge(self, case_id: str, how: str) -> None:
        """Somebody who may write to topics, and has no key of whoever is believed, publishes in their name."""
        number, now = len(self.forged), self.broker.now
        data: dict[str, Any] = {"case_id": case_id, "operator": "olga", "reason": "forged"}
        event = Event("expunge.request.cancelled.v1", "/operators/olga", f"forged-{number}", now, data)
        topic, value = "controls", event.encode()
        match how:
            case "stranger":
                value = STRANGER.event(event).encode()
            case "colleague":
                value = SIGNERS["omar"].event(event).encode()
            case "altered":
                said = SIGNERS["olga"].event(event)
                payload = base64.b64decode(said.data["payload"]).replace(b"forged", b"fofged")
                said.data["payload"] = base64.b64encode(payload).decode()
                value = said.encode()
            case "later":
                event.time = now - timedelta(hours=1)
                value = SIGNERS["olga"].event(event).encode()
            case "system":
                every = [json.loads(each.value or b"") for each in self._log_of("commands.photos")]
                told = [each["data"] for each in every if each["type"] not in {WITHDRAWN, FORGOTTEN}]
                if not told:
                    return
                answer = receipt(told[-1], all={"claim": "deleted"}) | {"sequence": 99}
                topic = "receipts.photos"
                event = Event("expunge.purge.receipted.v1", "/photos", f"forged-{number}", now, answer)
                value = SIGNERS["ml"].event(event).encode()
        record = self.broker.append(topic, case_id, value)
        self.forged.append((topic, record.partition, record.position.offset))

    def _log_of(self, topic: str) -> list[Record]:
        return [each for number in range(PARTITIONS) for each in self.broker.logs[topic, number]]

    def register(
        self, asset: str, kind: str = "object", system: str = "photos", *, event: str = "", **fields: Any
    ) -> None:
        data = {"asset": asset, "kind": kind, "system": system} | fields
        if "subjects" in data:
            data["subjects"] = [identity(person) for person in data["subjects"]]
        if "subjects" in data or "data_sources" in data:
            data.setdefault("collected_at", "2026-01-01T00:00:00Z")
        self.publish("registrations", "expunge.asset.registered.v1", data, event=event)

    def declare_holding(self, holding: str, system: str = "users", **fields: Any) -> None:
        self.publish(
            "registrations",
            "expunge.holding.declared.v1",
            {"holding": holding, "system": system, "kind": "record"} | fields,
        )

    def erase(self, *people: str | dict[str, str], request: str = "r1", **fields: Any) -> str:
        subjects = [identity(person) for person in people]
        return self.request("expunge.erasure.requested.v1", request, subjects=subjects, **fields)

    def revoke(self, person: str, *purposes: str, request: str = "r1", **fields: Any) -> str:
        subjects = [{"namespace": "user_id", "id": person}]
        return self.request("expunge.consent.revoked.v1", request, subjects=subjects, purposes=list(purposes), **fields)

    def grant(self, person: str, *purposes: str, **fields: Any) -> None:
        data = {"subjects": [{"namespace": "user_id", "id": person}], "purposes": list(purposes)}
        self.publish("requests", "expunge.consent.granted.v1", data | {"received_at": "2026-11-01T11:30:00Z"} | fields)

    def thaw(self, case_id: str, *, published: bool = True, **fields: Any) -> None:
        """As `expunge case thaw` does: what other roles set aside is published again (or left out), and named."""
        frozen = self.store.reader(partition_of(home_of(case_id), PARTITIONS)).standing.frozen[case_id]
        places = frozen.places
        if fields.pop("skip", False):
            fields["skip"] = frozen.turn
        for topic, number, offset in places if published else ():
            inlet = topic.removeprefix("t.")
            self.broker.append(inlet, case_id, self.broker.logs[inlet, number][offset].value, number)
        named = [dict(zip(("topic", "partition", "offset"), place, strict=True)) for place in places]
        self.say("case.thawed", case_id, places=named, **fields)

    def restrict(self, person: str, request: str = "r1", **fields: Any) -> str:
        subjects = [{"namespace": "user_id", "id": person}]
        return self.request("expunge.processing.restricted.v1", request, subjects=subjects, **fields)

    def lift(self, person: str, request: str = "lift", **fields: Any) -> None:
        fields = {"received_at": "2026-11-01T11:30:00Z"} | fields
        subjects = [{"namespace": "user_id", "id": person}]
        self.request("expunge.processing.restriction_lifted.v1", request, subjects=subjects, **fields)

    def withdraw(self, *sources: str, request: str = "r1", **fields: Any) -> str:
        return self.request("expunge.source.withdrawn.v1", request, data_sources=list(sources), **fields)

    def withdraw_assets(self, *assets: str, request: str = "r1", **fields: Any) -> str:
        return self.request("expunge.asset.withdrawn.v1", request, assets=list(assets), **fields)

    def say(self, kind: str, case_id: str, operator: str = "olga", **fields: Any) -> None:
        """An operator's word about a case."""
        data = {"case_id": case_id, "operator": operator} | fields
        self.publish("controls", f"expunge.{kind}.v1", data, source=f"/operators/{operator}")

    def order(self, kind: str, operator: str = "olga", key: str = "word", **fields: Any) -> None:
        """An operator's word that is not about one case."""
        event = name(kind, str(sorted(fields.items(), key=str)), stamp(self.broker.now), len(self._log_of("controls")))
        data = {"operator": operator} | fields
        said = Event(f"expunge.{kind}.v1", f"/operators/{operator}", event, self.broker.now, data)
        self.broker.append("controls", key, self._said("controls", said))

    def facts(self, case_id: str) -> list[CaseFact]:
        """A case's facts as they stand on the ledger: the first of each number; a repetition says the same."""
        found: dict[int, dict[str, Any]] = {}
        for event in self.broker.events("ledger"):
            data = event["data"]
            if data["case_id"] == case_id:
                said = {"type": event["type"], **data["body"]}
                assert found.setdefault(data["sequence"], said) == said
        assert sorted(found) == list(range(1, len(found) + 1))
        return [cast("CaseFact", ledger.read(found[number]["type"], found[number])) for number in sorted(found)]

    def rebuilt(self, case_id: str) -> tuple[Case, dict[str, ChunkState]]:
        """A case as its facts give it back (design: "One writer")."""
        partition = partition_of(case_id, PARTITIONS)
        kept = self.store.reader(partition).cases([case_id])[case_id]
        first, *others = self.facts(case_id)
        assert isinstance(first, Opened)
        case = first.begin(self.store.reader(partition).root(case_id), kept.opened_at)
        chunks: dict[str, ChunkState] = {}
        for fact in others:
            case, touched = apply(case, chunks, fact)
            chunks = {} if isinstance(fact, Forgotten) else chunks | touched
        return case.model_copy(update={"now": kept.now, "told_at": kept.told_at}), chunks

    def check_ledger(self, case_id: str) -> None:
        """Hold what stands to what the facts give back."""
        partition = partition_of(case_id, PARTITIONS)
        case, chunks = self.rebuilt(case_id)
        assert case == self.store.reader(partition).cases([case_id])[case_id]
        reader = self.store.reader(partition)
        assert chunks == {digest: reader.chunk(case_id, digest) for digest in chunks}

    def retrain_facts(self) -> dict[str, list[RetrainFact]]:
        """The facts of every model that was made anew for several cases."""
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for event in self.broker.events("ledger"):
            if event["type"].startswith("expunge.ledger.retrain_"):
                data = event["data"]
                said = {"type": event["type"], **data["body"]}
                assert found[data["case_id"]].setdefault(data["sequence"], said) == said
        for bodies in found.values():
            assert sorted(bodies) == list(range(1, len(bodies) + 1))
        return {
            key: [cast("RetrainFact", ledger.read(bodies[n]["type"], bodies[n])) for n in sorted(bodies)]
            for key, bodies in found.items()
        }

    def check_retrainings(self) -> None:
        """The same for every model that was made anew: replayed, its facts give what stands."""
        for key, facts_of in self.retrain_facts().items():
            kept = self.retraining(key)
            state = first_state(key, kept.system, kept.policy, kept.now)
            for fact in facts_of:
                state = apply_retraining(state, fact)
            assert state == kept

    def look_at_holds(self) -> None:
        """Note what each hold is by now, as `hold list` would say it, and what has just been said of it."""
        standing = self.standing()
        known: dict[str, Hold] = {}
        for each in standing:
            known |= each.holds
        for hold_id, hold in known.items():
            everywhere = all(hold_id in each.holds and each.in_force(hold_word(hold_id)) for each in standing)
            released = any(each.release_of(hold_id) for each in standing)
            late = hold.review_by is not None and hold.review_by <= self.broker.now
            state, why = ("released", "released") if released else ("taking_effect", "placed")
            if everywhere and not released:
                state, why = "in_force", "every partition has heard it, and no system may act against it"
                if late:
                    state, why = "overdue_for_review", "its day of review has passed"
            seen = self.seen_holds[hold_id]
            if not seen or seen[-1][0] != state:
                seen.append((state, why))

    def standing(self) -> list[Standing]:
        """What stands in each partition."""
        return [self.store.reader(partition).standing for partition in range(PARTITIONS)]

    def request(self, kind: str, request: str, **fields: Any) -> str:
        """Publish a request; the id of its case."""
        self.publish(
            "requests",
            kind,
            {"request_id": request, "received_at": "2026-11-01T11:00:00Z"} | fields,
            event=f"{request}-event",
        )
        return self.keys.case("/app", request)

    def approve_all(self) -> bool:
        """An operator approves every plan that waits; False if none did."""
        told = sorted({said["case_id"] for said in self.confirmations("awaiting_approval")})
        cases = [self.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id] for case_id in told]
        plans = [
            (case.case_id, each.plan_digest)
            for case in cases
            if case.status is not Status.CANCELLED  # where nobody's word counts any more
            for each in case.generations
            if len(each.approved_by) < each.approvals and not each.rejected
        ]
        waiting = sorted({rate for case in cases for each in case.generations if each.awaiting for rate in each.rates})
        groups = [self.store.reader(partition_of(home_of(rate), PARTITIONS)).rate(rate) for rate in waiting]
        plans += [(group.rate, group.digest) for group in groups if group and group.waiting]
        for case_id, plan in plans:
            self.say("plan.approved", case_id, plan_digest=plan)
        return bool(plans)

    def answer_all(self) -> bool:
        """Every system answers the commands that it has not answered yet."""
        busy = False
        for system, command in self._unanswered("commands."):
            busy = True
            self._hear(system, command)
        return busy

    def probe_all(self) -> bool:
        """Every prober answers what it was asked and has not answered yet."""
        busy = False
        for system, question in self._unanswered("probes."):
            busy = True
            for said in (self.looks or self.look)(question["data"]):
                self.tell(system, said)
        return busy

    def _unanswered(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """What each system was sent, and what comes meanwhile; it counts as answered from when it is given."""
        for topic in self.broker.topics(prefix):
            for partition in range(PARTITIONS):
                log = self.broker.logs[topic, partition]
                while self.answered[topic, partition] < len(log):
                    record = log[self.answered[topic, partition]]
                    self.answered[topic, partition] += 1
                    yield topic.removeprefix(prefix), json.loads(record.value or b"")

    def look(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """What an honest prober sees; of what a probe asks twice, for a store was set back, the first answer counts."""
        system, case_id, number = asked["system"], asked["case_id"], asked["number"]
        seen = [each["asset"] for each in asked["targets"] if (system, each["asset"]) in self.there]
        for asset in seen:
            self.found.setdefault((case_id, system, asset, number), len(self.commanded[case_id]))
        results = [{"asset": asset, "finding": "found"} for asset in seen]
        return [finding(asked, all="absent", results=results)]

    def tell(self, system: str, said: dict[str, Any], by: Signer | None = None) -> Record:
        """A prober's answer, signed with its key or with somebody else's."""
        identity = name("answered", json.dumps(said, sort_keys=True), len(self._log_of(f"findings.{system}")))
        event = Event("expunge.probe.answered.v1", f"/probers/{system}", identity, self.broker.now, said)
        signed = (by or PROBERS[system]).event(event)
        return self.broker.append(f"findings.{system}", said["command_id"], signed.encode())

    def _hear(self, system: str, event: dict[str, Any]) -> None:
        """Carry a command out, or let go of one: for good, however late it comes (rule "withdrawn first")."""
        data = event["data"]
        if event["type"] == FORGOTTEN:
            self.dismissed |= set(data["command_ids"])
            return
        if data["command_id"] in self.dismissed:
            return
        if event["type"] == WITHDRAWN:
            self.withdrawn.add(data["command_id"])
        if data["command_id"] not in self.withdrawn:
            self._answer(system, data)
        elif system not in self.deaf:
            said = self.let_go(data) | {"sequence": 100}
            self.publish("receipts." + system, "expunge.purge.receipted.v1", said, source=f"/{system}")

    def _answer(self, system: str, command: dict[str, Any]) -> None:
        told = command["command_id"], command["attempt"]
        is_new = told not in self.told  # a store that has forgotten that it was sent has it sent again
        self.told.add(told)
        for case_id in self.cases_of(command) if is_new else ():
            if self.cancels and self.confirmations("cancelled", case_id=case_id):
                self.done_too_late.append(command["command_id"])
            for target in command["targets"]:
                self.commanded[case_id].append((system, target["asset"], command["action"]))
                if any(each[:3] == (case_id, system, target["asset"]) for each in self.found):
                    self.there.discard((system, target["asset"]))
                left_out = command.get("exclude", {}).get("assets", ())
                self.excluded[case_id, target["asset"]].update(left_out)
        for data in self.answers.get(system, honest)(command):
            if data.get("all", {}).get("claim") == "retrained_without" and self.registers:
                self.made_anew(system, command, data["all"])
            self.publish("receipts." + system, "expunge.purge.receipted.v1", data, source=f"/{system}")

    def cases_of(self, command: dict[str, Any]) -> list[str]:
        """The cases that a command is for: several wait for a model that is made anew."""
        state = self.retraining(command["case_id"]) if command["action"] == "retrain_without" else None
        return [member.case_id for member in state.present] if state else [command["case_id"]]

    def retraining(self, key: str) -> Retraining:
        """What is known of a model that is made anew."""
        found: Retraining = self.store.reader(partition_of(key, PARTITIONS)).retraining(key)
        return found

    def made_anew(self, system: str, command: dict[str, Any], outcome: dict[str, Any]) -> None:
        """A trainer registers what it made."""
        named = outcome.setdefault(
            "replacement", {"asset": f"{command['targets'][0]['asset']}+{command['generation']}"}
        )
        self.tick_clocks(1)  # training takes time
        parents = self.learns_from(command["targets"][0]["asset"])
        if not parents:
            parents = [f"clean set of {system}"]
            self.register(parents[0], "dataset", system)
        made: dict[str, Any] = {"parents": parents, "derived_at": stamp(self.broker.now)}
        self.register(named["asset"], "model", system, command_id=command["command_id"], **made)

    def confirmations(self, milestone: str, publisher: str = "app", case_id: str = "") -> list[dict[str, Any]]:
        """Distinct confirmations of a milestone, by source and id; of one case, if it is named."""
        kind = f"expunge.case.{milestone}.v1"
        found = {
            (event["source"], event["id"]): event["data"]
            for event in self.broker.events(f"confirmations.{publisher}")
            if event["type"] == kind and case_id in ("", event["data"]["case_id"])
        }
        return list(found.values())

    def rejections(self) -> list[dict[str, Any]]:
        events = [event for topic in self.broker.topics("confirmations.") for event in self.broker.events(topic)]
        return [event["data"] for event in events if event["type"] == "expunge.request.rejected.v1"]

    def dead_letters(self) -> list[dict[str, Any]]:
        return [event["data"] for event in self.broker.events("dead-letters")]

    def returned(self, case_id: str) -> int:
        """Obligations of a case for assets that came back after they had been purged."""
        answers = [fact for fact in self.facts(case_id) if isinstance(fact, TaskAnswered)]
        return sum(each.size for fact in answers for each in fact.chunks if each.returned)

    def state_of(self, case_id: str) -> Case:
        found = self.found_state(case_id)
        assert found is not None
        return found

    def found_state(self, case_id: str) -> Case | None:
        found: Case | None = self.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id]).get(case_id)
        return found

    def status(self, case_id: str) -> str:
        found = self.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])
        return str(found[case_id].status.value) if found else "none"


ANSWER_OF = {
    "delete": "deleted",
    "rebuild_without": "rebuilt_without",
    "retrain_without": "retrained_without",
    "redact": "redacted",
    "restrict": "restricted",
    "lift": "lifted",
    "disable": "disabled",
    "destroy_key": "key_destroyed",
    "notify": "notified",
}


def receipt(command: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A receipt for a command, to be filled in."""
    return {
        "command_id": command["command_id"],
        "case_id": command["case_id"],
        "system": command["system"],
        "attempt": command["attempt"],
        "sequence": 1,
        "status": "done",
        "performed_at": "2026-11-01T12:00:00Z",
    } | fields


def finding(asked: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A prober's answer, to be filled in."""
    named = {each: asked[each] for each in ("number", "case_id", "command_id", "system")}
    return named | {"looked_at": "2026-11-01T12:00:00Z"} | fields


def honest(command: dict[str, Any]) -> list[dict[str, Any]]:
    """A system that does what it is told and says so."""
    return [receipt(command, all={"claim": ANSWER_OF[command["action"]]})]
