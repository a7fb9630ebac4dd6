"""What stages need from the world. Each port has one contract suite, run against memory and against the real server.

Adapters turn their client's exceptions into `Unavailable` (try again), `Fenced` (somebody else owns the partition) or
`ConfigurationError`; no other error of a client library leaves them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from expunge.domain.case.messages import Root
from expunge.domain.case.state import Case, CaseReader, ChunkState
from expunge.domain.events import Outgoing, Position, Record
from expunge.domain.plan import Chunk
from expunge.domain.scope import Arrival
from expunge.domain.statement import Row, Statement
from expunge.domain.walk import Step, Visit

Offsets = dict[str, dict[str, int]]
"""Topic (without prefix) -> partition -> offset."""

SHARDS = 256
"""Shards of a data source's membership: one for each hash tag of the index."""

MetricName = Literal[
    "messages_handled",  # records that a role has finished with, by role
    "dead_letters",  # messages set aside, by role and reason
    "batch_seconds",  # time from poll to commit, by role
    "pauses",  # batches tried again because something was unavailable, by role
    "ledger_alarms",  # gaps or contradictions that the notary found
]


class Metrics(Protocol):
    """Counters and timings; never an id."""

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """Add to a counter, or observe a duration."""


class Mark(NamedTuple):
    """A case's mark on a node."""

    case_id: str
    tasks: tuple[str, str]
    """The first 16 digits of the ids of the tasks that own the node: who marked it first, and who widened its reach."""
    reach: Arrival
    digest: bytes
    """The digest of the row as it was planned; empty for roots."""
    clean_since: int = 0
    """When its system said that the case's data is out of it (milliseconds since 1970); 0: it has not said so."""


@dataclass(frozen=True, slots=True)
class IndexStats:
    """What `index stats` shows."""

    assets: int
    edges: int
    subjects: int
    marks: int
    buckets: int


class Index(Protocol):
    """The lineage index. Every write only adds, and names its subject by digest, so it may be made twice."""

    def put(self, statements: Sequence[tuple[bytes, Statement]]) -> list[Row]:
        """Merge statements into the rows of their assets, with data source memberships; the rows as they are now."""

    def link_children(self, edges: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """Write (parent, child) edges; for each, the parent's marks, read after the edge was written."""

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[list[Mark]]:
        """Write (subject, asset) memberships; for each, the subject's marks, read after the write."""

    def marks(self, nodes: Sequence[bytes]) -> list[list[Mark]]:
        """The marks of nodes."""

    def set_clean(self, case_id: str, nodes: Sequence[bytes], since_ms: int) -> None:
        """Note on a case's marks that its data is out of these nodes since a moment; 0 takes the word back."""

    def mark_roots(self, case_id: str, task_id: str, nodes: Sequence[bytes]) -> None:
        """Mark root nodes (subjects, data sources) before their members are read."""

    def subject_assets(self, subject: bytes) -> list[bytes]:
        """The assets that name a subject."""

    def source_sizes(self, data_source: str) -> list[int]:
        """How many assets each of the SHARDS shards of a data source holds."""

    def source_assets(self, data_source: str, shard: int) -> list[bytes]:
        """The assets of a data source in one of SHARDS shards."""

    def visit(
        self, case_id: str, task_id: str, steps: Sequence[Step], *, bounded: bool, again: bool, lease_until_ms: int
    ) -> list[Visit]:
        """Mark nodes and read their rows and children, each node in one atomic step; answers in the order given.

        With `bounded`, a node that arrives as CONTAINERS and is no container is neither marked nor read on. A node
        that another task has marked is `seen`, unless it is this task's own root or is reached more widely now. With
        `again`, a container that is met is clean no longer, and its children are read even if it is seen. A lease that
        has passed refuses to mark (0: no lease).
        """

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows, without marking anything."""

    def add_holding(self, key: bytes) -> None:
        """Put a holding on the list that every root task reads."""

    def holdings(self) -> list[bytes]:
        """All holdings ever declared; their rows say which are active."""

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """Add to what containers of a case must leave out: container -> direct parents. Kept up to a bound."""

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """What was added by `exclude`, at most the bound plus one."""

    def stats(self) -> IndexStats:
        """Counts over the whole index."""


class TimerKey(NamedTuple):
    """A timer of a case."""

    case_id: str
    timer: str


@dataclass(slots=True)
class Changes:
    """What one batch changes in the state of one `cases` partition; written under one position (PROTOCOLS 6)."""

    cases: dict[str, Case] = field(default_factory=dict)
    roots: dict[str, Root] = field(default_factory=dict)
    chunks: dict[tuple[str, str], ChunkState] = field(default_factory=dict)
    timers: dict[TimerKey, datetime | None] = field(default_factory=dict)
    flow: Counter[str] = field(default_factory=Counter)
    """System -> change in the number of commands without a final answer."""


class CaseStore(Protocol):
    """The coordinator's state, by partition of `cases`."""

    def position(self, partition: int) -> Position | None:
        """The position that the state includes."""

    def cases(self, partition: int, case_ids: Sequence[str]) -> dict[str, Case]:
        """The cases that exist, of those asked for."""

    def root(self, partition: int, case_id: str) -> Root | None:
        """What a case was opened with."""

    def reader(self, partition: int) -> CaseReader:
        """The large part of the state."""

    def write(self, partition: int, before: Position | None, after: Position, changes: Changes) -> None:
        """Write a batch in one atomic step, if the stored position is still `before`.

        Raises:
            Fenced: it is not: another process owns the partition.
        """

    def due(self, partition: int, now: datetime, limit: int) -> list[tuple[TimerKey, datetime]]:
        """Timers that are due, with the moment for which they were set."""

    def waiting_for_index(self, partition: int) -> list[tuple[str, Offsets]]:
        """Cases that wait for the indexers, with what they wait for."""

    def flow(self, partition: int) -> dict[str, int]:
        """System -> commands without a final answer."""

    def open_cases(self, partition: int, after: str, limit: int) -> list[str]:
        """Ids of cases that are not final, in order, behind `after`."""


class ChunkStore(Protocol):
    """The bodies of chunks, written by resolvers beside the coordinator's state."""

    def owners(self, partition: int, case_id: str, names: Sequence[bytes]) -> list[str | None]:
        """The digest of the chunk that holds each of these obligations of a case."""

    def bodies(self, partition: int, case_id: str, digests: Sequence[str]) -> list[Chunk]:
        """Bodies of chunks that are kept.

        Raises:
            Unavailable: one is not there: the store forgot.
        """

    def put_chunks(self, partition: int, chunks: Sequence[tuple[Chunk, Sequence[bytes]]]) -> list[bool]:
        """Keep chunks with the names of their obligations, each in one atomic step.

        False for a chunk of which another holds an obligation already; of that one nothing is written.
        """


class NotaryStore(Protocol):
    """What the notary knows of each case's facts."""

    def position(self, partition: int) -> Position | None:
        """The position of the ledger that the state includes."""

    def known(self, case_ids: Sequence[str]) -> dict[str, dict[int, str]]:
        """Sequence -> digest of the facts seen, by case."""

    def write(
        self, partition: int, before: Position | None, after: Position, seen: Mapping[str, Mapping[int, str]]
    ) -> None:
        """Add facts, if the stored position is still `before`; see `CaseStore.write`."""


class Progress(Protocol):
    """How far the registration inlets reach, and how far the indexers are."""

    def end_offsets(self) -> Offsets:
        """The ends of the registration inlets now."""

    def applied(self) -> Offsets:
        """The positions that the indexers have committed."""


class Vault(Protocol):
    """Sealing and randomness: what a pure decision cannot make."""

    def salt(self) -> str:
        """A fresh random salt, 32 bytes in hexadecimal."""

    def seal_for(self, public_key: str, plain: bytes) -> str:
        """Seal to a system's X25519 key (libsodium sealed box), in base64."""

    def seal_dead_letter(self, place: str, payload: bytes) -> str:
        """Seal a payload with AES-256-GCM, bound to its place, in base64."""


class Sender(Protocol):
    """Messages that only add, and so may be sent while another is handled."""

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Produce, flush, and check every message.

        Raises:
            Unavailable: one of them may not be durable; all may be sent again.
        """


class Waiter(Protocol):
    """The only way in which a stage may let time pass."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when the process is told to stop."""


class Topics(Protocol):
    """Names and sizes of the deployment's topics."""

    def partitions(self, topic: str) -> int:
        """Partitions of a topic (without prefix)."""


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What a stage makes of a batch. `waves` are produced in order, each flushed before the next."""

    waves: tuple[tuple[Outgoing, ...], ...] = ()
    writes: Mapping[int, object] = field(default_factory=dict)
    """State to write after everything is produced, by partition; the stage knows its own form."""


class Stage(Protocol):
    """One role: a batch in, messages and state out. It reaches the world only through ports."""

    @property
    def name(self) -> str:
        """The role."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics it consumes, without prefix."""

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide on a batch. May be called again with the same records, in other batches, after a crash."""

    def write(self, result: Result) -> None:
        """Write the state of a handled batch; called after its messages are durable, before offsets are committed."""

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Messages that are due without any having come; called between batches."""
