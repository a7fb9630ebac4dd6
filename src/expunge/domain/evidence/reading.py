"""What the facts of a case come to, read once more by another program (see `verify`), which shares nothing with ours.

The ledger says what happened to chunks: lists of obligations, of which each has a letter for what became of it. Each
kind of fact that changes letters is a function here; the others change nothing that a certificate counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from expunge.domain.evidence.reading_probes import FINDINGS, Probes

CLAIMS = {
    ".": "open",
    "d": "deleted",
    "k": "key_destroyed",
    "r": "redacted",
    "b": "rebuilt_without",
    "t": "retrained_without",
    "x": "disabled",
    "q": "restricted",
    "l": "lifted",
    "a": "anonymised_with_proof",
    "u": "beyond_use",
    "p": "deferred",
    "e": "exempt",
    "h": "held",
    "n": "not_found",
    "o": "notified",
    "i": "instructed_only",
    "m": "impossible",
    "f": "failed",
}
"""What the letters of the ledger stand for."""
OPEN, PUT_OFF, ENDING, RESTRICTED = frozenset(".f"), frozenset("pu"), frozenset("puh"), frozenset("qr")
GONE = frozenset("dkn")
LEDGER, VERSION = "expunge.ledger.", ".v1"
MOST_TARGETS = 10_000
"""Of a chunk: no command names more."""
Body = dict[str, Any]


@dataclass
class Chunk:
    """A list of obligations, and what became of each by its place."""

    summary: Body
    letters: list[str]
    grades: list[str]
    notes: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Place -> reason and end of what was said."""
    holds: dict[str, list[int]] = field(default_factory=dict)
    receipt: str = ""
    """The grade of its last receipt."""
    is_put_off: bool = False
    was_sent: bool = False
    refused: str = ""
    probe: int = 0
    """The last probe that has asked about it."""
    asked: frozenset[int] = frozenset()
    """At which places."""
    moved: set[int] = field(default_factory=set)
    """Of those, which it did not call gone all the time since."""

    @classmethod
    def of(cls, summary: Body) -> Chunk:
        """As it was planned.

        Raises:
            ValueError: it is no chunk.
        """
        size = summary["size"]
        if not isinstance(size, int) or not 0 < size <= MOST_TARGETS:
            raise ValueError("a chunk of another size")
        letter = "e" if summary["action"] == "exempt" else "."
        return cls(summary, [letter] * size, [""] * size)

    def lines(self) -> Iterator[Body]:
        """What a certificate says of each obligation, but for the asset."""
        summary = self.summary
        for place, letter in enumerate(self.letters):
            reason, until = self.notes.get(place, (summary.get("reason", ""), ""))
            grade = self.grades[place] or ("E0" if letter == "." and self.was_sent and not self.refused else "")
            said = {
                "chunk": summary["digest"],
                "ordinal": place,
                "kind": summary["kind"],
                "system": summary["system"],
                "action": summary["action"],
                "claim": CLAIMS[letter],
                "grade": grade,
                "reason": reason,
                "until": until,
                "provision": summary.get("provision", ""),
            }
            yield {key: value for key, value in said.items() if value != ""}

    def turn(self, which: Collection[str], to: str, among: Iterable[int] | None = None, grade: str = "") -> list[int]:
        """Turn some letters into another; the places where that was one of them."""
        places = range(len(self.letters)) if among is None else among
        found = [place for place in places if self.letters[place] in which]
        for place in found:
            if self.letters[place] != to:
                self.letters[place], self.grades[place] = to, grade
            self.notes.pop(place, None)
        return found

    def note(self, places: Iterable[int], reason: str, until: str = "") -> None:
        """Say something with what stands at some places."""
        self.notes |= dict.fromkeys(places, (reason, until))


def _answered(chunk: Chunk, body: Body) -> None:
    letters, grade = list(body["answers"]), body.get("grade", "E1")
    if len(letters) != len(chunk.letters) or not CLAIMS.keys() >= set(letters):
        raise ValueError("answers of another chunk")
    for place, letter in enumerate(letters):
        if chunk.letters[place] != letter:
            chunk.letters[place], chunk.grades[place] = letter, grade
    chunk.receipt, chunk.notes = grade, {}
    for each in body.get("notes", ()):
        chunk.note(each["ordinals"], each.get("reason", ""), each.get("until", ""))


def _judged(chunk: Chunk, body: Body) -> None:
    if body["verdict"] == "clean":
        chunk.turn(OPEN, "t", grade=chunk.receipt)
    else:
        chunk.note(chunk.turn(OPEN, "f", grade=chunk.receipt), f"replacement_{body['verdict']}")


def _withdrawn(chunk: Chunk, _: Body) -> None:
    held = {place for places in chunk.holds.values() for place in places}
    chunk.turn(PUT_OFF, "h", sorted(held))
    chunk.turn(ENDING, ".", [place for place in range(len(chunk.letters)) if place not in held])
    chunk.is_put_off = False


def _refused(chunk: Chunk, body: Body) -> None:
    silent = [place for place, letter in enumerate(chunk.letters) if letter == "."]
    chunk.note(silent, body["reason"])
    chunk.refused, chunk.is_put_off = body["reason"], False


def _sent(chunk: Chunk, _: Body) -> None:
    if chunk.refused:
        chunk.notes = {place: said for place, said in chunk.notes.items() if said[0] != chunk.refused}
    chunk.was_sent, chunk.is_put_off, chunk.refused = True, False, ""


def _barred(chunk: Chunk, _: Body) -> None:
    if chunk.is_put_off:
        chunk.turn(PUT_OFF, ".")
    chunk.is_put_off = False


def _deferred(chunk: Chunk, body: Body) -> None:
    chunk.note(chunk.turn(OPEN | PUT_OFF, "p"), body["reason"], (body.get("until") or "")[:10])
    chunk.is_put_off = True


def _deferral_ended(chunk: Chunk, _: Body) -> None:
    chunk.turn(PUT_OFF, ".")
    chunk.is_put_off = False


def _holds_found(chunk: Chunk, body: Body) -> None:
    covered = {hold: list(places) for hold, places in body["covered"]}
    chunk.turn(PUT_OFF | OPEN, "h", sorted({place for places in covered.values() for place in places}))
    chunk.holds |= covered


def _hold_ended(chunk: Chunk, body: Body) -> None:
    ended = set(chunk.holds.pop(body["hold"], ()))
    chunk.turn("h", ".", sorted(ended.difference(*chunk.holds.values())))


def _spared(chunk: Chunk, _: Body) -> None:
    chunk.note(chunk.turn(OPEN, "e"), "granted_again")
    chunk.is_put_off = False


def _lift_due(chunk: Chunk, _: Body) -> None:
    chunk.turn(OPEN | RESTRICTED, ".")
    chunk.is_put_off = False


def _exempted(chunk: Chunk, _: Body) -> None:
    chunk.note(chunk.turn(OPEN, "e"), "decided")


def _asked(chunk: Chunk, body: Body) -> None:
    if body["number"] <= chunk.probe or not _are_places(chunk, body["ordinals"]):
        raise ValueError("a question about another chunk, or one that was put before")
    chunk.probe, chunk.asked, chunk.moved = body["number"], frozenset(body["ordinals"]), set()


def _are_places(chunk: Chunk, places: Sequence[Any]) -> bool:
    every = range(len(chunk.letters))
    return len(places) == len(set(places)) and all(type(each) is int and each in every for each in places)


def _probed(chunk: Chunk, body: Body) -> None:
    if not _are_places(chunk, [place for finding in FINDINGS for place in body[finding]]):
        raise ValueError("findings of another chunk")
    told = {*body["absent"], *body["unknown"]}
    if told and (body["number"] != chunk.probe or not told <= chunk.asked or chunk.moved.intersection(body["absent"])):
        raise ValueError("findings about what nobody was asked, or that has changed since")
    for place in body["absent"]:
        if chunk.letters[place] in GONE:
            chunk.grades[place] = "E3"
    chunk.note(chunk.turn(GONE, "f", body["found"], grade="E3"), "found_by_probe")


def _recalled(chunk: Chunk, _: Body) -> None:
    chunk.is_put_off = False


CHANGES: dict[str, Callable[[Chunk, Body], None]] = {
    "answered": _answered,
    "replacement_judged": _judged,
    "withdrawn": _withdrawn,
    "command_refused": _refused,
    "commanded": _sent,
    "joined": _sent,
    "recalled": _recalled,
    "probe_asked": _asked,
    "probed": _probed,
    "barred": _barred,
    "deferred": _deferred,
    "deferral_ended": _deferral_ended,
    "holds_found": _holds_found,
    "hold_ended": _hold_ended,
    "spared": _spared,
    "lift_due": _lift_due,
    "exempted": _exempted,
}


def name_of(fact: Body) -> str:
    """The name of a fact, out of the type of its event."""
    return str(fact["type"]).removeprefix(LEDGER).removesuffix(VERSION)


def facts_of(event: Body) -> list[Body]:
    """The facts in a record of the ledger; what the notary logs besides has none."""
    data = event.get("data")
    if not str(event.get("type")).startswith(LEDGER) or not isinstance(data, dict):
        return []
    found: list[Body] = data["facts"] if event["type"] == f"{LEDGER}facts{VERSION}" else [event]
    return [each for each in found if "case_id" in each["data"]]


def plain(fact: Body) -> str:
    """What a fact says without its cause: said again, it is the same, also as 0.1 has said it."""
    data = {key: value for key, value in fact["data"].items() if key != "cause"}
    data["body"] = {
        key: value for key, value in data["body"].items() if key != "fact" and (key, value) != ("control", "")
    }
    return json.dumps([fact["type"], data], sort_keys=True)


class Told:
    """A case as its facts tell it, in their order."""

    def __init__(self, facts: Sequence[Body]) -> None:
        self.chunks: dict[str, Chunk] = {}
        self.words: list[Body] = []
        """What operators have said of it."""
        self.probes = Probes()
        self._ended: Body | None = None
        self._passed: dict[str, int] = {}
        """Provision -> how much of it was open at its deadline."""
        self._first, self._last = facts[0], facts[-1]
        self._opened: Body = self._first["data"]["body"]
        self._due_at, self._extended = self._opened["due_at"], False
        for fact in facts:
            self.take(fact)

    def take(self, fact: Body) -> None:
        """One more fact."""
        self._last, name, body = fact, name_of(fact), fact["data"]["body"]
        if body.get("operator"):
            self.words.append({"fact": name, "operator": body["operator"], "at": fact["time"]})
        if name == "task_answered":
            for summary in body.get("chunks", ()):
                self.chunks.setdefault(summary["digest"], Chunk.of(summary))
        elif name == "extended":
            self._due_at, self._extended = body["due_at"], True
        elif name == "provision_ended":
            self._passed[body["provision"]] = body["open"]
        elif name in {"closed", "reopened"}:
            self._ended = fact if name == "closed" else None
        elif name in CHANGES:
            self._change(self.chunks[body["chunk"]], name, body)
        self.probes.take(name, body, moment(fact["time"]), self.chunks)

    def _change(self, chunk: Chunk, name: str, body: Body) -> None:
        before = "".join(chunk.letters) if chunk.asked else ""
        CHANGES[name](chunk, body)
        if chunk.asked and before:
            places = zip(before, chunk.letters, strict=True)
            chunk.moved |= {place for place, (was, now) in enumerate(places) if was in GONE and now not in GONE}

    def case(self) -> Body:
        """What a certificate says of the case, as far as its facts say it."""
        opened, ended_at = self._opened, self._end["time"]
        return {
            "publisher": opened["publisher"],
            "regime": opened["regime"],
            "clock": opened["clock"],
            "received_at": moment(opened["received_at"]),
            "received_at_clamped": opened["clamped"],
            "opened_at": moment(self._first["time"]),
            "due_at": moment(self._due_at),
            "extended": self._extended,
            "ended_at": moment(ended_at),
            "on_time": moment(ended_at) <= moment(self._due_at),
            "status": self._end["data"]["body"]["status"],
            "sequence": self._last["data"]["sequence"],
            "outcome": self._outcome(),
        }

    @property
    def has_ended(self) -> bool:
        """Whether it has, and was not reopened since."""
        return self._ended is not None

    @property
    def _end(self) -> Body:
        if self._ended is None:
            raise ValueError("a case that has not ended")
        return self._ended

    def provisions(self) -> list[Body]:
        """The provisions of an order, and how much of each is open."""
        left: dict[str, int] = {}
        for chunk in self.chunks.values():
            name = chunk.summary.get("provision", "")
            left[name] = left.get(name, 0) + sum(letter in OPEN for letter in chunk.letters)
        return [
            {
                "provision": name,
                "due_at": moment(due_at),
                "open": left.get(name, 0),
                "open_when_due": self._passed.get(name),
            }
            for name, due_at in self._opened.get("provisions", ())
        ]

    @property
    def due_at(self) -> float:
        """Its deadline."""
        return moment(self._due_at)

    @property
    def extended(self) -> bool:
        """Whether that was put off."""
        return self._extended

    @property
    def scope(self) -> str:
        """What kind of request it is."""
        return str(self._opened["scope"])

    @property
    def policy(self) -> str:
        """The policy that it is bound to."""
        return str(self._first["data"]["policy"])

    def _outcome(self) -> str:
        """One word for what came of it."""
        status = self._end["data"]["body"]["status"]
        if status in {"refused", "cancelled"}:
            return str(status)
        lines = [line for chunk in self.chunks.values() for line in chunk.lines() if line["claim"] != "not_found"]
        said = {(line["claim"], line.get("reason", "")) for line in lines}
        if said and said == {("exempt", "granted_again")}:
            return "superseded"
        claims = {claim for claim, reason in said if reason != "granted_again"}
        if status == "partially_completed":
            return "partial"
        if "exempt" in claims:
            return "partial" if len(claims) > 1 else "refused"
        return "complied" if claims else "not_found"


def moment(stamped: str) -> float:
    """A moment as it can be compared, to the millisecond: however it is spelled."""
    return round(datetime.fromisoformat(stamped).timestamp(), 3)


MOMENTS = frozenset({"received_at", "opened_at", "due_at", "ended_at"})
