"""The process and its surroundings: clock, waiting, metrics, logs."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from datetime import UTC, datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from expunge.ports import MetricName


def tune_process() -> None:
    """Settings of the interpreter for a process that handles large batches of short-lived objects.

    Most of them die by reference counting, so the collector of cycles looks rarely (measured: a quarter of a walk's
    time otherwise). A thread that comes back from the network gets its turn soon, for it has the next work to hand out.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)


class SystemClock:
    """See `runtime.Clock`."""

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


class PrometheusMetrics:
    """See `ports.Metrics`; one registry per process, served on a port if one is given."""

    def __init__(self, port: int = 0) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._seconds = Histogram("expunge_batch_seconds", "Poll to commit", ["label"], registry=self._registry)
        if port:
            start_http_server(port, registry=self._registry)

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""
        if name == "batch_seconds":
            self._seconds.labels(label).observe(amount)
            return
        if name not in self._counters:
            words = name.replace("_", " ")
            self._counters[name] = Counter(f"expunge_{name}", words, ["label"], registry=self._registry)
        self._counters[name].labels(label).inc(amount)


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
