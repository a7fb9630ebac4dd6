"""What stands in a partition of `cases` and on no ledger is kept on `plans`: a rebuild of Redis finds it there."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Outgoing, Position
from expunge.domain.values import Value

KEPT = "expunge.plan.kept.v1"
SOURCE = "/expunge/coordinator"


class KeptKind(StrEnum):
    """Of what aggregate the state is kept."""

    STANDING = "standing"
    """Pauses, holds, verdicts and frozen cases of the partition."""
    RATE = "rate"
    SUPPRESSION = "suppression"
    ASIDE = "aside"
    """A message that waits for a frozen case."""


class Kept(Value):
    """A state as it was behind a message of `cases`, or a message that waits from there on; a large one in pieces."""

    kind: KeptKind
    key: str = ""
    """Of the rate, the suppression, or the frozen case."""
    leader_epoch: int
    offset: int
    """Of the message. What has not been committed since is decided again, so it does not count."""
    number: int = 0
    """Of messages that wait: which one of those from there."""
    text: str
    """The state as JSON, or the message as it came."""
    piece: int = 0
    pieces: int = 1
    appended_at: datetime | None = None
    """Of a message that waits: when the broker took it."""

    @property
    def position(self) -> Position:
        """Of the message."""
        return Position(self.leader_epoch, self.offset)

    @property
    def part(self) -> str:
        """The key of its message. It names the place, so a process that has lost its partition overwrites nothing."""
        place = f"{self.leader_epoch}.{self.offset}.{self.number}"
        return f"kept:{self.kind}:{self.key}:{place}:{self.piece}"


PIECE = 150_000
"""Characters in a piece: in JSON within JSON each may take six bytes."""


def on_plans(kept: Kept, partition: int) -> list[Outgoing]:
    """As many messages as its size asks for, on the partition of `plans` that belongs to its partition of `cases`."""
    texts = [kept.text[start : start + PIECE] for start in range(0, len(kept.text), PIECE)]
    cut = {"pieces": len(texts)}
    return [
        _on_plans(kept.model_copy(update=cut | {"text": text, "piece": piece}), partition)
        for piece, text in enumerate(texts)
    ]


def _on_plans(kept: Kept, partition: int) -> Outgoing:
    data = kept.model_dump(mode="json", exclude_defaults=True)
    event = Event(KEPT, SOURCE, name(KEPT, partition, kept.part), EARLIEST, data)  # the broker's time is what counts
    return Outgoing("plans", kept.part, event, partition)
