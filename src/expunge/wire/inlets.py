"""Reading what others say: data of an event as its model, and nothing personal in what is said of mistakes."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from pydantic import (
    BaseModel,
    ValidationError,
)

from expunge.domain.events import NOW, CloudEvent, field_of
from expunge.errors import InvalidMessage
from expunge.wire.form import Identity
from expunge.wire.probes import Found, ProbeAnswered
from expunge.wire.receipts import Answer, Discovered, Outcome, PurgeReceipted, Replacement
from expunge.wire.registrations import REGISTRATIONS, NamedIdentity
from expunge.wire.requests import REQUESTS, ConsentGranted, Matter, MatterProvision, Requester

M = TypeVar("M", bound=BaseModel)

LATER_FIELDS = frozenset({"window"})
"""Fields of requests that this version does not carry out."""


def _fields(model: type[BaseModel]) -> set[str]:
    """Names of the fields of a model and of the models within."""
    names = set(model.model_fields)
    for inner in (
        Identity,
        NamedIdentity,
        Requester,
        Matter,
        MatterProvision,
        Answer,
        Outcome,
        Replacement,
        Discovered,
        Found,
    ):
        names |= set(inner.model_fields)
    return names


KNOWN_FIELDS: frozenset[str] = LATER_FIELDS.union(
    *(_fields(model) for _, model in REQUESTS.values()),
    *map(_fields, REGISTRATIONS.values()),
    _fields(PurgeReceipted),
    _fields(ProbeAnswered),
    _fields(ConsentGranted),
)
"""Names that may be repeated in a rejection; any other may be personal."""


def read(model: type[M], event: CloudEvent, now: datetime, known: frozenset[str] = KNOWN_FIELDS) -> M:
    """The data of an event as its model.

    Args:
        model: what it must be.
        event: the event.
        now: when it was appended; no date may lie more than a hundred years beyond that.
        known: names of fields that may be repeated in a rejection.

    Raises:
        InvalidMessage: a field is missing, wrong, unknown, or not carried out; the text names the field only.
    """
    return check(model, event.data, known, now)


def check(model: type[M], data: object, known: frozenset[str] = KNOWN_FIELDS, now: datetime | None = None) -> M:
    """`data` as `model`; see `read`."""
    if not isinstance(data, dict):
        raise InvalidMessage("wrong_type", "data")
    try:
        return model.model_validate(data, context={NOW: now})
    except ValidationError as error:
        kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
        where = f"data.{field_of(error, known)}"
        if kind == "extra_forbidden":
            later = error.errors(include_url=False, include_input=False)[0]["loc"][0] in LATER_FIELDS
            raise InvalidMessage("not_carried_out" if later else "unknown_field", where) from None
        raise InvalidMessage("missing_field" if kind == "missing" else "bad_field", where) from None
