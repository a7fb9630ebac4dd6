"""What must happen to each asset: one small built-in table, behind the seam where a policy file will come.

scope        asset                                   action
----------   -------------------------------------   -----------------------------------------------
one person   theirs alone                            delete
             shared record, object, embedding        redact
             dataset, version, index, log, backup,   rebuild_without
             deployment
             model                                   retrain_without
             checkpoint                              delete (a by-product; the retraining writes its own)
             copy held by a recipient                notify
purpose      does not carry it                       nothing (the walk goes on)
             carries it alone                        as for one person
             carries others too, or states none      restrict, for the revoked purposes
data source  model, checkpoint, deployment           delete
             states other sources too, or is a       rebuild_without (redact if it is no container)
             container that states none
             anything else                           delete
asset        the withdrawn asset itself              delete
             made from it                            as for one person, but delete what is no container
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from expunge.domain.digest import name
from expunge.domain.row import Combination
from expunge.domain.scope import Scope, ScopeKind
from expunge.domain.vocabulary import CONTAINERS, STRICTNESS, Action, Kind, Regime

DIGEST = name("expunge built-in policy", 1)
"""Pinned in a case at each generation (PROTOCOLS 31); it changes whenever the table does."""

ERASURE_TAIL = timedelta(days=7)
"""An erasure reaches what was collected up to the request and so much longer: systems that collect in batches."""
REACH_EVERYTHING = frozenset({Regime.DROP, Regime.ORDER})
"""Regimes under which an erasure reaches whatever is collected later, too."""
NOT_FOUND_SHARE = 0.01
"""Above this share of a system's assets answered `not_found`, from NOT_FOUND_MISSES on, an operator must look."""
NOT_FOUND_MISSES = 10

_SERVED = frozenset({Kind.MODEL, Kind.CHECKPOINT, Kind.DEPLOYMENT})


class Nature(NamedTuple):
    """What policy looks at in an asset."""

    combination: Combination
    shared: bool = False
    container: bool = False


class Disposition(NamedTuple):
    """What a system is told to do with an asset, limited to purposes where that is so."""

    action: Action
    purposes: tuple[str, ...] = ()


def dispose(scope: Scope, nature: Nature, *, withdrawn: bool = False) -> Disposition | None:
    """The disposition of one asset; None where the request does not touch it.

    Args:
        scope: what the case is about.
        nature: what the asset is.
        withdrawn: the asset itself was named in the request.
    """
    if not nature.combination.kinds:
        return None
    if withdrawn:
        return Disposition(Action.DELETE)
    if scope.kind is ScopeKind.REVOCATION:
        return _for_purposes(scope, nature)
    return Disposition(_strictest(scope, nature))


def dispose_holding(scope: Scope, nature: Nature) -> Disposition | None:
    """The disposition of what a holding finds: its owner selects by the root, so nothing in it is shared."""
    if scope.kind is not ScopeKind.REVOCATION:
        return Disposition(Action.DELETE)
    carried = nature.combination.purposes
    revoked = tuple(sorted(set(scope.purposes) & carried)) if carried else scope.purposes
    if not revoked:
        return None
    return Disposition(Action.DELETE) if carried and not carried - set(revoked) else _restrict(revoked)


def _for_purposes(scope: Scope, nature: Nature) -> Disposition | None:
    if not scope.purposes:
        return None
    carried = nature.combination.purposes
    if not carried:
        return _restrict(scope.purposes)  # "unspecified": nobody said that the purpose does not apply
    revoked = carried & set(scope.purposes)
    if not revoked:
        return None
    if revoked == carried:
        return Disposition(_strictest(scope, nature))
    return _restrict(tuple(revoked))


def _restrict(purposes: tuple[str, ...]) -> Disposition:
    return Disposition(Action.RESTRICT, tuple(sorted(purposes)))


def _strictest(scope: Scope, nature: Nature) -> Action:
    actions = {_action(scope, nature, Kind(kind)) for kind in nature.combination.kinds}
    return min(actions, key=STRICTNESS.index)


def _action(scope: Scope, nature: Nature, kind: Kind) -> Action:
    if kind is Kind.RECIPIENT_COPY:
        return Action.NOTIFY
    if scope.kind is ScopeKind.WITHDRAWAL:
        return _for_data_source(scope, nature, kind)
    if kind is Kind.MODEL:
        return Action.RETRAIN_WITHOUT
    if kind is Kind.CHECKPOINT:
        return Action.DELETE
    if kind in CONTAINERS:
        return Action.REBUILD_WITHOUT
    shared = nature.shared or nature.container
    return Action.REDACT if shared and scope.kind is not ScopeKind.ASSET else Action.DELETE


def _for_data_source(scope: Scope, nature: Nature, kind: Kind) -> Action:
    if kind in _SERVED:
        return Action.DELETE
    stated = nature.combination.data_sources
    others = bool(stated - set(scope.data_sources))
    if kind in CONTAINERS:
        return Action.REBUILD_WITHOUT if others or not stated else Action.DELETE
    return Action.REDACT if others else Action.DELETE
