"""What a container must be made anew without."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.domain.identity import Keys
from expunge.domain.limits import KEPT_ALIASES, MAX_EXCLUDED
from expunge.domain.lineage.row import Row
from expunge.domain.lineage.walk import is_covered
from expunge.domain.scope import Scope
from expunge.ports import Index


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a case found in a container.

    Attributes:
        others: key -> id, but for what is left out by leaving out the withdrawn data sources.
        cut: there was more than the index keeps, so this is not all.
        unnamed: something of it is forgotten, and nobody can be told to leave it out.
    """

    others: dict[bytes, str]
    cut: bool
    unnamed: bool = False

    def __repr__(self) -> str:
        return "LeftOut(...)"


def left_out(index: Index, keys: Keys, case_id: str, scope: Scope, container: bytes, row: Row | None) -> LeftOut:
    """Everything that a case found in a container under any of its names, and not those names themselves.

    A name that it was made from, too ("latest", before it moved on), is none of its own. A withdrawn asset that nobody
    has registered yet is known by what the request calls it, until that is forgotten.
    """
    names = names_of(index, keys, [container]) if row is None or row.aliases else {container}
    lists = [index.excluded(case_id, name) for name in sorted(names)]
    same = names - set(row.parents if row else ()) | {container}
    found = sorted({key for each in lists for key in each} - same)
    asked = {keys.asset(asset): asset for asset in scope.assets}
    others, unnamed = {}, False
    for key, known in zip(found, index.rows(found), strict=True):
        if known and is_covered(scope, known):
            continue
        asset = (known.asset if known else "") or asked.get(key, "")
        if asset:
            others[key] = asset
        unnamed = unnamed or not asset
    return LeftOut(others, any(len(each) > MAX_EXCLUDED for each in lists), unnamed)


def names_of(index: Index, keys: Keys, assets: list[bytes]) -> set[bytes]:
    """The keys of all names of assets, those of their aliases' aliases among them, up to a bound for each."""
    same, waiting = set(assets), list(assets)
    most = len(same) * KEPT_ALIASES
    while waiting and len(same) <= most:
        waiting = sorted({keys.asset(name) for row in index.rows(waiting) if row for name in row.aliases} - same)
        same.update(waiting)
    return same
