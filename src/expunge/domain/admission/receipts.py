"""Receipts at the door: what systems answer, and what they found besides."""

from __future__ import annotations

from expunge.domain.admission.door import Door, Origin, canonical, check_sizes
from expunge.domain.events import CloudEvent, millis
from expunge.domain.vocabulary import Claim, Grade
from expunge.errors import InvalidMessage
from expunge.wire import inlets
from expunge.wire.cases.case import Receipted, TargetAnswer
from expunge.wire.receipts import RECEIPT, Outcome, PurgeReceipted


def receipt(door: Door, event: CloudEvent, came: Origin, system: str, received: str) -> tuple[Receipted, bool]:
    """A receipt as the case will see it: without what nothing is decided on, so that it does not grow on its way.

    And whether it says that it discovered something in another system, of which this one has nothing to say.
    `received` names the part of `plans` in which the whole of it is kept as it came.

    Raises:
        InvalidMessage: it is no receipt, or speaks for another system than its topic's.
    """
    if event.type != RECEIPT:
        raise InvalidMessage("unknown_type")
    receipt = inlets.read(PurgeReceipted, event, came.at)
    owner = door.registry.system(system)
    if receipt.system != system or owner is None:
        raise InvalidMessage("wrong_system", "data.system")
    if came.signers and came.signers.isdisjoint(owner.key):
        raise InvalidMessage("bad_signature", "signed by somebody else")
    answers = (*receipt.results, *receipt.exceptions)
    every = (*answers, *((receipt.all,) if receipt.all else ()))
    check_sizes([found.asset for answer in every for found in answer.discovered])
    said = receipt.model_dump(mode="json", exclude={"performed_at", "job", "evidence"}, exclude_none=True)
    taken = Receipted(
        case_id=receipt.case_id,
        command_id=receipt.command_id,
        system=system,
        attempt=receipt.attempt,
        sequence=receipt.sequence,
        status=receipt.status,
        all=_outcome(receipt.all, system) if receipt.all else None,
        answers=tuple(
            TargetAnswer(
                asset=answer.asset,
                outcome=_outcome(answer, system),
                replacement=_replacement(door, answer),
            )
            for answer in answers
        ),
        expected_by=receipt.expected_by,
        replacement=_replacement(door, receipt.all),
        content=door.keys.content(canonical(said)),
        received=received,
        grade=Grade.E2 if came.signers else Grade.E1,
        place=came.place,
        appended_ms=millis(came.at),
    )
    return taken, any(found.system not in (None, system) for answer in every for found in answer.discovered)


def _outcome(said: Outcome, system: str) -> Outcome:
    """A claim and what belongs to it; of what it discovered, only what is its system's own."""
    own = tuple(found for found in said.discovered if found.system in (None, system))
    fields = said.model_dump(exclude={"replacement", "asset"}, exclude_defaults=True)
    kept = said.replacement if said.claim is Claim.RETRAINED_WITHOUT else None
    return Outcome.model_validate(fields | {"discovered": own, "replacement": kept})


def _replacement(door: Door, outcome: Outcome | None) -> str:
    """The key of the model that took another's place."""
    if outcome is None or outcome.replacement is None or outcome.claim is not Claim.RETRAINED_WITHOUT:
        return ""
    return door.keys.asset(outcome.replacement.asset).hex()


def names_replacement(taken: Receipted) -> bool:
    """Whether it says of some model what took its place."""
    return bool(taken.replacement) or any(each.replacement for each in taken.answers)
