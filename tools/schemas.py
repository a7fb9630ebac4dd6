"""Writes schemas/ from the models, and examples from a simulated deployment; `--check` compares instead.

schemas/types/<type>.schema.json     JSON Schema (2020-12) of the data of each event type
schemas/examples/<type>.json         one whole CloudEvent of each type
schemas/topics/<topic>.yaml          who writes and reads a topic, what keeps it, what is in it
schemas/asyncapi.yaml                all of it, tied together (AsyncAPI 3)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain import controls, inlets  # noqa: E402 - the tree is not installed as a package
from expunge.domain.case import messages  # noqa: E402
from expunge.domain.outlets import LedgerFact, outlet_of  # noqa: E402
from expunge.domain.plan import Chunk  # noqa: E402
from expunge.domain.policy.rules import KeptPolicy  # noqa: E402
from expunge.domain.registry import Publisher, Registry, System  # noqa: E402
from expunge.domain.task import Task  # noqa: E402
from expunge.domain.topics import all_topics  # noqa: E402
from expunge.domain.vocabulary import Regime  # noqa: E402
from tests.simulation import World  # noqa: E402
from tools.story import story  # noqa: E402

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
    "registrations": ("registrars, resolver (discovered assets)", "indexer"),
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


def types() -> dict[str, type[BaseModel]]:
    """Every event type that is read or written, with the model of its data."""
    found: dict[str, type[BaseModel]] = {kind: model for kind, (_, model) in inlets.REQUESTS.items()}
    found |= {kind: model for kind, (_, model) in controls.CONTROLS.items()}
    found |= {inlets.GRANT: inlets.ConsentGranted, inlets.LIFT: inlets.RestrictionLifted}
    found |= inlets.REGISTRATIONS | {inlets.RECEIPT: inlets.PurgeReceipted} | INTERNAL
    from expunge.domain.case import facts  # noqa: PLC0415 - only its class names are needed
    from expunge.domain.outlets import OUTLETS  # noqa: PLC0415
    from expunge.domain.retraining import facts as retraining  # noqa: PLC0415

    names = [str(model.model_fields["fact"].default) for model in (*facts.ALL, *retraining.ALL)]
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
