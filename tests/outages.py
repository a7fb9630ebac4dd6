"""Servers that can be taken away: killed, or stopped in their tracks, and brought back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers import ROOT, Servers, addresses

Server = Literal["kafka", "redis"]
Way = Literal["killed", "stopped"]
DEVSTACK = (sys.executable, str(ROOT / "tools/devstack/devstack.py"))
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Outages:
    """One pair of servers of its own: no other test is on them."""

    addresses: Servers

    @contextmanager
    def away(self, server: Server, way: Way) -> Iterator[None]:
        """The server is gone, or does not answer though it is there; afterwards it answers, whatever a test found."""
        pid = self._pid(server)
        os.kill(pid, signal.SIGKILL if way == "killed" else signal.SIGSTOP)
        if way == "killed":
            _gone(pid)  # it holds its port and its files until then
        try:
            yield
        finally:
            if way == "stopped":
                os.kill(pid, signal.SIGCONT)
            up()

    def _pid(self, server: Server) -> int:
        return int((ROOT / f".devstack/faults/{server}.pid").read_text().split("|")[0])


def _gone(pid: int) -> None:
    """Return when a process that was killed is no more."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except FileNotFoundError:
            return
        threading.Event().wait(0.05)
    raise AssertionError("a killed process does not end")


def up() -> None:
    """Start what does not run; what is missing is an error, never a skip."""
    done = subprocess.run([*DEVSTACK, "up", "--instance", "faults"], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


@contextmanager
def own_servers() -> Iterator[Outages]:
    """Servers for tests that take them away; always local processes (Java 17, Maven), whatever the others use."""
    try:
        up()  # what was started is stopped again, also where something else cannot be
        yield Outages(addresses("faults"))
    finally:
        subprocess.run([*DEVSTACK, "down", "--instance", "faults"], check=False, capture_output=True)


def processor_seconds(pid: int) -> float:
    """The processor time that a process and its children have used."""
    total = 0.0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
    return total


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]
