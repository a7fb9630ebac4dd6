"""Evidence: the ledger's log with its checkpoints, and a certificate when a case has ended.

See rules "logged" and "certified". What is due is kept with the log; a certificate that was made and not published
is published again, the same.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

import orjson

from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.digest import canonical, hidden, name
from expunge.domain.events import Event, Outgoing
from expunge.domain.evidence import certificate, merkle, ways
from expunge.domain.evidence.certificate import PAYLOAD_TYPE, Standing, commitment, opening
from expunge.domain.evidence.history import History, Told, history
from expunge.domain.evidence.ways import Step
from expunge.domain.limits import MAX_PAYLOAD_BYTES
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.domain.registry import Registry
from expunge.domain.signatures import Sign, enveloped
from expunge.domain.vocabulary import MODELS, Kind
from expunge.ports import CaseStore, ChunkStore, Metrics, Topics
from expunge.ports.evidence import Archive, Due, Leaf, LedgerLog, Proven, Vouchers
from expunge.roles.lineage import Lineage
from expunge.wire import ledger
from expunge.wire.cases.case import Root
from expunge.wire.certificates import ISSUED, CertificateIssued
from expunge.wire.statements import Statement

LOSSES = "losses"
"""Under which the log finds what operators have said of losses, as it finds a case's facts under its id."""
CADENCE = timedelta(minutes=1)
"""So often a log that grows gets a checkpoint at least; every certificate has one."""
AT_ONCE = 20
"""Certificates in one turn: the ledger is read between them."""
BODIES_AT_ONCE = 50
SOURCE = "/expunge/notary"


class Maker(NamedTuple):
    """Who issues certificates, and in what state the deployment is."""

    registry: Registry
    allow_unsigned: bool
    verifier: str
    """The log's public key, as verifiers hold it."""
    public: str
    sign: Sign

    def __repr__(self) -> str:
        return hidden(self)


class Cases(CaseStore, ChunkStore, Protocol):
    """The coordinator's state, which is read for what the ledger does not say: roots, and the targets of chunks."""


class Evidence:
    """The notary's part that others can check."""

    def __init__(
        self,
        log: LedgerLog,
        archive: Archive,
        cases: Cases,
        topics: Topics,
        metrics: Metrics,
        maker: Maker,
        vouchers: Vouchers | None = None,
        lineage: Lineage | None = None,
    ) -> None:
        self._log, self._archive, self._cases, self._topics = log, archive, cases, topics
        self._metrics, self._maker, self._vouchers, self._lineage = metrics, maker, vouchers, lineage
        self._signed_at: datetime | None = None
        self._done: list[Due] = []
        self._stamped: tuple[str, bytes | None] = ("", None)

    def log(self, leaves: Sequence[Leaf]) -> None:
        """Log records of the ledger.

        Raises:
            Contradicted: the ledger is not what was logged.
        """
        if self._log.append(leaves):
            self._metrics.gauge("log_size", self._log.size)

    def tick(self, now: datetime) -> list[Outgoing]:
        """A checkpoint where one is due, and certificates that are."""
        due = self._log.due(AT_ONCE, now)
        if not due and self._signed_at is not None and now - self._signed_at < CADENCE:
            return []
        note = self._log.checkpoint()
        self._signed_at, self._done = now, []
        if note is None:
            return []
        note = self._cosigned(note)
        return [outgoing for each in due for outgoing in self._issue(each, note, now)]

    def _cosigned(self, note: str) -> str:
        """The checkpoint with the signatures of witnesses, which are published with it."""
        if self._vouchers is None:
            return note
        more = self._vouchers.cosign(note, lambda before: self._log.grown(before, note))
        if more != note:
            self._log.cosigned(more)
        return more

    def ticked(self) -> None:
        """What was due is published."""
        if self._done:
            self._log.settled(self._done)
            self._done = []

    def _stamp(self, note: str) -> bytes | None:
        """What an independent clock says of a checkpoint: it answers once, and is asked only for a certificate."""
        if self._stamped[0] != note and self._vouchers is not None:
            found = self._vouchers.stamp(note)
            self._stamped = (note, found) if found else ("", None)
        return self._stamped[1]

    def _issue(self, due: Due, note: str, now: datetime) -> Iterator[Outgoing]:
        """One certificate; where something of its case is not as it must be, it is tried again later, by itself."""
        try:
            made = self._archive.certificate(due.key, due.sequence)
            if made is None:
                made = self._make(due, note)
                self._metrics.count("certificates_made")
            envelope = orjson.loads(made)
            payload = base64.b64decode(envelope["payload"])
        except (LookupError, TypeError, ValueError, AttributeError):
            self._metrics.count("certificates_not_made")
            self._log.later(due, now)
            return
        small = len(made) <= MAX_PAYLOAD_BYTES
        said = CertificateIssued(
            case_id=due.key,
            sequence=due.sequence,
            sha256=hashlib.sha256(payload).hexdigest(),
            certificate=envelope if small else None,
        )
        event = Event(ISSUED, SOURCE, name(ISSUED, due.key, due.sequence, said.sha256), due.at, said.data())
        self._done.append(due)
        yield Outgoing("certificates", due.key, event)

    def _make(self, due: Due, note: str) -> bytes:
        """Make a certificate, with what can be checked beside it.

        Raises:
            ValueError: the log does not hold all facts of the case.
        """
        partition = partition_of(due.key, self._topics.partitions("cases"))
        root = self._cases.reader(partition).root(due.key)
        if root is None:
            raise ValueError("a case without a root")
        read = [(each, list(facts_in(each.entry, due.key, due.sequence))) for each in self._log.proven(due.key, note)]
        told = history(root, [fact for _, facts in read for fact in facts])
        records = [each for each, facts in read if facts]
        with self._archive.draft(due.key, due.sequence) as draft:
            draft.write("records.jsonl", map(_record, records))
            lines = certificate.lines(told, self._bodies(partition, root, told), root)
            steps = self._steps(partition, root, told)
            kinds = dict.fromkeys({each for step in steps for each in (step.asset, *step.made_from)}, "")
            written = _noted(draft.written("obligations.jsonl", lines), kinds)
            obligations = merkle.root_of(map(merkle.leaf_hash, written))
            steps = ways.within(steps, {each for each, kind in kinds.items() if kind})
            made = merkle.root_of(map(merkle.leaf_hash, draft.written(ways.FILE, ways.lines(steps))))
            losses = [_loss(each) for each in self._log.entries(LOSSES)]
            maker = self._maker
            standing = Standing(maker.registry, maker.allow_unsigned, maker.verifier, losses, self._log.successions())
            evidence = certificate.Evidence(
                certificate.records_of([each.entry for each in records]),
                note,
                obligations,
                self._archive.newest(due.key, due.sequence),
                self._stamp(note),
                certificate.Models(ways.summary(steps, kinds), len(steps), made),
            )
            statement = certificate.statement(root, told, evidence, standing)
            Statement.model_validate(statement)  # nothing stands in it that nobody has thought of
            said = canonical(statement)
            envelope = orjson.dumps(enveloped(PAYLOAD_TYPE, said, maker.public, maker.sign))
            draft.keep(envelope)
        return envelope

    def _steps(self, partition: int, root: Root, told: History) -> list[Step]:
        """How the case's data came into the models that it has found."""
        if self._lineage is None or not root.salt:
            return []
        models = [
            asset
            for chunk in self._bodies(partition, root, told, MODELS)
            for asset in (chunk.assets if not chunk.holding else ())
        ]
        return self._lineage.steps(root.case_id, models, lambda asset: commitment(opening(root.salt, asset), asset))

    def _bodies(
        self, partition: int, root: Root, told: History, kinds: Collection[Kind] = frozenset(Kind)
    ) -> Iterator[Chunk]:
        digests = [
            digest
            for digest, chunk in sorted(told.chunks.items())
            if chunk.summary.kind in kinds and certificate.is_known(told, chunk, root)
        ]
        for begin in range(0, len(digests), BODIES_AT_ONCE):
            part = digests[begin : begin + BODIES_AT_ONCE]
            yield from self._cases.bodies(partition, told.case.case_id, part)


def _noted(lines: Iterable[bytes], kinds: dict[str, str]) -> Iterator[bytes]:
    """The same lines; the kinds of some commitments are noted on the way."""
    for line in lines:
        if kinds:
            said = orjson.loads(line)
            if kinds.get(said.get("asset", ""), "known") == "":
                kinds[said["asset"]] = said["kind"]
        yield line


def _record(proven: Proven) -> bytes:
    said = {"index": proven.leaf, "entry": proven.entry.decode(), "proof": [each.hex() for each in proven.proof]}
    return orjson.dumps(said)


def facts_in(entry: bytes, key: str, until: int) -> Iterator[Told]:
    """The facts of a case in a record, up to a number.

    Raises:
        ValueError: it is a fact that this version does not know.
    """
    try:
        for event in ledger.facts_of(orjson.loads(entry)):
            data = event["data"]
            if data["case_id"] == key and data["sequence"] <= until:
                fact = ledger.read(event["type"], data["body"])
                if isinstance(fact, CaseFact):
                    yield Told(data["sequence"], fact, datetime.fromisoformat(event["time"]))
    except (KeyError, TypeError) as error:
        raise ValueError("no fact of this version") from error


def _loss(entry: bytes) -> dict[str, Any]:
    said = orjson.loads(entry)["data"]
    return {each: said[each] for each in ("topic", "partition", "why", "since", "until")}
