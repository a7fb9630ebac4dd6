"""The library under every agent: what it remembers and carries over, what it contains, and what it says of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from expunge.adapters.vault import LibraryVault, Opener, new_key_pair
from expunge.agent import (
    Action,
    Claim,
    Kind,
    Person,
    Result,
    Target,
    deferred,
    deleted,
    done,
    failed,
    kept_result,
    later,
)
from expunge.agent.commands import Command, Reader, Withdrawal
from expunge.agent.memory import Memory, Trouble
from expunge.domain.identity import Keys
from expunge.errors import ConfigurationError, InvalidMessage, Unavailable
from tests.agents import NOW, Lab, System

ONE, TWO, CASE = "1" * 32, "2" * 32, "c" * 32


def target(asset: str = "a", command: str = ONE, action: Action = Action.DELETE, **fields: Any) -> Target:
    return Target(command, CASE, asset, Kind.OBJECT, action, **fields)


def data(command: str = ONE, *assets: str, attempt: int = 1, **fields: Any) -> dict[str, Any]:
    said = {"command_id": command, "case_id": CASE, "system": "s", "action": "delete", "stage": 0, "generation": 1}
    said |= {"attempt": attempt, "due_at": "2026-12-01T00:00:00Z", "minimum_grade": "E0"}
    return said | {"targets": [{"asset": asset, "kind": "object"} for asset in assets or ("a",)]} | fields


def message(kind: str, said: Any) -> bytes:
    event = {"specversion": "1.0", "id": "i", "source": "/expunge/coordinator", "type": kind, "data": said}
    return json.dumps(event).encode()


def commanded(said: dict[str, Any]) -> bytes:
    return message("expunge.purge.commanded.v1", said)


def withdrawn(command: str = ONE) -> bytes:
    said = {"command_id": command, "case_id": CASE, "system": "s", "attempt": 1, "reason": "cancel"}
    return message("expunge.purge.withdrawn.v1", said)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, System("a", "b", "c"))


# What is remembered


def test_a_repetition_is_answered_from_memory_and_any_other_command_is_looked_at_again(lab: Lab) -> None:
    assert lab.hears(commanded(data())) == [("a", "deleted", None)]
    lab.start()
    assert lab.hears(commanded(data(attempt=2))) == [("a", "deleted", None)]
    assert lab.system.tried == ["a"]
    lab.system.assets.add("a")  # restored from a backup
    assert lab.hears(commanded(data(TWO))) == [("a", "deleted", None)]
    assert lab.system.tried == ["a", "a"]
    assert "a" not in lab.system.assets


def test_what_was_answered_is_forgotten_with_its_case(lab: Lab) -> None:
    """Only that a command was withdrawn stays: it must never be carried out, however late it comes."""
    lab.hears(commanded(data(ONE, "a")))
    lab.hears(withdrawn(TWO))
    lab.system.answer = lambda each: failed(each, "cut_off")
    lab.hears(commanded(data("3" * 32, "b")))
    forgotten = {"case_id": CASE, "system": "s", "command_ids": [ONE, TWO, "3" * 32]}
    lab.system.answer = None
    assert lab.hears(message("expunge.purge.forgotten.v1", forgotten)) == []
    kept = b"".join(path.read_bytes() for path in lab.path.glob("agent.db*"))
    assert target("a").identity.encode() not in kept
    lab.hears(commanded(data(TWO, "c")))
    assert "c" in lab.system.assets


@pytest.mark.parametrize("action", [Action.RESTRICT, Action.REBUILD_WITHOUT, Action.LIFT])
def test_no_answer_of_another_command_stands_for_any_action(lab: Lab, action: Action) -> None:
    """core 5: a second command to rebuild was answered from memory, while the file had been written anew meanwhile."""
    lab.system.answer = lambda each: done(each, Claim.RESTRICTED)
    lab.hears(commanded(data(action=action.value)))
    lab.hears(commanded(data(TWO, action=action.value)))
    assert len(lab.system.tried) == 2


def test_absence_is_deleted_only_by_a_deletion_or_where_a_try_was_cut_off(lab: Lab) -> None:
    assert lab.hears(commanded(data(ONE, "never-there"))) == [("never-there", "not_found", None)]
    assert lab.hears(commanded(data(TWO, "never-there"))) == [("never-there", "not_found", None)]
    lab.system.answer = lambda each: failed(each, "refused", untouched=True)
    lab.hears(commanded(data(ONE, "b")))
    lab.system.answer = None
    lab.system.assets.discard("b")  # somebody else has deleted it
    assert lab.hears(commanded(data(ONE, "b", attempt=2))) == [("b", "not_found", None)]
    lab.system.answer = lambda each: failed(each, "cut_off")
    lab.hears(commanded(data(ONE, "c")))
    lab.system.answer = None
    lab.system.assets.discard("c")  # by the try that was cut off, perhaps
    assert lab.hears(commanded(data(ONE, "c", attempt=2))) == [("c", "deleted", None)]


def test_a_failure_without_effect_does_not_hide_an_earlier_one_with_it(tmp_path: Path) -> None:
    memory, one = Memory(tmp_path / "m"), target()
    memory.begin([one])
    memory.keep([failed(one, "cut_off")], {})
    memory.begin([one])
    memory.keep([failed(one, "refused", untouched=True)], {})
    assert memory.begin([one])[one.key]


def test_what_was_put_off_leaves_nothing_behind(tmp_path: Path) -> None:
    memory, one = Memory(tmp_path / "m"), target()
    memory.begin([one])
    memory.keep([deferred(one, NOW, "rotation")], {})
    assert not memory.begin([one])[one.key]


def test_a_process_that_died_while_it_purged_does_not_know_the_outcome(lab: Lab) -> None:
    lab.agent._memory.begin([target("gone")])
    lab.start()
    assert lab.hears(commanded(data(ONE, "gone"))) == [("gone", "deleted", None)]


def test_what_no_receipt_holds_is_said_in_several(lab: Lab) -> None:
    """A receipt that was too large became a dead letter, and was repeated for ever: nothing of it was purged."""
    found: list[Any] = [{"asset": f"{number:04}".ljust(1900, "x"), "kind": "object"} for number in range(900)]
    lab.system.answer = lambda each: deleted(each, discovered=found)
    lab.hears(commanded(data()))
    receipts = [said["results"] for said in lab.broker.sent]
    assert len(receipts) > 1
    assert all(len(json.dumps(results)) < 900_000 for results in receipts)
    assert all([result["asset"] for result in results] == ["a"] for results in receipts)
    said = [each["asset"] for results in receipts for result in results for each in result["discovered"]]
    assert said == [each["asset"] for each in found]


def test_an_attempt_that_no_number_holds_is_no_command(lab: Lab) -> None:
    """It ended the process at each start, and the agents of other systems in it."""
    lab.hears(commanded(data(attempt=2**63)))
    lab.hears(message("expunge.purge.withdrawn.v1", json.loads(withdrawn())["data"] | {"attempt": 2**63}))
    assert not lab.system.tried
    assert lab.hears(commanded(data())) == [("a", "deleted", None)]


def test_a_result_without_a_claim_or_a_promise_is_a_failure(lab: Lab) -> None:
    lab.system.answer = lambda each: Result(each, None)
    assert lab.hears(commanded(data())) == [("a", "failed", "invalid_result")]


def test_what_a_repetition_names_no_more_goes_on_no_longer(lab: Lab) -> None:
    """Its row stayed due for ever, and each turn sent one more receipt."""
    lab.system.answer = lambda each: later(each, NOW)
    lab.hears(commanded(data(exclude={"assets": ["1", "2"]}, action="rebuild_without")))
    lab.system.answer = None
    lab.hears(commanded(data(attempt=2, exclude={"assets": ["1"]}, action="rebuild_without")))
    assert not lab.agent._memory.due(NOW + timedelta(days=1))


@pytest.mark.parametrize("broken", [{"targets": 7}, {"targets": [{"asset": "b", "kind": "hologram"}]}])
def test_what_was_promised_goes_on_though_a_repetition_cannot_be_read_whole(lab: Lab, broken: dict[str, Any]) -> None:
    """It stayed due under a command that did not name it: a receipt a turn, and nothing was done."""
    lab.system.answer = lambda each: later(each, NOW + timedelta(seconds=5))
    lab.hears(commanded(data()))
    lab.system.answer = None
    lab.hears(commanded(data(attempt=2) | broken))
    lab.clock.at += timedelta(seconds=6)
    lab.agent.turn(lambda _: None)
    assert not lab.agent._memory.due(NOW + timedelta(days=1))
    assert lab.broker.sent[-1]["results"][0]["claim"] == "deleted"


def test_each_of_two_commands_that_had_begun_a_target_says_so_when_it_is_withdrawn(tmp_path: Path) -> None:
    """What had begun was kept by the target alone: the first command's withdrawal said that nothing had."""
    memory, first, second = Memory(tmp_path / "m"), target(), target(command=TWO)
    memory.begin([first])
    memory.close()
    memory = Memory(tmp_path / "m")
    assert memory.begin([second]) == {second.key: True}
    interrupted = {"asset": "a", "claim": "failed", "reason_code": "interrupted"}
    assert memory.done_for(ONE) == memory.done_for(TWO) == [interrupted]
    memory.keep([deleted(second)], {})
    assert memory.done_for(ONE) == [interrupted]
    assert [each["claim"] for each in memory.done_for(TWO)] == ["deleted"]


def test_a_try_whose_outcome_is_known_again_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    memory, first, second, third = Memory(tmp_path / "m"), target(), target(command=TWO), target(command="3" * 32)
    memory.begin([first])
    memory.begin([second])
    memory.keep([done(second, Claim.NOT_FOUND)], {})
    assert memory.begin([third]) == {third.key: False}


def test_what_expunge_did_not_count_is_done_again(lab: Lab) -> None:
    """edges 10: the refused answer was sent again from memory for ever, after its cause had been mended."""
    lab.system.answer = lambda each: deleted(each, matched=2, affected=1)
    lab.hears(commanded(data()))
    lab.system.answer = lambda each: deleted(each, matched=1, affected=1)
    again = data(attempt=2)
    again["targets"][0]["refused"] = "fewer_affected_than_matched"
    lab.hears(commanded(again))
    assert len(lab.system.tried) == 2
    assert lab.system.batches[-1][0].refused == "fewer_affected_than_matched"
    assert lab.broker.sent[-1]["results"][0]["affected"] == 1


def test_state_of_an_earlier_build_is_taken_over(tmp_path: Path) -> None:
    path, one, two, three = tmp_path / "m", target("1"), target("2"), target("3")
    with sqlite3.connect(path) as old:
        old.execute(
            "create table answers (identity text primary key, result text, final integer, command text not null)"
        )
        old.execute("create table started (identity text primary key, command text, asset text)")
        old.execute("create table pending (identity text primary key, due real, command text)")
        old.execute("insert into answers values (?, ?, 1, ?)", (one.identity, '{"claim": "deleted"}', ONE))
        old.execute("insert into started values (?, ?, ?)", (two.identity, ONE, "2"))
        raw = commanded(data(ONE, "3")).decode()
        old.execute("insert into pending values (?, ?, ?)", (three.identity, NOW.timestamp(), raw))
    old.close()
    path.chmod(0o600)
    for _ in range(2):
        memory = Memory(path)
        assert memory.answers([one]) == {one.key: {"claim": "deleted"}}
        assert memory.due(NOW) == [raw]
        memory.close()
    assert Memory(path).begin([replace(one, command_id=TWO), two]) == {f"{TWO}.{one.identity}": True, two.key: True}


def test_what_had_begun_in_an_earlier_build_is_taken_over(tmp_path: Path) -> None:
    path, one = tmp_path / "m", target()
    with sqlite3.connect(path) as old:
        old.execute("create table begun (identity text primary key, command text, asset text, unknown integer)")
        old.execute("insert into begun values (?, ?, ?, 0)", (one.identity, ONE, "a"))
    old.close()
    path.chmod(0o600)
    memory = Memory(path)
    assert memory.done_for(ONE) == [{"asset": "a", "claim": "failed", "reason_code": "interrupted"}]
    assert memory.begin([replace(one, command_id=TWO)]) == {f"{TWO}.{one.identity}": True}


def test_the_state_file_is_its_owners_alone(tmp_path: Path) -> None:
    Memory(tmp_path / "deep" / "state.db").close()
    assert (tmp_path / "deep" / "state.db").stat().st_mode & 0o777 == 0o600
    (tmp_path / "deep" / "state.db").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Memory(tmp_path / "deep" / "state.db")


ANN = Person("a" * 32, "u1", "user_id", "ann")


def test_an_effect_is_for_one_case_action_and_exclusion() -> None:
    plain = target("a", people=(ANN,))
    others = [
        replace(plain, case_id="e" * 32),
        replace(plain, action=Action.RESTRICT),
        replace(plain, purposes=("p",)),
        replace(plain, excluded_assets=frozenset({"x"})),
        replace(plain, people=(Person("b" * 32),)),
    ]
    assert len({each.identity for each in (plain, *others)}) == 6
    assert replace(plain, command_id="f" * 32, interrupted=True).identity == plain.identity
    assert "ann" not in repr(plain) + repr(ANN) + repr(deleted(plain))


# What raises


def test_what_one_target_raises_costs_no_other(tmp_path: Path) -> None:
    """core 20: an exception ended the process, other systems' agents with it, and came again at every start."""
    names = [f"a{number}" for number in range(500)]
    lab = Lab(tmp_path, System(*names))
    lab.system.raises = {"a7": ValueError("ann@example.org"), "a444": KeyError("x")}
    said = lab.hears(commanded(data(ONE, *names)))
    assert dict(each[:2] for each in said if each[1] != "failed") == {
        name: "deleted" for name in names if name not in lab.system.raises
    }
    assert {each for each in said if each[1] == "failed"} == {
        ("a7", "failed", "raised_value_error"),
        ("a444", "failed", "raised_key_error"),
    }
    assert "example.org" not in json.dumps(lab.broker.sent)


def test_what_raised_is_tried_again_after_waits_that_grow_and_answered_when_it_works(lab: Lab) -> None:
    lab.system.raises = {"a": ValueError()}
    assert lab.hears(commanded(data())) == [("a", "failed", "raised_value_error")]
    tried = [1]
    for seconds in (0.5, 0.6, 1.0, 1.1, 2.0, 2.1):
        lab.later(seconds)
        tried.append(len(lab.system.tried))
    assert tried == [1, 1, 2, 2, 3, 3, 4]
    assert lab.hears(commanded(data(attempt=2)))[-1] == ("a", "failed", "raised_value_error")
    assert len(lab.system.tried) == 4, "it is not tried before its time because it is asked for again"
    lab.system.raises = {}
    assert lab.later(60) == [("a", "deleted", None)]


def test_a_culprit_stands_alone_and_a_system_that_is_down_is_not_asked_for_each_target(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(500)]
    lab = Lab(tmp_path, System(*names))
    lab.system.raises = dict.fromkeys(names, ConnectionError())
    lab.hears(commanded(data(ONE, *names)))
    assert len(lab.system.batches) == 7
    lab.system.raises = {}
    assert len(lab.later(2)) == 500


def test_a_system_that_is_down_for_long_is_asked_a_few_times_a_turn(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(100)]
    lab = Lab(tmp_path, System(*names))
    lab.system.raises = dict.fromkeys(names, ConnectionError())
    lab.hears(commanded(data(ONE, *names)))
    for _ in range(6):
        before = len(lab.system.batches)
        lab.later(1000)
        assert len(lab.system.batches) - before <= 7 * 7
    lab.system.raises = {}
    lab.later(1000)
    assert not lab.system.assets


def test_whatever_many_culprits_there_are_the_others_are_done_by_and_by(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(200)]
    lab = Lab(tmp_path, System(*names))
    lab.system.raises = {name: ValueError() for name in names[::2]}
    lab.hears(commanded(data(ONE, *names)))
    for _ in range(60):
        lab.later(700)
    assert lab.system.assets == set(names[::2])


def test_a_result_that_cannot_be_sent_is_a_failure_and_not_a_receipt_in_vain(lab: Lab) -> None:
    lab.system.answer = lambda each: Result(each, Claim.DELETED, {"matched": "three"})
    assert lab.hears(commanded(data())) == [("a", "failed", "invalid_result")]
    lab.system.answer = lambda each: Result(each, Claim.DELETED, {"detail": object()})
    assert lab.hears(commanded(data(TWO))) == [("a", "failed", "invalid_result")]


# What is read


def test_an_action_or_a_kind_of_a_later_version_fails_by_name_and_alone(lab: Lab) -> None:
    assert lab.hears(commanded(data(ONE, "a", action="evaporate"))) == [("a", "failed", "unsupported_action")]
    said = data(TWO, "a", "b")
    said["targets"][0]["kind"] = "hologram"
    assert set(lab.hears(commanded(said))) == {("a", "failed", "unsupported_kind"), ("b", "deleted", None)}


def test_fields_of_a_later_version_are_passed_over(lab: Lab) -> None:
    said = data() | {"mood": "good", "regime": "martian_law"}
    said["targets"][0] |= {"colour": "red", "subjects": [{"pseudonym": "ab" * 16, "shoe": 43}]}
    assert lab.hears(commanded(said)) == [("a", "deleted", None)]


MALFORMED: list[dict[str, Any]] = [
    {"targets": None},
    {"targets": [{"asset": 7, "kind": "object"}]},
    {"targets": "all of them"},
    {"purposes": {"a": 1}},
    {"exclude": []},
    {"people": [{"pseudonym": "x"}]},
    {"action": None},
    {"stage": "x"},
]


@pytest.mark.parametrize("wrong", MALFORMED)
def test_a_command_that_cannot_be_carried_out_is_answered_all_the_same(lab: Lab, wrong: dict[str, Any]) -> None:
    lab.hears(commanded(data() | wrong), commanded(data(TWO, "b")))
    (first, second) = lab.broker.sent
    assert first["all"] == {"claim": "failed", "reason_code": "malformed_command"}
    assert second["results"] == [{"asset": "b", "claim": "deleted"}]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"specversion": "1.0"}',
        message("expunge.purge.invented.v2", data()),
        commanded({}),
        commanded(data() | {"command_id": "x"}),
        commanded(data() | {"attempt": 0}),
        message("expunge.purge.commanded.v1", None),
        message("expunge.purge.withdrawn.v1", {"command_id": 5}),
    ],
)
def test_what_is_no_command_is_skipped_and_counted(lab: Lab, raw: bytes) -> None:
    """doors 10: it ended the process in a loop, and printed the message in the traceback."""
    assert lab.hears(raw, commanded(data())) == [("a", "deleted", None)]
    assert b'expunge_agent_skipped_total{system="s"} 1.0' in generate_latest(lab.metrics.registry)
    with pytest.raises(InvalidMessage):
        Reader().read(raw)


def test_who_is_meant_is_opened_with_the_systems_key_and_says_whose_customer_it_is() -> None:
    private, public = new_key_pair()
    other, _ = new_key_pair()
    plain = json.dumps({"namespace": "user_id", "id": "person-42", "given": " person-42", "tenant": "acme"}).encode()
    seal = LibraryVault(Keys(b"s" * 32)).seal_for(public, plain)
    said = data() | {"people": [{"pseudonym": "ab" * 16, "sealed": seal}], "collected_until": "2026-11-08T00:00:00Z"}
    said["targets"][0]["subjects"] = [{"pseudonym": "ab" * 16, "ref": "r"}]

    read = Reader(Opener(private).open).read(commanded(said))
    assert isinstance(read, Command)
    (person,) = read.targets[0].people
    assert (person.namespace, person.id, person.given, person.tenant) == ("user_id", "person-42", " person-42", "acme")
    assert read.targets[0].collected_until == datetime(2026, 11, 8, tzinfo=UTC)
    reader = Reader(Opener(other).open)
    closed = reader.read(commanded(said))
    assert isinstance(closed, Command)
    assert closed.targets[0].people[0].id is None
    assert reader.not_opened == 1
    assert "person-42" not in repr(read) + repr(read.targets) + repr(person)


# Withdrawals


class Stoppable(System):
    """A system that works on behind `later`."""

    def __init__(self, *assets: str) -> None:
        super().__init__(*assets)
        self.stopped: list[str] = []

    def withdraw(self, command_id: str) -> None:
        self.stopped.append(command_id)
        if "stubborn" in self.raises:
            raise self.raises["stubborn"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_withdrawal_reaches_work_under_way(tmp_path: Path, *, stubborn: bool) -> None:
    lab = Lab(tmp_path, Stoppable("a"))
    lab.system.raises = {"stubborn": ValueError()} if stubborn else {}
    lab.system.answer = lambda each: later(each, NOW + timedelta(hours=1))
    lab.hears(commanded(data()))
    assert lab.broker.sent[-1]["status"] == "accepted"
    lab.hears(withdrawn())
    assert lab.system.stopped == [ONE]
    assert lab.broker.sent[-1]["status"] == "withdrawn"
    lab.later(7200)
    assert len(lab.system.tried) == 1


def test_a_command_that_comes_after_its_withdrawal_is_never_carried_out(lab: Lab) -> None:
    lab.hears(commanded(data()), withdrawn())
    lab.start()
    lab.hears(commanded(data(attempt=2)))
    assert lab.system.tried == []
    assert {said["status"] for said in lab.broker.sent} == {"withdrawn"}


def test_a_withdrawal_says_what_was_done_by_then_and_what_nobody_knows(tmp_path: Path) -> None:
    memory, one, two, three = Memory(tmp_path / "m"), target("1"), target("2"), target("3")
    memory.begin([one, two])
    memory.keep([deleted(one), later(three, NOW)], {ONE: "{}"})
    memory.close()  # it dies here: nobody knows what became of the second
    memory = Memory(tmp_path / "m")
    memory.withdraw(ONE)
    assert memory.done_for(ONE) == [
        {"asset": "1", "claim": "deleted"},
        {"asset": "2", "claim": "failed", "reason_code": "interrupted"},
    ]
    assert memory.due(NOW + timedelta(days=1)) == []


def test_the_look_whether_it_was_withdrawn_is_one_with_the_beginning(tmp_path: Path) -> None:
    memory, other = Memory(tmp_path / "m"), Memory(tmp_path / "m")
    other.withdraw(ONE)
    assert memory.begin([target(), target("b", TWO)]) == {target("b", TWO).key: False}


# One process a system


def test_a_second_process_of_a_system_refuses_to_start(lab: Lab) -> None:
    lab.broker.others = 1
    with pytest.raises(ConfigurationError, match="another process serves s already"):
        lab.agent.turn(lambda seconds: setattr(lab.clock, "at", lab.clock.at + timedelta(seconds=seconds)))


def test_one_that_died_a_moment_ago_is_waited_for(lab: Lab) -> None:
    lab.broker.others = 1
    lab.agent.turn(lambda _: setattr(lab.broker, "others", 0))
    assert lab.broker.committed == 1


def test_one_that_waits_for_another_stops_when_told(lab: Lab) -> None:
    """It looked at the other for eight seconds more, as fast as it could."""
    lab.broker.others = 1
    lab.broker.waiting = [commanded(data())]
    waits: list[float] = []

    def told_to_stop(seconds: float) -> bool:
        waits.append(seconds)
        return True

    lab.agent.turn(told_to_stop)
    assert (len(waits), lab.system.tried, lab.broker.committed) == (1, [], 0)


def test_a_paused_process_that_wakes_does_nothing_that_was_withdrawn(lab: Lab) -> None:
    """core 15 and r27: another had answered the withdrawal while it slept, and it purged what it had in its hands."""

    def sleeps() -> None:
        if lab.broker.waiting == [] and lab.broker.revocations == 0:
            lab.broker.revocations += 1

    lab.broker.on_poll = sleeps
    lab.broker.waiting = [commanded(data())]
    lab.agent.turn(lambda _: None)
    assert lab.system.tried == []
    assert lab.broker.committed == 0
    lab.broker.on_poll = lambda: None
    lab.broker.waiting = [commanded(data()), withdrawn()]  # as it lies there since the last commit
    lab.agent.turn(lambda _: None)
    assert lab.system.tried == []
    assert {said["status"] for said in lab.broker.sent} == {"withdrawn"}


def test_a_process_that_was_silent_for_a_session_begins_nothing(lab: Lab) -> None:
    lab.broker.silence = 11.0
    lab.hears(commanded(data()))
    assert lab.system.tried == []
    lab.broker.silence = 0.1
    assert lab.hears() == [("a", "deleted", None)]


# What is kept in the system's own transaction


class Bookkeeping(System):
    """A system that writes its agent's answers where it deletes."""

    def __init__(self, *assets: str) -> None:
        super().__init__(*assets)
        self.book: dict[str, str] = {}

    def _one(self, each: Target) -> Result:
        self.assets.discard(each.asset)
        result = deleted(each, matched=3, affected=3)
        self.book[each.key] = result.kept()
        return result

    def recall(self, batch: Sequence[Target]) -> list[Result]:
        return [kept_result(each, self.book[each.key]) for each in batch if each.key in self.book]


def test_an_answer_that_the_system_keeps_itself_is_found_after_a_crash(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Bookkeeping("a"))
    one = target()
    lab.agent._memory.begin([one])
    lab.system._one(one)  # committed there, and then the process dies
    lab.start()
    lab.hears(commanded(data()))
    assert lab.system.tried == []
    assert lab.broker.sent[-1]["results"] == [{"asset": "a", "claim": "deleted", "matched": 3, "affected": 3}]
    assert len(one.key) == 65


# What is said


def test_one_line_of_log_and_metrics_say_what_was_done_and_never_to_what(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.hears(commanded(data(ONE, "a", "secret-asset")))
    (line,) = [each for each in capsys.readouterr().out.splitlines() if " command " in each]
    assert "deleted=1" in line
    assert "not_found=1" in line
    assert "secret" not in line
    text = generate_latest(lab.metrics.registry).decode()
    assert 'expunge_agent_targets_total{claim="deleted",system="s"} 1.0' in text
    assert 'expunge_agent_commands_total{system="s"} 1.0' in text
    assert "expunge_agent_alive_timestamp_seconds" in text
    assert "secret" not in text


def test_troubles_and_words_show_nothing_of_whom_they_are_about() -> None:
    one = target("secret-asset")
    shown = repr(Trouble(one, "r", alone=True)) + repr(Withdrawal(ONE, CASE, 1)) + repr(one)
    assert "secret" not in shown


# What is read again


def test_an_answer_to_this_very_attempt_stands_however_often_it_is_read(lab: Lab) -> None:
    """The broker stumbled behind the purge: it was done again, and the only receipt said `not_found`."""
    said = data(attempt=2)
    said["targets"][0]["refused"] = "fewer_affected_than_matched"
    send, calls = lab.broker.send, iter([False])

    def stumbles(outgoing: Any) -> Any:
        if not next(calls, True):
            raise Unavailable("no answer")
        return send(outgoing)

    lab.broker.send = stumbles  # type: ignore[method-assign]
    lab.hears(commanded(said))
    assert lab.hears() == [("a", "deleted", None)]
    assert lab.system.tried == ["a"]


@pytest.mark.parametrize("culprits", [1, 7, 11, 13, 18, 20, 40])
@pytest.mark.parametrize("first", [True, False])
def test_nobody_is_starved_by_culprits_beside_them(tmp_path: Path, culprits: int, *, first: bool) -> None:
    bad = [f"bad{number}" for number in range(culprits)]
    lab = Lab(tmp_path, System("good", *bad))
    lab.system.raises = dict.fromkeys(bad, ValueError())
    lab.hears(commanded(data(ONE, *(["good", *bad] if first else [*bad, "good"]))))
    for _ in range(culprits + 10):
        lab.later(700)
    assert "good" not in lab.system.assets


def test_what_goes_on_later_answers_the_latest_attempt(lab: Lab) -> None:
    lab.system.raises = {"a": ValueError()}
    lab.hears(commanded(data()))
    lab.hears(commanded(data(attempt=4)))
    lab.system.raises = {}
    lab.later(60)
    last = lab.broker.sent[-1]
    assert (last["attempt"], last["results"][0]["claim"]) == (4, "deleted")


@pytest.mark.parametrize(
    "returned",
    [
        lambda _: [None],
        lambda _: None,
        lambda _: [deleted(target("something else"))],
        lambda batch: [later(batch[0], "soon")],  # type: ignore[arg-type]
        lambda batch: [later(batch[0], datetime.max.replace(tzinfo=UTC))],
        lambda batch: (1 / 0 for _ in batch),
    ],
)
def test_what_is_no_result_costs_its_batch_and_ends_nobody(lab: Lab, returned: Callable[[Any], Any]) -> None:
    lab.system.purge = returned
    ((asset, claim, reason),) = lab.hears(commanded(data()))
    assert (asset, claim) == ("a", "failed")
    assert str(reason).startswith("raised_")
    lab.start()
    lab.later(30)


def test_a_state_file_of_a_still_earlier_build_lacks_tables(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "m") as old:
        old.execute(
            "create table answers (identity text primary key, result text, final integer, command text not null)"
        )
    old.close()
    (tmp_path / "m").chmod(0o600)
    Memory(tmp_path / "m").close()
