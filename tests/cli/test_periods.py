"""`expunge report period` and `ccpa-metrics`, as whoever has nothing but the published log runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expunge.domain.evidence.notes import verifier
from tests.simulation import NOTARY, ORIGIN, World

KEY = verifier(ORIGIN, bytes.fromhex(NOTARY.public))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(signs=True, evidence=tmp_path_factory.mktemp("period") / "evidence")
    for number in range(6):
        world.register(f"p{number}", subjects=[f"person{number}"])
        world.erase(f"person{number}", request=f"r{number}", regime="ccpa")
    world.settle()
    assert world.ledger_log.checkpoint()
    return world.ledger_log.folder


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "expunge", "report", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_span_of_time_is_counted(log: Path, tmp_path: Path) -> None:
    page, span = tmp_path / "page.html", ("--since", "2026-01-01", "--until", "2027-01-01")
    done = run("period", "--log", log, "--key", KEY, *span, "--to", page, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(each["regime"], each["month"]) for each in said["lines"]] == [
        ("all", "all"),
        ("ccpa", "all"),
        ("ccpa", "2026-11"),
    ]
    assert said["lines"][0]["counts"]["received"] == 6
    assert "6</b>received" in page.read_text()
    again = run("period", "--log", log, "--key", KEY, *span, "--to", page)
    assert again.returncode == 2
    assert "is there already" in again.stderr

    year = run("ccpa-metrics", "--log", log, "--key", KEY, "--year", 2026)
    assert year.returncode == 0, year.stderr
    assert "complied with in whole or in part" in year.stdout
    later = ("--since", "2027-01-01", "--until", "2027-02-01")
    done = run("period", "--log", log, "--key", KEY, *later, "--json")
    assert done.returncode == 2
    assert "ends before that span begins" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--since", "2026-02-01", "--until", "2026-01-01", "--json"), "lies behind --since"),
        (("--since", "2026-01-01", "--until", "2026-02-01"), "name a file"),
        (("--since", "2026-01-01", "--until", "2026-02-01", "--json", "--key", "none"), "name+hash+key"),
        (("--since", "2026-01-01", "--until", "2026-02-01", "--json", "--log", "/nowhere"), "No such file"),
    ],
)
def test_mistakes_say_what_to_do(log: Path, more: tuple[str, ...], said: str) -> None:
    done = run("period", "--log", log, "--key", KEY, *more)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
