"""`holds`: the holds as they stand, for everybody who deletes by himself."""

from __future__ import annotations

from expunge.wire.cases.words import HoldKind
from expunge.wire.form import Outlet, Stamp


class HeldScope(Outlet):
    """What a hold covers: a person by pseudonym, an asset by its key."""

    kind: HoldKind
    value: str


class HoldSet(Outlet):
    """A hold as it stands; the newest message of an id holds everything."""

    hold_id: str
    sequence: int
    scope: HeldScope
    basis: str
    custodian: str
    operator: str
    placed_at: Stamp
    review_by: Stamp | None = None
    released_at: Stamp | None = None
    released_by: str | None = None


HOLD_SET = "expunge.hold.set.v1"
