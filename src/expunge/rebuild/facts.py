"""From the ledger to cases, chunks and models, fact by fact; and the marks that those facts have led to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import orjson

from expunge.domain.aggregates.case.chunks import CLEAN, GONE, ChunkState
from expunge.domain.aggregates.case.fact import CaseFact, ChunkFact, apply
from expunge.domain.aggregates.case.forgetting import Forgotten
from expunge.domain.aggregates.case.opening import Opened
from expunge.domain.aggregates.case.receipts import Answered
from expunge.domain.aggregates.case.replacement import ReplacementJudged
from expunge.domain.aggregates.case.resolution import TaskAnswered, WalkAnnounced
from expunge.domain.aggregates.retraining import facts as models
from expunge.domain.aggregates.retraining.facts import RetrainFact
from expunge.domain.continuity import Reached, Why
from expunge.domain.digest import hidden
from expunge.domain.events import Record, millis
from expunge.domain.identity import Keys
from expunge.domain.values import Value
from expunge.errors import ConfigurationError
from expunge.ports import Batch, Changes, PartitionReader, Wanted
from expunge.rebuild.marks import Marks
from expunge.rebuild.ports import States
from expunge.rebuild.targets import TargetsOf
from expunge.roles.coordinator.view import set_case_timers, set_chunk_timers, set_retrain_timer
from expunge.wire import ledger, operations
from expunge.wire.cases.case import Root
from expunge.wire.tasks import ReplacementVerdict


class Said(NamedTuple):
    """A fact as it stands on the ledger."""

    key: str
    sequence: int
    fact: Value
    policy: str
    at: datetime

    def __repr__(self) -> str:
        return hidden(self)


def facts_in(
    records: Sequence[Record], ends: Mapping[int, Reached], later: dict[str, list[Said]]
) -> dict[int, list[Said]]:
    """The facts in messages of the ledger, by partition of `cases`, up to where its state is restored.

    Of a case that was forgotten behind that, by a group that was set back since, all up to there: what it was before
    may have been swept away, and nothing that was said of it can be read again (`forgetting.time_of`).

    Args:
        records: of the ledger.
        ends: of each partition, up to where.
        later: case -> what was said of it behind that so far; changed.
    """
    found: dict[int, list[Said]] = defaultdict(list)
    for record in records:
        if record.value is None:
            continue
        whole = orjson.loads(record.value)
        if whole["type"] == operations.LOSS and (whole["data"]["topic"], whole["data"]["why"]) == ("cases", Why.CUT):
            raise ConfigurationError(
                "`cases` has once been cut, so nobody can tell by offsets what of it was handled: restore Redis from a "
                "backup of later than that (docs/recovery.md)"
            )
        for event in ledger.facts_of(whole):
            data = event["data"]
            partition = data["cause"]["partition"]
            if partition not in ends:
                raise ConfigurationError(
                    f"coordinators have committed nothing of `cases` partition {partition}, but the ledger holds facts "
                    "of it: set the group's offset to where they were (kafka-consumer-groups --reset-offsets), or "
                    "restore Redis from a backup"
                )
            fact, at = ledger.read(event["type"], data["body"]), datetime.fromisoformat(event["time"])
            said = Said(data["case_id"], data["sequence"], fact, data["policy"], at)
            if data["cause"]["offset"] < ends[partition].next:
                found[partition].append(said)
            elif isinstance(fact, Forgotten):
                found[partition] += [*later.pop(said.key, ()), said]
            else:
                later.setdefault(said.key, []).append(said)
    return found


class Facts:
    """Applies facts to what stands. The first of each number counts; whatever is said twice changes nothing."""

    def __init__(self, store: States, marks: Marks, keys: Keys, ends: Mapping[int, Reached]) -> None:
        self._store, self._marks, self._keys, self._ends = store, marks, keys, ends
        self._later: dict[str, list[Said]] = {}
        self.in_part: dict[str, set[str]] = defaultdict(set)
        """Case -> tasks that have answered in part, perhaps all since."""

    def take(self, records: Sequence[Record]) -> None:
        """Write what follows from messages of the ledger."""
        said = facts_in(records, self._ends, self._later)
        wanted = {partition: Wanted({each.key for each in found}) for partition, found in said.items()}
        for partition, reader in self._store.read(wanted).items():
            changes = Changes()
            by_key: dict[str, list[Said]] = defaultdict(list)
            for each in said[partition]:
                by_key[each.key].append(each)
            for key, found in by_key.items():
                if isinstance(found[0].fact, RetrainFact):
                    _take_model(reader, key, found, changes)
                else:
                    root = partial(self._root, partition, key)
                    targets = TargetsOf(self._store, reader, self._keys, partition, key)
                    asset = self._keys.asset
                    _Replay(reader, key, changes, self._marks, root, targets, asset, self.in_part).take(found)
            at = reader.position
            if at is not None:
                self._store.write([Batch(partition, at, at, changes)])

    def _root(self, partition: int, case_id: str) -> Root:
        root = self._store.reader(partition).root(case_id)
        if root is None:
            raise ConfigurationError("a case on the ledger has no root on `plans`: that topic has lost something")
        return root


def _following(found: Sequence[Said], sequence: int) -> Iterator[Said]:
    """The facts behind a number, each once.

    Raises:
        ConfigurationError: one is missing.
    """
    for each in found:
        if each.sequence == sequence + 1:
            sequence += 1
            yield each
        elif each.sequence > sequence:
            raise ConfigurationError(
                "the ledger has a gap: facts of a case are missing, so its state cannot be rebuilt. Restore Redis from "
                "a backup instead (docs/recovery.md)"
            )


def _take_model(reader: PartitionReader, key: str, found: Sequence[Said], changes: Changes) -> None:
    before = state = reader.retraining(key)
    for each in _following(found, state.sequence if state else 0):
        if not isinstance(each.fact, RetrainFact):
            continue
        if state is None:
            state = models.first_state(key, getattr(each.fact, "system", ""), each.policy, each.at)
        state = models.apply(state, each.fact).model_copy(update={"now": each.at})
    if state is not None and state is not before:
        changes.retrainings[key] = state
        set_retrain_timer(changes, before, state)


class _Replay:
    """One case, as it was read, with further facts applied."""

    def __init__(
        self,
        reader: PartitionReader,
        case_id: str,
        changes: Changes,
        marks: Marks,
        root: Callable[[], Root],
        targets: TargetsOf,
        key: Callable[[str], bytes],
        in_part: dict[str, set[str]],
    ) -> None:
        self._reader, self._case_id, self._changes, self._marks = reader, case_id, changes, marks
        self._root, self._targets, self._key, self._in_part = root, targets, key, in_part
        self._has_forgotten = False
        self._before = self._case = reader.cases([case_id]).get(case_id)
        self._chunks: dict[str, ChunkState] = {}

    def take(self, found: Sequence[Said]) -> None:
        """Apply facts, and note what changes of the case."""
        for each in _following(found, self._case.sequence if self._case else 0):
            if isinstance(each.fact, CaseFact):
                self._apply(each.fact, each.at)
        if self._case is None or self._case is self._before:
            return
        if self._before is not None:
            self._changes.before[self._case_id] = self._before
        self._changes.cases[self._case_id] = self._case
        set_case_timers(self._changes, self._before, self._case)
        set_chunk_timers(self._changes, self._case, self._chunks, self._stored)
        self._changes.chunks[self._case_id] = self._chunks

    def _stored(self, digest: str) -> ChunkState | None:
        if self._before is None or self._has_forgotten:
            return None
        return self._reader.chunk(self._case_id, digest)

    def _apply(self, fact: CaseFact, at: datetime) -> None:
        if isinstance(fact, Opened):
            root = self._root()
            self._case = fact.begin(root, at).model_copy(update={"told_at": at})
            self._marks.roots(root)
            return
        if self._case is None:
            raise ConfigurationError("the ledger tells of a case that it does not open")
        before = self._known(fact) if isinstance(fact, ChunkFact) else None
        known = {before.summary.digest: before} if before else {}
        case, touched = apply(self._case, known, fact)
        self._case = case.model_copy(update={"now": at, "told_at": at})
        self._chunks |= touched
        self._mark(fact, before, at)

    def _known(self, fact: ChunkFact) -> ChunkState:
        found = self._chunks.get(fact.chunk) or self._stored(fact.chunk)
        if found is None:
            raise ConfigurationError("the ledger tells of a chunk that it does not plan")
        return found

    def _mark(self, fact: CaseFact, before: ChunkState | None, at: datetime) -> None:
        """What a fact means for the index: see `roles.coordinator.effects` and the plans of resolvers."""
        case_id = self._case_id
        match fact:
            case WalkAnnounced(found=found) if found:
                self._marks.found(self._root(), [bytes.fromhex(key) for key in found])
            case TaskAnswered():
                if not fact.last:
                    self._in_part[self._case_id].add(fact.task)
                for each in fact.chunks:
                    targets = self._targets.of(each.digest)
                    self._marks.nodes(self._root(), targets.nodes, targets.returned)
                for key, returned in fact.containers:
                    self._marks.nodes(self._root(), [bytes.fromhex(key)], returned)
            case Answered() if before is not None:
                self._answered(fact, before.answers, millis(at))
            case ReplacementJudged(verdict=ReplacementVerdict.CLEAN):
                self._marks.clean(case_id, self._targets.of(fact.chunk).nodes, millis(at))
            case Forgotten():
                self._forget()

    def _answered(self, fact: Answered, before: str, at_ms: int) -> None:
        targets = self._targets.of(fact.chunk)
        said = list(zip(targets.nodes, before, fact.answers, strict=True))
        clean = [node for node, _, letter in said if letter in CLEAN]
        gone = [node for node, was, letter in said if letter in GONE and letter != was and not targets.holding]
        if clean:
            self._marks.clean(self._case_id, clean, at_ms)
        if gone:
            self._marks.gone(self._case_id, gone, fact.received_ms or at_ms)

    def _forget(self) -> None:
        """What had been written of its chunks goes; what they were about is known until the case is settled."""
        if self._case is None:
            return
        stored = (self._reader.digests(self._case_id, each.number) for each in self._case.generations)
        digests = {digest for found in stored for digest in found} | set(self._chunks)
        earlier = self._changes.forgotten.get(self._case_id, ())
        self._changes.forgotten[self._case_id] = tuple(sorted({*digests, *earlier}))
        self._changes.roots[self._case_id] = self._root().without_names(self._key)
        self._chunks, self._has_forgotten = {}, True
