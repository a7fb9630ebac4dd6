"""Setting a message aside: where it lies, why it can never be right, and its sealed content.

See design: "Three fates of a message".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import orjson

from expunge.domain.admission.door import Door
from expunge.domain.aggregates.decision import SetAside
from expunge.domain.continuity import Place as Continued
from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Outgoing, Record, decode, stamp
from expunge.domain.limits import MAX_DEAD_LETTER_BYTES
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, Refused, Vault
from expunge.roles.common import on_cases
from expunge.wire.cases.case import Froze
from expunge.wire.cases.said import Place
from expunge.wire.dead_letters import SET_ASIDE, MessageSetAside

POISON = "poison"
RESOLVER = "/expunge/resolver"


class DeadLetters:
    """Makes dead letters for one role."""

    def __init__(self, role: str, door: Door, vault: Vault, metrics: Metrics) -> None:
        self._role, self._door, self._vault, self._metrics = role, door, vault, metrics

    def of(self, record: Record, error: InvalidMessage) -> Outgoing:
        """The dead letter of a record."""
        return self._sealed(record, error, record.value or b"")

    def part(self, record: Record, error: InvalidMessage, number: int, said: object) -> Outgoing:
        """The dead letter of one of many things in a record; the others were taken.

        Args:
            record: the message.
            error: what is wrong, with the place of the part in the message.
            number: that place.
            said: the part.
        """
        return self._sealed(record, error, orjson.dumps(said), number)

    def _sealed(self, record: Record, error: InvalidMessage, payload: bytes, *part: int) -> Outgoing:
        place, sealed = self._door.place_of(record), None
        if payload and len(payload) <= MAX_DEAD_LETTER_BYTES:
            sealed = self._vault.seal_dead_letter(bound_to(_spell(place), part, record.appended_at), payload)
        content = self._door.keys.content(payload)
        return self.at(place, error.reason, content, record.appended_at, where=error.where, sealed=sealed, part=part)

    def place_of(self, record: Record) -> Place:
        """Where a record lies."""
        return self._door.place_of(record)

    def parked(self, record: Record, error: str) -> Outgoing:
        """The dead letter of a record that is not handled because it ended processes, or because nobody can read it."""
        self._metrics.count("poisoned", label=self._role)
        return self.of(record, InvalidMessage(POISON, error))

    def refused(self, refused: Refused) -> list[Outgoing]:
        """The dead letter of a message that the broker does not take: what it was for is known by its topic.

        Only what is for others is left out; what Expunge says to itself waits until the broker takes it.
        """
        outgoing, reason = refused
        topic, value = outgoing.topic, outgoing.value or b""
        self._metrics.count("refused_emissions", label=topic.partition(".")[0])
        content = self._door.keys.content(value)
        now = outgoing.event.time if outgoing.event else EARLIEST
        place = Place(topic=self._door.prefix + topic, partition=-1, offset=-1)
        return [self.at(place, f"emission_refused_{reason}", content, now)]

    def set_aside(self, what: SetAside, time: datetime) -> Outgoing:
        """The dead letter of what a decision sets aside."""
        return self.at(what.place, what.reason, what.content, time)

    def at(
        self,
        place: Place,
        reason: str,
        content: str,
        time: datetime,
        *,
        where: str = "",
        sealed: str | None = None,
        part: tuple[int, ...] = (),
    ) -> Outgoing:
        """A dead letter of which only place and digest are known."""
        self._metrics.count("dead_letters", label=f"{self._role}:{reason}")
        said = MessageSetAside(
            reason=reason,
            where=where,
            role=self._role,
            topic=place.topic,
            partition=place.partition,
            offset=place.offset,
            digest=content,
            part=part[0] if part else None,
            sealed=sealed,
        )
        named = (content,) if place.offset < 0 else part
        event = Event(
            type=SET_ASIDE,
            source=f"/expunge/{self._role}",
            id=name("dead-letter", self._role, _spell(place), reason, *named),
            time=time,
            data=said.data(),
        )
        return Outgoing("dead-letters", content, event)


def bound_to(place: str, part: Iterable[int], at: datetime) -> str:
    """What a seal is bound to: nobody can lay a message elsewhere, or say that it came at another time.

    Args:
        place: topic in full, partition and offset, with slashes between.
        part: of a message, its number; of a whole message nothing.
        at: when the message was appended.
    """
    return "/".join((place, *map(str, part))) + f"@{stamp(at)}"


SKIPPED = "skipped"
"""Said of what was set aside for a case that a person let go on without it: it was never handled on its own."""


def poisoned(letters: Iterable[Record], role: str, prefix: str) -> Iterator[tuple[Continued, int, str]]:
    """What a role has set aside unread, as dead letters tell: place, offset, and why.

    Whoever handles again what its store has forgotten must set the same aside, or it decides otherwise than before.
    """
    for letter in letters:
        try:
            said = decode(letter, max_bytes=2 * MAX_DEAD_LETTER_BYTES).data
            mine = said["role"] == role and said["reason"] == POISON and said["where"] != SKIPPED
            if mine and said["offset"] >= 0:
                yield (said["topic"].removeprefix(prefix), said["partition"]), said["offset"], said["where"]
        except (InvalidMessage, KeyError, TypeError, AttributeError):  # nobody else is meant to write there
            continue


def froze(record: Record, topic: str, reason: str, place: Place, source: str) -> list[Outgoing]:
    """The case that a record belongs to, where that can be read, must wait for a person (rule "third death").

    What a system discovered is registered by Expunge itself, under the key of the case that asked.
    """
    try:
        event = decode(record, max_bytes=len(record.value or b""))
        discovered = event.source == RESOLVER and record.key is not None
        case_id = (record.key or b"").decode() if discovered else event.data["case_id"]
        told = Froze(case_id=case_id, reason=reason, place=place)
    except (InvalidMessage, KeyError, TypeError, ValueError):
        return []
    return [on_cases(told, record.appended_at, source, topic, _spell(place))]


def _spell(place: Place) -> str:
    return f"{place.topic}/{place.partition}/{place.offset}"
