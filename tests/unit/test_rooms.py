"""Walls that no import contract can hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from expunge.domain import limits
from expunge.domain.scope import ScopeKind
from expunge.domain.topics import INLETS_OF_ASSETS, read_by, role_of
from expunge.domain.vocabulary import MEANINGS, Claim, Kind
from expunge.wire.requests import REQUESTS
from tests.simulation import World
from tools.limits import words

HERE = Path(__file__).parent
CLIENTS = ("kafka", "redis")


def test_no_unit_test_imports_the_client_of_a_service() -> None:
    """They needed them installed, and tested the libraries' import machinery before anything of Expunge."""
    modules = [f"tests.unit.{path.stem}" for path in HERE.glob("test_*.py")]
    assert len(modules) > 30
    code = f"import sys, importlib\nfor each in {modules}: importlib.import_module(each)\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent.parent
    )
    assert not [name for name in CLIENTS if name in run.stdout.split()]


def test_every_bound_says_what_it_is_of() -> None:
    """Some sixty bounds stood in twenty modules, and no page knew them."""
    said = words(Path(limits.__file__).read_text())
    bounds = {name for name in vars(limits) if name.isupper()}
    assert said.keys() == bounds
    unit = re.compile(r"BYTES|CHARACTERS|PER_|KEPT|MAX|MOST|MIN")
    assert all(unit.search(name) for name in bounds)


def sets_of(members: str) -> list[str]:
    """Displays in the code that name three or more members of an enumeration: a second table of it."""
    found = []
    for path in sorted((HERE.parent.parent / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            items = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            within = [part for each in items if each is not None for part in ast.walk(each)]
            named = [each for each in within if isinstance(each, ast.Attribute) and ast.unparse(each.value) == members]
            if len(named) > 2:
                found.append(path.name)
    return found


def test_kinds_claims_and_requests_are_enumerated_where_their_rows_are() -> None:
    """What follows from a kind stood in four sets, and adding one meant to find them."""
    assert sets_of("Kind") == []
    assert set(sets_of("Claim")) == {"vocabulary.py", "models.py"}  # what a model is called after some of them
    assert sets_of("ScopeKind") == []
    assert {kind for kind, _ in REQUESTS.values()} == set(ScopeKind)
    assert MEANINGS.keys() == set(Claim)


def test_a_role_reads_the_topics_whose_rows_say_so() -> None:
    """A row made an inlet that cases wait for, and the indexer went on reading another: they waited for ever."""
    world = World()
    for name, role in world.roles.items():
        assert set(role.topics) == set(read_by(name, world.registry))
        assert {role_of(topic) for topic in role.topics} == {name}
    assert set(INLETS_OF_ASSETS) <= set(world.roles["indexer"].topics)


def test_what_lists_kinds_beside_the_code_lists_them_all() -> None:
    """An agent in another language answered a new kind with `unsupported_kind`."""
    root = HERE.parent.parent
    agent = re.search(r"KINDS\s*=[^;]*;", (root / "examples/java/DirectoryAgent.java").read_text())
    policy = (root / "policies/default.yaml").read_text().splitlines()
    comments = " ".join(line for line in policy if line.startswith("#"))
    assert agent
    for text in (agent.group(0), comments):
        assert not [kind.value for kind in Kind if kind.value not in text]
