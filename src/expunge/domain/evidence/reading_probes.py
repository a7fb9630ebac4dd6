"""Probes as whoever checks a certificate reads them out of its facts (see `reading`). It imports nothing of Expunge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Body = dict[str, Any]
FINDINGS = ("absent", "found", "unknown")


class Asked(Protocol):
    """A list of obligations, as far as a prober was asked about it."""

    probe: int
    asked: frozenset[int]


class Probes:
    """What was asked of probers in one case, and what they have found, probe by probe."""

    def __init__(self) -> None:
        self.all: list[Body] = []
        self._last: dict[tuple[int, str, int], str] = {}

    def take(self, name: str, body: Body, at: float, chunks: Mapping[str, Asked]) -> None:
        """One more fact, which `chunks` know."""
        if name == "probe_begun":
            if body["number"] != len(self.all) + 1:
                raise ValueError("a probe of another number")
            said = {"number": body["number"], "sample": body["sample"] or None, "of": body["of"], "by": []}
            counts = dict.fromkeys(("asked", *FINDINGS, "besides"), 0)
            self.all.append(said | {"begun_at": at, "ended_at": None} | counts)
        elif name == "probe_asked":
            self._of(body, is_going_on=True)["asked"] += len(body["ordinals"])
        elif name == "probe_ended":
            self._of(body, is_going_on=True)["ended_at"] = at
        elif name == "probed":
            self._hear(body, chunks[body["chunk"]])

    def _of(self, body: Body, *, is_going_on: bool) -> Body:
        """The probe of which a fact tells."""
        number = body["number"]
        if type(number) is not int or not 0 < number <= len(self.all):
            raise ValueError("a probe of another number")
        said = self.all[number - 1]
        if is_going_on and (number < len(self.all) or said["ended_at"] is not None):
            raise ValueError("a probe that had ended")
        return said

    def _hear(self, body: Body, chunk: Asked) -> None:
        """Of each obligation that was asked about its last finding counts."""
        said = self._of(body, is_going_on=bool(body["absent"] or body["unknown"]))
        for finding in FINDINGS:
            for place in body[finding]:
                if body["number"] != chunk.probe or place not in chunk.asked:
                    said["besides"] += 1
                    continue
                which = (body["number"], body["chunk"], place)
                if which in self._last:
                    said[self._last[which]] -= 1
                said[finding] += 1
                self._last[which] = finding
        said["by"] = sorted({*said["by"], body["by"]})
