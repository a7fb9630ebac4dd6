"""Writes schemas/ from the models, and examples from a simulated deployment; `--check` compares instead.

schemas/types/<type>.schema.json     JSON Schema (2020-12) of the data of each event type
schemas/examples/<type>.json         one whole CloudEvent of each type
schemas/topics/<topic>.yaml          who writes and reads a topic, what keeps it, what is in it
schemas/asyncapi.yaml                all of it, tied together (AsyncAPI 3)
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, TypeAdapter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain import controls, inlets  # noqa: E402 - the tree is not installed as a package
from expunge.domain.case import messages  # noqa: E402
from expunge.domain.events import stamp  # noqa: E402
from expunge.domain.outlets import LedgerFact, outlet_of  # noqa: E402
from expunge.domain.partition import partition_of  # noqa: E402
from expunge.domain.plan import Chunk  # noqa: E402
from expunge.domain.policy.limits import Of, Per, RateRule, Threshold  # noqa: E402
from expunge.domain.policy.rules import KeptPolicy  # noqa: E402
from expunge.domain.rates import rate_id  # noqa: E402
from expunge.domain.registry import Publisher, Registry, System  # noqa: E402
from expunge.domain.task import Task  # noqa: E402
from expunge.domain.topics import all_topics  # noqa: E402
from expunge.domain.vocabulary import Regime  # noqa: E402
from expunge.ports import Topics  # noqa: E402
from expunge.stages.emissions import policy_part  # noqa: E402
from tests.simulation import PARTITIONS, World, honest, receipt  # noqa: E402

SCHEMAS = ROOT / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTERNAL: dict[str, type[BaseModel]] = {
    **messages.TYPES,
    "expunge.walk.task.v1": Task,
    "expunge.plan.root.v1": messages.Root,
    "expunge.plan.chunk.v1": Chunk,
    "expunge.plan.policy.v1": KeptPolicy,
    "expunge.plan.claims.v1": messages.Receipted,
}
WRITERS = {
    "requests": ("publishers", "intake"),
    "registrations": ("registrars, intake (discovered assets)", "indexer"),
    "openlineage": ("OpenLineage clients", "nobody yet"),
    "controls": ("operators", "intake"),
    "receipts": ("the system's agent", "intake"),
    "assets": ("indexer", "rebuilding"),
    "cases": ("intake, indexer, resolver, coordinator", "coordinator"),
    "tasks": ("coordinator, resolver", "resolver"),
    "plans": ("coordinator, resolver", "rebuilding"),
    "holds": ("coordinator", "intake (to tell the owner)"),
    "suppressions": ("coordinator", "ingesters, intake (to tell the owner)"),
    "commands": ("coordinator", "the system's agent"),
    "confirmations": ("coordinator, intake (rejected)", "the publisher"),
    "ledger": ("coordinator", "notary"),
    "certificates": ("nobody yet", "nobody yet"),
    "dead-letters": ("every role", "operators"),
}


def story() -> World:
    """A deployment in which every event type is said at least once."""
    world = World()
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
    return world


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
    group = world.store.rate(partition_of(key, PARTITIONS), key)
    world.say("plan.approved", key, plan_digest=group.digest)
    world.settle(ticks=1)


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


def _finds_a_copy(command: dict[str, Any]) -> list[dict[str, Any]]:
    """A system that finds one more asset while it deletes."""
    found = {"asset": "photo-b0-copy", "kind": "object", "system": "photos"}
    results: list[dict[str, Any]] = [{"asset": each["asset"], "claim": "deleted"} for each in command["targets"]]
    for result in results:
        if result["asset"] == "photo-b0":
            result["discovered"] = [found]
    return [receipt(command, results=results)]


def types() -> dict[str, type[BaseModel]]:
    """Every event type that is read or written, with the model of its data."""
    found: dict[str, type[BaseModel]] = {kind: model for kind, (_, model) in inlets.REQUESTS.items()}
    found |= {kind: model for kind, (_, model) in controls.CONTROLS.items()}
    found |= {inlets.GRANT: inlets.ConsentGranted, inlets.LIFT: inlets.RestrictionLifted}
    found |= inlets.REGISTRATIONS | {inlets.RECEIPT: inlets.PurgeReceipted} | INTERNAL
    from expunge.domain.case import facts  # noqa: PLC0415 - only its class names are needed
    from expunge.domain.outlets import OUTLETS  # noqa: PLC0415

    names = [str(model.model_fields["fact"].default) for model in facts.ALL]
    return found | OUTLETS | {f"expunge.ledger.{name}.v1": LedgerFact for name in names}


def schema_of(kind: str, model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of the data of a type."""
    body = TypeAdapter(model).json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"urn:expunge:schema:{kind}", **body, "title": kind}


def examples(world: World) -> dict[str, dict[str, Any]]:
    """The first event of each type in the story."""
    found: dict[str, dict[str, Any]] = {}
    for topic in sorted({topic for topic, _ in world.broker.logs}):
        for event in world.broker.events(topic):
            found.setdefault(event["type"], event)
    return found


def topic_files(world: World) -> dict[str, dict[str, Any]]:
    """One description for each topic, per-system and per-publisher topics as a pattern."""
    registry = Registry(
        systems=(System(name="system"),),
        publishers=(Publisher(name="publisher", source="/p", default_regime=Regime.GDPR),),
    )
    said: dict[str, set[str]] = {}
    for topic in {topic for topic, _ in world.broker.logs}:
        said.setdefault(topic.split(".")[0], set()).update(event["type"] for event in world.broker.events(topic))
    said["receipts"] = {inlets.RECEIPT}
    files = {}
    for each in all_topics(registry, 24, 1, 6):
        base = each.name.split(".")[0]
        writers, readers = WRITERS[base]
        name = each.name.replace(".system", ".<system>").replace(".publisher", ".<publisher>")
        files[base] = {
            "topic": name,
            "written_by": writers,
            "read_by": readers,
            "partitions": each.partitions,
            "settings": each.settings(brokers=3),
            "types": sorted(said.get(base, ())),
        }
    return files


def asyncapi(files: dict[str, dict[str, Any]], kinds: list[str]) -> dict[str, Any]:
    """The AsyncAPI document: topics as channels, types as messages."""
    channels = {
        base: {
            "address": "expunge." + each["topic"].replace("<", "{").replace(">", "}"),
            "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in each["types"]},
            "bindings": {
                "kafka": {
                    "partitions": each["partitions"],
                    "topicConfiguration": {"cleanup.policy": [each["settings"]["cleanup.policy"]]},
                }
            },
        }
        | ({"parameters": {_parameter(each["topic"]): {}}} if "<" in each["topic"] else {})
        for base, each in files.items()
    }
    inlet = {"requests", "registrations", "controls", "receipts"}
    operations = {
        f"{'receive' if base in inlet else 'send'}-{base}": {
            "action": "receive" if base in inlet else "send",
            "channel": {"$ref": f"#/channels/{base}"},
        }
        for base, each in files.items()
        if each["types"]
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Expunge",
            "version": "0.1.0",
            "description": "CloudEvents 1.0 in structured JSON mode; the payload schemas below describe `data`.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {
                kind: {
                    "name": kind,
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-07",
                        "schema": {"$ref": f"./types/{kind}.schema.json"},
                    },
                }
                for kind in kinds
            }
        },
    }


def _parameter(topic: str) -> str:
    return topic.split("<")[1].rstrip(">")


def files() -> dict[str, str]:
    """Path below schemas/ -> content."""
    world = story()
    models, found = types(), examples(world)
    missing = sorted(models.keys() - found.keys())
    if missing:
        raise SystemExit(f"the story says no {', '.join(missing)}")
    unknown = sorted(kind for kind in found if kind not in models and outlet_of(kind) is None)
    if unknown:
        raise SystemExit(f"no schema for {', '.join(unknown)}")
    out = {f"types/{kind}.schema.json": _json(schema_of(kind, model)) for kind, model in models.items()}
    out |= {f"examples/{kind}.json": _json(found[kind]) for kind in models}
    topics = topic_files(world)
    out |= {f"topics/{base}.yaml": yaml.safe_dump(each, sort_keys=False) for base, each in topics.items()}
    out["asyncapi.yaml"] = yaml.safe_dump(asyncapi(topics, sorted(models)), sort_keys=False, width=120)
    return out


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write, or with --check compare."""
    wanted = files()
    present = {str(path.relative_to(SCHEMAS)): path.read_text() for path in SCHEMAS.rglob("*.*") if path.is_file()}
    if "--check" in sys.argv:
        differing = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        if differing:
            print(f"schemas/ is not what the code says ({', '.join(differing[:5])} ...): run `make fix`")
            return 1
        print(f"schemas: {len(wanted)} files agree with the code")
        return 0
    for name in present.keys() - wanted.keys():
        (SCHEMAS / name).unlink()
    for name, content in wanted.items():
        path = SCHEMAS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    print(f"schemas: {len(wanted)} files written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
