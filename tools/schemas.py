"""Writes schemas/ from the models, and examples from a simulated deployment; `--check` compares instead.

schemas/public/<type>.schema.json    JSON Schema (2020-12) of the CloudEvents of each type that others write or read
schemas/internal/<type>.schema.json  the same of what Expunge says to itself
schemas/reports/<name>.schema.json    the same of what is handed over: certificates (the statement), figures of reports
schemas/common/<name>.schema.json    what several of them have in common
schemas/examples/<type>.json         one CloudEvent of each type
schemas/topics/<topic>.yaml          who writes and reads a topic, what keeps it, what is in it
schemas/asyncapi.yaml                all of it, tied together (AsyncAPI 3)
"""

from __future__ import annotations

import base64
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, TypeAdapter

from expunge.wire.cases.case import Receipted, Root
from expunge.wire.cases.table import TYPES
from expunge.wire.probes import ANSWERED, ProbeAnswered
from expunge.wire.receipts import RECEIPT, PurgeReceipted
from expunge.wire.registrations import REGISTRATIONS
from expunge.wire.requests import GRANT, LIFT, REQUESTS, ConsentGranted, RestrictionLifted

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.events import CloudEvent  # noqa: E402
from expunge.domain.evidence.order import Order  # noqa: E402
from expunge.domain.evidence.period import CcpaMetrics, Period  # noqa: E402
from expunge.domain.planning.chunks import Chunk  # noqa: E402
from expunge.domain.planning.policy.rules import KeptPolicy  # noqa: E402
from expunge.domain.registry import Publisher, Registry, System  # noqa: E402
from expunge.domain.signatures import PAYLOAD_TYPE, Envelope  # noqa: E402
from expunge.domain.signatures import SIGNED as SIGNED_TYPE  # noqa: E402
from expunge.domain.topics import all_topics  # noqa: E402
from expunge.domain.vocabulary import Regime  # noqa: E402
from expunge.wire import controls  # noqa: E402 - the tree is not installed as a package
from expunge.wire.confirmations import CaseConfirmed  # noqa: E402
from expunge.wire.forgotten import FORGOTTEN, ChunksForgotten  # noqa: E402
from expunge.wire.kept import KEPT, Kept  # noqa: E402
from expunge.wire.ledger import LedgerEntry  # noqa: E402
from expunge.wire.outlets import OUTLETS  # noqa: E402
from expunge.wire.secrets import SECRETS, SecretsUsed  # noqa: E402
from expunge.wire.statements import Statement  # noqa: E402
from expunge.wire.tasks import Task  # noqa: E402
from tests.simulation import World  # noqa: E402
from tools.story import story  # noqa: E402

SCHEMAS = ROOT / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
EVENT, SIGNED = "Event", "SignedEvent"
LOCAL = "#/$defs/"
INTERNAL: dict[str, type[BaseModel]] = {
    **TYPES,
    "expunge.walk.task.v1": Task,
    "expunge.plan.root.v1": Root,
    "expunge.plan.chunk.v1": Chunk,
    FORGOTTEN: ChunksForgotten,
    "expunge.plan.policy.v1": KeptPolicy,
    "expunge.plan.claims.v1": Receipted,
    KEPT: Kept,
    SECRETS: SecretsUsed,
}


def types() -> dict[str, type[BaseModel]]:
    """Every event type that is read or written, with the model of its data."""
    found: dict[str, type[BaseModel]] = {kind: model for kind, (_, model) in REQUESTS.items()}
    found |= {kind: model for kind, (_, model) in controls.CONTROLS.items()}
    found |= {GRANT: ConsentGranted, LIFT: RestrictionLifted}
    found |= REGISTRATIONS | {RECEIPT: PurgeReceipted, ANSWERED: ProbeAnswered} | INTERNAL
    return found | OUTLETS


BASES: tuple[type[BaseModel], ...] = (LedgerEntry, CaseConfirmed)
"""What many types say alike stands in one file: each of them adds what is its own."""


class Common:
    """Definitions that several types share: each is a file of its own, to which they refer."""

    def __init__(self, models: dict[str, type[BaseModel]]) -> None:
        self._models = models
        bodies: dict[object, Any] = {model: _schema(model) for model in {*models.values(), *BASES}}
        self._bodies, self._inner = bodies, {model: body.pop("$defs", {}) for model, body in bodies.items()}
        said: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for inner in self._inner.values():
            for name, part in inner.items():
                said[name].append(part)
        self._parts = {name: parts[0] for name, parts in said.items()}
        self._shared = {name for name, (first, *more) in said.items() if more and all(each == first for each in more)}
        # A part that refers to one that is not shared stays with it, in the file that has both.
        while alone := {name for name in self._shared if not _references(self._parts[name]) <= self._shared}:
            self._shared -= alone

    def files(self) -> dict[str, dict[str, Any]]:
        """Each shared definition by its name."""
        parts: dict[str, dict[str, Any]] = {name: self._parts[name] for name in self._shared}
        parts |= {base.__name__: _open(self._bodies[base]) for base in BASES} | {EVENT: _envelope(), SIGNED: _signed()}
        return {
            name: {"$schema": DIALECT, "title": name, **self._referring(part, "./")}
            for name, part in sorted(parts.items())
        }

    def schema_of(self, kind: str) -> dict[str, Any]:
        """The schema of the events of a type."""
        model = self._models[kind]
        data, inner = self._data(model), self._inner[model]
        own = self._needed(data, inner)
        schema = {
            "allOf": [{"$ref": f"../common/{EVENT}.schema.json"}],
            "properties": {"type": {"const": kind}, "data": data},
            "required": ["type", "data"],
            **({"$defs": {name: inner[name] for name in sorted(own)}} if own else {}),
        }
        return {"$schema": DIALECT, "title": kind, **self._referring(schema, "../common/")}

    def _data(self, model: type[BaseModel]) -> dict[str, Any]:
        """What the data of a type is, by what it adds to a base, where it has one."""
        body = self._bodies[model]
        base = next((each for each in model.__mro__ if each in BASES), None)
        if base is None:
            return dict(body)
        known = base.model_fields
        own = [name for name, field in model.model_fields.items() if repr(field) != repr(known.get(name))]
        needed = [name for name in own if name in body.get("required", ())]
        added: dict[str, Any] = {"properties": {name: body["properties"][name] for name in own}} if own else {}
        added |= {"required": needed} if needed else {}
        says = {"description": body["description"]} if "description" in body else {}
        return {**says, "$ref": f"../common/{base.__name__}.schema.json", **added, "unevaluatedProperties": False}

    def _needed(self, part: Any, inner: dict[str, Any]) -> set[str]:
        """The definitions that a part needs and that are no file of their own."""
        found: set[str] = set()
        todo = _references(part) - self._shared
        while todo:
            found |= todo
            todo = {name for each in todo for name in _references(inner[each])} - self._shared - found
        return found

    def _referring(self, part: Any, path: str) -> Any:
        """A part of a schema whose references lead to the files of what is shared."""
        if isinstance(part, list):
            return [self._referring(each, path) for each in part]
        if not isinstance(part, dict):
            return part
        name = _referred(part)
        reference = {"$ref": f"{path}{name}.schema.json"} if name in self._shared else {}
        return {key: self._referring(each, path) for key, each in part.items()} | reference


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of a model, without titles that say what the names of fields say."""
    return cast("dict[str, Any]", _untitled(TypeAdapter(model).json_schema(mode="validation")))


def _untitled(part: Any) -> Any:
    if isinstance(part, list):
        return [_untitled(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: _untitled(each) for key, each in part.items() if not (key == "title" and isinstance(each, str))}


def _open(body: dict[str, Any]) -> dict[str, Any]:
    """A base: whoever refers to it adds fields of its own, and says that there are no others."""
    return {key: part for key, part in body.items() if key != "additionalProperties"}


def _envelope() -> dict[str, Any]:
    body = _schema(CloudEvent)
    plain = {name: part for name, part in body["properties"].items() if name not in {"type", "data"}}
    return {
        "description": "The envelope of every message: a CloudEvent 1.0 in structured JSON mode.",
        "type": "object",
        "properties": plain | {"specversion": {"const": "1.0"}, "time": {"type": "string", "format": "date-time"}},
        "required": [name for name in body["required"] if name != "type"],
    }


def _signed() -> dict[str, Any]:
    body = _envelope()
    return {
        "description": "Any event of an inlet, signed: the payload is the complete plain event (docs/evidence.md).",
        "type": "object",
        "properties": body["properties"] | {"type": {"type": "string", "pattern": r"\.dsse\.v1$"}, "data": _dsse()},
        "required": [*body["required"], "type", "data"],
    }


def _dsse() -> dict[str, Any]:
    body = _schema(Envelope)
    inner = body.pop("$defs")
    body["properties"]["payloadType"] = {"const": PAYLOAD_TYPE}
    body["properties"]["signatures"]["items"] = inner["Signature"]
    return body


def _referred(part: dict[str, Any]) -> str:
    reference = str(part.get("$ref", ""))
    return reference.removeprefix(LOCAL) if reference.startswith(LOCAL) else ""


def _references(part: Any) -> set[str]:
    """The names of definitions that a part of a schema refers to."""
    if isinstance(part, list):
        return {name for each in part for name in _references(each)}
    if not isinstance(part, dict):
        return set()
    found = {name for each in part.values() for name in _references(each)}
    return found | ({name} if (name := _referred(part)) else set())


def folder(kind: str) -> str:
    """Whether others write or read a type, or only Expunge itself does."""
    return "internal" if kind in INTERNAL or kind == "expunge.asset.stated.v1" else "public"


def examples(world: World) -> dict[str, dict[str, Any]]:
    """The first event of each type in the story."""
    found: dict[str, dict[str, Any]] = {}
    for topic in sorted({topic for topic, _ in world.broker.logs}):
        for event in _events(world, topic):
            found.setdefault(event["type"], event)
    return found


def _events(world: World, topic: str) -> Iterator[dict[str, Any]]:
    """What is said on a topic; of what is signed, that which is."""
    for event in (*world.broker.events(topic), *world.broker.whole_events(topic)):
        is_signed = event["type"].endswith(SIGNED_TYPE)
        yield json.loads(base64.b64decode(event["data"]["payload"])) if is_signed else event


def topic_files(world: World) -> dict[str, dict[str, Any]]:
    """One description for each topic, per-system and per-publisher topics as a pattern."""
    registry = Registry(
        systems=(System(name="system", probe_key="00" * 32),),
        publishers=(Publisher(name="publisher", source="/p", default_regime=Regime.GDPR),),
    )
    said: dict[str, set[str]] = {}
    for topic in {topic for topic, _ in world.broker.logs}:
        said.setdefault(topic.split(".")[0], set()).update(event["type"] for event in _events(world, topic))
    said["receipts"] = {RECEIPT}
    files = {}
    for each in all_topics(registry, 24, 1, 6):
        base = each.name.split(".")[0]
        name = each.name.replace(".system", ".<system>").replace(".publisher", ".<publisher>")
        files[base] = {
            "topic": name,
            "written_by": each.writers,
            "read_by": each.readers or each.role,
            "partitions": each.partitions,
            "settings": each.created_with(brokers=3),
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
    inlet = {"requests", "registrations", "controls", "receipts", "findings"}
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
            "description": "CloudEvents 1.0 in structured JSON mode; the schemas below describe whole events.",
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
                        "schemaFormat": "application/schema+json;version=2020-12",
                        "schema": {"$ref": f"./{folder(kind)}/{kind}.schema.json"},
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
    unknown = sorted(kind for kind in found if kind not in models)
    if unknown:
        raise SystemExit(f"no schema for {', '.join(unknown)}")
    common = Common(models)
    out = {f"common/{name}.schema.json": _json(part) for name, part in common.files().items()}
    out |= {f"{folder(kind)}/{kind}.schema.json": _json(common.schema_of(kind)) for kind in models}
    out |= {f"examples/{kind}.json": _json(found[kind]) for kind in models}
    out |= {f"reports/{name}.schema.json": _json(_whole(name, model)) for name, model in REPORTS.items()}
    topics = topic_files(world)
    out |= {f"topics/{base}.yaml": yaml.safe_dump(each, sort_keys=False) for base, each in topics.items()}
    out["asyncapi.yaml"] = yaml.safe_dump(asyncapi(topics, sorted(models)), sort_keys=False, width=120)
    return out


REPORTS: dict[str, type[BaseModel]] = {
    "certificate": Statement,
    "period": Period,
    "ccpa-metrics": CcpaMetrics,
    "order": Order,
}
"""What is handed over to people, by the name of its file."""


def _whole(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """A schema that stands alone."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://expunge.dev/schemas/reports/{name}.schema.json",
        **model.model_json_schema(mode="validation" if model is Statement else "serialization"),
    }


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
