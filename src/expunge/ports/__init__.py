"""What roles need from the world. Each port has one contract suite, run against memory and against the real server.

Adapters turn their client's exceptions into `Unavailable` (try again), `Fenced` (somebody else owns the partition) or
`ConfigurationError`; no other error of a client library leaves them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, TypeVar

from expunge.domain.aggregates.case.overlay import Changed
from expunge.domain.aggregates.case.state import Case, CaseReader
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Standing
from expunge.domain.aggregates.suppression import Suppression
from expunge.domain.digest import hidden
from expunge.domain.events import Outgoing, Position, Record
from expunge.domain.lineage.marks import Mark, MarkState
from expunge.domain.lineage.row import Combination, Row
from expunge.domain.lineage.walk import Trip, Visit
from expunge.domain.planning.chunks import Chunk
from expunge.domain.scope import Group
from expunge.wire.cases.case import Root

T = TypeVar("T")

Offsets = dict[str, dict[str, int]]
"""Topic (without prefix) -> partition -> offset."""

MetricName = Literal[
    "messages_handled",  # records that a role has finished with, by role
    "dead_letters",  # messages set aside, by role and reason
    "batch_seconds",  # time from poll to commit, by role
    "pauses",  # batches tried again because something was unavailable, by role
    "ledger_alarms",  # gaps or contradictions that the notary found
    "certificates_made",
    "certificates_not_made",  # cases whose facts the log does not hold as they must be: an alarm
    "vouching_failures",  # by party: a witness or time-stamping authority did not answer, or refused
    "poisoned",  # messages that were parked because they end processes, or cannot be read: an alarm, by role
    "refused_emissions",  # messages that the broker does not take for good, by topic
]
GaugeName = Literal[
    "waiting_seconds",  # for how long a role has waited for a server that is away; 0: it does not
    "lag_seconds",  # how old the oldest message of the last batch was; with none: for how long the broker is silent
    "lost_partitions",  # partitions that stand still because part of their log is gone, by role: an alarm
    "log_size",  # leaves of the ledger's Merkle log
    "clock_ahead_seconds",  # by how much append times are ahead of this machine's clock: an alarm above 300
]


class Metrics(Protocol):
    """Counters and timings; never an id."""

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """Add to a counter, or observe a duration."""

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """Say how something stands now."""


class Said(NamedTuple):
    """What one statement says of an asset: its row alone, and when it was appended; 0: it says that it is not there."""

    key: bytes
    row: Row
    at_ms: int

    def __repr__(self) -> str:
        return hidden(self)


class Put(NamedTuple):
    """What became of a statement: the row of all statements, in bytes, and what was read after the write."""

    raw: bytes
    marks: Sequence[Mark]
    """The asset's marks."""
    watchers: Sequence[tuple[str, bytes]] = ()
    """Cases that looked at the row for holds, and its digest as they saw it; see `Index.watch`."""

    def __repr__(self) -> str:
        return hidden(self)


class Made(NamedTuple):
    """What decides whether a mark on a parent can make a child late."""

    container: bool
    """It is a container, or nothing is known of it yet."""
    derived_ms: int
    """When it was made, as far as known (milliseconds since 1970)."""


class Gone(NamedTuple):
    """Nodes that a case's system says are purged, and when it said so (milliseconds since 1970)."""

    case_id: str
    nodes: Sequence[bytes]
    since_ms: int
    again: bool = False
    """It is noted once more, and something may have happened since: see `Mark.stated_again`."""

    def __repr__(self) -> str:
        return hidden(self)


class Peek(NamedTuple):
    """A look at a node for one case, without marking it."""

    flags: int
    row: bytes | None
    """Of containers only."""
    mark: Mark | None

    def __repr__(self) -> str:
        return hidden(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """How a task visits nodes.

    Attributes:
        bounded: containers are boundaries (rule "containers").
        again: a walk after the first plan: a container that is met is clean no longer, and its children are read even
            if another task has marked it, for what is found now may be in them.
        until: of what names the person, only what was collected up to here (seconds since 1970); 0: everything.
        returned: the task's own roots came back at this moment (milliseconds since 1970); 0: they did not.
        lease: until when, by the store's clock, this process may mark (`Tenure.until_ms`): asked at every step.
    """

    bounded: bool
    again: bool = False
    until: int = 0
    returned: int = 0
    lease: Callable[[], int] = int


class Index(Protocol):
    """The lineage index. Every write only adds, and names its subject by digest, so it may be made twice."""

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin work that is mostly waiting for the index; what is returned waits for its end and gives its result."""

    def put(self, said: Sequence[Said]) -> list[Put]:
        """Merge statements into the rows of their assets, with data source memberships.

        In the same step an open mark of the asset notes that it was stated again, and when.
        """

    def link_children(self, edges: Sequence[tuple[bytes, bytes]], made: Sequence[Made] = ()) -> list[Sequence[Mark]]:
        """Write (parent, child) edges; for each, the parent's marks, read after the edge was written.

        The marks of one parent are read once for many edges, which share them. Of those edges whose children are told
        of in `made`, only marks that may make one of them late come back.
        """

    def link_subjects(self, members: Sequence[tuple[bytes, bytes]]) -> list[Sequence[Mark]]:
        """Write (subject, asset) memberships; for each, the subject's marks, read after the write."""

    def marks(self, nodes: Sequence[bytes]) -> list[Sequence[Mark]]:
        """The marks of nodes."""

    def watchers(self, keys: Sequence[bytes]) -> list[Sequence[tuple[str, bytes]]]:
        """Of rows, the cases that look at them for holds; see `Put.watchers`."""

    def set_state(
        self,
        case_id: str,
        nodes: Sequence[bytes],
        state: MarkState,
        since_ms: int,
        lease_until_ms: int = 0,
        task_id: str = "",
    ) -> list[bytes]:
        """Note on a case's marks that nodes are clean, gone or open again: a task that opens one becomes an owner.

        Of GONE, the later moment stands. Answers which nodes were stated after that moment: they have come back, and
        are not gone, so that asking again answers the same.

        Raises:
            Fenced: the lease has passed; see `Rule`.
        """

    def set_gone(self, gone: Sequence[Gone], lease_until_ms: int = 0) -> list[list[bytes]]:
        """The same of nodes of many cases that are gone, in one round trip; the answers in order."""

    def mark_roots(
        self, case_id: str, task_id: str, nodes: Sequence[bytes], until: int, lease_until_ms: int = 0
    ) -> None:
        """Mark root nodes (subjects, data sources) before their members are read; see `Mark.until`.

        Raises:
            Fenced: the lease has passed; see `Rule`.
        """

    def sizes(self, group: Group) -> list[int]:
        """How many members each of the SHARDS shards of a group holds."""

    def members(self, group: Group, shards: range) -> list[bytes]:
        """The members of a group in some of its shards."""

    def are_members(self, links: Sequence[tuple[Group, bytes]]) -> list[bool]:
        """Of (group, node), whether the node is a member of the group, in one round trip."""

    def hubs(self, nodes: Sequence[bytes]) -> list[bytes]:
        """Those nodes whose children are too many to come along with a visit; whoever owns a mark is told by that."""

    def visit(self, case_id: str, task_id: str, trips: Sequence[Trip], rule: Rule) -> Iterator[list[Visit]]:
        """Mark nodes and read their rows and children, each node in one atomic step; answers in any order.

        Trips are taken one ahead: the index works at the next while the caller looks at what this one brought.

        What the rule does not reach is neither marked nor read. A node that another task has marked is `seen`, unless
        it is this task's own root or is reached more widely now.

        Raises:
            Fenced: the lease has passed.
        """

    def peek(self, case_id: str, nodes: Sequence[bytes]) -> list[Peek]:
        """What a case knows of nodes, without marking them; answers in the order given."""

    def rows(self, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows, without marking anything."""

    def forget(self, rows: Mapping[bytes, Row], cases: Collection[str]) -> list[bool]:
        """Take the ids out of rows of assets that are gone (`marks.is_gone`), where no other case has been there.

        Each is one step with that look, and with the look whether its row is still the one that was read. Whether its
        id is forgotten now (`Row.forgotten`).
        """

    def notes_returns_since(self) -> int:
        """Since when every mark of what is gone says whether that was stated again (milliseconds since 1970)."""

    def watch(self, case_id: str, keys: Sequence[bytes]) -> list[Row | None]:
        """Rows that a case looks at for holds; in the same step each notes that, so that whoever changes it says so."""

    def combination(self, digest: bytes) -> Combination:
        """The names behind the digest in a row.

        Raises:
            Unavailable: they are not there: the store forgot.
        """

    def population(self) -> dict[str, int]:
        """System -> how many assets it has registered: of a large index an estimate, of some moments ago."""

    def add_holding(self, key: bytes) -> None:
        """Put a holding on the list that every root task reads."""

    def holdings(self) -> list[bytes]:
        """All holdings ever declared; their rows say which are active."""

    def exclude(self, case_id: str, parents: Mapping[bytes, Iterable[bytes]]) -> None:
        """Add to what containers of a case must leave out: container -> direct parents. Kept up to a bound."""

    def excluded(self, case_id: str, container: bytes) -> list[bytes]:
        """What was added by `exclude`, at most the bound plus one."""


class Tenure(Protocol):
    """How long this process may take its partitions for its own."""

    def until_ms(self) -> int:
        """Until when, by the store's clock (milliseconds since 1970); 0: for ever.

        That is its last heartbeat, and less than the session time-out.
        """


class TimerKey(NamedTuple):
    """A timer of a case."""

    case_id: str
    timer: str


@dataclass(slots=True)
class Changes:
    """What one batch changes in the state of one `cases` partition; written under one position (rule "one script")."""

    cases: dict[str, Case] = field(default_factory=dict)
    before: dict[str, Case] = field(default_factory=dict)
    """Those of them that were there before, as they were read."""
    roots: dict[str, Root] = field(default_factory=dict)
    chunks: Changed = field(default_factory=dict)
    forgotten: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Case -> chunks whose bodies go, and with them the states of all its chunks, and who holds their obligations.

    They go before what is written in the same batch.
    """
    timers: dict[TimerKey, datetime | None] = field(default_factory=dict)
    suppressions: dict[str, Suppression] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    retrainings: dict[str, Retraining] = field(default_factory=dict)
    standing: Standing | None = None
    """What every case of the partition must obey, where it has changed."""
    set_aside: list[tuple[str, Record]] = field(default_factory=list)
    """(case, message) for frozen cases, behind what waits there."""
    taken_up: Counter[str] = field(default_factory=Counter)
    """Case -> how many of the messages that waited were handled, from the front."""


class Wanted(NamedTuple):
    """What a batch concerns in one partition of `cases`, as far as its messages say so: ids and keys."""

    cases: Collection[str] = ()
    rates: Collection[str] = ()
    suppressions: Collection[str] = ()


class Batch(NamedTuple):
    """What a batch changes in one partition, from one position to another."""

    partition: int
    before: Position | None
    after: Position
    changes: Changes

    def __repr__(self) -> str:
        return hidden(self)


class PartitionReader(CaseReader, Protocol):
    """The state of one partition of `cases`, read piece by piece.

    A reader is thrown away with the batch that it was made for: it does not see what is written after. Whoever decides
    on what it read sees to it that the position has not moved since.
    """

    @property
    def position(self) -> Position | None:
        """The position that the state includes."""

    @property
    def standing(self) -> Standing:
        """What every case of the partition must obey."""

    def cases(self, case_ids: Collection[str]) -> dict[str, Case | None]:
        """The cases that exist, of those asked for; None for one that a newer version wrote and this cannot read."""

    def root(self, case_id: str) -> Root | None:
        """What a case was opened with."""

    def suppression(self, key: str) -> Suppression | None:
        """What was said about one suppression."""

    def rate(self, key: str) -> Rate | None:
        """What was counted for one publisher or system."""

    def retraining(self, key: str) -> Retraining | None:
        """What is known of one model that is made anew for several cases."""


class CaseStore(Protocol):
    """The coordinator's state, by partition of `cases`."""

    def read(self, wanted: Mapping[int, Wanted]) -> dict[int, PartitionReader]:
        """Readers of partitions that know what is wanted, small cases (`Case.small`) as a whole; in one round trip."""

    def reader(self, partition: int) -> PartitionReader:
        """A reader that knows nothing yet."""

    def positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        """The positions that the state includes."""

    def write(self, batches: Sequence[Batch]) -> None:
        """Write batches in one round trip, each in one atomic step if the stored position is still what it was before.

        Raises:
            Fenced: of one it is not: another process owns the partition. The others are written.
        """

    def due(self, partition: int, now: datetime, limit: int, skip: int = 0) -> list[tuple[TimerKey, datetime]]:
        """Timers that are due, the earliest first but for `skip` of them, with the moment for which they were set."""

    def waiting_for_index(self, partition: int) -> list[tuple[str, Offsets]]:
        """Cases that wait for the indexers, with what they wait for."""

    def live_cases(self, partition: int, after: str, limit: int) -> list[str]:
        """Ids of cases that are `alive`, in order, behind `after`."""

    def set_aside(self, partition: int, case_id: str, at: int) -> Record | None:
        """The message of a frozen case that waits at a place from the front; None if fewer do."""


class ChunkStore(Protocol):
    """The bodies of chunks, written by resolvers beside the coordinator's state."""

    def owners(self, partition: int, case_id: str, names: Sequence[bytes], after: int = 0) -> list[str | None]:
        """The digest of the chunk that holds each of these obligations, of those since the case was forgotten last.

        Args:
            partition: of `cases`.
            case_id: the case.
            names: of obligations.
            after: the last generation that the case has forgotten; see `Chunk.after`.
        """

    def bodies(self, partition: int, case_id: str, digests: Sequence[str]) -> list[Chunk]:
        """Bodies of chunks that are kept.

        Raises:
            Unavailable: one is not there: the store forgot.
        """

    def put_chunks(self, partition: int, chunks: Iterable[tuple[Chunk, Sequence[bytes]]]) -> list[bool]:
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
        self,
        partition: int,
        before: Position | None,
        after: Position,
        seen: Mapping[str, Mapping[int, str]],
        forgotten: Collection[str] = (),
    ) -> None:
        """Add facts, if the stored position is still `before`; see `CaseStore.write`.

        Of cases that are `forgotten` what was known before goes first.
        """


class Progress(Protocol):
    """How far the registration inlets reach, and how far the indexers are."""

    def end_offsets(self) -> Offsets:
        """The ends of the registration inlets now."""

    def applied(self) -> Offsets:
        """Up to where everything that lies there stands in the index, as the index itself says."""


class Vault(Protocol):
    """Sealing and randomness: what a pure decision cannot make."""

    def salt(self) -> str:
        """A fresh random salt, 32 bytes in hexadecimal."""

    def seal_for(self, public_key: str, plain: bytes) -> str:
        """Seal to a system's X25519 key (libsodium sealed box), in base64."""

    def seal_dead_letter(self, place: str, payload: bytes) -> str:
        """Seal a payload with AES-256-GCM, bound to its place, in base64."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be, with the mend."""

    problem: str
    mend: str


class Refused(NamedTuple):
    """A message that the broker does not take for good, and why: `too_large`, `unknown_topic`, `not_authorised`."""

    outgoing: Outgoing
    reason: str

    def __repr__(self) -> str:
        return hidden(self)


class Suspect(NamedTuple):
    """Records of one partition, one of which has ended the process that handled it."""

    first: int
    last: int
    deaths: int
    """How often; from MOST_DEATHS on the first of them is handled no more."""
    error: str
    """The class of the error, or an operator's reason."""
    by_operator: bool = False
    """Whether an operator has parked it, so that its reason may say anything."""

    @property
    def is_parked(self) -> bool:
        """Whether it is set aside instead of being handled."""
        return self.deaths >= MOST_DEATHS and self.first == self.last


MOST_DEATHS = 3
"""The third death at one position sets its record aside (rule "third death")."""


class Suspects(Protocol):
    """What has ended processes, by place: kept where the next process finds it."""

    def known(self) -> dict[tuple[str, int], Suspect]:
        """(topic, partition) -> the records there."""

    def note(self, topic: str, partition: int, suspect: Suspect) -> None:
        """Remember one, in place of what is known of its partition."""

    def forget(self, topic: str, partition: int) -> None:
        """The partition has gone on."""

    def parked(self) -> dict[tuple[str, int, int], str]:
        """(topic, partition, offset) -> why an operator wants that record set aside."""

    def park(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """Have one record set aside, whatever is suspected of others."""

    def unpark(self, topic: str, partition: int, offset: int) -> bool:
        """It was set aside, or shall be handled after all; whether it was parked."""


class Sender(Protocol):
    """Messages that only add, and so may be sent while another is handled."""

    def send(self, outgoing: Sequence[Outgoing]) -> Sequence[Refused]:
        """Produce, flush, and check every message; those that the broker refuses for good are left out and answered.

        Raises:
            Unavailable: one of the others may not be durable; all may be sent again.
        """


class Waiter(Protocol):
    """The only way in which a role may let time pass."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when the process is told to stop."""


class Topics(Protocol):
    """Names and sizes of the deployment's topics."""

    def partitions(self, topic: str) -> int:
        """Partitions of a topic (without prefix)."""


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What a role makes of a batch. `waves` are produced in order, each flushed before the next is asked for."""

    waves: Iterable[tuple[Outgoing, ...]] = ()
    writes: Mapping[int, object] = field(default_factory=dict)
    """State to write after everything is produced, by partition; the role knows its own form."""
    taken: int | None = None
    """How many of the batch's records, from the front, this covers; the others are read again. None: all."""


class Role(Protocol):
    """One role: a batch in, messages and state out. It reaches the world only through ports."""

    @property
    def name(self) -> str:
        """The role."""

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics it consumes, without prefix."""

    @property
    def keeps_time(self) -> bool:
        """Whether what it decides depends, for good, on when a message was appended."""

    @property
    def cuts_batches(self) -> bool:
        """Whether it takes of a batch only what it can handle in a short time, first what should not wait."""

    def handle(self, batch: Sequence[Record]) -> Result:
        """Decide on a batch. May be called again with the same records, in other batches, after a crash."""

    def write(self, result: Result) -> None:
        """Write the state of a handled batch; called after its messages are durable, before offsets are committed."""

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Messages that are due without any having come; called between batches."""

    def ticked(self) -> None:
        """What `tick` said last is durable."""

    def park(self, record: Record, error: str) -> Result:
        """Set a record aside that must not be handled: it has ended processes, or an operator says so."""

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """What follows from a message of this role that the broker does not take for good."""
