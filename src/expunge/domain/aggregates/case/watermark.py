"""What a case waits for from the indexers: it does not end before they have applied what concerns it."""

from __future__ import annotations

from expunge.domain.aggregates.case.fact import CaseFact
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.case.turn import Turn
from expunge.wire.cases.case import Applied
from expunge.wire.tasks import later_marks, reached


class WatermarkRaised(CaseFact):
    """A system discovered assets: the case waits until the indexers have applied them."""

    fact = "watermark_raised"
    watermark: dict[str, dict[str, int]]

    def change(self, case: Case) -> Case:
        """It waits for that."""
        return case.model_copy(update={"watermark": self.watermark})


class IndexApplied(CaseFact):
    """Every statement that was on the inlets when the request arrived is in the index."""

    fact = "index_applied"

    def change(self, case: Case) -> Case:
        """It waits for nothing any more."""
        return case.model_copy(update={"watermark": {}})


def wait_for(turn: Turn, watermark: dict[str, dict[str, int]]) -> None:
    """Wait for what lies on the inlets by now, too, if a message says so."""
    if watermark:
        turn.record(WatermarkRaised(watermark=later_marks(turn.case.watermark, watermark)))


def take_progress(turn: Turn, message: Applied) -> None:
    """The indexers have applied what they say; perhaps all that this case waits for."""
    pass_marks(turn, message.watermark)


def pass_marks(turn: Turn, applied: dict[str, dict[str, int]]) -> None:
    """Wait no longer if the indexers have come as far as the case waits for.

    Whoever says so has read how far they are after what they say of late assets was durable, and says it on the same
    partition: what is late stands in front of it.
    """
    wanted = turn.case.watermark
    if wanted and reached(applied, wanted):
        turn.record(IndexApplied())
