"""Comments name rules, sections and decisions that exist: a reference that leads nowhere is worse than none."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = [
    path
    for folder in ("src", "tests", "tools", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".lua", ".md"} and path != Path(__file__)
]
QUOTED = r'"[^"\n]+"(?:(?:,| and) "[^"\n]+")*'


def named(pattern: str) -> dict[str, str]:
    """What is quoted behind a word, and one file that does."""
    return {
        name: str(path.relative_to(ROOT))
        for path in FILES
        for found in re.findall(pattern, " ".join(path.read_text().replace("# ", "").split()))
        for name in re.findall(r'"([^"]+)"', found)
    }


def test_every_rule_that_is_named_stands_in_the_table() -> None:
    rules = set(re.findall(r"^\| ([a-z][^|]*) \|", (ROOT / "docs/protocols.md").read_text(), flags=re.MULTILINE))
    cited = named(rf"\b[Rr]ules? ({QUOTED})")
    assert len(cited) > 30
    assert not {name: file for name, file in cited.items() if name not in rules}


def test_every_section_that_is_named_stands_in_the_design() -> None:
    sections = set(re.findall(r"^#+ (.+)$", (ROOT / "docs/design.md").read_text(), flags=re.MULTILINE))
    cited = named(rf"design: ({QUOTED})")
    assert len(cited) > 5
    assert not {name: file for name, file in cited.items() if name not in sections}


def test_every_file_on_the_way_of_a_request_is_there() -> None:
    way = (ROOT / "docs/design.md").read_text().partition("## One request's way")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_/]+\.(?:py|lua))`", way)
    assert len(named) > 20
    assert not [each for each in named if not (ROOT / "src/expunge" / each).is_file()]


ROOMS = ("wire", "domain", "roles", "adapters", "kafka", "redis", "memory", "runtime", "agent", "cli", "unit", "e2e")
FOLDERS = ("src/expunge", "src/expunge/adapters", "tests")


def is_there(path: str) -> bool:
    """Whether a file, a folder, or a name in a file is where a page says that it is."""
    file = path.partition(".")[0] if not path.endswith(".py") else path
    places = [ROOT / folder / end for folder in FOLDERS for end in (path, file, f"{file}.py")]
    return any(place.exists() for place in places)


def test_every_room_that_a_page_names_is_there() -> None:
    """Walls were moved, and pages went on naming the old ones."""
    spans = rf"`((?:{'|'.join(ROOMS)})/[a-z_/]+[a-z](?:\.[a-z_]+)?)`"
    found = {
        (path.name, name)
        for path in FILES
        if path.suffix == ".md" and path.parent.name != "adr"
        for name in re.findall(spans, path.read_text())
    }
    assert len(found) > 50
    assert not sorted(each for each in found if not is_there(each[1]))


def test_every_word_of_the_glossary_is_where_it_says() -> None:
    """A glossary that nobody holds to the code says what the code once meant."""
    table = (ROOT / "docs/design.md").read_text().partition("## Words")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ]+) \| .* \| `([a-z_/]+)\.(\w+)` \|$", table, flags=re.MULTILINE)
    assert len(rows) > 25
    assert len(rows) == len(table.strip().split("\n\n")[1].splitlines()) - 2
    assert len({word for word, _, _ in rows}) == len(rows)
    for word, module, name in rows:
        text = (ROOT / "src/expunge" / f"{module}.py").read_text()
        assert re.search(rf"^(?:class |def )?{name}\b", text, flags=re.MULTILINE), word


def test_every_decision_that_is_named_is_kept() -> None:
    kept = {int(path.name[:4]) for path in (ROOT / "docs/adr").iterdir()}
    cited = {
        int(number): str(path.relative_to(ROOT))
        for path in FILES
        for number in re.findall(r"\bADR (\d+)", path.read_text())
    }
    assert not {number: file for number, file in cited.items() if number not in kept}


def prose(text: str) -> list[str]:
    """The lines of a page that are neither code nor tables."""
    lines, fenced = [], False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and not line.startswith(("|", "    ", "```")):
            lines.append(line)
    return lines


def test_a_line_of_prose_is_one_that_an_eye_can_follow() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    long = [(page.name, line[:40]) for page in pages for line in prose(page.read_text()) if len(line) > 120]
    assert not long


def test_nothing_is_cited_by_a_number_that_leads_out_of_the_repository() -> None:
    numbered = re.compile(r"\b(PROTOCOLS|DESIGN|CONTRACT)\b")
    assert not [str(path.relative_to(ROOT)) for path in FILES if numbered.search(path.read_text())]
