"""A deployment in memory in which every event type is said: the source of the examples and of the pictures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from expunge.domain.events import Event, stamp
from expunge.domain.partition import partition_of
from expunge.domain.planning.policy.limits import Of, Per, RateRule, Threshold
from expunge.domain.planning.policy.models import Models
from expunge.domain.planning.policy.rules import Grace
from expunge.domain.signatures import Envelope
from expunge.ports import Topics
from expunge.replay.letters import letters, settled
from expunge.roles.common import policy_part
from expunge.wire.cases.said import home_of, rate_id
from expunge.wire.dead_letters import Fate
from expunge.wire.operations import (
    OPERATORS,
    REPLAYED,
    Discarded,
    Parked,
    Replayed,
    Rewritten,
    discarded,
    parked,
    replayed,
    rewritten,
)
from tests.simulation import PARTITIONS, SIGNERS, World, honest, receipt


def _world() -> World:
    kept = TemporaryDirectory()
    return World(evidence=Path(kept.name), keeps=kept)


def _large(world: World) -> None:
    """A walk that goes on in further tasks, of a deployment with smaller steps."""
    narrow = World(step_nodes=1)
    for number in range(2):
        narrow.register(f"of-many-{number}", subjects=["zoe"])
    narrow.erase("zoe", request="large")
    narrow.settle(ticks=1)
    for place, log in narrow.broker.logs.items():
        if place[0] == "walks":
            world.broker.logs[place] += log


def story() -> World:
    """A deployment in which every event type is said at least once."""
    world = _world()
    world.register("photo-1", subjects=["ann"], data_sources=["supplier-a"], purposes=["training"])
    world.publish(
        "registrations",
        "expunge.assets.registered.v1",
        {"common": {"kind": "embedding", "system": "ml"}, "assets": [{"asset": "vector-1", "parents": ["photo-1"]}]},
    )
    world.register("set", "dataset", "ml", parents=["photo-1"])
    world.register("lost", system="nobody", subjects=["ann"])
    world.publish("registrations", "expunge.asset.removed.v1", {"asset": "old", "system": "photos", "reason": "gone"})
    world.declare_holding("users.db", namespaces=["user_id"])
    world.publish(
        "registrations", "expunge.holding.withdrawn.v1", {"holding": "users.db", "system": "users"}, source="/users"
    )
    world.erase("ann", request="before-index")
    world.step("intake")
    world.step("coordinator")
    world.step("resolver")
    world.settle(ticks=4)
    world.answers["photos"] = lambda command: [
        receipt(command, status="accepted", expected_by="2026-11-02T00:00:00Z"),
        *(answer | {"sequence": 2} for answer in honest(command)),
    ]
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "failed", "reason_code": "disk_full"})]
    world.erase("ann", request="erasure", correlation_id="ticket-7", batch="november")
    world.revoke("ann", "training", request="revocation")
    world.withdraw("supplier-a", request="withdrawal")
    world.withdraw_assets("photo-1", request="takedown")
    world.settle(ticks=30)
    world.answers["ml"] = lambda command: [
        receipt(command, all={"claim": "deferred", "until": "2027-01-01T00:00:00Z", "reason_code": "rotation"})
    ]
    world.register("crop", parents=["photo-1"])
    world.tick(86_400 * 2)
    world.settle(ticks=4)
    world.tick(31 * 86_400)
    world.settle(ticks=4)
    world.publish("requests", "expunge.erasure.requested.v1", {"request_id": "bad"})
    world.register("letter", subjects=["ann"], purposes=["marketing"])  # late for the revocation, but not touched by it
    many = [
        {"asset": f"photo-b{number}", "kind": "object", "system": "photos", "data_sources": ["supplier-b"]}
        for number in range(620)
    ]
    common = {"collected_at": "2026-01-01T00:00:00Z"}
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": many})
    world.settle(ticks=1)
    world.answers["photos"] = _finds_a_copy
    world.withdraw("supplier-b", request="large")
    world.settle(ticks=1)
    world.revoke("bob", "training", request="taken-back", received_at="2026-10-01T00:00:00Z")
    world.settle()
    world.grant("bob", "training")
    world.settle()
    _guarded(world)
    _ordered(world)
    _spoken_to(world)
    _bad_day(world)
    _operated(world)
    world.register("never-read")
    world.expire("registrations", "olga")
    _let_go(world)
    _rotated(world)
    _large(world)
    return world


def _bad_day(world: World) -> None:
    """A command that the broker refuses; messages that end processes; a hold that learns more."""
    world.register("slide", subjects=["hugo"])
    world.register("slide-2", subjects=["hugo"], system="users")
    world.settle(ticks=1)
    world.broker.refuses = lambda message: "unknown_topic" if message.topic == "commands.photos" else ""
    world.answers["users"] = lambda _: []
    case_id = world.erase("hugo", request="refused-by-the-broker")
    world.settle(ticks=1)
    world.broker.refuses = lambda _: ""
    partition = partition_of(case_id, PARTITIONS)
    bad = (b"internal.receipted", case_id.encode())
    world.poison = lambda role, record: role == "coordinator" and all(each in (record.value or b"") for each in bad)
    for event in world.broker.events("commands.users")[-1:]:
        for sequence in (1, 2):
            said = receipt(event["data"], all={"claim": "failed"}, sequence=sequence)
            world.publish(
                "receipts.users", "expunge.purge.receipted.v1", said, source="/users", event=f"bad-{sequence}"
            )
    world.settle(ticks=1)
    world.poison = lambda *_: False
    if not world.store.reader(partition).standing.frozen:
        raise RuntimeError("story: the case is not frozen")
    world.answers.clear()
    world.thaw(case_id)
    world.settle(ticks=1)
    world.register("negative", subjects=["ida"])
    world.settle(ticks=1)
    asked = world.keys.case("/app", "ended-a-resolver")
    world.poison = lambda role, record: role == "resolver" and asked.encode() in (record.value or b"")
    world.erase("ida", request="ended-a-resolver")
    world.settle(ticks=1)
    world.poison = lambda role, record: role == "intake" and b"ended-intake" in (record.value or b"")
    world.erase("ida", request="ended-intake")
    world.settle(ticks=1)
    world.poison = lambda *_: False
    world.register("exhibit")
    world.register("print", subjects=["jo"])
    world.settle(ticks=1)
    world.order("hold.placed", key="m9", hold_id="m9", scope={"asset": "exhibit"}, basis="b", custodian="c")
    world.settle(ticks=1)
    world.answers["photos"] = lambda _: []
    world.erase("jo", request="under-hold")
    world.settle(ticks=1)
    world.register("print", parents=["exhibit"], event="what was not known")
    world.settle(ticks=1)
    world.answers.clear()


def _spoken_to(world: World) -> None:
    """Operators' words about running cases: paused, held, released, resumed, cancelled."""
    guard = (Threshold(id="nothing", more_than=1_000_000),)
    world.policies.change(world.policies.current.model_copy(update={"guard": guard}))
    many = [
        {"asset": f"photo-d{number}", "kind": "object", "system": "photos", "data_sources": ["supplier-d"]}
        for number in range(620)
    ]
    common = {"collected_at": "2026-01-01T00:00:00Z"}
    world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": many})
    world.settle(ticks=1)
    world.answers["photos"] = lambda _: []
    case_id = world.withdraw("supplier-d", request="spoken-to")
    world.settle(ticks=1)
    person = {"subject": {"namespace": "user_id", "id": "ann"}}
    world.order("hold.placed", key="h1", hold_id="h1", scope=person, basis="litigation", custodian="counsel")
    world.settle(ticks=1)
    world.order("emission.paused", key="pause", scope={"system": "photos"}, reason="a bad day")
    world.settle(ticks=1)
    world.withdraw("supplier-a", request="while-paused")
    world.settle(ticks=1)
    world.order("hold.released", key="h1", hold_id="h1")
    world.order("emission.resumed", key="pause", scope={"system": "photos"})
    world.settle(ticks=1)
    world.say("case.retried", case_id, system="photos", reason="it is well again")
    world.settle(ticks=1)
    world.say("request.cancelled", case_id, reason="the supplier had the right after all")
    world.settle(ticks=1)
    world.answers.clear()
    _restricted(world)
    _together(world)


def _restricted(world: World) -> None:
    """A restriction, one that was lifted before it began, and what is kept by an operator's decision."""
    world.register("diary", subjects=["emil"])
    world.settle(ticks=1)
    world.restrict("emil", request="restricted")
    world.settle(ticks=1)
    world.order("emission.paused", key="pause", scope={"all": True}, reason="another bad day")
    world.restrict("emil", request="restricted-late")
    world.settle(ticks=1)
    world.lift("emil")
    world.settle(ticks=1)
    world.order("emission.resumed", key="pause", scope={"all": True})
    world.settle(ticks=1)
    world.register("card", system="legacy", subjects=["fred"])
    world.settle(ticks=1)
    kept = world.erase("fred", request="kept")
    world.settle(ticks=1)
    world.say("obligation.decided", kept, system="legacy", option="exempt", rationale="kept by law")
    world.say("obligation.decided", kept, system="legacy", option="restored", rationale="it was looked into")
    world.settle(ticks=1)


def _together(world: World) -> None:
    """Plans that wait as a group: one leaves it, the others are let go."""
    row = RateRule(id="few", of=Of.PUBLISHER, per=Per.HOUR, more_than=0)
    world.policies.change(world.policies.current.model_copy(update={"rates": (row,)}))
    world.erase("emil", request="in-a-group")
    world.settle(ticks=1)
    key = rate_id("publisher:app")
    gone = world.erase("emil", request="not-after-all")
    world.settle(ticks=1)
    world.say("request.cancelled", gone, reason="not after all")
    world.settle(ticks=1)
    group = world.store.reader(partition_of(home_of(key), PARTITIONS)).rate(key)
    world.say("plan.approved", key, plan_digest=group.digest)
    world.settle(ticks=1)
    anew(world)


def anew(world: World) -> None:
    """Models that are made anew for several people: begun, promised, failed, left, withdrawn, and made too early."""
    day = 86_400
    grace = (Grace(id="accounts", hours=1),)
    changes = {"rates": (), "grace": grace, "models": Models(collect_hours=24)}
    world.policies.change(world.policies.current.model_copy(update=changes))
    for person in ("gina", "hans", "iris"):
        world.register(f"face-{person}", subjects=[person])
    people = [f"face-{person}" for person in ("gina", "hans", "iris")]
    world.register("faces", "dataset", "photos", parents=people)
    world.register("net", "model", "ml", parents=["faces"])
    world.settle(ticks=1)
    world.registers = False
    said: list[dict[str, Any]] = [
        {"status": "accepted", "expected_by": stamp(world.broker.now + timedelta(days=2))},
        {"all": {"claim": "failed", "reason_code": "no_memory"}},
    ]
    too_early = stamp(world.broker.now - timedelta(days=1))

    def trains(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["action"] != "retrain_without":
            return honest(command)
        if said:
            return [receipt(command, **said.pop(0))]
        anew = f"{command['targets'][0]['asset']}+"
        old = {"derived_at": too_early, "command_id": command["command_id"]}
        world.register("checkpoint+", "checkpoint", "ml", parents=["faces"], **old)
        made = too_early if anew == "net+" else stamp(world.broker.now + timedelta(seconds=1))
        world.register(
            anew, "model", "ml", parents=["faces"], derived_at=made, command_id=command["command_id"], event=anew
        )
        return [receipt(command, all={"claim": "retrained_without", "replacement": {"asset": anew}})]

    world.answers["ml"] = trains
    now = {"received_at": stamp(world.broker.now)}
    cases = [world.erase(person, request=f"anew-{person}", **now) for person in ("gina", "hans", "iris")]
    world.settle(ticks=1)
    world.tick(3600)
    world.settle(ticks=1)
    world.say("request.cancelled", cases[2], reason="not after all")
    world.say(
        "obligation.decided",
        cases[0],
        asset="net",
        option="retrain_by",
        rationale="x",
        due_at=stamp(world.broker.now + timedelta(hours=2)),
    )
    world.settle(ticks=1)
    for _ in range(6):
        world.tick(day)
        world.settle(ticks=1)
    _refused(world)
    _withdrawn_from_its_owner(world)


def _refused(world: World) -> None:
    """A model whose owner answers in a way that does not count, and is asked again."""
    world.register("face-kim", subjects=["kim"])
    world.register("medium", "model", "ml", parents=["face-kim"])
    world.settle(ticks=1)
    refused = {"claim": "retrained_without", "method": "approximate_unlearning", "replacement": {"asset": "medium+"}}
    world.answers["ml"] = lambda command: [receipt(command, all=refused)]
    world.erase("kim", request="anew-kim", received_at=stamp(world.broker.now))
    world.settle(ticks=1)
    for _ in range(7):
        world.tick(86_400)
        world.settle(ticks=1)


def _withdrawn_from_its_owner(world: World) -> None:
    """A model that nobody waits for any more while it is being made anew."""
    world.register("face-jane", subjects=["jane"])
    world.register("small", "model", "ml", parents=["face-jane"])
    world.settle(ticks=1)
    world.answers["ml"] = lambda _: []
    case_id = world.erase("jane", request="anew-jane", received_at=stamp(world.broker.now))
    world.settle(ticks=1)
    for _ in range(3):
        world.tick(86_400)
        world.settle(ticks=1)
    world.say("request.cancelled", case_id, reason="not after all")
    world.settle(ticks=1)
    world.answers.clear()
    world.registers = True


def _ordered(world: World) -> None:
    """An order whose deadline passes while assets turn up in a stream."""
    world.register("scan", data_sources=["supplier-c"])
    provision = {"id": "III(A)", "deadline": stamp(world.broker.now + timedelta(days=30)), "kinds": ["object"]}
    matter = {"authority": "court", "docket": "C-1", "order_date": "2026-11-01", "provisions": [provision]}
    world.withdraw("supplier-c", request="ordered", matter=matter)
    world.settle(ticks=1)
    for asset in (
        "scan-2",
        "scan-3",
    ):  # the second comes when the generation of the first has collected for long enough
        world.register(asset, data_sources=["supplier-c"])
        world.step("indexer")
        world.step("coordinator")
        world.tick(5)
        world.step("coordinator")
    world.settle(ticks=1)
    world.tick(40 * 86_400)  # the backup's schedule is over, too
    world.settle()


def _guarded(world: World) -> None:
    """Plans that wait for an operator: one is approved and put off, one rejected."""
    world.broker.send([policy_part(cast("Topics", world.broker), world.policies.current, world.broker.now)])
    guard = (Threshold(id="anything", more_than=0),)
    world.policies.change(world.policies.current.model_copy(update={"guard": guard}))
    world.register("portrait", subjects=["cleo"])
    world.register("tape", "backup", "ml", parents=["portrait"])
    world.register("sketch", subjects=["dora"])
    now = stamp(world.broker.now)
    cases = [world.erase(each, request=f"guarded-{each}", received_at=now) for each in ("cleo", "dora")]
    world.settle(ticks=1)
    plans = {said["case_id"]: said["plan_digest"] for said in world.confirmations("awaiting_approval")}
    world.tick(25 * 86_400)
    world.say("deadline.extended", cases[0], reason="many requests")
    world.say("plan.approved", cases[0], plan_digest=plans[cases[0]])
    world.say("plan.rejected", cases[1], plan_digest=plans[cases[1]], reason="another person")
    world.settle()


def _rotated(world: World) -> None:
    """The secret is another, and once more it begins to be."""
    world.rotate_to_the_end()
    world.rotate()


def _operated(world: World) -> None:
    """An operator has one dead letter handled once more, and says of another that it is not to be."""
    world.publish("requests", "expunge.erasure.requested.v1", {"request_id": "wrong"})
    world.publish("requests", "expunge.erasure.requested.v1", {"request_id": "wrong, too"})
    world.publish("requests", "expunge.erasure.requested.v1", {"request_id": "wrong once more"})
    world.settle(ticks=1)
    logs = sorted(world.broker.logs.items())
    found = letters(record for (topic, _), log in logs if topic == "dead-letters" for record in log)
    letter, other, third = found[-3:]
    now, selection = world.broker.now, world.keys.content(letter.id.encode())
    word = Envelope.model_validate(SIGNERS["olga"].event(Event(REPLAYED, OPERATORS, "cli-1", now, {})).data)
    named = {"operator": "olga", "reason": "it was a mistake of ours", "word": word}
    world.broker.send([replayed(Replayed(replay=selection, topic="dead-letters", selection=selection, **named), now)])
    topic, partition, offset = other.lies
    said = Discarded(letter=other.id, topic=topic, partition=partition, offset=offset, **named)
    fates = (letter, Fate.REDRIVEN), (other, Fate.DISCARDED), (third, Fate.REWRITTEN)
    settling = [settled(each, fate, "olga", "it was a mistake of ours", now) for each, fate in fates]
    topic, partition, offset = third.lies
    instead = Rewritten(
        letter=third.id, topic=topic, partition=partition, offset=offset, message=world.keys.content(b"{}"), **named
    )
    waits = Parked(topic=topic, partition=partition, offset=offset + 1, **named)
    world.broker.send([discarded(said, now), rewritten(instead, now), parked(waits, now), *settling])
    world.settle(ticks=1)


def _let_go(world: World) -> None:
    """A case with many assets that is forgotten when it has ended, early by an operator's word, and swept away."""
    for number in range(700):
        world.register(f"frame-{number}", subjects=["finn"])
    world.settle(ticks=4)
    case_id = world.erase("finn", request="let-go", received_at=stamp(world.broker.now))
    world.settle(ticks=4)
    while world.status(case_id) != "completed":
        world.approve_all()
        world.settle(ticks=4)
        world.tick(3600)
    world.there = {("photos", "frame-7")}
    world.say("probe.requested", case_id, sample=600, again_days=[30])
    world.settle(ticks=4)
    world.say("case.forgotten", case_id, reason="the person asked for that, too")
    world.settle(ticks=4)
    world.age()
    world.settle(ticks=4)


def _finds_a_copy(command: dict[str, Any]) -> list[dict[str, Any]]:
    """A system that finds one more asset while it deletes."""
    found = {"asset": "photo-b0-copy", "kind": "object", "system": "photos"}
    results: list[dict[str, Any]] = [{"asset": each["asset"], "claim": "deleted"} for each in command["targets"]]
    for result in results:
        if result["asset"] == "photo-b0":
            result["discovered"] = [found]
    return [receipt(command, results=results)]
