"""What handling a message once more would do. Nothing is guessed: the roles themselves decide, and nothing is kept.

The role of the inlet handles the record as it came, with the moment at which it was appended; what it would say to
cases is decided on by a coordinator over the state as it is now. Neither writes, and nothing that they say is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from expunge.domain.aggregates.retraining.state import Retraining
from expunge.domain.events import CONTENT_TYPE, Outgoing, Position, Record
from expunge.domain.topics import role_of
from expunge.errors import ExpungeError, Fenced, InvalidMessage
from expunge.ports import CaseStore, Changes, Role
from expunge.replay.known import Known
from expunge.replay.looking import LookingIndex
from expunge.roles.coordinator.view import View
from expunge.wire import ledger, operations
from expunge.wire.cases.case import HoldingKnown, Late, Receipted
from expunge.wire.cases.table import TYPE_OF

INLET_ROLES = ("intake", "indexer")
TRIES = 5
"""So often a case is decided on anew that somebody else has changed meanwhile."""
BUSY = "its case changes all the time"


class Outcome(StrEnum):
    """What it comes to. Of several that one message leads to, the first of these is told."""

    OPENS = "opens"
    """A case begins."""
    REOPENS = "reopens"
    """A case that had ended goes on."""
    LATE = "late"
    """An asset turns up that a case has not commanded."""
    CHANGES = "changes"
    """A case, a hold, a pause or a suppression changes in another way."""
    WAITS = "waits"
    """A case is frozen, and the message would wait for it."""
    INDEXES = "indexes"
    """The index learns something, and no case hears of it."""
    DEAD_LETTER = "dead_letter"
    """It is set aside, or a part of it."""
    POISON = "poison"
    """Its role cannot handle it at all."""
    ASIDE = "set_aside"
    """It was set aside, and an operator has not had it handled since: that is said of its dead letter."""
    NOTHING = "nothing"
    """It was handled, and nothing is left to be done."""
    UNREAD = "unread"
    """Its role has not come to it yet: it will be handled anyway."""


SEVERITY = list(Outcome)
LATE = frozenset({TYPE_OF[Late], TYPE_OF[HoldingKnown]})
"""What cases hear of assets and holdings that turn up."""
SAID_ON = frozenset({TYPE_OF[HoldingKnown], TYPE_OF[Receipted]})
"""What a decision without a fact may still say to others: the next page of cases, members of a joint command."""


class Forecast(NamedTuple):
    """What one message would do."""

    outcome: Outcome
    cases: tuple[str, ...] = ()
    """The cases that it is for."""
    why: tuple[str, ...] = ()
    """The facts that would be said of them, or why it would be set aside."""
    letters: tuple[str, ...] = ()
    """The ids of the dead letters that would be written, whatever else comes of it."""


class Forecaster:
    """Asks the roles, over stores that nothing is written to."""

    def __init__(
        self, intake: Role, indexer: Role, coordinator: Role, store: CaseStore, index: LookingIndex, known: Known
    ) -> None:
        # index: that of the indexer and the coordinator. known: over what is really there.
        self._inlets: Mapping[str, Role] = {intake.name: intake, indexer.name: indexer}
        self._coordinator, self._store, self._index, self._known = coordinator, store, index, known

    def of(self, record: Record, now: datetime) -> Forecast:
        """What handling a record once more would do.

        Args:
            record: as it lies on its topic, which is named without the prefix.
            now: when what it leads to would be appended.

        Raises:
            InvalidMessage: no role takes in what lies on that topic.
        """
        try:
            return self._of(record, now)
        except ExpungeError:
            raise
        except Exception as error:  # noqa: BLE001 - what ends a role must not end whoever looks for it
            return Forecast(Outcome.POISON, why=(type(error).__name__,))

    def _of(self, record: Record, now: datetime) -> Forecast:
        role = self._inlets.get(role_of(record.topic) or "")
        if role is None:
            raise InvalidMessage("no_inlet", record.topic)
        self._index.news = 0
        outgoing = _all(role.handle([record]).waves)
        is_known = not self._index.news
        found = [] if is_known else [Forecast(Outcome.INDEXES)]
        found += [_dead(each) for each in outgoing if each.topic == "dead-letters"]
        said = deque(each for each in outgoing if each.topic == "cases")
        while said:  # and what is said on to others, such as the next page of cases
            message = said.popleft()
            if is_known and self._known.has_heard(message):
                continue
            forecast, on = self._decided(message, now, is_known=is_known)
            found.append(forecast)
            said += on
        return _worst(found)

    def _decided(self, message: Outgoing, now: datetime, *, is_known: bool) -> tuple[Forecast, list[Outgoing]]:
        for _ in range(TRIES):
            try:
                return self._heard(message, now, is_known=is_known)
            except Fenced:
                continue
        return Forecast(Outcome.WAITS, (message.key,), (BUSY,)), []

    def _heard(self, message: Outgoing, now: datetime, *, is_known: bool) -> tuple[Forecast, list[Outgoing]]:
        """What a coordinator would do that heard a message, and what it would say on of that."""
        key = message.key
        number = self._known.home(message)
        before = self._store.positions([number])[number]
        at = before._replace(offset=before.offset + 1) if before else Position(0, 0)
        record = Record("cases", number, at, now, key.encode(), message.value, CONTENT_TYPE)
        result = self._coordinator.handle([record])
        outgoing = _all(result.waves)
        found = [_dead(each, key) for each in outgoing if each.topic == "dead-letters"]
        found += [
            _told(each.key, facts, is_late=_type(message) in LATE)
            for each in outgoing
            if each.topic == "ledger" and (facts := _facts(each))
            if not (is_known and self._known.has_asked(each.key, message))
        ]
        found += [self._kept(number, key, view.changes) for view in result.writes.values() if isinstance(view, View)]
        return _worst(found, key), [each for each in outgoing if each.topic == "cases" and _type(each) in SAID_ON]

    def _kept(self, number: int, key: str, changes: Changes) -> Forecast:
        """What would be written of what has no facts, as cases have; a batch carries what it has not changed, too."""
        if any(case == key for case, _ in changes.set_aside):
            return Forecast(Outcome.WAITS, (key,))
        reader = self._store.reader(number)
        changed = (
            *(reader.suppression(name) != each for name, each in changes.suppressions.items()),
            *(reader.rate(name) != each for name, each in changes.rates.items()),
            *(not _is_same(reader.retraining(name), each) for name, each in changes.retrainings.items()),
            changes.standing is not None and changes.standing != reader.standing,
        )
        return Forecast(Outcome.CHANGES if any(changed) else Outcome.NOTHING, (key,))


def _all(waves: Iterable[tuple[Outgoing, ...]]) -> list[Outgoing]:
    return [each for wave in waves for each in wave]


def _type(message: Outgoing) -> str:
    return message.event.type if message.event is not None else ""


def _is_same(before: Retraining | None, after: Retraining) -> bool:
    """Whether something is as it was, but for the moment of the last message."""
    return before is not None and before.model_copy(update={"now": after.now}) == after


def _dead(letter: Outgoing, *cases: str) -> Forecast:
    event = letter.event
    reason, called = (event.data["reason"], event.id) if event else ("", "")
    return Forecast(Outcome.DEAD_LETTER, cases, (reason,), (called,))


def _facts(message: Outgoing) -> list[str]:
    said: dict[str, Any] = orjson.loads(message.value or b"{}")
    return [each["type"].removeprefix(operations.PREFIX).removesuffix(".v1") for each in ledger.facts_of(said)]


def _told(key: str, facts: Sequence[str], *, is_late: bool) -> Forecast:
    if "opened" in facts:
        outcome = Outcome.OPENS
    elif "reopened" in facts:
        outcome = Outcome.REOPENS
    else:
        outcome = Outcome.LATE if is_late else Outcome.CHANGES
    return Forecast(outcome, (key,), tuple(dict.fromkeys(facts)))


def _worst(found: Sequence[Forecast], *cases: str) -> Forecast:
    if not found:
        return Forecast(Outcome.NOTHING, cases)
    worst = min(found, key=lambda each: SEVERITY.index(each.outcome))
    about = [each for each in found if each.outcome is worst.outcome]
    return Forecast(
        worst.outcome,
        tuple(dict.fromkeys(case for each in found for case in each.cases)),
        tuple(dict.fromkeys(why for each in about for why in each.why)),
        tuple(called for each in found for called in each.letters),
    )
