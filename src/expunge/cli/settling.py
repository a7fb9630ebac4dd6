"""What operators do about dead letters: each is settled once, after what was done about it is durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from expunge.adapters.sender import Publishing
from expunge.adapters.system import SystemClock
from expunge.bootstrap import Installation
from expunge.cli.replaying import announced
from expunge.domain.events import AsReceived, Outgoing, Record, decode, envelope
from expunge.domain.limits import MAX_DEAD_LETTER_BYTES
from expunge.domain.signatures import Envelope, is_signed
from expunge.domain.topics import role_of
from expunge.errors import ConfigurationError, InvalidMessage
from expunge.ports import Role
from expunge.replay.forecast import INLET_ROLES, Forecast, Forecaster, Outcome
from expunge.replay.handling import Handling
from expunge.replay.letters import Letter, record_of, settled
from expunge.replay.looking import Uncounted
from expunge.wire.dead_letters import Fate
from expunge.wire.operations import Discarded, discarded

DISCARD = "expunge.message.discarded.v1"
"""The type of what an operator signs."""
REWRITES = "expunge-rewrites"
"""The header of a message that was published in the place of one that was set aside: the letter's id."""

DEAD_LETTERS = "dead-letters"
GONE = "its message is there no more, and the letter does not hold it"


class Settling:
    """What an operator does about dead letters."""

    def __init__(self, expunge: Installation) -> None:
        self._expunge, self._prefix = expunge, expunge.settings.prefix
        self._operator = self._why = ""
        self._sender: Publishing | None = None

    def payload(self, letter: Letter) -> bytes | None:
        """What was sealed in a letter, which is read where it lies; None: nothing was, or it is there no more."""
        if letter.said.sealed is None:
            return None
        found = self._expunge.broker.record_at(self._prefix + DEAD_LETTERS, *letter.place)
        event = decode(found, max_bytes=2 * MAX_DEAD_LETTER_BYTES) if found is not None else None
        if event is None or event.id != letter.id:
            return None
        topic, partition, offset = letter.lies
        part = "/" + letter.said.where.split(".")[2] if letter.is_part else ""
        return self._expunge.vault.open_dead_letter(f"{topic}/{partition}/{offset}{part}", event.data["sealed"])

    def begin(self, operator: str, why: str, chosen: Sequence[Letter]) -> None:
        """Say on the ledger who has which letters handled once more, and why.

        Raises:
            ConfigurationError: see `spoken`.
        """
        digest = self._expunge.keys.content("\n".join(each.id for each in chosen).encode())
        self._sender = announced(self._expunge, DEAD_LETTERS, digest, operator, why)
        declared = self._expunge.settings.registry().operator(operator)
        self._operator, self._why = declared.identity if declared else operator, why

    def redrive(self, letter: Letter) -> str:
        """Handle the message of a letter once more; why it is set aside again, empty where it is not."""
        record = self._message(letter)
        if record is None:
            return GONE
        said = self._forecast(record)
        if said is None:
            return f"it lay on {record.topic}, which is no inlet"
        if letter.id in said.letters:
            return letter.said.reason
        if said.outcome in {Outcome.DEAD_LETTER, Outcome.POISON}:
            return ", ".join(said.why)
        Handling(self._inlets, self._announced(), {letter.called}).handle(record)
        self._settle(letter, Fate.REDRIVEN)
        return ""

    def rewrite(self, letter: Letter, edit: Callable[[bytes], bytes]) -> str:
        """Publish what a person makes of the message on its inlet; why that cannot be, empty where it was done.

        Raises:
            ConfigurationError: what they make of it is no event, or was signed by somebody else.
        """
        record = self._message(letter)
        if record is None or record.value is None:
            return GONE
        raw = edit(record.value)
        try:
            event = envelope(raw)
        except InvalidMessage as error:
            raise ConfigurationError(
                f"what the editor left is no event ({error.reason}): nothing was published"
            ) from None
        if is_signed(event):
            raise ConfigurationError("it is signed: whoever has said it must say it anew, and nobody can rewrite it")
        now = SystemClock().now()
        said = self._forecast(replace(record, value=raw, appended_at=now))
        if said is None or said.outcome in {Outcome.DEAD_LETTER, Outcome.POISON}:
            return ", ".join(said.why) if said else f"it lay on {record.topic}, which is no inlet"
        sender = self._announced()
        sender.headers.append((REWRITES, letter.id.encode()))
        key = (record.key or event.id.encode()).decode(errors="replace")
        sender.publish([Outgoing(record.topic, key, AsReceived(event.type, event.source, event.id, now, {}, raw))])
        self._settle(letter, Fate.REWRITTEN)
        return ""

    def discard(self, letter: Letter, identity: str, why: str, word: Envelope | None) -> None:
        """Say of a letter that its message is not to be handled: on the ledger first, then where letters lie."""
        topic, partition, offset = letter.lies
        now = SystemClock().now()
        fact = Discarded(
            letter=letter.id, topic=topic, partition=partition, offset=offset, operator=identity, reason=why, word=word
        )
        self._expunge.sender.publish([discarded(fact, now)])
        self._expunge.sender.publish([settled(letter, Fate.DISCARDED, identity, why, now)])

    def _settle(self, letter: Letter, fate: Fate) -> None:
        word = settled(letter, fate, self._operator, self._why, SystemClock().now())
        self._expunge.sender.publish([word])

    def _forecast(self, record: Record) -> Forecast | None:
        """What handling a record would do; None: no role takes in what lies on its topic."""
        if role_of(record.topic) not in INLET_ROLES:
            return None
        return self._forecaster.of(record, SystemClock().now())

    @cached_property
    def _forecaster(self) -> Forecaster:
        return self._expunge.forecaster()

    @cached_property
    def _inlets(self) -> list[Role]:
        return self._expunge.inlets(Uncounted())

    def _announced(self) -> Publishing:
        if self._sender is None:
            raise RuntimeError("letters: handled before that was announced")
        return self._sender

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
        payload = None if letter.is_part else self.payload(letter)
        return record_of(letter, self._prefix, payload) if payload is not None else None

    def _is_its(self, letter: Letter, found: Record) -> bool:
        """Where a part, or what a message says, was set aside, its digest is not the message's own."""
        whole = letter.said.sealed is not None and not letter.is_part
        return not whole or self._expunge.keys.content(found.value or b"") == letter.said.digest
