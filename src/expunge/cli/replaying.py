"""Handling messages once more in an operator's name: the fact first, then message by message, not too fast."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from expunge.adapters.sender import REPLAY, Publishing
from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.signing import signed
from expunge.cli.words import refuse_unless_declared
from expunge.domain.digest import name
from expunge.domain.events import EARLIEST, Event, Record
from expunge.domain.signatures import Envelope
from expunge.errors import ConfigurationError
from expunge.replay.handling import Handling
from expunge.replay.letters import Letter, letters
from expunge.replay.looking import Uncounted
from expunge.replay.selection import Selection
from expunge.serve import keep_policy
from expunge.wire.operations import Replayed, replayed

ROLE = "replay"
"""What an operator must be declared for."""
MOST_REASON = 500
SAID = "expunge.messages.replayed.v1"


class Replay:
    """One replay, which is announced on the ledger before its first message is handled.

    Args:
        expunge: the installation.
        selection: what is handled once more.
        known: the dead letters that there are.
        operator: who has it done.
        reason: why.
        per_second: so many messages at most.

    Raises:
        ConfigurationError: the operator is not declared for this, or gives no reason.
    """

    def __init__(
        self,
        expunge: Installation,
        selection: Selection,
        known: Sequence[Letter],
        operator: str,
        reason: str,
        per_second: float,
    ) -> None:
        digest = expunge.keys.content(repr(selection).encode())
        sender = announced(expunge, selection.topic, digest, operator, reason)
        self._handling = Handling(expunge.inlets(Uncounted()), sender, {each.called for each in known})
        self._pause, self._clock, self._waiter = 1 / per_second, SystemClock(), StopWaiter(threading.Event())
        self._next = self._clock.seconds()

    def handle(self, record: Record) -> None:
        """Handle a record as its role does."""
        ahead = self._next - self._clock.seconds()
        if ahead > 0:
            self._waiter.wait(ahead)
        self._next = max(self._next, self._clock.seconds()) + self._pause
        self._handling.handle(record)


def every_letter(expunge: Installation, since: datetime = EARLIEST) -> list[Letter]:
    """The dead letters that were written since a moment: a message is older than its letter."""
    return letters(expunge.since("dead-letters", since))


def announced(expunge: Installation, topic: str, selection: str, operator: str, reason: str) -> Publishing:
    """Put the fact of a replay on the ledger; a producer whose every message says in a header which replay it is of.

    Raises:
        ConfigurationError: the operator is not declared for this, or gives no reason.
    """
    said = {"topic": topic, "selection": selection}
    identity, why, word = spoken(expunge, SAID, said, operator, reason)
    now = SystemClock().now()
    called = name(SAID, identity, selection, str(now), uuid.uuid4().hex)
    fact = Replayed(replay=called, operator=identity, reason=why, word=word, **said)
    expunge.sender.publish([replayed(fact, now)])
    keep_policy(expunge)  # requests are bound to this one from here on
    sender = expunge.another_sender()
    sender.headers.append((REPLAY, called.encode()))
    return sender


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
