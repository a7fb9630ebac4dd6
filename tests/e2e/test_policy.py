"""A large plan waits on real servers, is shown, approved, rejected, and its deadline put off: all by command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expunge.adapters.policy_file import shipped
from expunge.adapters.system import SystemClock
from expunge.cli.app import app
from expunge.domain.events import stamp
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

GUARD = "  - id: many\n    more_than: 100000\n"


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    assert GUARD in shipped()
    policy = shipped().replace(GUARD, "  - id: many\n    more_than: 2\n    approvals: 2\n")
    with deployed(tmp_path_factory.mktemp("policy") / "d", real.kafka, real.redis, policy=policy) as deployment:
        deployment.start("roles", "run")
        deployment.start("agent", "agent", "run", "files")
        yield deployment


def expunge(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def document(*arguments: str) -> dict[str, Any]:
    result = expunge(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def waiting(world: Deployment, person: str) -> tuple[str, str, list[Path]]:
    """A person's three files and their erasure, which waits: case, plan, files."""
    files = [world.directory / "files" / f"{person}-{number}.txt" for number in range(3)]
    for file in files:
        file.write_text("x")
    subjects = [{"namespace": "user_id", "id": person}]
    world.register([{"asset": f"files:{file.name}", "subjects": subjects} for file in files])
    world.await_indexed()
    now = stamp(SystemClock().now())
    case_id = world.erase(person, f"request-{person}", received_at=now)
    plan = world.await_milestone(case_id, "awaiting_approval")["plan_digest"]
    return case_id, plan, files


def test_a_plan_waits_for_two_operators_and_is_then_carried_out(world: Deployment) -> None:
    case_id, plan, files = waiting(world, "ann")
    shown = document("case", "plan", case_id)
    (made,) = shown["plans"]
    assert (made["plan_digest"], made["awaiting_approval"], made["thresholds"]) == (plan, True, ["many"])
    assert [(line["rule"], line["action"], line["obligations"]) for line in made["lines"]] == [("alone", "delete", 3)]
    assert f"expunge case approve {case_id} --plan {plan} --operator NAME" in expunge("case", "plan", case_id).stdout
    assert expunge("case", "approve", case_id, "--plan", plan, "--operator", "olga").exit_code == 0
    until(lambda: document("case", "plan", case_id)["plans"][0]["approved_by"] == ["olga"], 30, world)
    assert all(file.exists() for file in files)
    assert expunge("case", "approve", case_id, "--plan", plan, "--operator", "omar").exit_code == 0
    world.await_milestone(case_id)
    assert not any(file.exists() for file in files)


def test_a_rejected_plan_leaves_everything_where_it_is(world: Deployment) -> None:
    case_id, plan, files = waiting(world, "bob")
    rejected = expunge("case", "reject", case_id, "--plan", plan, "--operator", "omar", "--reason", "wrong account")
    assert rejected.exit_code == 0, rejected.output
    said = world.await_milestone(case_id, "refused")
    assert (said["outcome"], said["reason"]) == ("refused", "wrong account")
    assert all(file.exists() for file in files)
    assert not [event for event in world.events("commands.files") if event["data"]["case_id"] == case_id]


def test_a_word_that_changes_nothing_ends_with_1_and_the_reason(world: Deployment) -> None:
    case_id, plan, _ = waiting(world, "dan")
    words = (
        (("approve", "--plan", "ab" * 16), "no_such_plan"),
        (("decide", "--system", "files", "--option", "exempt", "--rationale", "x"), "nothing_to_exempt"),
    )
    for (command, *options), reason in words:
        said = expunge("case", command, case_id, "--operator", "olga", "--json", *options)
        assert (said.exit_code, json.loads(said.stdout)["refused"]) == (1, reason)
    assert expunge("case", "approve", case_id, "--plan", plan, "--operator", "olga").exit_code == 0
    shown = [(word["operator"], word["word"], word["heard"]) for word in document("case", "show", case_id)["said"]]
    assert shown == [
        ("olga", "plan approved", False),
        ("olga", "obligation decided: exempt", False),
        ("olga", "plan approved", True),
    ]
    again = expunge("case", "approve", case_id, "--plan", plan, "--operator", "olga", "--json")
    assert (again.exit_code, json.loads(again.stdout)["refused"]) == (1, "approved_already")
    assert expunge("resume", "--all", "--operator", "olga").exit_code == 1  # nothing is paused


def test_a_deadline_is_put_off_by_command(world: Deployment) -> None:
    case_id, _, _ = waiting(world, "cleo")
    near = [json.loads(line) for line in expunge("case", "list", "--due-within", "5w", "--json").stdout.splitlines()]
    assert case_id in [case["case_id"] for case in near]
    assert case_id not in expunge("case", "list", "--due-within", "2w", "--json").stdout
    assert expunge("case", "extend", case_id, "--operator", "olga", "--reason", "many requests").exit_code == 0
    said = world.await_milestone(case_id, "extended")
    assert (said["clock"], said["reason"]) == ("gdpr-12-3", "many requests")
    assert case_id not in expunge("case", "list", "--due-within", "5w", "--json").stdout


def test_who_may_not_speak_is_told_at_once(world: Deployment) -> None:
    del world
    for operator, arguments in (("omar", ("extend", "--reason", "x")), ("nobody", ("approve", "--plan", "ab" * 16))):
        command, *options = arguments
        result = expunge("case", command, "ab" * 16, "--operator", operator, *options)
        assert result.exit_code != 0


def test_policy_commands(world: Deployment, tmp_path: Path) -> None:
    del world
    assert "many" in expunge("policy", "show").stdout
    assert "is in order" in expunge("policy", "check").stdout
    explained = document("policy", "explain", "--kind", "model", "--regime", "order", "--scope", "data-source")
    assert [(rule["then"], rule["rule"]) for rule in explained["rules"]][-1] == ("delete", "source-work-product")
    assert explained["clock"]["clock"] == "order"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(shipped().replace("share: 30", "share: 31"))
    with pytest.raises(Exception, match="add up to 100"):
        CliRunner().invoke(app, ["policy", "check", str(wrong)], catch_exceptions=False)
