"""What an event from outside says on `cases`, whichever way it came: on a topic, by HTTP, in a test.

Whoever admits requests must keep the policy first that they are bound to (`serve.keep_policy`), and must know who it is
that speaks: a source that an event names is no proof. On topics the broker's access lists are.
"""

from __future__ import annotations

from datetime import datetime

from expunge.domain.admission import requests
from expunge.domain.admission.door import Door, Origin
from expunge.domain.events import CloudEvent, Outgoing
from expunge.domain.limits import MAX_PASSED_BYTES
from expunge.errors import InvalidMessage
from expunge.ports import Vault
from expunge.roles.common import INTAKE, on_cases, suppress_message
from expunge.wire.cases.case import ProbeAnswered, Receipted, RequestTaken
from expunge.wire.cases.words import Control
from expunge.wire.requests import GRANT, LIFT


def admit(
    door: Door, event: CloudEvent, came: Origin, vault: Vault, watermark: dict[str, dict[str, int]]
) -> list[Outgoing]:
    """What a publisher's event leads to: the root of a case, or words for suppressions.

    Args:
        door: who is declared, and the keys.
        event: a request, a grant, or the end of a restriction.
        came: when, and where it lies; what lies nowhere has partition and offset -1.
        vault: seals whom it is about, and draws the salt.
        watermark: the ends of the registration inlets when it came.

    Raises:
        InvalidMessage: what is wrong, by field.
    """
    check_names(event)
    publisher = door.publisher(event, came)
    if event.type in {GRANT, LIFT}:
        if publisher.key:  # it is no case that would know it again
            door.refuse_stale(event, came)
        words = requests.granted if event.type == GRANT else requests.lifted
        return [suppress_message(each, came.at, INTAKE) for each in words(door, event, publisher, came.at)]
    root = requests.request(
        door, event, publisher, came, seal_for=vault.seal_for, salt=vault.salt(), watermark=watermark
    )
    told = to_case(RequestTaken(case_id=root.case_id, root=root), came.at, event.source, event.id)
    if len(told.value or b"") > MAX_PASSED_BYTES:
        raise InvalidMessage("too_large", "data")
    return [told]


def check_names(event: CloudEvent) -> None:
    """See that an event is named by text: ids of what it leads to are made of that.

    Raises:
        InvalidMessage: it is not.
    """
    if not is_text(event.source + event.id):
        raise InvalidMessage("not_a_cloudevent", "source and id")


def is_text(value: str) -> bool:
    """Whether a string is Unicode text: JSON can carry halves of characters."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)  # noqa: PLR2004 - the surrogates


def to_case(
    message: RequestTaken | Receipted | ProbeAnswered | Control, time: datetime, source: str, cause: str
) -> Outgoing:
    """An event on `cases`, named by what caused it (rule "time and ids")."""
    return on_cases(message, time, INTAKE, message.case_id, cause=(source, cause), whole=False)
