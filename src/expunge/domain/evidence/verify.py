"""Checks a certificate without trusting whoever issued it: no Kafka, no Redis, no configuration, no network.

Of Expunge it uses nothing but the Merkle trees of RFC 6962 (`merkle`): whatever the issuer computes with other code of
ours is computed here once more, by the formats that others have published (DSSE, in-toto Statement, C2SP signed notes).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from expunge.domain.evidence import merkle

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://expunge.dev/certificate/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SIGNED_BY = "\u2014 "
ED25519 = 1
LINE_FIELDS = ("kind", "system", "action", "claim", "grade", "reason", "until", "provision")
LETTERS = {
    "deleted": "d",
    "key_destroyed": "k",
    "redacted": "r",
    "rebuilt_without": "b",
    "retrained_without": "t",
    "disabled": "x",
    "restricted": "q",
    "lifted": "l",
    "anonymised_with_proof": "a",
    "not_found": "n",
    "notified": "o",
    "instructed_only": "i",
    "impossible": "m",
}
"""Claims that rest on a system's answer, and how the ledger writes each."""
ENDED = {"completed", "completed_with_deferrals"}


class Wrong(Exception):
    """What a step found."""


@dataclass(frozen=True)
class Files:
    """What is checked. What is not at hand is None, and is said not to be shown."""

    envelope: bytes
    records: Iterable[bytes] | None = None
    """Lines."""
    obligations: Iterable[bytes] | None = None
    """Lines."""
    key: str | None = None
    """The log's public key as its verifiers hold it (`name+hash+key`); None: nobody says whose it must be."""
    earlier: str | None = None
    """An earlier checkpoint of the log, which must lie in this one."""
    consistency: Sequence[bytes] | None = None
    """The proof for that."""


class Step(NamedTuple):
    """What came of one step."""

    number: int
    name: str
    passed: bool | None
    """None: it could not be made, for something is not at hand."""
    text: str


@dataclass
class _Checked:
    """What later steps know from earlier ones."""

    files: Files
    statement: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    size: int = 0
    root: bytes = b""
    facts: list[dict[str, Any]] = field(default_factory=list)
    counted: Counter[tuple[tuple[str, str], ...]] = field(default_factory=Counter)

    @property
    def predicate(self) -> dict[str, Any]:
        """What the certificate says."""
        found: dict[str, Any] = self.statement["predicate"]
        return found


def verify(files: Files) -> list[Step]:
    """Every step, in order; the first that fails is the last that is made."""
    checked, steps = _Checked(files), []
    for number, (name, check) in enumerate(STEPS if files.earlier is not None else STEPS[:-1], 1):
        try:
            text = check(checked)
        except Wrong as wrong:
            steps.append(Step(number, name, passed=False, text=str(wrong)))
            break
        except json.JSONDecodeError:
            steps.append(Step(number, name, passed=False, text="it is no JSON"))
            break
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            text = f"it is not of the form that it must have ({type(error).__name__})"
            steps.append(Step(number, name, passed=False, text=text))
            break
        is_missing = text.startswith(MISSING)
        steps.append(Step(number, name, None if is_missing else True, text.removeprefix(MISSING)))
    return steps


MISSING = "?"
"""What the text of a step begins with that could not be made."""


def _envelope(checked: _Checked) -> str:
    envelope = _strict(checked.files.envelope)
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise Wrong(f"its payload is of another type than {PAYLOAD_TYPE}")
    statement = _strict(_raw(envelope["payload"]))
    if statement["_type"] != STATEMENT or statement["predicateType"] != PREDICATE:
        raise Wrong("it states something else than a certificate of this version")
    checked.statement = statement
    case = checked.predicate["case"]
    if [each["name"] for each in statement["subject"]] != [f"case:{case['id']}"]:
        raise Wrong("its subject is another case than it tells of")
    return f"a certificate of case {case['id']}, {_plainly(case['status'])}"


def _signature(checked: _Checked) -> str:
    envelope = _strict(checked.files.envelope)
    key = checked.files.key or checked.predicate["log"]["key"]
    name, public = _key(key)
    payload = _raw(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    if not any(_is_by(public, _raw(each["sig"]), message) for each in envelope["signatures"]):
        raise Wrong(f"it is not signed with the key of {name}")
    if checked.files.key is None:
        return f"{MISSING}it is signed by the key that it names itself; whose that is, nobody has said (--key)"
    return f"signed by {name}"


def _checkpoint(checked: _Checked) -> str:
    log = checked.predicate["log"]
    name, public = _key(checked.files.key or log["key"])
    checked.origin, checked.size, checked.root = _note(log["checkpoint"], public)
    if checked.origin != name and not checked.origin.startswith(f"{name}/"):
        raise Wrong(f"its checkpoint is of the log {checked.origin}, and its key of {name}")
    return f"the log {checked.origin} had {checked.size:,} leaves"


def _inclusion(checked: _Checked) -> str:
    if checked.files.records is None:
        return f"{MISSING}records.jsonl is not at hand: the facts of the case are not shown"
    hashes: list[bytes] = []
    last = -1
    for raw in checked.files.records:
        line = _strict(raw)
        entry, index = line["entry"].encode(), line["index"]
        leaf = merkle.leaf_hash(entry)
        proof = [_hash(each) for each in line["proof"]]
        if index <= last or merkle.root_with(index, checked.size, leaf, proof) != checked.root:
            raise Wrong(f"record {len(hashes) + 1} is not leaf {index} of the log")
        hashes.append(leaf)
        last = index
        checked.facts += _facts(_strict(entry), checked.predicate["case"])
    said = checked.predicate["records"]
    if len(hashes) != said["number"] or merkle.root_of(hashes).hex() != said["root"]:
        raise Wrong("these are not the records that the certificate rests on")
    return f"{len(hashes):,} records lie in the log as they are"


def _sequence(checked: _Checked) -> str:
    if checked.files.records is None:
        return f"{MISSING}without the records it is not shown"
    case = checked.predicate["case"]
    by_number: dict[int, tuple[str, str]] = {}
    for fact in checked.facts:
        said = (fact["type"], _plain(fact["data"]["body"]))
        if by_number.setdefault(fact["data"]["sequence"], said) != said:
            raise Wrong(f"fact {fact['data']['sequence']} is said twice, in two ways")
    if sorted(by_number) != list(range(1, case["sequence"] + 1)):
        raise Wrong("the facts of the case have a gap")
    kind, body = by_number[case["sequence"]]
    if kind != "expunge.ledger.closed.v1" or json.loads(body)["status"] != case["status"]:
        raise Wrong("the last fact does not end the case as the certificate says")
    return f"{len(by_number):,} facts, none of which is missing, end it as {_plainly(case['status'])}"


def _counts(checked: _Checked) -> str:
    said, number = checked.predicate["obligations"], 0
    hashes: list[bytes] = []
    if checked.files.obligations is None:
        return f"{MISSING}obligations.jsonl is not at hand: the numbers of the inventory are not shown"
    answers = _answers(checked.facts) if checked.files.records is not None else None
    planned = _planned(checked.facts)
    for raw in checked.files.obligations:
        line, number = _strict(raw), number + 1
        if answers is not None and planned[line["chunk"]].pop(line["ordinal"], None) is None:
            raise Wrong(f"obligation {number} was not planned, or stands there twice")
        hashes.append(merkle.leaf_hash(raw))
        checked.counted[_counted(line)] += 1
        if answers is not None:
            _hold_against(line, answers, number)
    if answers is not None and any(planned.values()):
        raise Wrong(f"{sum(map(len, planned.values()))} obligations were planned that are not among these")
    if merkle.root_of(hashes).hex() != said["root"] or number != said["number"]:
        raise Wrong("these are not the obligations that the certificate is about")
    (subject,) = checked.statement["subject"]
    if subject["digest"]["sha256"] != said["root"]:
        raise Wrong("its subject is another set of obligations")
    more = ": all that were planned, and whatever is called done was answered so" if answers is not None else ""
    return f"{number:,} obligations{more}"


def _counted(line: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((each, str(line[each])) for each in LINE_FIELDS if each in line)


def _hold_against(line: dict[str, Any], answers: Mapping[str, list[tuple[str, str]]], number: int) -> None:
    """What is said to be done was answered, in the log, by a receipt of at least that grade."""
    letter, grade = LETTERS.get(line["claim"]), line.get("grade", "")
    if letter is None or (not grade and line["claim"] != "not_found"):
        if letter is not None and not grade:
            raise Wrong(f"obligation {number} is said to be done, and rests on nothing")
        return
    given = [each for said, each in answers.get(line["chunk"], ()) if said[line["ordinal"]] == letter]
    if not any(each >= grade for each in given):
        raise Wrong(f"obligation {number} is said to be {line['claim']}, and no answer in the log says so")


def _inventory(checked: _Checked) -> str:
    predicate = checked.predicate
    rows = {_counted(row): row["count"] for row in predicate["inventory"]}
    if len(rows) != len(predicate["inventory"]) or any(not isinstance(each, int) or each < 1 for each in rows.values()):
        raise Wrong("its inventory counts something twice, or nothing")
    if checked.counted and rows != dict(checked.counted):
        raise Wrong("its inventory is not what the obligations add up to")
    total, said = sum(rows.values()), predicate["obligations"]
    left = sum(number for row, number in rows.items() if dict(row)["claim"] in {"open", "failed"})
    if total != said["number"] or left != said["open"]:
        raise Wrong("its inventory does not add up")
    if predicate["case"]["status"] in ENDED and left:
        raise Wrong(f"it is called {predicate['case']['status']}, and {left} obligations are open")
    return f"{total:,} in the inventory, {left:,} open"


def _since(checked: _Checked) -> str:
    _, public = _key(checked.files.key or checked.predicate["log"]["key"])
    origin, size, root = _note(checked.files.earlier or "", public)
    if origin != checked.origin:
        raise Wrong(f"the earlier checkpoint is of another log ({origin})")
    if size == 0:
        return "the earlier log was empty"
    if checked.files.consistency is None:
        return f"{MISSING}without the log's tiles (--log) it is not shown that the earlier log lies in this one"
    then, now = merkle.roots_with(size, checked.size, checked.files.consistency, root)
    if (then, now) != (root, checked.root):
        raise Wrong("the log was changed since the earlier checkpoint")
    return f"the {size:,} leaves of the earlier checkpoint lie in this one unchanged"


STEPS = (
    ("statement", _envelope),
    ("signature", _signature),
    ("checkpoint", _checkpoint),
    ("records in the log", _inclusion),
    ("facts", _sequence),
    ("obligations", _counts),
    ("inventory", _inventory),
    ("growth", _since),
)


def owned(envelope: bytes, proof: bytes, number: int) -> Step:
    """Whether an asset is in a certificate, by the proof that its owner was given."""
    name = "your asset"
    try:
        said, predicate = _strict(proof), _strict(payload(envelope))["predicate"]["obligations"]
        opening, asset = bytes.fromhex(said["opening"]), said["asset"]
        named = hashlib.sha256(opening + asset.encode()).hexdigest()
        claims = []
        for each in said["obligations"]:
            line = _strict(each["obligation"])
            leaf = merkle.leaf_hash(each["obligation"].encode())
            path = [_hash(one) for one in each["proof"]]
            if (
                line.get("asset") != named
                or merkle.root_with(each["index"], predicate["number"], leaf, path).hex() != (predicate["root"])
            ):
                return Step(number, name, passed=False, text="the certificate is not about this asset")
            claims.append(f"{line['claim']} ({line.get('grade') or 'decided, not answered'}) in {line['system']}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Step(number, name, passed=False, text=f"it is no proof ({type(error).__name__})")
    if not claims:
        return Step(number, name, passed=False, text="it proves nothing")
    return Step(number, name, passed=True, text=f"it is in the certificate: {', '.join(claims)}")


def is_key(line: str) -> bool:
    """Whether a line is a public key as verifiers hold it."""
    try:
        _key(line)
    except (ValueError, IndexError, Wrong):
        return False
    return True


def payload(envelope: bytes) -> bytes:
    """What an envelope carries, whoever has signed it.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    return _raw(_strict(envelope)["payload"])


def checkpoint_in(envelope: bytes) -> tuple[str, int]:
    """Name and size of the log at the checkpoint of a certificate, which is not checked by that.

    Raises:
        ValueError, KeyError, TypeError: it is no certificate.
    """
    statement = _strict(payload(envelope))
    origin, size, *_ = statement["predicate"]["log"]["checkpoint"].split("\n")
    return origin, int(size)


def _facts(event: dict[str, Any], case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The facts of the case in a record, up to that with which it ended."""
    several = event["data"]["facts"] if event["type"] == "expunge.ledger.facts.v1" else [event]
    for fact in several:
        data = fact["data"]
        if data.get("case_id") == case["id"] and data["sequence"] <= case["sequence"]:
            yield fact


def _planned(facts: Sequence[dict[str, Any]]) -> dict[str, dict[int, bool]]:
    """Chunk -> its ordinals, as resolvers have planned them."""
    found: dict[str, dict[int, bool]] = {}
    for fact in facts:
        if fact["type"] == "expunge.ledger.task_answered.v1":
            for each in fact["data"]["body"].get("chunks", ()):
                found[each["digest"]] = dict.fromkeys(range(each["size"]), True)
    return found


def _answers(facts: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Chunk -> what was answered of it, a letter for each ordinal, and the grade of each answer."""
    found: dict[str, list[tuple[str, str]]] = {}
    for fact in facts:
        body = fact["data"]["body"]
        if fact["type"] == "expunge.ledger.answered.v1":
            found.setdefault(body["chunk"], []).append((body["answers"], body.get("grade", "E1")))
        elif fact["type"] == "expunge.ledger.replacement_judged.v1" and body["verdict"] == "clean":
            answers, grade = found[body["chunk"]][-1]  # of what its owner said, and Expunge has looked at
            found[body["chunk"]].append((LETTERS["retrained_without"] * len(answers), grade))
    return found


def _plain(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def _plainly(word: str) -> str:
    return word.replace("_", " ")


def _strict(raw: bytes | str) -> dict[str, Any]:
    """A JSON object that says each key once.

    Raises:
        ValueError: it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key is said twice")
        return dict(pairs)

    found = json.loads(raw, object_pairs_hook=once)
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - one kind of error for whoever reads
    return found


def _raw(text: str) -> bytes:
    """Base64 in the one spelling that it has.

    Raises:
        ValueError: it is none.
    """
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found).decode() != text:
        raise ValueError("another spelling")
    return found


def _hash(text: str) -> bytes:
    """A hash in the one spelling that it has.

    Raises:
        ValueError: it is none.
    """
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("another spelling")
    return found


def _key(verifier: str) -> tuple[str, bytes]:
    """Name and public key of a verifier's line `name+hash+key`, whose hash must be right."""
    name, hash_, key = verifier.strip().split("+", 2)
    raw = _raw(key)
    if raw[0] != ED25519 or hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != hash_:
        raise Wrong("the key is not of the form name+hash+key, or its hash is another's")
    return name, raw[1:]


def _note(note: str, public: bytes) -> tuple[str, int, bytes]:
    """Name, size and root in a checkpoint that is signed with a key."""
    body, _, signatures = note.partition("\n\n")
    body += "\n"
    origin, size, root, *_ = body.split("\n")
    for line in signatures.splitlines():
        if not line.startswith(SIGNED_BY):
            raise Wrong("the checkpoint is no signed note")
        if _is_by(public, _raw(line.removeprefix(SIGNED_BY).rpartition(" ")[2])[4:], body.encode()):
            return origin, int(size), _raw(root)
    raise Wrong("the checkpoint is not signed with that key")


def _is_by(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
