"""Operators' words on real servers, by command: pause, hold, cancel, groups; and a restriction that is lifted."""

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
from expunge.wire.cases.said import rate_id
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers

HOUR = "publisher-in-an-hour, of: publisher, per: hour, more_than: 200000"


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    assert HOUR in shipped()
    policy = shipped().replace(HOUR, HOUR.replace("200000", "12"))
    with deployed(tmp_path_factory.mktemp("words") / "d", real.kafka, real.redis, policy=policy) as deployment:
        deployment.start("roles", "run")
        yield deployment


def expunge(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def say(*arguments: str) -> None:
    result = expunge(*arguments, "--operator", "olga")
    assert result.exit_code == 0, result.output


def document(*arguments: str) -> dict[str, Any]:
    result = expunge(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def files_of(world: Deployment, person: str, number: int = 2) -> list[Path]:
    files = [world.directory / "files" / f"{person}-{each}.txt" for each in range(number)]
    for file in files:
        file.write_text("x")
    subjects = [{"namespace": "user_id", "id": person}]
    world.register([{"asset": f"files:{file.name}", "subjects": subjects} for file in files])
    world.await_indexed()
    return files


def erase(world: Deployment, person: str) -> str:
    case_id = world.erase(person, f"request-{person}", received_at=stamp(SystemClock().now()))
    world.await_milestone(case_id, "acknowledged")
    return case_id


def commanded(world: Deployment, case_id: str) -> list[str]:
    return [e["type"].split(".")[2] for e in world.events("commands.files") if e["data"]["case_id"] == case_id]


def test_a_request_is_cancelled_while_its_commands_wait_for_the_system(world: Deployment) -> None:
    """No agent runs yet: what it finds when it starts is a command, and that it must not be carried out."""
    files = files_of(world, "ann")
    case_id = erase(world, "ann")
    until(lambda: commanded(world, case_id) == ["commanded"], 30, world)
    assert expunge("case", "cancel", case_id, "--operator", "olga", "--reason", "another Ann").exit_code == 0
    until(lambda: sorted(commanded(world, case_id)) == ["commanded", "withdrawn"], 30, world)
    assert not world.confirmations(case_id, "cancelled")
    world.start("agent", "agent", "run", "files")
    said = world.await_milestone(case_id, "cancelled")
    assert (said["outcome"], said["counts"]) == ("cancelled", {"object": {"open": 2}})
    assert all(file.exists() for file in files)


def test_nothing_leaves_while_everything_is_paused(world: Deployment) -> None:
    files = files_of(world, "bob")
    say("pause", "--all", "--reason", "a bad day")
    case_id = erase(world, "bob")
    until(lambda: document("case", "show", case_id)["status"] == "purging", 30, world)
    assert not commanded(world, case_id)
    assert "commands are paused: all" in " ".join(expunge("doctor").stdout.split())
    (line,) = document("case", "plan", case_id)["plans"][0]["lines"]
    assert (line["phase"], line["action"]) == ("barred", "delete")
    say("resume", "--all")
    world.await_milestone(case_id)
    assert not any(file.exists() for file in files)


def test_what_is_held_stays_until_the_hold_is_released(world: Deployment) -> None:
    kept, gone = files_of(world, "cleo")
    say("hold", "place", "matter-1", "--asset", f"files:{kept.name}", "--basis", "litigation", "--custodian", "counsel")
    case_id = erase(world, "cleo")
    said = world.await_milestone(case_id, "completed_with_deferrals")
    assert said["counts"] == {"object": {"deferred": 1, "deleted": 1}}
    assert (kept.exists(), gone.exists()) == (True, False)
    (hold,) = [json.loads(line) for line in expunge("hold", "list", "--json").stdout.splitlines()]
    assert (hold["hold_id"], hold["state"], hold["review_overdue"]) == ("matter-1", "in force", False)
    say("hold", "release", "matter-1")
    world.await_milestone(case_id)
    assert not kept.exists()
    assert "no holds" in expunge("hold", "list").stdout


def test_a_restriction_and_its_end(world: Deployment) -> None:
    (file,) = files_of(world, "dora", 1)
    assert expunge("submit", "restriction", "--subject", "user_id:dora", "--wait").exit_code == 0
    assert not file.exists()
    assert expunge("submit", "lift", "--subject", "user_id:dora").exit_code == 0
    until(file.exists, 30, world)


def test_doctor_says_who_runs_with_another_policy_or_other_declarations(world: Deployment) -> None:
    def drifted() -> list[str]:
        found = json.loads(expunge("doctor", "--json").stdout)["findings"]
        return [each["problem"] for each in found if "than this configuration" in each["problem"]]

    assert not drifted()
    policy = world.directory / "policy.yaml"
    kept = {file: file.read_text() for file in (world.config, policy)}
    policy.write_text(shipped())
    world.config.write_text(kept[world.config] + '\n[[purposes]]\nname = "another"\n')
    try:
        said = drifted()
    finally:
        for file, text in kept.items():
            file.write_text(text)
    assert len(said) == 5
    assert all("run with another policy and other declarations than" in each for each in said)


def test_a_case_says_for_whose_agent_it_waits(world: Deployment) -> None:
    subjects = [{"namespace": "user_id", "id": "fay"}]
    world.register([{"asset": "table-of-fay", "system": "ml", "subjects": subjects}])
    world.await_indexed()
    case_id = erase(world, "fay")
    until(lambda: bool(world.events("commands.ml")), 30, world)
    shown = " ".join(expunge("case", "show", case_id).stdout.split())
    assert "with the system; no agent in its group" in shown


def test_what_is_above_a_limit_waits_as_a_group(world: Deployment) -> None:
    people = [f"person-{number}" for number in range(6)]
    files = [file for person in people for file in files_of(world, person)]
    cases = [erase(world, person) for person in people]
    key = rate_id("publisher:app")

    def ended() -> bool:
        states = {document("case", "show", case_id)["status"] for case_id in cases}
        return states == {"completed", "awaiting_approval"}

    until(ended, 60, world)
    group = document("case", "plan", key)
    waiting = [case_id for case_id in cases if document("case", "show", case_id)["status"] == "awaiting_approval"]
    assert (group["cases"], group["of"]) == (len(waiting), "publisher:app")
    assert all(key in document("case", "plan", case_id)["plans"][0]["groups"] for case_id in waiting)
    say("case", "approve", key, "--plan", group["plan_digest"])
    for case_id in cases:
        world.await_milestone(case_id)
    assert not any(file.exists() for file in files)
    said = [document("case", "show", case_id)["said"] for case_id in waiting]
    assert all([(each["word"], each["heard"]) for each in words] == [("plan approved", True)] for words in said)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("pause", "--operator", "olga", "--reason", "x"), "name exactly one of"),
        (("pause", "--all", "--operator", "omar", "--reason", "x"), "not declared with role pause"),
    ],
)
def test_a_word_that_cannot_be_meant_is_refused_at_once(
    world: Deployment, arguments: tuple[str, ...], text: str
) -> None:
    del world
    result = expunge(*arguments)
    assert result.exit_code != 0
    assert text in str(result.exception or result.output)


PLACE = ("hold", "place", "matter-1", "--system", "files", "--basis", "b", "--custodian", "c")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("hold", "release", "nothing"), "[no_such_hold]"),
        (PLACE, "[hold_id_reused]"),
        (("resume", "--system", "files"), "it was said; as far as is known nothing was paused for system files"),
    ],
)
def test_a_word_that_may_come_behind_another_is_said_and_what_it_changes_is_seen(
    world: Deployment, arguments: tuple[str, ...], text: str
) -> None:
    """`resume` said nothing while the pause was on its way, and the pause stood afterwards."""
    del world
    result = expunge(*arguments, "--operator", "olga")
    assert result.exit_code == 1
    assert text in " ".join(result.output.split())


def test_a_pause_needs_neither_secret_nor_policy(world: Deployment) -> None:
    """An emergency brake is pulled on the machine that is at hand."""
    policy, secret = world.directory / "policy.yaml", world.directory / "secret"
    kept = policy.read_text()
    policy.write_text("broken: [")
    secret.rename(world.directory / "away")
    try:
        result = expunge("pause", "--publisher", "narrow", "--reason", "x", "--operator", "olga")
        assert result.exit_code == 0, result.output
        assert "whether it is refused cannot be seen from here" in " ".join(result.output.split())
    finally:
        (world.directory / "away").rename(secret)
        policy.write_text(kept)
    say("resume", "--publisher", "narrow")


def test_a_word_that_a_case_has_taken_stays_heard_when_its_operator_is_no_longer_declared(world: Deployment) -> None:
    world.register([{"asset": "table-of-gus", "system": "ml", "subjects": [{"namespace": "user_id", "id": "gus"}]}])
    world.await_indexed()
    case_id = erase(world, "gus")
    say("case", "extend", case_id, "--reason", "too much to look through")
    kept = world.config.read_text()
    assert 'name = "olga"' in kept
    world.config.write_text(kept.replace('name = "olga"', 'name = "otto"'))
    try:
        (said,) = document("case", "show", case_id)["said"]
    finally:
        world.config.write_text(kept)
    assert (said["operator"], said["heard"]) == ("olga", True)
