"""What may be said of an obligation, by its claim and what that rests on: no sentence says more than its grade."""

from __future__ import annotations

from typing import Any

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


def looked(probe: dict[str, Any]) -> str:
    """What may be said of a probe, as a certificate has it: who has not answered has shown nothing."""
    silent = probe["asked"] - probe["absent"] - probe["found"] - probe["unknown"]
    parts = (
        (probe["absent"], "not there"),
        (probe["found"], "still there, though called gone, and commanded anew"),
        (probe["unknown"], "could not be told"),
        (silent, "not answered for" if probe["ended_at"] else "not answered for yet"),
        (probe["besides"], "found besides"),
    )
    said = ", ".join(f"{number:,} {text}" for number, text in parts if number) or "nothing to look at"
    which = "a sample of " if probe["sample"] is not None else ""
    return f"{which}{probe['asked']:,} of {probe['of']:,} that were called gone: {said}"
