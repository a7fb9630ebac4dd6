"""The door: requests, controls and receipts in; cases out. Stateless."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from expunge.domain.admission import controls, receipts
from expunge.domain.admission.door import Door, Origin
from expunge.domain.admission.findings import finding
from expunge.domain.aggregates.standing import decide as hearing
from expunge.domain.events import AsReceived, CloudEvent, Outgoing, Record, decode
from expunge.domain.limits import MAX_ID_CHARACTERS, MAX_PASSED_BYTES
from expunge.domain.topics import INLETS_OF_ASSETS, carries_requests, read_by
from expunge.errors import InvalidMessage
from expunge.ports import Metrics, Progress, Refused, Result, Topics, Vault
from expunge.roles.admitting import admit, check_names, is_text, to_case
from expunge.roles.common import INTAKE as SOURCE
from expunge.roles.common import on_cases, plan_part, rejection
from expunge.roles.dead_letters import POISON, DeadLetters, froze
from expunge.wire.cases.case import RequestSetAside
from expunge.wire.cases.said import Place
from expunge.wire.cases.suppression import Published
from expunge.wire.cases.words import Control, HoldReadBack, HoldSaid, ThawSaid

RECEIPTS, FINDINGS = "receipts.", "findings."
SUPPRESSIONS = "suppressions"
HOLDS = "holds"
FOREIGN = "data.results.discovered.system"


class Intake:
    """See `ports.Role`."""

    name = "intake"
    keeps_time = True
    cuts_batches = False

    def __init__(self, door: Door, progress: Progress, topics: Topics, vault: Vault, metrics: Metrics) -> None:
        self._door, self._progress, self._vault = door, progress, vault
        self._topics = topics
        self._dead = DeadLetters(self.name, door, vault, metrics)
        self.topics = read_by(self.name, door.registry)

    def handle(self, batch: Sequence[Record]) -> Result:
        """Every record becomes an event of a case, or a dead letter and, where somebody can be told, a rejection."""
        watermark = self._progress.end_offsets() if any(carries_requests(r.topic) for r in batch) else {}
        outgoing: list[Outgoing] = []
        for record in batch:
            if record.topic.startswith(RECEIPTS):
                outgoing += self._receipt(record)
            elif record.topic.startswith(FINDINGS):
                outgoing += self._finding(record)
            elif record.topic == SUPPRESSIONS:
                outgoing += _read_back(record)
            elif record.topic == HOLDS:
                outgoing += _hold_read_back(record)
            else:
                outgoing += self._request(record, watermark)
        return Result((tuple(outgoing),))

    def write(self, result: Result) -> None:
        """Intake keeps no state."""

    def park(self, record: Record, error: str) -> Result:
        """See `ports.Role.park`: a case that was to hear of it is frozen."""
        dead, place = self._dead.parked(record, error), self._door.place_of(record)
        told = self._poisoned(record) if carries_requests(record.topic) else []
        return Result(((dead, *told, *froze(record, record.topic, error, place, SOURCE)),))

    def _poisoned(self, record: Record) -> list[Outgoing]:
        """What its publisher hears of a request that was set aside: who else would ask again?"""
        try:
            event = decode(record, max_bytes=len(record.value or b""))
        except InvalidMessage:
            return []
        about = self._refusal(event, record, InvalidMessage(POISON))
        if about is None:
            return []
        publisher, case_id, data = about
        said = RequestSetAside(case_id=case_id, publisher=publisher, rejection=data)
        return [on_cases(said, record.appended_at, SOURCE, record.place)]

    def refused(self, refused: Refused) -> Sequence[Outgoing]:
        """See `ports.Role.refused`."""
        return self._dead.refused(refused)

    def tick(self, partitions: Sequence[int], now: datetime) -> Sequence[Outgoing]:
        """Nothing is due here."""
        del partitions, now
        return ()

    def ticked(self) -> None:
        """See `ports.Role.ticked`."""

    def _request(self, record: Record, watermark: dict[str, dict[str, int]]) -> list[Outgoing]:
        event: CloudEvent | None = None
        try:
            event = decode(record)
            event, came = self._door.opened(event, record)
            if record.topic == "controls":
                return self._control(event, came)
            return admit(self._door, event, came, self._vault, watermark)
        except InvalidMessage as error:
            return [self._dead.of(record, error), *self._rejection(event, record, error)]

    def _control(self, event: CloudEvent, came: Origin) -> list[Outgoing]:
        """An operator's word, to its case or to every partition of `cases`."""
        check_names(event)
        word = controls.control(self._door, event, came)
        if isinstance(word, HoldSaid):  # what lies before it on the inlets may say what it covers
            hold = word.hold.model_copy(update={"watermark": self._progress.end_offsets()})
            word = word.model_copy(update={"hold": hold})
        if isinstance(word, ThawSaid) and any(self._is_registration(place) for place in word.places):
            word = word.model_copy(update={"watermark": self._progress.end_offsets()})
        if isinstance(word, Control):
            return [to_case(word, came.at, event.source, event.id)]
        cause, key = (event.source, event.id), hearing.word_of(word)
        return [
            on_cases(word, came.at, SOURCE, number, cause=cause, key=key, partition=number)
            for number in range(self._topics.partitions("cases"))
        ]

    def _is_registration(self, place: Place) -> bool:
        return place.topic in {self._door.prefix + name for name in INLETS_OF_ASSETS}

    def _rejection(self, event: CloudEvent | None, record: Record, error: InvalidMessage) -> list[Outgoing]:
        about = self._refusal(event, record, error)
        if about is None:
            return []
        publisher, case_id, data = about
        return [rejection(publisher, key=case_id, time=record.appended_at, data=data)]

    def _refusal(
        self, event: CloudEvent | None, record: Record, error: InvalidMessage
    ) -> tuple[str, str, dict[str, Any]] | None:
        """Who is told, the case that it would have been, and what is said; None where nobody can be told."""
        publisher = self._door.registry.publisher_of(event.source) if event else None
        if event is None or publisher is None:
            return None
        asked = event.data.get("request_id") if isinstance(event.data, dict) else None
        fits = isinstance(asked, str) and 0 < len(asked) <= MAX_ID_CHARACTERS and is_text(asked)
        request_id = str(asked) if fits else None
        said = {"source": event.source, "id": event.id, "request_id": request_id}
        said |= {"reason": error.reason, "where": error.where}
        data = said | self._door.place_of(record).model_dump()
        return publisher.name, self._door.keys.case(event.source, request_id or event.id), data

    def _receipt(self, record: Record) -> list[Outgoing]:
        system = record.topic.removeprefix(RECEIPTS)
        try:
            event, came = self._door.opened(decode(record), record)
            part = self._part_of(record)
            taken, foreign = receipts.receipt(self._door, event, came, system, part)
        except InvalidMessage as error:
            return [self._dead.of(record, error)]
        if receipts.names_replacement(taken):  # the case waits until the indexers have passed what there is
            taken = taken.model_copy(update={"watermark": self._progress.end_offsets()})
        told = to_case(taken, record.appended_at, event.source, event.id)
        if len(told.value or b"") > MAX_PASSED_BYTES:
            return [self._dead.of(record, InvalidMessage("too_large", "data.exceptions"))]
        whole = plan_part(self._topics, taken.case_id, part, _as_received(event, record))
        return [whole, told, *([self._dead.of(record, InvalidMessage("not_its_system", FOREIGN))] if foreign else ())]

    def _finding(self, record: Record) -> list[Outgoing]:
        """What a prober has found, to its case; the whole of it is kept as it came."""
        try:
            event, came = self._door.opened(decode(record), record)
            part = self._part_of(record)
            taken = finding(self._door, event, came, record.topic.removeprefix(FINDINGS), part)
        except InvalidMessage as error:
            return [self._dead.of(record, error)]
        told = to_case(taken, record.appended_at, event.source, event.id)
        if len(told.value or b"") > MAX_PASSED_BYTES:
            return [self._dead.of(record, InvalidMessage("too_large", "data.results"))]
        return [plan_part(self._topics, taken.case_id, part, _as_received(event, record)), told]

    def _part_of(self, record: Record) -> str:
        """Under which name a message is kept as it came among the parts of its case."""
        return f"received:{self._door.keys.content(record.value or b'')}"


def _as_received(event: CloudEvent, record: Record) -> AsReceived:
    return AsReceived(event.type, event.source, event.id, record.appended_at, {}, record.value or b"")


def _read_back(record: Record) -> list[Outgoing]:
    """What stands on `suppressions`, told to its owner, who may know more (rule "nothing overwritten").

    Expunge alone writes there, but a process that has lost its partition may still write something old; what cannot be
    read is older than anything.
    """
    try:
        read = Published.model_validate({"suppression": (record.key or b"").decode(), "sequence": 0, "lifted": True})
        if record.value is not None:
            read = Published.model_validate(
                {"suppression": read.suppression, "sequence": decode(record).data["sequence"]}, strict=True
            )
    except (ValueError, KeyError, TypeError, InvalidMessage):
        return []
    return [on_cases(read, record.appended_at, SOURCE, read.suppression, record.place)]


def _hold_read_back(record: Record) -> list[Outgoing]:
    """What stands on `holds`, told to its owner; see `_read_back`."""
    try:
        data = decode(record).data
        read = HoldReadBack(hold_id=(record.key or b"").decode(), sequence=data["sequence"])
    except (ValueError, KeyError, TypeError, InvalidMessage):
        return []
    return [on_cases(read, record.appended_at, SOURCE, read.hold_id, record.place, key=read.hold_id)]
