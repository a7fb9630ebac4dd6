"""Suppressions: the same state and the same message in any order of words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.aggregates.suppression import Publish, Suppression, decide, source_key
from expunge.suppression import _Entry
from expunge.wire.cases.suppression import Published, PurposeWord, Suppress
from tests.simulation import World, context

KEY = "ab" * 16
WORDS = st.builds(
    PurposeWord,
    purpose=st.sampled_from(["*", "training"]),
    at_ms=st.integers(1, 4).map(lambda second: second * 1000),
    word=st.sampled_from(["revoked", "granted"]),
    until=st.sampled_from([0, 7, 9]),
    case_id=st.sampled_from(["", "c" * 32]),
    ends_ms=st.sampled_from([0, 5000, 9000]),
)


def after(words: list[PurposeWord]) -> Suppression:
    state = Suppression(suppression=KEY)
    for word in words:
        state = decide(state, Suppress(suppression=KEY, words=(word,)), context()).state or state
    return state


def publishes(state: Suppression | None, message: Published) -> bool:
    return Publish() in decide(state, message, context()).effects


@given(st.lists(WORDS, max_size=6), st.randoms())
def test_any_order_and_any_repetition_of_words_ends_alike(words: list[PurposeWord], random: object) -> None:
    again = [*words, *words]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert after(words).purposes == after(again).purposes


def test_what_was_read_back_lower_is_published_again_and_nothing_else() -> None:
    state = after([PurposeWord(purpose="*", at_ms=1, word="revoked")])
    assert publishes(state, Published(suppression=KEY, sequence=0))
    assert not publishes(state, Published(suppression=KEY, sequence=state.sequence))
    assert not publishes(None, Published(suppression=KEY, sequence=0))


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ([], None),
        ([("granted", 5000)], None),
        ([("revoked", 5000)], 0),
        ([("revoked", 5000), ("granted", 5000)], 0),
        ([("revoked", 5000), ("granted", 9000)], 8),
        ([("granted", 9000), ("revoked", 12_000)], 0),
    ],
)
def test_the_limit_of_a_purpose(words: list[tuple[str, int]], limit: int | None) -> None:
    said = [PurposeWord(purpose="p", at_ms=at, word=word) for word, at in words]
    state = after(said)
    assert (state.purposes["p"].limit if words else None) == limit


def test_what_policy_lets_end_ends_when_the_last_of_its_cases_does() -> None:
    first = PurposeWord(purpose="*", at_ms=1, word="revoked", case_id="a" * 32, ends_ms=5000)
    second = PurposeWord(purpose="*", at_ms=2, word="revoked", case_id="b" * 32, ends_ms=9000)
    state = after([first, second])
    assert [each.ends_ms for each in state.entries] == [9000]
    assert after([first, second.model_copy(update={"ends_ms": 0})]).entries[0].ends_ms == 0
    assert after([first, second, PurposeWord(purpose="*", at_ms=5000, word="ended")]).entries == state.entries
    over = decide(
        state, Suppress(suppression=KEY, words=(PurposeWord(purpose="*", at_ms=9000, word="ended"),)), context()
    )
    assert over.state is not None
    assert (over.state.entries, over.state.purposes) == ((), {})
    assert Publish() in over.effects


def test_an_entry_that_has_ended_covers_nothing() -> None:
    assert _Entry(0, 0, 9000).covers(1, now=8.9)
    assert not _Entry(0, 0, 9000).covers(1, now=9)
    assert _Entry(0, 0, 0).covers(1, now=10**10)


def test_an_entry_covers_what_was_collected_up_to_its_end() -> None:
    end = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert _Entry(0, int(end)).covers(end + 0.5)
    assert not _Entry(0, int(end)).covers(end + 1)
    assert _Entry(0, 0).covers(end + 10**9)


def ending() -> World:
    """A world in which people may be collected again after a month."""
    world = World()
    months = world.policies.current.retention.model_copy(update={"suppression_months": 1})
    world.policies.change(world.policies.current.model_copy(update={"retention": months}))
    return world


def test_a_sweep_lifts_what_has_ended_a_day_after_that_and_not_before() -> None:
    world = ending()
    world.register("photo", subjects=["ann"], data_sources=["supplier-a"])
    world.settle()
    world.erase("ann")
    world.settle()
    (entry,) = world.broker.events("suppressions")[-1]["data"]["entries"]
    assert entry["ends_ms"] > entry["since_ms"]
    end = datetime.fromtimestamp(entry["ends_ms"] / 1000, UTC)
    world.tick_clocks((end - world.broker.now).total_seconds())
    world.tick_clocks(-60)  # a pass is a day later than now
    assert world.sweep().suppressions == 0
    world.tick_clocks(60)
    assert world.sweep().suppressions == 1
    world.deliver()
    assert world.suppressed() == set()
    world.compact()
    assert world.sweep().suppressions == 0


def test_a_withdrawn_source_has_no_end() -> None:
    world = ending()
    world.register("photo", data_sources=["supplier-a"])
    world.settle()
    world.withdraw("supplier-a")
    world.settle()
    world.tick_clocks(90 * 86_400)
    assert world.sweep().suppressions == 0
    assert world.suppressed() == {source_key("supplier-a")}
