"""Creating topics and starting roles: what is missing or wrong is refused with the mend.

See rules "append time" and "partitions" and "empty Redis".
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from expunge.adapters.redis.server import FORMAT
from expunge.adapters.system import SystemClock
from expunge.domain.registry import Namespace, Publisher, Registry, System
from expunge.domain.vocabulary import Regime
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers


@pytest.fixture
def world(real: Servers, tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "d", real.kafka, real.redis) as deployment:
        yield deployment


def expunge(world: Deployment, *command: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "expunge", *command],
        check=False,
        capture_output=True,
        text=True,
        input=text,
        env=os.environ | {"EXPUNGE_CONFIG": str(world.config), "COLUMNS": "150"} | environment,
    )


def test_every_topic_keeps_the_brokers_time(world: Deployment) -> None:
    topics = world.installation.topics
    settings = topics.configs([world.prefix + topic.name for topic in world.installation.settings.topics()])
    assert len(settings) == len(world.installation.settings.topics())
    assert {each["message.timestamp.type"] for each in settings.values()} == {"LogAppendTime"}
    assert settings[world.prefix + "ledger"]["retention.ms"] == "-1"
    assert settings[world.prefix + "plans"]["cleanup.policy"] == "compact"


def test_creating_again_changes_nothing(world: Deployment) -> None:
    done = expunge(world, "topics", "create")
    assert (done.returncode, done.stdout.split()[0]) == (0, "0")


def test_a_role_refuses_another_number_of_partitions(world: Deployment) -> None:
    done = expunge(world, "run", EXPUNGE_KAFKA__PARTITIONS="8")
    assert done.returncode == 2
    assert "has 4 partitions, configuration says 8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_role_refuses_another_secret(world: Deployment, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("o" * 40)
    shared = expunge(world, "run", "--role", "intake", EXPUNGE_SECRET_FILE=str(tmp_path / "other"))
    assert (shared.returncode, f"chmod 600 {tmp_path / 'other'}" in shared.stderr) == (2, True)
    (tmp_path / "other").chmod(0o600)
    done = expunge(world, "run", "--role", "intake", EXPUNGE_SECRET_FILE=str(tmp_path / "other"))
    assert (done.returncode, "another secret" in done.stderr) == (2, True)


def test_a_role_refuses_an_index_of_another_layout(world: Deployment) -> None:
    server = world.installation.server
    server.client.hset(server.key(0, "meta"), "format", "1")
    done = expunge(world, "run", "--role", "intake")
    server.client.hset(server.key(0, "meta"), "format", FORMAT)
    assert (done.returncode, "layout 1" in done.stderr) == (2, True)


def test_an_empty_redis_beside_full_topics_is_refused(world: Deployment) -> None:
    """The history of rule "empty Redis": an empty Redis would answer `nothing found` to every request."""
    world.publish("ledger", "expunge.ledger.opened.v1", {})
    world.installation.server.forget(world.prefix)
    done = expunge(world, "topics", "create")
    assert done.returncode == 2
    assert "expunge rebuild" in done.stderr
    waits = world.start("waits", "run", "--role", "notary")
    until(lambda: "Redis holds no index" in (world.directory / "waits.log").read_text(), 30, world)
    assert waits.poll() is None
    waits.terminate()
    assert waits.wait(20) == 0
    del world.processes["waits"]


def test_doctor_says_what_is_wrong_and_what_to_do(world: Deployment) -> None:
    done = expunge(world, "doctor", "--json")
    findings = json.loads(done.stdout)["findings"]
    nobody = {"nobody runs the role intake": "expunge run --role intake"}
    nobody["no agent runs for files: its commands wait"] = "expunge agent run files"
    assert nobody.items() <= {each["problem"]: each["mend"] for each in findings}.items()
    others = [each["problem"] for each in findings if not each["problem"].startswith(("nobody runs", "no agent runs"))]
    said = ["allow_unsigned", "what publisher", "no evidence is"]
    assert (done.returncode, [problem[:14] for problem in others]) == (1, said)
    world.installation.topics.delete([world.prefix + "ledger"])
    done = expunge(world, "doctor")
    assert "expunge topics create" in done.stdout
    assert "tttttttt" not in done.stdout  # the secret


def test_another_secret_finds_nobody_and_says_so(world: Deployment, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("o" * 40)
    other.chmod(0o600)
    for command, text in ((("index", "lookup", "x"), ""), (("submit", "erasure", "--subject", "-"), "user_id:1")):
        done = expunge(world, *command, text=text, EXPUNGE_SECRET_FILE=str(other))
        assert done.returncode == 2
        assert "the index was made with another secret" in done.stderr


def test_what_a_group_has_left_unread_is_counted_by_age(world: Deployment) -> None:
    """A role that ran and did nothing looked to doctor like one that worked."""
    topics, said = world.installation.topics, ["requests", "registrations"]
    world.register([{"asset": f"a{number}", "system": "files"} for number in range(3)])
    after = SystemClock().now() + timedelta(minutes=1)
    assert topics.unread("indexer", said, after) == {"registrations": sum(topics.ends(said)["registrations"].values())}
    assert not topics.unread("indexer", said, after - timedelta(minutes=2))
    world.start("indexer", "run", "--role", "indexer")
    until(lambda: not topics.unread("indexer", said, after), 30, world)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("submit", "erasure"), "--subject"),
        (("submit", "erasure", "--subject", "no-colon"), "NAMESPACE:ID"),
        (("submit", "withdrawal", "--subject", "user_id:1"), "--data-source"),
        (("submit", "erasure", "--subject", "user_id:1", "--publisher", "nobody"), "declared: app, narrow"),
        (("agent", "run", "nobody"), "declared: files"),
        (("index", "import", "no-such-file"), "no such file"),
        (("run", "--role", "chef"), "one of intake"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(world: Deployment, command: tuple[str, ...], says: str) -> None:
    done = expunge(world, *command)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert says in done.stderr


@pytest.mark.parametrize(
    ("command", "text", "says"),
    [
        (("submit", "erasure", "--subject", "-", "--received-at", "0001-01-01T00:00+14:00"), "user_id:1", "calendar"),
        (("case", "list", "--due-within", "99999999d"), "", "longer than the calendar"),
        (("index", "lookup", "--subject", "-"), "x" * 300 + ":1", "no identity here"),
        (("hold", "place", "h", "--asset", "a", "--review-by", "0001-01-01"), "", "calendar"),
    ],
)
def test_what_no_calendar_or_name_holds_is_said_and_no_traceback(
    world: Deployment, command: tuple[str, ...], text: str, says: str
) -> None:
    more = ("--operator", "olga", "--basis", "b", "--custodian", "c") if command[0] == "hold" else ()
    done = expunge(world, *command, *more, text=text, TZ="Asia/Tokyo")
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("case", "show", "0" * 32), ("index", "lookup", "files:nothing")])
def test_the_answer_no_is_status_1(world: Deployment, command: tuple[str, ...]) -> None:
    assert expunge(world, *command).returncode == 1


def test_a_server_that_is_away_is_status_3(world: Deployment) -> None:
    assert expunge(world, "case", "list", EXPUNGE_REDIS__URL="redis://127.0.0.1:1/0").returncode == 3


def test_a_mistyped_variable_or_key_is_an_error(world: Deployment) -> None:
    assert "EXPUNGE_REDDIS" in expunge(world, "case", "list", EXPUNGE_REDDIS__URL="x").stderr
    world.config.write_text(world.config.read_text().replace("[redis]", "[redis]\nbukkets = 1"))
    done = expunge(world, "case", "list")
    assert (done.returncode, "redis.bukkets" in done.stderr) == (2, True)


def test_import_names_the_wrong_line_and_reads_subjects_from_input(world: Deployment, tmp_path: Path) -> None:
    good = {"asset": "files:a", "kind": "object", "system": "files"}
    file = tmp_path / "assets.jsonl"
    file.write_text(json.dumps(good) + "\n" + json.dumps(good | {"kind": "thing"}) + "\n")
    done = expunge(world, "index", "import", str(file))
    assert (done.returncode, "assets.jsonl:2: bad_field: kind" in done.stderr) == (1, True)
    file.write_text(json.dumps(good) + "\n")
    assert expunge(world, "index", "import", str(file), "--wait", "0").returncode == 0
    done = expunge(world, "submit", "erasure", "--subject", "-", "--json", text="user_id:ann\n")
    assert json.loads(done.stdout)["case_id"]


def test_an_unsigned_withdrawal_is_refused_unless_allowed() -> None:
    from tests.simulation import World

    world = World()
    object.__setattr__(world.door, "allow_unsigned", False)
    world.withdraw("supplier-a")
    world.settle()
    assert [told["reason"] for told in world.rejections()] == ["unsigned"]


def test_the_longest_source_prefix_wins_and_ends_at_a_boundary() -> None:
    registry = Registry(
        namespaces=(Namespace(name="n"),),
        systems=(System(name="s"),),
        publishers=(
            Publisher(name="a", source="/app", default_regime=Regime.GDPR),
            Publisher(name="b", source="/app/billing", default_regime=Regime.GDPR),
        ),
    )
    named = {
        source: registry.publisher_of(source) for source in ("/app/x", "/app/billing/1", "/apple", "/app/billings")
    }
    assert [each.name if each else None for each in named.values()] == ["a", "b", None, "a"]
