"""Dead letters as operators see them: what was set aside, where it lies, and whether anybody has seen to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Position, Record, decode
from expunge.domain.limits import MAX_DEAD_LETTER_BYTES
from expunge.errors import InvalidMessage
from expunge.wire.dead_letters import SET_ASIDE, SETTLED, Fate, MessageSetAside, MessageSettled
from expunge.wire.operations import OPERATORS


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    id: str
    """The id of its event."""
    at: datetime
    """When its message was appended; of what a decision set aside, when that was made."""
    said: MessageSetAside = field(repr=False)
    """Without what is sealed in it, which may be large: see `place`."""
    place: tuple[int, int] = (0, 0)
    """Where the letter itself lies: partition and offset."""
    settled: MessageSettled | None = None
    """What became of it; None: nobody has seen to it."""

    @property
    def is_part(self) -> bool:
        """Whether it is about one of several things in a message, of which the others were taken."""
        return self.said.where.startswith("data.assets.")

    @property
    def lies(self) -> tuple[str, int, int]:
        """Where its message lies: the topic in full, partition, offset; an offset of -1: nowhere."""
        return self.said.topic, self.said.partition, self.said.offset

    @property
    def called(self) -> tuple[str, int, int, str]:
        """The same, and why it was set aside: another letter of both is this one written again."""
        return (*self.lies, self.said.reason)


def letters(records: Iterable[Record]) -> list[Letter]:
    """The dead letters among the records of their topic, the oldest first, with what became of each.

    What nobody can read there is passed over: only Expunge is meant to write there.
    """
    found: dict[str, Letter] = {}
    settled: dict[str, MessageSettled] = {}
    for record in records:
        try:
            event = decode(record, max_bytes=2 * MAX_DEAD_LETTER_BYTES)
            if event.type == SET_ASIDE:
                said = MessageSetAside.model_validate(event.data)
                at = datetime.fromisoformat(str((event.model_extra or {})["time"]))
                short = said.model_copy(update={"sealed": None if said.sealed is None else ""})
                place = (record.partition, record.position.offset)
                found.setdefault(event.id, Letter(event.id, at, short, place))
            elif event.type == SETTLED:
                word = MessageSettled.model_validate(event.data)
                settled[word.letter] = word
        except (InvalidMessage, ValidationError, KeyError, ValueError):
            continue
    every = [replace(each, settled=settled.get(each.id)) for each in found.values()]
    return sorted(every, key=lambda each: (each.at, each.id))


def aside(known: Iterable[Letter]) -> frozenset[tuple[str, int, int]]:
    """Where messages lie that were set aside, and not handled since: what was discarded must not be, by chance."""
    return frozenset(each.lies for each in known if each.settled is None or each.settled.fate is not Fate.REDRIVEN)


def record_of(letter: Letter, prefix: str, payload: bytes) -> Record:
    """The message of a letter as it came, where the topic does not hold it any more.

    Args:
        letter: the dead letter.
        prefix: of the deployment's topics.
        payload: what was sealed in it.
    """
    topic, partition, offset = letter.lies
    return Record(topic.removeprefix(prefix), partition, Position(-1, offset), letter.at, None, payload)


def settled(letter: Letter, fate: Fate, operator: str, reason: str, now: datetime) -> Outgoing:
    """The word that a letter needs nobody any more, for the same topic and partition."""
    said = MessageSettled(letter=letter.id, fate=fate, operator=operator, reason=reason)
    event = Event(SETTLED, OPERATORS, name(SETTLED, letter.id, fate, operator, str(now)), now, said.data())
    return Outgoing("dead-letters", letter.said.digest, event)
