"""The report of a case: a pure function of its certificate, which says no more than that and escapes what is in it."""

from __future__ import annotations

import hashlib
import json
import re
from copy import deepcopy
from typing import Any

from typer.testing import CliRunner

from expunge.cli.app import app
from expunge.cli.verify import files_of
from expunge.domain.evidence import verify
from expunge.domain.evidence.sentences import sentence
from expunge.domain.vocabulary import OPEN, Claim, Grade
from expunge.report.page import GRADE_COLOURS, GRADES, GROUPS, WIDTH, bars, group_of, moments, page, rests_on, totals
from tests.servers import ROOT

SAMPLE = ROOT / "docs/samples"
CERTIFICATE = SAMPLE / "certificate/certificate.json"
KEY = (SAMPLE / "key").read_text().strip()


def sample() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(verify.payload(CERTIFICATE.read_bytes()))
    return said


def written(statement: dict[str, Any]) -> str:
    return page(statement, KEY, "ab" * 32)


def test_the_sample_holds_and_its_report_is_the_one_that_is_shown() -> None:
    """Whoever reads the docs checks it as a regulator would; and the same certificate is the same page."""
    steps = verify.verify(files_of(CERTIFICATE, CERTIFICATE.read_bytes(), KEY))
    assert all(step.passed for step in steps), steps
    name = hashlib.sha256(verify.payload(CERTIFICATE.read_bytes())).hexdigest()
    assert page(sample(), KEY, name) == (SAMPLE / "report.html").read_text()


def test_a_page_says_what_its_certificate_says() -> None:
    statement = sample()
    text = re.sub(r"<[^>]+>", " ", written(statement))
    said = statement["predicate"]
    for row in said["inventory"]:
        assert sentence(row["claim"], row.get("grade", "")) in text.replace("&#39;", "'")
    for each in (*said["not_shown"], *said["limitations"]):
        assert each in text.replace("&#39;", "'")
    assert KEY.replace("+", "&#43;") in text or KEY in text
    assert "http" not in re.sub(r"xmlns=\S+", "", written(statement))  # it stands alone


def test_whatever_stands_in_it_is_text() -> None:
    """Names of systems, reasons and an order's words come from outside."""
    evil = "<script>alert(1)</script>\"'&{{7*7}}"
    statement = deepcopy(sample())
    said = statement["predicate"]
    for row in said["inventory"]:
        row["reason"] = row["system"] = evil
    for each in said["systems"]:
        each["system"] = each["not_asked"] = evil
    said["case"]["matter"] = {"authority": evil, "docket": evil, "order_date": evil}
    said["case"]["publisher"] = said["case"]["clock"] = evil
    said["words"] = [{"fact": evil, "operator": evil, "at": evil}]
    said["losses"] = [{"topic": evil, "partition": 0, "why": evil, "since": 0, "until": 3}]
    said["not_shown"] = [evil]
    text = written(statement)
    assert "<script" not in text
    assert "{{7*7}}" in text  # and it is no template
    assert "alert(1)&lt;/script&gt;&#34;&#39;&amp;" in text


def test_groups_are_told_for_every_claim() -> None:
    assert {group_of(claim) for claim in (OPEN, *Claim)} == set(GROUPS)
    assert group_of(Claim.NOT_FOUND) == "not_found"
    assert group_of(Claim.RESTRICTED) == "done"
    assert group_of(Claim.HELD) == group_of(Claim.DEFERRED) == group_of(Claim.EXEMPT) == "stays"
    rows = [{"kind": "object", "claim": claim, "count": 2} for claim in (OPEN, *Claim)]
    assert sum(totals(rows).values()) == 2 * (len(Claim) + 1)
    (bar,) = bars(rows)
    assert bar.number == 2 * (len(Claim) + 1)
    assert sum(part.width for part in bar.parts) == round(WIDTH, 0)


def test_the_timeline_has_every_moment_in_its_place() -> None:
    case = {
        "received_at": "2026-11-01T00:00:00.000Z",
        "opened_at": "2026-11-01T00:00:00.000Z",
        "ended_at": "2026-12-11T00:00:00.000Z",
        "due_at": "2026-12-01T00:00:00.000Z",
    }
    found = {each.name: each for each in moments(case)}
    assert (found["asked"].at, found["due"].at, found["ended"].at) == (0, WIDTH * 0.75, WIDTH)
    assert len({each.row for each in found.values()}) == len(found)
    same = dict.fromkeys(case, "2026-11-01T00:00:00.000Z")
    assert {each.at for each in moments(same)} == {0}


def test_every_end_has_a_page() -> None:
    for status in ("completed", "completed_with_deferrals", "partially_completed", "refused", "cancelled"):
        statement = deepcopy(sample())
        statement["predicate"]["case"] |= {"status": status, "on_time": False, "expected_count": 9}
        statement["predicate"]["inventory"] = []
        assert status.replace("_", " ") in written(statement)
        assert "The order expects 9" in written(statement)


def test_what_it_rests_on_adds_up_and_every_grade_has_words() -> None:
    inventory = sample()["predicate"]["inventory"]
    parts = rests_on(inventory)
    assert sum(part.number for part in parts) == sum(row["count"] for row in inventory)
    assert {part.group for part in parts} <= GRADES.keys() == GRADE_COLOURS.keys()
    row = inventory[0]
    for grade in (None, *(each.value for each in Grade), "E0"):
        (part,) = rests_on([row | {"grade": grade} if grade else {k: v for k, v in row.items() if k != "grade"}])
        assert (part.group, part.number) == ((grade or "E0").lower().replace("e4", "e3"), row["count"])


def test_the_same_is_printed_for_programs() -> None:
    done = CliRunner().invoke(app, ["report", "case", str(CERTIFICATE.parent), "--key", KEY, "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == sample()
    nothing = CliRunner().invoke(app, ["report", "case", str(CERTIFICATE.parent), "--key", KEY])
    assert "name a file" in str(nothing.exception)
