"""The README's commands, run word for word; those that call the tests themselves aside."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from tests.servers import ROOT

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
OWN = ("make test", "make check")


def test_the_readme_runs_as_it_is_written() -> None:
    commands = "".join(block for block in BLOCKS if not block.startswith(OWN))
    assert "make demo" in commands
    environment = {key: value for key, value in os.environ.items() if not key.startswith("EXPUNGE_")}
    script = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail"],
        input=commands,
        cwd=ROOT,
        env=environment | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert script.returncode == 0, script.stdout[-3000:] + script.stderr[-3000:]
    assert "completed with deferrals" in " ".join(script.stdout.split())
    assert "planned" in script.stdout.split("expunge submit")[-1]
    assert "Traceback" not in script.stdout + script.stderr


def test_the_page_for_an_own_deployment_runs_as_it_is_written(tmp_path: Path) -> None:
    """In a directory beside the checkout's, under a prefix of its own; with the servers that it starts itself."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.DOTALL)
    commands = "".join(blocks).replace("mkdir -p mine\ncd mine\n", f"mkdir {tmp_path}/mine\ncd {tmp_path}/mine\n")
    commands = commands.replace("$PWD/..", str(ROOT)).replace("make -C ..", f"make -C {ROOT}")
    prefix = f"mine{time.time_ns()}."
    script = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail"],
        input=commands.replace('prefix = "mine."', f'prefix = "{prefix}"'),
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("EXPUNGE_")} | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert script.returncode == 0, script.stdout[-3000:] + script.stderr[-3000:]
    assert "the indexers have read all of it" in script.stdout
    assert "completed object: 1 deleted" in " ".join(script.stdout.split())
    assert "Traceback" not in script.stdout + script.stderr


def test_every_file_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"\]\(([^)#]+)", text) + re.findall(r"`((?:src|schemas|docs|benchmarks)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name
