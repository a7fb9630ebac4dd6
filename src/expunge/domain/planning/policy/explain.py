"""What a policy would say where not everything is known: every rule that may decide, and on what it hangs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.rules import Basis, DispositionRule, Policy, Sources, When
from expunge.domain.vocabulary import CONTAINERS, Kind, Regime


class Given(NamedTuple):
    """What is known of a request and an asset; None: nothing is said."""

    scope: About
    kind: Kind
    regime: Regime | None = None
    category: str | None = None
    basis: Basis | None = None
    sources: Sources | None = None
    holding: bool | None = None
    named: bool | None = None
    shared: bool | None = None


Open = dict[str, frozenset[str]]
"""Condition -> the values that meet it, of conditions about which nothing is given."""


class Possible(NamedTuple):
    """A rule that may decide, and the conditions that what is given leaves open."""

    rule: DispositionRule
    open: Open

    @property
    def conditions(self) -> list[str]:
        """The open conditions in words."""
        return [_words(name, wanted) for name, wanted in self.open.items()]


def possible(policy: Policy, given: Given) -> list[Possible]:
    """Rules that may decide, first to last; the last of them is met whatever else is so."""
    found: list[Possible] = []
    for rule in policy.dispositions:
        left = _left(rule.when, _completed(given))
        if left is None or any(_implies(left, before.open) for before in found):
            continue
        found.append(Possible(rule, left))
        if not left:
            break
    return found


def _completed(given: Given) -> Given:
    """What follows from what is given."""
    if given.kind in CONTAINERS:
        given = given._replace(shared=True)
    return given if given.scope is About.ASSET else given._replace(named=False)


def _left(when: When, given: Given) -> Open | None:
    """The conditions about which nothing is given; None if one cannot be met."""
    left: Open = {}
    for name, wanted, known in _conditions(when, given):
        if not wanted:
            continue
        if known is None:
            left[name] = frozenset(wanted)
        elif known not in wanted:
            return None
    return left


def _conditions(when: When, given: Given) -> Iterator[tuple[str, Collection[str], str | None]]:
    """Name, values that meet it, and the given value of each condition."""
    # What is asked of purposes can be met by no other request, and so with data sources.
    yield "scope", when.scope, given.scope
    yield "kind", when.kind, given.kind
    yield "regime", when.regime, given.regime
    yield "category", when.category, given.category
    yield "basis", when.basis, given.basis if given.scope is About.PURPOSE else ""
    yield "sources", when.sources, given.sources if given.scope is About.DATA_SOURCE else ""
    yield "holding", _flag(when.holding), _given(given.holding)
    yield "named", _flag(when.named), _given(given.named)
    yield "shared", _flag(when.shared), _given(given.shared)


def _flag(wanted: bool | None) -> Collection[str]:  # noqa: FBT001 - three values
    return () if wanted is None else (str(wanted).lower(),)


def _given(known: bool | None) -> str | None:  # noqa: FBT001 - three values
    return None if known is None else str(known).lower()


def _implies(left: Open, before: Open) -> bool:
    """Whether whatever meets these conditions meets those of a rule before, which then decides."""
    return all(name in left and left[name] <= wanted for name, wanted in before.items())


def _words(name: str, wanted: frozenset[str]) -> str:
    if wanted <= {"true", "false"}:
        return name if "true" in wanted else f"not {name}"
    return f"{name}: {' or '.join(sorted(wanted))}"
