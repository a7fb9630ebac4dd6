"""Handling messages once more in an operator's name: the fact first, then message by message, not too fast."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping

from expunge.adapters.sender import REPLAY, Compression, Publishing
from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.signing import signed
from expunge.cli.words import refuse_unless_declared
from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Record
from expunge.domain.signatures import Envelope
from expunge.errors import ConfigurationError
from expunge.replay.handling import Handling
from expunge.replay.letters import letters
from expunge.replay.looking import Uncounted
from expunge.replay.selection import Selection
from expunge.serve import keep_policy
from expunge.wire.operations import Replayed, replayed

ROLE = "replay"
"""What an operator must be declared for."""
MOST_REASON = 500
SAID = "expunge.messages.replayed.v1"


class Replay:
    """One replay, which has been announced on the ledger."""

    def __init__(self, expunge: Installation, called: str, per_second: float) -> None:
        self._pause, self._clock, self._waiter = 1 / per_second, SystemClock(), StopWaiter(threading.Event())
        self._next = self._clock.seconds()
        known = {(*each.lies, each.said.reason) for each in letters(expunge.since("dead-letters", EARLIEST))}
        self._sender = sender_of(expunge, called)
        self._handling = Handling(expunge.inlets(Uncounted()), self._sender, known)

    @classmethod
    def begun(
        cls, expunge: Installation, selection: Selection, operator: str, reason: str, per_second: float
    ) -> Replay:
        """Say on the ledger who has what handled once more, and why, before the first message is.

        Raises:
            ConfigurationError: the operator is not declared for this, or gives no reason.
        """
        digest = expunge.keys.content(repr(selection).encode())
        called = announce(expunge, selection.topic, digest, operator, reason)
        keep_policy(expunge)  # requests are bound to this one from here on
        return cls(expunge, called, per_second)

    def handle(self, record: Record) -> None:
        """Handle a record as its role does."""
        ahead = self._next - self._clock.seconds()
        if ahead > 0:
            self._waiter.wait(ahead)
        self._next = max(self._next, self._clock.seconds()) + self._pause
        self._handling.handle(record)


def announce(expunge: Installation, topic: str, selection: str, operator: str, reason: str) -> str:
    """Put the fact of a replay on the ledger; what the replay is called.

    Raises:
        ConfigurationError: the operator is not declared for this, or gives no reason.
    """
    said = {"topic": topic, "selection": selection}
    identity, why, word = spoken(expunge, SAID, said, operator, reason)
    now = SystemClock().now()
    called = name(SAID, identity, selection, str(now), uuid.uuid4().hex)
    fact = Replayed(replay=called, operator=identity, reason=why, word=word, **said)
    expunge.sender.publish([replayed(fact, now)])
    return called


def spoken(
    expunge: Installation, kind: str, said: Mapping[str, object], operator: str, reason: str
) -> tuple[str, str, Envelope | None]:
    """How an operator stands in the ledger, why they say something, and what they have signed.

    Raises:
        ConfigurationError: they are not declared for this, give no reason, or their key is not at hand.
    """
    if not operator:
        raise ConfigurationError("--operator NAME is needed: the ledger says who had it done")
    refuse_unless_declared(expunge, operator, ROLE)
    why = reason.strip()[:MOST_REASON]
    if not why:
        raise ConfigurationError("--reason TEXT is needed: whoever reads the ledger asks why")
    declared = expunge.settings.registry().operator(operator)
    data = {**said, "operator": operator, "reason": why}
    event = Event(kind, f"/operators/{operator}", f"cli-{uuid.uuid4()}", SystemClock().now(), data)
    message = signed(expunge, declared, event)
    word = Envelope.model_validate(message.data) if message is not event else None
    return declared.identity if declared else operator, why, word


def sender_of(expunge: Installation, called: str) -> Publishing:
    """A producer whose every message says in a header which replay it is of."""
    kafka = expunge.settings.kafka
    sender = expunge.broker.sender(Compression(kafka.compression, kafka.compression_for_others))
    sender.headers.append((REPLAY, called.encode()))
    return sender
