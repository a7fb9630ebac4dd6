"""What operators do about dead letters: each is settled once, after what was done about it is durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cached_property

from expunge.adapters.system import SystemClock
from expunge.cli.replaying import Replay, Speaker
from expunge.domain.events import CONTENT_TYPE, AsReceived, Outgoing, Record, decode, envelope
from expunge.domain.limits import MAX_DEAD_LETTER_BYTES
from expunge.domain.signatures import is_signed
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.replay.forecast import INLET_ROLES, Forecast, Forecaster, Outcome
from expunge.replay.letters import Letter, record_of, settled
from expunge.roles.dead_letters import POISON, bound_to
from expunge.wire.dead_letters import Fate
from expunge.wire.operations import Discarded, Rewritten, discarded, rewritten

DISCARD, REWRITE = "expunge.message.discarded.v1", "expunge.message.rewritten.v1"
"""The types of what an operator signs."""
REWRITES = "expunge-rewrites"
"""The header of a message that was published in the place of one that was set aside: the letter's id."""

DEAD_LETTERS = "dead-letters"
GONE = "its message is there no more, and the letter does not hold it as it came"
AGAIN_WITHIN = timedelta(days=30)
"""A case of whom nothing is heard may be forgotten 38 days later: what was said before is not said to it again."""
OLD = "it is more than 30 days old, and nobody may remember what it was for: whoever said it must say it anew"


class Settling:
    """What an operator does about dead letters."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker, self._expunge, self._prefix = speaker, speaker.expunge, speaker.expunge.settings.prefix

    def payload(self, letter: Letter) -> bytes | None:
        """What was sealed in a letter, which is read where it lies; None: nothing was, or it is there no more.

        Raises:
            InvalidMessage: it cannot be opened: it lay elsewhere, or came at another time, or is of an older version.
        """
        if not letter.is_sealed:
            return None
        found = self._expunge.broker.record_at(self._prefix + DEAD_LETTERS, *letter.place)
        event = decode(found, max_bytes=2 * MAX_DEAD_LETTER_BYTES) if found is not None else None
        if event is None or event.id != letter.id:
            return None
        part = () if letter.part is None else (letter.part,)
        bound = bound_to("/".join(map(str, letter.lies)), part, letter.at)
        return self._expunge.vault.open_dead_letter(bound, event.data["sealed"])

    def redrive(self, letter: Letter, doing: Replay) -> str:
        """Handle the message of a letter once more; why it is set aside again, empty where it is not."""
        now = SystemClock().now()
        if now - letter.at > AGAIN_WITHIN and not self._never_began(letter):
            return OLD
        record = self._message(letter)
        if record is None:
            return GONE
        said = self._forecast(record)
        if said is None:
            return f"it lay on {record.topic}, which is no inlet"
        if letter.id in said.letters:
            return letter.reason
        if said.outcome in {Outcome.DEAD_LETTER, Outcome.POISON}:
            return ", ".join(said.why)
        doing.handle(record)
        self._settle(letter, Fate.REDRIVEN)
        return ""

    def _never_began(self, letter: Letter) -> bool:
        """Whether it is a request of which no case can have come."""
        inlet, _, _ = letter.topic.removeprefix(self._prefix).partition(".")
        return inlet == "requests" and letter.reason != POISON

    def original(self, letter: Letter) -> Record:
        """The message of a letter that another is to be published in the place of.

        Raises:
            ConfigurationError: there is no such thing, or it is one part of many.
        """
        if letter.is_part:
            text = f"{letter.where} alone was set aside, and to publish all of it again would say that the rest is back"
            raise ConfigurationError(f"{text}: register that one anew")
        record = self._message(letter)
        if record is None or record.value is None:
            raise ConfigurationError(f"{GONE}: nothing can be rewritten")
        if role_of(record.topic) not in INLET_ROLES:
            raise ConfigurationError(f"it lay on {record.topic}, which is no inlet")
        return record

    def rewrite(self, letter: Letter, record: Record, raw: bytes, agreed: Callable[[Forecast], bool]) -> str:
        """Publish on its inlet what a person has made of a message; why that cannot be, empty where it was done.

        Args:
            letter: the letter.
            record: its message; see `original`.
            raw: what is published in its place, as of now.
            agreed: whether they want what would come of it.

        Raises:
            ConfigurationError: what they have made is no event, or is signed.
        """
        try:
            event = envelope(raw)
        except InvalidMessage as error:
            text = f"what the editor left is no event ({error.reason}): nothing was published"
            raise ConfigurationError(text) from None
        if is_signed(event):
            raise ConfigurationError("it is signed: whoever has said it must say it anew, and nobody can rewrite it")
        now = SystemClock().now()
        new = replace(record, value=raw, appended_at=now, content_type=CONTENT_TYPE, unreadable="")
        said = self._forecast(new)
        if said is None or said.outcome in {Outcome.DEAD_LETTER, Outcome.POISON}:
            return ", ".join(said.why) if said else GONE
        if not agreed(said):
            return "you did not want that"
        what = self._what(letter) | {"message": self._expunge.keys.content(raw)}
        fact = Rewritten.model_validate(what | self._speaker.said(REWRITE, what))
        self._expunge.sender.publish([rewritten(fact, now)])
        sender = self._expunge.another_sender()
        sender.headers.append((REWRITES, letter.id.encode()))
        key = (record.key or event.id.encode()).decode(errors="replace")
        sender.publish([Outgoing(record.topic, key, AsReceived(event.type, event.source, event.id, now, {}, raw))])
        self._settle(letter, Fate.REWRITTEN)
        return ""

    def discard(self, letter: Letter) -> None:
        """Say of a letter that its message is not to be handled: on the ledger first, then where letters lie."""
        what = self._what(letter)
        fact = Discarded.model_validate(what | self._speaker.said(DISCARD, what))
        self._expunge.sender.publish([discarded(fact, SystemClock().now())])
        self._settle(letter, Fate.DISCARDED)

    def _what(self, letter: Letter) -> dict[str, object]:
        topic, partition, offset = letter.lies
        return {"letter": letter.id, "topic": topic, "partition": partition, "offset": offset}

    def _settle(self, letter: Letter, fate: Fate) -> None:
        word = settled(letter, fate, self._speaker.identity, self._speaker.reason.strip(), SystemClock().now())
        self._expunge.sender.publish([word])

    def _forecast(self, record: Record) -> Forecast | None:
        """What handling a record would do; None: no role takes in what lies on its topic."""
        if role_of(record.topic) not in INLET_ROLES:
            return None
        return self._forecaster.of(record, SystemClock().now())

    @cached_property
    def _forecaster(self) -> Forecaster:
        return self._expunge.forecaster()

    def _message(self, letter: Letter) -> Record | None:
        """The message of a letter: as it lies on its topic, or else as it was sealed; None: it is nowhere.

        What lies there now may be another: a topic may have been made anew.
        """
        topic, partition, offset = letter.lies
        if offset < 0:
            return None
        found = self._expunge.broker.record_at(topic, partition, offset)
        if found is not None and found.appended_at <= letter.at and self._is_its(letter, found):
            return replace(found, topic=topic.removeprefix(self._prefix))
        kept = not letter.is_part and letter.reason != "not_structured_mode"  # its headers are not
        try:
            payload = self.payload(letter) if kept else None
        except InvalidMessage:  # what cannot be opened holds up no other
            payload = None
        return record_of(letter, self._prefix, payload) if payload is not None else None

    def _is_its(self, letter: Letter, found: Record) -> bool:
        """Where a part, or what a message says, was set aside, its digest is not the message's own."""
        whole = letter.is_sealed and not letter.is_part
        return not whole or self._expunge.keys.content(found.value or b"") == letter.digest
