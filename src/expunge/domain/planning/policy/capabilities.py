"""What a policy may ask of systems for what they hold, beside what they can do. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import product
from typing import NamedTuple

from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.dispose import Nature
from expunge.domain.planning.policy.explain import Given, possible
from expunge.domain.planning.policy.rules import Policy
from expunge.domain.registry import System
from expunge.domain.vocabulary import Action, Regime, kind_of


class Incapable(NamedTuple):
    """An action that a policy asks of a system, and that the system does not declare: such obligations stay open."""

    system: str
    action: Action
    kinds: tuple[str, ...]
    rules: tuple[str, ...]


def incapable(
    policy: Policy, systems: Iterable[System], held: Collection[Nature], regimes: Collection[Regime]
) -> list[Incapable]:
    """Every action that some request may lead to and that the owner does not declare.

    Args:
        policy: the rules.
        systems: who is declared; whoever is not integrated can do nothing anyway.
        held: what there is in the index, by what policy looks at.
        regimes: under which requests come.
    """
    found: dict[tuple[str, Action], set[tuple[str, str]]] = {}
    declared = {system.name: set(system.actions) for system in systems if system.integrated}
    for nature in held:
        for kind in nature.combination.kinds:
            asked = set(_asked(policy, nature, kind, regimes))
            for system in nature.combination.systems & declared.keys():
                for action, rule in asked:
                    if action not in declared[system] and action is not Action.EXEMPT:
                        found.setdefault((system, action), set()).add((kind, rule))
    return [
        Incapable(system, action, _sorted(kind for kind, _ in why), _sorted(rule for _, rule in why))
        for (system, action), why in sorted(found.items())
    ]


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _asked(policy: Policy, nature: Nature, kind: str, regimes: Collection[Regime]) -> Iterator[tuple[Action, str]]:
    """Every action, and the rule that asks for it, for what is of this nature."""
    categories = nature.combination.categories
    for about, regime in product(About, regimes):
        for rule, left in possible(policy, Given(about, kind_of(kind), regime, holding=nature.holding)):
            if "category" in left and not left["category"] & categories:
                continue
            yield rule.then, rule.id
            if rule.first is not None:
                yield rule.first, rule.id
