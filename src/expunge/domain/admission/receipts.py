"""Receipts at the door: what systems answer, and what they found besides."""

from __future__ import annotations

from expunge.domain import inlets
from expunge.domain.admission.door import Door, canonical, check_sizes
from expunge.domain.case.messages import Answered, Receipted
from expunge.domain.events import CloudEvent, Record, millis
from expunge.domain.vocabulary import Kind
from expunge.errors import InvalidMessage


def receipt(door: Door, event: CloudEvent, record: Record, system: str) -> tuple[inlets.PurgeReceipted, Receipted]:
    """A receipt, as it came and as the case will see it.

    Raises:
        InvalidMessage: it is no receipt, or speaks for another system than its topic's.
    """
    if event.type != inlets.RECEIPT:
        raise InvalidMessage("unknown_type")
    receipt = inlets.read(inlets.PurgeReceipted, event)
    if receipt.system != system or door.registry.system(system) is None:
        raise InvalidMessage("wrong_system", "data.system")
    answers = (*receipt.results, *receipt.exceptions)
    check_sizes([found.asset for answer in answers for found in answer.discovered])
    said = receipt.model_dump(mode="json", exclude={"performed_at", "job", "evidence"}, exclude_none=True)
    taken = Receipted(
        case_id=receipt.case_id,
        command_id=receipt.command_id,
        system=system,
        attempt=receipt.attempt,
        sequence=receipt.sequence,
        status=receipt.status,
        all=receipt.all,
        answers=tuple(
            Answered(
                asset=answer.asset,
                outcome=inlets.Outcome.model_validate(answer.model_dump()),
                replacement=_replacement(door, answer),
            )
            for answer in answers
        ),
        expected_by=receipt.expected_by,
        replacement=_replacement(door, receipt.all),
        content=door.keys.content(canonical(said)),
        place=door.place_of(record),
        appended_ms=millis(record.appended_at),
    )
    return receipt, taken


def _replacement(door: Door, outcome: inlets.Outcome | None) -> str:
    """The key of the asset that took another's place."""
    return door.keys.asset(outcome.replacement.asset).hex() if outcome and outcome.replacement else ""


def names_replacement(taken: Receipted) -> bool:
    """Whether it says of some model what took its place."""
    return bool(taken.replacement) or any(each.replacement for each in taken.answers)


def discovered(receipt: inlets.PurgeReceipted) -> list[dict[str, object]]:
    """Assets that a system found while it purged others, as registrations derived from what it was told to purge."""
    pairs = [(answer.asset, found) for answer in (*receipt.results, *receipt.exceptions) for found in answer.discovered]
    return [
        {
            "asset": found.asset,
            "kind": Kind(found.kind).value,
            "system": found.system or receipt.system,
            "parents": [asset],
        }
        for asset, found in pairs
    ]
