"""The models of a case, for its preview: how far each has come, who shares its retrain, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any

from expunge import queries
from expunge.bootstrap import Installation
from expunge.cli.common import console, print_table, to_the_minute
from expunge.domain.aggregates.case.chunks import ChunkState
from expunge.domain.aggregates.case.models import is_model, state_of
from expunge.domain.aggregates.case.state import Case
from expunge.domain.aggregates.retraining.state import Retraining, RoundPhase
from expunge.domain.partition import partition_of
from expunge.domain.vocabulary import Action
from expunge.wire.cases.said import SaidAt

COST, HOURS = "retrain_cost", "retrain_hours"
"""Attributes with which a registrar says what it costs, and how long it takes, to make a model anew."""
SHOWN = 50
"""Models of one case that are listed, at most."""


def models_of(expunge: Installation, case: Case) -> list[dict[str, Any]]:
    """What there is to say of each model of a case."""
    chunks = (chunk for chunk in queries.chunks(expunge, case.case_id) if is_model(chunk))
    return [_model(expunge, case, chunk) for chunk in islice(chunks, SHOWN)]


def hearing(expunge: Installation, case: Case, asset: str) -> Callable[[], bool]:
    """To be asked later: whether a model's aggregate has heard what a case has said to it since, or is at it already.

    An aggregate for which the case does not wait refuses what is said to it, and keeps nothing.
    """
    partition = partition_of(case.case_id, expunge.settings.kafka.partitions)
    systems = sorted({line.system for line, _ in case.counts if line.action == Action.RETRAIN_WITHOUT})

    def states() -> list[Retraining]:
        return [state for system in systems if (state := queries.retraining(expunge, system, asset)) is not None]

    def last_said() -> set[tuple[str, SaidAt]]:
        seen = ((state.retraining, state.seen.get(partition)) for state in states())
        return {(key, cause) for key, cause in seen if cause and cause[2].startswith(case.case_id)}

    def is_at_it(state: Retraining) -> bool:
        return state.phase is RoundPhase.SENT and any(each.case_id == case.case_id for each in state.present)

    before = last_said()
    return lambda: bool(last_said() - before) or any(map(is_at_it, states()))


def _model(expunge: Installation, case: Case, chunk: ChunkState) -> dict[str, Any]:
    body, summary = queries.body(expunge, case.case_id, chunk.summary.digest), chunk.summary
    said: dict[str, Any] = {
        "model": body.assets[0],
        "models": summary.size,
        "system": summary.system,
        "action": summary.action.value,
        "rule": summary.rule,
        "state": state_of(case, chunk).value,
        "reason": next((note.reason for note in chunk.notes), "") or summary.reason or None,
    }
    if not chunk.pooled:
        return said
    shared = queries.retraining(expunge, summary.system, body.assets[0])
    attributes = body.details[0].attributes if 0 in body.details else {}
    return said | _shared(shared, chunk) | _cost(shared, chunk, attributes)


def _shared(state: Retraining | None, chunk: ChunkState) -> dict[str, Any]:
    """With how many other requests it is made anew, and when that begins."""
    others = _others(state, chunk)
    begins: datetime | None = None
    if state is not None and (not chunk.attempt or chunk.command_id in state.waiting):
        begins = state.begin_at if state.phase is RoundPhase.IDLE else None
    under_way = state is not None and state.phase is not RoundPhase.IDLE
    return {
        "other_requests": others,
        "under_way": under_way,
        "begins_at": begins.isoformat(timespec="minutes") if begins else None,
    }


def _others(state: Retraining | None, chunk: ChunkState) -> int:
    if state is None:
        return 0
    mine = chunk.command_id
    sharing = state.members if mine in state.members and mine not in state.waiting else state.waiting
    return len(sharing.keys() - {mine})


def _cost(state: Retraining | None, chunk: ChunkState, attributes: dict[str, str]) -> dict[str, Any]:
    """What it costs to make it anew for this request alone now, and as its share if it waits for the others."""
    cost, hours = _number(attributes.get(COST)), _number(attributes.get(HOURS))
    together = cost / (1 + _others(state, chunk)) if cost is not None else None
    return {
        "hours": hours,
        "cost_now_alone": cost,
        "cost_later_share": round(together, 2) if together is not None else None,
    }


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def show(found: list[dict[str, Any]]) -> None:
    """The table of a case's models."""
    if not found:
        return
    rows = [
        (
            each["model"] + (f" and {each['models'] - 1:,} more" if each["models"] > 1 else ""),
            each["action"].replace("_", " "),
            each["state"].replace("_", " "),
            _together(each),
            _money(each.get("cost_now_alone")),
            _money(each.get("cost_later_share")),
            (each["reason"] or "").replace("_", " "),
        )
        for each in found
    ]
    columns = ("model", "action", "state", "with", "cost alone", "its share", "remarks")
    kept = [at for at in range(len(columns)) if at < 3 or any(row[at] for row in rows)]  # noqa: PLR2004 - always shown
    print_table([columns[at] for at in kept], [tuple(row[at] for at in kept) for row in rows], title="Models")
    if any(each.get("begins_at") for each in found):
        console.print(
            "To begin earlier, or later: expunge case decide CASE --asset MODEL --option retrain_now|retrain_by",
            style="dim",
            soft_wrap=True,
        )


def _together(each: dict[str, Any]) -> str:
    others = each.get("other_requests") or 0
    said = f"{others:,} other request{'s' * (others != 1)}" if others else ""
    if each.get("begins_at"):
        return f"{said or 'nobody yet'}, from {to_the_minute(each['begins_at'])}"
    return said


def _money(cost: float | None) -> str:
    return "" if cost is None else f"{cost:,.0f}"
