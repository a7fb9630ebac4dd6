"""One message that cannot be handled, by command on real servers: the case waits and says so, and others do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expunge.adapters.system import SystemClock
from expunge.cli.app import app
from expunge.domain.events import Event
from expunge.errors import ConfigurationError
from expunge.wire.cases.case import Froze
from expunge.wire.cases.said import Place
from expunge.wire.cases.table import TYPE_OF
from tests.deployment import Deployment, deployed, until
from tests.servers import Servers


@pytest.fixture(scope="module")
def world(real: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("aside") / "d", real.kafka, real.redis) as deployment:
        deployment.start("roles", "run")
        yield deployment


def expunge(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def shown(case_id: str) -> list[str]:
    found: dict[str, Any] = json.loads(expunge("case", "show", case_id, "--json").stdout)
    return [line for line in found["kept_back"] if "frozen" in line]


def mends() -> list[str]:
    return [each["mend"] for each in json.loads(expunge("doctor", "--json").stdout)["findings"]]


def tell(world: Deployment, kind: str, case_id: str, data: dict[str, Any]) -> None:
    event = Event(kind, "/expunge/resolver", f"told-{kind}", SystemClock().now(), data)
    world.send("cases", event.encode(), key=case_id)


def test_a_case_that_a_newer_version_wrote_to_waits_says_so_and_others_go_on(world: Deployment) -> None:
    mine = world.erase("ann", "frozen")
    world.await_milestone(mine)
    tell(world, "expunge.internal.invented_tomorrow.v9", mine, {"case_id": mine})
    until(lambda: shown(mine), 60, world)
    assert f"expunge case thaw {mine} --operator olga" in mends()
    assert "frozen since" in expunge("case", "show", mine).output
    world.await_milestone(world.erase("bob", "beside-it"))
    said = expunge("case", "thaw", mine, "--operator", "olga", "--reason", "looked at")
    assert said.exit_code == 0, said.output
    world.await_milestone(world.erase("cora", "behind-the-thaw"))
    assert shown(mine), "this version cannot read it yet, so the case waits on"
    assert "say it without --without" in str(expunge("case", "thaw", mine, "--operator", "olga", "--without").exception)
    assert expunge("case", "thaw", mine, "--operator", "olga", "--skip").exit_code == 0
    until(lambda: not shown(mine), 60, world)


def test_what_another_role_set_aside_is_published_again_and_the_case_goes_on(world: Deployment) -> None:
    mine = world.erase("cleo", "set-aside")
    world.await_milestone(mine)
    (record,) = [each for each in world.records("requests") if b"set-aside" in each.value]
    place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
    told = Froze(case_id=mine, reason="KeyError", place=place)
    tell(world, TYPE_OF[Froze], mine, told.model_dump())
    until(lambda: shown(mine), 60, world)
    assert expunge("case", "thaw", mine, "--operator", "olga").exit_code == 0
    until(lambda: not shown(mine), 60, world)
    assert len([each for each in world.records("requests") if b"set-aside" in each.value]) == 2
    again = expunge("case", "thaw", mine, "--operator", "olga")
    assert isinstance(again.exception, ConfigurationError)
    assert "is not frozen" in str(again.exception)


def test_a_message_that_an_operator_parks_is_set_aside_and_those_behind_it_are_handled(world: Deployment) -> None:
    asked = {each.partition: each.offset for each in world.records("requests")}
    (partition, offset) = max(asked.items())
    world.kill("roles")
    for each in range(16):  # one of them lands behind what lies there
        world.erase(f"dora{each}", f"parked-{each}")
        if max(r.offset for r in world.records("requests") if r.partition == partition) > offset:
            break
    olga = ("--operator", "olga")
    place = ("--topic", "requests", "--partition", str(partition), "--offset")
    assert expunge("dead-letters", "park", *place, str(offset + 1), "--reason", "a mistake", *olga).exit_code == 0
    assert any("unpark" in mend for mend in mends())
    assert expunge("dead-letters", "unpark", *place, str(offset + 1)).exit_code == 0
    for wrong, why in ((offset, "comes there no more"), (10**18, "there is no message"), (offset + 2, "there is no")):
        refused = expunge("dead-letters", "park", *place, str(wrong), "--reason", "x", *olga)
        assert why in str(refused.exception)
    mute = expunge("dead-letters", "park", *place, "1", "--reason", " ", *olga)
    assert "--reason TEXT is needed" in str(mute.exception)
    nobody = expunge("dead-letters", "park", *place, str(offset + 1), "--reason", "x")
    assert "--operator NAME is needed" in str(nobody.exception)
    parked = expunge("dead-letters", "park", *place, str(offset + 1), "--reason", "[red]a clock ran ahead", *olga)
    assert parked.exit_code == 0, parked.output
    world.start("roles", "run")
    until(lambda: any(e["data"]["reason"] == "poison" and e["data"]["role"] == "intake" for e in letters(world)), 60)
    world.await_milestone(world.erase("emil", "behind-it"))
    (letter,) = [each["data"] for each in letters(world) if each["data"]["role"] == "intake"]
    assert (letter["offset"], letter["where"]) == (offset + 1, "[red]a clock ran ahead")
    ledger = [json.loads(record.value) for record in world.records("ledger")]
    facts = [each for each in ledger if each["type"] == "expunge.ledger.parked.v1"]
    assert [each["data"]["offset"] for each in facts] == [offset + 1, offset + 1]
    for topic in ("commands.files", "dead-letters", ""):
        refused = expunge("dead-letters", "park", *("--topic", topic), *place[2:], "1", "--reason", "x", *olga)
        assert "no role of Expunge reads" in str(refused.exception)


def letters(world: Deployment) -> list[dict[str, Any]]:
    return world.events("dead-letters")
