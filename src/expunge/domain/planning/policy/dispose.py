"""What a policy means for one asset: the rule that decides, and the action that it asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from expunge.domain.lineage.row import Combination
from expunge.domain.planning.policy.about import About
from expunge.domain.planning.policy.clocks import after
from expunge.domain.planning.policy.rules import Basis, DispositionRule, Policy, Sources, When
from expunge.domain.planning.policy.stages import stage_of
from expunge.domain.planning.policy.terms import Term
from expunge.domain.scope import Scope, ScopeKind
from expunge.domain.vocabulary import STRICTNESS, Action, Kind, Regime, kind_of

_EPOCH = datetime.fromtimestamp(0, UTC)
_FOR_PURPOSES = frozenset({Action.RESTRICT})


class Nature(NamedTuple):
    """What policy looks at in an asset."""

    combination: Combination
    shared: bool = False
    container: bool = False
    holding: bool = False
    inherited: frozenset[str] = frozenset()
    """The purposes of what it was made from, where it states none; empty also where that is not known whole."""


class Disposition(NamedTuple):
    """What a system is told to do with an asset, limited to purposes where that is so, and which rule says so."""

    action: Action
    rule: str
    purposes: tuple[str, ...] = ()
    defer_days: int = 0
    defer_until: str = ""
    keep: Term | None = None
    first: Action | None = None

    def kept_until(self, since_ms: int) -> int:
        """Until which day a law wants it kept (days since 1970), if it was collected or made at a moment; 0: none does.

        What does not say when it was collected or made is not kept: nobody could say until when.
        """
        if self.keep is None or not since_ms:
            return 0
        return (after(datetime.fromtimestamp(since_ms / 1000, UTC), self.keep) - _EPOCH).days + 1


class Circumstances(NamedTuple):
    """One asset under one request, as the conditions of rules see it."""

    scope: About
    kind: Kind
    regime: Regime
    categories: frozenset[str] = frozenset()
    basis: Basis | None = None
    sources: Sources | None = None
    holding: bool = False
    named: bool = False
    shared: bool = False


def decide(policy: Policy, circumstances: Circumstances) -> DispositionRule:
    """The first rule whose conditions are met; the last rule of a policy has none."""
    return next(rule for rule in policy.dispositions if meets(circumstances, rule.when))


def meets(circumstances: Circumstances, when: When) -> bool:
    """Whether every condition is met."""
    at = circumstances
    listed: tuple[tuple[Collection[object], Iterable[object]], ...] = (
        (when.scope, (at.scope,)),
        (when.kind, (at.kind,)),
        (when.category, at.categories),
        (when.regime, (at.regime,)),
        (when.basis, (at.basis,)),
        (when.sources, (at.sources,)),
    )
    exact = ((when.holding, at.holding), (when.named, at.named), (when.shared, at.shared))
    return all(not wanted or any(each in wanted for each in found) for wanted, found in listed) and all(
        wanted is None or wanted is found for wanted, found in exact
    )


@dataclass(frozen=True, slots=True, repr=False)
class Judge:
    """A policy as it applies to one case."""

    policy: Policy
    scope: Scope
    regime: Regime

    def dispose(self, nature: Nature, *, collected: int = 0, named: bool = False) -> Disposition | None:
        """The disposition of one asset or holding; None where the request does not touch it.

        Where statements disagree about its kind, the strictest action that any of its kinds asks for holds.

        Args:
            nature: what it is.
            collected: when something in it was first collected (seconds since 1970), if that is known.
            named: the asset itself is named in the request.
        """
        scope = self.scope.for_collected(collected)
        if scope.kind is ScopeKind.RESTRICTION and self.scope.granted:
            return None  # it was lifted
        revoked: tuple[str, ...] = ()
        basis: Basis | None = None
        if scope.kind is ScopeKind.REVOCATION:
            revoked, basis = _revoked(scope, nature.combination.purposes or nature.inherited)
            if not revoked:
                return None
        rules = [
            decide(
                self.policy,
                Circumstances(
                    scope=scope.kind.about,
                    kind=kind_of(kind),
                    regime=self.regime,
                    categories=nature.combination.categories,
                    basis=basis,
                    sources=_sources(scope, nature),
                    holding=nature.holding,
                    named=named,
                    shared=nature.shared or nature.container,
                ),
            )
            for kind in sorted(nature.combination.kinds)
        ]
        if not rules:
            return None
        rule = min(rules, key=lambda each: (STRICTNESS.index(each.then), each.defer_days))
        return Disposition(
            rule.then,
            rule.id,
            revoked if rule.then in _FOR_PURPOSES else (),
            rule.defer_days,
            rule.defer_until.value if rule.defer_until else "",
            rule.keep,
            rule.first,
        )

    def stage_of(self, kind: Kind, action: Action, *, holding: bool) -> int:
        """The stage, from 1, in which an asset of this kind is told to do this."""
        return stage_of(self.policy.stages, kind, action, holding=holding)


def _revoked(scope: Scope, carried: frozenset[str]) -> tuple[tuple[str, ...], Basis]:
    """The purposes for which an asset may no longer be used, and what is left."""
    if not carried:
        return tuple(sorted(scope.purposes)), Basis.UNSTATED
    revoked = carried & set(scope.purposes)
    return tuple(sorted(revoked)), Basis.NONE if revoked == carried else Basis.OTHER


def _sources(scope: Scope, nature: Nature) -> Sources | None:
    if scope.kind is not ScopeKind.WITHDRAWAL:
        return None
    stated = nature.combination.data_sources
    if not stated:
        return Sources.UNSTATED
    return Sources.OTHERS if stated - set(scope.data_sources) else Sources.ONLY
