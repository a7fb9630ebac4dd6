"""The process and its surroundings: clock, waiting, metrics, logs."""

from __future__ import annotations

import gc
import logging
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from expunge.adapters.serving import Health, serve
from expunge.errors import ConfigurationError
from expunge.ports import GaugeName, MetricName


def tune_process() -> None:
    """Settings of the interpreter for a process that handles large batches of short-lived objects.

    Most of them die by reference counting, so the collector of cycles looks rarely (measured: a quarter of a walk's
    time otherwise). A thread that comes back from the network gets its turn soon, for it has the next work to hand out.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)


class SystemClock:
    """See `runtime.loop.Clock`."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.fromtimestamp(time.time(), UTC)

    def seconds(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()


class StopWaiter:
    """See `ports.Waiter`: a wait that ends when the process is told to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def wait(self, seconds: float) -> None:
        """See `ports.Waiter.wait`."""
        self._stop.wait(seconds)


END_SECONDS = 8.0
"""So long after it was told to stop a process may take; what it has not finished is read again by its successor."""


def end_on_signals(stop: threading.Event, busy: Callable[[], bool] = bool, seconds: float = END_SECONDS) -> None:
    """Set `stop` on SIGTERM and SIGINT, and end the process if that is not enough.

    Whatever it does then is made to be repeated (design: "No deletion is lost"), and a wait for a server that is away
    may be longer than anybody who stops a process has patience. `busy` says whether something must not be cut off all
    the same.
    """

    def end() -> None:
        threading.Event().wait(seconds)
        while busy():
            threading.Event().wait(0.1)
        structlog.get_logger().warning("ended before the batch under way was; it is read again")
        os._exit(0)

    def told(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            threading.Thread(target=end, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def refuse_if_readable(path: Path, what: str, bits: int = 0o077) -> None:
    """Refuse a file that others can read or write.

    Args:
        path: the file, which is there.
        what: it is, for people.
        bits: of the mode that must not be set: those of group and others, or 0o007 where a group may share it.

    Raises:
        ConfigurationError: they can; with the line that mends it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & bits:
        raise ConfigurationError(f"{what} {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`")


LOCAL = "127.0.0.1"
OTHERS = 0o007
"""Neither owner nor group, which may share a secret where the platform mounts it so."""


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        self._families = families

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._families()


class PrometheusMetrics:
    """See `ports.Metrics`; one registry per process, served on a port if one is given."""

    def __init__(self, port: int = 0, address: str = LOCAL) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._seconds = Histogram("expunge_batch_seconds", "Poll to commit", ["label"], registry=self._registry)
        self.health = Health()
        if port:
            serve(port, address, self._registry, self.health)

    def collect(self, families: Callable[[], Iterable[GaugeMetricFamily]]) -> None:
        """Whatever is asked for at every look of a monitor, too."""
        self._registry.register(_Collector(families))

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""
        if name == "batch_seconds":
            self._seconds.labels(label).observe(amount)
            return
        if name not in self._counters:
            words = name.replace("_", " ")
            self._counters[name] = Counter(f"expunge_{name}", words, ["label"], registry=self._registry)
        self._counters[name].labels(label).inc(amount)

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """See `ports.Metrics.gauge`."""
        if name not in self._gauges:
            words = name.replace("_", " ")
            self._gauges[name] = Gauge(f"expunge_{name}", words, ["label"], registry=self._registry)
        self._gauges[name].labels(label).set(value)
        if name == "waiting_seconds":
            self.health.waits(label, value)
        elif name == "lag_seconds":  # said in every turn
            self.health.lives()


def configure_logs(level: str = "info") -> None:
    """JSON lines on standard error; the client libraries only from warnings on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format='{"library": "%(name)s", "event": "%(msg)s"}')
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
