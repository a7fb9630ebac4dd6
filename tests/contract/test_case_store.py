"""The coordinator's and the notary's state: one suite, run against memory and against a real Redis."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from expunge.adapters.memory.stores import MemoryCaseStore, MemoryNotaryStore
from expunge.adapters.redis.cases import RedisCaseStore, RedisNotaryStore
from expunge.domain.aggregates.case.chunks import ChunkState, Phase, Tally
from expunge.domain.aggregates.case.state import Case, Generation
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.digest import digest, name
from expunge.domain.events import Position
from expunge.domain.planning.chunks import Chunk
from expunge.domain.scope import ScopeKind
from expunge.domain.vocabulary import Action, Kind, Regime, Status
from expunge.errors import Fenced, Unavailable
from expunge.ports import Batch, CaseStore, Changes, NotaryStore, TimerKey, Wanted
from expunge.wire.cases.said import Order
from expunge.wire.cases.words import Release
from expunge.wire.forgotten import ChunksForgotten, KeyedChunk
from tests.contract.conftest import server_of
from tests.simulation import START

CASE = name("case")


@pytest.fixture(params=["memory", "redis", "cluster"])
def store(request: pytest.FixtureRequest) -> MemoryCaseStore | RedisCaseStore:
    return MemoryCaseStore() if request.param == "memory" else RedisCaseStore(server_of(request))


def case(case_id: str = CASE, **fields: object) -> Case:
    plain: dict[str, object] = {
        "case_id": case_id,
        "request_id": "r",
        "source": "/app",
        "publisher": "app",
        "policy": name("policy"),
        "scope": ScopeKind.ERASURE,
        "regime": Regime.GDPR,
        "received_at": START,
        "clamped": False,
        "clock": "gdpr-12-3",
        "due_at": START,
        "warn_at": START,
        "extendable_to": None,
        "opened_at": START,
        "dry_run": False,
        "correlation_id": None,
        "batch": None,
        "content": name("content"),
        "now": START,
        "status": Status.PURGING,
    }
    return Case.model_validate(plain | fields)


LARGE = case(counts=((Tally("s", "object", "", "delete", "open", "", ""), 65),))


def chunk(number: int = 0) -> Chunk:
    return Chunk(case_id=CASE, system="s", stage=3, action=Action.DELETE, kind=Kind.OBJECT, assets=(f"a{number}",))


def state(number: int = 0, **fields: object) -> ChunkState:
    summary = chunk(number).summary()
    plain: dict[str, object] = {"summary": summary, "generation": 1, "command_id": name("c", number), "answers": "."}
    return ChunkState.model_validate(plain | fields)


def write(store: CaseStore, before: Position | None, after: Position, **changes: object) -> None:
    store.write([Batch(3, before, after, Changes(**changes))])  # type: ignore[arg-type]


def test_a_batch_is_written_under_its_position(store: CaseStore) -> None:
    assert store.reader(3).position is None
    write(store, None, Position(0, 5), cases={CASE: case()})
    assert store.reader(3).position == Position(0, 5)
    assert store.reader(4).position is None
    assert store.reader(3).cases([CASE, name("other")]) == {CASE: case()}


@pytest.mark.parametrize("believed", [None, Position(0, 4), Position(1, 4)])
def test_a_process_that_lost_its_partition_changes_nothing(store: CaseStore, believed: Position | None) -> None:
    write(store, None, Position(0, 5), cases={CASE: case()})
    with pytest.raises(Fenced):
        write(store, believed, Position(0, 6), cases={CASE: case(status=Status.COMPLETED)})
    assert store.reader(3).position == Position(0, 5)
    assert store.reader(3).cases([CASE]) == {CASE: case()}


def test_chunks_are_found_by_digest_command_generation_and_stage(store: CaseStore) -> None:
    states = {each.summary.digest: each for each in (state(number) for number in range(5))}
    write(store, None, Position(0, 1), cases={CASE: LARGE}, chunks={CASE: states})
    reader = store.reader(3)
    digests = sorted(states)
    assert reader.digests(CASE, 1) == reader.waiting(CASE, 1, 3, 10) == digests
    assert reader.waiting(CASE, 1, 3, 2) == digests[:2]
    assert (reader.waiting(CASE, 1, 2, 9), reader.digests(CASE, 2)) == ([], [])
    assert reader.chunk_of(CASE, name("c", 3)) == state(3)
    assert reader.chunk_of(CASE, name("c", 9)) is None
    sent = state(0, attempt=1, phase=Phase.SENT)
    write(store, Position(0, 1), Position(0, 2), chunks={CASE: {sent.summary.digest: sent}})
    assert sent.summary.digest not in reader.waiting(CASE, 1, 3, 10)
    assert reader.chunk(CASE, sent.summary.digest) == sent


def test_live_chunks_are_listed_page_by_page_until_nothing_is_left_to_do(store: CaseStore) -> None:
    phases = [Phase.WAITING, Phase.BARRED, Phase.SENT, Phase.RECALLED, Phase.PUT_OFF]
    states = {each.summary.digest: each for each in (state(n, phase=p) for n, p in enumerate(phases))}
    write(store, None, Position(0, 1), cases={CASE: LARGE}, chunks={CASE: states})
    live = sorted(digest for digest, each in states.items() if each.phase is not Phase.WAITING)
    reader = store.reader(3)
    assert reader.live(CASE, "", 10) == live
    assert reader.live(CASE, live[0], 2) == live[1:3]
    assert reader.live(name("other"), "", 10) == []
    (answered,) = [d for d, each in states.items() if each.phase is Phase.SENT]
    write(store, Position(0, 1), Position(0, 2), chunks={CASE: {answered: state(2, phase=Phase.SENT, answers="d")}})
    assert reader.live(CASE, "", 10) == [each for each in live if each != answered]


def test_a_chunk_is_found_by_each_of_its_commands(store: CaseStore) -> None:
    first = state(0, attempt=1, phase=Phase.SENT)
    digest = first.summary.digest
    write(store, None, Position(0, 1), cases={CASE: LARGE}, chunks={CASE: {digest: first}})
    again = state(0, attempt=2, phase=Phase.SENT, command_id=name("c", "again"), named={name("c", 0): (0,)})
    write(store, Position(0, 1), Position(0, 2), chunks={CASE: {digest: again}})
    reader = store.reader(3)
    assert reader.chunk_of(CASE, name("c", 0)) == reader.chunk_of(CASE, name("c", "again")) == again


def test_what_stands_in_a_partition(store: CaseStore) -> None:
    assert store.reader(3).standing == Standing()
    stands = Standing(released={"h1": Release(at=START, operator="olga", order=Order(1, 2, 3))})
    write(store, None, Position(0, 1), standing=stands)
    write(store, Position(0, 1), Position(0, 2))
    assert store.reader(3).standing == stands
    assert store.reader(4).standing == Standing()


def test_a_body_that_is_missing_means_that_the_store_forgot(store: MemoryCaseStore | RedisCaseStore) -> None:
    with pytest.raises(Unavailable):
        store.reader(3).body(CASE, chunk().digest)
    assert store.put_chunks(3, [(chunk(), [b"1" * 12])]) == [True]
    assert store.put_chunks(3, [(chunk(), [b"1" * 12])]) == [True]
    assert store.reader(3).body(CASE, chunk().digest) == chunk()
    assert store.bodies(3, CASE, [chunk().digest]) == [chunk()]


def test_an_obligation_stays_in_its_chunk(store: MemoryCaseStore | RedisCaseStore) -> None:
    one, two, three = b"1" * 12, b"2" * 12, b"3" * 12
    assert store.put_chunks(3, [(chunk(0), [one, two]), (chunk(1), [two, three])]) == [True, False]
    assert store.owners(3, CASE, [one, two, three]) == [chunk(0).digest, chunk(0).digest, None]
    with pytest.raises(Unavailable):
        store.reader(3).body(CASE, chunk(1).digest)


def test_the_owners_of_a_large_case(store: MemoryCaseStore | RedisCaseStore) -> None:
    names = [digest(number)[:12] for number in range(3000)]
    parts = [names[start : start + 300] for start in range(0, 3000, 300)]
    assert all(store.put_chunks(3, [(chunk(number), part) for number, part in enumerate(parts)]))
    found = store.owners(3, CASE, names)
    assert found == [chunk(number).digest for number, part in enumerate(parts) for _ in part]
    assert store.put_chunks(3, [(chunk(99), [names[-1]])]) == [False]


def test_timers_fire_in_order_and_go_away(store: CaseStore) -> None:
    soon, late = TimerKey(CASE, "chunk:b"), TimerKey(CASE, "due")
    later = START + timedelta(seconds=10)
    write(store, None, Position(0, 1), timers={late: later, soon: START})
    assert store.due(3, START - timedelta(seconds=1), 10) == []
    assert store.due(3, START, 10) == [(soon, START)]
    assert store.due(3, later, 10) == [(soon, START), (late, later)]
    assert store.due(3, later, 1) == [(soon, START)]
    write(store, Position(0, 1), Position(0, 2), timers={soon: None})
    assert store.due(3, later, 10) == [(late, later)]


def test_open_and_waiting_cases(store: CaseStore) -> None:
    ids = sorted(name("case", number) for number in range(4))
    cases = {each: case(each) for each in ids}
    cases[ids[0]] = case(ids[0], status=Status.COMPLETED)
    cases[ids[2]] = case(ids[2], watermark={"registrations": {"0": 7}})
    cases[ids[3]] = case(ids[3], status=Status.COMPLETED_WITH_DEFERRALS, live=1)
    write(store, None, Position(0, 1), cases=cases)
    assert store.live_cases(3, "", 10) == ids[1:]
    assert store.live_cases(3, ids[1], 1) == [ids[2]]
    assert store.waiting_for_index(3) == [(ids[2], {"registrations": {"0": 7}})]
    write(store, Position(0, 1), Position(0, 2), cases={ids[2]: case(ids[2])})
    assert store.waiting_for_index(3) == []


@pytest.fixture(params=["memory", "redis"])
def notary(request: pytest.FixtureRequest) -> NotaryStore:
    return MemoryNotaryStore() if request.param == "memory" else RedisNotaryStore(request.getfixturevalue("server"))


def test_the_notary_keeps_what_it_has_seen(notary: NotaryStore) -> None:
    notary.write(0, None, Position(0, 3), {CASE: {1: "a", 2: "b"}})
    notary.write(0, Position(0, 3), Position(0, 4), {CASE: {3: "c"}})
    assert notary.position(0) == Position(0, 4)
    assert notary.known([CASE, name("x")]) == {CASE: {1: "a", 2: "b", 3: "c"}, name("x"): {}}
    with pytest.raises(Fenced):
        notary.write(0, Position(0, 3), Position(0, 9), {CASE: {4: "d"}})
    notary.write(0, Position(0, 4), Position(0, 5), {CASE: {0: "4", 4: "d"}}, {CASE})
    assert notary.known([CASE]) == {CASE: {0: "4", 4: "d"}}


def test_a_reader_that_has_read_ahead_answers_as_one_that_has_not(store: CaseStore) -> None:
    """Small cases are read whole, many at once; a decision must not depend on it."""
    chunks = [state(number, phase=phase) for number, phase in enumerate((Phase.WAITING, Phase.SENT, Phase.BARRED))]
    chunks.append(state(4, generation=2, named={name("older"): (0,)}))
    other = state(5)
    changed = {CASE: {each.summary.digest: each for each in chunks}, name("big"): {other.summary.digest: other}}
    write(store, None, Position(0, 1), cases={CASE: case()}, chunks=changed)
    store.put_chunks(3, [(chunk(0), [])])  # type: ignore[attr-defined]

    def answers(ahead: list[str]) -> list[object]:
        reader = store.read({3: Wanted(ahead)})[3]
        digests = [each.summary.digest for each in (*chunks, state(9))]
        return [
            *(reader.chunk(each, digest) for each in (CASE, name("big")) for digest in digests),
            *(reader.chunk_of(CASE, command) for command in (name("c", 0), name("c", 4), name("older"), name("no"))),
            *(reader.digests(CASE, generation) for generation in (1, 2, 3)),
            *(reader.waiting(CASE, generation, stage, 1) for generation in (1, 2) for stage in (3, 4)),
            *(reader.live(CASE, after, 2) for after in ("", min(digests))),
            reader.body(CASE, chunk(0).digest),
            reader.root(CASE),
        ]

    assert answers([CASE]) == answers([])
    assert answers([name("nobody"), CASE, name("big")]) == answers([])
    reader = store.read({3: Wanted([CASE])})[3]
    with pytest.raises(Unavailable):
        reader.body(CASE, chunk(1).digest)


def test_a_case_that_grows_large_is_found_as_one_that_always_was(store: CaseStore) -> None:
    """Of small cases only the states of chunks are kept; what had been kept to find them by is older than those."""
    small = case()
    assert (small.small, LARGE.small) == (True, False)
    as_large = {each.summary.digest: each for each in (state(0), state(1))}
    write(store, None, Position(0, 1), chunks={CASE: as_large})  # as the first version kept a small case, too
    sent = state(0, attempt=1, phase=Phase.SENT).model_copy(update={"command_id": name("c", "anew")})
    write(store, Position(0, 1), Position(0, 2), cases={CASE: small}, chunks={CASE: {sent.summary.digest: sent}})
    late = state(2, generation=2)
    grown: dict[str, Any] = {
        "cases": {CASE: LARGE},
        "before": {CASE: small},
        "chunks": {CASE: {late.summary.digest: late}},
    }
    store.write([Batch(3, Position(0, 2), Position(0, 3), Changes(**grown))])
    reader = store.reader(3)
    assert reader.digests(CASE, 1) == sorted(as_large)
    assert reader.digests(CASE, 2) == [late.summary.digest]
    assert reader.waiting(CASE, 1, 3, 9) == [state(1).summary.digest]
    assert reader.live(CASE, "", 9) == [sent.summary.digest]
    assert reader.chunk_of(CASE, name("c", "anew")) == sent
    assert reader.chunk_of(CASE, name("c", 2)) == late


def test_a_batch_may_change_more_chunks_of_a_case_than_one_command_can_name(store: CaseStore) -> None:
    """Lua unpacks some thousands of words, and a resolver's answer names 1,500 chunks."""
    states = {each.summary.digest: each for each in map(state, range(4_500))}
    write(store, None, Position(0, 1), cases={CASE: LARGE}, chunks={CASE: states})
    assert store.reader(3).digests(CASE, 1) == sorted(states)
    assert store.reader(3).chunk(CASE, max(states)) == states[max(states)]


@pytest.mark.parametrize("size", [2, 65])
def test_all_about_the_chunks_of_a_forgotten_case_goes(store: MemoryCaseStore | RedisCaseStore, size: int) -> None:
    known = LARGE if size > 64 else case()
    known = known.model_copy(update={"generations": (Generation(number=1, sizes={3: size}),)})
    chunks = {chunk(number).digest: state(number) for number in range(size)}
    names = [digest("name", number)[:12] for number in range(200 if size > 64 else 4)]
    store.put_chunks(3, [(chunk(number), names[number::size]) for number in range(size)])
    write(store, None, Position(0, 1), cases={CASE: known}, chunks={CASE: chunks})
    gone = {CASE: tuple(chunks)}
    late = {chunk(500).digest: state(500, generation=2)}
    write(store, Position(0, 1), Position(0, 2), cases={CASE: known}, forgotten=gone, chunks={CASE: late})
    reader = store.reader(3)
    assert reader.cases([CASE]) == {CASE: known}
    assert [reader.chunk(CASE, each) for each in chunks] == [None] * size
    assert reader.chunk_of(CASE, name("c", 0)) is None
    assert (reader.digests(CASE, 1), reader.digests(CASE, 2)) == ([], [*late])
    assert (reader.waiting(CASE, 1, 3, 10), reader.live(CASE, "", 10)) == ([], [])
    assert store.owners(3, CASE, names) == [None] * len(names)
    with pytest.raises(Unavailable):
        store.bodies(3, CASE, [chunk(0).digest])


def test_which_cases_are_forgotten(store: MemoryCaseStore | RedisCaseStore) -> None:
    other = case(name("other"), forgotten=1, forgotten_at=START)
    write(store, None, Position(0, 1), cases={CASE: case(), other.case_id: other})
    assert store.forgotten(3, [CASE, other.case_id, name("unknown")]) == {other.case_id: other}


def test_what_stands_for_forgotten_chunks_is_kept_until_it_is_dropped(store: MemoryCaseStore | RedisCaseStore) -> None:
    kept = [KeyedChunk.of(chunk(number), "d", lambda asset: digest("asset", asset)) for number in range(2)]
    for each in kept:
        store.put_keyed(3, ChunksForgotten(case_id=CASE, chunks=(each,)))
    assert store.keyed(3, CASE) == {each.chunk: each for each in kept}
    assert kept[1].nodes == [digest("asset", "a1")]
    store.drop_keyed(3, CASE)
    assert store.keyed(3, CASE) == {}


def test_a_reader_stands_at_the_position_at_which_it_began(store: CaseStore) -> None:
    """What it reads later may be newer, and must not be taken for what was read first."""
    write(store, None, Position(0, 5), cases={CASE: case()})
    reader = store.read({3: Wanted([CASE])})[3]
    assert reader.position == Position(0, 5)
    write(store, Position(0, 5), Position(0, 9), cases={name("other"): case(name("other"))})
    assert name("other") in reader.cases([name("other")])
    assert reader.position == Position(0, 5)
    assert store.positions([3, 4]) == {3: Position(0, 9), 4: None}
