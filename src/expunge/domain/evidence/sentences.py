"""What may be said of an obligation, by its claim and what that rests on: no sentence says more than its grade."""

from __future__ import annotations

from expunge.domain.vocabulary import MEANINGS, OPEN, Claim, Grade

STANDS_BEFORE = {Grade.E1: "reported ", Grade.E2: "", Grade.E3: "verified ", Grade.E4: "verified "}
"""What a system's own word, one that is signed, and somebody else's look are worth."""


def sentence(claim: str, grade: str) -> str:
    """What may be said.

    Args:
        claim: of the closed vocabulary, or `open`.
        grade: what it rests on; `E0` a command that nobody has answered, empty: what was decided here.
    """
    if claim == OPEN:
        return "commanded, and not answered" if grade else "open: nobody was told, or nobody can be"
    meaning = MEANINGS[Claim(claim)]
    if not meaning.done:
        return meaning.said
    if grade not in STANDS_BEFORE:
        return f"said to be {meaning.said}, by nobody's answer"
    return STANDS_BEFORE[Grade(grade)] + meaning.said
