"""Code and schemas hold each other: what is said fits its model, examples fit their schemas."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from expunge.domain.aggregates.case.deadlines import Overdue
from expunge.wire import ledger
from expunge.wire.outlets import check
from tools.story import story

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "schemas/examples").glob("*.json"))


SCHEMAS = {
    path.name.removesuffix(".schema.json"): path
    for path in sorted([*(ROOT / "schemas/public").iterdir(), *(ROOT / "schemas/internal").iterdir()])
}


def validator(path: Path) -> Any:
    """As a reader makes it from the files, references and all."""
    schema = json.loads(path.read_text())
    return jsonschema_rs.validator_for(schema, base_uri=path.as_uri(), validate_formats=True)


def test_every_example_fits_its_own_schema_and_no_other() -> None:
    """All facts had the schema of any fact, and all milestones that of any: they proved nothing."""
    events = {path.stem: json.loads(path.read_text()) for path in EXAMPLES}
    for kind, path in SCHEMAS.items():
        mine = validator(path)
        mine.validate(events[kind])
        others = {of: event for of, event in events.items() if of != kind}
        assert not [of for of, event in others.items() if mine.is_valid(event)]


def test_a_schema_is_about_its_type_and_what_is_common_stands_once() -> None:
    files = [path for path in (ROOT / "schemas").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 720_000
    facts = [path for kind, path in SCHEMAS.items() if kind.startswith("expunge.ledger.")]
    lengths = sorted(len(path.read_text().splitlines()) for path in facts)
    assert lengths[len(lengths) // 2] <= 60
    dialects = {json.loads(path.read_text())["$schema"] for path in files if path.name.endswith(".schema.json")}
    assert dialects == {"https://json-schema.org/draft/2020-12/schema"}


def test_a_fact_that_an_earlier_version_wrote_is_read() -> None:
    """Its body repeated what the type says."""
    assert ledger.read("expunge.ledger.overdue.v1", {"fact": "overdue"}) == Overdue()


def test_nothing_is_emitted_that_the_schemas_lack() -> None:
    world = story()
    outlets = ("confirmations", "commands", "ledger", "assets", "dead-letters")
    topics = [topic for topic, _ in world.broker.logs if topic.split(".")[0] in outlets]
    kinds = set()
    for topic in set(topics):
        for event in (*world.broker.events(topic), *world.broker.whole_events(topic)):
            check(event["type"], event["data"])
            kinds.add(event["type"])
    assert len(kinds) > 20


def test_every_type_has_a_schema_an_example_and_a_topic() -> None:
    types = set(SCHEMAS)
    assert types == {path.stem for path in EXAMPLES}
    topics = [yaml.safe_load(path.read_text()) for path in (ROOT / "schemas/topics").iterdir()]
    assert types == {kind for topic in topics for kind in topic["types"]}


def test_the_asyncapi_document_refers_only_to_what_is_there() -> None:
    document = yaml.safe_load((ROOT / "schemas/asyncapi.yaml").read_text())
    for name, message in document["components"]["messages"].items():
        reference = message["payload"]["schema"]["$ref"]
        assert (ROOT / "schemas" / reference).is_file(), name
    for channel in document["channels"].values():
        for message in channel["messages"].values():
            assert message["$ref"].rsplit("/", 1)[1] in document["components"]["messages"]


def test_docker_compose_has_the_images_and_settings_of_devstack() -> None:
    settings = tomllib.loads((ROOT / "tools/devstack/settings.toml").read_text())
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    kafka, redis = services["kafka"], services["redis"]
    assert (kafka["image"], redis["image"]) == (settings["kafka"]["image"], settings["redis"]["image"])
    for key, value in settings["kafka"]["settings"].items():
        assert kafka["environment"]["KAFKA_" + key.upper().replace(".", "_")] == value
    for key, value in settings["redis"]["settings"].items():
        assert f"--{key} {value}" in redis["command"]
    for service in (kafka, redis):
        assert {"healthcheck", "volumes", "ports"} <= service.keys()
    ports = settings["instances"]["demo"]
    assert kafka["ports"] == [f"127.0.0.1:{ports['kafka']}:{ports['kafka']}"]
    assert redis["ports"] == [f"127.0.0.1:{ports['redis']}:6379"]
