"""Units of systemd in `deploy`: each starts a command that there is, with options that it has."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from expunge.cli.app import app
from expunge.roles import ROLES

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"


def started(unit: str, instance: str = "") -> list[str]:
    """The words of the command that a unit starts, without the program's own; as systemd and its shell read them."""
    (line,) = [line for line in (UNITS / unit).read_text().splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    words = [word.replace("%%", "\0").replace("%i", instance).replace("\0", "%").replace("$$", "$") for word in words]
    if words[0] == "/bin/sh":
        said = words[2].replace("exec ", "printf '%s\\n' ")
        words = subprocess.run(
            ["/bin/sh", "-c", said, *words[3:]], capture_output=True, text=True, check=True
        ).stdout.split()
    assert words[0] == "/opt/expunge/bin/expunge"
    return words[1:]


@pytest.mark.parametrize(
    ("unit", "instance"),
    [
        *(("expunge@.service", role) for role in ROLES),
        ("expunge@.service", "coordinator:2"),
        ("expunge-monitor.service", ""),
        ("expunge-sweep.service", ""),
    ],
)
def test_each_unit_starts_a_command_that_there_is(unit: str, instance: str) -> None:
    group: Any = typer.main.get_command(app)
    name, *options = started(unit, instance)
    command = group.commands.get(name)
    assert command is not None
    parsed = command.make_context(name, list(options), resilient_parsing=True)
    if instance:
        assert parsed.params["role"] == [instance.partition(":")[0]]
    assert {word for word in options if word.startswith("--")} <= {each for one in command.params for each in one.opts}


def test_what_is_configured_wrongly_is_not_started_again_and_nothing_gives_up() -> None:
    for unit in ("expunge@.service", "expunge-monitor.service"):
        lines = (UNITS / unit).read_text().splitlines()
        assert {"Restart=always", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0"} <= set(lines)
