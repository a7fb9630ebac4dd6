"""`expunge agent run SYSTEM`: a ready agent, as configuration declares it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import typer

from expunge.adapters.serving import serve
from expunge.adapters.signing import Signer
from expunge.adapters.system import OTHERS, configure_logs, end_on_signals, refuse_if_readable
from expunge.adapters.vault import is_pair
from expunge.agent import Agent, AgentMetrics, ProbeAgent, Prober
from expunge.agent.filesystem import Fields, Filesystem, FilesystemProber
from expunge.agent.sqlite import Sqlite, SqliteProber, Table
from expunge.agent.types import Purger
from expunge.cli import conformance
from expunge.cli.common import installation
from expunge.config import Agent as AgentSettings
from expunge.config import Settings
from expunge.domain.vocabulary import Action
from expunge.errors import ConfigurationError

app = typer.Typer(help="Downstream systems that obey commands.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Downstream systems that obey commands."""


app.command("check")(conformance.check)


Systems = Annotated[
    list[str], typer.Argument(help="Systems that have a table of agents in the configuration; one thread each.")
]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Where to serve metrics; 0: nowhere.")]


@app.command("run")
def run_agents(systems: Systems, metrics_port: Port = 0) -> None:
    """Run the agents of one or more systems until SIGTERM."""
    settings, chosen, metrics = _begun(systems, metrics_port)
    serve_all({each.system: partial(_agent, settings, each, metrics) for each in chosen})


@app.command("probe")
def run_probers(systems: Systems, metrics_port: Port = 0) -> None:
    """Look into one or more systems, when Expunge asks whether what their agents called gone is gone, until SIGTERM.

    Answers are signed with `probing_key_file`. Best run it elsewhere than the agents, as somebody who may only read.
    """
    settings, chosen, metrics = _begun(systems, metrics_port)
    serve_all({each.system: partial(_prober, settings, each, metrics) for each in chosen})


def _begun(systems: Sequence[str], metrics_port: int) -> tuple[Settings, list[AgentSettings], AgentMetrics]:
    settings = installation().settings
    declared = {agent.system: agent for agent in settings.agents}
    for system in systems:
        if system not in declared:
            known = ", ".join(declared) or "none"
            raise ConfigurationError(f"no [[agents]] entry for system {system}; declared: {known}")
    configure_logs(settings.log_level)
    metrics = AgentMetrics()
    if metrics_port:
        serve(metrics_port, settings.metrics.address, metrics.registry, metrics.health)
    return settings, [declared[each] for each in dict.fromkeys(systems)], metrics


def _agent(settings: Settings, declared: AgentSettings, metrics: AgentMetrics) -> Agent:
    if declared.signing_key_file is not None:
        _refuse_another(declared.system, "signing_key_file", declared.signing_key_file, settings, "key")
    return Agent(
        declared.system,
        purger(declared, settings),
        state=declared.state,
        opening_key=_key(declared, settings),
        signing_key=declared.signing_key_file,
        metrics=metrics,
        **_broker(settings),
    )


def _prober(settings: Settings, declared: AgentSettings, metrics: AgentMetrics) -> ProbeAgent:
    if declared.probing_key_file is None:
        raise ConfigurationError(
            f"agent {declared.system}: set probing_key_file in [[agents]], and probe_key in [[systems]]: "
            f"`expunge keys create prober-{declared.system}` makes a key"
        )
    _refuse_another(declared.system, "probing_key_file", declared.probing_key_file, settings, "probe_key")
    return ProbeAgent(
        declared.system,
        READY[declared.type].look(declared, settings),
        signing_key=declared.probing_key_file,
        opening_key=_key(declared, settings),
        metrics=metrics,
        **_broker(settings),
    )


def _broker(settings: Settings) -> dict[str, Any]:
    kafka = settings.kafka
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "prefix": settings.prefix,
        "session_timeout_ms": kafka.session_timeout_ms,
        "options": kafka.options,
        "client": kafka.client,
    }


def _refuse_another(system: str, setting: str, file: Path, settings: Settings, field: str) -> None:
    """See that a key is that with which a system is declared, where it is declared here.

    Raises:
        ConfigurationError: it is another.
    """
    declared = settings.registry().system(system)
    if declared is None:
        return
    public, known = Signer.of(file).public, getattr(declared, field)
    other = "key" if field == "probe_key" else "probe_key"
    if public in getattr(declared, other):
        raise ConfigurationError(
            f"agent {system}: {setting} ({file}) is the system's `{other}`: whoever looks needs another key than "
            "whoever deletes (`expunge keys create NAME` makes one)"
        )
    if public not in known:
        is_none = f"[[systems]] declares no `{field}` for it" if not known else f"it is not the system's `{field}`"
        raise ConfigurationError(
            f"agent {system}: {setting} is {file}, and {is_none}: put there what `expunge keys show {file.stem} "
            f"--directory {file.parent}` prints, as `{field}`, also where the roles run"
        )


class Served(Protocol):
    """What serves a system until it is told to stop."""

    purging: bool

    def run(self, stop: threading.Event) -> None:
        """Serve."""


def serve_all(systems: Mapping[str, Callable[[], Served]]) -> None:
    """Serve several systems, one thread each, until SIGTERM; the first that fails ends them all."""
    stop = threading.Event()
    serving: list[Served] = []
    end_on_signals(stop, busy=lambda: any(each.purging for each in serving))
    failures: list[BaseException] = []

    def serve(make: Callable[[], Served]) -> None:
        try:
            served = make()
            serving.append(served)
            served.run(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends with it
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=serve, args=(make,), name=system) for system, make in systems.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _key(declared: AgentSettings, settings: Settings) -> str | None:
    if declared.key_file is None:
        return None
    try:
        key = declared.key_file.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"key file {declared.key_file}: {error.strerror}") from None
    refuse_if_readable(declared.key_file, "key file", OTHERS)
    opens = next((each.sealing_key for each in settings.systems if each.name == declared.system), None)
    if opens and not is_pair(opens, key):
        text = (
            f"agent {declared.system}: the key in {declared.key_file} opens nothing that is sealed to its sealing_key"
        )
        raise ConfigurationError(f"{text} under [[systems]]: they are no pair")
    return key


def purger(declared: AgentSettings, settings: Settings) -> Purger:
    """The ready agent that configuration describes.

    Raises:
        ConfigurationError: a setting that its type needs is missing.
    """
    return READY[declared.type].make(declared, settings)


def _filesystem(declared: AgentSettings, settings: Settings) -> Purger:
    del settings
    fields = Fields(*map(frozenset, (declared.person_fields, declared.asset_fields, declared.data_source_fields)))
    return Filesystem(_root(declared), declared.asset_prefix, fields=fields, links=declared.hard_links == "allow")


def _filesystem_prober(declared: AgentSettings, settings: Settings) -> Prober:
    del settings
    return FilesystemProber(_root(declared), declared.asset_prefix)


def _root(declared: AgentSettings) -> Path:
    if declared.root is None or not declared.root.is_dir():
        raise ConfigurationError(f"agent {declared.system}: root must be a directory that exists: {declared.root}")
    return declared.root


def _sqlite(declared: AgentSettings, settings: Settings) -> Purger:
    database, tables = _database(declared, settings)
    try:
        return Sqlite(database, tables)
    except sqlite3.Error as error:
        raise ConfigurationError(f"agent {declared.system}: {database} cannot be read: {error}") from None


def _sqlite_prober(declared: AgentSettings, settings: Settings) -> Prober:
    return SqliteProber(*_database(declared, settings))


def _database(declared: AgentSettings, settings: Settings) -> tuple[Path, list[Table]]:
    if declared.database is None or not declared.tables:
        raise ConfigurationError(f"agent {declared.system}: database and tables are needed")
    if not declared.database.is_file():
        raise ConfigurationError(f"agent {declared.system}: there is no database {declared.database}")
    normalisers = {each.name: each.normaliser for each in settings.namespaces}
    for table in declared.tables:
        if table.namespace not in normalisers:
            raise ConfigurationError(
                f"agent {declared.system}: namespace {table.namespace} is not under [[namespaces]]"
            )
    system = next((each for each in settings.systems if each.name == declared.system), None)
    for table in declared.tables:
        if system is not None and table.namespace not in system.reveal:
            text = f"agent {declared.system}: table {table.name} is searched by {table.namespace}, which is not in the"
            raise ConfigurationError(f"{text} system's `reveal`: nobody would be found in it")
    made = [Table(**table.model_dump(), normaliser=normalisers[table.namespace]) for table in declared.tables]
    return declared.database, made


class ReadyAgent(NamedTuple):
    """A type of ready agents; a further one is a row of `READY`, and a word of `config.Agent.type`."""

    make: Callable[[AgentSettings, Settings], Purger]
    look: Callable[[AgentSettings, Settings], Prober]
    """Who looks whether it has told the truth."""
    actions: frozenset[Action]
    """What it can do."""


READY = {
    "filesystem": ReadyAgent(_filesystem, _filesystem_prober, Filesystem.ACTIONS),
    "sqlite": ReadyAgent(_sqlite, _sqlite_prober, Sqlite.ACTIONS),
}
