"""The form of a message without what it says: a person can see what is wrong with it, and nobody whom it is about.

Names of fields may name people, too: those that Expunge does not know are counted.
"""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel

from expunge.domain.signatures import PLAIN, SIGNED
from expunge.wire.controls import CONTROLS
from expunge.wire.probes import ANSWERED, ProbeAnswered
from expunge.wire.receipts import RECEIPT, PurgeReceipted
from expunge.wire.registrations import REGISTRATIONS
from expunge.wire.requests import GRANT, LIFT, REQUESTS, ConsentGranted, RestrictionLifted

INLETS: dict[str, type[BaseModel]] = {
    **{kind: model for kind, (_, model) in REQUESTS.items()},
    **{kind: model for kind, (_, model) in CONTROLS.items()},
    **REGISTRATIONS,
    GRANT: ConsentGranted,
    LIFT: RestrictionLifted,
    RECEIPT: PurgeReceipted,
    ANSWERED: ProbeAnswered,
}
"""What may lie on inlets, by type."""
ENVELOPE = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "data"})


def form_of(said: object) -> object:
    """Fields that Expunge knows, and of which sort their values are; of a list the first element.

    Args:
        said: a message, as JSON has it.
    """
    if isinstance(said, dict):
        known = {name: _value(name, value) for name, value in said.items() if name in _fields()}
        others = len(said) - len(known)
        return known | ({f"<{others} other fields>": "<hidden>"} if others else {})
    if isinstance(said, list):
        return [form_of(said[0]), f"<{len(said) - 1} more>"] if len(said) > 1 else [form_of(each) for each in said]
    return f"<{type(said).__name__}>"


def _value(name: str, value: object) -> object:
    """The type of an event is no secret where it is one of Expunge's."""
    is_known = isinstance(value, str) and value.replace(SIGNED, PLAIN) in INLETS
    return value if name == "type" and is_known else form_of(value)


@cache
def _fields() -> frozenset[str]:
    """Every field that messages on inlets may have."""
    return ENVELOPE.union(*(_properties(model.model_json_schema()) for model in INLETS.values()))


def _properties(schema: object) -> set[str]:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = schema.get("properties") if isinstance(schema, dict) else None
    return set(own if isinstance(own, dict) else ()).union(*map(_properties, parts))
