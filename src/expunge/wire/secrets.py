"""Which secrets people's names have been made with: on `plans`, so that an empty Redis is not made anew with others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson

from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, Record
from expunge.domain.values import Hex, Value

SECRETS = "expunge.plan.secrets.v1"
SOURCE, KEY, PARTITION = "/expunge/rotation", b"secrets", 0


class SecretsUsed(Value):
    """The check values of all secrets that have ever been used, in order."""

    checks: tuple[Hex, ...]


def secrets_used(checks: Sequence[str], at: datetime) -> Outgoing:
    """Said when the last of them has come into use: before anybody is named by it alone."""
    data = SecretsUsed(checks=tuple(checks)).model_dump(mode="json")
    return Outgoing("plans", KEY.decode(), Event(SECRETS, SOURCE, name(SECRETS, *checks), at, data), PARTITION)


def last_said(records: Iterable[Record]) -> tuple[str, ...]:
    """What was said last, by all that lies on that partition of `plans`; nothing: there has only been one secret."""
    found: tuple[str, ...] = ()
    for record in records:
        if record.key == KEY and record.value is not None:
            found = SecretsUsed.model_validate(orjson.loads(record.value)["data"]).checks
    return found
