"""What an agent counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from expunge.adapters.serving import Health
from expunge.ports import GaugeName, MetricName


class AgentMetrics:
    """The metrics of the agents of one process.

    `expunge_agent_alive_timestamp_seconds` is the time of the last turn in which the broker answered: an alert on its
    age finds an agent that hangs or waits, and on its maximum over a day one that is gone.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry, self.health = registry or CollectorRegistry(), Health()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"expunge_agent_{name}", text, ["system", *labels], registry=self.registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"expunge_agent_{name}", text, ["system"], registry=self.registry)

        self._commands = counter("commands", "Commands that were answered")
        self._targets = counter("targets", "Targets by what was said of them", "claim")
        self._seconds = counter("purge_seconds", "Time in the purger")
        self._looked = counter("probed", "Targets that a prober looked for, by what it found", "finding")
        self._skipped = counter("skipped", "Messages that are no commands, or no questions")
        self._unopened = counter("not_opened", "Identities sealed to another key")
        self._alive = gauge("alive_timestamp_seconds", "The last turn in which the broker answered")
        self._waiting = gauge("waiting_seconds", "For so long a server has been away")

    def command(self, system: str, claims: dict[str, int]) -> None:
        """A command was answered: so many targets, by claim (`promised` for what goes on later)."""
        self._commands.labels(system).inc()
        for claim, number in claims.items():
            self._targets.labels(system, claim).inc(number)

    def purged(self, system: str, seconds: float) -> None:
        """The purger was at work."""
        self._seconds.labels(system).inc(seconds)

    def looked(self, system: str, findings: dict[str, int]) -> None:
        """A prober answered: so many targets, by finding."""
        for finding, number in findings.items():
            self._looked.labels(system, finding).inc(number)

    def skipped(self, system: str) -> None:
        """A message was no command."""
        self._skipped.labels(system).inc()

    def not_opened(self, system: str, number: int) -> None:
        """Identities could not be opened with the system's key."""
        self._unopened.labels(system).inc(number)

    def alive(self, system: str) -> None:
        """A turn was completed."""
        self._alive.labels(system).set_to_current_time()
        self.health.lives()

    def of(self, system: str) -> _Waits:
        """The part that follows outages."""
        return _Waits(self._waiting, self.health, system)


class _Waits:
    """See `ports.Metrics`; of an agent only how long it waits."""

    def __init__(self, gauge: Gauge, health: Health, system: str) -> None:
        self._gauge, self._health, self._system = gauge, health, system

    def count(self, name: MetricName, amount: float = 1, *, label: str = "") -> None:
        """See `ports.Metrics.count`."""

    def gauge(self, name: GaugeName, value: float, *, label: str = "") -> None:
        """See `ports.Metrics.gauge`."""
        del label
        if name == "waiting_seconds":
            self._gauge.labels(self._system).set(value)
            self._health.waits(self._system, value)
