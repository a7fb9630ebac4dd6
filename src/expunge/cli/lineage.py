"""An asset's neighbourhood in the index: for terminals, for documents (Mermaid) and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.tree import Tree

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.common import safe
from expunge.domain.lineage.marks import Mark, MarkState
from expunge.domain.lineage.row import FORGOTTEN, Row
from expunge.domain.scope import SHARDS, Group, GroupKind

MAX_DRAWN = 12
"""Children of one asset that are drawn; of the others the number is said."""
MAX_NODES = 200
UNKNOWN = "an asset that nobody has registered"
_STATES = {
    MarkState.OPEN: "",
    MarkState.RESTATED: "",
    MarkState.CLEAN: "without the case's data since",
    MarkState.GONE: "deleted, or not found, since",
}


class Children(NamedTuple):
    """Some of an asset's children, and how many there are."""

    keys: list[bytes]
    total: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """Reads what people ask about an asset."""

    expunge: Installation

    def row(self, key: bytes) -> Row | None:
        """What is known about an asset."""
        return self.expunge.index.rows([key])[0]

    def children(self, key: bytes, limit: int = MAX_DRAWN) -> Children:
        """The first children of an asset; of a hub only as many shards are read as it takes."""
        group = Group(GroupKind.CHILDREN, key)
        sizes = self.expunge.index.sizes(group)
        found, shard = 0, 0
        while shard < SHARDS and found < limit:
            found += sizes[shard]
            shard += 1
        keys = self.expunge.index.members(group, range(shard)) if found else []
        known = zip(keys, self.names(keys), strict=True)
        return Children([key for key, _ in sorted(known, key=lambda each: each[1])][:limit], sum(sizes))

    def names(self, keys: Sequence[bytes]) -> list[str]:
        """Ids of assets, as far as they are registered."""
        return [row.asset or FORGOTTEN if row else UNKNOWN for row in self.expunge.index.rows(keys)]

    def cases(self, key: bytes) -> list[dict[str, Any]]:
        """The cases that touched an asset."""
        return [self._case(mark) for mark in self.expunge.index.marks([key])[0]]

    def _case(self, mark: Mark) -> dict[str, Any]:
        case = queries.case(self.expunge, mark.case_id)
        since = datetime.fromtimestamp(mark.since_ms / 1000, UTC).isoformat(timespec="seconds")
        what = _STATES[mark.state]
        return {
            "case_id": mark.case_id,
            "status": case.status.value if case else "forgotten",
            "asset": f"{what} {since}" if what else "under the case's mark",
        }

    def data(self, key: bytes, row: Row) -> dict[str, Any]:
        """Everything, for programs."""
        children = self.children(key, limit=1000)
        return brief(row) | {
            "collected_at": moment(row.collected) or None,
            "shared": row.shared or row.container,
            "parents": self.names(row.parents),
            "children": self.names(children.keys),
            "children_total": children.total,
            "cases": self.cases(key),
        }

    def tree(self, key: bytes, row: Row) -> Tree:
        """What it was made from, what is known, what was made from it."""
        tree = Tree(_label(row, bold=True))
        if row.parents:
            made_from = tree.add("[dim]made from (as far as kept)[/dim]")
            for parent, known in zip(row.parents, self.expunge.index.rows(row.parents), strict=True):
                made_from.add(_label(known) if known else f"[dim]{UNKNOWN} ({parent.hex()[:8]})[/dim]")
        for title, values in _about(row):
            tree.add(f"[dim]{title}:[/dim] {safe(values)}")
        cases = self.cases(key)
        if cases:
            touched = tree.add("[dim]cases that touched it[/dim]")
            for case in cases:
                touched.add(f"{case['case_id']} [dim]({case['status']}; {case['asset']})[/dim]")
        children = self.children(key)
        if children.total:
            made = tree.add(f"[dim]made from it: {children.total:,}[/dim]")
            self._grow(made, children, {key}, [MAX_NODES])
        return tree

    def _grow(self, tree: Tree, children: Children, seen: set[bytes], left: list[int]) -> None:
        """Draw what was made from assets, each once, up to a bound for each and for all."""
        for key, row in zip(children.keys, self.expunge.index.rows(children.keys), strict=True):
            again = key in seen
            branch = tree.add((_label(row) if row else f"[dim]{UNKNOWN}[/dim]") + (" [dim]see above[/dim]" * again))
            left[0] -= 1
            if not again and left[0] > 0:
                seen.add(key)
                self._grow(branch, self.children(key), seen, left)
        if children.total > len(children.keys):
            tree.add(f"[dim]and {children.total - len(children.keys):,} more[/dim]")

    def mermaid(self, key: bytes, row: Row) -> str:
        """A flow chart (https://mermaid.js.org) of parents, the asset, and what was made from it."""
        names: dict[bytes, str] = {key: f"n0[{_quoted(row)}]:::asked"}
        edges: list[str] = []
        for parent, known in zip(row.parents, self.expunge.index.rows(row.parents), strict=True):
            names.setdefault(parent, f"n{len(names)}[{_quoted(known)}]")
            edges.append(f"{_id(names[parent])} --> n0")
        self._chart(key, names, edges)
        lines = ["flowchart LR", *names.values(), *edges, "classDef asked stroke-width:3px"]
        return "\n    ".join(lines)

    def _chart(self, key: bytes, names: dict[bytes, str], edges: list[str]) -> None:
        children = self.children(key)
        for child, row in zip(children.keys, self.expunge.index.rows(children.keys), strict=True):
            fresh = child not in names
            names.setdefault(child, f"n{len(names)}[{_quoted(row)}]")
            edges.append(f"{_id(names[key])} --> {_id(names[child])}")
            if fresh and len(names) < MAX_NODES:
                self._chart(child, names, edges)
        if children.total > len(children.keys):
            more = f"m{len(edges)}([and {children.total - len(children.keys):,} more])"
            edges.append(f"{_id(names[key])} -.-> {more}")


def brief(row: Row) -> dict[str, Any]:
    """What statements say of an asset itself."""
    names = row.combination
    return {
        "asset": row.asset or FORGOTTEN,
        "aliases": list(row.aliases),
        "kinds": sorted(names.kinds),
        "systems": sorted(names.systems),
        "data_sources": sorted(names.data_sources),
        "purposes": sorted(names.purposes),
        "categories": sorted(names.categories),
    }


def moment(seconds: int) -> str:
    """A moment for people; empty for none."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""


def _about(row: Row) -> Iterator[tuple[str, str]]:
    names = row.combination
    titles = ("systems", "data sources", "purposes", "categories")
    for title, values in zip(
        titles, (names.systems, names.data_sources, names.purposes, names.categories), strict=True
    ):
        if values:
            yield title, ", ".join(sorted(values))
    if row.aliases:
        yield "also called", ", ".join(row.aliases)
    if row.collected:
        yield "collected", moment(row.collected)
    if row.holding is not None:
        yield "holding", "answers for itself when it is asked"
    elif row.shared or row.container:
        yield "shared", "holds several people's data"


def _label(row: Row, *, bold: bool = False) -> str:
    shown = safe(row.asset or FORGOTTEN)
    name = f"[bold]{shown}[/bold]" if bold else shown
    kinds = ", ".join(sorted(row.combination.kinds)).replace("_", " ") or (
        "another name" if row.aliases else "not registered yet"
    )
    systems = ", ".join(sorted(row.combination.systems))
    return f"{name} [dim]({kinds}{'; ' if systems else ''}{systems})[/dim]"


def _quoted(row: Row | None) -> str:
    if row is None:
        return f'"{UNKNOWN}"'
    kinds = ", ".join(sorted(row.combination.kinds)).replace("_", " ")
    return '"' + (row.asset or FORGOTTEN).replace('"', "#quot;") + f"<br/>{kinds}" + '"'


def _id(node: str) -> str:
    return node.partition("[")[0]
