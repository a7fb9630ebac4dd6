"""What Expunge says, by type. Tests hold every event that any role emits to these models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from expunge.wire import ledger, operations
from expunge.wire.assets import STATED, AssetStated
from expunge.wire.certificates import ISSUED, CertificateIssued
from expunge.wire.commands import COMMANDED, FORGOTTEN, WITHDRAWN, PurgeCommanded, PurgeForgotten, PurgeWithdrawn
from expunge.wire.confirmations import MILESTONES, REJECTED, RequestRejected
from expunge.wire.dead_letters import SET_ASIDE, SETTLED, MessageSetAside, MessageSettled
from expunge.wire.holds import HOLD_SET, HoldSet
from expunge.wire.probes import ASKED, ProbeAsked
from expunge.wire.suppressions import SUPPRESSION_SET, SuppressionSet

OUTLETS: dict[str, type[BaseModel]] = {
    COMMANDED: PurgeCommanded,
    WITHDRAWN: PurgeWithdrawn,
    FORGOTTEN: PurgeForgotten,
    ASKED: ProbeAsked,
    HOLD_SET: HoldSet,
    ISSUED: CertificateIssued,
    **{f"expunge.case.{milestone}.v1": model for milestone, model in MILESTONES.items()},
    REJECTED: RequestRejected,
    SET_ASIDE: MessageSetAside,
    SETTLED: MessageSettled,
    STATED: AssetStated,
    SUPPRESSION_SET: SuppressionSet,
    ledger.SEVERAL: ledger.LedgerFacts,
    operations.LOSS: operations.LossAcknowledged,
    operations.REPLAYED: operations.Replayed,
    operations.DISCARDED: operations.Discarded,
    operations.REWRITTEN: operations.Rewritten,
    operations.PARKED: operations.Parked,
    **{kind: ledger.LedgerFact[fact] for kind, fact in ledger.FACTS.items()},  # type: ignore[valid-type]
}
"""Event type -> data."""


def check(kind: str, data: dict[str, Any]) -> None:
    """Hold an emitted event to its model.

    Raises:
        ValueError: the event says something that the schema lacks, or lacks something.
    """
    model = OUTLETS.get(kind)
    if model is None:
        raise ValueError(f"no schema for {kind}")
    model.model_validate(data)
