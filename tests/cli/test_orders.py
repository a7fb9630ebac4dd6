"""The report of an order: provision by provision, against its own list, and as little as is known."""

from __future__ import annotations

import hashlib
import json
import re
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from expunge.cli.app import app
from expunge.domain.evidence import verify
from expunge.domain.evidence.order import NO_RECIPIENT, Order, State, order, reconcile
from expunge.domain.vocabulary import OPEN, Claim
from expunge.report import paper
from expunge.report.page import COLOUR_OF, STATES, page
from tests.servers import ROOT

SAMPLES = ROOT / "docs/samples"
KEY = (SAMPLES / "key").read_text().strip()
CERTIFICATE = SAMPLES / "order/certificate.json"
AT = datetime(2026, 11, 30, tzinfo=UTC)


def sample() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(verify.payload(CERTIFICATE.read_bytes()))
    return said


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["report", "order", *map(str, words)], terminal_width=200)
    error = str(done.exception or "")
    return done.exit_code, done.stdout, error


def test_the_sample_is_the_page_that_is_shown_on_screen_and_on_paper(tmp_path: Path) -> None:
    beside = SAMPLES / "order"
    lists = ("--list", beside / "list.txt", "--openings", beside / "openings.jsonl")
    for name in ("order.html", "order.pdf"):
        code, _, error = run(beside, "--key", KEY, "--to", tmp_path / name, *lists)
        assert code == 0, error
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()
    missing = tmp_path / "missing.txt"
    code, said, _ = run(beside, "--key", KEY, "--json", "--never-registered", missing, *lists)
    assert code == 0
    told = Order.model_validate_json(said)
    assert told.reconciled is not None
    assert told.reconciled.model_dump() == {"listed": 5, "registered": 4, "never_registered": 1, "besides": 4}
    assert missing.read_text() == "never told of\n"
    assert [(each.provision, each.state) for each in told.provisions] == [
        ("III(A)", "met_in_time"),
        ("III(B)", "met_in_time"),
    ]
    assert {each.kind for each in told.models} == {"embedding", "model"}
    assert [each.system for each in told.transfers] == ["partner"]
    schema = json.loads((ROOT / "schemas/reports/order.schema.json").read_text())
    jsonschema_rs.validator_for(schema).validate(json.loads(said))


def test_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    beside = SAMPLES / "order"
    assert "--list and --openings belong together" in run(beside, "--key", KEY, "--json", "--list", "x")[2]
    assert "name a file" in run(beside, "--key", KEY)[2]
    assert "is about a list" in run(beside, "--key", KEY, "--json", "--never-registered", tmp_path / "n")[2]
    (tmp_path / "there").touch()
    assert "is there already" in run(beside, "--key", KEY, "--to", tmp_path / "there")[2]
    longer = tmp_path / "list.txt"
    longer.write_text("scan-1\nanother\n")
    error = run(beside, "--key", KEY, "--json", "--list", longer, "--openings", beside / "openings.jsonl")[2]
    assert "openings" in error
    assert "another" not in error  # an id is nothing for an error
    (tmp_path / "of-another.jsonl").write_text(
        (beside / "openings.jsonl").read_text().replace('"case_id": "', '"case_id": "f')
    )
    other = run(beside, "--key", KEY, "--json", "--list", longer, "--openings", tmp_path / "of-another.jsonl")[2]
    assert "is of the case f" in other
    longer.write_text("scan-1 \n")
    blank = run(beside, "--key", KEY, "--json", "--list", longer, "--openings", beside / "openings.jsonl")[2]
    assert "line 1: blanks" in blank
    marked = tmp_path / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbfscan-1\r\nscan-2\r\n")
    _, said, _ = run(beside, "--key", KEY, "--json", "--list", marked, "--openings", beside / "openings.jsonl")
    assert json.loads(said)["reconciled"]["registered"] == 2
    assert run(beside, "--key", KEY.replace("ledger", "other"), "--json")[0] != 0


BEFORE, AFTER = "2026-11-01T12:00:00.000Z", "2027-06-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("left", "then", "ended", "state"),
    [
        (0, None, BEFORE, "met_in_time"),
        (0, 0, BEFORE, "met_in_time"),
        (0, 3, AFTER, "met_late"),
        (2, 3, AFTER, "missed"),
        (2, None, BEFORE, "not_yet_due"),
        (2, None, AFTER, "missed"),  # no fact says how much was open, and it was due
        (0, None, AFTER, "met_untold"),  # it had ended before, was reopened, and ended again
        (0, 0, AFTER, "met_untold"),
    ],
)
def test_how_a_provision_stands(left: int, then: int | None, ended: str, state: str) -> None:
    said = sample()["predicate"]
    said["case"]["ended_at"] = ended
    said["case"]["provisions"] = [{**said["case"]["provisions"][0], "open": left, "open_when_due": then}]
    (provision,) = order(said, "ab" * 32, None).provisions
    assert provision.state == state
    said["case"]["status"] = "cancelled"
    assert order(said, "ab" * 32, None).provisions[0].state == "not_carried_out"
    said["case"]["status"] = "completed"
    said["case"]["provisions"][0]["provision"] = "IX"
    assert order(said, "ab" * 32, None).provisions[0].state == "nothing_found"


@pytest.mark.parametrize("claim", ["deferred", "held", "beyond_use", "exempt", "impossible"])
def test_what_stays_is_not_called_met(claim: str) -> None:
    said = sample()["predicate"]
    said["inventory"] = [row | {"claim": claim} for row in said["inventory"]]
    assert {each.state for each in order(said, "ab" * 32, None).provisions} == {"stays"}


def test_every_claim_stands_in_one_column_and_none_is_lost() -> None:
    said = sample()["predicate"]
    row = said["inventory"][0] | {"provision": "III(A)"}
    for claim in (*Claim, OPEN):
        said["inventory"] = [row | {"claim": str(claim), "count": 3}]
        provision = order(said, "ab" * 32, None).provisions[0]
        left = 3 if claim in {OPEN, Claim.FAILED} else 0
        assert provision.done + provision.not_found + provision.stays == 3 - left
        assert provision.obligations == 3


def test_nobody_registered_is_not_nobody_told() -> None:
    statement = sample()
    said = statement["predicate"]
    for each in said["systems"]:
        each.pop("third_party", None)
    said["inventory"] = [row for row in said["inventory"] if row["kind"] != "recipient_copy"]
    made = order(said, "ab" * 32, None)
    text = re.sub(r"<[^>]+>", " ", page(statement, KEY, "ab" * 32, made))
    assert NO_RECIPIENT[1:] in text
    assert "No list was held against this" in text
    assert "not shared" not in text


def test_the_declaration_is_blank_and_whatever_comes_from_outside_is_text() -> None:
    evil = "<script>alert(1)</script>{{7*7}}#set page()=HYPERLINK"
    statement = deepcopy(sample())
    said = statement["predicate"]
    said["case"]["matter"] = {"authority": evil, "docket": evil, "order_date": "2026-10-20"}
    for each in said["case"]["provisions"]:
        each["provision"] = evil
    for row in said["inventory"]:
        row["system"] = row["provision"] = evil
    text = page(statement, KEY, "ab" * 32, order(said, "ab" * 32, None))
    assert "<script>" not in text
    assert "49" not in re.sub(r"[0-9a-f]{32,}|\S+\.\d+", "", text).split("Draft")[1]
    blocks = paper.read(text)[1]
    shown = json.dumps(blocks)
    assert json.dumps(evil)[1:-1] in shown
    rows = next(each["rows"] for each in reversed(blocks) if each["kind"] == "table")
    assert [row[0]["runs"][0]["text"] for row in rows] == ["name", "title", "date", "place", "signature"]
    assert {row[1]["runs"][0]["text"].strip("_") for row in rows} == {""}
    assert paper.paper(text, AT).startswith(b"%PDF")


@given(st.lists(st.text(min_size=1, max_size=5), max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 4))
def test_a_list_is_held_against_a_certificate(listed: list[str], met: set[int], besides: int) -> None:
    openings = {each: hashlib.sha256(each.encode()).digest() for each in listed}
    inside = {each for at, each in enumerate(listed) if at in met}
    commitments = [hashlib.sha256(openings[each] + each.encode()).hexdigest() for each in inside]
    others = [hashlib.sha256(b"other %d" % each).hexdigest() for each in range(besides)]
    said, missing = reconcile(listed, openings, [*commitments, *others, "", *commitments])
    assert said.listed == len(set(listed)) == said.registered + said.never_registered
    assert said.registered == len(inside)
    assert said.besides == besides
    assert set(missing) == set(listed) - inside
    if listed:
        with pytest.raises(ValueError, match="no opening"):
            reconcile([*listed, "xxxxxx"], openings, [])


def test_a_page_on_paper_says_all_that_it_says_on_screen_and_is_the_same_bytes_again() -> None:
    for name in ("report.html", "order.html"):
        html = (SAMPLES / name).read_text()
        text = html.partition("<body>")[2]
        words = re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL))
        said = " ".join(
            run["text"]
            for block in paper.read(html)[1]
            for runs in (
                [block.get("runs", [])]
                + [item["runs"] for item in block.get("items", [])]
                + [cell["runs"] for row in block.get("rows", []) for cell in row]
            )
            for run in runs
        )
        for plain, marked in (("&#39;", "'"), ("&#43;", "+"), ("&amp;", "&")):
            words = words.replace(plain, marked)
        assert sorted(words.split()) == sorted(word for word in said.split() if word != "\u25a0")
        assert paper.paper(html, AT) == paper.paper(html, AT)


def test_what_only_directs_text_is_shown_by_its_number_on_screen_too() -> None:
    statement = deepcopy(sample())
    statement["predicate"]["case"]["matter"]["authority"] = "Court\u202e of\x1b Trade"
    html = page(statement, KEY, "ab" * 32)
    assert "\u202e" not in html
    assert "Court\\u202e of\\u001b Trade" in html


def test_every_character_that_passes_can_be_set() -> None:
    """What the font lacks would end the making of the page."""
    every = "".join(chr(code) for code in range(0x20, 0x3000) if paper.shown(chr(code)) == chr(code))
    assert len(every) > 500
    html = page(sample(), KEY, "ab" * 32).replace("photos", every.replace("<", "").replace("&", ""))
    assert paper.paper(html, AT).startswith(b"%PDF")


def test_characters_that_the_font_lacks_stop_nothing() -> None:
    html = page(sample(), KEY, "ab" * 32).replace("photos", "\u5199\u771f\U0001f600\u202e")
    assert paper.paper(html, AT).startswith(b"%PDF")
    assert "\\\\u5199" in json.dumps(paper.read(html)[1])


def test_every_state_has_words() -> None:
    assert set(STATES) == set(get_args(State)) == set(COLOUR_OF)
