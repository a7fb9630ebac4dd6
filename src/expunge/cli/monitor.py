"""`expunge monitor`: what goes on in a deployment, for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Annotated

import structlog
import typer
from prometheus_client.core import GaugeMetricFamily

from expunge.adapters.system import PrometheusMetrics, SystemClock, configure_logs, end_on_signals
from expunge.bootstrap import Installation
from expunge.cli.common import installation
from expunge.cli.looking import Lookout
from expunge.errors import Changed, Unavailable
from expunge.overview.gauges import GAUGES, samples
from expunge.overview.state import Overview
from expunge.runtime.outage import Outage

PORT = 9195


def monitor(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Where to serve.")] = PORT,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 30,
) -> None:
    """Look at the whole deployment again and again, and serve what is seen for Prometheus; one is enough.

    Roles serve what they know of themselves; this one knows what they cannot: cases by state, what is due, what each
    system is waited for, who is behind, what is set aside. It reads Kafka and Redis, and writes nothing. While either
    is away it says so on /ready, serves what it saw last, and goes on by itself.
    """
    expunge = installation()
    configure_logs(expunge.settings.log_level)
    stop = threading.Event()
    end_on_signals(stop)
    metrics = PrometheusMetrics(port, expunge.settings.metrics.address)
    seen: list[Overview] = []
    metrics.collect(lambda: _families(seen[-1]) if seen else iter(()))
    structlog.get_logger().info("monitor", address=expunge.settings.metrics.address, port=port)
    _watch(expunge, seen, metrics, stop, every)


def _watch(
    expunge: Installation, seen: list[Overview], metrics: PrometheusMetrics, stop: threading.Event, every: float
) -> None:
    clock = SystemClock()
    outage, lookout = Outage("monitor", clock, metrics), Lookout(expunge)
    while not stop.is_set():
        try:
            seen[:] = [lookout.look(clock.now())]
        except (Unavailable, Changed) as error:  # whatever there is when it comes back is looked at from its beginning
            outage.goes_on(error if isinstance(error, Unavailable) else Unavailable(str(error)))
            lookout.begin_anew()
        else:
            outage.ends()
            metrics.gauge("waiting_seconds", 0, label="monitor")
        stop.wait(every)
    lookout.close()


def _families(seen: Overview) -> Iterator[GaugeMetricFamily]:
    for name, values in samples(seen).items():
        about = GAUGES[name]
        family = GaugeMetricFamily(f"expunge_{name}", about.meaning, labels=about.labels)
        for labels, value in values:
            family.add_metric(labels, value)
        yield family
