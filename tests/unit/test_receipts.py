"""A system that lies: late, twice, out of order, with a bad claim, empty. Nothing false is said.

See design: "Nothing false is said".
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.planning.chunks import Chunk
from expunge.domain.vocabulary import Action, Kind
from tests.simulation import World, honest, receipt


def world_with(assets: int = 3, **fields: Any) -> tuple[World, list[dict[str, Any]]]:
    """A world whose photo system collects commands and says nothing."""
    world = World()
    for number in range(assets):
        world.register(f"p{number}", subjects=["ann"], **fields)
    world.settle()
    commands: list[dict[str, Any]] = []

    def silent(command: dict[str, Any]) -> list[dict[str, Any]]:
        commands.append(command)
        return []

    world.answers["photos"] = silent
    world.erase("ann")
    world.settle(ticks=0)
    return world, commands


def say(world: World, command: dict[str, Any], **fields: Any) -> None:
    world.publish("receipts.photos", "expunge.purge.receipted.v1", receipt(command, **fields), source="/photos")
    world.settle(ticks=0)


def counts(world: World) -> dict[str, int]:
    """Claims of all obligations as they stand."""
    (case,) = [case for state in world.store.states.values() for case in state.cases.values()]
    found: dict[str, int] = {}
    for line, number in case.counts:
        found[line.claim] = found.get(line.claim, 0) + number
    return found


def answer(asset: str, claim: str, **fields: Any) -> dict[str, Any]:
    return {"asset": asset, "claim": claim} | fields


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"results": []},
        {"results": [answer("somebody else's", "deleted")]},
        {"status": "accepted", "all": {"claim": "deleted"}},
    ],
)
def test_an_empty_or_foreign_receipt_is_no_success(fields: dict[str, Any]) -> None:
    world, (command,) = world_with()
    say(world, command, **fields)
    assert counts(world) == {"open": 3}
    assert world.confirmations("completed") == []


@pytest.mark.parametrize("claim", ["restricted", "anonymised_with_proof", "notified", "rebuilt_without"])
def test_a_claim_that_does_not_answer_the_action_is_a_failure(claim: str) -> None:
    world, (command,) = world_with()
    say(world, command, all={"claim": claim})
    assert counts(world) == {"failed": 3}


def test_what_is_missing_is_asked_again_and_only_then_completed() -> None:
    world, commands = world_with()
    assets = [target["asset"] for target in commands[0]["targets"]]
    say(world, commands[0], results=[answer(assets[0], "deleted")])
    assert counts(world) == {"deleted": 1, "open": 2}
    world.tick(10)
    world.settle(ticks=0)
    assert (commands[1]["command_id"], commands[1]["attempt"]) == (commands[0]["command_id"], 2)
    say(world, commands[1], all={"claim": "deleted"})
    assert counts(world) == {"deleted": 3}
    assert len(world.confirmations("completed")) == 1


def test_the_later_receipt_stands_whatever_the_order() -> None:
    world, (command,) = world_with(1)
    say(world, command, sequence=2, all={"claim": "deleted"})
    say(world, command, sequence=1, all={"claim": "failed"})
    assert counts(world) == {"deleted": 1}


def test_of_two_different_receipts_with_one_number_the_worse_stands() -> None:
    for first, second in (("deleted", "failed"), ("failed", "deleted")):
        world, (command,) = world_with(1)
        say(world, command, all={"claim": first})
        say(world, command, all={"claim": second})
        assert counts(world) == {"failed": 1}


def test_a_later_not_found_never_replaces_a_deletion() -> None:
    world, (command,) = world_with(1)
    say(world, command, all={"claim": "deleted"})
    say(world, command, sequence=2, all={"claim": "not_found"})
    assert counts(world) == {"deleted": 1}


def test_a_deletion_that_is_taken_back_is_open_again() -> None:
    world, (command,) = world_with(2)
    assets = [target["asset"] for target in command["targets"]]
    say(world, command, results=[answer(assets[0], "deleted")])
    say(world, command, sequence=2, results=[answer(assets[0], "failed")])
    assert counts(world) == {"failed": 1, "open": 1}


def test_accepted_moves_the_time_out() -> None:
    world, commands = world_with(1)
    say(world, commands[0], status="accepted", expected_by="2026-11-01T14:00:00Z")
    world.tick(3600)  # an hour: long after the time-out of 60 s
    world.settle(ticks=0)
    assert len(commands) == 1
    world.tick(3700)
    world.settle(ticks=0)
    assert [command["attempt"] for command in commands] == [1, 2]


def test_a_silent_system_is_exhausted_and_the_case_is_partial() -> None:
    world, commands = world_with(1)
    for _ in range(40):
        world.tick(86_400)
        world.settle(ticks=0)
    assert len(commands) > 3
    (partial,) = world.confirmations("partially_completed")
    assert partial["outcome"] == "partial"
    say(world, commands[-1], attempt=commands[-1]["attempt"], all={"claim": "deleted"})
    (final,) = world.confirmations("completed")
    assert final["outcome"] == "complied"


def test_a_receipt_for_an_attempt_that_was_never_sent_is_set_aside() -> None:
    world, (command,) = world_with(1)
    say(world, command, attempt=7, all={"claim": "deleted"})
    assert counts(world) == {"open": 1}
    assert world.dead_letters()[-1]["reason"] == "receipt_without_command"


def test_a_deferral_is_no_completion_and_is_asked_about_at_its_end() -> None:
    world, commands = world_with(1)
    say(world, commands[0], all={"claim": "deferred", "until": "2026-11-05T00:00:00Z", "reason_code": "rotation"})
    world.tick()
    world.settle(ticks=0)
    (deferred,) = world.confirmations("completed_with_deferrals")
    assert deferred["deferrals"][0]["until"] == "2026-11-05"
    world.tick(5 * 86_400)
    world.settle(ticks=0)
    assert [command["attempt"] for command in commands] == [1, 2]
    say(world, commands[1], all={"claim": "deleted"})
    assert len(world.confirmations("completed")) == 1


def test_too_many_not_found_wait_for_an_operator() -> None:
    world, commands = world_with(24)
    for command in commands:
        say(world, command, all={"claim": "not_found"})
    assert counts(world) == {"not_found": 24}
    assert world.confirmations("completed") == []


@pytest.mark.parametrize(
    ("matched", "affected", "claim"),
    [(0, 0, "not_found"), (3, 3, "deleted"), (3, 2, "failed"), (3, 0, "failed"), (3, None, "deleted")],
)
def test_a_holding_is_believed_by_its_rows(matched: int, affected: int | None, claim: str) -> None:
    world = World()
    world.declare_holding("users.db", namespaces=["user_id"])
    world.settle()
    rows = {"matched": matched} | ({"affected": affected} if affected is not None else {})
    world.answers["users"] = lambda command: [receipt(command, all={"claim": "deleted"} | rows)]
    world.erase("ann")
    world.settle(ticks=0)
    assert counts(world) == {claim: 1}


def test_discovered_assets_are_purged_before_the_case_is_completed() -> None:
    world = World()
    world.register("p0", subjects=["ann"])
    world.settle()
    found = {"asset": "p0-copy", "kind": "object", "system": "photos"}

    def finds(command: dict[str, Any]) -> list[dict[str, Any]]:
        if command["targets"][0]["asset"] == "p0":
            return [receipt(command, results=[answer("p0", "deleted", discovered=[found])])]
        return honest(command)

    world.answers["photos"] = finds
    case_id = world.erase("ann")
    world.settle()
    assert ("photos", "p0-copy", "delete") in world.commanded[case_id]
    (final,) = world.confirmations("completed")
    assert final["counts"] == {"object": {"deleted": 2}}


def test_a_command_repeated_from_the_topic_changes_nothing() -> None:
    world, (command,) = world_with()
    for _ in range(3):
        say(world, command, all={"claim": "deleted"})
    for partition in range(2):
        world.replay("coordinator", "cases", partition, 50)
        world.replay("intake", "receipts.photos", partition, 50)
    world.settle()
    assert counts(world) == {"deleted": 3}
    assert len(world.confirmations("completed")) == 1


def test_of_the_commands_of_a_chunk_the_latest_are_kept() -> None:
    """Of 25 the first nineteen were kept, and a late answer to the 24th was for no command."""
    chunk = ChunkState.model_validate(
        {
            "summary": Chunk(
                case_id="c" * 32, system="s", stage=3, action=Action.DELETE, kind=Kind.OBJECT, assets=("a", "b")
            ).summary(),
            "generation": 1,
            "command_id": f"{0:032x}",
            "answers": "..",
        }
    )
    for number in range(1, 26):
        named = chunk.naming(f"{number:032x}", (0,))
        chunk = chunk.model_copy(update={"command_id": f"{number:032x}", "named": named})
    assert list(chunk.named) == [f"{number:032x}" for number in range(6, 26)]
    assert chunk.carries(f"{24:032x}")
    assert not chunk.carries(f"{5:032x}")


def test_a_receipt_is_kept_as_it_came_with_what_nothing_is_decided_on() -> None:
    """It was written anew: evidence, job and moment were gone, and a signature over its bytes would have been worth
    nothing."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.answers["photos"] = lambda command: [
        receipt(command, all={"claim": "deleted"}, job="purge-7", evidence={"log": "sha256:ab"}, unheard_of=[1, 2.50])
    ]
    case_id = world.erase("ann")
    world.settle()
    (came,) = world.broker.events("receipts.photos")
    keys = {record.key: record.value for key, log in world.broker.logs.items() if key[0] == "plans" for record in log}
    (kept,) = [value for key, value in keys.items() if key and key.decode().startswith(f"{case_id}:received:")]
    sent = [record.value for key, log in world.broker.logs.items() if key[0] == "receipts.photos" for record in log]
    assert [kept] == sent
    assert json.loads(kept or b"")["data"] == came["data"]
    assert {"performed_at", "job", "evidence"} <= came["data"].keys()
    (answered,) = [each for each in world.broker.events("ledger") if each["type"] == "expunge.ledger.answered.v1"]
    assert f"{case_id}:{answered['data']['body']['received']}".encode() in keys
