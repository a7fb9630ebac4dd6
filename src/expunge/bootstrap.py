"""The composition root: the only place that builds adapters."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from expunge.adapters.kafka.admin import Finding, KafkaTopics
from expunge.adapters.kafka.consumer import KafkaReader, KafkaRecords
from expunge.adapters.kafka.producer import Compression, KafkaSender
from expunge.adapters.policy_file import load_policy
from expunge.adapters.redis.cases import RedisCaseStore, RedisNotaryStore
from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.policies import RedisPolicies
from expunge.adapters.redis.server import FORMAT, Server, buckets_for
from expunge.adapters.redis.suspects import RedisSuspects
from expunge.adapters.system import (
    OTHERS,
    PrometheusMetrics,
    StopWaiter,
    SystemClock,
    refuse_if_readable,
    tune_process,
)
from expunge.adapters.vault import LibraryVault
from expunge.config import Settings
from expunge.domain.admission.door import Door
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.rate import Rate
from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.aggregates.standing.state import Frozen
from expunge.domain.identity import Keys
from expunge.domain.partition import partition_of
from expunge.domain.planning.chunks import Chunk
from expunge.domain.planning.policy.rules import Policy
from expunge.errors import ConfigurationError, Unavailable
from expunge.ports import Role
from expunge.roles import ROLES
from expunge.roles.common import policy_part
from expunge.roles.coordinator.coordinator import Coordinator
from expunge.roles.indexer import Indexer
from expunge.roles.intake import Intake
from expunge.roles.notary import Notary
from expunge.roles.resolver.resolver import Resolver
from expunge.roles.resolver.traversal import Bounds
from expunge.runtime.label import Label
from expunge.runtime.loop import Loop
from expunge.runtime.outage import Outage
from expunge.wire.cases.retraining import retraining_id

FOREIGN_INDEX = "the index was made with another secret"
NO_INDEX = "run `expunge topics create` on a new installation; restore Redis from its backup if the topics hold data"
START_SECONDS = 60.0
"""So long a process waits at its start for servers that it cannot reach."""


@dataclass
class StoreTenure:
    """See `ports.Tenure`: the group's last answer, by Redis' clock, and four fifths of the session time-out."""

    server: Server
    session_timeout_ms: int
    source: KafkaRecords | None = None
    """The member of the group; there is one before anything is handled."""

    def until_ms(self) -> int:
        """See `ports.Tenure.until_ms`."""
        silent = self.source.silent_seconds() if self.source else 0
        return int(self.server.now_ms() - silent * 1000 + self.session_timeout_ms * 0.8)


@dataclass
class Installation:
    """One deployment, its adapters built when they are first needed."""

    settings: Settings

    @cached_property
    def keys(self) -> Keys:
        """The keys derived from the secret."""
        secret = self.settings.secret()
        refuse_if_readable(self.settings.secret_file, "secret file", OTHERS)
        return Keys(secret)

    @cached_property
    def door(self) -> Door:
        """Who exists, and the keys."""
        settings = self.settings
        return Door(settings.registry(), self.keys, self.policies, settings.prefix, settings.allow_unsigned)

    @cached_property
    def policy(self) -> Policy:
        """The rules of this installation."""
        return load_policy(self.settings.policy_file)

    @cached_property
    def policies(self) -> RedisPolicies:
        """Those rules, and those that cases are bound to."""
        return RedisPolicies(self.server, self.policy)

    @cached_property
    def topics(self) -> KafkaTopics:
        """Topics and progress."""
        kafka = self.settings.kafka
        return KafkaTopics(kafka.bootstrap_servers, kafka.options, self.settings.prefix)

    @cached_property
    def server(self) -> Server:
        """Redis."""
        return Server(self.settings.redis.url, self.settings.prefix)

    @cached_property
    def vault(self) -> LibraryVault:
        """Sealing."""
        return LibraryVault(self.keys)

    @cached_property
    def sender(self) -> KafkaSender:
        """The producer of this process."""
        kafka = self.settings.kafka
        compression = Compression(kafka.compression, kafka.compression_for_others)
        return KafkaSender(kafka.bootstrap_servers, kafka.options, self.settings.prefix, self.topics, compression)

    @cached_property
    def index(self) -> RedisIndex:
        """The lineage index."""
        return RedisIndex(self.server)

    @cached_property
    def cases(self) -> RedisCaseStore:
        """The coordinator's state."""
        return RedisCaseStore(self.server)

    def case(self, case_id: str) -> Case | None:
        """A case as it stands, for people."""
        partition = partition_of(case_id, self.settings.kafka.partitions)
        return self.cases.cases(partition, [case_id]).get(case_id)

    def frozen(self, case_id: str) -> Frozen | None:
        """What keeps a case from being handled, for people; None: nothing does."""
        return self.cases.standing(partition_of(case_id, self.settings.kafka.partitions)).frozen.get(case_id)

    def rate(self, key: str) -> Rate | None:
        """What was counted across cases under a key, for people."""
        return self.cases.rate(partition_of(key, self.settings.kafka.partitions), key)

    def retraining(self, system: str, model: str) -> Retraining | None:
        """What is known of a model that is made anew for several cases, for people."""
        key = retraining_id(system, self.keys.asset(model))
        return self.cases.retraining(partition_of(key, self.settings.kafka.partitions), key)

    def body(self, case_id: str, digest: str) -> Chunk:
        """The targets of a chunk, for people."""
        return self.cases.reader(partition_of(case_id, self.settings.kafka.partitions)).body(case_id, digest)

    def chunks(self, case_id: str) -> Iterator[ChunkState]:
        """The chunks of a case, for people."""
        return self.cases.chunks(partition_of(case_id, self.settings.kafka.partitions), case_id)

    @cached_property
    def label(self) -> Label:
        """What the processes of this installation call themselves to the broker."""
        return Label.of(self.settings.registry(), self.policy)

    def records(self, group: str, topics: Sequence[str]) -> KafkaRecords:
        """A member of a group."""
        kafka = self.settings.kafka
        return KafkaRecords(
            kafka.bootstrap_servers,
            kafka.options,
            self.settings.prefix,
            group,
            topics,
            max_records=kafka.max_poll_records,
            session_timeout_ms=kafka.session_timeout_ms,
            client_id=str(self.label),
        )

    def members(self, role: str) -> list[str]:
        """Those who run a role, by what they call themselves."""
        return self.topics.members(self.settings.prefix + role)

    def agents(self, system: str) -> list[str]:
        """The same for a system's agents; one that is not made with the library may be in another group."""
        return self.topics.members(f"{self.settings.prefix}agent.{system}")

    def reader(self, topics: Sequence[str], since: datetime) -> KafkaReader:
        """A reader of its own, outside of any group."""
        kafka = self.settings.kafka
        return KafkaReader(kafka.bootstrap_servers, kafka.options, self.settings.prefix, topics, since)

    def role(self, name: str, metrics: PrometheusMetrics, stop: threading.Event, tenure: StoreTenure) -> Role:
        """A role by its name."""
        door, vault, topics = self.door, self.vault, self.topics
        match name:
            case "intake":
                return Intake(door, topics, topics, vault, metrics)
            case "indexer":
                return Indexer(door, self.index, topics, vault, metrics)
            case "resolver":
                bounds = Bounds(self.settings.limits.step_nodes)
                waiter = StopWaiter(stop)
                more = (waiter, tenure, bounds, self.sender)
                return Resolver(door, self.index, self.cases, topics, topics, vault, metrics, *more)
            case "coordinator":
                return Coordinator(door, self.cases, self.index, topics, topics, vault, metrics, tenure)
            case "notary":
                return Notary(door, RedisNotaryStore(self.server), vault, metrics)
            case _:
                raise ConfigurationError(f"unknown role {name}: one of {', '.join(ROLES)}")

    def run(self, role: str, stop: threading.Event) -> None:
        """Run one role until told to stop.

        Raises:
            ConfigurationError: topics, settings or the index are not as they must be.
        """
        tune_process()
        port, address = self.settings.metrics.port, self.settings.metrics.address
        metrics = PrometheusMetrics(port + ROLES.index(role) if port else 0, address)
        tenure = StoreTenure(self.server, self.settings.kafka.session_timeout_ms)
        handler = self.role(role, metrics, stop, tenure)

        def ready() -> None:
            self.refuse_if_wrong()
            if role == "intake":  # requests that it takes are bound to this policy: others must find it
                self.policies.keep()
                self.sender.publish([policy_part(self.topics, self.policy, SystemClock().now())])

        if not self.start(ready, role, stop, metrics):
            return
        source = tenure.source = self.records(role, handler.topics)
        loop = Loop(handler, source, self.sender, SystemClock(), metrics, RedisSuspects(self.server), StopWaiter(stop))
        loop.run(stop.is_set)

    def start(self, ready: Callable[[], None], who: str, stop: threading.Event, metrics: PrometheusMetrics) -> bool:
        """Do what must be done before a process serves; False if it was told to stop meanwhile.

        Raises:
            Unavailable: a server could not be reached for a minute.
        """
        clock = SystemClock()
        outage, until = Outage(who, clock, metrics), clock.seconds() + START_SECONDS
        while not stop.is_set():
            try:
                ready()
            except Unavailable as error:
                outage.goes_on(error)
                if clock.seconds() >= until:
                    raise
                stop.wait(1.0)
            else:
                outage.ends()
                return True
        return False

    def refuse_if_wrong(self) -> None:
        """Start nothing on missing topics, wrong settings, an empty index or another secret.

        See rules "partitions" and "empty Redis".
        """
        findings = [*self.topics.check(self.settings.topics()), *self.index_findings()]
        if findings:
            rest = f" (and {len(findings) - 1} more: `expunge doctor`)" if len(findings) > 1 else ""
            raise ConfigurationError(f"{findings[0].problem}: {findings[0].mend}{rest}")

    def refuse_other_secret(self) -> None:
        """Look for nobody under pseudonyms of another secret: nobody would be found, and that looks like an answer.

        Raises:
            ConfigurationError: the index was made with another one. While Redis is away, nothing is known.
        """
        with contextlib.suppress(Unavailable):
            meta = self.server.read_meta()
            if meta is not None and meta.check != self.keys.check:
                raise ConfigurationError(f"{FOREIGN_INDEX}: set secret_file to the secret it was made with")

    def index_findings(self) -> list[Finding]:
        """What is wrong with the index."""
        meta = self.server.read_meta()
        if meta is None:
            return [Finding("Redis holds no index", NO_INDEX)]
        if meta.layout != FORMAT:
            mend = "run the version that made it, or rebuild the index into an empty Redis"
            return [Finding(f"the index has layout {meta.layout}, this version reads {FORMAT}", mend)]
        if meta.check != self.keys.check:
            return [Finding(FOREIGN_INDEX, "set secret_file to the secret it was made with")]
        return []

    def create(self, say: Callable[[str], None]) -> None:
        """Create missing topics, and initialise an empty Redis beside empty topics.

        Raises:
            ConfigurationError: an existing topic is set wrongly, or Redis is empty while the topics are not.
        """
        for topic in self.topics.create(self.settings.topics()):
            say(topic)
        findings = self.topics.check(self.settings.topics())
        if findings:
            raise ConfigurationError(f"{findings[0].problem}: {findings[0].mend}")
        if self.server.read_meta() is None:
            if not self.topics.empty(["assets", "ledger"]):
                raise ConfigurationError("Redis is empty but the topics hold data: restore it from its backup")
            self.server.initialise(buckets_for(self.settings.redis.expected_assets), self.keys.check)

    def close(self) -> None:
        """Let go of connections that were opened."""
        for opened in ("sender", "topics"):
            if opened in self.__dict__:
                getattr(self, opened).close()
