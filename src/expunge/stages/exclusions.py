"""What a container must be made anew without."""

from __future__ import annotations

from typing import NamedTuple

from expunge.domain.identity import Keys
from expunge.domain.row import KEPT_ALIASES
from expunge.domain.scope import Scope
from expunge.domain.walk import is_covered
from expunge.ports import Index


class LeftOut(NamedTuple):
    """An asset that a container must leave out; `covered` if leaving out the withdrawn data sources does it."""

    key: bytes
    asset: str
    covered: bool


def left_out(index: Index, keys: Keys, case_id: str, scope: Scope, container: bytes) -> list[LeftOut]:
    """Everything that a case found in a container under any of its names, and not those names themselves.

    A withdrawn asset that nobody has registered yet is known by what the request calls it.
    """
    same = _names(index, keys, container)
    found = sorted({key for name in same for key in index.excluded(case_id, name)} - same)
    asked = {keys.asset(asset): asset for asset in scope.assets}
    named = [
        (key, row.asset if row else asked.get(key), row) for key, row in zip(found, index.rows(found), strict=True)
    ]
    return [LeftOut(key, asset, bool(row and is_covered(scope, row))) for key, asset, row in named if asset is not None]


def _names(index: Index, keys: Keys, asset: bytes) -> set[bytes]:
    """The keys of all names of an asset, those of its aliases' aliases among them."""
    same, waiting = {asset}, [asset]
    while waiting and len(same) <= KEPT_ALIASES:
        rows = index.rows(waiting)
        waiting = sorted({keys.asset(name) for row in rows if row for name in row.aliases} - same)
        same.update(waiting)
    return same
