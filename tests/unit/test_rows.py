"""Rows: the same bytes in any order of statements, and what scripts read of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.digest import digest
from expunge.domain.lineage.marks import Thing
from expunge.domain.lineage.row import (
    CONTAINER,
    PASS_THROUGH,
    SHARED,
    Holding,
    Row,
    asset_of,
    collected_of,
    combination_of,
    combine,
    flags_of,
    parents_of,
)
from expunge.domain.lineage.statement import Named, Statement
from expunge.domain.lineage.walk import Visit
from expunge.domain.planning.chunks import Obligation
from expunge.domain.scope import Arrival
from expunge.ports import Peek, Put, Said

NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3).map(lambda names: tuple(sorted(set(names))))
KEYS = st.lists(st.integers(0, 40).map(digest), max_size=25).map(lambda keys: tuple(sorted(set(keys))[:16]))
ROWS = st.builds(
    Row,
    asset=st.just("s3://photos/ü/1.jpg"),
    combination=st.builds(
        combine,
        st.lists(st.sampled_from(["object", "dataset"]), max_size=2).map(lambda kinds: tuple(sorted(set(kinds)))),
        NAMES,
        NAMES,
        NAMES,
        NAMES,
    ),
    collected=st.sampled_from([0, 1, 1_767_225_600, 2**40 - 1]),
    derived_ms=st.sampled_from([0, 5, 2**47]),
    first_subject=st.sampled_from([b"", b"1" * 8, b"2" * 8]),
    shared=st.booleans(),
    removed=st.booleans(),
    parents=KEYS,
    refs=st.sets(st.tuples(st.sampled_from(["00", "11"]), st.text(max_size=4)), max_size=3).map(frozenset),
    attributes=st.dictionaries(st.sampled_from("xyz"), st.text(max_size=4)).map(lambda d: tuple(sorted(d.items()))),
    holding=st.none() | st.builds(Holding, NAMES, NAMES, st.sampled_from(["", "2026"]), st.sampled_from(["", "2027"])),
    aliases=NAMES,
)


@given(ROWS)
def test_bytes_round_trip(row: Row) -> None:
    raw = row.encode()
    assert Row.decode(raw, row.combination) == row
    assert (asset_of(raw), flags_of(raw), collected_of(raw)) == (row.asset, row.flags, row.collected)
    assert (combination_of(raw), parents_of(raw)) == (row.combination.digest, list(row.parents))


@given(st.lists(ROWS, min_size=2, max_size=5), st.randoms())
def test_rows_add_up_in_any_order_and_twice(rows: list[Row], random: object) -> None:
    """rule "union": union, minimum and maximum only."""
    shuffled = [*rows, *rows]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def added(parts: list[Row]) -> bytes:
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.merged(part)
        return whole.encode()

    assert added(rows) == added(shuffled)


def test_a_second_person_makes_an_asset_shared() -> None:
    one, two = Row("a", first_subject=b"1" * 8), Row("a", first_subject=b"2" * 8)
    assert not one.merged(one).flags & SHARED
    assert one.merged(two).flags & SHARED


def test_flags_say_what_a_walk_needs() -> None:
    assert flags_of(None) == PASS_THROUGH
    assert Row("a", combine(("dataset", "object"), (), (), (), ())).flags & CONTAINER
    assert Row("a", holding=Holding()).flags & CONTAINER
    assert not Row("a", combine(("object",), (), (), (), ())).flags & (CONTAINER | PASS_THROUGH)


def test_no_value_with_an_asset_in_it_shows_it() -> None:
    """design: "Identity and privacy": what stands in a traceback or a log must not be an id."""
    row = Row("s3://canary/1.jpg", aliases=("canary",))
    values = [
        Said(b"canary", row, 1),
        Put(row.encode(), ()),
        Peek(0, row.encode(), None),
        Visit(b"canary", seen=False, skipped=False, reach=Arrival.ROOT, row=row.encode()),
        Obligation(b"canary", row.asset),
        Named(b"canary", "canary"),
        Thing(b"canary", row.encode()),
        Statement(row.asset),
        row,
    ]
    assert "canary" not in repr(values)
