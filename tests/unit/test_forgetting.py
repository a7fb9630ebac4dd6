"""What is left of a case when nobody needs it any more, and that this is enough (rule "forgotten")."""

from __future__ import annotations

import json
from typing import Any

import pytest

from expunge.domain.partition import partition_of
from expunge.roles.common import on_cases
from expunge.wire.cases.case import ForgetGoesOn
from tests.simulation import PARTITIONS, World, identity, receipt

MONTH = 31 * 86_400


def ended(world: World, request: str = "r1") -> str:
    """A case that has had three assets deleted, one of them a copy of another."""
    for number in range(2):
        world.register(f"photo-{number}", "object", "photos", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.register("copy-0", "object", "ml", parents=["photo-0"])
    world.settle()
    case_id = world.erase("ann", request=request)
    world.settle()
    assert world.status(case_id) == "completed"
    return case_id


def ended_on_two_pages() -> tuple[World, str]:
    """A case of more assets than one page of forgetting has."""
    world = World()
    for number in range(700):
        world.register(f"photo-{number}", "object", "photos", subjects=[identity("ann")])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.approve_all()
    world.settle()
    return world, case_id


def forget(world: World, *cases: str) -> None:
    """An operator has cases forgotten that have ended."""
    for case_id in cases:
        world.say("case.forgotten", case_id, reason=f"why not by {world.broker.now}")
    world.settle()
    world.age()
    world.settle()


def stored(world: World) -> str:
    """All that the state of cases holds, as text."""
    kept = [each for s in world.store.states.values() for each in (s.cases, s.roots, s.chunks, s.bodies)]
    return json.dumps([each.model_dump(mode="json") for one in kept for each in one.values()])


def test_a_case_is_forgotten_when_its_evidence_period_has_passed() -> None:
    world = World()
    case_id = ended(world)
    world.tick(23 * 30 * 86_400)
    world.settle()
    assert "photo-0" in stored(world)
    assert '"r1"' in stored(world)
    world.tick(3 * MONTH)
    world.settle()
    assert "photo-0" not in stored(world)
    assert '"r1"' not in stored(world)
    assert world.facts(case_id)[-1].fact == "forgotten"
    assert not world.dead_letters()
    world.check_ledger(case_id)


def test_an_operator_has_a_case_forgotten_at_once_and_says_so_on_the_ledger() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    assert "photo-0" not in stored(world)
    *_, asked, _ = world.facts(case_id)
    assert (asked.fact, asked.model_dump()["operator"]) == ("forget_asked", "olga")


def test_agents_hear_which_commands_they_need_not_remember() -> None:
    world = World()
    case_id = ended(world)
    commanded = {each["data"]["command_id"] for each in world.broker.events("commands.photos")}
    forget(world, case_id)
    told = [each["data"] for each in world.broker.events("commands.photos") if "forgotten" in each["type"]]
    assert {each for one in told for each in one["command_ids"]} == commanded


def test_a_case_that_goes_on_is_not_forgotten() -> None:
    world = World()
    world.answers["photos"] = lambda _: []
    world.register("photo-0", "object", "photos", subjects=[identity("ann")])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    assert [each["reason"] for each in world.dead_letters()] == ["case_has_not_ended"]
    assert "photo-0" in stored(world)


def test_a_case_is_kept_as_long_as_what_was_said_of_it_may_be_read_again() -> None:
    world = World()
    case_id = ended(world)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.tick(37 * 86_400)
    world.settle()
    assert "photo-0" in stored(world)
    for topic, number in list(world.broker.logs):
        for role in world.roles:
            world.replay(role, topic, number, 100)
    world.settle()
    assert not world.confirmations("reopened", case_id=case_id)
    world.age()
    world.settle()
    assert "photo-0" not in stored(world)


def test_a_case_under_a_hold_is_kept_whatever_its_age() -> None:
    world = World()
    case_id = ended(world)
    world.order("hold.placed", hold_id="h1", scope={"case_id": case_id}, basis="litigation", custodian="legal")
    world.settle()
    world.say("case.forgotten", case_id, reason="why not")
    world.tick(30 * MONTH)
    world.settle()
    assert [each["reason"] for each in world.dead_letters()] == ["case_is_held"]
    assert "photo-0" in stored(world)
    world.order("hold.released", hold_id="h1")
    world.settle()
    world.tick(2 * 86_400)
    world.settle()
    assert "photo-0" not in stored(world)


@pytest.mark.parametrize(
    "scope",
    [{"subject": identity("ann")}, {"system": "photos"}, {"asset": "photo-1"}],
    ids=lambda each: next(iter(each)),
)
def test_a_hold_on_what_a_case_is_about_keeps_its_record(scope: dict[str, Any]) -> None:
    world = World()
    case_id = ended(world)
    world.order("hold.placed", hold_id="h1", scope=scope, basis="litigation", custodian="legal")
    world.settle()
    world.tick(30 * MONTH)
    world.settle()
    assert "photo-0" in stored(world)
    world.order("hold.released", hold_id="h1")
    world.settle()
    world.tick(2 * 86_400)
    world.settle()
    assert "photo-0" not in stored(world)
    assert world.facts(case_id)[-1].fact == "forgotten"


def test_a_word_that_is_said_twice_is_refused_the_second_time() -> None:
    world = World()
    case_id = ended(world)
    for reason in ("why not", "still not"):
        world.say("case.forgotten", case_id, reason=reason)
        world.settle()
    assert [each["reason"] for each in world.dead_letters()] == ["asked_already"]
    world.age()
    world.settle()
    assert world.facts(case_id)[-1].fact == "forgotten"


def test_what_a_forgotten_case_had_purged_is_caught_when_it_comes_back() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    world.tick(60)
    before = len(world.commanded[case_id])
    world.register("photo-1", "object", "photos", event="restored", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id][before:]} == {"photo-1"}
    assert world.status(case_id) == "completed"
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    again = world.confirmations("completed", case_id=case_id)[-1]
    assert (again["case_id"], again["request_id"]) == (case_id, "")
    world.check_ledger(case_id)
    forget(world, case_id)
    assert "photo-1" not in stored(world)
    assert not world.dead_letters()


def test_a_large_case_is_forgotten_page_by_page() -> None:
    world, case_id = ended_on_two_pages()
    assert world.status(case_id) == "completed"
    forget(world, case_id)
    assert "photo-699" not in stored(world)
    kept = [e["data"]["chunks"] for e in world.broker.events("plans") if e["type"] == "expunge.plan.forgotten.v1"]
    assert len(kept) == 2
    assert sum(len(each["answers"]) for page in kept for each in page) == 700


def test_something_late_between_two_pages_is_purged_first() -> None:
    world, case_id = ended_on_two_pages()
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.register("photo-1000", "object", "photos", subjects=[identity("ann")])
    world.age()
    world.step("indexer")  # so that it comes behind the timer, and before the second page
    world.settle()
    assert ("photos", "photo-1000", "delete") in world.commanded[case_id]
    assert world.status(case_id) == "completed"
    assert "photo-699" in stored(world)
    assert not [fact for fact in world.facts(case_id) if fact.fact == "forgotten"]


def test_what_was_never_carried_out_is_forgotten_too() -> None:
    world = World()
    world.register("photo-0", "object", "photos", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.order("emission.paused", scope={"all": True}, reason="why not")
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.say("request.cancelled", case_id, reason="taken back")
    world.settle()
    assert world.status(case_id) == "cancelled"
    world.tick(26 * MONTH)
    world.settle()
    assert "photo-0" not in stored(world)


def test_a_dry_run_is_forgotten_too() -> None:
    world = World()
    world.register("photo-0", "object", "photos", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.settle()
    world.erase("ann", dry_run=True)
    world.settle()
    assert "photo-0" in stored(world)
    world.tick(26 * MONTH)
    world.settle()
    assert "photo-0" not in stored(world)


def test_a_system_that_takes_an_answer_back_after_all_is_forgotten_is_heard_by_a_person() -> None:
    world = World()
    case_id = ended(world)
    told = next(each["data"] for each in world.broker.events("commands.photos"))
    forget(world, case_id)
    world.tick(60)
    said = receipt(told, all={"claim": "failed", "reason_code": "not_so"}, sequence=9)
    world.publish("receipts.photos", "expunge.purge.receipted.v1", said, source="/photos")
    world.settle()
    assert [each["reason"] for each in world.dead_letters()] == ["receipt_without_command"]


PLANTED = (b"photo-", b"copy-0", b'"ann"', b'"r1"')


def left(world: World, *topics: str) -> list[bytes]:
    """What was planted that stands in Redis, or on topics that are kept for ever."""
    logs = [log for (topic, _), log in world.broker.logs.items() if topic in topics]
    lying = b"".join((record.key or b"") + record.value for log in logs for record in log if record.value)
    rows = b"".join(world.index.raw.values())
    return [word for word in PLANTED if word in lying + rows + stored(world).encode()]


def test_nothing_that_names_anybody_is_left_of_a_forgotten_case() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    assert left(world, "plans", "assets", "ledger", "suppressions") == [PLANTED[0], PLANTED[1], PLANTED[3]]
    swept = world.sweep()
    assert (swept.parts > 0, swept.statements) == (True, 3)
    assert left(world, "plans", "assets", "ledger", "suppressions") == []
    assert world.sweep() == type(swept)()


def test_what_has_been_swept_is_caught_when_it_comes_back_and_after_a_rebuild() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    world.sweep()
    world.rebuild()
    world.settle()
    assert not world.confirmations("reopened", case_id=case_id)
    before = len(world.commanded[case_id])
    world.register("photo-1", "object", "photos", event="restored", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.register("copy-1", "object", "ml", parents=["photo-0"])
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id][before:]} == {"photo-1", "copy-1"}
    assert world.status(case_id) == "completed"
    world.rebuild()
    world.settle()
    assert len(world.confirmations("reopened", case_id=case_id)) == 1
    world.check_ledger(case_id)


def test_what_comes_back_during_a_sweep_is_not_swept_away() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    world.tick_clocks(60)
    world.register("photo-1", "object", "photos", event="restored", subjects=[{"namespace": "user_id", "id": "ann"}])
    world.step("indexer")  # its case has not heard of it yet
    world.sweep()
    assert b"photo-1" in b"".join(world.index.raw.values())
    world.settle()
    assert ("photos", "photo-1", "delete") in world.commanded[case_id][3:]
    world.rebuild()
    assert b"photo-1" in b"".join(world.index.raw.values())


def test_an_asset_that_another_case_needs_is_not_swept_away() -> None:
    world = World()
    for number in range(2):
        world.register(f"photo-{number}", "object", "photos", subjects=[identity("ann")])
    world.settle()
    first, second = world.erase("ann", request="r1"), world.erase("ann", request="r2")
    world.settle()
    forget(world, first)
    assert world.sweep().statements == 0
    forget(world, second)
    assert world.sweep().statements == 2


def test_what_something_was_made_from_that_stands_keeps_its_id() -> None:
    """Else a later request could not have that made anew without it."""
    world = World()
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "exempt", "reason_code": "tax"})]
    world.register("photo-0", "object", "photos", subjects=[identity("ann")])
    world.register("set", "dataset", "ml", parents=["photo-0"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    forget(world, case_id)
    assert world.sweep().statements == 0
    world.answers.clear()
    again = world.erase("ann", request="r2")
    world.settle()
    assert world.excluded[again, "set"] == {"photo-0"}


def test_a_set_that_turns_up_late_says_itself_what_it_must_leave_out() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    assert world.sweep().statements == 3
    world.register("set", "dataset", "ml", parents=["photo-0"])
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo-0"}
    assert not [each for each in world.commanded[case_id] if each[1] == "photo-0"][1:]


def test_of_what_several_systems_have_none_is_forgotten() -> None:
    """What one of them has deleted another may keep, of the same person or of another one."""
    world = World()
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "exempt", "reason_code": "tax"})]
    for system in ("photos", "ml"):
        world.register("doc-0", "object", system, subjects=[identity("ann")])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    forget(world, case_id)
    assert world.sweep().statements == 0
    world.answers.clear()
    again = world.erase("ann", request="r2")
    world.settle()
    assert {system for system, _, _ in world.commanded[again]} == {"photos", "ml"}


def test_other_cases_that_are_forgotten_keep_no_id() -> None:
    """A dry run, and a request that concerned nothing of it, leave marks that nobody closes."""
    world = World()
    world.register("photo-0", "object", "photos", subjects=[identity("ann")], purposes=["training"])
    world.settle()
    cases = [world.erase("ann", request="dry", dry_run=True), world.revoke("ann", "marketing", request="revoked")]
    world.settle()
    cases.append(world.erase("ann", request="r1"))
    world.settle()
    forget(world, *cases[1:])
    assert world.sweep().statements == 0
    world.tick(26 * MONTH)
    world.settle()
    assert world.sweep().statements == 1
    assert left(world, "plans", "assets") == []


def test_a_word_that_it_is_not_there_keeps_no_id() -> None:
    world = World()
    case_id = ended(world)
    removed = {"asset": "photo-0", "system": "photos", "reason": "gone"}
    world.tick(60)
    world.publish("registrations", "expunge.asset.removed.v1", removed)
    world.settle()
    forget(world, case_id)
    assert world.sweep().statements == 4
    assert left(world, "plans", "assets") == []


def test_a_store_that_was_set_back_to_before_a_sweep_is_swept_again() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    rows = dict(world.index.raw)
    world.sweep()
    world.index.raw.update(rows)
    assert b"photo-0" in b"".join(world.index.raw.values())
    world.sweep()
    assert left(world, "assets") == []


def test_a_returning_customer_leaves_one_statement_more_however_often_it_is_said() -> None:
    world = World()
    case_id = ended(world)
    world.tick(60 * 86_400)
    for night in range(5):
        world.tick(86_400)
        fields = {"collected_at": "2026-12-20T00:00:00Z", "subjects": [identity("ann")]}
        world.register("photo-0", "object", "photos", event=f"night-{night}", **fields)
        world.settle()
    assert world.status(case_id) == "completed"
    keys = {record.key for (topic, _), log in world.broker.logs.items() if topic == "assets" for record in log}
    assert len([key for key in keys if key and key.startswith(world.keys.asset("photo-0").hex().encode())]) == 3


def test_what_is_planned_again_after_it_was_forgotten_is_another_chunk() -> None:
    """As the same, the fact that forgot the first took the second one's targets away."""
    world = World()
    world.answers["ml"] = lambda command: [receipt(command, all={"claim": "exempt", "reason_code": "tax"})]
    world.register("photo-0", "object", "photos", subjects=[identity("ann")])
    world.register("copy-0", "object", "ml", parents=["photo-0"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    forget(world, case_id)
    world.register("copy-0", "object", "ml", parents=["photo-0"], categories=["biometric"])
    world.settle()
    assert len([each for each in world.commanded[case_id] if each[1] == "copy-0"]) == 2
    world.rebuild()
    world.settle()
    world.check_ledger(case_id)


def test_a_page_that_was_asked_for_before_something_happened_asks_for_nothing() -> None:
    world = World()
    case_id = ended(world)
    stale = ForgetGoesOn(case_id=case_id, after="", serial=1)
    world.broker.send([on_cases(stale, world.broker.now, "/expunge/coordinator", case_id)])
    world.settle()
    assert "photo-0" in stored(world)


def test_a_frozen_case_is_not_forgotten_before_all_that_waits_for_it_is_handled() -> None:
    world = World()
    case_id = ended(world)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    number = partition_of(case_id, PARTITIONS)
    fired = len(world.broker.logs["cases", number]) - 1
    world.poison = lambda role, at: (role, at.partition, at.position.offset) == ("coordinator", number, fired)
    world.register("photo-1", "object", "photos", event="restored", subjects=[identity("ann")])
    for _ in range(20):
        world.step("coordinator", 1)
        world.step("indexer")
    assert case_id in world.standing()[number].frozen
    world.poison = lambda *_: False
    world.thaw(case_id)
    world.settle()
    assert case_id not in world.standing()[number].frozen
    assert [each for each in world.commanded[case_id] if each[1] == "photo-1"][1:]
    assert world.status(case_id) == "completed"


def test_what_is_forgotten_stays_a_step_on_the_way_of_other_walks() -> None:
    """A node without a row is passed through: walks for one person went on from a set into what is somebody else's."""
    world = World()
    world.register("photo-0", "object", "photos", subjects=[identity("ann")], data_sources=["supplier-a"])
    world.register("copy-0", "object", "ml", parents=["photo-0"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    forget(world, case_id)
    assert world.sweep().statements == 2
    world.register("copy-1", "object", "ml", parents=["copy-0"])
    world.settle()
    assert ("ml", "copy-1", "delete") in world.commanded[case_id]
    again = world.withdraw("supplier-a", request="r2")
    world.settle()
    assert {asset for _, asset, _ in world.commanded[again]} == {"copy-1"}


def test_nothing_is_swept_that_a_rebuild_may_need() -> None:
    world = World()
    case_id = ended(world)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    number = partition_of(case_id, PARTITIONS)
    committed = world.committed["coordinator", "cases", number]
    world.step("coordinator")
    assert '"photo-0"' not in stored(world)
    world.committed["coordinator", "cases", number] = committed  # it died before it said so
    assert world.sweep().parts == 0
    world.rebuild()
    world.settle()
    assert world.facts(case_id)[-1].fact == "forgotten"
    world.check_ledger(case_id)


def test_a_withdrawn_asset_that_nobody_has_registered_is_named_by_the_set_that_was_made_from_it() -> None:
    world = World()
    world.register("photo-y", "object", "photos")
    world.settle()
    case_id = world.withdraw_assets("photo-x", "photo-y")
    world.settle()
    forget(world, case_id)
    world.register("set", "dataset", "ml", parents=["photo-x"])
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo-x"}
    assert world.status(case_id) == "completed"


def test_a_set_of_which_nobody_can_say_what_it_must_leave_out_is_open() -> None:
    world = World()
    world.register("set", "dataset", "ml", parents=["photo-x"])
    world.settle()
    case_id = world.withdraw_assets("photo-x")
    world.settle()
    assert world.excluded[case_id, "set"] == {"photo-x"}
    forget(world, case_id)
    world.sweep()
    world.tick(60)
    world.register("set", "dataset", "ml", event="restored", attributes={"v": "2"})
    world.settle()
    named = world.excluded[case_id, "set"] == {"photo-x"} and world.status(case_id) == "completed"
    assert named or world.status(case_id) == "partially_completed"
    commands = [each["data"] for each in world.broker.events("commands.ml") if "commanded" in each["type"]]
    assert [] not in [each["exclude"]["assets"] for each in commands if "exclude" in each]


def test_what_waits_for_a_forgotten_case_that_is_frozen_is_not_swept_away() -> None:
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    number = partition_of(case_id, PARTITIONS)
    world.tick_clocks(60)
    world.register("photo-1", "object", "photos", event="restored", subjects=[identity("ann")])
    first = len(world.broker.logs["cases", number])
    world.poison = lambda role, at: (
        role == "coordinator" and (at.topic, at.partition, at.position.offset) == ("cases", number, first)
    )
    world.settle(ticks=2)
    world.tick(61)
    world.settle(ticks=2)
    assert case_id in world.standing()[number].frozen
    world.poison = lambda *_: False
    world.tick(3 * 86_400)
    world.settle()
    world.sweep()
    world.compact()
    world.rebuild()
    world.thaw(case_id)
    world.settle()
    assert [asset for _, asset, _ in world.commanded[case_id]].count("photo-1") == 2
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize("breaths", range(14))
def test_what_is_planned_before_it_is_written_that_a_case_was_forgotten_is_counted_once(breaths: int) -> None:
    """Owners of the new chunk went with those of the forgotten ones, and a second one held the same obligation."""
    world = World()
    case_id = ended(world)
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.answers["ml"] = lambda _: []
    world.age()
    for number in (1, 2):
        world.register(f"copy-{number}", "object", "ml", parents=["photo-0"])
    for _ in range(3):
        world.step("indexer")
    world.beside("coordinator", partition_of(case_id, PARTITIONS), breaths, "resolver", 50)
    world.settle(ticks=3)
    world.register("copy-1", "object", "ml", event="more", parents=["photo-0"], categories=["biometric"])
    world.settle(ticks=3)
    case = next(s.cases[case_id] for s in world.store.states.values() if case_id in s.cases)
    assert sum(number for _, number in case.counts) == 5
    assert [each.fact for each in world.facts(case_id)].count("forgotten") == 1


def test_a_hold_that_is_placed_between_two_pages_is_looked_for_in_the_first_one_too() -> None:
    world, case_id = ended_on_two_pages()
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    state = world.store.states[partition_of(case_id, PARTITIONS)]
    first = min(digest for case, digest in state.chunks if case == case_id)
    world.age()
    asset = state.bodies[case_id, first].assets[0]
    world.order("hold.placed", hold_id="h1", scope={"asset": asset}, basis="litigation", custodian="legal")
    world.step("intake")  # so that it comes behind the timer, and before the second page
    world.settle()
    assert "forgotten" not in [each.fact for each in world.facts(case_id)]
    world.order("hold.released", hold_id="h1")
    world.settle()
    world.tick(2 * 86_400)
    world.settle()
    assert "forgotten" in [each.fact for each in world.facts(case_id)]


def test_a_case_that_was_forgotten_behind_where_state_is_restored_stays_forgotten() -> None:
    """A group was set back, and Redis lost: what the case was before had been swept away, and all waited for that."""
    world = World()
    case_id = ended(world)
    forget(world, case_id)
    world.sweep()
    world.compact()
    number = partition_of(case_id, PARTITIONS)
    world.replay("coordinator", "cases", number, 2)
    world.rebuild()
    world.settle()
    assert [each.fact for each in world.facts(case_id)].count("forgotten") == 1
    world.check_ledger(case_id)
    world.register("photo-1", "object", "photos", event="restored", subjects=[identity("ann")])
    world.settle()
    assert [asset for _, asset, _ in world.commanded[case_id]].count("photo-1") == 2
    assert world.status(case_id) == "completed"
