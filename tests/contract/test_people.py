"""People's names in the index, and the point at which another secret is used: memory, a real Redis, a real cluster."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from expunge.adapters.memory.index import MemoryIndex
from expunge.adapters.memory.people import MemoryPeople
from expunge.adapters.redis import turning
from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.people import RedisPeople
from expunge.adapters.redis.server import TAGS, Call, Server
from expunge.adapters.redis.turning import Turned
from expunge.domain.digest import digest, name
from expunge.domain.identity import Epochs, Keys
from expunge.domain.lineage.marks import MarkState
from expunge.domain.lineage.row import DIGEST_BYTES, Row
from expunge.domain.lineage.statement import Named, Statement
from expunge.domain.lineage.walk import Trip
from expunge.domain.scope import SHARDS, Arrival, Group, GroupKind
from expunge.errors import Changed, Forgotten, Unavailable
from expunge.ports import Rule, Said
from expunge.ports.people import Name
from expunge.rotation.rotation import Rotation
from tests.contract.conftest import server_of

CASE, TASK = name("case"), name("task")
NOW = 1_700_000_000_000
KEYS = Keys(b"s" * 32, b"t" * 32, epochs=lambda: Epochs(1, 2))
ANN, BOB = (KEYS.first("default", "user_id", "exact", each) for each in ("ann", "bob"))


@pytest.fixture(params=["memory", "redis", "cluster"])
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """The index, and people's names in it."""
    if request.param == "memory":
        memory = MemoryIndex()
        return memory, MemoryPeople(memory)
    server = server_of(request)
    index = RedisIndex(server)
    return index, RedisPeople(server, index)


def key(text: str) -> bytes:
    return digest("asset", text)


def put(index: Any, asset: str, *people: bytes, ref: str | None = None) -> None:
    named = tuple(Named(each, ref) for each in people)
    statement = Statement(asset, kinds=("object",), systems=("s",), subjects=named)
    index.put([Said(key(asset), statement.row(()), NOW)])
    index.link_subjects([(each, key(asset)) for each in people])


def row_of(index: Any, asset: str) -> Row:
    (row,) = index.rows([key(asset)])
    assert isinstance(row, Row)
    return row


def members(index: Any, person: bytes) -> set[bytes]:
    return set(index.members(Group(GroupKind.SUBJECT, person), range(SHARDS)))


def named(people: Any, epoch: int) -> set[Name]:
    return {each for part in people.named(epoch) for each in part}


def rotation(index: Any, people: Any, *subjects: bytes) -> Rotation:
    return Rotation(people, index, KEYS, 1, lambda _: subjects, lambda: None)


def test_names_are_found_with_what_belongs_to_them(both: tuple[Any, Any]) -> None:
    index, people = both
    put(index, "photo", ANN)
    index.mark_roots(CASE, TASK, [BOB], 0)
    index.link_subjects([(KEYS.newest(ANN), key("photo"))])
    assert named(people, 1) == {Name(ANN, has_members=True), Name(BOB, has_members=False)}
    assert named(people, 2) == {Name(KEYS.newest(ANN), has_members=True)}
    assert people.members([ANN, BOB]) == [[key("photo")], []]


def test_marks_are_given_where_a_case_has_none(both: tuple[Any, Any]) -> None:
    """Of so many that they do not lie in their field, too; and none is given twice."""
    index, people = both
    cases = [name("case", number) for number in range(200)]
    for case_id in cases:
        index.mark_roots(case_id, TASK, [ANN], 7)
    index.mark_roots(cases[0], TASK, [BOB], 9)
    assert people.adopt_marks([(ANN, BOB)]) == len(cases) - 1
    assert people.adopt_marks([(ANN, BOB)]) == 0
    (found,) = index.marks([BOB])
    assert {mark.case_id: mark.until for mark in found} == dict.fromkeys(cases, 7) | {cases[0]: 9}
    assert all(mark.state is MarkState.OPEN for mark in found)


def test_a_row_that_is_renamed_looks_to_marks_as_before(both: tuple[Any, Any]) -> None:
    """Nothing has been stated of it, so no case need look at it again; a look for a hold neither."""
    index, people = both
    put(index, "photo", ANN, ref="a-17")
    trip = Trip(Arrival.THROUGH, own=False, keys=[key("photo")])
    list(index.visit(CASE, TASK, [trip], Rule(bounded=True, again=False)))
    index.watch(name("watching"), [key("photo")])
    before = row_of(index, "photo")
    after = KEYS.newest(ANN)
    change = {key("photo"): partial(Row.renamed, before=ANN, after=after)}
    assert people.rename(change) == 1
    assert people.rename(change) == 0
    row = row_of(index, "photo")
    assert row == replace(before, first_subject=after[:8], refs=frozenset({(after.hex(), "a-17")}))
    ((mark,),) = index.marks([key("photo")])
    assert mark.digest == row.encode()[:DIGEST_BYTES]
    (stated,) = index.put([Said(key("photo"), row, NOW)])
    assert [seen for _, seen in stated.watchers] == [row.encode()[:DIGEST_BYTES]]


def test_what_is_dropped_leaves_nothing(both: tuple[Any, Any]) -> None:
    """Of a hub, and of marks that are too many for their field."""
    index, people = both
    some = [digest("asset", number) for number in range(300)]
    many = some + [each[:1] + b"7" + each[2:] for each in some]  # so many in one part that it is a set of its own
    index.link_subjects([(ANN, each) for each in many])
    for number in range(200):
        index.mark_roots(name("case", number), TASK, [ANN], 7)
    put(index, "photo", BOB)
    assert members(index, ANN) == set(many)
    people.drop([ANN])
    assert (members(index, ANN), index.marks([ANN])) == (set(), [[]])
    assert named(people, 1) == {Name(BOB, has_members=True)}
    assert members(index, BOB) == {key("photo")}


def test_a_pass_copies_and_the_next_one_shows_that_all_is_there(both: tuple[Any, Any]) -> None:
    index, people = both
    put(index, "photo", ANN)
    put(index, "together", ANN, BOB)
    hub = [digest("asset", number) for number in range(300)]
    index.link_subjects([(BOB, each) for each in hub])
    index.mark_roots(CASE, TASK, [ANN], 7)
    turn = rotation(index, people, ANN)
    assert turn.copy() > 0
    assert turn.copy() == 0
    assert members(index, KEYS.newest(ANN)) == {key("photo"), key("together")}
    assert members(index, KEYS.newest(BOB)) == {key("together"), *hub}
    assert not row_of(index, "photo").shared
    assert row_of(index, "together").shared
    assert {mark.case_id for mark in index.marks([KEYS.newest(ANN)])[0]} == {CASE}
    turn.drop()
    assert named(people, 1) == set()
    assert [row_of(index, asset).first_subject[:1] for asset in ("photo", "together")] == [b"\x02", b""]


def test_what_only_looks_like_a_name_is_not_dropped(both: tuple[Any, Any]) -> None:
    """The key of an asset that nobody has registered yet, under which a case has left a mark, begins with any byte."""
    index, people = both
    asset = bytes([1]) + digest("asset", "unknown")[1:]
    index.mark_roots(CASE, TASK, [asset, ANN], 7)
    turn = rotation(index, people, ANN)
    turn.copy()
    assert turn.drop() == 1
    assert [len(marks) for marks in index.marks([asset, ANN, KEYS.newest(ANN)])] == [1, 0, 1]


@pytest.fixture(params=["redis", "cluster"])
def server(request: pytest.FixtureRequest) -> Server:
    return server_of(request)


def another(server: Server) -> Server:
    """Another process'."""
    return Server(server._url, server.prefix, cluster=server.is_cluster)


def test_nobody_passes_the_turn_without_knowing_it(server: Server) -> None:
    """A process that knows of the old secret alone would write where nobody looks any more."""
    old = another(server)
    old.read_one(0, "GET", old.key(0, "x"))
    turning.turn(server, Turned("other check", 2, 1), "1")
    with pytest.raises(Changed):
        old.run([Call("read", [7], [])])
    with pytest.raises(Changed):
        old.refuse_if_changed()
    fresh = another(server)
    assert (fresh.meta.check, fresh.meta.newest, fresh.meta.oldest, fresh.meta.retired) == ("other check", 2, 1, 0)
    fresh.run([Call("read", range(1), [])])


def test_a_turn_that_is_broken_off_lets_roles_wait_and_is_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, looked = another(server), itertools.count()
    old.run([Call("read", [0], [])])

    def dying(of: Server, tag: int) -> bytes:
        if next(looked) > TAGS + 100:  # all were looked at before
            raise KeyboardInterrupt
        return of.key(tag, "sentinel")

    with monkeypatch.context() as dies:
        dies.setattr(Server, "sentinel", dying)
        with pytest.raises(KeyboardInterrupt):
            turning.turn(server, Turned("other check", 2, 1), "1")
    with pytest.raises(Unavailable, match="rotated"):
        old.run([Call("read", [0], [])])
    old.run([Call("read", [255], [])])  # a tag that was not reached
    turning.go_on(another(server))
    with pytest.raises(Changed):
        old.run([Call("read", [255], [])])
    fresh = another(server)
    assert (fresh.lost_tags(fresh.meta.epoch), fresh.meta.check) == (0, "other check")


def test_a_tag_that_was_lost_is_not_hidden_by_a_turn(server: Server) -> None:
    server.client.delete(server.sentinel(9))
    with pytest.raises(Forgotten):
        turning.turn(server, Turned("other check", 2, 1), "1")
    assert another(server).meta.check == "check"


def test_who_comes_late_turns_nothing_back(server: Server) -> None:
    """Two operators, or one and a sweep: what the second had decided followed from an index that is another now."""
    turning.turn(server, Turned("second", 2, 1), "1")
    after = another(server).meta
    turning.turn(server, Turned("second", 2, 2, retired=1), after.epoch)
    for late in (Turned("second", 2, 1), Turned("second", 2, 2)):
        with pytest.raises(Changed):
            turning.turn(server, late, after.epoch)
    with pytest.raises(Changed):
        turning.note(server, after.epoch, "retired", 0)
    found = another(server).meta
    assert (found.check, found.oldest, found.retired, found.turning) == ("second", 2, 1, False)


def test_who_stalls_in_a_turn_that_another_has_ended_changes_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is whole, and says what the other has said last."""
    looked = itertools.count()

    def stalling(of: Server, tag: int) -> bytes:
        if next(looked) == TAGS + 100:
            with monkeypatch.context() as other:
                other.setattr(Server, "sentinel", lambda of, tag: of.key(tag, "sentinel"))
                turning.go_on(another(server))
                turning.turn(another(server), Turned("second", 2, 2, retired=1), another(server).meta.epoch)
        return of.key(tag, "sentinel")

    monkeypatch.setattr(Server, "sentinel", stalling)
    with pytest.raises(Changed):
        turning.turn(server, Turned("second", 2, 1), "1")
    found = another(server).meta
    assert (found.check, found.oldest, found.retired, found.turning) == ("second", 2, 1, False)
    assert another(server).lost_tags(found.epoch) == 0
