"""How models are made anew for many requests at once."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from expunge.domain.planning.policy.form import PolicyRow


class Models(PolicyRow):
    """When a model that must be made anew is: once for all requests that ask for it by then.

    While a model is being made anew, what asks for it meanwhile waits for the next time, whatever stands here.
    """

    collect_hours: int = Field(0, ge=0, le=8760)
    """How long the first request that asks for a model waits for others."""
    needs_hours: int = Field(24, ge=1, le=8760)
    """How long making one anew takes at most: it begins so long before the earliest due date, whoever might come."""

    def begin_by(self, now: datetime, due_at: datetime) -> datetime:
        """The latest moment at which a model that is asked for now must begin to be made anew."""
        latest = due_at - timedelta(hours=self.needs_hours)
        return max(now, min(now + timedelta(hours=self.collect_hours), latest))
