"""What may be said of an obligation, by its claim and what that rests on: no sentence says more than its grade."""

from __future__ import annotations

from expunge.domain.vocabulary import OPEN, Claim, Grade

DONE = {
    Claim.DELETED: "deleted",
    Claim.KEY_DESTROYED: "made unreadable: its key was destroyed",
    Claim.REDACTED: "redacted",
    Claim.REBUILT_WITHOUT: "made again without this data",
    Claim.RETRAINED_WITHOUT: "trained again without this data",
    Claim.DISABLED: "switched off; it is still there",
    Claim.RESTRICTED: "restricted; it is still there",
    Claim.LIFTED: "in use again",
    Claim.ANONYMISED_WITH_PROOF: "anonymised, with a proof of its owner's",
    Claim.NOTIFIED: "told to its recipient",
    Claim.INSTRUCTED_ONLY: "told to its recipient, who has confirmed nothing",
}
"""What a system says that it has done."""
LEFT = {
    Claim.BEYOND_USE: "put beyond use until it can be deleted; it is still there",
    Claim.DEFERRED: "put off; it is still there",
    Claim.EXEMPT: "kept, because a rule or an operator says so",
    Claim.HELD: "kept, because of a legal hold",
    Claim.NOT_FOUND: "not found by its system, which is no deletion",
    Claim.IMPOSSIBLE: "impossible, as its system says",
    Claim.FAILED: "not done: it failed",
}
"""What was not done, or nobody can say."""
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
    known = Claim(claim)
    if known in LEFT:
        return LEFT[known]
    if grade not in STANDS_BEFORE:
        return f"said to be {DONE[known]}, by nobody's answer"
    return STANDS_BEFORE[Grade(grade)] + DONE[known]
