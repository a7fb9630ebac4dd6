"""Figures of a span of time follow from the published log, tell of nobody, and are what really happened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from expunge.cli.logs import checkpoint, events
from expunge.domain.evidence.notes import verifier
from expunge.domain.evidence.period import ALL, FEWEST, Case, Counts, Line, Requests, ccpa_metrics, period, requests
from expunge.errors import ConfigurationError
from expunge.report.period import period_page
from tests.servers import ROOT
from tests.simulation import NOTARY, ORIGIN, STRANGER, World, receipt

KEY = verifier(ORIGIN, bytes.fromhex(NOTARY.public))
SINCE, UNTIL = date(2026, 11, 1), date(2027, 1, 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(signs=True, evidence=tmp_path / "evidence")


def told(world: World, until: date = UNTIL) -> Requests:
    assert world.ledger_log.checkpoint() is not None
    return requests(events([world.ledger_log.folder], KEY), until)


def counts(lines: tuple[Line, ...], regime: str = ALL, month: str = ALL) -> Counts:
    (found,) = [each.counts for each in lines if (each.regime, each.month) == (regime, month)]
    assert found is not None
    return found


def people(world: World, number: int, name: str = "person") -> list[str]:
    for each in range(number):
        world.register(f"{name}-{each}", subjects=[f"{name}{each}"])
    return [f"{name}{each}" for each in range(number)]


def test_figures_are_what_happened(world: World) -> None:
    for person in people(world, 6):
        world.erase(person, request=person)
    world.settle()
    world.answers["photos"] = lambda _: []
    slow = [world.erase(person, request=person) for person in people(world, 6, "slow")]
    world.settle(ticks=2)
    early = period(told(world), SINCE, UNTIL)
    whole = counts(early.lines)
    assert (whole.received, whole.ended, whole.open, whole.on_time, whole.late) == (12, 6, 6, 6, 0)
    assert whole.outcomes == {"complied": 6}
    assert whole.days is not None
    assert whole.days.median < 1
    assert counts(early.lines, "gdpr") == whole
    assert early.as_of.startswith("2026-11-01T")  # so far goes the log, and nobody is late yet

    world.tick(86_400 * 40)  # past the deadline of all
    world.settle(ticks=4)
    late = counts(period(told(world), SINCE, UNTIL).lines)
    assert (late.received, late.on_time, late.late, late.ended) == (12, 6, 6, 6)
    assert sum(late.outcomes.values()) + late.open == late.received
    assert {world.status(each) for each in slow} == {"partially_completed"}

    again = period(told(world, date(2026, 11, 2)), SINCE, date(2026, 11, 2))
    assert counts(again.lines) == whole  # what was said later is in none of it


def failing(command: dict[str, Any]) -> list[dict[str, Any]]:
    return [receipt(command, all={"claim": "failed", "reason_code": "disk_full"})]


def test_what_failed_is_neither_ended_nor_complied_with(world: World) -> None:
    """Six cases of which nothing was deleted closed as partially completed: they counted as complied with on day 0."""
    world.answers["photos"] = failing
    for person in people(world, 6):
        world.erase(person, request=person, regime="ccpa")
    world.settle(ticks=20)
    world.tick(86_400 * 60)
    world.settle(ticks=4)
    logged = told(world, date(2027, 2, 1))
    found = counts(period(logged, SINCE, date(2027, 2, 1)).lines)
    assert (found.received, found.ended, found.open, found.late, found.outcomes) == (6, 0, 6, 6, {})
    deletes = ccpa_metrics(logged, 2026).requests_to_delete
    assert (deletes.complied_in_whole_or_in_part, deletes.pending, deletes.median_days) == (0, 6, None)
    del world.answers["photos"]
    world.tick(86_400 * 2)
    world.settle(ticks=6)
    found = counts(period(told(world, date(2027, 2, 1)), SINCE, date(2027, 2, 1)).lines)
    assert (found.ended, found.late, found.outcomes) == (6, 6, {"complied": 6})
    assert found.days is not None
    assert found.days.median > 60


def test_what_was_put_off_and_failed_is_open_again(world: World) -> None:
    """An overdue case is closed anew without being reopened."""
    world.answers["photos"] = lambda _: []
    for person in people(world, FEWEST):
        world.erase(person, request=person)
    world.settle(ticks=1)
    world.tick(86_400 * 40)
    world.settle(ticks=4)
    until = {"claim": "deferred", "until": "2027-03-01T00:00:00Z", "reason_code": "rotation"}
    world.answers["photos"] = lambda command: [receipt(command, all=until)]
    world.tick(86_400 * 2)
    world.settle(ticks=4)
    assert counts(period(told(world, date(2027, 2, 1)), SINCE, date(2027, 2, 1)).lines).outcomes == {"put_off": FEWEST}
    world.answers["photos"] = failing
    world.tick(86_400 * 120)
    world.settle(ticks=4)
    found = counts(period(told(world, date(2027, 12, 1)), SINCE, date(2027, 12, 1)).lines)
    assert (found.open, found.reopened, found.outcomes) == (FEWEST, FEWEST, {})


def test_what_is_held_is_not_complied_with(world: World) -> None:
    every = people(world, FEWEST)
    for number, person in enumerate(every):
        scope = {"subject": {"namespace": "user_id", "id": person}}
        hold: dict[str, Any] = {"hold_id": f"h{number}", "scope": scope, "basis": "a trial", "custodian": "counsel"}
        world.order("hold.placed", key=f"h{number}", **hold)
    world.settle(ticks=1)
    for person in every:
        world.erase(person, request=person)
    world.settle()
    said = period(told(world), SINCE, UNTIL)
    assert counts(said.lines).outcomes == {"put_off": FEWEST}
    ((stays),) = said.stays
    assert (stays.claim, stays.requests, stays.things) == ("held", FEWEST, FEWEST)


def test_what_stays_of_few_is_not_shown(world: World) -> None:
    every = people(world, FEWEST)
    for number in range(7):
        world.register(f"more-{number}", "backup", subjects=[every[0]])
    for person in every:
        world.erase(person, request=person)
    world.settle(ticks=1)
    assert period(told(world), SINCE, UNTIL).stays == ()


def test_a_request_of_the_span_that_is_logged_later_is_received_in_it(world: World) -> None:
    """It was in no report at all: received before the one, and logged after the other."""
    for person in people(world, FEWEST):
        world.erase(person, request=person, regime="ccpa", received_at="2026-10-31T23:50:00Z")
    world.settle()
    before = told(world, date(2026, 11, 1))
    found = counts(period(before, date(2026, 10, 1), date(2026, 11, 1)).lines)
    assert (found.received, found.ended, found.open) == (FEWEST, 0, FEWEST)
    after = period(told(world), SINCE, UNTIL)
    assert (after.carried_over, after.carried_over_ended) == (FEWEST, FEWEST)


def test_what_comes_back_is_a_reopening_and_no_delay(world: World) -> None:
    every = people(world, FEWEST)
    for person in every:
        world.erase(person, request=person)
    world.settle()
    world.tick(86_400 * 50)
    world.register("person-0", subjects=[every[0]])
    world.settle(ticks=4)
    found = counts(period(told(world), SINCE, UNTIL).lines)
    assert (found.reopened, found.late, found.on_time, found.ended) == (1, 0, FEWEST, FEWEST)


def test_dry_runs_are_no_requests(world: World) -> None:
    (person, *others) = people(world, FEWEST + 1)
    world.erase(person, request=person, dry_run=True)
    for each in others:
        world.erase(each, request=each)
    world.settle()
    assert counts(period(told(world), SINCE, UNTIL).lines).received == FEWEST


def test_who_was_open_at_the_beginning_is_carried_over(world: World) -> None:
    world.answers["photos"] = lambda _: []
    for person in people(world, FEWEST):
        world.erase(person, request=person)
    world.settle(ticks=1)
    del world.answers["photos"]
    world.tick(86_400 * 35)
    world.settle(ticks=6)
    found = period(told(world), date(2026, 12, 1), UNTIL)
    assert (found.carried_over, found.carried_over_ended) == (FEWEST, FEWEST)
    assert found.lines[0].counts is None or found.lines[0].counts.received == 0


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ((6, 7), (True, True)),
        ((2, 9), (False, False)),  # what is hidden would follow from the sum
        ((2, 3, 9), (False, False, True)),
        ((2, 9, 7), (False, True, False)),
        ((1, 1, 9, 7), (False, False, True, False)),  # two of one each: their sum says as much
        ((1,), (False,)),
    ],
)
def test_small_groups_are_not_shown_nor_what_they_follow_from(
    world: World, sizes: tuple[int, ...], shown: tuple[bool, ...]
) -> None:
    (model,), _, at = told_of(world, 1)
    every = [like(model, month) for month, size in enumerate(sizes, 1) for _ in range(size)]
    lines = period(Requests(every, 0, at), date(2026, 1, 1), date(2027, 1, 1)).lines
    months = [line for line in lines if line.month != ALL]
    if sum(sizes) < FEWEST:
        assert lines[0].counts is None
        assert not months
        return
    assert tuple(line.counts is not None for line in months) == shown


def told_of(world: World, number: int) -> Requests:
    for person in people(world, number):
        world.erase(person, request=person)
    world.settle()
    return told(world)


def like(case: Case, month: int) -> Case:
    """The same request, received in another month of 2026."""
    opened = {**case.told._first, "data": {**case.told._first["data"]}}
    opened["data"]["body"] = {**opened["data"]["body"], "received_at": f"2026-{month:02}-03T00:00:00Z"}
    return Case(opened)


def test_the_metrics_of_a_year_are_those_of_the_law(world: World) -> None:
    for person in people(world, 3):
        world.erase(person, request=person, regime="ccpa")
    world.erase("nobody", request="nobody", regime="ccpa")
    for person in people(world, 2, "european"):
        world.erase(person, request=person)
    world.settle()
    said = ccpa_metrics(told(world), 2026)
    deletes = said.requests_to_delete
    assert (deletes.received, deletes.complied_in_whole_or_in_part, deletes.nothing_found) == (4, 3, 1)
    assert (deletes.denied, deletes.pending) == (0, 0)
    assert deletes.median_days is not None
    assert said.model_dump()["requests_to_know"] is None
    assert ccpa_metrics(told(world), 2025).requests_to_delete.received == 0


def test_a_page_says_the_figures_and_names_nobody(world: World) -> None:
    for person in people(world, 7):
        world.erase(person, request=person)
    world.settle()
    said = period(told(world), SINCE, UNTIL)
    note, _ = checkpoint(world.ledger_log.folder, KEY)
    text = period_page(said, KEY, [note])
    assert text == period_page(said, KEY, [note])
    assert "<b>7</b>received" in text
    assert "7 complied with" in text
    assert all(f"person{number}" not in text for number in range(7))
    assert "http" not in text
    assert all(each not in text for each in ("photos", "user_id"))


def _cut(log: Path) -> None:
    next(log.glob("tile/entries/**/*.p/*")).unlink()


def _changed(log: Path) -> None:
    file = next(each for each in log.glob("tile/entries/**/*.p/*"))
    file.write_bytes(file.read_bytes().replace(b'"gdpr"', b'"drop"'))


def _another_key(log: Path) -> None:
    note = (log / "checkpoint").read_text()
    (log / "checkpoint").write_text(note.replace(ORIGIN, f"{ORIGIN}x"))


@pytest.mark.parametrize("change", [_cut, _changed, _another_key])
def test_a_log_that_is_not_what_was_signed_is_counted_by_nobody(
    world: World, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    told_of(world, 2)
    copy = tmp_path / "copy"
    shutil.copytree(world.ledger_log.folder, copy)
    assert len(requests(events([copy], KEY), UNTIL).cases) == 2
    change(copy)
    with pytest.raises(ConfigurationError):
        requests(events([copy], KEY), UNTIL)
    with pytest.raises(ConfigurationError):
        requests(events([world.ledger_log.folder], verifier(ORIGIN, bytes.fromhex(STRANGER.public))), UNTIL)


def test_a_case_of_which_facts_are_missing_is_in_no_figure_but_one(world: World) -> None:
    told_of(world, FEWEST)
    log = [json.loads(json.dumps(each)) for each in events([world.ledger_log.folder], KEY)]
    every: list[dict[str, Any]] = []
    left_out = False
    for event in log:
        facts = event["data"].get("facts", [event])
        keep = [f for f in facts if left_out or not f["type"].endswith(".commanded.v1")]
        left_out = left_out or len(keep) < len(facts)
        every += keep
    found = period(requests(every, UNTIL), SINCE, UNTIL)
    assert found.untold == 1
    assert found.lines[0].counts is None  # four are left
    beginning = [each for each in every if not each["type"].endswith(".opened.v1")]
    assert period(requests(beginning, UNTIL), SINCE, UNTIL).untold == FEWEST
    (*_, closed) = [each for each in every if each["type"].endswith(".closed.v1")]
    body = {**closed["data"]["body"], "status": "cancelled"}
    twice = [*every, {**closed, "data": {**closed["data"], "body": body}}, {"type": "expunge.ledger.note.v1"}]
    assert period(requests(twice, UNTIL), SINCE, UNTIL).untold == 2  # said in two ways; and what is no fact is none


def test_figures_are_of_the_form_that_their_schemas_say(world: World) -> None:
    logged = told_of(world, FEWEST + 2)
    forms: dict[str, Any] = {"period": period(logged, SINCE, UNTIL), "ccpa-metrics": ccpa_metrics(logged, 2026)}
    for name, said in forms.items():
        schema = json.loads((ROOT / f"schemas/reports/{name}.schema.json").read_text())
        jsonschema_rs.validator_for(schema).validate(said.model_dump(mode="json"))
