"""The fast spelling of JSON is that of RFC 8785, byte by byte, or it is not used."""

from __future__ import annotations

from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from expunge.domain.digest import canonical

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(st.integers(), FINITE, st.integers(2**53 - 3, 2**53 + 3), st.sampled_from([1e21, -0.0, 1e16]))
TEXTS = st.one_of(st.text(), st.text(st.characters(max_codepoint=127)), st.text(st.sampled_from('":,[-1.5e9')))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def outcome(spell: Any, value: object) -> object:
    try:
        return spell(value)
    except Exception as error:  # noqa: BLE001 - whatever the one raises the other must raise, too
        return type(error)


@given(VALUES)
def test_it_is_spelled_as_the_rfc_says(value: object) -> None:
    assert outcome(canonical, value) == outcome(rfc8785.dumps, value)
    assert outcome(canonical, {"a": value, "b": [value]}) == outcome(rfc8785.dumps, {"a": value, "b": [value]})
