"""What every measure here needs: processor time of processes, moments of records, and how runs are summed up."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process at its largest, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def server_pids(kafka: str, redis: str) -> dict[str, int]:
    """The servers of the measure, by their addresses: others may run, and end, on this machine."""
    kafka_port, redis_port = (each.rpartition(":")[2].partition("/")[0] for each in (kafka, redis))
    listed = subprocess.run(["ps", "-eo", "pid,args", "--sort=start_time"], capture_output=True, text=True, check=True)
    found = {}
    for line in listed.stdout.splitlines()[1:]:
        pid, _, command = line.strip().partition(" ")
        if "kafka.Kafka" in command and f":{kafka_port}" in Path(command.split()[-1]).read_text():
            found["kafka"] = int(pid)
        elif "redis-server" in command and f":{redis_port}" in command:
            found["redis"] = int(pid)
    return found


@dataclass
class Spent:
    """Processor time of some processes between two moments."""

    pids: Mapping[str, int]
    _before: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def ms_each(self, units: int) -> dict[str, float]:
        """Milliseconds for each unit of work, by process."""
        return {name: (cpu_seconds(pid) - self._before[name]) * 1000 / units for name, pid in self.pids.items()}


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return statistics.median(values), statistics.quantiles(values, n=100)[98]


def spread(runs: Sequence[Mapping[str, Any]], key: str, digits: int = 0) -> str:
    """The median of a figure over runs, with its range."""
    values = sorted(float(run[key]) for run in runs)
    return f"{statistics.median(values):,.{digits}f} ({values[0]:,.{digits}f} to {values[-1]:,.{digits}f})"
