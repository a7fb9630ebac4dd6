"""The index port: one suite, run against memory and against a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from expunge.adapters.memory.index import MemoryIndex
from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.server import Server
from expunge.domain.digest import digest, name
from expunge.domain.lineage.marks import TASK_DIGITS, Mark, MarkState, is_gone
from expunge.domain.lineage.row import DIGEST_BYTES, Row
from expunge.domain.lineage.statement import Named, Statement
from expunge.domain.lineage.walk import Trip, Visit
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind, data_source_node, shard_of
from expunge.errors import Fenced, Unavailable
from expunge.ports import Gone, Index, Rule, Said
from tests.contract.conftest import server_of

CASE, OTHER = name("case"), name("other")
TASK, TASK2 = name("task"), name("task2")
NOW = 1_700_000_000_000
EVERYWHERE = range(SHARDS)


def key(text: str) -> bytes:
    return digest("asset", text)


@pytest.fixture(params=["memory", "redis", "cluster"])
def index(request: pytest.FixtureRequest) -> Index:
    return MemoryIndex() if request.param == "memory" else RedisIndex(server_of(request))


def said(asset: str, kind: str = "object", *, at: int = NOW, **fields: Any) -> Said:
    statement = Statement(asset, kinds=(kind,) if kind else (), systems=("s",), **fields)
    return Said(key(asset), statement.row(tuple(map(key, statement.parents))), at)


def put(index: Index, asset: str, kind: str = "object", *, at: int = NOW, **fields: Any) -> Row:
    index.put([said(asset, kind, at=at, **fields)])
    (row,) = index.rows([key(asset)])
    assert row is not None
    return row


def test_how_much_each_system_has_registered(index: Index) -> None:
    for number in range(300):
        put(index, f"asset-{number}")
    put(index, "asset-0")
    assert index.population()["s"] == pytest.approx(300, rel=0.2)  # of many buckets a sample is counted


def visit(
    index: Index,
    *nodes: str,
    arrival: Arrival = Arrival.THROUGH,
    task: str = TASK,
    own: bool = False,
    bounded: bool = True,
    again: bool = False,
    until: int = 0,
    returned: int = 0,
    case: str = CASE,
) -> list[Visit]:
    trip = Trip(arrival, own, [key(node) for node in nodes])
    rule = Rule(bounded=bounded, again=again, until=until, returned=returned)
    (found,) = index.visit(case, task, [trip], rule)
    return sorted(found, key=lambda each: [key(node) for node in nodes].index(each.key))


def only(index: Index, asset: str) -> Mark:
    ((mark,),) = index.marks([key(asset)])
    return mark


def test_statements_add_up_in_any_order(index: Index) -> None:
    first: dict[str, Any] = {
        "purposes": ("training",),
        "collected_at": "2026-02-01T00:00:00.000Z",
        "subjects": (Named(b"\x01" + b"1" * 15),),
    }
    second: dict[str, Any] = {
        "data_sources": ("x",),
        "collected_at": "2026-01-01T00:00:00.000Z",
        "subjects": (Named(b"\x01" + b"2" * 15, "her-id"),),
        "parents": ("p", "q"),
        "derived_at": "2026-01-02T00:00:00.000Z",
        "attributes": (("a", "b"),),
    }
    put(index, "a", **first)
    row = put(index, "a", "record", **second)
    assert row.combination.kinds == {"object", "record"}
    assert (row.collected, row.shared, row.first_subject) == (1767225600, True, b"\x01" + b"1" * 7)
    assert row.parents == tuple(sorted((key("p"), key("q"))))
    assert row.refs == {((b"\x01" + b"2" * 15).hex(), "her-id")}
    assert (row.attributes, row.derived_ms) == ((("a", "b"),), 1767312000000)
    other = MemoryIndex()
    put(other, "a", "record", **second)
    assert put(other, "a", **first) == row
    assert other.raw[key("a")] == row.encode()


def test_the_largest_row_that_statements_may_add_up_to(index: Index) -> None:
    people = tuple(Named(digest("person", number), "r" * 256) for number in range(1000))
    put(index, "a", subjects=people, data_sources=tuple(f"s{number}" for number in range(64)))
    row = put(index, "a", data_sources=tuple(f"t{number}" for number in range(300)))
    assert (len(row.refs), len(row.combination.data_sources)) == (1000, 364)
    assert index.members(Group(GroupKind.SOURCE, data_source_node("t299")), EVERYWHERE) == [key("a")]


def test_an_unknown_asset_has_no_row(index: Index) -> None:
    assert index.rows([key("nobody")]) == [None]


def test_two_statements_about_one_asset_in_one_batch(index: Index) -> None:
    puts = index.put([said("a", purposes=("p1",)), said("a", purposes=("p2",)), said("b")])
    (row,) = index.rows([key("a")])
    assert row is not None
    assert row.combination.purposes == {"p1", "p2"}
    assert puts[0].raw == puts[1].raw == row.encode() != puts[2].raw


@pytest.mark.parametrize("size", [3, 300])
def test_whether_something_is_a_member_and_who_watches_it(index: Index, size: int) -> None:
    assets = [key(f"a{number}") for number in range(size)]
    index.put([said(f"a{number}", data_sources=("supplier",)) for number in range(size)])
    index.link_subjects([(b"p" * 16, asset) for asset in assets])
    index.link_children([(key("set"), asset) for asset in assets])
    groups = [Group(GroupKind.SOURCE, data_source_node("supplier")), Group(GroupKind.SUBJECT, b"p" * 16)]
    groups.append(Group(GroupKind.CHILDREN, key("set")))
    for group in groups:
        asked = [(group, asset) for asset in (*assets, key("nobody"), assets[0])]
        assert index.are_members(asked) == [True] * size + [False, True]
    other = Group(GroupKind.SOURCE, data_source_node("another"))
    assert index.are_members([(other, assets[0])]) == [False]
    assert index.are_members([]) == []
    assert not any(index.watchers(assets[:2]))
    rows = index.watch(CASE, assets[:1])
    (watchers, none) = index.watchers(assets[:2])
    assert rows[0] is not None
    assert [(case_id, seen) for case_id, seen in watchers] == [(CASE, rows[0].encode()[:DIGEST_BYTES])]
    assert not none
    assert not any(index.marks(assets[:1]))


@pytest.mark.parametrize("size", [3, 300, 3000])
def test_members_of_subjects_and_data_sources(index: Index, size: int) -> None:
    assets = [f"a{number}" for number in range(size)]
    index.put([said(asset, data_sources=("supplier",)) for asset in assets])
    members = [(b"p" * 16, key(asset)) for asset in assets]
    for _ in range(2):  # twice: nothing doubles
        assert not any(index.link_subjects(members))
    expected = {key(asset) for asset in assets}
    for group in (Group(GroupKind.SUBJECT, b"p" * 16), Group(GroupKind.SOURCE, data_source_node("supplier"))):
        sizes, found = index.sizes(group), index.members(group, EVERYWHERE)
        assert (len(sizes), sum(sizes), set(found), len(found)) == (SHARDS, size, expected, size)
        some = index.members(group, range(100, 180))
        assert set(some) == {member for member in expected if 100 <= shard_of(member) < 180}
        assert len(some) == sum(sizes[100:180])
    assert sum(index.sizes(Group(GroupKind.SOURCE, data_source_node("another")))) == 0


@pytest.mark.parametrize("size", [50, 500, 30_000])
def test_children_of_a_hub_are_read_in_shards(index: Index, size: int) -> None:
    put(index, "parent")
    edges = [(key("parent"), key(f"c{number}")) for number in range(size)]
    index.link_children(edges)
    index.link_children(edges[:600])  # twice: nothing doubles
    (found,) = visit(index, "parent")
    group = Group(GroupKind.CHILDREN, key("parent"))
    assert found.hub == (size > 128)
    assert len(found.children) == (0 if found.hub else 16 * size)
    members = index.members(group, EVERYWHERE)
    assert sorted(members) == sorted(child for _, child in edges)
    assert sum(index.sizes(group)) == size
    assert len(index.members(group, range(1))) == index.sizes(group)[0]


def test_the_children_of_a_hub_are_read_by_who_owns_its_mark(index: Index) -> None:
    """Or a walk would go round a cycle of hubs for ever, in ever new tasks."""
    put(index, "hub", "dataset")
    index.link_children([(key("hub"), key(f"c{number}")) for number in range(200)])
    assert visit(index, "hub")[0].hub
    assert visit(index, "hub")[0].hub  # the same task, repeated after a crash
    assert not visit(index, "hub", task=TASK2, own=True)[0].hub
    assert not visit(index, "hub", task=TASK2, again=True)[0].hub
    index.set_state(CASE, [key("hub")], MarkState.CLEAN, NOW)
    assert not visit(index, "hub", again=True)[0].hub  # nobody reads them while it is clean
    index.set_state(CASE, [key("hub")], MarkState.OPEN, 0, task_id=TASK2)
    assert visit(index, "hub", task=TASK2, again=True)[0].hub
    assert not visit(index, "hub", task=name("third"), again=True)[0].hub


def test_mark_first_read_after_and_edge_first_mark_after(index: Index) -> None:
    put(index, "parent")
    (first,) = visit(index, "parent")
    assert first.children == b""
    ((mark,),) = index.link_children([(key("parent"), key("late"))])
    assert (mark.case_id, mark.reach) == (CASE, Arrival.THROUGH)


def test_a_node_carries_a_mark_for_every_case(index: Index) -> None:
    """rule "marks by case": a second case that overwrote the first would reopen only one of them."""
    put(index, "a")
    cases = [name("case", number) for number in range(80)]
    for case in cases:
        list(index.visit(case, TASK, [Trip(Arrival.THROUGH, own=False, keys=[key("a")])], Rule(bounded=True)))
    (marks,) = index.marks([key("a")])
    assert sorted(mark.case_id for mark in marks) == sorted(cases)
    assert index.set_state(cases[7], [key("a")], MarkState.CLEAN, 1234) == []
    (marks,) = index.marks([key("a")])
    assert {(mark.state, mark.since_ms) for mark in marks if mark.case_id == cases[7]} == {(MarkState.CLEAN, 1234)}
    assert {mark.state for mark in marks if mark.case_id != cases[7]} == {MarkState.OPEN}
    (put_now,) = index.put([said("a")])
    assert len(put_now.marks) == 80
    (peek,) = index.peek(cases[7], [key("a")])
    assert peek.mark is not None
    assert (peek.flags, peek.row, peek.mark.state) == (0, None, MarkState.CLEAN)
    assert visit(index, "a", task=TASK2)[0].known is False


def test_another_task_sees_and_the_same_task_plans_again(index: Index) -> None:
    put(index, "a")
    (first,) = visit(index, "a")
    assert (first.seen, first.known) == (False, False)
    (again,) = visit(index, "a")
    assert (again.seen, again.known) == (False, True)
    assert visit(index, "a", task=TASK2)[0].seen
    assert not visit(index, "a", task=TASK2, own=True)[0].seen


REACHES: list[tuple[str, Arrival, bool, Arrival | None]] = [
    ("object", Arrival.THROUGH, True, Arrival.THROUGH),
    ("object", Arrival.CONTAINERS, True, None),
    ("object", Arrival.CONTAINERS, False, Arrival.THROUGH),
    ("dataset", Arrival.THROUGH, True, Arrival.CONTAINERS),
    ("dataset", Arrival.CONTAINERS, True, Arrival.CONTAINERS),
    ("dataset", Arrival.THROUGH, False, Arrival.THROUGH),
    ("dataset", Arrival.ROOT, True, Arrival.ROOT),
    ("", Arrival.CONTAINERS, True, Arrival.CONTAINERS),
    ("", Arrival.THROUGH, True, Arrival.THROUGH),
]


@pytest.mark.parametrize(("kind", "arrival", "bounded", "reach"), REACHES)
def test_containers_are_boundaries_for_a_bounded_walk(
    index: Index, kind: str, arrival: Arrival, *, bounded: bool, reach: Arrival | None
) -> None:
    put(index, "a", kind)
    (found,) = visit(index, "a", arrival=arrival, bounded=bounded)
    assert found.skipped == (reach is None)
    assert len(index.marks([key("a")])[0]) == (0 if reach is None else 1)
    if reach is not None:
        assert found.reach is reach


def test_a_wider_arrival_visits_again(index: Index) -> None:
    visit(index, "alias", arrival=Arrival.CONTAINERS)
    assert visit(index, "alias", arrival=Arrival.CONTAINERS, task=TASK2)[0].seen
    (again,) = visit(index, "alias", arrival=Arrival.THROUGH, task=TASK2)
    assert (again.seen, again.reach) == (False, Arrival.THROUGH)


def test_what_a_person_had_collected_too_late_is_not_reached(index: Index) -> None:
    put(index, "old", collected_at="2026-01-01T00:00:00.000Z")
    put(index, "new", collected_at="2026-03-01T00:00:00.000Z")
    until = 1769904000  # 2026-02-01
    old, new = visit(index, "old", "new", arrival=Arrival.MEMBER, until=until)
    assert (old.skipped, old.reach, new.skipped) == (False, Arrival.THROUGH, True)
    assert index.marks([key("new")]) in ([()], [[]])
    assert visit(index, "new", arrival=Arrival.EITHER, until=until)[0].skipped
    assert not visit(index, "old", arrival=Arrival.EITHER, until=until)[0].skipped
    put(index, "new set", "dataset", collected_at="2026-03-01T00:00:00.000Z")
    (container,) = visit(index, "new set", arrival=Arrival.EITHER, until=until)
    assert (container.skipped, container.reach) == (False, Arrival.CONTAINERS)
    (derived,) = visit(index, "new", arrival=Arrival.THROUGH, until=until)  # made from something old, it is reached
    assert not derived.skipped


def test_roots_are_marked_once(index: Index) -> None:
    node = data_source_node("supplier")
    index.mark_roots(CASE, TASK, [node], 77)
    index.mark_roots(CASE, TASK2, [node], 77)
    ((mark,),) = index.marks([node])
    assert (mark.case_id, mark.tasks, mark.digest, mark.until) == (CASE, (TASK[:4], ""), b"", 77)


def test_a_mark_keeps_the_digest_of_the_row_as_planned(index: Index) -> None:
    row = put(index, "a")
    visit(index, "a")
    assert only(index, "a").digest == row.encode()[:DIGEST_BYTES]
    changed = put(index, "a", purposes=("x",))
    assert only(index, "a").digest != changed.encode()[:DIGEST_BYTES]


def test_what_was_stated_after_its_purge_has_come_back(index: Index) -> None:
    """rule "returns", whichever of receipt and statement is handled first."""
    put(index, "a", at=NOW)
    put(index, "b", at=NOW)
    visit(index, "a", "b")
    index.put([said("a", at=NOW + 10), said("b", at=NOW + 30), said("b", at=NOW + 10)])
    nodes = [key("a"), key("b")]
    assert index.set_state(CASE, nodes, MarkState.GONE, NOW + 20) == [key("b")]
    assert index.set_state(CASE, nodes, MarkState.GONE, NOW + 20) == [key("b")]  # repeated after a crash
    assert (only(index, "a").state, only(index, "b").state) == (MarkState.GONE, MarkState.RESTATED)
    assert index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 5) == []  # a process that lost its partition
    assert only(index, "a").since_ms == NOW + 20
    (again,) = index.put([said("a", at=NOW + 40)])
    assert [(mark.state, mark.since_ms) for mark in again.marks] == [(MarkState.GONE, NOW + 20)]
    visit(index, "a", task=TASK2, own=True)
    assert only(index, "a").state is MarkState.GONE
    visit(index, "a", task=TASK2, own=True, returned=NOW + 40)
    assert only(index, "a").state is MarkState.OPEN
    index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 50)
    visit(index, "a", task=TASK2, own=True, returned=NOW + 40)  # the task is repeated after the second receipt
    assert only(index, "a").state is MarkState.GONE


def forgotten(index: Index, *assets: str, cases: tuple[str, ...] = (CASE,)) -> list[bool]:
    rows = {key(each): row for each in assets for row in index.rows([key(each)]) if row}
    return index.forget(rows, cases)


def test_the_id_of_what_is_gone_for_forgotten_cases_alone_is_forgotten(index: Index) -> None:
    for asset in ("gone", "elsewhere", "open", "never"):
        put(index, asset, at=NOW, parents=("parent",), subjects=(Named(key("ann")),), purposes=("x",))
    visit(index, "gone", "elsewhere", "open")
    visit(index, "elsewhere", case=OTHER)
    index.set_state(CASE, [key("gone"), key("elsewhere")], MarkState.GONE, NOW + 20)
    assert forgotten(index, "gone", "elsewhere", "open", "never") == [True, False, False, False]
    (row,) = index.rows([key("gone")])
    assert row is not None
    assert (row.asset, row.is_forgotten, row.parents) == ("", True, (key("parent"),))
    assert (sorted(row.combination.kinds), sorted(row.combination.systems)) == (["object"], [])
    assert forgotten(index, "elsewhere", cases=(CASE, OTHER)) == [True]  # the other one was there for nothing
    index.put([Said(key("gone"), Row("gone"), 0)])
    (row,) = index.rows([key("gone")])
    assert row is not None
    assert (row.asset, row.is_forgotten) == ("gone", True)  # known again, and nothing is planned for it
    assert not put(index, "gone", at=NOW + 40).is_forgotten


def test_what_was_stated_since_it_is_gone_is_not_forgotten(index: Index) -> None:
    put(index, "a", at=NOW)
    visit(index, "a")
    index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 20)
    index.put([said("a", at=NOW + 10)])  # an inventory that is read again
    assert not only(index, "a").stated_again
    index.put([said("a", at=NOW + 30)])
    assert only(index, "a").stated_again
    assert forgotten(index, "a") == [False]
    index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 25)
    assert only(index, "a").stated_again
    visit(index, "a", case=OTHER)
    index.set_state(OTHER, [key("a")], MarkState.GONE, NOW + 35)  # it was purged for another case after that
    assert forgotten(index, "a", cases=(CASE, OTHER)) == [True]
    put(index, "b", at=NOW)
    visit(index, "b")
    index.set_state(CASE, [key("b")], MarkState.GONE, NOW + 20)
    index.put([said("b", at=NOW + 30)])
    visit(index, "b", task=TASK2, own=True, returned=NOW + 30)
    assert (only(index, "b").state, only(index, "b").stated_again) == (MarkState.OPEN, False)
    index.set_state(CASE, [key("b")], MarkState.GONE, NOW + 50)
    assert forgotten(index, "b") == [True]


def test_a_row_that_has_changed_meanwhile_is_not_forgotten(index: Index) -> None:
    read = put(index, "a")
    visit(index, "a")
    index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 20)
    put(index, "a", at=0, purposes=("x",))
    assert index.forget({key("a"): read}, (CASE,)) == [False]


def test_an_index_of_an_earlier_version_notes_returns_since_somebody_asks(clustered: Server) -> None:
    index, meta = RedisIndex(clustered), clustered.key(0, "meta")
    assert index.notes_returns_since() == 0
    clustered.client.hdel(meta, "again")
    since = index.notes_returns_since()
    assert 0 < since <= clustered.now_ms()
    assert index.notes_returns_since() == since


def test_planning_again_does_not_forget_that_something_was_stated_again(index: Index) -> None:
    put(index, "a")
    visit(index, "a")
    put(index, "a", at=NOW + 30)
    index.set_state(CASE, [key("a")], MarkState.OPEN, 0)
    assert index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 20) == [key("a")]


def test_a_purged_asset_whose_row_has_changed_stays_gone_until_it_is_planned_again(index: Index) -> None:
    """Opened by being visited it would stay open for ever if there was nothing to plan, and its next return be lost."""
    put(index, "a")
    visit(index, "a")
    index.set_state(CASE, [key("a")], MarkState.GONE, NOW + 20)
    put(index, "a", purposes=("x",))
    visit(index, "a", task=TASK2, own=True)
    assert only(index, "a").state is MarkState.GONE
    index.set_state(CASE, [key("a")], MarkState.OPEN, 0, task_id=TASK2)
    assert only(index, "a").state is MarkState.OPEN
    assert TASK2[:TASK_DIGITS] in only(index, "a").tasks


def test_a_clean_container_stays_clean_until_it_is_planned_again(index: Index) -> None:
    """An inventory that says it again must not take it back; nor are its children read for that."""
    put(index, "set", "dataset")
    index.link_children([(key("set"), key("child"))])
    visit(index, "set")
    index.set_state(CASE, [key("set")], MarkState.CLEAN, NOW)
    assert visit(index, "set", task=TASK2)[0].children == b""
    assert only(index, "set").state is MarkState.CLEAN
    assert visit(index, "set", task=TASK2, again=True, own=True)[0].children == b""
    assert only(index, "set").state is MarkState.CLEAN
    index.set_state(CASE, [key("set")], MarkState.OPEN, 0, task_id=TASK2)
    assert visit(index, "set", task=name("third"), again=True)[0].children == key("child")


def test_holdings_and_exclusions(index: Index) -> None:
    index.add_holding(key("h"))
    index.add_holding(key("h"))
    assert index.holdings() == [key("h")]
    index.exclude(CASE, {key("set"): {key("a"), key("b")}})
    index.exclude(CASE, {key("set"): {key("b"), key("c")}})
    assert index.excluded(CASE, key("set")) == sorted([key("a"), key("b"), key("c")])
    assert index.excluded(OTHER, key("set")) == []
    index.exclude(CASE, {key("set"): {key(str(number)) for number in range(2000)}})
    assert len(index.excluded(CASE, key("set"))) == 1001


def test_a_lease_that_has_passed_refuses_to_mark(index: Index) -> None:
    """rule "leases": whoever was last a member of its group too long ago may not mark any more."""
    if isinstance(index, MemoryIndex):
        index.now_ms = NOW
    trips = [Trip(Arrival.THROUGH, own=False, keys=[key("a")])]
    with pytest.raises(Fenced):
        list(index.visit(CASE, TASK, trips, Rule(bounded=True, lease=lambda: 1)))
    assert not index.marks([key("a")])[0]
    list(index.visit(CASE, TASK, trips, Rule(bounded=True, lease=lambda: 2**45)))
    assert index.marks([key("a")])[0]


def test_a_redis_that_forgot_a_sentinel_is_not_read(server: Server) -> None:
    index = RedisIndex(server)
    put(index, "a")
    for tag in range(256):
        server.client.delete(server.sentinel(tag))
    reads: list[Callable[[], object]] = [
        lambda: index.sizes(Group(GroupKind.SUBJECT, b"p" * 16)),
        lambda: index.members(Group(GroupKind.SOURCE, b"p" * 16), EVERYWHERE),
        lambda: visit(index, "a"),
        lambda: index.peek(CASE, [key("a")]),
        lambda: index.put([said("a")]),
        lambda: index.link_children([(key("a"), key("b"))]),
        lambda: index.set_state(CASE, [key("a")], MarkState.GONE, 1),
        lambda: index.mark_roots(CASE, TASK, [key("a")], 0),
    ]
    for read in reads:
        with pytest.raises(Unavailable, match="rebuild"):
            read()


def test_scripts_that_the_server_has_forgotten_are_loaded_again(server: Server) -> None:
    index = RedisIndex(server)
    put(index, "a")
    server.client.script_flush()
    assert put(index, "a", purposes=("x",)).combination.purposes == {"x"}


def test_a_redis_that_is_down_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Server("redis://127.0.0.1:1/0", "x.").read_meta()


def test_concurrent_writers_of_one_row_lose_nothing(server: Server) -> None:
    """Each indexer expects what it saw last; the second to write finds another row, merges, and tries again."""
    one, two = RedisIndex(server), RedisIndex(server)
    put(one, "a", purposes=("first",))
    put(two, "a", purposes=("second",))
    assert put(one, "a", purposes=("third",)).combination.purposes == {"first", "second", "third"}


def test_what_is_gone_in_many_cases_is_marked_as_one_by_one(index: Index) -> None:
    cases = [name("case", number) for number in range(3)]
    for node in ("a", "b"):
        put(index, node, at=NOW)
    for case_id in cases:
        visit(index, "a", "b", case=case_id)
    index.put([said("b", at=NOW + 30)])
    both = [key("a"), key("b")]
    gone = [Gone(cases[0], both, NOW + 20), Gone(cases[1], [key("a")], NOW + 40), Gone(cases[2], both, NOW + 50)]
    assert index.set_gone(gone) == [[key("b")], [], []]
    assert index.set_gone(gone) == [[key("b")], [], []]  # repeated after a crash
    found = {mark.case_id: mark.state for mark in index.marks([key("b")])[0]}
    assert found == dict(zip(cases, (MarkState.RESTATED, MarkState.RESTATED, MarkState.GONE), strict=True))
    assert index.set_gone([]) == []


def test_what_is_noted_again_is_gone_and_may_be_there_all_the_same(index: Index) -> None:
    """It is never swept away: `is_gone` of marks, and `forget` of rows, wait for what is known."""
    case = name("case")
    put(index, "a", at=NOW)
    visit(index, "a", case=case)
    assert index.set_gone([Gone(case, [key("a")], NOW + 20, again=True)]) == [[]]
    (mark,) = index.marks([key("a")])[0]
    assert (mark.state, mark.since_ms, mark.stated_again) == (MarkState.GONE, NOW + 20, True)
    assert not is_gone([mark], {case})
    (row,) = index.rows([key("a")])
    assert row is not None
    assert index.forget({key("a"): row}, {case}) == [False]
    assert index.set_gone([Gone(case, [key("a")], NOW + 30)]) == [[]]  # its system says so once more
    (mark,) = index.marks([key("a")])[0]
    assert mark.since_ms == NOW + 30
