"""Every topic, a row each: who writes and reads it, what keeps it, how large its messages may be, how it is cut.

See design: "Topics"; rule "sizes". A further topic, or a further inlet for which a case must wait, is a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from expunge.domain.registry import Publisher, Registry, System
from expunge.domain.vocabulary import Regime

DAY_MS = 86_400_000
MIB = 1_048_576
FOR_EVER = -1
COMMANDED = "pseudonym, asset ids, and ids sealed to the system"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be."""

    name: str
    """Without the prefix; one of many by system or publisher ends with that name."""
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    max_message_bytes: int = MIB
    role: str = ""
    """The role that reads it; empty: none does."""
    writers: str = ""
    """Who writes it, for people."""
    readers: str = ""
    """Who reads it, for people, where that is not the role alone."""
    registers: bool = False
    """Whether statements about assets lie on it: no case closes before what lay there at its request is applied."""
    fixed: bool = False
    """Whether its partition count never changes after creation: keys would move to other partitions."""
    holds: str = ""
    """What may lie there about a person, for people; empty: nothing does."""
    flushed: bool = False
    """Whether a lone broker flushes it at every message (rule "flushing")."""

    def settings(self, brokers: int) -> dict[str, str]:
        """The topic's configuration in Kafka's words."""
        settings = {
            "cleanup.policy": self.cleanup,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self.max_message_bytes),
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": "2" if brokers >= 3 else "1",  # noqa: PLR2004 - replication 3
        }
        if self.cleanup == "delete":
            settings["retention.ms"] = str(self.retention_ms)
        else:
            settings["delete.retention.ms"] = str(7 * DAY_MS)
        if brokers == 1 and self.flushed:
            settings["flush.messages"] = "1"
        return settings

    def created_with(self, brokers: int) -> dict[str, str]:
        """The same, and what may be changed afterwards: until when what was taken away is off disks."""
        lag = {"max.compaction.lag.ms": str(7 * DAY_MS)} if self.cleanup == "compact" else {}
        return self.settings(brokers) | lag


def all_topics(registry: Registry, partitions: int, ledger_partitions: int, other_partitions: int) -> list[Topic]:
    """The topics of a deployment.

    Args:
        registry: systems and publishers have topics of their own.
        partitions: of cases, tasks, walks and plans.
        ledger_partitions: of the ledger.
        other_partitions: of everything else.
    """
    few, many = other_partitions, partitions
    systems = [system.name for system in registry.systems if system.integrated]
    probed = [system.name for system in registry.systems if system.is_probed]
    publishers = [each.name for each in registry.publishers]
    bound = [each for each in registry.publishers if each.own_topic]
    agent, prober = "the system's agent", "the system's prober"
    month, week = 30 * DAY_MS, 7 * DAY_MS
    roles = "coordinator, resolver"
    told = "intake (to tell the owner)"
    return [
        Topic(
            "requests",
            few,
            "delete",
            week,
            4 * MIB,
            "intake",
            "publishers",
            holds="the person, as publishers named them",
            flushed=True,
        ),
        *(
            Topic(
                each.topic,
                few,
                "delete",
                week,
                4 * MIB,
                "intake",
                "the publisher",
                holds="the person, as the publisher named them",
                flushed=True,
            )
            for each in bound
        ),
        Topic(
            "registrations",
            few,
            "delete",
            week,
            4 * MIB,
            "indexer",
            "registrars, resolver (discovered assets)",
            registers=True,
            holds="the person, as registrars named them",
        ),
        Topic("openlineage", few, "delete", month, 4 * MIB, "", "OpenLineage clients", "nobody yet"),
        Topic(
            "controls",
            few,
            "delete",
            month,
            4 * MIB,
            "intake",
            "operators",
            holds="the person, where a hold names them",
            flushed=True,
        ),
        *(
            Topic(f"receipts.{name}", few, "delete", month, 4 * MIB, "intake", agent, holds="asset ids")
            for name in systems
        ),
        *(
            Topic(f"findings.{name}", few, "delete", month, 4 * MIB, "intake", prober, holds="asset ids")
            for name in probed
        ),
        Topic(
            "assets", few, "compact", FOR_EVER, writers="indexer", readers="rebuilding", holds="pseudonym, and assets"
        ),
        Topic(
            "cases",
            many,
            "delete",
            month,
            role="coordinator",
            writers="intake, indexer, resolver, coordinator",
            holds="pseudonym",
            fixed=True,
            flushed=True,
        ),
        Topic("tasks", many, "delete", week, role="resolver", writers=roles, holds="pseudonym", fixed=True),
        # What large walks are cut into, apart: a person's request does not queue behind an order's thousand steps.
        Topic("walks", many, "delete", week, role="resolver", writers="resolver", holds="pseudonym", fixed=True),
        Topic(
            "plans",
            many,
            "compact",
            FOR_EVER,
            writers=f"{roles}, intake (receipts as they came)",
            readers="rebuilding",
            holds="pseudonym, and ids sealed to systems that need them",
            fixed=True,
        ),
        Topic("holds", few, "compact", FOR_EVER, role="intake", writers="coordinator", readers=told, holds="pseudonym"),
        Topic(
            "suppressions",
            few,
            "compact",
            FOR_EVER,
            role="intake",
            writers="coordinator",
            readers=f"ingesters, {told}",
            holds="a pseudonym of its own",
        ),
        *(
            Topic(f"commands.{name}", few, "delete", month, writers="coordinator", readers=agent, holds=COMMANDED)
            for name in systems
        ),
        *(
            Topic(f"probes.{name}", few, "delete", month, writers="coordinator", readers=prober, holds=COMMANDED)
            for name in probed
        ),
        *(
            Topic(
                f"confirmations.{name}",
                few,
                "delete",
                month,
                writers="coordinator, intake (rejected)",
                readers="the publisher",
            )
            for name in publishers
        ),
        Topic(
            "ledger",
            ledger_partitions,
            "delete",
            FOR_EVER,
            role="notary",
            writers="coordinator",
            fixed=True,
            flushed=True,
        ),
        Topic("certificates", few, "delete", FOR_EVER, writers="notary", readers="whoever checks"),
        Topic(
            "dead-letters",
            few,
            "delete",
            90 * DAY_MS,
            2 * MIB,
            writers="every role",
            readers="operators",
            holds="what was set aside, sealed",
        ),
    ]


_ANY = Registry(
    systems=(System(name="any", probe_key=("00" * 32,)),),
    publishers=(Publisher(name="any", source="/any", default_regime=Regime.NONE, own_topic=True),),
)
_BY_NAME = {topic.name.removesuffix("any"): topic for topic in all_topics(_ANY, 1, 1, 1)}
"""By name; of one for each system or publisher by what its name begins with, up to the point."""


SEGMENT_MS = 7 * DAY_MS
"""A segment is deleted as a whole: what lies at its front stays by so much longer (`segment.ms`, as Kafka has it)."""
READ_AGAIN = timedelta(
    milliseconds=SEGMENT_MS
    + DAY_MS
    + max(each.retention_ms for each in all_topics(_ANY, 1, 1, 1) if each.role and each.cleanup == "delete")
)
"""For so long what lies on a topic may be read again by a role whose group is set back; the ledger decides nothing."""


def read_by(role: str, registry: Registry = _ANY) -> tuple[str, ...]:
    """The topics that a role reads, in a deployment where these systems and publishers are declared."""
    return tuple(topic.name for topic in all_topics(registry, 1, 1, 1) if topic.role == role)


OWN_REQUESTS = "requests."
"""What the topics begin with to which publishers write that have one of their own."""


def carries_requests(topic: str) -> bool:
    """Whether requests lie on a topic."""
    return topic == "requests" or topic.startswith(OWN_REQUESTS)


INLETS_OF_ASSETS = tuple(name for name, topic in _BY_NAME.items() if topic.registers)
"""The topics whose statements a case waits for."""


def role_of(topic: str) -> str | None:
    """The role that reads a topic, named without the prefix; None: none does."""
    base, point, rest = topic.partition(".")
    known = _BY_NAME.get(base + point) if rest or not point else None
    return (known.role or None) if known else None
