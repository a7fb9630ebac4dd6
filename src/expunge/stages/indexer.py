"""Registrations into the index: write the edge first, read the marks after (PROTOCOLS 11).

Whichever of indexer and resolver comes second sees the other: an asset that arrives under a case's mark is reported to
the case as late. Nothing here depends on whether a write changed something, so a repetition reports the same again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from expunge.domain.admission import Door
from expunge.domain.case.messages import TYPE_OF, HoldingDeclared, Late, LateAsset
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Record, decode
from expunge.domain.scope import Arrival, data_source_node
from expunge.domain.statement import DIGEST_BYTES, Row, Statement
from expunge.errors import InvalidMessage
from expunge.ports import Index, Mark, Metrics, Result, Topics, Vault
from expunge.stages.dead_letters import DeadLetters

SOURCE = "/expunge/indexer"
ASSETS_PER_MESSAGE = 2000
REGISTRATION_LAG = timedelta(days=7)
"""How long before its registration an asset may have been made, if nobody says when."""


class _Said(NamedTuple):
    key: bytes
    statement: Statement
    at: datetime


class _Thing(NamedTuple):
    """A node that may be late for a case: a stated asset, or an alias of one."""

    key: bytes
    row: Row | None
    command_id: str = ""
    derived_ms: int = 0
    """When it was made, as far as known: what is not said was made long before it was registered."""


class _Found(NamedTuple):
    """A mark met by a thing, and how the walk would have come to it from there."""

    thing: int
    mark: Mark
    arrival: Arrival
    parent: bytes = b""
    """Where the edge came from, if it was one."""


class Indexer:
    """See `ports.Stage`."""

    name = "indexer"
    topics = ("registrations",)

    def __init__(self, door: Door, index: Index, topics: Topics, vault: Vault, metrics: Metrics) -> None:
        self._door, self._index, self._topics = door, index, topics
        self._dead = DeadLetters(self.name, door, vault, metrics)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Statements into the index, onto `assets`, and to the cases that they come too late for."""
        said: list[_Said] = []
        outgoing: list[Outgoing] = []
        for record in batch:
            try:
                statements = self._door.statements(decode(record), record.appended_at)
            except InvalidMessage as error:
                outgoing.append(self._dead.of(record, error))
                continue
            said += [_Said(self._door.keys.asset(each.asset), each, record.appended_at) for each in statements]
        if said:
            outgoing += self._add(said)
        return Result((tuple(outgoing),))

    def write(self, result: Result) -> None:
        """Everything was added while the batch was handled; the committed offset is the only state."""

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()

    def _add(self, said: Sequence[_Said]) -> list[Outgoing]:
        rows = self._index.put([(each.key, each.statement) for each in said])
        outgoing = [self._canonical(each) for each in said]
        outgoing += self._holdings(said)
        things = self._things(said, rows)
        found = [*self._link_edges(said, things), *self._link_subjects(said), *self._data_sources(said)]
        return outgoing + self._late(things, found, max(each.at for each in said))

    def _things(self, said: Sequence[_Said], rows: Sequence[Row]) -> list[_Thing]:
        """What was stated, in order, and then the aliases."""
        stated = [
            _Thing(each.key, row, each.statement.command_id, _derived(each))
            for each, row in zip(said, rows, strict=True)
        ]
        aliases = sorted({self._door.keys.asset(alias) for each in said for alias in each.statement.aliases})
        return stated + [_Thing(key, row) for key, row in zip(aliases, self._index.rows(aliases), strict=True)]

    def _canonical(self, said: _Said) -> Outgoing:
        identity = said.statement.identity()
        kind = "expunge.asset.stated.v1"
        event = Event(kind, SOURCE, name(kind, said.key, identity), said.at, said.statement.data())
        return Outgoing("assets", f"{said.key.hex()}{identity}", event)

    def _holdings(self, said: Sequence[_Said]) -> list[Outgoing]:
        """A holding is on the list before the open cases hear of it: root tasks that come later read the list."""
        outgoing = []
        for each in said:
            if each.statement.holding is None:
                continue
            self._index.add_holding(each.key)
            kind = TYPE_OF[HoldingDeclared]
            data = HoldingDeclared(holding=each.key.hex()).model_dump(mode="json")
            for partition in range(self._topics.partitions("cases")):
                event = Event(kind, SOURCE, name(kind, each.key, each.statement.identity(), partition), each.at, data)
                outgoing.append(Outgoing("cases", each.key.hex(), event, partition))
        return outgoing

    def _link_edges(self, said: Sequence[_Said], things: Sequence[_Thing]) -> list[_Found]:
        """Edges from parents, and both ways between aliases; then the marks of what each edge starts from."""
        aliases = {thing.key: at for at, thing in enumerate(things) if at >= len(said)}
        edges: list[tuple[bytes, bytes]] = []
        children: list[int] = []
        for at, each in enumerate(said):
            row = things[at].row
            parents = sorted({*each.statement.parents, *(row.parents if row else ()), *each.statement.aliases})
            edges += [(self._door.keys.asset(parent), each.key) for parent in parents]
            children += [at] * len(parents)
            for alias in map(self._door.keys.asset, each.statement.aliases):
                edges.append((each.key, alias))
                children.append(aliases[alias])
        marks = self._index.link_children(edges)
        return [
            _Found(child, mark, mark.reach.onward, parent)
            for child, (parent, _), found in zip(children, edges, marks, strict=True)
            for mark in found
        ]

    def _link_subjects(self, said: Sequence[_Said]) -> list[_Found]:
        members = [(named.pseudonym, at) for at, each in enumerate(said) for named in each.statement.subjects]
        marks = self._index.link_subjects([(subject, said[at].key) for subject, at in members])
        return _through(((at, found) for (_, at), found in zip(members, marks, strict=True)))

    def _data_sources(self, said: Sequence[_Said]) -> list[_Found]:
        """Memberships were written with the rows; the marks of the roots are read after."""
        names = sorted({name for each in said for name in each.statement.data_sources})
        marks = dict(zip(names, self._index.marks([data_source_node(name) for name in names]), strict=True))
        return _through((at, marks[name]) for at, each in enumerate(said) for name in each.statement.data_sources)

    def _late(self, things: Sequence[_Thing], found: Iterable[_Found], at: datetime) -> list[Outgoing]:
        """One message for each case and batch, listing what came too late for it (PROTOCOLS 19)."""
        own = self._index.marks([thing.key for thing in things])
        cases: dict[str, dict[bytes, LateAsset]] = defaultdict(dict)
        met = [*found, *(_Found(number, mark, mark.reach) for number, marks in enumerate(own) for mark in marks)]
        late = [each for each in met if _is_late(things[each.thing], each, own[each.thing])]
        self._note_exclusions(things, late)
        for number, mark, arrival, _ in late:
            thing, listed = things[number], cases[mark.case_id]
            before = listed.get(thing.key)
            widest = max(arrival, Arrival(before.arrival) if before else arrival, key=lambda each: each.width)
            # Of several statements about one asset, one that no command asked for makes it late.
            produced = thing.command_id if before is None or before.command_id else ""
            listed[thing.key] = LateAsset(key=thing.key.hex(), arrival=widest, command_id=produced)
        return [message for case_id, assets in cases.items() for message in _messages(case_id, assets, at)]

    def _note_exclusions(self, things: Sequence[_Thing], late: Iterable[_Found]) -> None:
        """A container that was made from something of a case must leave it out, whenever the edge was told of."""
        parents: dict[str, dict[bytes, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        for number, mark, _, parent in late:
            thing = things[number]
            if parent and thing.row is not None and thing.row.container:
                parents[mark.case_id][thing.key].add(parent)
        for case_id, containers in parents.items():
            self._index.exclude(case_id, containers)


def _through(pairs: Iterable[tuple[int, list[Mark]]]) -> list[_Found]:
    return [_Found(at, mark, Arrival.THROUGH) for at, marks in pairs for mark in marks]


def _is_late(thing: _Thing, found: _Found, own: Sequence[Mark]) -> bool:
    """Whether a case must look at a thing again.

    It must if it has not planned it, not as the row now says, or not so widely; and at a container whenever something
    of the case is said to be in it, for it may not have been told to leave that out. It need not if the thing was made
    from something after that something was clean (PROTOCOLS 16).
    """
    row, arrival, mark = thing.row, found.arrival, found.mark
    if row is not None and arrival is Arrival.CONTAINERS and row.kinds and not row.container:
        return False
    if found.parent and mark.clean_since and thing.derived_ms > mark.clean_since:
        return False
    mine = next((known for known in own if known.case_id == mark.case_id), None)
    if mine is None:
        return True
    container = row is not None and row.container
    planned = row.encode()[:DIGEST_BYTES] if row else b""
    wider = arrival.width > mine.reach.width and not container
    return mine.digest != planned or wider or (container and bool(found.parent))


def _derived(said: _Said) -> int:
    made = said.statement.derived_at
    moment = datetime.fromisoformat(made) if made else said.at - REGISTRATION_LAG
    return int(moment.timestamp() * 1000)


def _messages(case_id: str, assets: dict[bytes, LateAsset], at: datetime) -> list[Outgoing]:
    kind = TYPE_OF[Late]
    ordered = [assets[key] for key in sorted(assets)]
    messages = []
    for start in range(0, len(ordered), ASSETS_PER_MESSAGE):
        late = Late(case_id=case_id, assets=tuple(ordered[start : start + ASSETS_PER_MESSAGE]))
        content = [f"{asset.key}{asset.arrival}{asset.command_id}" for asset in late.assets]
        event = Event(kind, SOURCE, name(kind, case_id, *content), at, late.model_dump(mode="json"))
        messages.append(Outgoing("cases", case_id, event))
    return messages
