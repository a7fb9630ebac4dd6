"""placeholder"""


def demo() -> None:
    """Play a whole story against the configured servers."""
