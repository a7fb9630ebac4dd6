"""Registrations into the index: write the edge first, read the marks after (rule "mark first").

Whichever of indexer and resolver comes second sees the other: an asset that arrives under a case's mark is reported to
the case as late. Nothing here depends on whether a write changed something, so a repetition reports the same again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

from expunge.domain.admission import registrations
from expunge.domain.admission.door import Door
from expunge.domain.digest import hidden
from expunge.domain.events import Event, Outgoing, Record, decode, millis
from expunge.domain.lineage.marks import Mark, MarkState, Met, Thing, has_returned, is_late
from expunge.domain.lineage.row import (
    CONTAINER,
    DIGEST_BYTES,
    EXTRA,
    PARENTS,
    PASS_THROUGH,
    Row,
    derived_of,
    flags_of,
    has_other_names,
    moment,
    parents_of,
)
from expunge.domain.lineage.statement import Statement, identity_of, in_row
from expunge.domain.scope import Arrival, data_source_node
from expunge.domain.topics import read_by
from expunge.errors import InvalidMessage
from expunge.ports import Index, Made, Metrics, Put, Refused, Result, Said, Topics, Vault
from expunge.ports.people import People
from expunge.roles.common import late_messages, on_cases
from expunge.roles.dead_letters import DeadLetters, froze
from expunge.wire.assets import STATED
from expunge.wire.cases.case import HoldingKnown, LateAsset, LineageChanged

SOURCE = "/expunge/indexer"
STATEMENTS_PER_PART = 4000
_UNKNOWN = Made(container=True, derived_ms=0)
START = datetime.fromtimestamp(0, UTC)
REGISTRATION_LAG = timedelta(days=7)
"""How long before its registration an asset may have been made, if nobody says when."""


class _Stated(NamedTuple):
    key: bytes
    statement: Statement
    at: datetime
    parents: tuple[bytes, ...]

    def __repr__(self) -> str:
        return hidden(self)


_Written = tuple[list[Put], dict[int, list[Met]], list[Put]]
"""What the index answered to a part: for each statement, the marks that edges met, by its number, and for aliases."""


class Indexer:
    """See `ports.Role`."""

    name = "indexer"
    keeps_time = False
    cuts_batches = False
    topics = read_by(name)

    def __init__(
        self, door: Door, index: Index, people: People, topics: Topics, vault: Vault, metrics: Metrics
    ) -> None:
        self._door, self._index, self._people, self._topics = door, index, people, topics
        self._dead = DeadLetters(self.name, door, vault, metrics)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Statements into the index, onto `assets`, and to the cases that they come too late for."""
        return Result(self._waves(batch))

    def _waves(self, batch: Sequence[Record]) -> Iterator[tuple[Outgoing, ...]]:
        """What is said, part by part: while one part is written to the index, its messages and the next are made."""
        writing: tuple[list[_Stated], Callable[[], _Written]] | None = None
        for stated, dead in self._parts(batch):
            begun = self._index.begin(partial(self._write, stated))
            if writing:
                yield self._found(*writing)
            writing = (stated, begun)
            partitions = self._topics.partitions("assets")
            yield (*dead, *(_canonical(each, partitions) for each in stated))
        if writing:
            yield self._found(*writing)

    def _parts(self, batch: Sequence[Record]) -> Iterator[tuple[list[_Stated], list[Outgoing]]]:
        """Statements in parts of about STATEMENTS_PER_PART, each with the dead letters that were met on the way."""
        stated: list[_Stated] = []
        dead: list[Outgoing] = []
        key = self._door.keys.asset
        for record in batch:
            at = record.appended_at
            try:
                read = registrations.statements(self._door, decode(record), at)
            except InvalidMessage as error:
                dead.append(self._dead.of(record, error))
                continue
            dead += [self._dead.part(record, each.error, each.number, each.said) for each in read.wrong]
            stated += [_Stated(key(each.asset), each, at, tuple(map(key, each.parents))) for each in read.statements]
            if len(stated) >= STATEMENTS_PER_PART:
                yield stated, dead
                stated, dead = [], []
        yield stated, dead

    def write(self, result: Result) -> None:
        """Everything was added while the batch was handled; the committed offset is the only state."""

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`."""
        place = self._door.place_of(record)
        return Result(((self._dead.parked(record, error), *froze(record, record.topic, error, place, SOURCE)),))

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""

    def _found(self, stated: Sequence[_Stated], written: Callable[[], _Written]) -> tuple[Outgoing, ...]:
        """What a part led to: holdings that cases must ask, and what came too late for them."""
        puts, met, names = written()
        holdings = self._holdings(stated)
        latest = max((each.at for each in stated), default=START)
        things: dict[int, Thing] = {}
        own: dict[int, Sequence[Mark]] = {}
        self._link_aliases(stated, things, own, met)
        for at, put in enumerate(puts):
            if put.marks or at in met:
                things[at], own[at] = _thing(stated[at], put), put.marks
        changed = _changed((*puts, *names), latest)
        back = [(each, since) for each, put in zip(stated, puts, strict=True) if (since := _back_since(each, put))]
        partitions = self._topics.partitions("assets")
        kept = [_canonical(each, partitions, since_ms=since) for each, since in back]
        return (*kept, *holdings, *changed, *self._late(stated, things, own, met, latest))

    def _write(self, stated: Sequence[_Stated]) -> _Written:
        """Rows, then edges and memberships; and the marks that they met, by number of the statement."""
        self._rename(stated)
        said = [Said(each.key, each.statement.row(each.parents), _stated_ms(each)) for each in stated]
        every = self._index.put(said + self._names(stated))
        puts, names = every[: len(said)], every[len(said) :]
        met: dict[int, list[Met]] = defaultdict(list)
        self._link_edges(stated, puts, met)
        self._link_subjects(stated, met)
        self._data_sources(stated, met)
        return puts, met, names

    def _rename(self, stated: Sequence[_Stated]) -> None:
        """Once the secret was rotated: who stands in a row under an earlier one is nobody else now.

        Also when that has ended long ago: an indexer may have died between a row and what else says whom it names, or
        the index may have been set back.
        """
        wanted: dict[bytes, list[Statement]] = defaultdict(list)
        for each in stated:
            if any(named.earlier for named in each.statement.subjects):
                wanted[each.key].append(each.statement)
        if wanted:
            newest = self._door.keys.newest
            self._people.rename({key: partial(in_row, some, newest) for key, some in wanted.items()})

    def _names(self, stated: Sequence[_Stated]) -> list[Said]:
        """A row for each alias, so that what was made from it under that name can be told to leave it out."""
        key = self._door.keys.asset
        return [
            Said(key(alias), Row(alias, aliases=(each.statement.asset,)), 0)
            for each in stated
            for alias in each.statement.aliases
        ]

    def _holdings(self, stated: Sequence[_Stated]) -> list[Outgoing]:
        """A holding is on the list before the open cases hear of it: root tasks that come later read the list."""
        outgoing = []
        for each in stated:
            if each.statement.holding is None:
                continue
            self._index.add_holding(each.key)
            told, key = HoldingKnown(holding=each.key.hex()), each.key.hex()
            said = (each.key, identity_of(each.statement.data()))
            outgoing += [
                on_cases(told, each.at, SOURCE, *said, number, key=key, partition=number)
                for number in range(self._topics.partitions("cases"))
            ]
        return outgoing

    def _link_edges(self, stated: Sequence[_Stated], puts: Sequence[Put], met: dict[int, list[Met]]) -> None:
        """Edges from parents; then the marks of what each edge starts from.

        What has become a container counts as made from its earlier parents too: a walk for one person, which had passed
        it by, must now take it.
        """
        edges: list[tuple[bytes, bytes]] = []
        children: list[int] = []
        made: list[Made] = []
        for at, each in enumerate(stated):
            raw = puts[at].raw
            flags = flags_of(raw)
            known = {*each.parents, *parents_of(raw)} if flags & CONTAINER else each.parents
            of = Made(bool(flags & (CONTAINER | PASS_THROUGH)), millis(_derived(each, raw))) if known else None
            for parent in known:
                edges.append((parent, each.key))
                children.append(at)
                made.append(of or _UNKNOWN)
        for child, (parent, _), marks in zip(children, edges, self._index.link_children(edges, made), strict=True):
            for mark in marks:
                met[child].append(Met(mark, mark.reach.onward, parent))

    def _link_subjects(self, stated: Sequence[_Stated], met: dict[int, list[Met]]) -> None:
        """Who is named; then, while one secret takes another's place, the same under the one before.

        In this order nothing stands under the earlier name alone, and the marks of both are read (rule "rotated").
        """
        named = [(at, each.key, name) for at, each in enumerate(stated) for name in each.statement.subjects]
        self._link_names([(at, name.pseudonym, key) for at, key, name in named], met)
        keys, epochs = self._door.keys, self._door.keys.epochs
        earlier = [
            (at, one, key)
            for at, key, name in named
            for one in name.earlier
            if epochs.oldest <= one[0] < epochs.newest and keys.newest(one) == name.pseudonym
        ]
        if earlier:
            self._link_names(earlier, met)

    def _link_names(self, named: Sequence[tuple[int, bytes, bytes]], met: dict[int, list[Met]]) -> None:
        numbers, members = [at for at, _, _ in named], [(name, key) for _, name, key in named]
        for at, marks in zip(numbers, self._index.link_subjects(members), strict=True):
            met_here = [Met(mark, Arrival.MEMBER) for mark in marks]
            if met_here:
                met[at] += met_here

    def _data_sources(self, stated: Sequence[_Stated], met: dict[int, list[Met]]) -> None:
        """Memberships were written with the rows; the marks of the roots are read after."""
        names = sorted({name for each in stated for name in each.statement.data_sources})
        found = dict(zip(names, self._index.marks([data_source_node(name) for name in names]), strict=True))
        if not any(found.values()):
            return
        for at, each in enumerate(stated):
            for source in each.statement.data_sources:
                met[at] += [Met(mark, Arrival.THROUGH) for mark in found[source]]

    def _link_aliases(
        self,
        stated: Sequence[_Stated],
        things: dict[int, Thing],
        own: dict[int, Sequence[Mark]],
        met: dict[int, list[Met]],
    ) -> None:
        """Edges both ways between an asset and its other names; those are things of their own, numbered behind."""
        pairs = [
            (at, self._door.keys.asset(alias)) for at, each in enumerate(stated) for alias in each.statement.aliases
        ]
        if not pairs:
            return
        numbers = {key: len(stated) + number for number, key in enumerate(sorted({alias for _, alias in pairs}))}
        forth = self._index.link_children([(stated[at].key, alias) for at, alias in pairs])
        back = self._index.link_children([(alias, stated[at].key) for at, alias in pairs])
        rows, marks = self._index.rows(list(numbers)), self._index.marks(list(numbers))
        for (key, number), row, found in zip(numbers.items(), rows, marks, strict=True):
            things[number] = Thing(key, row.encode() if row else None)
            own[number] = found
        for (at, alias), to_alias, to_asset in zip(pairs, forth, back, strict=True):
            met[numbers[alias]] += [Met(mark, mark.reach.onward, stated[at].key) for mark in to_alias]
            met[at] += [Met(mark, mark.reach.onward, alias) for mark in to_asset]

    def _late(
        self,
        stated: Sequence[_Stated],
        things: Mapping[int, Thing],
        own: Mapping[int, Sequence[Mark]],
        met: Mapping[int, Sequence[Met]],
        at: datetime,
    ) -> list[Outgoing]:
        """One message for each case and batch, listing what came too late for it (rule "late assets")."""
        cases: dict[str, dict[bytes, LateAsset]] = defaultdict(dict)
        exclusions: dict[str, dict[bytes, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        parents = set[bytes]()
        for number, thing in things.items():
            mine = own[number]
            back = {mark.case_id for mark in mine if has_returned(mark, thing.stated_ms)}
            named = {each.mark.case_id for each in met.get(number, ()) if each.arrival is Arrival.MEMBER}
            for each in (*met.get(number, ()), *(Met(mark, mark.reach) for mark in mine)):
                case_id = each.mark.case_id
                if case_id not in back and not is_late(thing, each, mine):
                    continue
                parents |= {each.parent} - {b""}
                if each.parent and flags_of(thing.raw) & (CONTAINER | EXTRA):  # perhaps a name of a container
                    exclusions[case_id][thing.key].add(each.parent)
                asset = LateAsset(
                    key=thing.key.hex(),
                    arrival=each.arrival,
                    command_id=thing.command_id,
                    returned=thing.stated_ms if case_id in back else 0,
                    collected=_collected(thing, each, named=case_id in named, back=case_id in back),
                )
                if thing.command_id:
                    asset = _traced(asset, each, of_its_own=not each.parent and each.mark in mine)
                listed = cases[case_id]
                listed[thing.key] = _both(listed[thing.key], asset) if thing.key in listed else asset
        self._name_again(stated, parents)
        for case_id, containers in exclusions.items():
            # Whenever the edge was told of, a container must leave out what it was made from.
            self._index.exclude(case_id, self._uncovered(case_id, containers))
        return [message for case_id, assets in cases.items() for message in late_messages(case_id, assets, at, SOURCE)]

    def _name_again(self, stated: Sequence[_Stated], parents: set[bytes]) -> None:
        """Parents that are forgotten, or that nobody has registered, have names by which sets can leave them out."""
        names = {key: name for each in stated for name, key in zip(each.statement.parents, each.parents, strict=True)}
        wanted = sorted(parents & names.keys())
        rows = zip(wanted, self._index.rows(wanted), strict=True)
        self._index.put([Said(key, Row(names[key]), 0) for key, row in rows if row is None or not row.asset])

    def _uncovered(self, case_id: str, containers: Mapping[bytes, set[bytes]]) -> dict[bytes, set[bytes]]:
        """Without parents that state a data source which the case withdraws: whoever leaves it out leaves them out."""
        parents = sorted({parent for each in containers.values() for parent in each})
        stated = [row.combination.data_sources if row else frozenset() for row in self._index.rows(parents)]
        names = sorted({name for each in stated for name in each})
        found = self._index.marks([data_source_node(name) for name in names])
        withdrawn = {
            name for name, marks in zip(names, found, strict=True) if any(mark.case_id == case_id for mark in marks)
        }
        covered = {parent for parent, each in zip(parents, stated, strict=True) if each & withdrawn}
        return {key: each - covered for key, each in containers.items() if each - covered}


def _back_since(said: _Stated, put: Put) -> int:
    """Since when an asset was gone, for some case, that is stated again; 0: it was not."""
    return max((mark.since_ms for mark in put.marks if has_returned(mark, _stated_ms(said))), default=0)


def _canonical(said: _Stated, partitions: int, *, since_ms: int = 0) -> Outgoing:
    """A statement on `assets`. All that is said of one asset lies on one partition, which its key decides.

    What is stated after it was purged is another message than the same before, which may be swept away at this very
    moment (rule "swept").
    """
    data = said.statement.data()
    name = said.key.hex() + identity_of(data | {"since": since_ms} if since_ms else data)
    partition = int.from_bytes(said.key[-4:], "big") % partitions
    return Outgoing("assets", name, Event(STATED, SOURCE, name, said.at, data), partition)


def _derived(said: _Stated, raw: bytes) -> datetime:
    """When an asset was made, as far as known; what nobody says was made long before it was registered."""
    if said.statement.derived_at:
        return moment(said.statement.derived_at)
    known = derived_of(raw)
    return datetime.fromtimestamp(known / 1000, UTC) if known else said.at - REGISTRATION_LAG


def _thing(said: _Stated, put: Put) -> Thing:
    statement, made = said.statement, said.statement.derived_at
    derived = _derived(said, put.raw)
    collected = int(moment(statement.collected_at).timestamp())
    said_ms = millis(derived) if made else 0
    return Thing(said.key, put.raw, _stated_ms(said), millis(derived), collected, statement.command_id, said_ms)


MOST_VIA = 8


def _traced(asset: LateAsset, met: Met, *, of_its_own: bool) -> LateAsset:
    """The same with the reason why it is late, of what names a command: where that may let it be."""
    if of_its_own:
        return asset.model_copy(update={"via": (asset.key,)})
    if met.parent:
        return asset.model_copy(update={"via": (met.parent.hex(),)})
    return asset.model_copy(update={"named": True})  # it names the person, or states the data source


def _changed(puts: Iterable[Put], at: datetime) -> list[Outgoing]:
    """Cases that looked at a row for holds hear that it is another by now."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for put in puts:
        for case_id, seen in put.watchers:
            if seen != put.raw[:DIGEST_BYTES]:
                found[case_id].append(put.raw[:DIGEST_BYTES])
    return [
        on_cases(LineageChanged(case_id=case_id), at, SOURCE, case_id, *sorted(rows))
        for case_id, rows in sorted(found.items())
    ]


def _collected(thing: Thing, met: Met, *, named: bool, back: bool) -> int:
    """Since when a thing may be a new customer's (seconds since 1970), for the case to let that be; 0: it is not.

    It may be if the statement names the person and nothing else leads here: no parents, and no other name unless it
    has been purged before. What was made from something that is gone was made of what came after, if it says when.
    """
    if met.parent and not back:
        gone = met.mark.state is MarkState.GONE and thing.made_ms > met.mark.since_ms
        return thing.made_ms // 1000 if gone else 0
    if not named or flags_of(thing.raw) & PARENTS or (thing.raw and not back and has_other_names(thing.raw)):
        return 0
    return thing.collected


def _stated_ms(said: _Stated) -> int:
    """When it was stated that the asset is there; 0 where the statement says that it is not."""
    return 0 if said.statement.removed else millis(said.at)


def _both(left: LateAsset, right: LateAsset) -> LateAsset:
    """Two reasons to look at one asset: the wider way there, and whatever keeps it late."""
    return LateAsset(
        key=left.key,
        arrival=Arrival(left.arrival).joined(Arrival(right.arrival)),
        # Of several statements about one asset, one that no command asked for makes it late.
        command_id=left.command_id if left.command_id == right.command_id else "",
        returned=max(left.returned, right.returned),
        collected=min(left.collected, right.collected),
        via=tuple(sorted({*left.via, *right.via})[:MOST_VIA]),
        named=left.named or right.named,
    )
