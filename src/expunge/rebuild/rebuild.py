"""The steps of a rebuild, in order; each is taken up where it was left (rule "rebuilt")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from pydantic import ValidationError

from expunge.domain.admission.door import Door
from expunge.domain.continuity import Place, Reached
from expunge.domain.events import EARLIEST, Position, Record, decode, millis
from expunge.domain.identity import Keys
from expunge.domain.topics import INLETS_OF_ASSETS
from expunge.errors import ConfigurationError, InvalidMessage, NotUnderstood, Unavailable
from expunge.ports import Batch, Changes, Index, Sender, Topics
from expunge.ports.logs import Covered, Logs, Since
from expunge.rebuild.facts import Facts
from expunge.rebuild.marks import Marks
from expunge.rebuild.parts import Parts
from expunge.rebuild.ports import KeptPolicies, States
from expunge.rebuild.settling import Coming, Settling
from expunge.rebuild.statements import Statements, Told
from expunge.roles.resolver.recovery import earlier
from expunge.wire.assets import stated
from expunge.wire.cases.case import Planned
from expunge.wire.cases.table import TYPE_OF
from expunge.wire.tasks import PlannedStatus

TOLD_AT_ONCE = 100
AT_ONCE = 4_000
"""Records between two notes of how far it is."""
COORDINATOR, INDEX_ROLES = "coordinator", ("indexer", "resolver")


@dataclass(frozen=True, slots=True)
class Into:
    """What is written: an index and states that hold nothing but what a rebuild has written."""

    index: Index
    store: States
    policies: KeptPolicies
    covered: Covered
    """How far the rebuild is, in its own topics; at the end, how far the index reaches."""


Tell = Callable[[str, int], None]
"""Is told a step, and how many records of it have been read since the last time."""


def refuse_another_secret(since: Since, keys: Keys) -> None:
    """Under another secret nobody would be found, and that looks like an answer: asked before anything is written.

    Raises:
        ConfigurationError: what lies on `assets` was written with another one.
    """
    with _read_by_this_version("assets"):
        for record in since("assets", EARLIEST):
            said = stated(record)
            if said is None or record.key is None:
                continue
            statement = said.statement
            if statement.forgotten:  # nothing of it was made with the secret that can be made again
                continue
            if not record.key.decode().startswith(keys.asset(statement.asset).hex()):
                raise ConfigurationError(
                    "`assets` was written with another secret: set secret_file to the secret it was made with"
                )
            return


class Rebuild:
    """Restores what stands in Redis from what lies on topics."""

    def __init__(
        self,
        since: Since,
        logs: Logs,
        into: Into,
        door: Door,
        topics: Topics,
        sender: Sender,
        tell: Tell,
        spread: Callable[[], None] | None = None,
        *,
        forgets: bool = False,
    ) -> None:
        # spread: has the statements written by several processes, each of which calls `statements`.
        # forgets: also where nobody knows what operators had said.
        self._forgets = forgets
        self._since, self._logs, self._into, self._door, self._topics = since, logs, into, door, topics
        self._write_statements = spread or self.statements
        self._sender, self._tell = sender, tell
        self._ends = self._committed()
        # Before `assets` is read: what is committed later may lie behind what was read there.
        self._covers = [logs.committed_by(role) for role in INDEX_ROLES]

    def _committed(self) -> dict[int, Reached]:
        """Up to where the state of each partition of `cases` is restored."""
        found = self._logs.committed_by(COORDINATOR)
        return {partition: each for (topic, partition), each in found.items() if topic == "cases"}

    def run(self) -> None:
        """All steps, in order.

        Raises:
            ConfigurationError: what lies on topics is not whole, or roles go on meanwhile.
            Unavailable: a server is away. Whoever calls again goes on from there.
        """
        self._begin()
        self._parts()
        bare = not any(each.next for each in self._reached("assets").values())
        marks = Marks(self._into.index, self._door.keys, bare=bare)
        goes_on = any(each.next for each in self._reached("ledger").values())
        facts = Facts(self._into.store, marks, self._door.keys, self._ends)
        self._read("ledger", facts.take)
        coming = self._coming(marks)
        for case_id, tasks in facts.in_part.items():
            coming[case_id].in_part |= tasks
        self._write_statements()
        self._settle(coming, doubts_all=goes_on)
        self._end()

    def _begin(self) -> None:
        """Each partition stands at its committed position from the first write on."""
        store = self._into.store
        for partition, at in self._positions().items():
            known = store.positions([partition])[partition]
            if known is None:
                store.write([Batch(partition, None, at, Changes())])
            elif known != at:
                raise ConfigurationError(
                    "roles have gone on since this rebuild began: stop all of them, empty Redis, and begin anew"
                )

    def _positions(self) -> dict[int, Position]:
        # Where nobody said which epoch the last handled record was of, any record is behind an epoch that is none.
        return {each: at.last or Position(-1, at.next - 1) for each, at in self._ends.items() if at.next}

    def _parts(self) -> None:
        """Of `plans` only the whole is taken up: which version of a state counts is known at the end."""
        ends = self._logs.logs(self._places("plans"))
        reached = self._reached("plans")
        if all(reached[place].next >= end.end for place, end in ends.items()):
            return
        parts = Parts(self._into.store, self._into.policies, self._door.keys, self._ends)
        for batch in self._batches("plans", {}):
            with _read_by_this_version("plans"):
                parts.take(batch)
        if parts.unknown and not self._forgets:
            raise ConfigurationError(
                f"nobody has kept what operators had said of `cases` partitions {parts.unknown}: only 0.1 has handled "
                "them. Stop all roles, rebuild with --forget-holds-and-pauses, and place those again before the rest"
            )
        parts.finish()
        for batch in self._batches("suppressions", {}):
            with _read_by_this_version("suppressions"):
                parts.published(batch, self._topics.partitions("cases"))
        parts.finish_published(self._topics.partitions("cases"))
        self._into.covered.cover({place: Reached(end.end) for place, end in ends.items()})

    def _places(self, topic: str) -> list[Place]:
        return [(topic, partition) for partition in range(self._topics.partitions(topic))]

    def _reached(self, topic: str) -> dict[Place, Reached]:
        places = self._places(topic)
        found = self._into.covered.covered(places)
        return {place: found.get(place, Reached(0)) for place in places}

    def _read(self, topic: str, take: Callable[[Sequence[Record]], None]) -> None:
        """Take what lies on a topic behind what was taken before."""
        for batch in self._batches(topic, self._reached(topic)):
            with _read_by_this_version(topic):
                take(batch)
            self._into.covered.cover(_behind(batch))

    def statements(self) -> None:
        """Statements into the index: while some are written, the next are read."""
        statements, covered = Statements(self._into.index, self._door.keys), self._into.covered

        def write(told: Told, reached: Mapping[Place, Reached]) -> None:
            statements.write(told)
            covered.cover(reached)

        written: Callable[[], None] | None = None
        for batch in self._batches("assets", self._reached("assets")):
            with _read_by_this_version("assets"):
                told = statements.read(batch)
            if written is not None:
                written()
            written = self._into.index.begin(partial(write, told, _behind(batch)))
        if written is not None:
            written()

    def _batches(self, topic: str, reached: Mapping[Place, Reached]) -> Iterator[list[Record]]:
        batch: list[Record] = []
        moment = earlier(min((each.at_ms for each in reached.values()), default=0))
        for record in self._since(topic, moment):
            if not batch and self._into.covered.is_another():
                raise Unavailable("Redis is another one, or was started anew", server="Redis")
            at = reached.get((topic, record.partition))
            if at is None or record.position.offset >= at.next:
                batch.append(record)
            if len(batch) == AT_ONCE:
                self._tell(topic, len(batch))
                yield batch
                batch = []
        if batch:
            self._tell(topic, len(batch))
            yield batch

    def _coming(self, marks: Marks) -> defaultdict[str, Coming]:
        """What resolvers have answered and nobody has heard yet: its nodes are marked as those of what was heard."""
        found: defaultdict[str, Coming] = defaultdict(Coming)
        moment = earlier(min((each.at_ms for each in self._ends.values()), default=0))
        for record in self._since("cases", moment):
            end = self._ends.get(record.partition)
            if end is not None and record.position.offset < end.next:
                continue
            said = _planned(record)
            if said is not None:
                self._comes(record.partition, said, found[said.case_id], marks)
        return found

    def _comes(self, partition: int, said: Planned, coming: Coming, marks: Marks) -> None:
        root = self._into.store.reader(partition).root(said.case_id)
        if root is None or said.status is PlannedStatus.NOT_READY:
            return
        digests = [each.digest for each in said.chunks]
        marks.chunks(root, self._into.store.bodies(partition, said.case_id, digests))
        for key, returned in said.containers:
            marks.nodes(root, [bytes.fromhex(key)], returned)
        coming.chunks.update(digests)
        coming.nodes.update(bytes.fromhex(key) for key, _ in said.containers)
        (coming.whole if said.status is PlannedStatus.DONE else coming.in_part).add(said.task_id)

    def _settle(self, coming: Mapping[str, Coming], *, doubts_all: bool) -> None:
        """Tell cases what they may not have been told.

        Args:
            coming: what is on its way to them.
            doubts_all: which tasks have answered in part was known to a process that has died.
        """
        settling = Settling(self._into.index, self._into.store, self._door, self._doubtful(), doubts_all=doubts_all)
        for partition in self._ends:
            messages = settling.partition(partition, coming)
            while part := list(islice(messages, TOLD_AT_ONCE)):
                if refused := self._sender.send(part):
                    raise ConfigurationError(f"Kafka refuses messages for `cases` ({refused[0].reason})")
                self._tell("cases", len(part))

    def _doubtful(self) -> Collection[bytes]:
        """Assets of which a statement was appended behind what the indexers have certainly handled."""
        places = [place for topic in INLETS_OF_ASSETS for place in self._places(topic)]
        committed, logs = self._covers[0], self._logs.logs(places)
        behind = [committed.get(place, Reached(0)) for place in places]
        behind = [each for each, place in zip(behind, places, strict=True) if each.next < logs[place].end]
        if not behind:
            return frozenset()
        since_ms = min(each.at_ms for each in behind)
        since = datetime.fromtimestamp(since_ms / 1000, UTC)
        lying = self._since("assets", since if since_ms else EARLIEST)
        key = self._door.keys.asset
        said = filter(None, map(stated, lying))
        return {each.statement.node(key) for each in said if millis(each.at) >= since_ms}

    def _end(self) -> None:
        """The index reaches as far as its roles had come; what lies behind that they handle now."""
        if self._committed() != self._ends:
            raise ConfigurationError(
                "coordinators have gone on beside this rebuild: stop them, empty Redis, and begin anew"
            )
        notes = {("cases", partition): each for partition, each in self._ends.items()}
        for reached in (*self._covers, notes):
            self._into.covered.cover(reached)


@contextmanager
def _read_by_this_version(topic: str) -> Iterator[None]:
    """What lies on Expunge's own topics is read as it was written; what cannot be is named by no more than its topic.

    Raises:
        ConfigurationError: a newer version wrote it, or what it names is not there.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, NotUnderstood) as error:
        text = f"`{topic}` holds something that this version cannot read ({type(error).__name__})"
        raise ConfigurationError(f"{text}: rebuild with the newest") from None
    except Unavailable as error:
        if error.server:
            raise
        raise ConfigurationError(f"what `{topic}` says cannot be rebuilt: {error}") from None


def _behind(batch: Sequence[Record]) -> dict[Place, Reached]:
    """How far a batch reaches in each partition."""
    last = {record.partition: record for record in batch}
    return {
        (each.topic, partition): Reached(each.position.offset + 1, each.position, millis(each.appended_at))
        for partition, each in last.items()
    }


def _planned(record: Record) -> Planned | None:
    """An answer of a resolver; None for whatever else lies there, and for what a newer version has said."""
    try:
        event = decode(record)
        return Planned.model_validate(event.data) if event.type == TYPE_OF[Planned] else None
    except (InvalidMessage, ValidationError):
        return None
