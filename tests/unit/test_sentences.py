"""No sentence says more than what it rests on."""

from __future__ import annotations

import pytest

from expunge.domain.evidence.sentences import sentence
from expunge.domain.vocabulary import MEANINGS, OPEN, Claim, Grade

GRADES = ["", "E0", *Grade]
STRONG = ("deleted", "redacted", "made again", "trained again", "unreadable", "anonymised")


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("claim", [OPEN, *Claim])
def test_no_sentence_says_more_than_its_grade(claim: str, grade: str) -> None:
    said = sentence(claim, grade)
    assert said
    done = claim != OPEN and MEANINGS[Claim(claim)].done
    assert said.startswith("verified ") == (done and grade in {Grade.E3, Grade.E4})
    assert said.startswith("reported ") == (done and grade == Grade.E1)
    if not done:
        assert not any(said.startswith(word) for word in STRONG)
    if done and grade in {"", "E0"}:
        assert said.startswith("said to be ")
        assert said.endswith("by nobody's answer")
    if claim == Claim.NOT_FOUND:
        assert "no deletion" in said
    if claim in {Claim.RESTRICTED, Claim.DISABLED, Claim.DEFERRED, Claim.BEYOND_USE}:
        assert "still there" in said
    if claim == OPEN:
        assert "not answered" in said or said.startswith("open")
