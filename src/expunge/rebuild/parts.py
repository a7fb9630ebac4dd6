"""From `plans`: what cases were opened with, the bodies of chunks, policies, and what stands on no ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.continuity import Reached
from expunge.domain.digest import hidden
from expunge.domain.events import Position, Record
from expunge.domain.identity import Keys
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk, names_of
from expunge.domain.planning.policy.rules import KeptPolicy
from expunge.ports import Batch, Changes
from expunge.rebuild.ports import KeptPolicies, States
from expunge.roles.common import POLICY_TYPE
from expunge.roles.coordinator.effects import ROOT_TYPE
from expunge.roles.resolver.resolver import CHUNK_TYPE
from expunge.wire.cases.case import Root
from expunge.wire.forgotten import FORGOTTEN, ChunksForgotten
from expunge.wire.kept import KEPT, Kept, KeptKind
from expunge.wire.suppressions import SuppressionSet


class _Whole(NamedTuple):
    """A kept state whose pieces are all there."""

    kept: Kept
    text: str

    def __repr__(self) -> str:
        return hidden(self)


class Parts:
    """Writes what it reads; of what is kept in many versions it remembers the latest that counts, until `finish`."""

    def __init__(self, store: States, policies: KeptPolicies, keys: Keys, ends: Mapping[int, Reached]) -> None:
        self._store, self._policies, self._keys, self._ends = store, policies, keys, ends
        self._pieces: dict[tuple[int, str, int], dict[int, Kept]] = defaultdict(dict)
        self._latest: dict[tuple[int, KeptKind, str], _Whole] = {}
        self._aside: dict[tuple[int, str], dict[tuple[Position, int], _Whole]] = defaultdict(dict)
        self._takes: Mapping[str, Callable[[int, Any], None]] = {
            ROOT_TYPE: self._root,
            CHUNK_TYPE: self._chunk,
            POLICY_TYPE: self._policy,
            FORGOTTEN: self._forgotten,
            KEPT: self._kept,
        }
        self._later: dict[str, Suppression] = {}
        """How suppressions stood first behind what is restored: that is decided again."""
        self._published: dict[str, Suppression | None] = {}
        """Suppressions that nobody has kept, as they are published last; None: lifted."""
        self._rooted: set[int] = set()
        """Partitions that have cases."""
        self._changes: dict[int, Changes] = {}
        self._chunks: dict[int, list[Chunk]] = {}

    def take(self, records: Sequence[Record]) -> None:
        """Write what messages of `plans` hold. A partition belongs to that of `cases` with its number."""
        self._changes, self._chunks = defaultdict(Changes), defaultdict(list)
        for record in records:
            if record.value is None:
                continue
            event = orjson.loads(record.value)
            take = self._takes.get(event["type"])
            if take is not None:
                take(record.partition, event["data"])
        for partition, chunks in self._chunks.items():
            self._store.put_chunks(partition, [(each, names_of(each, self._keys.asset)) for each in chunks])
        for partition, changes in self._changes.items():
            self._write(partition, changes)

    def _write(self, partition: int, changes: Changes) -> None:
        at = self._store.positions([partition])[partition]
        if at is not None:  # else nothing of it has been handled
            self._store.write([Batch(partition, at, at, changes)])

    def _root(self, partition: int, data: Any) -> None:
        """Of a forgotten case what stays of its root lies beside the whole of it, as long as that is there."""
        root = Root.model_validate(data)
        self._rooted.add(partition)
        roots = self._changes[partition].roots
        if not root.forgotten or (root.case_id not in roots and not self._store.reader(partition).root(root.case_id)):
            roots[root.case_id] = root

    def _forgotten(self, partition: int, data: Any) -> None:
        self._store.put_keyed(partition, ChunksForgotten.model_validate(data))

    def _chunk(self, partition: int, data: Any) -> None:
        self._chunks[partition].append(Chunk.model_validate(data))

    def _policy(self, partition: int, data: Any) -> None:
        del partition
        kept = KeptPolicy.model_validate(data)
        self._policies.restore(kept.policy, kept.rules)

    def _kept(self, partition: int, data: Any) -> None:
        """A piece; only what was handled by then, and committed, counts."""
        kept = Kept.model_validate(data)
        if partition not in self._ends or kept.offset >= self._ends[partition].next:
            if kept.kind is KeptKind.SUPPRESSION and kept.pieces == 1:
                self._said_later(Suppression.model_validate_json(kept.text))
            return
        name = partition, kept.part.rpartition(":")[0], kept.pieces
        pieces = self._pieces[name]
        pieces[kept.piece] = kept
        if len(pieces) < kept.pieces:
            return
        del self._pieces[name]
        self._whole(partition, _Whole(kept, "".join(pieces[at].text for at in sorted(pieces))))

    def _whole(self, partition: int, whole: _Whole) -> None:
        kept = whole.kept
        if kept.kind is KeptKind.ASIDE:
            self._aside[partition, kept.key][kept.position, kept.number] = whole
        elif kept.kind is KeptKind.SUPPRESSION:
            self._suppression(partition, kept.key, Suppression.model_validate_json(whole.text))
        else:
            place = partition, kept.kind, kept.key
            known = self._latest.get(place)
            if known is None or known.kept.position <= kept.position:
                self._latest[place] = whole

    def _suppression(self, partition: int, key: str, state: Suppression) -> None:
        """There may be millions: the later of two is told by its sequence, so that none need be remembered."""
        changes = self._changes[partition]
        known = changes.suppressions.get(key) or self._store.reader(partition).suppression(key)
        if known is None or known.sequence <= state.sequence:
            changes.suppressions[key] = state

    def _said_later(self, state: Suppression) -> None:
        known = self._later.get(state.suppression)
        if known is None or state.sequence < known.sequence:
            self._later[state.suppression] = state

    def published(self, records: Sequence[Record], partitions: int) -> None:
        """Suppressions that nobody has kept, as far as they are published: what 0.1 wrote."""
        for record in records:
            key = (record.key or b"").decode()
            if record.value is None:
                self._published[key] = None
                continue
            said = SuppressionSet.model_validate(orjson.loads(record.value)["data"])
            later = self._later.get(key)
            is_kept = self._store.reader(partition_of(key, partitions)).suppression(key) is not None
            if not is_kept and (later is None or said.sequence < later.sequence):
                self._published[key] = Suppression.of(key, said)

    def finish_published(self, partitions: int) -> None:
        """Write them. Where what stood before what is decided again is published no more, that stands already."""
        changes: dict[int, Changes] = defaultdict(Changes)
        for key, later in self._later.items():
            if later.sequence > 1 and key not in self._published:
                self._published[key] = later
        for key, state in self._published.items():
            partition = partition_of(key, partitions)
            if state is not None and self._store.reader(partition).suppression(key) is None:
                changes[partition].suppressions[key] = state
        for partition, each in changes.items():
            self._write(partition, each)

    @property
    def unknown(self) -> list[int]:
        """Partitions with cases of which nobody has kept what operators had said."""
        known = {partition for partition, kind, _ in self._latest if kind is KeptKind.STANDING}
        handled = {partition for partition, end in self._ends.items() if end.next}
        return sorted(self._rooted & handled - known)

    def finish(self) -> None:
        """Write what stands, and what waits for frozen cases."""
        changes: dict[int, Changes] = defaultdict(Changes)
        for (partition, kind, key), whole in self._latest.items():
            if kind is KeptKind.RATE:
                changes[partition].rates[key] = Rate.model_validate_json(whole.text)
            else:
                changes[partition].standing = Standing.model_validate_json(whole.text)
        for partition, each in changes.items():
            for case_id, frozen in sorted((each.standing or Standing()).frozen.items()):
                each.set_aside += self._waiting(partition, case_id, frozen.waiting)
            self._write(partition, each)

    def _waiting(self, partition: int, case_id: str, number: int) -> list[tuple[str, Record]]:
        """The messages that wait for a frozen case: those that came last, for they are handled in order."""
        kept = sorted(self._aside[partition, case_id].items())[-number:] if number else []
        return [
            (case_id, Record("cases", partition, position, whole.kept.appended_at, None, whole.text.encode()))
            for (position, _), whole in kept
            if whole.kept.appended_at is not None and self._store.set_aside(partition, case_id, number - 1) is None
        ]
