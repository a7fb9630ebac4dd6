"""The index port: one suite, run against memory and against a real Redis."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from expunge.adapters.memory import MemoryIndex
from expunge.adapters.store.index import RedisIndex
from expunge.adapters.store.server import Server
from expunge.domain.digest import digest, name
from expunge.domain.scope import Arrival, data_source_node
from expunge.domain.statement import Named, Row, Statement
from expunge.domain.walk import Step, Visit
from expunge.errors import Unavailable
from expunge.ports import Index

CASE, OTHER = name("case"), name("other")
TASK, TASK2 = name("task"), name("task2")


def key(text: str) -> bytes:
    return digest("asset", text)


@pytest.fixture(params=["memory", "redis"])
def index(request: pytest.FixtureRequest) -> Index:
    if request.param == "memory":
        return MemoryIndex()
    return RedisIndex(request.getfixturevalue("server"))


def put(index: Index, asset: str, kind: str = "object", **fields: object) -> Row:
    statement = Statement(asset, kinds=(kind,) if kind else (), systems=("s",), **fields)  # type: ignore[arg-type]
    return index.put([(key(asset), statement)])[0]


def visit(
    index: Index,
    *nodes: str,
    arrival: Arrival = Arrival.THROUGH,
    task: str = TASK,
    own: bool = False,
    bounded: bool = True,
) -> list[Visit]:
    steps = [Step(key(node), arrival, own) for node in nodes]
    return index.visit(CASE, task, steps, bounded=bounded, again=False, lease_until_ms=0)


def test_statements_add_up_in_any_order(index: Index) -> None:
    put(index, "a", purposes=("training",), collected_at="2026-02-01T00:00:00.000Z", subjects=(Named(b"1" * 16),))
    row = put(
        index, "a", "record", data_sources=("x",), collected_at="2026-01-01T00:00:00.000Z", subjects=(Named(b"2" * 16),)
    )
    assert row.kinds == {"object", "record"}
    assert (row.collected_at, row.shared, row.first_subject) == ("2026-01-01T00:00:00.000Z", True, b"1" * 16)
    other = MemoryIndex()
    put(
        other, "a", "record", data_sources=("x",), collected_at="2026-01-01T00:00:00.000Z", subjects=(Named(b"2" * 16),)
    )
    put(other, "a", purposes=("training",), collected_at="2026-02-01T00:00:00.000Z", subjects=(Named(b"1" * 16),))
    assert index.rows([key("a")])[0] == other.rows([key("a")])[0] == row
    assert row.encode() == (other.rows([key("a")])[0] or row).encode()


def test_an_unknown_asset_has_no_row(index: Index) -> None:
    assert index.rows([key("nobody")]) == [None]


def test_two_statements_about_one_asset_in_one_batch(index: Index) -> None:
    statements = [Statement("a", systems=("s1",)), Statement("a", systems=("s2",))]
    rows = index.put([(key("a"), each) for each in statements])
    assert rows[0].systems == rows[1].systems == {"s1", "s2"}


def test_members_of_subjects_and_data_sources(index: Index) -> None:
    for number in range(300):
        put(index, f"a{number}", data_sources=("supplier",))
        assert index.link_subjects([(b"p" * 16, key(f"a{number}"))]) == [[]]
    expected = {key(f"a{number}") for number in range(300)}
    assert set(index.subject_assets(b"p" * 16)) == expected
    sizes = index.source_sizes("supplier")
    members = [asset for shard in range(256) for asset in index.source_assets("supplier", shard)]
    assert (len(sizes), sum(sizes), set(members), len(members)) == (256, 300, expected, 300)
    assert sum(index.source_sizes("another")) == 0


def test_many_children_spill_and_are_all_read(index: Index) -> None:
    put(index, "parent")
    edges = [(key("parent"), key(f"c{number}")) for number in range(500)]
    index.link_children(edges)
    index.link_children(edges)  # twice: nothing doubles
    (found,) = visit(index, "parent")
    assert sorted(found.children) == sorted(child for _, child in edges)
    assert index.stats().edges == 500


def test_mark_first_read_after_and_edge_first_mark_after(index: Index) -> None:
    put(index, "parent")
    (first,) = visit(index, "parent")
    assert first.children == ()
    ((mark,),) = index.link_children([(key("parent"), key("late"))])
    assert (mark.case_id, mark.reach) == (CASE, Arrival.THROUGH)


def test_a_node_carries_a_mark_for_every_case(index: Index) -> None:
    put(index, "a")
    cases = [name("case", number) for number in range(60)]
    for case in cases:
        index.visit(
            case, TASK, [Step(key("a"), Arrival.THROUGH, own=False)], bounded=True, again=False, lease_until_ms=0
        )
    (marks,) = index.marks([key("a")])
    assert sorted(mark.case_id for mark in marks) == sorted(cases)
    index.set_clean(cases[7], [key("a")], 1234)
    (marks,) = index.marks([key("a")])
    assert {mark.clean_since for mark in marks if mark.case_id == cases[7]} == {1234}
    assert {mark.clean_since for mark in marks if mark.case_id != cases[7]} == {0}


def test_another_task_sees_and_the_same_task_plans_again(index: Index) -> None:
    put(index, "a")
    assert not visit(index, "a")[0].seen
    assert not visit(index, "a")[0].seen
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


def test_roots_are_marked_once(index: Index) -> None:
    node = data_source_node("supplier")
    index.mark_roots(CASE, TASK, [node])
    index.mark_roots(CASE, TASK2, [node])
    ((mark,),) = index.marks([node])
    assert (mark.case_id, mark.tasks, mark.digest) == (CASE, (TASK[:16], ""), b"")


def test_a_mark_keeps_the_digest_of_the_row_as_planned(index: Index) -> None:
    row = put(index, "a")
    visit(index, "a")
    assert index.marks([key("a")])[0][0].digest == row.encode()[:8]
    changed = put(index, "a", purposes=("x",))
    assert index.marks([key("a")])[0][0].digest != changed.encode()[:8]


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


def test_a_lease_that_has_passed_refuses_to_mark(server: Server) -> None:
    from expunge.errors import Fenced

    index = RedisIndex(server)
    with pytest.raises(Fenced):
        index.visit(
            CASE, TASK, [Step(key("a"), Arrival.THROUGH, own=False)], bounded=True, again=False, lease_until_ms=1
        )
    assert index.marks([key("a")]) == [[]]


def test_a_redis_that_forgot_a_sentinel_is_not_read(server: Server) -> None:
    index = RedisIndex(server)
    put(index, "a")
    for tag in range(256):
        server.client.delete(server.sentinel(tag))
    reads: list[Callable[[], object]] = [
        lambda: index.subject_assets(b"p" * 16),
        lambda: visit(index, "a"),
        lambda: put(index, "a"),
        lambda: index.link_children([(key("a"), key("b"))]),
    ]
    for read in reads:
        with pytest.raises(Unavailable, match="rebuild"):
            read()


def test_a_redis_that_is_down_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        Server("redis://127.0.0.1:1/0", "x.").read_meta()


def test_concurrent_writers_of_one_row_lose_nothing(server: Server) -> None:
    """Two indexers read the same row; the second to write finds it changed and merges again."""
    index = RedisIndex(server)
    put(index, "a")
    stale = index._raw_rows([key("a")])
    put(index, "a", purposes=("first",))
    reads = iter([stale])
    real_read = index._raw_rows
    index._raw_rows = lambda keys: next(reads, None) or real_read(keys)  # type: ignore[method-assign]
    assert put(index, "a", purposes=("second",)).purposes == {"first", "second"}
