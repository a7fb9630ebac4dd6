"""The composition root: the only place that builds adapters."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import cast

from cryptography.x509 import Certificate, load_pem_x509_certificates

from expunge.adapters.archive import DirectoryArchive
from expunge.adapters.broker import Broker, Reader, Records, broker
from expunge.adapters.ledger_log import DirectoryLog, LoggedCovered
from expunge.adapters.policy_file import load_policy
from expunge.adapters.redis.cases import RedisCaseStore, RedisNotaryStore
from expunge.adapters.redis.covered import IndexCovered, IndexProgress, NotesCovered, NothingKept, StateCovered
from expunge.adapters.redis.index import RedisIndex
from expunge.adapters.redis.people import RedisPeople
from expunge.adapters.redis.policies import RedisPolicies
from expunge.adapters.redis.server import Meta, Server
from expunge.adapters.sender import Compression, Publishing
from expunge.adapters.signing import Signer
from expunge.adapters.system import (
    OTHERS,
    PrometheusMetrics,
    StopWaiter,
    SystemClock,
    refuse_if_readable,
)
from expunge.adapters.topics import ClusterTopics
from expunge.adapters.vault import LibraryVault
from expunge.adapters.vouching import HttpVouchers
from expunge.config import Settings
from expunge.domain.admission.door import Door
from expunge.domain.events import Record
from expunge.domain.evidence.notes import verifier
from expunge.domain.evidence.witnesses import witness_of
from expunge.domain.identity import Epochs, Keys
from expunge.domain.planning.policy.rules import Policy
from expunge.errors import ConfigurationError
from expunge.ports import Finding, Index, Metrics, Role
from expunge.ports.logs import Covered
from expunge.ports.people import People
from expunge.replay.forecast import Forecaster
from expunge.replay.known import Known
from expunge.replay.looking import LookingIndex, LookingPeople, NoTenure, Uncounted
from expunge.roles import ROLES
from expunge.roles.certifying import Evidence, Maker
from expunge.roles.coordinator.coordinator import Coordinator
from expunge.roles.indexer import Indexer
from expunge.roles.intake import Intake
from expunge.roles.lineage import Lineage
from expunge.roles.notary import Notary
from expunge.roles.resolver.resolver import Resolver
from expunge.roles.resolver.traversal import Bounds
from expunge.runtime.label import Label

MADE_OTHERWISE = "the index was made with another secret"
CLOCK_SECONDS = 1.0
"""For so long a process reckons by its own clock from Redis' as it was read last."""


@dataclass
class StoreTenure:
    """See `ports.Tenure`: the group's last answer, by Redis' clock, and four fifths of the session time-out."""

    server: Server
    session_timeout_ms: int
    source: Records | None = None
    """The member of the group; there is one before anything is handled."""
    _read_at: float = -math.inf
    _ahead_ms: float = 0
    """By how much Redis' clock is ahead of this process' own, as it was read last."""

    def until_ms(self) -> int:
        """See `ports.Tenure.until_ms`."""
        now = time.monotonic()
        if now - self._read_at >= CLOCK_SECONDS:  # asked at every step, it was a tenth of a small request
            at_ms = self.server.now_ms()
            now = self._read_at = time.monotonic()  # after it: a pause between the two shortens the lease
            self._ahead_ms = at_ms - now * 1000
        silent = self.source.silent_seconds() if self.source else 0
        return int(now * 1000 + self._ahead_ms - silent * 1000 + self.session_timeout_ms * 0.8)


@dataclass
class Installation:
    """One deployment, its adapters built when they are first needed."""

    settings: Settings

    @cached_property
    def keys(self) -> Keys:
        """The keys derived from the secrets."""
        secrets = self.settings.secrets()
        for file in self.settings.secret_files():
            refuse_if_readable(file, "secret file", OTHERS)
        return Keys(*secrets, epochs=self._epochs)

    def _epochs(self) -> Epochs:
        """Under which secrets people stand in the index that this process knows; scripts are refused in another.

        Raises:
            ConfigurationError: the last of them is not at hand.
        """
        meta = self.server.meta
        self.refuse_wrong_secret(meta)
        return Epochs(meta.oldest or meta.newest, meta.newest)

    def refuse_wrong_secret(self, meta: Meta) -> None:
        """Look for nobody under pseudonyms of another secret: nobody would be found, and that looks like an answer.

        Raises:
            ConfigurationError: see `wrong_secret`.
        """
        if finding := self.wrong_secret(meta):
            raise ConfigurationError(f"{finding.problem}: {finding.mend}")

    def wrong_secret(self, meta: Meta) -> Finding | None:
        """That an index was made with another secret than those at hand; None: with one of them."""
        if self.keys.epoch_of(meta.check) == meta.newest:
            return None
        if meta.newest == 1:
            return Finding(MADE_OTHERWISE, "set secret_file to the secret it was made with")
        file = self.settings.secret_file_of
        if meta.newest > self.keys.last:
            problem = f"people stand in the index under secret {meta.newest}, and {file(self.keys.last + 1)} is missing"
            return Finding(problem, "copy it from where `expunge keys prepare` has made it, or from where you keep it")
        used = ", ".join(str(file(number + 1)) for number in range(meta.newest))
        return Finding(MADE_OTHERWISE, f"one of these is not what it was made with: {used}")

    @cached_property
    def people(self) -> RedisPeople:
        """People's names in the index, while one secret takes another's place."""
        return RedisPeople(self.server, self.index)

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
    def broker(self) -> Broker:
        """Kafka."""
        kafka = self.settings.kafka
        return broker(kafka.bootstrap_servers, kafka.options, self.settings.prefix, kafka.client)

    @cached_property
    def topics(self) -> ClusterTopics:
        """Topics and progress."""
        return self.broker.topics

    @cached_property
    def server(self) -> Server:
        """Redis."""
        return Server(self.settings.redis.url, self.settings.prefix, cluster=self.settings.redis.cluster)

    @cached_property
    def vault(self) -> LibraryVault:
        """Sealing."""
        return LibraryVault(self.keys)

    @cached_property
    def sender(self) -> Publishing:
        """The producer of this process."""
        return self.another_sender()

    def another_sender(self) -> Publishing:
        """A producer beside that, for messages with headers of their own."""
        kafka = self.settings.kafka
        compression = Compression(kafka.compression, kafka.compression_for_others)
        return self.broker.sender(compression)

    @cached_property
    def index(self) -> RedisIndex:
        """The lineage index."""
        return RedisIndex(self.server)

    @cached_property
    def cases(self) -> RedisCaseStore:
        """The coordinator's state."""
        return RedisCaseStore(self.server)

    @cached_property
    def label(self) -> Label:
        """What the processes of this installation call themselves to the broker."""
        return Label.of(self.settings.registry(), self.policy)

    @cached_property
    def progress(self) -> IndexProgress:
        """How far the inlets reach, and the index."""
        return IndexProgress(self.topics, self.server)

    def covered(self, role: str) -> Covered:
        """How far what a role keeps reaches."""
        match role:
            case "indexer" | "resolver":
                return IndexCovered(self.server)
            case "coordinator":
                return (NotesCovered if self.server.is_cluster else StateCovered)(self.server, "pos")
            case "notary":
                covered = StateCovered(self.server, "notary-pos")
                return LoggedCovered(covered, self.ledger_log) if self.ledger_log else covered
            case _:
                return NothingKept(self.server)

    def records(self, group: str, topics: Sequence[str]) -> Records:
        """A member of a group."""
        kafka = self.settings.kafka
        return self.broker.records(
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

    def probers(self, system: str) -> list[str]:
        """The same for whoever looks into a system."""
        return self.topics.members(f"{self.settings.prefix}prober.{system}")

    def reader(self, topics: Sequence[str], since: datetime) -> Reader:
        """A reader of its own, outside of any group."""
        return self.broker.reader(topics, since)

    def since(self, topic: str, moment: datetime, partitions: Collection[int] | None = None) -> Iterator[Record]:
        """What lies on a topic, or on some of its partitions, from a moment on."""
        reader = self.broker.reader([topic], moment, partitions)
        try:
            yield from reader.to_the_end()
        finally:
            reader.close()

    def role(self, name: str, metrics: PrometheusMetrics, stop: threading.Event, tenure: StoreTenure) -> Role:
        """A role by its name."""
        door, vault, topics = self.door, self.vault, self.topics
        match name:
            case "intake":
                return Intake(door, self.progress, topics, vault, metrics)
            case "indexer":
                return Indexer(door, self.index, self.people, topics, vault, metrics)
            case "resolver":
                bounds = Bounds(self.settings.limits.step_nodes)
                waiter = StopWaiter(stop)
                more = (waiter, tenure, bounds, self.sender)
                return Resolver(door, self.index, self.cases, self.progress, topics, vault, metrics, *more)
            case "coordinator":
                ports = self.cases, self.index, self.progress, topics, vault, metrics, tenure
                return Coordinator(door, *ports, apart=self.server.is_cluster)
            case "notary":
                return Notary(door, RedisNotaryStore(self.server), vault, metrics, self._evidence(metrics))
            case _:
                raise ConfigurationError(f"unknown role {name}: one of {', '.join(ROLES)}")

    def inlets(self, metrics: Metrics) -> list[Role]:
        """The roles that take messages in, for whoever has some handled once more."""
        return list(self._inlets(self.index, self.people, metrics))

    def _inlets(self, index: Index, people: People, metrics: Metrics) -> tuple[Intake, Indexer]:
        more = self.topics, self.vault, metrics
        return Intake(self.door, self.progress, *more), Indexer(self.door, index, people, *more)

    def forecaster(self) -> Forecaster:
        """The same over an index that nothing is written to, with a coordinator whose decisions nobody keeps."""
        known = Known(self.cases, self.index, self.topics.partitions("cases"))
        index, uncounted = LookingIndex(self.index), Uncounted()
        looking = cast("Index", index)  # and people: what these roles ask of them, and no more
        ports = self.cases, looking, self.progress, self.topics, self.vault, uncounted, NoTenure()
        return Forecaster(
            *self._inlets(looking, cast("People", LookingPeople()), uncounted),
            Coordinator(self.door, *ports, apart=self.server.is_cluster),
            self.cases,
            index,
            known,
        )

    @cached_property
    def ledger_log(self) -> DirectoryLog | None:
        """The ledger's log; None where no evidence is kept.

        Raises:
            ConfigurationError: there is no key to sign it with.
        """
        evidence = self.settings.evidence
        if not evidence.origin:
            return None
        return DirectoryLog(evidence.directory, evidence.origin, Signer.of(self.log_key))

    @property
    def log_key(self) -> Path:
        """Where the key lies with which log and certificates are signed."""
        return self.settings.keys_directory / "notary.key"

    @cached_property
    def archive(self) -> DirectoryArchive:
        """Certificates."""
        return DirectoryArchive(self.settings.evidence.directory / "certificates")

    def _evidence(self, metrics: PrometheusMetrics) -> Evidence | None:
        if self.ledger_log is None:
            return None
        settings, signer = self.settings, Signer.of(self.log_key)
        line = verifier(settings.evidence.origin, bytes.fromhex(signer.public))
        maker = Maker(settings.registry(), settings.allow_unsigned, line, signer.public, signer.sign)
        asked = [(each.url, witness_of(each.key)) for each in settings.evidence.witnesses]
        roots = _roots(settings.evidence.timestamps_root)
        vouchers = HttpVouchers(asked, settings.evidence.timestamps, metrics, SystemClock(), roots)
        return Evidence(
            self.ledger_log,
            self.archive,
            self.cases,
            self.topics,
            metrics,
            maker,
            vouchers,
            Lineage(self.index, self.keys),
        )

    def close(self) -> None:
        """Let go of connections that were opened."""
        for opened in ("sender", "broker"):
            if opened in self.__dict__:
                getattr(self, opened).close()


def _roots(file: Path | None) -> list[Certificate]:
    """Whose stamps are kept.

    Raises:
        ConfigurationError: the file holds no certificate.
    """
    try:
        return load_pem_x509_certificates(file.read_bytes()) if file is not None else []
    except (OSError, ValueError):
        raise ConfigurationError(f"evidence.timestamps_root: {file} is no certificate in PEM") from None
