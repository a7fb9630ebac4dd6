"""Characters of text from outside that nobody should be shown as they are."""

from unicodedata import category

_ACTS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode that control, direct, or show nothing: escape sequences and bidirectional marks among them."""


def acts(character: str) -> bool:
    """Whether a character acts on what shows it, turns what stands beside it around, or is not seen."""
    return category(character) in _ACTS
