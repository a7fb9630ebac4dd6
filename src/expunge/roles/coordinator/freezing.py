"""Frozen cases: no message is handled for them until somebody has looked; what comes waits in order.

See rule "third death".

A case is frozen by a message that has ended processes, or that a newer version wrote and this one cannot read. That it
is frozen is part of what stands in its partition; what waits lies beside it, and changes under the same position.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from expunge.domain.aggregates.standing.state import Frozen
from expunge.domain.events import CloudEvent, Outgoing, Record, decode
from expunge.domain.limits import MOST_PLACES
from expunge.errors import InvalidMessage
from expunge.ports import TimerKey
from expunge.roles.common import COORDINATOR, on_cases
from expunge.roles.coordinator.cause import Cause
from expunge.roles.coordinator.view import LATER, View
from expunge.roles.dead_letters import DeadLetters
from expunge.wire.cases.case import Applied, Froze, HoldingKnown, Reconsider, ThawOn, TimerFired
from expunge.wire.cases.said import Place
from expunge.wire.cases.table import TYPE_OF, Message
from expunge.wire.cases.words import ThawSaid

MISSING = "waiting_messages_missing"
"""Redis does not have what waits for a case, though it says that something does."""
_HEX = re.compile(r"[0-9a-f]{32}")


class ReadMessage(NamedTuple):
    """A message of `cases` as far as it could be read."""

    event: CloudEvent | None = None
    message: Message | None = None
    key: str = ""
    """Of the case, or of another aggregate, that it is for; empty where it is for all."""
    unknown: str = ""
    """What a newer version has put there that this one has no word for."""

    def __repr__(self) -> str:
        return "Read(...)"


def case_of(data: object) -> str:
    """The case that the data of a message names; empty where it names none."""
    case_id = data.get("case_id") if isinstance(data, dict) else None
    return case_id if isinstance(case_id, str) and _HEX.fullmatch(case_id) else ""


def _frozen(place: Place, reason: str, record: Record, *, elsewhere: bool) -> Frozen:
    """What stands of a case from the moment of a record on: what froze it, and why."""
    return Frozen(**place.model_dump(), elsewhere=elsewhere, reason=reason, since=record.appended_at)


def _spot(place: Place) -> tuple[str, int, int]:
    return place.topic, place.partition, place.offset


def _type_of(record: Record) -> str:
    try:
        return decode(record, max_bytes=len(record.value or b"")).type
    except InvalidMessage:
        return ""


class Freezer:
    """Lets cases wait, and go on."""

    def __init__(self, dead: DeadLetters) -> None:
        self._dead = dead

    def freeze(self, view: View, case_id: str, reason: str, record: Record) -> list[Outgoing]:
        """A message of the case cannot be read by this version: it waits, first of all that come."""
        if case_id not in view.standing.frozen:
            view.freeze(case_id, self._by(record, reason))
        view.set_aside(case_id, record)
        return [self._dead.parked(record, reason)]

    def _by(self, record: Record, reason: str) -> Frozen:
        return _frozen(self._dead.place_of(record), reason, record, elsewhere=False)

    def froze(self, view: View, message: Froze, record: Record) -> None:
        """Another role has set a message of the case aside. That itself does not wait here: it must be said again."""
        known, one = view.standing.frozen.get(message.case_id), _spot(message.place)
        if known is None:
            view.freeze(message.case_id, _frozen(message.place, message.reason, record, elsewhere=True))
        elif len(known.further) >= MOST_PLACES:  # the next thaw names those, and makes room
            view.set_aside(message.case_id, record)
            view.freeze(message.case_id, view.standing.frozen[message.case_id].model_copy(update={"thawing": False}))
        elif one not in known.places:
            view.freeze(message.case_id, known.model_copy(update={"further": (*known.further, one)}))

    def park(self, view: View, read: ReadMessage, error: str, record: Record) -> None:
        """A message of the case has ended processes: it waits, first of all that come, unless it is a thaw itself."""
        if isinstance(read.message, Froze):  # what it says is all that it is for
            self.froze(view, read.message, record)
            return
        known = view.standing.frozen.get(read.key)
        if known is None:
            view.freeze(read.key, self._by(record, error))
        elif isinstance(read.message, ThawSaid | ThawOn):  # what it should have handled waits still
            view.freeze(read.key, known.model_copy(update={"thawing": False, "reason": error}))
            return
        view.set_aside(read.key, record)

    def let_wait(self, view: View, case_id: str, message: Message, record: Record) -> None:
        """A message for a frozen case waits. What only says that time has passed is said again anyway."""
        if isinstance(message, TimerFired):
            view.changes.timers[TimerKey(message.case_id, message.timer)] = record.appended_at + LATER
        elif not isinstance(message, Applied):
            view.set_aside(case_id, record)

    def cannot_hear(
        self, view: View, case_id: str, said: Reconsider | HoldingKnown, record: Record, reason: str
    ) -> list[Outgoing]:
        """A case that this version cannot decide on, when all are told something."""
        view.freeze(case_id, self._by(record, reason))
        self.tell_later(view, case_id, said, record)
        return [self._dead.parked(record, reason)]

    def tell_later(self, view: View, case_id: str, said: Reconsider | HoldingKnown, record: Record) -> None:
        """What every case is told waits for a frozen one, too. Until it has heard a word, that is not in force."""
        if isinstance(said, Reconsider):
            self._unsettle(view, frozenset(), frozenset({said.word}))
        mine = said.model_copy(update={"case_id": case_id})
        said_to_it = on_cases(mine, record.appended_at, COORDINATOR, case_id, record.place)
        told = Record("cases", record.partition, record.position, record.appended_at, None, said_to_it.value)
        view.set_aside(case_id, told)

    @staticmethod
    def _unsettle(view: View, before: frozenset[str], after: frozenset[str]) -> None:
        view.changes.standing = view.standing.settled(before, after)

    def heard(self, view: View, message: Message) -> None:
        """A message that waited is handled now; a word that the case had not heard is the case's own from here on."""
        if isinstance(message, Reconsider) and not message.after and not message.serial:
            self._unsettle(view, frozenset({message.word}), frozenset())

    def settle(self, view: View, message: ThawSaid) -> None:
        """What an operator has published again, or leaves out, is awaited no longer."""
        frozen = view.standing.frozen[message.case_id]
        view.freeze(message.case_id, frozen.without([_spot(place) for place in message.places]))

    def skips(self, view: View, message: ThawSaid) -> bool:
        """Whether an operator leaves out the very message that is next, and it may be left out.

        What says that something else was set aside, or that a word concerns the case, is no rubbish.
        """
        if not message.skip or message.skip != view.standing.frozen[message.case_id].turn:
            return False
        first = view.first_aside(message.case_id)
        kind = _type_of(first) if first is not None else ""
        return kind not in (TYPE_OF[Froze], TYPE_OF[Reconsider])

    def stay(self, view: View, case_id: str, reason: str) -> None:
        """The next message that waits cannot be handled by this version, either: it waits where it is."""
        frozen = view.standing.frozen[case_id]
        view.freeze(case_id, frozen.model_copy(update={"thawing": False, "reason": reason}))

    def next(self, view: View, message: ThawSaid | ThawOn) -> Record | None:
        """The next message that waits, if this one asks for it; none where all were handled, or another asks."""
        frozen = view.standing.frozen[message.case_id]
        if isinstance(message, ThawOn) and (not frozen.thawing or message.number != frozen.taken):
            return None
        view.freeze(message.case_id, frozen.model_copy(update={"thawing": True}))
        return view.take_up(message.case_id)

    def go_on(self, view: View, case_id: str, cause: Cause) -> list[Outgoing]:
        """The case goes on if nothing waits any more; else the next message comes behind whatever waits elsewhere.

        While another role has something of it set aside that nobody has published again, it stays frozen.
        """
        frozen = view.standing.frozen.get(case_id)
        if frozen is None or not frozen.thawing:
            return []
        if not frozen.waiting:
            view.freeze(case_id, frozen.model_copy(update={"thawing": False}) if frozen.places else None)
            return []
        if view.first_aside(case_id) is None:  # nobody has it any more: to ask for it again would never end
            self.stay(view, case_id, MISSING)
            return []
        message = ThawOn(case_id=case_id, number=frozen.taken)
        return [cause.say(message, case_id, frozen.taken, partition=view.partition)]
