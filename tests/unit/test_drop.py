"""DROP's file: a row is held until one of its statuses is true."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from typing import Any, cast

import pytest

from expunge.domain.aggregates.case.chunks import GRANTED_AGAIN, Tally
from expunge.domain.aggregates.case.state import Case
from expunge.domain.vocabulary import OPEN, Claim, Regime, Status
from expunge.report.drop import DELETED, EXEMPTED, NOT_FOUND, Rows, answer_of, rows
from tests.simulation import World


def case(status: Status, *claims: str, request: str = "1001", batch: str = "b1", regime: Regime = Regime.DROP) -> Case:
    counts = tuple((Tally("photos", "object", "", "delete", str(each), "", ""), 1) for each in claims)
    made: dict[str, Any] = {"request_id": request, "batch": batch, "regime": regime, "status": status}
    found: Case = cast("Any", Case).model_construct(**made, counts=counts, dry_run=False)
    return found


@pytest.mark.parametrize(
    ("status", "claims", "said"),
    [
        (Status.COMPLETED, (), NOT_FOUND),
        (Status.COMPLETED, (Claim.NOT_FOUND,), NOT_FOUND),
        (Status.COMPLETED, (Claim.DELETED,), DELETED),
        (Status.COMPLETED, (Claim.DELETED, Claim.EXEMPT, Claim.NOT_FOUND), DELETED),
        (Status.COMPLETED, (Claim.EXEMPT,), EXEMPTED),
        (Status.COMPLETED, (Claim.EXEMPT, Claim.NOT_FOUND), EXEMPTED),
        (Status.COMPLETED, (Claim.DELETED, Claim.RESTRICTED), 0),
        (Status.COMPLETED, (Claim.DELETED, Claim.INSTRUCTED_ONLY), DELETED),
        (Status.COMPLETED, (Claim.INSTRUCTED_ONLY,), 0),
        (Status.COMPLETED, (Claim.NOTIFIED,), 0),
        (Status.COMPLETED, (Claim.ANONYMISED_WITH_PROOF,), 0),
        (Status.COMPLETED, (Claim.DELETED, Claim.IMPOSSIBLE), 0),
        (Status.COMPLETED_WITH_DEFERRALS, (Claim.DELETED, Claim.DEFERRED), 0),
        (Status.COMPLETED_WITH_DEFERRALS, (Claim.HELD,), 0),
        (Status.PARTIALLY_COMPLETED, (Claim.DELETED, OPEN), 0),
        (Status.PURGING, (Claim.DELETED,), 0),
        (Status.RESOLVING, (), 0),
        (Status.REFUSED, (OPEN,), 0),
    ],
)
def test_what_may_be_said_of_a_row(status: Status, claims: tuple[str, ...], said: int) -> None:
    answer = answer_of(case(status, *claims))
    assert answer.status == said
    assert bool(answer.why) == (said == 0)


def test_no_state_and_no_claims_say_more_than_is_true() -> None:
    """Every status with every pair of claims: what is there, open, or nobody's answer is never called deleted."""
    there = {Claim.DEFERRED, Claim.HELD, Claim.BEYOND_USE, Claim.RESTRICTED, Claim.DISABLED, Claim.LIFTED}
    there |= {Claim.FAILED, Claim.IMPOSSIBLE}
    for status in Status:
        for pair in combinations((*Claim, OPEN), 2):
            said = answer_of(case(status, *pair)).status
            if status is not Status.COMPLETED or there.intersection(pair) or OPEN in pair:
                assert said == 0
            if said == NOT_FOUND:
                assert set(pair) == {Claim.NOT_FOUND}


def test_a_request_that_a_consent_has_overtaken_is_nobodys_exemption() -> None:
    given = case(Status.COMPLETED)
    line = Tally("photos", "object", "", "delete", str(Claim.EXEMPT), GRANTED_AGAIN, "")
    assert answer_of(given.model_copy(update={"counts": ((line, 2),)})).status == 0


def test_rows_that_nobody_can_answer_for_are_held_and_what_was_taken_back_is_not_answered() -> None:
    found = rows(
        [
            case(Status.COMPLETED, Claim.DELETED, request="1"),
            case(Status.COMPLETED, Claim.DELETED, request="2"),
            case(Status.COMPLETED, Claim.DELETED, request="2"),
            case(Status.COMPLETED, Claim.DELETED, request="=HYPERLINK(1)"),
            case(Status.COMPLETED, Claim.DELETED, request="3,3\r\n4"),
            case(Status.CANCELLED, request="5"),
            case(Status.COMPLETED, Claim.DELETED, request="6", batch="b2"),
            case(Status.COMPLETED, Claim.DELETED, request="7", regime=Regime.CCPA),
            case(Status.COMPLETED, Claim.DELETED, request="8").model_copy(update={"dry_run": True}),
        ],
        "b1",
    )
    assert found.said == {"1": DELETED}
    assert set(found.held) == {"2", "=HYPERLINK(1)", "3,3\r\n4"}
    assert found.taken_back == ["5"]


def test_the_file_is_of_the_form_that_drop_takes() -> None:
    text = Rows({"b": 3, "a": 5}, {}, []).csv()
    assert text == "Id,Status\r\na,5\r\nb,3\r\n"
    assert next(csv.reader(io.StringIO(text))) == ["Id", "Status"]


def test_requests_of_a_download_become_its_rows() -> None:
    world = World()
    world.register("p1", subjects=["ann"])
    asked = {"regime": "drop", "batch": "2026-11-01 Email"}
    first = world.erase("ann", request="1001", **asked)
    second = world.erase("bob", request="1002", **asked)
    world.settle()
    found = rows([world.state_of(each) for each in (first, second)], "2026-11-01 Email")
    assert found.said == {"1001": DELETED, "1002": NOT_FOUND}
