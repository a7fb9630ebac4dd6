"""Playing Expunge against agents: the library's gets everything right, and each way of getting it wrong is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from expunge.agent import Result, Target, deleted, failed
from expunge.agent.conformance import NEEDED, PLAYS, Finding, Stage, run
from expunge.domain.events import Outgoing, Position, Record
from tests.agents import NOW, Clock, Lab, System

ASSETS = [f"asset-{number}" for number in range(NEEDED + 1)]
Twist = Callable[[dict[str, Any]], "dict[str, Any] | None"]


class Wire:
    """Kafka between the plays and an agent in memory; `twist` is what the agent does to its receipts."""

    def __init__(self, lab: Lab, twist: Twist) -> None:
        self.lab, self.twist, self.read = lab, twist, 0
        self.waiting: list[bytes] = []

    def say(self, outgoing: Outgoing) -> None:
        self.waiting.append(outgoing.value or b"")

    def hear(self, seconds: float) -> Sequence[Record]:
        said, self.waiting = self.waiting, []
        self.lab.broker.waiting += said
        self.lab.agent.turn(lambda _: None)
        self.lab.clock.at += timedelta(seconds=seconds)
        fresh, self.read = self.lab.broker.sent[self.read :], len(self.lab.broker.sent)
        twisted = [each for data in fresh if (each := self.twist(data)) is not None]
        return [Record("receipts.s", 0, Position(0, n), NOW, b"k", event(data)) for n, data in enumerate(twisted)]


def event(data: dict[str, Any]) -> bytes:
    identity = "/".join(str(data.get(field)) for field in ("command_id", "attempt", "sequence"))
    envelope = {"specversion": "1.0", "id": identity, "source": "/s", "type": "expunge.purge.receipted.v1"}
    return json.dumps(envelope | {"data": data}).encode()


def as_it_is(data: dict[str, Any]) -> dict[str, Any] | None:
    return data


def played(path: Path, system: Any, twist: Twist = as_it_is, assets: Sequence[str] = ASSETS) -> dict[str, Finding]:
    lab = Lab(path, system)
    stage = Stage("s", Wire(lab, twist), lab.clock, Clock().now, "object", list(assets), patience=3.0)
    found = list(run(stage))
    assert len(found) == len(PLAYS)
    return {play.__name__: finding for play, finding in zip(PLAYS, found, strict=True)}


def test_the_library_gets_everything_right(tmp_path: Path) -> None:
    found = played(tmp_path, System(*ASSETS))
    assert not {name: each.seen for name, each in found.items() if not each.right}


class Forgetful(System):
    """Says that everything was there."""

    def _one(self, each: Target) -> Result:
        return deleted(each)


class Stubborn(System):
    """Deletes nothing."""

    def _one(self, each: Target) -> Result:
        return failed(each, "no")


def changed(**fields: Any) -> Twist:
    return lambda data: data | fields


def claims(claim: str) -> Twist:
    return lambda data: data | {"results": [each | {"claim": claim} for each in data.get("results", ())]}


def no_withdrawals(data: dict[str, Any]) -> dict[str, Any] | None:
    return None if data["status"] == "withdrawn" else data


def nothing_done(data: dict[str, Any]) -> dict[str, Any] | None:
    return data | {"results": []} if data["status"] == "withdrawn" else data


def first_attempt_alone(data: dict[str, Any]) -> dict[str, Any] | None:
    return None if data["attempt"] > 1 else data


WRONG: list[tuple[type[System], Twist, set[str]]] = [
    (Forgetful, as_it_is, {"absent"}),
    (Stubborn, as_it_is, {"there", "anew", "absent"}),
    (System, changed(system="other"), {"there", "large"}),
    (System, changed(case_id="0" * 32), {"there"}),
    (System, changed(status="finished"), {"there"}),
    (System, changed(attempt=0), {"there"}),
    (System, claims("restricted"), {"there", "absent"}),
    (System, no_withdrawals, {"withdrawn_before", "withdrawn_after"}),
    (System, nothing_done, {"withdrawn_after"}),
    (System, first_attempt_alone, {"repeated", "refused"}),
    (System, lambda _: None, {each.__name__ for each in PLAYS}),
    (System, lambda data: data | {"evidence": {"text": "x" * 900_001}}, {"there"}),
]


@pytest.mark.parametrize(("system", "twist", "wrong"), WRONG)
def test_what_an_agent_gets_wrong_is_found(tmp_path: Path, system: type[System], twist: Twist, wrong: set[str]) -> None:
    found = played(tmp_path, system(*ASSETS), twist)
    assert wrong <= {name for name, finding in found.items() if not finding.right}
    assert all(finding.seen for finding in found.values())


def test_without_assets_a_play_says_what_it_needs(tmp_path: Path) -> None:
    found = played(tmp_path, System(), assets=())
    assert "--asset" in found["there"].seen
    assert found["large"].right
