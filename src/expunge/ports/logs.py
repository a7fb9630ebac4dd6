"""Where records come from, and how far they were handled: what is known of a log is compared with what lies there.

See rule "compared" and `domain.continuity`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from expunge.domain.continuity import Log, Lost, Place, Reached
from expunge.domain.events import Position, Record

Since = Callable[[str, datetime], Iterator[Record]]
"""All that was appended to a topic from a moment on, up to its end as it is then."""


class Source(Protocol):
    """Where a role's records come from. Nothing of a partition is handed over before it was begun."""

    def fresh(self) -> list[Place]:
        """Partitions that this process holds and that are to be begun, or begun anew."""

    def begin(self, place: Place, offset: int) -> None:
        """Hand over what lies in a partition from an offset on."""

    def stop(self, places: Collection[Place] | None = None) -> None:
        """Hand over nothing more of partitions, or of any, until they are begun anew."""

    def poll(self, seconds: float) -> list[Record]:
        """Records that came, at most a batch, waiting up to `seconds`."""

    def took(self, number: int, seconds: float) -> None:
        """Deciding on so many records took so long: how many the next polls take follows."""

    def partitions(self) -> list[int]:
        """The partitions that this process holds and has begun."""

    def moved(self) -> dict[Place, Reached]:
        """How far the records of the partitions that were begun were handed over, where that is not committed yet."""

    def commit(self, moved: Mapping[Place, Reached]) -> None:
        """Commit what `moved` has said."""

    def rewind(self, batch: Sequence[Record]) -> None:
        """Read a batch again."""

    def rest(self, seconds: float) -> None:
        """Let time pass without taking records, and stay in the group."""

    def silent_seconds(self) -> float:
        """How long ago whoever keeps the group together last answered."""

    def close(self) -> None:
        """Leave the group."""


class Logs(Protocol):
    """What lies in partitions, and how far a role has committed them."""

    def logs(self, places: Collection[Place]) -> dict[Place, Log]:
        """Where each begins and ends."""

    def after(self, place: Place, at_ms: int) -> int:
        """The first offset that was appended after a moment (milliseconds since 1970), or the end."""

    def committed_by(self, role: str) -> dict[Place, Reached]:
        """How far a role has committed its partitions; one that it never did is left out."""


class Covered(Protocol):
    """How far what a role keeps reaches, as the store that keeps it says (rule "compared")."""

    def is_another(self) -> bool:
        """Whether the store is another one, or was started anew, since it was accepted: it may have forgotten."""

    def accept(self) -> None:
        """From now on this is the store."""

    def covered(self, places: Collection[Place]) -> dict[Place, Reached]:
        """How far it reaches; a partition of which the store was never told anything is left out."""

    def cover(self, reached: Mapping[Place, Reached]) -> None:
        """All that lies before is kept; said after it is, and before offsets are committed."""

    def restart(self, place: Place, position: Position) -> None:
        """Of what lies behind a position nothing was handled, whatever was said before.

        Raises:
            Fenced: another process has gone on meanwhile.
        """


class Loss(NamedTuple):
    """Part of a partition that is gone, for people."""

    role: str
    lost: Lost

    def __str__(self) -> str:
        lost = self.lost
        return f"{lost.why.value}, offsets {lost.since} to {lost.until - 1}"


class Word(NamedTuple):
    """That somebody knows of a loss, and lets the role go on without what is lost."""

    operator: str
    reason: str
    since: int
    """What they know to be lost, see `Lost`."""
    until: int


class Losses(Protocol):
    """Partitions that stand still because part of them is gone, and what operators say to that."""

    def note(self, place: Place, loss: Loss) -> None:
        """A partition stands still."""

    def known(self) -> dict[Place, Loss]:
        """All that do."""

    def acknowledge(self, place: Place, word: Word) -> None:
        """Its role may go on."""

    def word(self, place: Place) -> Word | None:
        """What was said of one; None: nothing."""

    def settled(self, place: Place) -> None:
        """Its role goes on."""
