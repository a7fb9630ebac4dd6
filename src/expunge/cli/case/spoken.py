"""Who said what of a case, and why: operators' words as they stand on the topic of controls, while it keeps them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from expunge.bootstrap import Installation
from expunge.domain import signatures
from expunge.domain.admission.controls import content_of
from expunge.domain.aggregates.case.state import Case
from expunge.domain.events import AHEAD_AT_MOST, CloudEvent, Record, decode
from expunge.domain.limits import MAX_PAYLOAD_BYTES
from expunge.errors import InvalidMessage
from expunge.wire import inlets
from expunge.wire.controls import CONTROLS, KNOWN_FIELDS

MOST_SHOWN = 500
"""Characters: what was refused at the door may be of any length."""


class Spoken(NamedTuple):
    """An operator's word about a case."""

    at: datetime
    who: str
    what: str
    """`plan approved`, `deadline extended`, `obligation decided: exempt`."""
    why: str
    heard: bool
    """Whether the case has taken it; it has not while it is on its way, or where it changed nothing."""


def spoken(expunge: Installation, case: Case) -> list[Spoken]:
    """Every word about a case that the topic of controls still holds, oldest first.

    Those about plans that waited together are among them, where they have let its plan go, or ended it.
    """
    reader = expunge.reader(["controls"], case.opened_at - AHEAD_AT_MOST)
    try:
        return sorted(word for record in reader.to_the_end() if (word := _word(expunge, case, record)))
    finally:
        reader.close()


def forgotten_before(expunge: Installation, case: Case, now: datetime) -> datetime | None:
    """Before which moment the topic of controls may have lost words about a case; None: it still has all."""
    (controls,) = (topic for topic in expunge.settings.topics() if topic.name == "controls")
    kept_since = now - timedelta(milliseconds=controls.retention_ms)
    return kept_since if case.opened_at < kept_since else None


def _word(expunge: Installation, case: Case, record: Record) -> Spoken | None:
    """A record as a word about the case; None where it is about something else, or nobody can read it."""
    try:
        came = decode(record, max_bytes=MAX_PAYLOAD_BYTES)
        event = signatures.carried(came)
    except InvalidMessage:
        return None
    data = event.data
    if not isinstance(data, dict):
        return None
    heard = _content(expunge, event, record) in case.controls
    if data.get("case_id") != case.case_id and not heard:
        return None
    if not heard and not _is_theirs(expunge, came):
        return None
    why = str(data.get("reason") or data.get("rationale") or "")[:MOST_SHOWN]
    return Spoken(record.appended_at, *_who_and_what(event), why, heard)


def _is_theirs(expunge: Installation, came: CloudEvent) -> bool:
    """Whether somebody who is declared has signed what is signed: else it says nothing of who has said it."""
    try:
        signatures.opened(came, expunge.settings.registry().public_keys)
    except InvalidMessage:
        return False
    return True


def _content(expunge: Installation, event: CloudEvent, record: Record) -> str:
    """How whoever has taken a word calls it, whoever is declared by now; empty where nobody can have taken it."""
    if event.type not in CONTROLS:
        return ""
    try:
        said = inlets.read(CONTROLS[event.type][1], event, record.appended_at, KNOWN_FIELDS)
        return content_of(expunge.keys, said, event.type, event.id)
    except InvalidMessage:  # anybody may write to the topic of controls
        return ""


def _who_and_what(event: CloudEvent) -> tuple[str, str]:
    option = event.data.get("option")
    what = " ".join(event.type.removeprefix("expunge.").split(".")[:2])
    who = str(event.data.get("operator", ""))[:MOST_SHOWN]
    return who, (f"{what}: {option}" if option else what)[:MOST_SHOWN]
