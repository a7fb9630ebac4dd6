"""Who said something: events in DSSE envelopes, signed with Ed25519 keys (rule "signed").

An envelope (https://github.com/secure-systems-lab/dsse, version 1.0) carries the bytes that were signed, so nobody has
to agree on how JSON is spelled. What is signed is a whole CloudEvent; the event around it has its id and source, and
its type with `.dsse.v1` in the place of `.v1`. Ed25519 is RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr

from expunge.domain.events import CloudEvent, Event, envelope
from expunge.errors import InvalidMessage

SIGNED = ".dsse.v1"
PLAIN = ".v1"
PAYLOAD_TYPE = "application/cloudevents+json"
MOST_SIGNATURES = 8
"""In one envelope; each costs whoever reads it a tenth of a millisecond."""

Sign = Callable[[bytes], bytes]
"""Makes the signature of some bytes."""


def _is_key(public: str) -> str:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    except ValueError:
        raise ValueError("an Ed25519 public key is 64 hexadecimal digits: `expunge keys show NAME` prints it") from None
    return public.lower()


def _several(value: object) -> object:
    return ((value,) if value else ()) if isinstance(value, str) else value


PublicKey = Annotated[str, AfterValidator(_is_key)]
"""An Ed25519 public key, hexadecimal."""
PublicKeys = Annotated[tuple[PublicKey, ...], BeforeValidator(_several), Field(max_length=MOST_SIGNATURES)]
"""One of them, or several while one takes another's place."""


class Signature(BaseModel):
    """One signature of an envelope."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    keyid: Annotated[StrictStr, Field(max_length=256)] = ""
    """A hint at the key: see `key_id`."""
    sig: Annotated[StrictStr, Field(max_length=256)]
    """In base64."""


class Envelope(BaseModel):
    """A DSSE envelope as it stands in the data of a signed event."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    payload: StrictStr
    """What was signed, in base64."""
    payloadType: StrictStr  # noqa: N815 - as DSSE spells it
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=MOST_SIGNATURES)]

    def __repr__(self) -> str:
        return "Envelope(...)"


class Opened(NamedTuple):
    """An event, and who has signed it."""

    event: CloudEvent
    signers: frozenset[str] = frozenset()
    """Public keys, of those that were asked about; none: it came in no envelope."""

    def __repr__(self) -> str:
        return "Opened(...)"


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes of which DSSE makes its signatures: type and payload, each behind its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@lru_cache(maxsize=1024)
def key_id(public: str) -> str:
    """What a key is called: SHA-256 of its SubjectPublicKeyInfo (RFC 5280) in DER, hexadecimal."""
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def is_by(public: str, signature: bytes, message: bytes) -> bool:
    """Whether a signature of some bytes was made with the private part of a key."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def enveloped(payload_type: str, payload: bytes, public: str, sign: Sign) -> dict[str, Any]:
    """The envelope of some bytes, signed with one key."""
    signature = base64.b64encode(sign(pae(payload_type, payload))).decode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key_id(public), "sig": signature}],
    }


def sealed(event: Event, public: str, sign: Sign) -> Event:
    """The same event, signed."""
    data = enveloped(PAYLOAD_TYPE, event.encode(), public, sign)
    return Event(signed_type(event.type), event.source, event.id, event.time, data)


def signed_type(plain: str) -> str:
    """The type of signed events of a type."""
    return plain.removesuffix(PLAIN) + SIGNED


def opened(event: CloudEvent, known: Iterable[str]) -> Opened:
    """An event out of its envelope, and which of some keys have signed it; one without an envelope as it is.

    Args:
        event: as it came.
        known: public keys of those who may have signed it.

    Raises:
        InvalidMessage: it is no envelope, none of these keys has signed it, or it says another event than it carries.
    """
    if not is_signed(event):
        return Opened(event)
    envelope_, payload = _read(event)
    signers = _signers(envelope_, payload, known)
    if not signers:
        raise InvalidMessage("bad_signature", "data.signatures")
    return Opened(_inner(event, payload), signers)


def is_signed(event: CloudEvent) -> bool:
    """Whether an event says that it is signed."""
    return event.type.endswith(SIGNED)


def carried(event: CloudEvent) -> CloudEvent:
    """The event in an envelope, whoever has signed it; one without an envelope as it is.

    Raises:
        InvalidMessage: it is no envelope, or says another event than it carries.
    """
    return _inner(event, _read(event)[1]) if is_signed(event) else event


def _read(event: CloudEvent) -> tuple[Envelope, bytes]:
    try:
        found = Envelope.model_validate(event.data)
        payload = _decoded(found.payload)
    except ValueError:  # pydantic's errors are such, too
        raise InvalidMessage("bad_envelope", "data") from None
    if found.payloadType != PAYLOAD_TYPE:
        raise InvalidMessage("bad_envelope", "data.payloadType")
    return found, payload


def _inner(event: CloudEvent, payload: bytes) -> CloudEvent:
    inner = envelope(payload)  # read when it is known whose it is
    if (inner.id, inner.source, signed_type(inner.type)) != (event.id, event.source, event.type):
        raise InvalidMessage("bad_envelope", "data.payload: another event")
    return inner


def _signers(envelope_: Envelope, payload: bytes, known: Iterable[str]) -> frozenset[str]:
    message, by_id = pae(envelope_.payloadType, payload), {key_id(public): public for public in known}
    found = set()
    for each in envelope_.signatures:
        public = by_id.get(each.keyid)
        try:
            if public is not None and is_by(public, _decoded(each.sig), message):
                found.add(public)
        except ValueError:
            continue  # a signature that is no base64 is nobody's
    return frozenset(found)


def _decoded(text: str) -> bytes:
    """Base64 of either alphabet, as DSSE lets it be.

    Raises:
        ValueError: it is neither.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
