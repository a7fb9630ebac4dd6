"""The envelope: CloudEvents 1.0 in structured JSON mode (https://cloudevents.io), and what a topic position is."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StrictStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)

from expunge.domain.limits import MAX_PAYLOAD_BYTES
from expunge.errors import InvalidMessage

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"


def _text(value: object) -> object:
    if not isinstance(value, str | datetime):
        raise ValueError("a time is an RFC 3339 string with offset")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time outside of the calendar") from None


EARLIEST = datetime.fromtimestamp(0, UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
"""Whatever is added to a moment before this stays inside the calendar."""
AHEAD = timedelta(days=36_525)
"""A hundred years: what lies further ahead of its message is no date that anybody means."""
NOW = "now"
"""The key under which validation finds when the message was appended."""


def _bounded(moment: datetime, info: ValidationInfo) -> datetime:
    now = (info.context or {}).get(NOW)
    if not EARLIEST <= moment < LATEST or (now is not None and moment > now + AHEAD):
        raise ValueError("a date must lie between 1970 and a hundred years ahead")
    return moment


AnyInstant = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
"""A moment: RFC 3339 with offset, kept in UTC; never a number. Whoever takes it sets it to the nearest that counts."""

Instant = Annotated[AnyInstant, AfterValidator(_bounded)]
"""The same between 1970 and a hundred years ahead, so that nothing that is added to it leaves the calendar."""

Id = Annotated[StrictStr, StringConstraints(min_length=1, max_length=256)]
"""An id chosen by a publisher or a system."""


class Position(NamedTuple):
    """A place in one partition, ordered as Kafka orders leaders and then records (rule "positions")."""

    leader_epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One message as a broker hands it over. Its `repr` shows where it lies and nothing of what it says."""

    topic: str
    partition: int
    position: Position
    appended_at: datetime
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    content_type: str | None = field(default=None, repr=False)
    unreadable: str = ""
    """Why the client could not read it: the class of the error; empty where it could. Then it has no value."""

    @property
    def place(self) -> str:
        """Where the message lies, for dead letters and logs."""
        return f"{self.topic}/{self.partition}/{self.position.offset}"


AHEAD_AT_MOST = timedelta(minutes=5)
"""By so much the broker's clock may be ahead of a role's own before the role stops believing it."""


def is_ahead(record: Record, now: datetime) -> bool:
    """Whether a record was stamped by a clock that runs ahead: decisions take their time from it, for good."""
    return record.appended_at - now > AHEAD_AT_MOST


class CloudEvent(BaseModel):
    """A parsed envelope; `data` is validated by the model of its type."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    specversion: StrictStr
    id: Annotated[StrictStr, StringConstraints(min_length=1, max_length=512)]
    source: Annotated[StrictStr, StringConstraints(min_length=1, max_length=512)]
    type: Annotated[StrictStr, StringConstraints(min_length=1, max_length=256)]
    data: Any = None

    def __repr__(self) -> str:
        return f"CloudEvent(type={self.type!r})"


@dataclass(slots=True)
class Event:
    """An event that Expunge makes. `id` is a digest of its cause and content (rule "time and ids"), never an offset."""

    type: str
    source: str
    id: str
    time: datetime
    data: dict[str, Any] = field(repr=False)

    def encode(self) -> bytes:
        """The value of the Kafka message."""
        body = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": stamp(self.time),
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)  # members of the closed vocabularies are keys, too


@dataclass(slots=True)
class AsReceived(Event):
    """An event that somebody else has made, kept byte by byte: a signature would be worth nothing over other bytes."""

    raw: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The value of the Kafka message, as it came."""
        return self.raw


class Outgoing(NamedTuple):
    """A message to be produced: `topic` without the prefix, `partition` only where the key does not say."""

    topic: str
    key: str
    event: Event | None
    """None: a tombstone, on compacted topics."""
    partition: int | None = None

    @property
    def value(self) -> bytes | None:
        """The value of the Kafka message."""
        return self.event.encode() if self.event is not None else None


@lru_cache(maxsize=4096)
def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, the one spelling that Expunge writes; many events share their moments."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def millis(moment: datetime) -> int:
    """Milliseconds since the epoch, as Kafka and the index count; what is finer is cut off."""
    return int(moment.timestamp() * 1000)


class DuplicateKey(ValueError):
    """A JSON object says one key twice (RFC 8259, section 4): which of them counts is every reader's own guess."""


def loaded(raw: bytes) -> object:
    """JSON as Python sees it, if every object says each of its keys once.

    Raises:
        DuplicateKey: one does not; `dry_run` said twice must never delete for real.
        ValueError: it is no JSON.
    """
    found = orjson.loads(raw)
    # As many keys as were said are left if none was said twice. Where escapes or spaces spoil the count, the slow way
    # decides: reading every message that way would cost a twentieth of all indexing.
    try:
        if any(each in raw for each in SPOILS) or raw.count(KEY) != orjson.dumps(found).count(KEY):
            json.loads(raw, object_pairs_hook=_once)
    except (RecursionError, TypeError):  # one reader takes a thousand levels, the other two hundred
        raise ValueError("nested too deeply") from None
    return found


KEY = b'":'
SPOILS = (b"\\u003", b"\\u0022", b'" ', b'"\t', b'"\r', b'"\n')
"""Escaped quotes and colons, which look otherwise when they are written again, and spaces behind a key."""


def _once(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        raise DuplicateKey("a key is said twice")


def _once_kept(pairs: list[tuple[str, object]]) -> dict[str, object]:
    _once(pairs)
    return dict(pairs)


def decode(record: Record, max_bytes: int = MAX_PAYLOAD_BYTES) -> CloudEvent:
    """The envelope of a message.

    Raises:
        InvalidMessage: the value is empty, too large, not JSON, or not a CloudEvent in structured mode.
    """
    value = record.value
    if value is None:
        raise InvalidMessage("null_value")
    if not value:
        raise InvalidMessage("empty_value")
    if len(value) > max_bytes:
        raise InvalidMessage("too_large", f"{len(value)} bytes, at most {max_bytes}")
    if record.content_type and not record.content_type.lower().startswith("application/cloudevents"):
        raise InvalidMessage("not_structured_mode", "header content-type")
    return envelope(value)


def envelope(value: bytes) -> CloudEvent:
    """The envelope in some bytes.

    Raises:
        InvalidMessage: they are no JSON, or no CloudEvent in structured mode.
    """
    try:
        body = loaded(value)
    except DuplicateKey:
        raise InvalidMessage("duplicate_key") from None
    except orjson.JSONDecodeError:
        body = _envelope_alone(value)
    except ValueError:
        raise InvalidMessage("nested_too_deeply") from None
    if not isinstance(body, dict) or body.get("specversion") != "1.0":
        raise InvalidMessage("not_a_cloudevent", "specversion 1.0")
    try:
        return CloudEvent.model_validate(body)
    except ValidationError as error:
        raise InvalidMessage("not_a_cloudevent", field_of(error, CloudEvent.model_fields)) from None


def _envelope_alone(value: bytes) -> object:
    """The envelope of an event whose data no two readers agree on, so that its publisher can be told.

    Halves of characters and numbers beyond 64 bits are JSON by the letter (RFC 8259, sections 8.2 and 6); such data is
    not read.
    """
    try:
        body = json.loads(value.decode(), object_pairs_hook=_once_kept)  # UTF-8 alone: other encodings grow
    except DuplicateKey:
        raise InvalidMessage("duplicate_key") from None
    except (ValueError, RecursionError):
        raise InvalidMessage("not_json") from None
    return {**body, "data": None} if isinstance(body, dict) else body


_UNKNOWN = frozenset({"enum", "literal_error", "union_tag_invalid"})


def unknown_member(error: ValidationError) -> str:
    """The field that holds a word which only a newer version knows, where nothing else is wrong; empty otherwise."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if not found or any(each["type"] not in _UNKNOWN for each in found):
        return ""
    names = [part for part in found[0]["loc"] if isinstance(part, str)]
    return names[-1] if names and _NAME.fullmatch(names[-1]) else "word"


_NAME = re.compile(r"[a-z][a-z_]{0,31}")


def field_of(error: ValidationError, known: Collection[str]) -> str:
    """The path of the first wrong field; a name that is not in `known` is not repeated, it may be personal."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    parts = [f"[{part}]" if isinstance(part, int) else part if part in known else "(unknown)" for part in first["loc"]]
    return ".".join(parts)
