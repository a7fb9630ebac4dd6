"""Dead letters as operators see them: what was set aside, where it lies, and whether anybody has seen to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from sys import intern

from pydantic import ValidationError

from expunge.domain.digest import name
from expunge.domain.events import CONTENT_TYPE, Event, Outgoing, Position, Record, decode
from expunge.domain.limits import MAX_DEAD_LETTER_BYTES
from expunge.errors import InvalidMessage
from expunge.wire.dead_letters import SET_ASIDE, SETTLED, Fate, MessageSetAside, MessageSettled
from expunge.wire.operations import OPERATORS


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without what is sealed in it: there may be very many."""

    id: str
    """The id of its event, which follows from who set aside what, where and why: written again, it is the same."""
    at: datetime
    """When its message was appended; of what a decision set aside, when that was made."""
    reason: str
    where: str
    role: str
    topic: str
    """In full; of the message."""
    partition: int
    offset: int
    """Of the message; -1: it lies nowhere."""
    digest: str
    is_sealed: bool
    """Whether its message is in it."""
    part: int | None = None
    """The number of the one of many things in the message that it is about; None: it is about all of it."""
    place: tuple[int, int] = (0, 0)
    """Where the letter itself lies: partition and offset."""
    settled: MessageSettled | None = None
    """What became of it; None: nobody has seen to it."""

    @property
    def is_part(self) -> bool:
        """Whether it is about one of several things in a message, of which others were taken."""
        return self.part is not None

    @property
    def lies(self) -> tuple[str, int, int]:
        """Where its message lies: the topic in full, partition, offset; an offset of -1: nowhere."""
        return self.topic, self.partition, self.offset


class LetterBook:
    """Dead letters as they are read, with what became of each.

    What nobody can read there is passed over: only Expunge is meant to write there.
    """

    def __init__(self) -> None:
        self._found: dict[str, Letter] = {}
        self._settled: dict[str, MessageSettled] = {}

    def take(self, records: Iterable[Record]) -> None:
        """Records of the topic of dead letters, in order."""
        for record in records:
            try:
                event = decode(record, max_bytes=2 * MAX_DEAD_LETTER_BYTES)
                if event.type == SET_ASIDE:
                    at = datetime.fromisoformat(str((event.model_extra or {})["time"]))
                    said = MessageSetAside.model_validate(event.data)
                    self._found.setdefault(event.id, _letter(event.id, at, said, record))
                elif event.type == SETTLED:
                    word = MessageSettled.model_validate(event.data)
                    self._settled[word.letter] = word
            except (InvalidMessage, ValidationError, KeyError, ValueError):
                continue

    def letters(self) -> list[Letter]:
        """Those that were read, the oldest first."""
        settled = self._settled
        every = [replace(each, settled=settled[of]) if of in settled else each for of, each in self._found.items()]
        return sorted(every, key=lambda each: (each.at, each.id))

    def open_by_reason(self) -> Counter[str]:
        """How many nobody has seen to, by reason."""
        return Counter(each.reason for of, each in self._found.items() if of not in self._settled)

    def forget(self, first: Mapping[int, int]) -> None:
        """Letters that are there no more: partition -> the first offset that is."""
        gone = [of for of, each in self._found.items() if each.place[1] < first.get(each.place[0], 0)]
        for of in gone:
            del self._found[of]
            self._settled.pop(of, None)


def letters(records: Iterable[Record]) -> list[Letter]:
    """The dead letters among the records of their topic; see `LetterBook`."""
    book = LetterBook()
    book.take(records)
    return book.letters()


def _letter(called: str, at: datetime, said: MessageSetAside, record: Record) -> Letter:
    return Letter(
        called,
        at,
        intern(said.reason),
        intern(said.where),
        intern(said.role),
        intern(said.topic),
        said.partition,
        said.offset,
        said.digest,
        said.sealed is not None,
        said.part,
        (record.partition, record.position.offset),
    )


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
    place = Position(-1, offset)
    return Record(topic.removeprefix(prefix), partition, place, letter.at, None, payload, CONTENT_TYPE)


def settled(letter: Letter, fate: Fate, operator: str, reason: str, now: datetime) -> Outgoing:
    """The word that a letter needs nobody any more, for the same topic and partition."""
    said = MessageSettled(letter=letter.id, fate=fate, operator=operator, reason=reason)
    event = Event(SETTLED, OPERATORS, name(SETTLED, letter.id, fate, operator, str(now)), now, said.data())
    return Outgoing("dead-letters", letter.digest, event)
