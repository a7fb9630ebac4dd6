"""`certificates`: what becomes of cases, for those who do not take our word for it."""

from __future__ import annotations

from expunge.domain.values import Hex
from expunge.wire.form import Outlet


class DsseSignature(Outlet):
    """One signature."""

    keyid: str
    sig: str


class DsseEnvelope(Outlet):
    """A DSSE envelope: payload and signatures in base64."""

    payload: str
    payloadType: str  # noqa: N815 - as DSSE spells it
    signatures: tuple[DsseSignature, ...]


class CertificateIssued(Outlet):
    """The certificate of a case at one of its ends: an in-toto Statement in an envelope."""

    case_id: Hex
    sequence: int
    """The number of the fact that ended it."""
    sha256: str
    """Of the certificate's payload, in hexadecimal."""
    certificate: DsseEnvelope | None = None
    """None of one that is too large for a message: it lies where the notary keeps it."""


ISSUED = "expunge.certificate.issued.v1"
