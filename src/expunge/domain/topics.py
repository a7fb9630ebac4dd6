"""Every topic: what keeps it, how large its messages may be, how many partitions it has.

See design: "Topics"; rule "sizes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from expunge.domain.registry import Registry

DAY_MS = 86_400_000
MIB = 1_048_576
FIXED_PARTITIONS = frozenset({"cases", "tasks", "plans", "ledger"})
"""Their partition counts never change after creation: keys would move to other partitions."""
FLUSHED = frozenset({"requests", "controls", "cases", "ledger"})
"""On a single broker these are flushed at every message (rule "flushing")."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must be."""

    name: str
    partitions: int
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    max_message_bytes: int = MIB

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
        if brokers == 1 and self.name in FLUSHED:
            settings["flush.messages"] = "1"
        return settings


def all_topics(registry: Registry, partitions: int, ledger_partitions: int, other_partitions: int) -> list[Topic]:
    """The topics of a deployment.

    Args:
        registry: systems and publishers have topics of their own.
        partitions: of cases, tasks and plans.
        ledger_partitions: of the ledger.
        other_partitions: of everything else.
    """
    few = other_partitions
    systems = [system.name for system in registry.systems if system.integrated]
    return [
        Topic("requests", few, "delete", 7 * DAY_MS, 4 * MIB),
        Topic("registrations", few, "delete", 7 * DAY_MS, 4 * MIB),
        Topic("openlineage", few, "delete", 30 * DAY_MS, 4 * MIB),
        Topic("controls", few, "delete", 30 * DAY_MS, 4 * MIB),
        *(Topic(f"receipts.{name}", few, "delete", 30 * DAY_MS, 4 * MIB) for name in systems),
        Topic("assets", few, "compact", -1),
        Topic("cases", partitions, "delete", 30 * DAY_MS),
        Topic("tasks", partitions, "delete", 7 * DAY_MS),
        Topic("plans", partitions, "compact", -1),
        Topic("holds", few, "compact", -1),
        Topic("suppressions", few, "compact", -1),
        *(Topic(f"commands.{name}", few, "delete", 30 * DAY_MS) for name in systems),
        *(Topic(f"confirmations.{each.name}", few, "delete", 30 * DAY_MS) for each in registry.publishers),
        Topic("ledger", ledger_partitions, "delete", -1),
        Topic("certificates", few, "delete", -1),
        Topic("dead-letters", few, "delete", 90 * DAY_MS, 2 * MIB),
    ]
