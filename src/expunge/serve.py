"""A process that runs one role: it starts when everything is as it must be, and waits for servers that are away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from expunge import preflight
from expunge.adapters.redis.covered import IndexCovered
from expunge.adapters.redis.losses import RedisLosses
from expunge.adapters.redis.suspects import RedisSuspects
from expunge.adapters.system import PrometheusMetrics, StopWaiter, SystemClock, tune_process
from expunge.bootstrap import Installation, StoreTenure
from expunge.domain.events import millis
from expunge.domain.topics import read_by
from expunge.errors import Forgotten, Unavailable
from expunge.ports import Role
from expunge.roles import ROLES
from expunge.roles.common import policy_part
from expunge.roles.dead_letters import poisoned
from expunge.roles.resolver.recovery import Recovery, earlier, unsure_since
from expunge.roles.resolver.resolver import Resolver
from expunge.runtime.continuity import Continuity
from expunge.runtime.loop import COMMIT_SECONDS, Loop
from expunge.runtime.outage import Outage

log = structlog.get_logger()

START_SECONDS = 60.0
"""So long a process waits at its start for servers that it cannot reach."""


def run(expunge: Installation, role: str, stop: threading.Event) -> None:
    """Run one role until told to stop.

    Raises:
        ConfigurationError: topics, settings or the index are not as they must be.
    """
    tune_process()
    expunge.server.compares = True
    port, address = expunge.settings.metrics.port, expunge.settings.metrics.address
    metrics = PrometheusMetrics(port + ROLES.index(role) if port else 0, address)
    from_the_start(metrics, role)
    tenure = StoreTenure(expunge.server, expunge.settings.kafka.session_timeout_ms)

    def ready() -> None:
        expunge.server.accept()  # whoever is there now: nothing of another is known yet
        preflight.refuse_if_wrong(expunge)
        if role == "intake":
            keep_policy(expunge)

    if not start(ready, role, stop, metrics):
        return
    handler = expunge.role(role, metrics, stop, tenure)
    source = tenure.source = expunge.records(role, handler.topics)
    suspects, waiter = RedisSuspects(expunge.server), StopWaiter(stop)
    clock, sink, losses = SystemClock(), expunge.sender, RedisLosses(expunge.server)
    begun = Continuity(
        role,
        source,
        expunge.covered(role),
        expunge.topics,
        losses,
        metrics,
        clock,
        sink,
        partial(_restore, expunge, handler),
    )
    # How far the indexers are is what they have committed, and cases wait for it.
    often = 0 if role == "indexer" else COMMIT_SECONDS
    Loop(handler, source, sink, clock, metrics, suspects, waiter, begun, often).run(stop.is_set)


def from_the_start(metrics: PrometheusMetrics, role: str) -> None:
    """Alarms are served as 0 before anything is wrong: a series that begins with 1 has not increased."""
    metrics.count("poisoned", 0, label=role)
    for inlet in ("commands", "confirmations") if role == "coordinator" else ():
        metrics.count("refused_emissions", 0, label=inlet)
    if role == "notary":
        metrics.count("certificates_not_made", 0)
        for wrong in ("gap", "contradiction"):
            metrics.count("ledger_alarms", 0, label=wrong)


def _restore(expunge: Installation, handler: Role, since_ms: int | None, has_forgotten: bool) -> None:  # noqa: FBT001
    """What a role does at a start and when Redis is another one; see `Continuity`."""
    if handler.name == "intake":
        keep_policy(expunge)
    if isinstance(handler, Resolver):
        handler.ask_anew()
    if since_ms is None:
        return
    since = earlier(since_ms)
    if has_forgotten:
        suspects, letters = RedisSuspects(expunge.server), expunge.since("dead-letters", since)
        for (topic, partition), offset, reason in poisoned(letters, handler.name, expunge.settings.prefix):
            suspects.park(topic, partition, offset, reason)
    if handler.name in {"resolver", "coordinator"}:  # whichever hears of it first
        if handler.name == "coordinator":  # how far resolvers are is what says which chunks may be missing
            ends = expunge.topics.ends(list(read_by("resolver")))
            since = unsure_since(ends, IndexCovered(expunge.server).everywhere(), millis(SystemClock().now()))
        plans = partial(expunge.since, "plans")
        number = Recovery(plans, expunge.cases, expunge.topics, expunge.keys).restore(since)
        log.info("chunks were put back", number=number)


def keep_policy(expunge: Installation) -> None:
    """Requests that are taken from here on are bound to this policy: others must find it."""
    expunge.policies.keep()
    expunge.sender.publish([policy_part(expunge.topics, expunge.policy, SystemClock().now())])


def start(ready: Callable[[], None], who: str, stop: threading.Event, metrics: PrometheusMetrics) -> bool:
    """Do what must be done before a process serves; False if it was told to stop meanwhile.

    Raises:
        Unavailable: a server could not be reached for a minute.
    """
    clock = SystemClock()
    outage, until = Outage(who, clock, metrics), clock.seconds() + START_SECONDS
    while not stop.is_set():
        try:
            ready()
        except Unavailable as error:
            outage.goes_on(error)
            if isinstance(error, Forgotten):
                until = clock.seconds() + START_SECONDS
            elif clock.seconds() >= until:
                raise
            stop.wait(1.0)
        else:
            outage.ends()
            return True
    return False
