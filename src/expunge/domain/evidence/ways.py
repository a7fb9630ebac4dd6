"""How a case's data came into each model: what was made from what, as commitments, and the shortest way in kinds.

No fact of the ledger says it: it is what the lineage index knew when the certificate was made.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from expunge.domain.digest import canonical
from expunge.domain.vocabulary import MODELS

MOST_STEPS = 10_000
"""Things on ways of one certificate."""
MOST_PARENTS = 100
"""Of one of them: what is more is not told."""
FILE = "ways.jsonl"


class Step(NamedTuple):
    """Something that was made, and from what of the case: commitments (`certificate.commitment`)."""

    asset: str
    made_from: tuple[str, ...]


def within(steps: Sequence[Step], known: Collection[str]) -> list[Step]:
    """What of the steps is about obligations of the certificate; in the order of their names."""
    kept = (Step(each.asset, tuple(sorted(set(each.made_from).intersection(known)))) for each in steps)
    return sorted(each for each in kept if each.asset in known)


def lines(steps: Sequence[Step]) -> Iterator[bytes]:
    """Each step as it is committed to: a line of canonical JSON."""
    for each in steps:
        yield canonical({"asset": each.asset, "made_from": list(each.made_from)})


def summary(steps: Sequence[Step], kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """In what kinds the data came into the models: the shortest way of each, counted.

    Args:
        steps: in the order of their names.
        kinds: of each commitment.
    """
    parents = {each.asset: each.made_from for each in steps}
    models = {kind.value for kind in MODELS}
    found = Counter(tuple(kinds[each] for each in _way(asset, parents)) for asset in parents if kinds[asset] in models)
    return [{"way": list(way), "count": number} for way, number in sorted(found.items())]


def _way(asset: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """The shortest way from something that was made from nothing else here; of equals, by their names."""
    waiting, seen = deque([[asset]]), {asset}
    while waiting:
        way = waiting.popleft()
        above = parents.get(way[0], ())
        if not above:
            return way
        fresh = [each for each in above if each not in seen]
        seen.update(fresh)
        waiting += [[each, *way] for each in fresh]
    return [asset]  # what was made from itself has no beginning
