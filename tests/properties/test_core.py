"""The whole core under any interleaving, repetition, crash and zombie.

See design: "No deletion is lost" and "No asset escapes".

A history is a list of moves: publish something, let a role take a step, crash it after so many breaths, let another
process take its turn in the middle (also one that has taken the partition over), let a role read again, let systems
answer or time pass, let the store forget what it was told since it was saved. Plans above a guard wait until somebody
approves them. However it goes, once the world comes to rest everything that was reachable under the rules was
commanded in some generation, nothing else was, and every case says so exactly once; and what is restored after that is
commanded again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.adapters.redis.cases import RedisCaseStore
from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.people import RedisPeople
from expunge.adapters.redis.server import Server
from expunge.domain.aggregates.case import probing
from expunge.domain.aggregates.case.probing import FOUND_BY_PROBE, NOT_PROBED, NOTHING_TO_PROBE, PATIENCE
from expunge.domain.aggregates.standing.state import hold_word
from expunge.domain.aggregates.suppression import source_key
from expunge.domain.evidence import merkle, verify
from expunge.domain.evidence.notes import checkpoint_of, verifier
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.limits import Of, Per, RateRule, Threshold
from expunge.domain.planning.policy.models import Models
from expunge.domain.planning.policy.rules import Grace
from expunge.domain.planning.policy.terms import Term
from expunge.replay.forecast import Outcome
from expunge.roles.notary import is_end
from tests.forecasting import forecast_all
from tests.servers import Servers
from tests.simulation import ORIGIN, PARTITIONS, SIGNERS, World, finding, honest, identity, receipt

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - of a directory that is made there
"""Where files need not reach a disk."""
PEOPLE = ("ann", "bob")
ANEW = ("rebuild_without", "retrain_without")
NAMES = ("name-0", "name-1")
"""Names under which nothing is registered, but that assets may have, and under which others may name them."""
ROLES = ("intake", "indexer", "resolver", "coordinator", "notary")
INPUTS = {
    "intake": ("requests", "controls", "receipts.photos", "receipts.ml", "receipts.users"),
    "indexer": ("registrations",),
    "resolver": ("tasks", "walks"),
    "coordinator": ("cases",),
    "notary": ("ledger",),
}


@dataclass(frozen=True)
class Asset:
    """An asset of the model: number, kind, what it was made from, whether it names somebody or came from a source."""

    number: int
    kind: str
    parents: tuple[str, ...]
    """Ids of assets, or other names of assets."""
    aliases: tuple[str, ...]
    people: tuple[str, ...]
    source: bool
    fresh: bool
    """Collected long after every request: of an erased person only what it was made from leads here."""
    named: str = "id"
    """By which of their ids it names people: `id`, `mail`, or `both`, which are one person's."""

    @property
    def id(self) -> str:
        return f"asset-{self.number}"

    @property
    def container(self) -> bool:
        return self.kind != "object"


def mail(person: str) -> dict[str, str]:
    """Another id of the same person."""
    return {"namespace": "email", "id": f"{person}@example.com"}


@st.composite
def lineages(draw: st.DrawFn) -> list[Asset]:
    size = draw(st.integers(1, 7))
    assets = []
    for number in range(size):
        # A parent may have a higher number: it is registered later, and cycles are possible.
        ids = st.integers(0, size - 1).map("asset-{}".format)
        parents = draw(st.sets(ids | st.sampled_from(NAMES), max_size=2))
        aliases = draw(st.sets(st.sampled_from(NAMES) | ids, max_size=1)) if draw(st.integers(0, 3)) == 0 else set()
        assets.append(
            Asset(
                number,
                kind=draw(st.sampled_from(["object", "object", "dataset", "model"])),
                parents=tuple(sorted(parents - {f"asset-{number}"})),
                aliases=tuple(sorted(aliases - {f"asset-{number}"})),
                people=tuple(sorted(draw(st.sets(st.sampled_from(PEOPLE), max_size=1)))),
                source=draw(st.booleans()),
                fresh=draw(st.sampled_from([False, False, True])),
                named=draw(st.sampled_from(["id", "id", "mail", "both"])),
            )
        )
    return assets


def reachable(assets: list[Asset], roots: set[int], asked: Asked, through: Collection[str] = ()) -> set[str]:
    """The plain model: everything derived from the roots, under any of its names; from a container only containers,
    unless it is withdrawn, or a walk passes `through` it."""
    known = {asset.id: asset for asset in assets}
    edges = {(parent, asset.id) for asset in assets for parent in asset.parents}
    edges |= {edge for asset in assets for alias in asset.aliases for edge in ((asset.id, alias), (alias, asset.id))}
    bounded = asked.kind != "withdrawal"
    whole = set(through) | ({f"asset-{number}" for number in roots} if asked.kind == "asset" else set())
    waiting = [(f"asset-{number}", False) for number in roots]
    found = set(waiting)
    while waiting:
        current, inside = waiting.pop()
        asset = known.get(current)
        if asset is not None:
            inside = bounded and asset.container and current not in whole
        for parent, child in sorted(edges):
            refused = inside and child in known and not known[child].container
            if parent == current and not refused and (child, inside) not in found:
                found.add((child, inside))
                waiting.append((child, inside))
    return {name for name, _ in found}


POISONED = {"coordinator": ("cases",), "resolver": ("walks", "tasks")}
"""Roles that may die of a message that belongs to a case, and the topics on which it lies."""

moves = st.one_of(
    st.tuples(st.just("step"), st.sampled_from(ROLES), st.integers(1, 4), st.none() | st.integers(0, 25)),
    st.tuples(st.just("replay"), st.sampled_from(ROLES), st.integers(0, PARTITIONS - 1), st.integers(1, 4)),
    st.tuples(
        st.just("beside"),
        st.sampled_from(ROLES),
        st.integers(0, PARTITIONS - 1),
        st.integers(0, 25),
        st.sampled_from(ROLES),
        st.integers(1, 4),
    ),
    st.tuples(st.just("next")),
    st.tuples(st.just("again"), st.integers(0, 6), st.sampled_from(["photos", "ml"])),
    st.tuples(st.just("answer")),
    st.tuples(st.just("pause"), st.sampled_from([{"all": True}, {"system": "photos"}, {"publisher": "app"}])),
    st.tuples(st.just("resume"), st.sampled_from([{"all": True}, {"system": "photos"}, {"publisher": "app"}])),
    st.tuples(
        st.just("hold"),
        st.sampled_from(
            [
                {"subject": {"namespace": "user_id", "id": "ann"}},
                {"data_source": "supplier-a"},
                {"asset": "asset-0"},
                {"system": "photos"},
            ]
        ),
    ),
    st.tuples(st.just("release")),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("tick"), st.integers(1, 40)),
    st.tuples(st.just("poison"), st.sampled_from(sorted(POISONED)), st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("ahead"), st.sampled_from([200, 86_400])),
    st.tuples(st.just("save")),
    st.tuples(st.just("forget")),
    st.tuples(st.just("forget in part"), st.sampled_from(["index", "state"])),
    st.tuples(st.just("forget beside"), st.sampled_from(ROLES), st.integers(0, 25)),
    st.tuples(st.just("rebuild"), st.lists(st.integers(0, 60), max_size=2)),
    st.tuples(st.just("let go"), st.integers(0, 2)),
    st.tuples(st.just("retry"), st.integers(0, 2), st.sampled_from([None, "photos", "ml"])),
    st.tuples(
        st.just("probe"), st.integers(0, 2), st.none() | st.integers(1, 3), st.lists(st.integers(1, 9), max_size=1)
    ),
    st.tuples(st.just("look")),
    st.tuples(st.just("stays"), st.integers(0, 6)),
    st.tuples(st.just("sweep"), st.none() | st.integers(0, 40)),
    st.tuples(st.just("rotate"), st.none() | st.integers(0, 40)),
    st.tuples(
        st.just("forge"),
        st.integers(0, 2),
        st.sampled_from(["unsigned", "stranger", "colleague", "altered", "later", "system"]),
    ),
)


@dataclass(frozen=True)
class Asked:
    """A request of the history: what it is, and how many assets are registered before it is made."""

    kind: str
    at: int

    @property
    def person(self) -> bool:
        """Whether it is about a person."""
        return self.kind in PEOPLE


@dataclass
class Script:
    """What is still to be published, in the order in which the history publishes it."""

    world: World
    assets: list[Asset]
    requests: list[Asked]
    holding: int = 99
    """Before which asset a holding for people is declared; a large number: never."""
    published: int = 0
    declared: bool = False
    cases: dict[int, str] = field(default_factory=dict)
    systems: dict[int, set[str]] = field(default_factory=dict)
    holds: int = 0
    sweeps: int = 0
    """Each of them takes a day."""
    probes: int = 0
    poison: set[tuple[str, str, int, int]] = field(default_factory=set)
    """Messages that end the process of the role that handles them."""
    ahead: int = 0
    """By how many seconds the broker's clock was ahead for a moment, at most."""
    covered: dict[str, set[str]] = field(default_factory=dict)
    """Hold -> assets of which it was known when it was placed that it covers."""
    kept: dict[str, dict[str, int]] = field(default_factory=dict)
    """Hold that is in force -> how much was commanded by then, by case."""

    def __post_init__(self) -> None:
        self.world.poison = lambda role, at: (role, at.topic, at.partition, at.position.offset) in self.poison

    def spoil(self, role: str, partition: int) -> None:
        """Make the next message of a case that a role has before it one that ends processes.

        It is none that was handled before: then it would not have ended any.
        """
        known, numbers = (
            [each.encode() for each in self.cases.values()],
            (*range(partition, PARTITIONS), *range(partition)),
        )
        for topic, number in product(POISONED[role], numbers):
            done = self.world.furthest[role, topic, number]
            for record in self.world.broker.logs[topic, number][done:]:
                raw = record.value or b""
                if b'"case_id":"' in raw and any(case_id in raw for case_id in known):
                    self.poison.add((role, topic, number, record.position.offset))
                    return

    def mend(self) -> None:
        """Mend what ended processes, and say so of every case that waits: what another role set aside comes again."""
        self.poison.clear()
        for each in self.world.standing():
            for case_id in each.frozen:
                self.world.thaw(case_id)

    def misstamp(self, seconds: int) -> None:
        """The broker's clock is ahead while the next thing is published."""
        self.ahead = max(self.ahead, seconds)
        self.world.broker.now += timedelta(seconds=seconds)
        self.next()
        self.world.broker.now -= timedelta(seconds=seconds)

    def look_at_holds(self) -> None:
        """Of what is held in force nothing more may be carried out."""
        standing = self.world.standing() if self.covered else []
        for hold, covered in self.covered.items():
            word = hold_word(hold)
            in_force = all(hold in each.holds and each.in_force(word) for each in standing)
            if not in_force or any(each.release_of(hold) for each in standing):
                continue
            since = self.kept.setdefault(hold, {case: len(each) for case, each in self.world.commanded.items()})
            for case_id, commands in self.world.commanded.items():
                new = {asset for _, asset, _ in commands[since.get(case_id, 0) :]}
                assert not new & covered, "something was carried out that a hold keeps"

    def next(self) -> bool:
        """Publish the next registration, request or holding."""
        if not self.declared and self.published >= self.holding:
            self.declared = True
            self.world.declare_holding("users.db", namespaces=["user_id"])
            return True
        for number, asked in enumerate(self.requests):
            if number not in self.cases and asked.at <= self.published:
                self.cases[number] = self._ask(asked, f"r{number}")
                return True
        if self.published >= len(self.assets):
            return False
        self.register(self.published)
        self.published += 1
        return True

    def _ask(self, asked: Asked, request: str) -> str:
        if asked.kind == "withdrawal":
            return self.world.withdraw("supplier-a", request=request)
        if asked.kind == "asset":
            return self.world.withdraw_assets("asset-0", request=request)
        return self.world.erase(asked.kind, mail(asked.kind), request=request)

    def sets_of(self, model: str) -> list[str]:
        """The data sets that a model was made from, which its trainer learns from again, as they are by then."""
        first = next(asset for asset in self.assets if asset.id == model.split("+", maxsplit=1)[0])
        made = {asset.id for asset in self.assets[: self.published] if asset.kind == "dataset"}
        gone = {asset for told in self.world.commanded.values() for _, asset, action in told if action == "delete"}
        return sorted(made.intersection(first.parents) - gone)

    def cancel(self, number: int) -> None:
        """Take a request back, if it was made, but not most of the time: little is learnt from a history that ends."""
        if number in self.cases:
            self.world.cancels = True
            self.world.say("request.cancelled", self.cases[number], reason="why not")

    def let_go(self, number: int) -> None:
        """Have a case forgotten, whether it has ended or not."""
        if number in self.cases:
            self.world.say("case.forgotten", self.cases[number], reason="why not")

    def retry(self, number: int, system: object) -> None:
        """Have it tried at once what would be tried later."""
        if number in self.cases:
            fields: dict[str, Any] = {"system": system} if system else {}
            self.world.say("case.retried", self.cases[number], **fields)

    def probe(self, number: int, sample: int | None, again: list[int]) -> None:
        """Have it looked whether what a case has had purged is gone."""
        if number in self.cases:
            self.probes += 1
            fields: dict[str, Any] = {"sample": sample} if sample else {}
            self.world.say("probe.requested", self.cases[number], again_days=again, **fields)

    def forge(self, number: int, how: str) -> None:
        """Publish something in another's name, where that can be told."""
        if number in self.cases and self.world.signs:
            self.world.forge(self.cases[number], how)

    def sweep(self, crash_after: int | None = None) -> None:
        """What is left of forgotten cases is taken away; it may die on the way."""
        self.sweeps += 1
        if self.sweeps <= MOST_SWEEPS:
            self.world.sweep(crash_after)

    @property
    def has_forgotten(self) -> bool:
        """Whether some case was forgotten: what stays is asked for anew when it is stated again."""
        return any(event["type"] == "expunge.ledger.forgotten.v1" for event in self.world.broker.events("ledger"))

    def ended(self, number: int) -> bool:
        """Whether a request was taken back: said once, and nothing was done for it after that."""
        case_id = self.cases[number]
        if self.world.status(case_id) != "cancelled":
            return False
        assert len(self.world.confirmations("cancelled", case_id=case_id)) == 1
        return True

    def resume(self, scope: dict[str, object]) -> None:
        """Let commands leave again; a system that was silent meanwhile may be told anew."""
        self.world.order("emission.resumed", key=str(scope), scope=scope)

    def hold(self, scope: dict[str, object]) -> None:
        """Place one more hold."""
        self.holds += 1
        name = f"h{self.holds}"
        self.world.order("hold.placed", key=name, hold_id=name, scope=scope, basis="b", custodian="c")
        self.covered[name] = {
            asset.id
            for asset in self.assets[: self.published]
            if asset.id == scope.get("asset")
            or (asset.source and scope.get("data_source"))
            or ("ann" in asset.people and asset.named != "mail" and scope.get("subject"))
        }

    def release(self) -> None:
        """Release every hold, once more if they were before."""
        self.covered.clear()
        self.kept.clear()
        for number in range(self.holds):
            self.world.order("hold.released", key=f"h{number + 1}", hold_id=f"h{number + 1}")

    def register(self, number: int, system: str = "photos", event: str = "") -> None:
        """Register an asset, for the first time or again as a nightly inventory does, perhaps by another system."""
        self.systems.setdefault(number, set()).add(system)
        asset = self.assets[number]
        fields: dict[str, object] = {"parents": list(asset.parents), "aliases": list(asset.aliases)}
        if asset.people:
            ids = [identity(person) | {"person": person} for person in asset.people]
            mails = [mail(person) | {"person": person} for person in asset.people]
            fields["subjects"] = {"id": ids, "mail": mails, "both": ids + mails}[asset.named]
        if asset.source:
            fields["data_sources"] = ["supplier-a"]
        if asset.fresh and (asset.people or asset.source):
            fields["collected_at"] = "2026-11-09T00:00:00Z"
        self.world.register(asset.id, asset.kind, system, event=event, **fields)


SCOPES: tuple[dict[str, Any], ...] = ({"all": True}, {"system": "photos"}, {"publisher": "app"})


def play(script: Script, history: list[tuple[object, ...]]) -> None:  # noqa: PLR0912, PLR0915 - one arm for each move
    world = script.world
    for move in history:
        match move:
            case ("step", str(role), int(limit), crash):
                world.step(role, limit, crash if isinstance(crash, int) else None)
            case ("beside", str(role), int(partition), int(after), str(other), int(limit)):
                world.beside(role, partition, after, other, limit)
            case ("replay", str(role), int(partition), int(back)):
                for topic in INPUTS[role]:
                    world.replay(role, topic, partition, back)
            case ("next",):
                script.next()
            case ("again", int(number), str(system)):
                if number < script.published:
                    script.register(number, system)
            case ("answer",):
                world.answer_all()
            case ("pause", dict(scope)):
                world.order("emission.paused", key=str(scope), scope=scope, reason="why not")
            case ("resume", dict(scope)):
                script.resume(scope)
            case ("hold", dict(scope)):
                script.hold(scope)
            case ("cancel", int(number)):
                script.cancel(number)
            case ("release",):
                script.release()
            case ("tick", int(seconds)):
                world.tick(seconds)
            case ("poison", str(role), int(partition)):
                script.spoil(role, partition)
            case ("ahead", int(seconds)):
                script.misstamp(seconds)
            case ("save",):
                world.save()
            case ("rebuild", list(deaths)):
                world.rebuild(deaths)
            case ("retry", int(number), system):
                script.retry(number, system)
            case ("let go", int(number)):
                script.let_go(number)
            case ("probe", int(number), sample, list(again)):
                script.probe(number, sample if isinstance(sample, int) else None, again)
            case ("look",):
                world.probe_all()
            case ("stays", int(number)):
                world.there.add(("photos", f"asset-{number}"))
            case ("sweep", crash):
                script.sweep(crash if isinstance(crash, int) else None)
            case ("rotate", crash):
                world.rotate(crash if isinstance(crash, int) else None)
            case ("forge", int(number), str(how)):
                script.forge(number, how)
            case ("forget",):
                world.forget()
            case ("forget in part", str(what)):
                if world.apart:
                    world.forget([what])
            case ("forget beside", str(role), int(after)):
                world.forget_beside(role, after)
        script.look_at_holds()


def rotate(script: Script, steps: int, after: int) -> None:
    """So many steps of a rotation when some more has been published and the world has rested; then comes the rest."""
    for _ in range(after):
        script.next()
    if steps:
        script.world.settle(ticks=2)
    for _ in range(steps):
        script.world.rotate()


def finish(script: Script, spoilt: Sequence[str]) -> None:
    """Publish what is left, spoil what lies before roles, mend that, take back what operators said, and rest."""
    world = script.world
    if script.ahead:  # by and by everybody's clock says what the broker's said
        world.tick(script.ahead)
    while script.next():
        pass
    for role in spoilt:
        for before in ("intake", "indexer", "coordinator")[: 3 if role == "resolver" else 1]:
            world.step(before, 50)
        script.spoil(role, 0)
    if script.holds:
        world.settle(ticks=5)
        script.look_at_holds()
        script.release()
    for each in SCOPES:
        script.resume(each)
    come_to_rest(script)


def come_to_rest(script: Script) -> None:
    """Mend what waits for an operator, and let the world rest."""
    world = script.world
    world.settle(ticks=5)
    world.rotate_to_the_end()
    world.settle(ticks=5)
    while any(each.frozen for each in world.standing()):
        script.mend()
        world.settle(ticks=5)
    script.poison.clear()
    rest(world)
    while world.approve_all():
        rest(world)


def rest(world: World) -> None:
    """Let the world come to rest, models that wait for others and requests that can be taken back included."""
    world.settle(ticks=40)
    policy = world.policies.current
    for _ in range(bool(policy.grace) + bool(policy.models.collect_hours)):
        world.tick(3600)
        world.settle(ticks=40)


history_of = {
    "assets": lineages(),
    "requests": st.lists(
        st.builds(Asked, st.sampled_from([*PEOPLE, "withdrawal", "asset"]), st.integers(0, 7)), min_size=1, max_size=2
    ),
    "holding": st.sampled_from([0, 2, 99]),
    "step_nodes": st.sampled_from([1, 2, 20_000]),
    "apart": st.booleans(),
    "signs": st.booleans(),
    "evidence": st.sampled_from([False, False, True]),
    "guard": st.sampled_from([0, 2, 100]),
    "collect": st.sampled_from([0, 0, 1]),
    "grace": st.sampled_from([0, 0, 1]),
    "learns": st.booleans(),
    "rate": st.sampled_from([0, 2, 100]),
    "lies": st.lists(st.sampled_from(["silent", "failed", "empty", "twice"]), max_size=2),
    "looks": st.lists(st.sampled_from(["silent", "twice", "unknown", "liar", "late", "purger"]), max_size=3),
    "page": st.sampled_from([1, 200]),
    "probed": st.none() | st.tuples(st.none() | st.integers(1, 3), st.sets(st.integers(0, 6), max_size=2)),
    "history": st.lists(moves, max_size=60),
    "spoilt": st.lists(st.sampled_from(sorted(POISONED)), max_size=2),
    "restored": st.integers(0, 6),
    "aftermath": st.lists(moves, max_size=15),
    "fails": st.sampled_from(["", "index", "state"]),
    "suppressed": st.sampled_from([None, 1]),
    "rotated": st.just((0, 0)) | st.tuples(st.integers(1, 3), st.integers(0, 4)),
    "left": st.sampled_from(["whole", "whole", "forgotten", "swept", "rebuilt"]),
}
MOST_SWEEPS = 5
A_YEAR = {"respond": Term(months=12), "extend": None}
"""To answer a request: so that what comes back after all was forgotten is not late for that, too."""
HISTORIES = int(os.environ.get("EXPUNGE_TEST_HISTORIES", "400"))
common = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], print_blob=True
)


@settings(common, max_examples=HISTORIES)
@given(**history_of)
def test_everything_reachable_is_commanded_and_nothing_else(**history: Any) -> None:
    fields = {each: history.pop(each) for each in ("step_nodes", "apart", "signs")}
    with TemporaryDirectory(dir=MEMORY) as folder, patch.object(probing, "CHUNKS_PER_MESSAGE", history.pop("page")):
        try_out(World(**fields, evidence=Path(folder) if history.pop("evidence") else None), **history)


@settings(common, max_examples=max(20, HISTORIES // 25))
@given(history=st.fixed_dictionaries(history_of))
def test_the_same_on_a_real_redis(real: Servers, history: dict[str, Any]) -> None:
    history.pop("evidence")
    history.pop("page")
    server = Server(real.redis, f"history-{uuid.uuid4().hex[:12]}.")
    server.initialise(256, "check")
    try:
        try_out(
            World(
                step_nodes=history.pop("step_nodes"),
                apart=history.pop("apart"),
                signs=history.pop("signs"),
                stores=lambda: on_redis(server),
            ),
            **history,
        )
    finally:
        server.forget(server.prefix)
        server.client.close()


def on_redis(server: Server) -> tuple[RedisIndex, RedisCaseStore, RedisPeople]:
    """Index, state and people's names."""
    index = RedisIndex(server)
    return index, RedisCaseStore(server), RedisPeople(server, index)


def try_out(  # noqa: PLR0915 - a history, from its beginning to its end
    world: World,
    assets: list[Asset],
    requests: list[Asked],
    holding: int,
    guard: int,
    collect: int,
    grace: int,
    learns: bool,  # noqa: FBT001 - drawn
    rate: int,
    lies: list[str],
    looks: list[str],
    probed: tuple[int | None, set[int]] | None,
    history: list[tuple[object, ...]],
    spoilt: list[str],
    restored: int,
    aftermath: list[tuple[object, ...]],
    left: str,
    fails: str,
    suppressed: int | None,
    rotated: tuple[int, int],
) -> None:
    """Play a history and hold its end to the plain model; then restore an asset, and hold it to the model again.

    Before that the cases are forgotten, by what is `left` of them.
    """
    lies = list(lies)
    threshold = (Threshold(id="guard", more_than=guard),)
    rates = tuple(RateRule(id=f"rate-{of}", of=of, per=Per.DAY, more_than=rate) for of in Of)
    changes = {"guard": threshold, "rates": rates, "models": Models(collect_hours=collect, needs_hours=1)}
    changes["clocks"] = tuple(each.model_copy(update=A_YEAR) for each in world.policies.current.clocks)
    changes["retention"] = world.policies.current.retention.model_copy(update={"suppression_months": suppressed})
    changes["grace"] = (Grace(id="grace", hours=grace),) if grace else ()
    world.policies.change(world.policies.current.model_copy(update=changes))
    world.tick_clocks(8 * 86_400)  # past the tail of every erasure, so that something can be collected after it
    for system in ("photos", "ml", "users"):
        world.answers[system] = lambda command: lying(command, lies)
    looks = list(looks)
    world.looks = lambda asked: looking(world, asked, looks)
    script = Script(world, assets, [Asked(asked.kind, min(asked.at, len(assets))) for asked in requests], holding)
    if learns and not share_a_name(assets):
        world.learns_from = script.sets_of
    play(script, history)
    rotate(script, *rotated)
    finish(script, spoilt)
    look_into(script, probed)
    for number, asked in enumerate(script.requests):
        if not script.ended(number):
            judge(script, asked, script.cases[number])
    end_probes(script)
    forget_all(script, left)
    if fails and world.apart and left == "whole":  # whatever it has forgotten, what comes back is noticed
        world.forget([fails])
        come_to_rest(script)
    before = {case_id: len(commands) for case_id, commands in world.commanded.items()}
    if restored < len(assets):
        world.tick(60)
        world.save()  # walk, purge and return all forgotten together: docs/recovery.md, "What is not noticed"
        script.register(restored, event="restored from a backup")
        play(script, aftermath)
        finish(script, ())
        for number, asked in enumerate(script.requests):
            if script.ended(number):
                continue
            judge(script, asked, script.cases[number])
            case_id = script.cases[number]
            again = world.commanded[case_id][before.get(case_id, 0) :]
            came_back = any(asset == f"asset-{restored}" for _, asset, _ in again)
            seen = any(each[0] == case_id and each[2] == f"asset-{restored}" for each in world.found)
            if purged(script, asked, restored, script.cases[number]):
                assert came_back
            elif not (script.has_forgotten or seen) and not any(move[0] == "again" for move in aftermath):
                assert not came_back  # but what another system has now is new work, too
    end_probes(script)
    let_suppressions_end(world, suppressed)
    for case_id in script.cases.values():  # nobody extended anything
        events = world.broker.events("confirmations.app")
        assert len({each["data"]["due_at"] for each in events if each["data"]["case_id"] == case_id}) == 1
    for case_id in script.cases.values():
        world.check_ledger(case_id)
    world.check_retrainings()
    assert not world.done_too_late
    check_probes(script)
    check_evidence(world)
    check_replay(script)
    forged = {(each["topic"].removeprefix("t."), each["partition"], each["offset"]) for each in refused(world)}
    assert forged == set(world.forged)
    assert {letter["reason"] for letter in world.dead_letters()} - FORGED <= (
        ({"case_has_ended", "control_without_case"} if world.cancels else set())
        | ({"nothing_to_retry", "case_has_not_ended", "case_is_forgotten", "case_is_held", "control_without_case"})
        | ({NOTHING_TO_PROBE} if script.probes else set())
        | ({FOUND_BY_PROBE} if script.probes and world.cancels else set())
        | ({NOT_PROBED} if script.probes and script.has_forgotten else set())
        | ({"poison", "case_is_frozen", "case_is_not_frozen"} if world.deaths else set())
    )
    assert not any(each.telling or each.unsettled for each in world.standing())
    assert not any(name == "ledger_alarms" for name, _ in world.metrics.counts)


def look_into(script: Script, probed: tuple[int | None, set[int]] | None) -> None:
    """Have it looked whether all is gone, of which some stays."""
    if probed is None:
        return
    sample, stays = probed
    script.world.there |= {("photos", f"asset-{number}") for number in stays}
    for number in script.cases:
        script.probe(number, sample, [])
    come_to_rest(script)


def end_probes(script: Script) -> None:
    """Whoever does not answer is waited for no longer, and what was to be looked at later is looked at."""
    world = script.world
    while any(state.probing or state.probes_due for state in map(world.found_state, script.cases.values()) if state):
        world.tick(PATIENCE.total_seconds())
        come_to_rest(script)


def check_probes(script: Script) -> None:
    """Whatever a prober has seen was commanded once more after that; what has begun has ended."""
    world = script.world
    for (case_id, system, asset, _), by_then in world.found.items():
        again = {(each[0], each[1]) for each in world.commanded[case_id][by_then:]}
        assert (system, asset) in again or world.status(case_id) == "cancelled" or script.has_forgotten
    for case_id in script.cases.values():
        assert world.state_of(case_id).probing is None


def check_replay(script: Script) -> None:
    """What is still there was handled: doing it once more would open nothing, and command nothing.

    An answer about a model that cases share is noted as often as it is heard, by its cases, too.
    """
    inlets = ("requests", "controls", "registrations", "receipts")
    again = {"retrain_answered", "watermark_raised", "answered"}
    told = {each for each in forecast_all(script.world, *inlets) if not (each[1].why and again.issuperset(each[1].why))}
    known = {Outcome.NOTHING, Outcome.DEAD_LETTER}
    if script.world.apart:  # what was purged may be noted again as of before it was stated, which then is a return
        known.add(Outcome.LATE)
    assert not {each for each in told if each[1].outcome not in known}


def check_evidence(world: World) -> None:
    """The log is the ledger, and every end has a certificate that verifies: it says nothing that did not happen."""
    if world.evidence is None:
        return
    world.settle()
    log = world.ledger_log
    note = log.checkpoint()
    entries = [record.value or b"" for record in world.broker.logs["ledger", 0]]
    assert note is not None
    assert checkpoint_of(note).root == merkle.root_of(map(merkle.leaf_hash, entries))
    assert not log.due(1, world.clock)
    ended = {
        (event["data"]["case_id"], event["data"]["sequence"])
        for event in world.broker.events("ledger")
        if is_end(event["type"], event["data"])
    }
    key = verifier(ORIGIN, bytes.fromhex(log.public))
    for case_id, sequence in ended:
        place = world.archive.place(case_id, sequence)
        assert place.exists()
        files = verify.Files(
            (place / "certificate.json").read_bytes(),
            (place / "records.jsonl").read_bytes().splitlines(),
            (place / "obligations.jsonl").read_bytes().splitlines(),
            key,
            ways=(place / "ways.jsonl").read_bytes().splitlines(),
        )
        steps = verify.verify(files)
        assert all(step.passed for step in steps), steps


FORGED = frozenset({"unsigned", "bad_signature", "stale"})


def refused(world: World) -> list[dict[str, Any]]:
    """What was set aside because nobody knows who has said it."""
    return [letter for letter in world.dead_letters() if letter["reason"] in FORGED]


def forget_all(script: Script, left: str) -> None:
    """Have every case forgotten, and what is left of it swept away, and the store rebuilt from what is left then."""
    world = script.world
    if left == "whole":
        return
    for number in script.cases:
        script.let_go(number)
    world.settle()
    world.age()
    world.settle()
    for case_id in script.cases.values():
        state = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
        assert state.is_forgotten
    if left != "forgotten":
        world.sweep()
    if left == "rebuilt":
        world.rebuild()
    world.settle()


def let_suppressions_end(world: World, months: int | None) -> None:
    """People may be collected again when the months are over; withdrawn sources never."""
    before = world.suppressed()
    world.tick_clocks(62 * 86_400)
    world.sweep()
    world.deliver()
    assert world.suppressed() == {key for key in before if months is None or key == source_key("supplier-a")}


def share_a_name(assets: list[Asset]) -> bool:
    """Whether a data set has another name that something else has, too.

    Known since 0.1.0 and not mended: what a trainer learns from such a set again is found unclean again, for ever.
    """
    sets = {alias for asset in assets if asset.kind == "dataset" for alias in (asset.id, *asset.aliases)}
    return any(sets.intersection(asset.aliases) for asset in assets)


def purged(script: Script, asked: Asked, number: int, case_id: str) -> bool:
    """Whether a case had an asset deleted, so that it must not come back; what names the person anew is let be."""
    assets, name = script.assets, f"asset-{number}"
    deleted = any(asset == name and action == "delete" for _, asset, action in script.world.commanded[case_id])
    return deleted and not is_anew(assets[number], asked)


def is_anew(asset: Asset, asked: Asked) -> bool:
    """Whether an asset was collected from the person after the request: it is let be when it is stated again."""
    return bool(asked.kind in asset.people and asset.fresh and not asset.parents)


def lying(command: dict[str, Any], lies: list[str]) -> list[dict[str, Any]]:
    """A system that lies as long as there are lies left; all commands share them."""
    lie = lies.pop() if lies else "honest"
    if lie == "silent":
        return []
    if lie == "failed":
        return [receipt(command, status="failed")]
    if lie == "empty":
        return [receipt(command)]
    return honest(command) * (2 if lie == "twice" else 1)


def looking(world: World, asked: dict[str, Any], lies: list[str]) -> list[dict[str, Any]]:
    """A prober that misbehaves as long as there are lies left."""
    lie = lies.pop() if lies else "honest"
    match lie:
        case "silent":
            return []
        case "unknown":
            return [finding(asked, all="unknown")]
        case "liar":  # it sees what is not there: that is purged once more
            world.there |= {(asked["system"], each["asset"]) for each in asked["targets"]}
        case "purger":
            forged = world.tell(asked["system"], finding(asked, all="absent"), by=SIGNERS[asked["system"]])
            world.forged.append((forged.topic, forged.partition, forged.position.offset))
        case "late":
            world.tick_clocks(PATIENCE.total_seconds())
    return world.look(asked) * (2 if lie == "twice" else 1)


def open_for(world: World, case_id: str) -> set[str]:
    """The reasons for which obligations of a case are open."""
    case = world.store.reader(partition_of(case_id, PARTITIONS)).cases([case_id])[case_id]
    return {line.reason for line, _ in case.counts if line.claim == "open"}


def judge(script: Script, asked: Asked, case_id: str) -> None:
    """One case against the plain model."""
    world, assets = script.world, script.assets
    least = reachable(assets, roots(assets, asked), asked)
    # Other names of a withdrawn asset that are known in time are withdrawn with it, whole.
    same = names(assets, "asset-0") if asked.kind == "asset" else set()
    wider = roots(assets, asked) | {each.number for each in assets if each.id in same}
    expected = reachable(assets, wider, asked, known_as_others(assets))
    actions = {action for _, _, action in world.commanded[case_id]}
    assert "redact" not in actions  # in no asset of the model there is anybody else
    owners = {(system, asset.id) for asset in assets if asset.id in least for system in script.systems[asset.number]}
    most = {(system, asset.id) for asset in assets if asset.id in expected for system in script.systems[asset.number]}
    # What a trainer made is none of the history's assets; it is commanded where it was made too early.
    commanded = {(system, asset) for system, asset, _ in world.commanded[case_id] if "+" not in asset}
    asked_holding = {("users", "users.db")} if asked.person and script.holding <= asked.at else set()
    gone = {asset for _, asset, action in world.commanded[case_id] if action == "delete"}
    anew = {asset.id for asset in assets if asset.id in gone and is_anew(asset, asked)}
    again = {(system, asset) for asset in anew for system in ("ml", "photos")}
    assert (
        owners - again
    ) | asked_holding <= commanded  # one that is declared later is asked if the case is open by then
    assert commanded <= most | ({("users", "users.db")} if asked.person and script.declared else set())
    everything = {(system, asset) for system, asset, _ in world.commanded[case_id]}
    if script.has_forgotten and open_for(world, case_id) == {"forgotten_exclusions"}:
        return  # a person decides: nobody can say any more what is to be left out (docs/forgetting.md)
    assert world.status(case_id) == "completed"
    final = world.confirmations("completed", case_id=case_id)
    ended = len(final) + len(world.confirmations("completed_with_deferrals", case_id=case_id))
    assert ended == 1 + len(world.confirmations("reopened", case_id=case_id))
    counted = sum(sum(kinds.values()) for kinds in final[-1]["counts"].values())
    rebuilds = sum(1 for _, _, action in set(world.commanded[case_id]) if action in ANEW)
    # A container is counted once for each list of what it must leave out; of what is forgotten nobody knows any more
    # that it was counted.
    if not rebuilds and not script.has_forgotten:
        # what came back is counted once more; where it came back to another system, too, that is its first time there
        assert counted <= len(everything) + world.returned(case_id)
    assert counted >= len(everything)
    for _, asset, action in world.commanded[case_id]:
        if action == "rebuild_without":
            same = names(assets, asset)
            others = same - {parent for other in assets if other.id == asset for parent in other.parents} | {asset}
            containers = [other for other in assets if other.container and other.id in same]
            told = {parent for other in containers for parent in other.parents} - others
            known = {parent for other in assets if other.id in same for parent in other.parents} - others
            whole = {other.id for other in assets if asked.kind == "withdrawal" and other.source}
            assert world.excluded[case_id, asset] >= (told & least) - whole
            assert world.excluded[case_id, asset] <= known & expected


def known_as_others(assets: list[Asset]) -> set[str]:
    """Containers that are other names of what is none, too: until they are registered, nobody knows that they are."""
    others = {alias for asset in assets if not asset.container for alias in (*asset.aliases, asset.id)}
    return {each.id for each in assets if each.container and others & {each.id, *each.aliases}}


def names(assets: list[Asset], name: str) -> set[str]:
    """All names of an asset, those that its other names have among them."""
    same: set[str] = {name}
    for _ in range(len(assets) + len(NAMES)):
        same |= {other for asset in assets if {asset.id, *asset.aliases} & same for other in (asset.id, *asset.aliases)}
    return same


def roots(assets: list[Asset], asked: Asked) -> set[int]:
    if asked.kind == "withdrawal":
        return {asset.number for asset in assets if asset.source}
    if asked.kind == "asset":
        return {0}
    return {asset.number for asset in assets if asked.kind in asset.people and not asset.fresh}
