"""Checks a certificate without trusting whoever issued it: no Kafka, no Redis, no configuration, no network.

Of Expunge it uses nothing but the Merkle trees of RFC 6962 (`merkle`), and another reading of the ledger (`reading`),
of signed notes (`reading_notes`) and of what a certificate must say (`reading_form`): whatever the issuer computes with
other code of ours is computed here once more, by the formats that others have published (DSSE, in-toto Statement). The
issuer may lie, and sign it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from expunge.domain.evidence import merkle
from expunge.domain.evidence.reading import MOMENTS, Told, moment, plain
from expunge.domain.evidence.reading_form import refuse_another_form
from expunge.domain.evidence.reading_notes import (
    COSIGNATURE,
    ED25519,
    Wrong,
    checkpoint_of,
    cosigned,
    following,
    is_by,
    key_of,
    raw_of,
    signers,
    stamped,
)

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://expunge.dev/certificate/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
OPENING_BYTES = 32
LINE_FIELDS = ("kind", "system", "action", "claim", "grade", "reason", "until", "provision")
MODEL_KINDS = {"model", "checkpoint", "deployment"}
EARLIER_SECONDS = 300
"""By so much the clocks of a broker and of somebody who vouches may differ."""
ENDED = {"completed", "completed_with_deferrals"}
LAST = {"expunge.ledger.closed.v1", "expunge.ledger.probe_ended.v1"}
"""With what the facts end that a certificate is made of."""


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
    ways: Iterable[bytes] | None = None
    """Lines: what was made from what."""
    log: Iterable[bytes] | None = None
    """The log's own entries up to the checkpoint, in order: none that tells of the case may be left out."""
    wants_log: bool = False
    """Whether somebody asked for that."""
    witnesses: Sequence[str] = ()
    """The public keys of those who must have signed the checkpoint, too (`name+hash+key`)."""
    authorities: Sequence[bytes] = ()
    """Certificates (PEM) of whoever must have stamped it: the roots of time-stamping authorities."""


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
    told: Told | None = None
    counted: Counter[tuple[tuple[str, str], ...]] = field(default_factory=Counter)
    made: dict[str, list[str]] | None = None
    """What was made from what, by commitments."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Commitment -> kind, of those that stand there."""

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
        except UNFIT as error:
            text = f"it is not of the form that it must have ({type(error).__name__})"
            steps.append(Step(number, name, passed=False, text=text))
            break
        is_missing = text.startswith(MISSING)
        steps.append(Step(number, name, None if is_missing else True, text.removeprefix(MISSING)))
    return steps


UNFIT = (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError, MemoryError)
"""What comes of reading something that is not of the form that it must have."""
MISSING = "?"
"""What the text of a step begins with that could not be made."""


def _envelope(checked: _Checked) -> str:
    envelope = _strict(checked.files.envelope)
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise Wrong(f"its payload is of another type than {PAYLOAD_TYPE}")
    statement = _strict(raw_of(envelope["payload"]))
    if statement["_type"] != STATEMENT or statement["predicateType"] != PREDICATE:
        raise Wrong("it states something else than a certificate of this version")
    checked.statement = statement
    refuse_another_form(checked.predicate)
    case = checked.predicate["case"]
    if [each["name"] for each in statement["subject"]] != [f"case:{case['id']}"]:
        raise Wrong("its subject is another case than it tells of")
    return f"a certificate of case {case['id']}, {_plainly(case['status'])}"


def _key(checked: _Checked) -> str:
    """The key with which the certificate must be signed: the one that was given, or one that follows it."""
    log = checked.predicate["log"]
    if checked.files.key is None or log["key"] in following(checked.files.key, log["keys"]):
        return str(log["key"])
    return checked.files.key


def _signature(checked: _Checked) -> str:
    envelope = _strict(checked.files.envelope)
    key = _key(checked)
    name, public = key_of(key)
    payload = raw_of(envelope["payload"])
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    if not any(is_by(public, raw_of(each["sig"]), message) for each in envelope["signatures"]):
        raise Wrong(f"it is not signed with the key of {name}")
    if checked.files.key is None:
        return f"{MISSING}it is signed by the key that it names itself; whose that is, nobody has said (--key)"
    if key != checked.files.key.strip():
        return f"signed by {name}, with a key that follows the given one by its own word"
    return f"signed by {name}"


def _checkpoint(checked: _Checked) -> str:
    log = checked.predicate["log"]
    name, public = key_of(_key(checked))
    checked.origin, checked.size, checked.root = checkpoint_of(log["checkpoint"], public)
    if checked.origin != name and not checked.origin.startswith(f"{name}/"):
        raise Wrong(f"its checkpoint is of the log {checked.origin}, and its key of {name}")
    return f"the log {checked.origin} had {checked.size:,} leaves"


def _vouched(checked: _Checked) -> str:
    """What others have said of the checkpoint, by the keys that whoever checks has from them."""
    note, ended = checked.predicate["log"]["checkpoint"], moment(checked.predicate["case"]["ended_at"])
    said, missing = [], []
    for key in checked.files.witnesses:
        name, at = cosigned(note, key)
        if at is None:
            missing.append(f"{name} has not signed the checkpoint")
        else:
            said.append(_in_time(f"signed by {name}", at, ended))
    if checked.files.authorities:
        stamp = checked.predicate["log"].get("timestamp")
        if stamp is None:
            missing.append("no independent clock has stamped it")
        else:
            said.append(_in_time("stamped", stamped(note, raw_of(stamp), checked.files.authorities), ended))
    others = [*signers(note)][1:]
    for key in checked.files.witnesses:
        others = [each for each in others if each != key.split("+", 1)[0]]
    if others:
        said.append(f"{len(others)} more lines of signatures, whose keys nobody has given (--witness)")
    if not checked.files.authorities and checked.predicate["log"].get("timestamp") is not None:
        said.append("what is said to be a time stamp, by whom nobody has said (--tsa)")
    text = "; ".join([*missing, *said]) or "nobody was to vouch for it, and nobody has"
    return f"{MISSING if missing else ''}{text}"


def _in_time(who: str, at: float, ended: float) -> str:
    """Who vouched, and when.

    Raises:
        Wrong: before the case had ended, which the checkpoint covers.
    """
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if at < ended - EARLIER_SECONDS:
        raise Wrong(f"the checkpoint was {who} at {when}, and the case is said to have ended after that")
    return f"{who} at {when}"


def _inclusion(checked: _Checked) -> str:
    if checked.files.records is None:
        return f"{MISSING}records.jsonl is not at hand: the facts of the case are not shown"
    hashes: list[bytes] = []
    shown: set[int] = set()
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
        shown.add(index)
    said = checked.predicate["records"]
    if len(hashes) != said["number"] or merkle.root_of(hashes).hex() != said["root"]:
        raise Wrong("these are not the records that the certificate rests on")
    more = _searched(checked, shown) if checked.files.wants_log else ""
    return f"{MISSING if more.startswith(MISSING) else ''}{len(hashes):,} records lie in the log as they are" + (
        more.removeprefix(MISSING)
    )


def _searched(checked: _Checked, shown: set[int]) -> str:
    """That no other leaf of the log tells of the case; the log is the one that the checkpoint is of."""
    case, hashes = checked.predicate["case"], []
    try:
        for index, entry in enumerate(checked.files.log or ()):
            hashes.append(merkle.leaf_hash(entry))
            if index not in shown and case["id"].encode() in entry and any(_facts_in(entry, case)):
                raise Wrong(f"leaf {index} of the log tells of the case, too, and is not among these records")
    except OSError:
        return f"{MISSING}; the log at hand lacks a file, so that no other tells of the case is not shown"
    if len(hashes) != checked.size or merkle.root_of(hashes) != checked.root:
        return (
            f"{MISSING}; the log at hand is not the one of the checkpoint: that no other tells of the case is not shown"
        )
    return ", and no other leaf tells of the case"


def _facts_in(entry: bytes, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same of any leaf: the notary logs also what is no fact."""
    try:
        yield from _facts(_strict(entry), case)
    except UNFIT:
        return


def _sequence(checked: _Checked) -> str:
    if checked.files.records is None:
        return f"{MISSING}without the records it is not shown"
    case = checked.predicate["case"]
    by_number: dict[int, tuple[str, dict[str, Any]]] = {}
    for fact in checked.facts:
        said = plain(fact)
        if by_number.setdefault(fact["data"]["sequence"], (said, fact))[0] != said:
            raise Wrong(f"fact {fact['data']['sequence']} is said twice, in two ways")
    if len(by_number) != case["sequence"] or max(by_number) != case["sequence"] or min(by_number) != 1:
        raise Wrong("the facts of the case have a gap")
    facts = [fact for _, (_, fact) in sorted(by_number.items())]
    if facts[0]["type"] != "expunge.ledger.opened.v1" or facts[-1]["type"] not in LAST:
        raise Wrong("the facts do not begin the case and end it")
    checked.told = Told(facts)
    if not checked.told.has_ended:
        raise Wrong("the facts do not end the case")
    return f"{len(facts):,} facts, none of which is missing, end it as {_plainly(case['status'])}"


def _dates(checked: _Checked) -> str:
    if checked.told is None:
        return f"{MISSING}without the records it is not shown"
    predicate, case = checked.predicate, checked.predicate["case"]
    for name, told in checked.told.case().items():
        said = moment(case[name]) if name in MOMENTS else case[name]
        if said != told:
            raise Wrong(f"its facts say another {_plainly(name)} than it")
    if predicate["scope"]["kind"] != checked.told.scope or predicate["policy"] != checked.told.policy:
        raise Wrong("its facts tell of another kind of request, or of another policy")
    provisions = [each | {"due_at": moment(each["due_at"])} for each in case["provisions"]]
    if provisions != checked.told.provisions():
        raise Wrong("its facts say another thing of the provisions of the order")
    words = [each | {"at": moment(each["at"])} for each in checked.told.words]
    if [each | {"at": moment(each["at"])} for each in predicate["words"]] != words:
        raise Wrong("operators have said something else of the case than it says")
    probes = [_of_moments(each) for each in predicate["verification"]["probes"]]
    if probes != checked.told.probes.all:
        raise Wrong("its facts say another thing of who has looked, at how much, and what they found")
    when = "on time" if case["on_time"] else "late"
    return f"law, dates, outcome ({_plainly(case['outcome'])}, {when}) and what operators said follow from the facts"


def _of_moments(probe: dict[str, Any]) -> dict[str, Any]:
    dates = {name: moment(probe[name]) if probe[name] is not None else None for name in ("begun_at", "ended_at")}
    return probe | dates


def _lineage(checked: _Checked) -> str:
    """What was made from what, as the certificate commits to it."""
    if checked.files.ways is None:
        return f"{MISSING}ways.jsonl is not at hand: how the data came into models is not shown"
    hashes, made = list[bytes](), dict[str, list[str]]()
    for raw in checked.files.ways:
        hashes.append(merkle.leaf_hash(raw))
        line = _strict(raw)
        if line["asset"] in made or line["made_from"] != sorted(set(line["made_from"])):
            raise Wrong("it is said twice what something was made from")
        made[line["asset"]] = line["made_from"]
    said = checked.predicate["models"]
    if len(hashes) != said["steps"] or merkle.root_of(hashes).hex() != said["root"]:
        raise Wrong("this is not the lineage that the certificate tells of")
    checked.made = made
    return f"{len(made):,} things on the way to models, and what they were made from, as the issuer's index knew it"


def _counts(checked: _Checked) -> str:
    said, number = checked.predicate["obligations"], 0
    hashes: list[bytes] = []
    wanted = {each for asset, parents in (checked.made or {}).items() for each in (asset, *parents)}
    if checked.files.obligations is None:
        return f"{MISSING}obligations.jsonl is not at hand: the numbers of the inventory are not shown"
    told = checked.told
    expected = (line for _, chunk in sorted(told.chunks.items()) for line in chunk.lines()) if told else None
    for raw in checked.files.obligations:
        line, number = _strict(raw), number + 1
        hashes.append(merkle.leaf_hash(raw))
        checked.counted[_counted(line)] += 1
        if line.get("asset") in wanted:
            checked.kinds.setdefault(line["asset"], line["kind"])
        if expected is not None and {key: each for key, each in line.items() if key != "asset"} != next(expected, None):
            raise Wrong(f"obligation {number} is another than the facts tell of")
    if expected is not None and next(expected, None) is not None:
        raise Wrong("the facts tell of more obligations than these")
    if merkle.root_of(hashes).hex() != said["root"] or number != said["number"]:
        raise Wrong("these are not the obligations that the certificate is about")
    (subject,) = checked.statement["subject"]
    if subject["digest"]["sha256"] != said["root"]:
        raise Wrong("its subject is another set of obligations")
    more = ": all that were planned, each as the facts tell it" if told else ""
    return f"{number:,} obligations{more}"


def _models(checked: _Checked) -> str:
    """That the ways to models are among its obligations, and add up to what it says."""
    if checked.made is None or checked.files.obligations is None:
        return f"{MISSING}without lineage and obligations it is not shown"
    named = {each for asset, parents in checked.made.items() for each in (asset, *parents)}
    if named - checked.kinds.keys():
        raise Wrong("its ways lead through something that is none of its obligations")
    counts: Counter[tuple[str, ...]] = Counter()
    for asset in checked.made:
        if checked.kinds[asset] in MODEL_KINDS:
            counts[tuple(checked.kinds[each] for each in _shortest(asset, checked.made))] += 1
    said = checked.predicate["models"]["ways"]
    if {tuple(each["way"]): each["count"] for each in said} != dict(counts) or len(said) != len(counts):
        raise Wrong("its ways to models are others than it says")
    return f"{sum(counts.values()):,} models, and by what kinds the data came into them"


def _shortest(asset: str, made: dict[str, list[str]]) -> list[str]:
    """The shortest way to something from what was made from nothing else here; of equals the first by name."""
    level, seen = [[asset]], {asset}
    while level:
        above: list[list[str]] = []
        for way in level:
            if not made.get(way[0]):
                return way
            parents = [each for each in made[way[0]] if each not in seen]
            seen.update(parents)
            above += [[each, *way] for each in parents]
        level = above
    return [asset]


def _counted(line: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((each, str(line[each])) for each in LINE_FIELDS if each in line)


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
    systems: Counter[str] = Counter()
    for row, number in rows.items():
        systems[dict(row)["system"]] += number
    if {each["system"]: each["obligations"] for each in predicate["systems"] if each["obligations"]} != dict(systems):
        raise Wrong("its systems are not those of the inventory")
    if predicate["case"]["status"] in ENDED and left:
        raise Wrong(f"it is called {predicate['case']['status']}, and {left} obligations are open")
    return f"{total:,} in the inventory, {left:,} open"


def _since(checked: _Checked) -> str:
    log = checked.predicate["log"]
    keys = following(checked.files.key or log["key"], log["keys"])
    origin, size, root = _checkpoint_by(checked.files.earlier or "", keys)
    if origin != checked.origin:
        return f"{MISSING}the earlier checkpoint is of another log ({origin})"
    if size == 0:
        return "the earlier log was empty"
    if checked.files.consistency is None:
        return f"{MISSING}without the log's tiles (--log) it is not shown that one log lies in the other"
    (small, then), (large, now) = sorted([(size, root), (checked.size, checked.root)])
    if merkle.roots_with(small, large, checked.files.consistency, then) != (then, now):
        raise Wrong("the log was changed between the two checkpoints")
    order = "of the earlier checkpoint lie in this one" if small == size else "of this one lie in the later checkpoint"
    return f"the {small:,} leaves {order} unchanged"


def _checkpoint_by(note: str, keys: Sequence[str]) -> tuple[str, int, bytes]:
    """A checkpoint that one of some keys has signed."""
    for key in keys[:-1]:
        with suppress(Wrong):
            return checkpoint_of(note, key_of(key)[1])
    return checkpoint_of(note, key_of(keys[-1])[1])


STEPS = (
    ("statement", _envelope),
    ("signature", _signature),
    ("checkpoint", _checkpoint),
    ("vouched for", _vouched),
    ("records in the log", _inclusion),
    ("facts", _sequence),
    ("case", _dates),
    ("lineage", _lineage),
    ("obligations", _counts),
    ("inventory", _inventory),
    ("models", _models),
    ("growth", _since),
)


def owned(envelope: bytes, proof: bytes, number: int) -> Step:
    """Whether an asset is in a certificate, by the proof that its owner was given."""
    name = "your asset"
    try:
        said, predicate = _strict(proof), _strict(payload(envelope))["predicate"]["obligations"]
        opening, asset = bytes.fromhex(said["opening"]), said["asset"]
        if len(opening) != OPENING_BYTES:  # with another, part of it could be taken for the asset's id
            raise ValueError("an opening of another size")
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
    except UNFIT as error:
        return Step(number, name, passed=False, text=f"it is no proof ({type(error).__name__})")
    if not claims:
        return Step(number, name, passed=False, text="it proves nothing")
    return Step(number, name, passed=True, text=f"it is in the certificate: {', '.join(claims)}")


def is_key(line: str, *, of_witness: bool = False) -> bool:
    """Whether a line is a public key as verifiers hold it: of a log, or of a witness."""
    try:
        key_of(line, COSIGNATURE if of_witness else ED25519)
    except (*UNFIT, Wrong):
        return False
    return True


def payload(envelope: bytes) -> bytes:
    """What an envelope carries, whoever has signed it.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    return raw_of(_strict(envelope)["payload"])


def large_in(entry: bytes) -> str:
    """The name of the file in which a leaf lies that is too large for its bundle; empty where the entry is the leaf."""
    if not entry.startswith(b'{"large":'):
        return ""
    try:
        name = str(_strict(entry)["large"])
    except UNFIT:
        return ""
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else ""


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


def _hash(text: str) -> bytes:
    """A hash in the one spelling that it has.

    Raises:
        ValueError: it is none.
    """
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("another spelling")
    return found
