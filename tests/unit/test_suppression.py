"""Suppressions: the same state and the same message in any order of words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.aggregates.suppression import Publish, Suppression, decide
from expunge.suppression import _Entry
from expunge.wire.cases.suppression import Published, PurposeWord, Suppress
from tests.simulation import context

KEY = "ab" * 16
WORDS = st.builds(
    PurposeWord,
    purpose=st.sampled_from(["*", "training"]),
    at_ms=st.integers(1, 4).map(lambda second: second * 1000),
    word=st.sampled_from(["revoked", "granted"]),
    until=st.sampled_from([0, 7, 9]),
    case_id=st.sampled_from(["", "c" * 32]),
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


def test_an_entry_covers_what_was_collected_up_to_its_end() -> None:
    end = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert _Entry(0, int(end)).covers(end + 0.5)
    assert not _Entry(0, int(end)).covers(end + 1)
    assert _Entry(0, 0).covers(end + 10**9)
