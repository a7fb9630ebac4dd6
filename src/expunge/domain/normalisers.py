"""The one spelling of an id, by kind of id and by version.

What a standard calls the same address, number or handle is the same here; what cannot be meant is refused, for it would
find nobody and be called done. A change of behaviour is a new version, and so another pseudonym: registrations are made
under the newest, and requests look under all of them, so that a new version loses nobody who was registered before.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Callable
from urllib.parse import unquote

import idna
import phonenumbers

from expunge.errors import InvalidMessage

Normaliser = Callable[[str], str]
_INVISIBLE = frozenset("\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0")
"""Default-ignorable code points (Unicode, DerivedCoreProperties) that no category tells."""
_UUID = re.compile(r"(?i)(urn:uuid:)?\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?")
_PLAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


def _exact(text: str) -> str:
    return text


def _email_1(text: str) -> str:
    text = text.strip().lower()
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or any(c.isspace() for c in text):
        raise InvalidMessage("bad_identity", "not an e-mail address")
    return text


def _email(text: str) -> str:
    """An address with its domain in ASCII form (RFC 5891, with the mapping of UTS 46), all in lower case.

    `mailto:` is taken off (RFC 6068). That the local part ignores case is a convention and no standard (RFC 5321,
    section 2.4, leaves it to the host), and what every large host does.
    """
    text = text.strip()
    if text[:7].lower() == "mailto:":
        text = unquote(text[7:].partition("?")[0])
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or _cannot_be_seen(local) or "@" in local.replace("\\@", "").strip('"'):
        raise InvalidMessage("bad_identity", "not an e-mail address")
    return f"{unicodedata.normalize('NFC', local.lower())}@{_domain(domain)}"


def _domain(text: str) -> str:
    text = text.lower()
    if _PLAIN.fullmatch(text) and "xn--" not in text and len(text) < 64:  # noqa: PLR2004 - nothing in it can be too long
        return text
    if text.startswith("[") and text.endswith("]"):
        return text  # an address literal: RFC 5321, section 4.1.3
    try:
        return idna.encode(text.rstrip("."), uts46=True, transitional=False).decode().lower()
    except (idna.IDNAError, UnicodeError):
        raise InvalidMessage("bad_identity", "not a domain name") from None


def _e164_1(text: str) -> str:
    digits = re.sub(r"[\s().-]", "", text)
    digits = "+" + digits[2:] if digits.startswith("00") else digits
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", digits):
        raise InvalidMessage("bad_identity", "not an E.164 telephone number")
    return digits


def _e164(text: str) -> str:
    """A number with its country's code (ITU-T E.164), however it is written: `+44 (0)20 ...`, `0044 20 ...`, `tel:`."""
    text = "".join(each for each in text.strip() if not _is_invisible(each))
    text = "+" + text[2:] if text.startswith("00") else text
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        raise InvalidMessage("bad_identity", "not an E.164 telephone number") from None
    if number.extension or not phonenumbers.is_possible_number(number):
        raise InvalidMessage("bad_identity", "not an E.164 telephone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _uuid(text: str) -> str:
    """A UUID (RFC 9562) in any case, with or without hyphens, braces or `urn:uuid:`."""
    text = text.strip()
    if not _UUID.fullmatch(text):
        raise InvalidMessage("bad_identity", "not a UUID")
    return str(uuid.UUID(text))


def _handle(text: str) -> str:
    """A user name that ignores case and width (the profile UsernameCaseMapped of RFC 8265, section 3.3)."""
    text = "".join(map(_narrow, text.strip())).lower()
    if not text or _cannot_be_seen(text) or unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text):
        raise InvalidMessage("bad_identity", "not a user name")
    return unicodedata.normalize("NFC", text)


def _narrow(character: str) -> str:
    """A full- or half-width character as the one that it is a form of (RFC 8265, section 3.3.2)."""
    kind, _, plain = unicodedata.decomposition(character).partition(" ")
    return chr(int(plain, 16)) if kind in ("<wide>", "<narrow>") and " " not in plain else character


def _cannot_be_seen(text: str) -> bool:
    """Whether something in it is no visible character, so that two that look alike would be two."""
    return any(each.isspace() or _is_invisible(each) for each in text)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Co", "Cn"} or character in _INVISIBLE


_LABEL = r"(?!xn--)[\w-]{1,63}"
_MEANT_ONCE = {"email": re.compile(rf"(?!mailto:)[\w.!#$&*+/=?^`{{|}}~-]+@{_LABEL}(\.{_LABEL})*\.?")}
"""What earlier versions took, the newest does not, and somebody may mean all the same: hosts that are no host names."""


def was_meant_once(normaliser: str, text: str) -> bool:
    """Whether an id that the newest version refuses may be looked for as earlier versions spelled it.

    Whatever else they took cannot be meant: to look for it would find nobody, and say so as if somebody had been
    looked for.
    """
    form = _MEANT_ONCE.get(normaliser)
    text = text.strip().lower()
    return form is not None and form.fullmatch(text) is not None and not any(map(_is_invisible, text))


NORMALISERS: dict[str, dict[int, Normaliser]] = {
    "exact": {1: _exact},
    "email": {2: _email, 1: _email_1},
    "e164": {2: _e164, 1: _e164_1},
    "uuid": {1: _uuid},
    "handle": {1: _handle},
}
"""Name -> version -> function, the newest first."""


def newest(normaliser: str) -> int:
    """The version under which registrations are made."""
    return next(iter(NORMALISERS[normaliser]))
