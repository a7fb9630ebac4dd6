"""People keep being found while the secret is rotated, and after (rule "rotated")."""

from __future__ import annotations

from typing import Any

import pytest

from expunge.domain.identity import Epochs
from expunge.domain.scope import data_source_node
from expunge.rotation.topics import Renaming
from tests.simulation import PARTITIONS, World, identity

STEPS = {"begun": 1, "copied": 2, "over": 3, "twice": 6}
"""A rotation is begun, copies, finds nothing to copy and is over."""


def rotate(world: World, until: str) -> None:
    for _ in range(STEPS[until]):
        world.rotate()


def subjects(world: World, case_id: str) -> list[dict[str, Any]]:
    (target,) = [
        target
        for event in world.broker.events("commands.photos")
        if event["data"].get("case_id") == case_id
        for target in event["data"]["targets"]
    ]
    return list(target["subjects"])


@pytest.mark.parametrize("until", STEPS)
def test_what_comes_late_finds_the_case_that_knew_the_earlier_secret(until: str) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    rotate(world, until)
    world.register("late", subjects=["ann"], collected_at="2026-10-01T00:00:00Z")
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo", "late"}
    assert world.status(case_id) == "completed"


@pytest.mark.parametrize("until", STEPS)
def test_a_request_finds_what_was_registered_before_with_its_handle(until: str) -> None:
    world = World()
    world.register("photo", subjects=[identity("ann") | {"ref": "a-17"}])
    world.settle()
    rotate(world, until)
    case_id = world.erase("ann")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "delete")]
    assert {each["ref"] for each in subjects(world, case_id)} == {"a-17"}


@pytest.mark.parametrize("until", STEPS)
def test_who_is_stated_again_is_no_second_person(until: str) -> None:
    """Under two ids as well, of which the smaller one may be another under the later secret."""
    for ann in ("ann", "eve", "joe", "kim"):
        world = World()
        both = [identity(ann) | {"person": "1"}, {"namespace": "email", "id": f"{ann}@example.com", "person": "1"}]
        world.register("photo", subjects=both)
        world.settle()
        for _ in range(STEPS[until]):
            world.rotate()
            world.register("photo", subjects=both, event=f"inventory {world.rotated}")
            world.settle()
        case_id = world.erase(ann)
        world.settle()
        assert world.commanded[case_id] == [("photos", "photo", "delete")]
        world.register("photo", subjects=[*both, identity("bob")], event="and bob")
        world.settle()
        (row,) = world.index.rows([world.keys.asset("photo")])
        assert row is not None
        assert row.shared


@pytest.mark.parametrize("until", STEPS)
def test_somebody_else_is_a_second_person_whatever_secrets_they_were_named_under(until: str) -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    rotate(world, until)
    world.register("photo", subjects=["bob"], event="bob is in it, too")
    world.settle()
    world.rotate_to_the_end()
    case_id = world.erase("ann")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "redact")]


def test_a_restriction_is_lifted_that_was_asked_for_before() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.restrict("ann")
    world.settle()
    rotate(world, "over")
    world.lift("ann")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "restrict"), ("photos", "photo", "lift")]


@pytest.mark.parametrize("until", STEPS)
def test_a_hold_keeps_whom_it_was_placed_on_before(until: str) -> None:
    """What names them, and a holding that is asked for them."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.declare_holding("users.db", namespaces=["user_id"])
    world.order("hold.placed", hold_id="h1", scope={"subject": identity("ann")}, basis="b", custodian="c")
    world.settle()
    rotate(world, until)
    case_id = world.erase("ann")
    world.settle()
    assert world.commanded[case_id] == []
    rotate(world, "over")
    world.order("hold.released", hold_id="h1")
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo", "users.db"}


def test_who_makes_pseudonyms_goes_on_with_those_under_the_earlier_secret() -> None:
    """What was made with the newest does not say what it was before, under which assets may stand still."""
    world = World()
    first = world.keys.first("default", "user_id", "exact", "ann")
    world.register("photo", subjects=[identity("ann")])
    world.settle()
    rotate(world, "begun")
    second = world.keys.newest(first)
    refused = world.erase({"pseudonym": second.hex()}, request="too-early")
    case_id = world.erase({"pseudonym": first.hex()}, request="r1")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "delete")]
    assert [each["reason"] for each in world.rejections()] == ["bad_identity"]
    assert world.commanded[refused] == []
    rotate(world, "over")
    for number, name in enumerate((first, second)):
        world.register(f"later-{number}", subjects=[{"pseudonym": name.hex()}], collected_at="2026-10-01T00:00:00Z")
    world.settle()
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo", "later-0", "later-1"}


def test_a_task_that_waited_reads_what_it_was_announced_for() -> None:
    """A large group is read in shards, by its name under the secret of that time; nothing stands there any more."""
    world = World(step_nodes=1)
    for number in range(6):
        world.register(f"photo-{number}", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    for role in ("intake", "indexer", "coordinator"):
        world.step(role, 50)
    assert world.step("resolver", 1)  # the roots: the rest is in tasks now
    rotate(world, "over")
    world.settle(ticks=20)
    assert len(world.commanded[case_id]) == 6


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_a_store_that_was_set_back_waits_until_it_is_rotated_again(*, begun: bool, held: bool) -> None:
    """A request, or a hold, that names somebody by the later secret alone would find nobody, and say so."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    if begun:
        rotate(world, "begun")
    world.save()
    world.rotate_to_the_end() if begun else rotate(world, "over")
    if held:
        world.order("hold.placed", hold_id="h1", scope={"subject": identity("ann")}, basis="b", custodian="c")
        world.settle()
    case_id = world.erase("ann")
    for role in ("intake", "indexer", "coordinator"):
        world.step(role, 50)
    world.forget()
    assert world.rotated.epochs == Epochs(1, 1 + begun)
    world.settle()
    assert not world.confirmations("completed", case_id=case_id)
    world.rotate_to_the_end()
    world.settle()
    assert world.commanded[case_id] == ([] if held else [("photos", "photo", "delete")])


def names_on(world: World, topic: str, epoch: int) -> list[str]:
    """Messages in which somebody is called as under a secret."""
    name = world.keys.until(world.keys.first("default", "user_id", "exact", "ann"), epoch).hex()
    logs = [log for (at, _), log in sorted(world.broker.logs.items()) if at == topic]
    return [(record.key or b"").decode() for log in logs for record in log if name in (record.value or b"").decode()]


@pytest.mark.parametrize("rebuilt", [False, True])
def test_topics_are_written_anew_and_what_was_purged_is_caught_when_it_comes_back(rebuilt: bool) -> None:  # noqa: FBT001 - drawn
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    world.register("kept", subjects=["ann"], collected_at="2026-11-20T00:00:00Z")
    world.settle()
    rotate(world, "over")
    world.sweep()
    assert names_on(world, "assets", 1) == []
    assert [key for key in names_on(world, "plans", 1) if "forgotten" in key] == []
    assert names_on(world, "assets", 2)
    if rebuilt:
        world.rebuild()
    world.register("photo", subjects=["ann"], event="restored from a backup")
    world.register("late", subjects=["ann"], collected_at="2026-10-01T00:00:00Z")
    world.settle()
    assert set(world.commanded[case_id][1:]) == {("photos", "photo", "delete"), ("photos", "late", "delete")}


def test_statements_of_what_a_case_has_been_at_are_written_anew_apart() -> None:
    """Of two moments both stand; what was said again, and that it was said after it was gone, is one of one moment."""
    world = World()
    for number in range(2):
        world.register("photo", subjects=["ann"], event=str(number))
        world.settle()
        case_id = world.erase("ann", request=f"r{number}")
        world.settle()
        assert world.status(case_id) == "completed"
    world.compact()
    before = live(world)
    assert before == 2  # what was said again, and that it was said after it was gone
    rotate(world, "over")
    world.compact()
    assert (live(world), names_on(world, "assets", 1)) == (1, [])
    world.register("photo", subjects=["ann"], event="nightly")
    world.settle()
    world.compact()
    assert live(world) == 3  # what is said now, and that it is said after it was gone, stand beside it


def live(world: World) -> int:
    """How many statements there are."""
    logs = [log for (topic, _), log in world.broker.logs.items() if topic == "assets"]
    return sum(record.value is not None for log in logs for record in log)


def test_what_stays_of_a_case_that_is_forgotten_later_is_under_the_newest_secret() -> None:
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    rotate(world, "over")
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    world.settle()
    world.sweep()
    assert names_on(world, "plans", 1) == []
    assert [key.endswith(":root:forgotten") for key in names_on(world, "plans", 2)] == [True]


def test_shards_of_a_store_that_was_set_back_wait_as_their_roots_do() -> None:
    """They lie on another partition, and name a person by the later secret, under which nothing stands yet."""
    world = World(step_nodes=1)
    for number in range(2):
        world.register(f"photo-{number}", subjects=["ann3"])
    world.settle()
    rotate(world, "begun")
    world.save()
    world.rotate_to_the_end()
    case_id = world.erase("ann3")
    for role in ("intake", "indexer", "coordinator"):
        world.step(role, 50)
    world.step("resolver", 1)
    (roots,) = [number for number in range(PARTITIONS) if world.broker.logs["tasks", number]]
    assert world.broker.logs["walks", 1 - roots]
    world.forget()
    for _ in range(30):
        for role in ("intake", "indexer", "coordinator", "notary"):
            world.step(role, 50)
        for number in (roots, 1 - roots):
            world.step("resolver", 50, partitions=[number])
        world.answer_all()
        world.tick(6)
    assert not world.confirmations("completed", case_id=case_id)
    world.rotate_to_the_end()
    world.settle(ticks=20)
    assert {asset for _, asset, _ in world.commanded[case_id]} == {"photo-0", "photo-1"}


@pytest.mark.parametrize("number", range(4))
def test_an_id_that_somebody_else_has_now_names_them_alone(number: int) -> None:
    """Whom it named before it was purged and forgotten has a place in the index still, and none in the row."""
    world, ann, bob, new = World(), f"ann{number}", f"bob{number}", {"collected_at": "2027-01-01T00:00:00Z"}
    world.register("record", subjects=[ann])
    world.settle()
    gone = world.erase(ann)
    world.settle()
    world.say("case.forgotten", gone, reason="why not")
    world.settle()
    world.age()
    for _ in range(2):
        world.sweep()
        world.settle()
    world.register("record", subjects=[bob], event="bob's", **new)
    world.settle()
    rotate(world, "over")
    world.register("record", subjects=[bob], event="nightly", **new)
    world.settle()
    case_id = world.erase(bob, request="bob", received_at="2027-02-01T00:00:00Z")
    world.settle()
    assert world.commanded[case_id] == [("photos", "record", "delete")]


@pytest.mark.parametrize("until", STEPS)
def test_somebody_whose_id_has_two_versions_is_one(until: str) -> None:
    """Registered under the first version of a normaliser, and again under the second."""
    for number in range(6):
        world, address = World(), f"ann{number}@münchen.example"
        first = world.keys.first("default", "email", "email", address, 1).hex()
        world.register("photo", subjects=[{"pseudonym": first}])
        world.settle()
        email = {"namespace": "email", "id": address}
        world.register("photo", subjects=[email], event="under a newer version")
        world.settle()
        rotate(world, until)
        world.register("photo", subjects=[email], event="nightly")
        world.settle()
        assert not shared(world, "photo")


@pytest.mark.parametrize("until", STEPS)
def test_two_spellings_of_one_id_are_one_person(until: str) -> None:
    """Under the first version of a normaliser they were two."""
    world = World()
    both = [{"namespace": "email", "id": each} for each in ("ann@münchen.example", "ann@xn--mnchen-3ya.example")]
    for number, each in enumerate(both):
        world.register("photo", subjects=[each], event=str(number))
    world.settle()
    rotate(world, until)
    for number, each in enumerate(both):
        world.register("photo", subjects=[each], event=f"nightly {number}")
        world.settle()
    assert not shared(world, "photo")


@pytest.mark.parametrize("number", range(6))
def test_what_was_set_back_and_rotated_again_names_one_person(number: int) -> None:
    """Topics name everybody by the newest secret by then; rows follow from what is said there all the same."""
    world, both = World(), [identity(f"ann{number}") | {"person": "1"}]
    both.append({"namespace": "email", "id": f"ann{number}@example.com", "person": "1"})
    world.register("photo", subjects=both)
    world.settle()
    world.save()
    rotate(world, "over")
    world.forget()
    world.rotate_to_the_end()
    world.register("photo", subjects=both, event="nightly")
    world.settle()
    assert not shared(world, "photo")


def shared(world: World, asset: str) -> bool:
    (row,) = world.index.rows([world.keys.asset(asset)])
    assert row is not None
    return bool(row.shared)


def test_rows_that_were_rotated_are_those_that_a_rebuild_makes_and_no_news_to_anybody() -> None:
    """What several people are in has no first of them any more, and stated again it is what it was."""
    world = World()
    for number in range(6):
        world.register(f"photo-{number}", subjects=[f"ann{number}", f"bob{number}"])
    world.settle()
    cases = [world.erase(f"ann{number}", request=f"r{number}") for number in range(6)]
    world.settle()
    rotate(world, "over")
    rotated = dict(world.index.raw)
    for number in range(6):
        world.register(f"photo-{number}", subjects=[f"ann{number}", f"bob{number}"], event=f"nightly {number}")
    world.settle()
    assert world.index.raw == rotated
    assert [len(world.commanded[each]) for each in cases] == [1] * 6
    world.rebuild()
    assert world.index.raw == rotated


def test_of_whom_no_asset_is_known_no_earlier_name_stays() -> None:
    """Not after a second rotation either; a data source whose node begins like a name is none."""
    world = World()
    case_id = world.erase("ann")
    world.withdraw("supplier-48", request="source")
    world.settle()
    node = data_source_node("supplier-48")
    assert node[0] == 1
    rotate(world, "twice")
    known = {name for name, marks in world.index.marked.items() if marks}
    ann = [world.keys.until(world.keys.first("default", "user_id", "exact", "ann"), epoch) for epoch in (1, 2, 3)]
    assert known == {node, ann[2]}
    world.register("late", subjects=["ann"], collected_at="2026-10-01T00:00:00Z")
    world.settle()
    assert world.commanded[case_id] == [("photos", "late", "delete")]


def test_a_store_that_was_set_back_by_two_secrets_is_taken_through_both() -> None:
    """Topics name everybody by the last one by then: a rotation to the second could not read them, and never ended."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    world.save()
    rotate(world, "twice")
    world.forget()
    world.rotate_to_the_end()
    case_id = world.erase("ann")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "delete")]


@pytest.mark.parametrize("copied", [False, True])
def test_a_case_that_is_forgotten_meanwhile_keeps_its_marks(copied: bool) -> None:  # noqa: FBT001 - of one test
    """Its root knows the later name alone then: the mark under the earlier one was taken for nobody's."""
    world = World()
    world.register("else", subjects=["bob"])
    case_id = world.erase("ann")  # nobody has anything of hers: her name is marked, and has no members
    world.settle()
    world.rotate()
    if copied:
        world.rotate()
    world.say("case.forgotten", case_id, reason="why not")
    world.settle()
    world.age()
    world.settle()
    world.rotate_to_the_end()
    world.register("late", subjects=["ann"], collected_at="2026-10-01T00:00:00Z")
    world.settle()
    assert world.commanded[case_id] == [("photos", "late", "delete")]


def test_the_moment_of_a_statement_does_not_go_back() -> None:
    """An asset comes back while a rotation writes anew what was said of it before: a rebuild took it for gone."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    case_id = world.erase("ann")
    while not world.broker.events("commands.photos"):
        for role in ("intake", "indexer", "coordinator", "resolver"):
            world.step(role, 50)
    world.tick_clocks(5)
    world.answer_all()  # nobody has read the receipt yet
    world.tick_clocks(5)
    world.rotate()

    def comes_back() -> None:
        world.register("photo", subjects=["ann"], event="restored from a backup")
        while world.step("indexer", 50):
            pass

    world.intruder, world.breaths = comes_back, 0
    Renaming(world._since, world.people, world.index, world.broker, world.keys, lambda _: None).rows()
    world.breaths = None
    world.compact()
    world.rebuild()
    world.settle()
    world.rotate_to_the_end()
    world.settle()
    assert len(world.commanded[case_id]) == 2


def test_what_is_set_back_before_its_walk_is_walked_again() -> None:
    """The resolver answered that the indexers were behind, and the case had its answer: no mark stood again."""
    world = World()
    world.register("photo", subjects=["eve"])
    world.settle()
    world.save()
    case_id = world.erase("eve")
    world.register("else", subjects=["ann"])  # so that indexers have something to catch up with
    world.settle()
    assert world.status(case_id) == "completed"
    world.forget()
    world.step("coordinator", 3)
    world.step("resolver", 1)
    world.step("coordinator", 1)
    world.settle()
    world.register("late", subjects=["eve"], collected_at="2026-10-01T00:00:00Z")
    world.register("photo", subjects=["eve"], event="restored from a backup")
    world.settle()
    assert ("photos", "late", "delete") in world.commanded[case_id]
    assert world.returned(case_id)


@pytest.mark.parametrize("crash", range(8))
def test_a_row_that_nothing_else_tells_of_names_nobody_twice(crash: int) -> None:
    """An indexer dies behind the row, and a rotation ends before it is back: ann's own photo was taken for shared."""
    world = World()
    world.register("photo", subjects=["ann"])
    while not world.step("indexer", 50, crash):
        pass
    while world.rotated.epochs != (2, 2) or world.rotated.retired:
        world.rotate()
    world.settle()
    case_id = world.erase("ann")
    world.settle()
    assert world.commanded[case_id] == [("photos", "photo", "delete")]


@pytest.mark.parametrize("steps", [1, 2])
def test_after_a_rebuild_topics_are_looked_at_once_more(steps: int) -> None:
    """Redis was lost while a rotation was under way: earlier names stayed on `assets`, and nothing was under way."""
    world = World()
    world.register("photo", subjects=["ann"])
    world.settle()
    world.rotate()
    if steps > 1:
        world.register("said by who did not know", subjects=["bob"])
        world.settle()
    world.rebuild()
    world.settle()
    world.rotate_to_the_end()
    world.compact()
    assert names_on(world, "assets", 1) == []


def test_a_person_of_two_ids_stays_one_after_a_set_back_by_two_secrets() -> None:
    world = World()
    both = [identity("ann") | {"person": "1"}, {"namespace": "email", "id": "ann@example.com", "person": "1"}]
    world.register("photo", subjects=both)
    world.settle()
    world.save()
    while world.secrets < 3 or world.rotated.retired or world.rotated.epochs.oldest < 3:
        world.rotate()
    world.forget()
    while world.rotated.epochs != (2, 2) or world.rotated.retired:  # one run of `keys rotate`
        world.rotate()
    world.register("photo", subjects=both, event="nightly")
    world.settle()
    world.rotate_to_the_end()
    assert not shared(world, "photo")
