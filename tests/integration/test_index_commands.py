"""`expunge index`, `keys` and the suppression filter on a real Kafka and a real Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expunge.adapters.kafka.producer import KafkaSender
from expunge.cli.app import app
from expunge.errors import ConfigurationError, Unavailable
from expunge.suppression import Filter
from tests.deployment import Deployment, deployed, until
from tests.servers import ROOT, Servers


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("index") / "d", real.kafka, real.redis) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        yield deployment


@pytest.fixture(autouse=True)
def configured(world: Deployment) -> None:
    """Commands are about this deployment, also after a test that made another."""
    os.environ["EXPUNGE_CONFIG"] = str(world.config)


def expunge(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=text)


def documents(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


DATED = "asset,kind,system,subjects,collected_at"
CSV = """\
asset,kind,system,subjects,parents,purposes,collected_at,attributes.bucket
files:a.jpg,object,files,user_id:ann,,training|marketing,2026-01-01T00:00:00Z,eu
"files:b, and c.jpg",object,files,user_id:ann|user_id:bob,,training,2026-01-01T00:00:00Z,
files:v.npy,embedding,files,,files:a.jpg|files:never-said.jpg,,,
files:lost.bin,object,nobody,,,,,
"""


def test_a_csv_file_is_registered_and_looked_up(world: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "assets.csv"
    file.write_text(CSV)
    result = expunge("index", "import", str(file))
    read = "the indexers have read all of it, and nothing became a dead letter\n"
    assert (result.exit_code, result.stdout) == (0, "4 registrations published\n" + read)
    assert not list(tmp_path.glob("*.imported"))
    world.await_indexed()
    (found,) = documents(expunge("index", "lookup", "files:a.jpg", "--json"))
    assert found["children"] == ["files:v.npy"]
    assert (found["purposes"], found["collected_at"]) == (["marketing", "training"], "2026-01-01T00:00:00+00:00")
    (derived,) = documents(expunge("index", "lookup", "files:v.npy", "--json"))
    assert set(derived["parents"]) == {"files:a.jpg", "an asset that nobody has registered"}
    drawn = expunge("index", "lookup", "files:v.npy").stdout
    assert "made from (as far as kept)" in drawn
    chart = expunge("index", "lookup", "files:a.jpg", "--mermaid").stdout
    assert chart.startswith("flowchart LR")
    assert "n0 --> n1" in chart
    hers = documents(expunge("index", "lookup", "--subject", "-", "--json", text="user_id:ann\n"))
    assert {each["asset"] for each in hers} == {"files:a.jpg", "files:b, and c.jpg"}
    assert expunge("index", "lookup", "--subject", "-", text="user_id:zoe\n").exit_code == 1
    assert expunge("index", "lookup", "files:unknown").exit_code == 1


@pytest.mark.usefixtures("world")
def test_an_identity_is_not_taken_from_the_command_line() -> None:
    result = expunge("index", "lookup", "--subject", "user_id:ann")
    assert isinstance(result.exception, ConfigurationError)
    assert "ann" not in str(result.exception)


def test_stats_and_check_say_what_is_there_and_what_is_wrong(world: Deployment, tmp_path: Path) -> None:
    (stats,) = documents(expunge("index", "stats", "--json"))
    assert (stats["assets"], stats["edges"], stats["subjects"]) == (4, 2, 2)
    assert (stats["unowned"], stats["unproven_origin"], stats["advice"]) == (1, 3, "")
    unproven = documents(expunge("index", "list", "--unproven", "--json"))
    assert {each["asset"] for each in unproven} == {"files:a.jpg", "files:b, and c.jpg", "files:lost.bin"}
    result = expunge("index", "check", "--json")
    (before,) = documents(result)
    assert result.exit_code == 1
    assert (before["disagreeing"], before["dangling"], before["unowned"]) == (0, 1, 1)
    assert "dangling" in expunge("index", "check").stdout
    file = tmp_path / "more.jsonl"
    file.write_text(json.dumps({"asset": "files:a.jpg", "kind": "record", "system": "files"}) + "\n")
    assert expunge("index", "import", str(file)).exit_code == 0
    world.await_indexed()
    (after,) = documents(expunge("index", "check", "--json"))
    assert after["disagreeing"] == 1
    assert after["checksum"] != before["checksum"]


def test_the_checksum_does_not_depend_on_the_order_of_statements(real: Servers, tmp_path: Path) -> None:
    lines = [
        json.dumps({"asset": f"files:{n}", "kind": "object", "system": "files", "parents": [f"files:{n % 7}"]})
        for n in range(300)
    ]
    sums = []
    for number, order in enumerate((lines, lines[::-1])):
        with deployed(tmp_path / f"order{number}", real.kafka, real.redis) as other:
            file = tmp_path / f"{number}.jsonl"
            file.write_text("\n".join(order))
            other.start("indexer", "run", "--role", "indexer")
            assert expunge("index", "import", str(file)).exit_code == 0
            other.await_indexed()
            sums += [each["checksum"] for each in documents(expunge("index", "check", "--json"))]
    assert sums[0] == sums[1]


@pytest.mark.usefixtures("world")
def test_an_interrupted_import_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "many.jsonl"
    line = '{{"asset": "files:many-{}", "kind": "object", "system": "files"}}\n'
    bad = '{"asset": "files:of-no-system", "kind": "object"}\n'
    file.write_text(bad + "".join(line.format(number) for number in range(12_000)))
    publish, calls = KafkaSender.publish, iter([True, False])

    def once(self: KafkaSender, outgoing: Any) -> None:
        if not next(calls, True):
            raise Unavailable("the broker has gone")
        publish(self, outgoing)

    monkeypatch.setattr(KafkaSender, "publish", once)
    assert isinstance(expunge("index", "import", str(file), "--skip-bad").exception, Unavailable)
    assert json.loads(file.with_name("many.jsonl.imported").read_text())["lines"] == 10_001
    again = expunge("index", "import", str(file), "--skip-bad", "--wait", "0")
    assert "going on behind line 10,001" in " ".join(again.stdout.split())
    assert "2,000 registrations published" in again.stdout
    left_out = file.with_name("many.jsonl.bad")  # it was gone when the import had gone on behind that line
    assert (left_out.read_text(), left_out.stat().st_mode & 0o777) == (bad, 0o600)
    file.write_text("".join(line.format(number) for number in range(11_000)))
    done = expunge("index", "import", str(file), "--wait", "0")  # another file by now: from the start
    assert "11,000 registrations published" in done.stdout
    assert not file.with_name("many.jsonl.imported").exists()


def test_several_ids_of_one_person_stand_in_one_cell(world: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    row = "files:one-person,object,files,user_id:una = email:una@example.com,2026-01-01T00:00:00Z"
    file.write_text(f"{DATED}\n{row}\n")
    assert expunge("index", "import", str(file), "--wait", "0").exit_code == 0
    world.await_indexed()
    found = json.loads(expunge("index", "lookup", "files:one-person", "--json").stdout)
    assert not found["shared"]


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("a.csv", "asset,colour\nx,red\n", ":1: no field colour"),
        ("b.csv", "kind,system\nobject,files\n", ":1: no column asset"),
        ("c.csv", "asset,kind,system\nx,object\n", ":2: 2 cells under 3 columns"),
        ("d.csv", "asset,kind,system\nx,banana,files\n", ":2: bad_field: kind"),
        ("g.csv", "asset,kind,system,shared\nx,object,files,yes\n", ":2: shared is true or false"),
        ("h.csv", "asset,kind,system\nx,object,files\ry,object,files\n", ":2: 6 cells under 3 columns"),
        ("e.jsonl", '{"asset": "x"', ":1: not JSON"),
        ("f.jsonl", '{"asset": "x", "kind": "object"}', ":1: missing_field: system"),
        ("i.jsonl", '{"asset": "x", "kind": "object", "system": "files", "subject": []}', ":1: unknown_field: subject"),
        ("j.jsonl", '{"asset": "x", "kind": "object", "kind": "model", "system": "files"}', ":1: a key is said twice"),
        ("k.jsonl", "[]", ":1: no object"),
        ("l.csv", "asset,kind,system,subjects\nx,object,files,user_id:ann\n", ":2: missing_field: collected_at"),
        ("m.csv", f"{DATED}\nx,object,files,email:no-address,2026-01-01T00:00:00Z\n", ":2: bad_identity"),
        ("n.csv", f"{DATED}\nx,object,files,phone:1,2026-01-01T00:00:00Z\n", ":2: undeclared_namespace"),
        ("o.csv", "asset,kind\rx,object\r", ":1: not CSV"),
        (
            "p.csv",
            "asset,asset,kind,system\nx,y,object,files\n",
            ":1: no column asset or holding, or one of them twice",
        ),
        ("q.jsonl", '{"holding": "users.db", "system": "files", "kind": "record"}', ":1: bad_field"),
    ],
)
@pytest.mark.usefixtures("world")
def test_a_wrong_file_says_where(tmp_path: Path, name: str, content: str, where: str) -> None:
    (tmp_path / name).write_text(content)
    result = expunge("index", "import", str(tmp_path / name))
    assert result.exit_code != 0
    said = result.stderr if isinstance(result.exception, SystemExit) else str(result.exception)
    assert where in said.replace("\n", "")


def test_everything_that_is_wrong_is_said_at_once_and_nothing_is_published(world: Deployment, tmp_path: Path) -> None:
    """edges 17: one wrong row of 500 made all of them a dead letter, and the command said that all was well."""
    file = tmp_path / "some.csv"
    row = "files:some-{0}.jpg,object,files,{1},2026-01-01T00:00:00Z\n"
    people = [f"email:p{number}@example.com" for number in range(500)]
    people[250], people[400] = "email:not-an-address", "emial:p@example.com"
    file.write_text(DATED + "\n" + "".join(row.format(*each) for each in enumerate(people)))
    before = world.installation.topics.end_offsets()
    result = expunge("index", "import", str(file))
    assert result.exit_code == 1
    assert f"{file}:252: bad_identity" in result.stderr
    assert f"{file}:402: undeclared_namespace" in result.stderr
    assert world.installation.topics.end_offsets() == before
    done = expunge("index", "import", str(file), "--skip-bad")
    assert "498 registrations published" in done.stdout
    assert "nothing became a dead letter" in done.stdout
    assert file.with_name("some.csv.bad").read_text() == row.format(250, people[250]) + row.format(400, people[400])
    hers = documents(expunge("index", "lookup", "--subject", "-", "--json", text="email:p7@example.com\n"))
    assert {each["asset"] for each in hers} == {"files:some-7.jpg"}


def test_holdings_are_imported_declared_and_listed(world: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "holdings.jsonl"
    held = {"holding": "crm.db", "system": "ml", "kind": "record", "namespaces": ["user_id"]}
    asset = {"asset": "files:beside.jpg", "kind": "object", "system": "files"}
    file.write_text(json.dumps(asset) + "\n" + json.dumps(held) + "\n" + json.dumps(asset) + "\n")
    assert "3 registrations published" in expunge("index", "import", str(file)).stdout
    declared = expunge("holding", "declare", "logs", "--system", "ml", "--kind", "log", "--namespace", "*")
    assert declared.exit_code == 0, declared.output
    world.await_indexed()
    (found,) = [json.loads(line) for line in expunge("holding", "list", "--json").stdout.splitlines()]
    assert {(each["holding"], *each["namespaces"]) for each in found} == {("crm.db", "user_id"), ("logs", "*")}
    assert "crm.db" in expunge("holding", "list").stdout
    for wrong, why in (
        (("x", "--system", "nobody", "--namespace", "*"), "system nobody is not declared"),
        (("x", "--system", "ml"), "--namespace, --data-source, or both"),
        (("x", "--system", "ml", "--namespace", "fax"), "undeclared_namespace"),
    ):
        assert why in str(expunge("holding", "declare", *wrong).exception)
    for holding in ("crm.db", "logs"):  # nobody answers for them here
        world.publish("registrations", "expunge.holding.withdrawn.v1", {"holding": holding, "system": "ml"})
    world.await_indexed()
    assert "no holdings are declared" in expunge("holding", "list").stdout


def test_ingesters_ask_the_filter(world: Deployment, tmp_path: Path) -> None:
    key = expunge("keys", "show", "suppression").stdout.strip()
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
    world.await_milestone(world.erase("kim", "forget-kim"))
    with Filter(world.kafka, key, namespaces={"user_id": "exact"}, prefix=world.prefix) as suppressed:

        def refused() -> bool:
            suppressed.refresh()
            return not suppressed.purposes_left("user_id", "kim", ["ads"], early)

        until(refused, 20, world)
        assert suppressed.purposes_left("user_id", "kim", ["ads"], late) == ["ads"]
        assert suppressed.purposes_left("user_id", "lee", ["ads"], early) == ["ads"]
        with pytest.raises(ValueError, match="namespace"):
            suppressed.purposes_left("e-mail", "kim", ["ads"], early)
    lines = [
        {"user_id": "kim", "collected_at": "2026-01-01T00:00:00Z", "purposes": ["ads"]},
        {"user_id": "lee", "collected_at": "2026-01-01T00:00:00Z", "purposes": ["ads"]},
    ]
    (tmp_path / "key").write_text(key)
    kept = subprocess.run(
        [sys.executable, str(ROOT / "examples/ingest.py"), world.kafka, str(tmp_path / "key"), world.prefix],
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(kept.stdout)["user_id"] == "lee"
    assert "1 of 2 kept" in kept.stderr


def test_what_is_held_about_a_person_is_told_with_where_and_until_when(world: Deployment) -> None:
    file = world.directory / "files" / "held.bin"
    file.write_bytes(b"x")
    person = {"namespace": "user_id", "id": "hilda"}
    world.register([{"asset": f"files:{name}", "subjects": [person]} for name in ("held.bin", "gone-before.bin")])
    world.await_indexed()
    (before,) = documents(expunge("subject", "show", "-", "--json", text="user_id:hilda\n"))
    assert [(each["asset"], each["purged"]) for each in before["assets"]] == [
        ("files:gone-before.bin", False),
        ("files:held.bin", False),
    ]
    assert (before["cases"], before["suppressions"]) == ([], [])
    case_id = world.erase("hilda", "r-99")
    world.await_milestone(case_id)
    (after,) = documents(expunge("subject", "show", "-", "--json", text="user_id:hilda\n"))
    assert {each["asset"]: each["purged"] for each in after["assets"]}["files:held.bin"]
    (case,) = after["cases"]
    assert (case["case_id"], case["request_id"], case["status"]) == (case_id, "r-99", "completed")
    assert [each["purpose"] for each in after["suppressions"]] == ["every purpose"]
    held = {each["topic"].removeprefix(world.prefix): each for each in after["topics"]}
    assert held["requests"]["until"] == "up to 15 days after it was said"
    assert held["plans"]["until"].startswith("the case is forgotten")
    assert {"receipts.files", "commands.files"} <= held.keys()
    assert not {"ledger", "confirmations.app"} & held.keys()
    shown = expunge("subject", "show", "-", text="user_id:hilda\n").stdout
    assert "files:held.bin" in shown
    assert "hilda" not in shown
    nobody = expunge("subject", "show", "-", text="user_id:nobody-at-all\n")
    assert (nobody.exit_code, "no case is about this person" in nobody.stdout) == (0, True)
    assert isinstance(expunge("subject", "show", "user_id:hilda").exception, ConfigurationError)
    assert isinstance(expunge("subject", "show", "-", text="shoe_size:47\n").exception, ConfigurationError)
