"""Handling messages once more in an operator's name: the fact first, then message by message, not too fast."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from expunge.adapters.sender import REPLAY
from expunge.adapters.system import StopWaiter, SystemClock
from expunge.bootstrap import Installation
from expunge.cli.signing import signed
from expunge.cli.words import refuse_unless_declared
from expunge.domain.events import EARLIEST, Event, Record
from expunge.domain.signatures import Envelope
from expunge.errors import ConfigurationError
from expunge.replay.handling import Handling
from expunge.replay.letters import Letter, letters
from expunge.replay.looking import Uncounted
from expunge.serve import keep_policy
from expunge.wire.operations import Replayed, replayed

ROLE = "replay"
"""What an operator must be declared for."""
MOST_REASON = 500
SAID = "expunge.messages.replayed.v1"


class Pace:
    """So many messages a second at most: whatever else goes on comes first."""

    def __init__(self, per_second: float) -> None:
        self._pause, self._clock, self._waiter = 1 / per_second, SystemClock(), StopWaiter(threading.Event())
        self._next = self._clock.seconds()

    def wait(self) -> None:
        """Wait until the next message's turn."""
        ahead = self._next - self._clock.seconds()
        if ahead > 0:
            self._waiter.wait(ahead)
        self._next = max(self._next, self._clock.seconds()) + self._pause


@dataclass(frozen=True, slots=True)
class Speaker:
    """An operator who has something done, and why; `why` is the option with which they say so."""

    expunge: Installation = field(repr=False)
    operator: str
    reason: str
    why: str = "--reason"

    def refuse_unless_declared(self) -> None:
        """Look before anything is read or done.

        Raises:
            ConfigurationError: they are not declared for this, or give no reason.
        """
        if not self.operator:
            raise ConfigurationError("--operator NAME is needed: the ledger says who had it done")
        refuse_unless_declared(self.expunge, self.operator, ROLE)
        if not self.reason.strip():
            raise ConfigurationError(f"{self.why} TEXT is needed: whoever reads the ledger asks why")

    @property
    def identity(self) -> str:
        """How they stand in the ledger."""
        declared = self.expunge.settings.registry().operator(self.operator)
        return declared.identity if declared else self.operator

    def said(self, kind: str, what: Mapping[str, object]) -> dict[str, Any]:
        """Who says it and why, as facts have it; with what they have signed, where they are declared with a key.

        Raises:
            ConfigurationError: see `refuse_unless_declared`; or their key is not at hand.
        """
        self.refuse_unless_declared()
        why = self.reason.strip()[:MOST_REASON]
        data = {**what, "operator": self.operator, "reason": why}
        event = Event(kind, f"/operators/{self.operator}", f"cli-{uuid.uuid4()}", SystemClock().now(), data)
        declared = self.expunge.settings.registry().operator(self.operator)
        message = signed(self.expunge, declared, event)
        word = Envelope.model_validate(message.data) if message is not event else None
        return {"operator": self.identity, "reason": why, "word": word}


class Replay:
    """One replay: it is said on the ledger before its first message is handled, and not where none is.

    Args:
        speaker: who has it done.
        topic: whose messages are handled once more; without the prefix.
        selection: what was asked for, in bytes.
        known: the ids of dead letters that need not be written again.
        per_second: so many messages at most.
    """

    def __init__(
        self, speaker: Speaker, topic: str, selection: bytes, known: Collection[str], per_second: float
    ) -> None:
        speaker.refuse_unless_declared()
        self._speaker, self._expunge, self._pace = speaker, speaker.expunge, Pace(per_second)
        self._topic, self._selection, self._known = topic, self._expunge.keys.content(selection), known

    def handle(self, record: Record) -> None:
        """Handle a record as its role does."""
        self._pace.wait()
        self._handling.handle(record)

    @cached_property
    def _handling(self) -> Handling:
        """Says that it begins; every message that comes of it says in a header which replay it is of."""
        said = {"replay": uuid.uuid4().hex, "topic": self._topic, "selection": self._selection}
        fact = Replayed.model_validate({**said, **self._speaker.said(SAID, said)})
        self._expunge.sender.publish([replayed(fact, SystemClock().now())])
        keep_policy(self._expunge)  # requests are bound to this one from here on
        sender = self._expunge.another_sender()
        sender.headers.append((REPLAY, fact.replay.encode()))
        return Handling(self._expunge.inlets(Uncounted()), sender, self._known)


def every_letter(expunge: Installation, since: datetime = EARLIEST) -> list[Letter]:
    """The dead letters that were written since a moment: a message is older than its letter."""
    return letters(expunge.since("dead-letters", since))
