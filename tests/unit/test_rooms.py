"""Walls that no import contract can hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from expunge.domain import limits
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
