"""The certificate of a case: an in-toto Statement about what was found, and what became of it (rule "certified").

It says what the facts of the case say, and nothing else. Of assets and people it holds counts and commitments; whoever
owns an asset, and is told its `opening`, can show that it is among them. https://github.com/in-toto/attestation
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from expunge.domain.aggregates.case import confirm
from expunge.domain.aggregates.case.chunks import CLAIMS, GONE, ChunkState
from expunge.domain.aggregates.case.deadlines import ProvisionEnded
from expunge.domain.aggregates.case.probing import ProbeAsked, ProbeBegun, Probed, ProbeEnded
from expunge.domain.digest import canonical, hidden
from expunge.domain.events import stamp
from expunge.domain.evidence import merkle
from expunge.domain.evidence.history import History, Obligation
from expunge.domain.planning.chunks import Chunk
from expunge.domain.registry import Registry
from expunge.domain.vocabulary import OPEN, UNDONE, Finding, Grade
from expunge.wire.cases.case import Root

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://expunge.dev/certificate/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

LIMITATIONS = (
    (
        "It rests on what systems have answered to commands: E1 is an unsigned answer, E2 one that is signed with the "
        "system's own key; and on what others found who looked (E3), which is no look at every disk."
    ),
    (
        "It tells of what was registered in the lineage index, and of what systems found that were asked; what nobody "
        "has registered, it does not know."
    ),
    "The times in it are those of the deployment's own broker.",
)
NO_CLOCK = "no independent clock has stamped the checkpoint (RFC 3161)"
NO_WITNESS = "no witness has signed the checkpoint: that the log has shown everybody the same"
NO_PROBE = "no probe by a third party has looked whether anything is left: nothing here is `verified deleted`"
NOT_ALL_PROBED = "whether what no probe has looked at is gone: that rests on its system's word"
NO_WAY = "the way from the data to some of the models"
NOT_SHOWN = (
    (
        "the signatures of systems and probers: that an answer was signed (E2, E3) is what the door has said when it "
        "came; the answer itself stands on `plans` until the case is forgotten"
    ),
)


GONE_CLAIMS = frozenset(CLAIMS[letter] for letter in GONE)
"""What a probe can look for."""


class Standing(NamedTuple):
    """How the deployment stands when a certificate is issued."""

    registry: Registry
    allow_unsigned: bool
    verifier: str
    """The log's public key, as verifiers hold it (`notes.verifier`)."""
    losses: Sequence[dict[str, Any]] = ()
    """What operators have acknowledged to be lost."""
    successions: Sequence[str] = ()
    """By whose word the log's key has followed earlier ones (`notes.succession`)."""


def opening(salt: str, asset: str) -> bytes:
    """What its owner must be told to show that an asset is in a certificate: it says nothing of any other.

    HMAC-SHA-256 of the asset's id under the case's salt.
    """
    return hmac.digest(bytes.fromhex(salt), b"expunge/v1/opening\n" + asset.encode(), "sha256")


def commitment(opened: bytes, asset: str) -> str:
    """What stands in a certificate for an asset: SHA-256 of its opening and its id, hexadecimal."""
    return hashlib.sha256(opened + asset.encode()).hexdigest()


def is_known(told: History, chunk: ChunkState, root: Root) -> bool:
    """Whether it is known still which assets are meant by a chunk: what was forgotten is counted, and not named."""
    return bool(root.salt) and chunk.generation > told.case.forgotten


def lines(told: History, bodies: Iterable[Chunk], root: Root) -> Iterator[bytes]:
    """Each obligation as it is committed to: a line of canonical JSON (RFC 8785), a leaf of the certificate's own tree.

    Args:
        told: the case.
        bodies: the chunks that are known, in the order of their names.
        root: what the case was opened with.
    """
    bodies, body = iter(bodies), None
    for each in told.obligations():
        if each.ordinal == 0:
            body = next(bodies) if is_known(told, each.chunk, root) else None
        if body is not None and body.digest != each.chunk.summary.digest:
            raise ValueError("a chunk has another body than its name says")
        asset = body.assets[each.ordinal] if body is not None else ""
        said = {
            "asset": commitment(opening(root.salt, asset), asset) if asset else "",
            "chunk": each.chunk.summary.digest,
            "ordinal": each.ordinal,
            **_line(each),
        }
        yield canonical({key: value for key, value in said.items() if value != ""})


def _line(each: Obligation) -> dict[str, Any]:
    """What is counted of an obligation."""
    summary = each.chunk.summary
    return {
        "kind": summary.kind.value,
        "system": summary.system,
        "action": summary.action.value,
        "claim": str(each.claim),
        "grade": each.grade,
        "reason": each.reason,
        "until": each.until,
        "provision": summary.provision,
    }


def inventory(obligations: Iterable[Obligation]) -> list[dict[str, Any]]:
    """Obligations that are alike, counted."""
    counts = Counter(tuple(_line(each).items()) for each in obligations)
    rows = [({key: value for key, value in said if value != ""}, number) for said, number in counts.items()]
    return [row | {"count": number} for row, number in sorted(rows, key=lambda each: sorted(each[0].items()))]


class Records(NamedTuple):
    """The records of the ledger on which a certificate rests."""

    number: int
    root: bytes
    """Over the hashes of their leaves, in order."""


def records_of(leaves: Sequence[bytes]) -> Records:
    """The same, of the records themselves."""
    return Records(len(leaves), merkle.root_of(map(merkle.leaf_hash, leaves)))


class Models(NamedTuple):
    """How the data came into models (`ways`)."""

    ways: Sequence[dict[str, Any]] = ()
    number: int = 0
    """Of steps."""
    root: bytes = merkle.root_of(())
    """Over them."""


class Evidence(NamedTuple):
    """What a certificate points to: all of it can be checked beside it."""

    records: Records
    checkpoint: str
    """The signed note in which the records lie."""
    obligations: bytes
    """The root over the lines of obligations."""
    predecessor: str
    """SHA-256 of the payload of the certificate of an earlier end of this case; empty: there is none."""
    stamp: bytes | None = None
    """What an independent clock says of the checkpoint: a TimeStampResp of RFC 3161."""
    models: Models = Models()

    def not_vouched(self) -> list[str]:
        """What nobody else has said of the checkpoint."""
        found = [] if self.stamp else [NO_CLOCK]
        return found if len(self.checkpoint.partition("\n\n")[2].splitlines()) > 1 else [*found, NO_WITNESS]

    def __repr__(self) -> str:
        return hidden(self)


def statement(root: Root, told: History, evidence: Evidence, standing: Standing) -> dict[str, Any]:
    """The statement that is signed: the same input is the same statement."""
    case, rows = told.case, inventory(told.obligations())
    number = sum(row["count"] for row in rows)
    predicate = {
        "version": 1,
        "case": _case(root, told),
        "scope": _scope(root),
        "lineage": {
            "registrations_at_the_request": root.watermark,
            "all_of_them_indexed": not case.watermark,
            "plans": len(case.generations),
        },
        "systems": _systems(rows, standing.registry),
        "inventory": rows,
        "obligations": {
            "number": number,
            "open": sum(row["count"] for row in rows if row["claim"] in UNDONE),
            "root": evidence.obligations.hex(),
        },
        "models": {
            "ways": list(evidence.models.ways),
            "steps": evidence.models.number,
            "root": evidence.models.root.hex(),
        },
        "words": _words(told),
        "losses": list(standing.losses),
        "verification": {"probes": _probes(told)},
        "unsigned": _unsigned(root, rows, standing),
        "records": {"number": evidence.records.number, "root": evidence.records.root.hex()},
        "log": {
            "checkpoint": evidence.checkpoint,
            "key": standing.verifier,
            "keys": list(standing.successions),
            "timestamp": base64.b64encode(evidence.stamp).decode() if evidence.stamp else None,
        },
        "policy": case.policy,
        "predecessor": evidence.predecessor or None,
        "not_shown": [*evidence.not_vouched(), *_not_shown(told, root, rows, evidence.models)],
        "limitations": list(LIMITATIONS),
    }
    subject = {"name": f"case:{case.case_id}", "digest": {"sha256": evidence.obligations.hex()}}
    return {"_type": STATEMENT, "subject": [subject], "predicateType": PREDICATE, "predicate": predicate}


def _case(root: Root, told: History) -> dict[str, Any]:
    case, ended_at = told.case, told.ended_at
    if ended_at is None:
        raise ValueError("a case that has not ended")
    passed = {each.fact.provision: each.fact.open for each in told.facts if isinstance(each.fact, ProvisionEnded)}
    matter = root.matter.model_dump(mode="json", include={"authority", "docket", "order_date"}) if root.matter else None
    expected = root.matter.expected_count if root.matter else None
    return {
        "id": case.case_id,
        "publisher": case.publisher,
        "regime": case.regime.value,
        "clock": case.clock,
        "received_at": stamp(case.received_at),
        "received_at_clamped": case.clamped,
        "opened_at": stamp(case.opened_at),
        "due_at": stamp(case.due_at),
        "extended": case.extended,
        "ended_at": stamp(ended_at),
        "on_time": ended_at <= case.due_at,
        "status": case.status.value,
        "outcome": confirm.outcome_of(case),
        "sequence": told.facts[-1].sequence,
        "provisions": [
            {
                "provision": each.provision,
                "due_at": stamp(each.due_at),
                "open": case.open_under(each.provision),
                "open_when_due": passed.get(each.provision),
            }
            for each in case.deadlines
        ],
        "matter": matter,
        "expected_count": expected,
    }


def _scope(root: Root) -> dict[str, Any]:
    scope = root.scope
    return {
        "kind": scope.kind.value,
        "about_a_person": bool(scope.subjects),
        "data_sources": list(scope.data_sources),
        "assets": len(scope.assets) or len(root.withdrawn),
        "purposes": list(scope.purposes),
        "collected_until": scope.until or None,
    }


def _systems(rows: Sequence[dict[str, Any]], registry: Registry) -> list[dict[str, Any]]:
    """Who was asked for how much; and of whom nothing is known, and why."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row["system"]] += row["count"]
    found = []
    for name in sorted({*counts, *(each.name for each in registry.systems)}):
        system = registry.system(name)
        why = "" if system and system.integrated else system.reason if system else "it is not declared"
        third = {"third_party": True} if system and system.third_party else {}
        found.append({"system": name, "obligations": counts[name]} | third | ({"not_asked": why} if why else {}))
    return found


def _words(told: History) -> list[dict[str, Any]]:
    """What operators have said of the case, by the id of their key."""
    return [
        {"fact": each.fact.fact, "operator": operator, "at": stamp(each.at)}
        for each in told.facts
        if (operator := getattr(each.fact, "operator", ""))
    ]


def _unsigned(root: Root, rows: Sequence[dict[str, Any]], standing: Standing) -> dict[str, Any]:
    publisher = next((each for each in standing.registry.publishers if each.name == root.publisher), None)
    return {
        "answers": sum(row["count"] for row in rows if row.get("grade") == Grade.E1 and row["claim"] not in UNDONE),
        "operators_may_be": standing.allow_unsigned,
        "publisher_is_bound": bool(publisher and publisher.is_bound),
    }


def _probes(told: History) -> list[dict[str, Any]]:
    """Who has looked whether anything is left, when, at how much, and what they found."""
    found: dict[int, dict[str, Any]] = {}
    asked: dict[str, tuple[int, set[int]]] = {}
    heard: dict[tuple[int, str, int], str] = {}
    for each in told.facts:
        match each.fact:
            case ProbeBegun(number=number, sample=sample, of=of):
                dates = {"begun_at": stamp(each.at), "ended_at": None}
                counts = {"asked": 0, "besides": 0}
                found[number] = {"number": number, **dates, "sample": sample or None, "of": of, "by": [], **counts}
            case ProbeAsked(number=number, chunk=chunk, ordinals=ordinals):
                found[number]["asked"] += len(ordinals)
                asked[chunk] = number, set(ordinals)
            case ProbeEnded(number=number):
                found[number]["ended_at"] = stamp(each.at)
            case Probed(number=number, chunk=chunk, by=by) as fact:
                found[number]["by"] = sorted({*found[number]["by"], by})
                last, places = asked.get(chunk, (0, set()))
                findings = {Finding.ABSENT: fact.absent, Finding.FOUND: fact.found, Finding.UNKNOWN: fact.unknown}
                for finding, place in ((each, place) for each, all_ in findings.items() for place in all_):
                    if last == number and place in places:
                        heard[number, chunk, place] = finding.value
                    else:
                        found[number]["besides"] += 1
    counts_of = Counter((number, finding) for (number, _, _), finding in heard.items())
    return [said | {each.value: counts_of[number, each.value] for each in Finding} for number, said in found.items()]


def _not_shown(told: History, root: Root, rows: Sequence[dict[str, Any]], models: Models) -> list[str]:
    gone = {row.get("grade") for row in rows if row["claim"] in GONE_CLAIMS}
    found = list(NOT_SHOWN)
    if gone != {Grade.E3}:
        found.insert(0, NOT_ALL_PROBED if Grade.E3 in gone else NO_PROBE)
    led = sum(each["count"] for each in models.ways if len(each["way"]) > 1)
    if led < sum(chunk.summary.size for chunk in told.chunks.values() if chunk.summary.kind.is_model):
        found.append(NO_WAY)
    if not all(is_known(told, chunk, root) for chunk in told.chunks.values()):
        found.append("which assets some of these were: that was forgotten before this certificate was made")
    if any(each.claim == OPEN for each in told.obligations()):
        found.append("that what is open was done: nobody has answered for it")
    if told.case.watermark:
        found.append("that all had been indexed that was registered before the request")
    return found
