"""What Expunge says, by type. Tests hold every event that any role emits to these models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from expunge.wire import ledger
from expunge.wire.assets import AssetStated
from expunge.wire.commands import PurgeCommanded, PurgeWithdrawn
from expunge.wire.confirmations import MILESTONES, RequestRejected
from expunge.wire.dead_letters import MessageSetAside
from expunge.wire.holds import HoldSet
from expunge.wire.suppressions import SuppressionSet

OUTLETS: dict[str, type[BaseModel]] = {
    "expunge.purge.commanded.v1": PurgeCommanded,
    "expunge.purge.withdrawn.v1": PurgeWithdrawn,
    "expunge.hold.set.v1": HoldSet,
    **{f"expunge.case.{milestone}.v1": model for milestone, model in MILESTONES.items()},
    "expunge.request.rejected.v1": RequestRejected,
    "expunge.message.set_aside.v1": MessageSetAside,
    "expunge.asset.stated.v1": AssetStated,
    "expunge.suppression.set.v1": SuppressionSet,
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
