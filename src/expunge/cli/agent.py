"""`expunge agent run SYSTEM`: a ready agent, as configuration declares it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from expunge.adapters.signing import Signer
from expunge.adapters.system import OTHERS, configure_logs, end_on_signals, refuse_if_readable, serve_metrics
from expunge.adapters.vault import is_pair
from expunge.agent import Agent, AgentMetrics
from expunge.agent.filesystem import Fields, Filesystem
from expunge.agent.sqlite import Sqlite, Table
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


@app.command("run")
def run_agents(
    systems: Annotated[
        list[str], typer.Argument(help="Systems that have a table of agents in the configuration; one thread each.")
    ],
    metrics_port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to serve metrics; 0: nowhere.")] = 0,
) -> None:
    """Run the agents of one or more systems until SIGTERM."""
    settings = installation().settings
    declared = {agent.system: agent for agent in settings.agents}
    for system in systems:
        if system not in declared:
            known = ", ".join(declared) or "none"
            raise ConfigurationError(f"no [[agents]] entry for system {system}; declared: {known}")
    configure_logs(settings.log_level)
    chosen = [declared[each] for each in dict.fromkeys(systems)]
    metrics = AgentMetrics()
    if metrics_port:
        serve_metrics(metrics_port, settings.metrics.address, metrics.registry)
    served = {each.system: _served(each, settings) for each in chosen}
    serve_all(settings, served, metrics)


def _served(agent: AgentSettings, settings: Settings) -> Served:
    return Served(purger(agent, settings), agent.state, _key(agent, settings), _signing_key(agent, settings))


def _signing_key(agent: AgentSettings, settings: Settings) -> Path | None:
    """The file of the key with which a system's receipts are signed.

    Raises:
        ConfigurationError: it is not that with which the system is declared.
    """
    declared = settings.registry().system(agent.system)
    if agent.signing_key_file and declared and Signer.of(agent.signing_key_file).public not in declared.key:
        raise ConfigurationError(
            f"agent {agent.system}: signing_key_file is not the key that the system is declared with in [[systems]]: "
            f"`expunge keys show {agent.signing_key_file.stem} --directory {agent.signing_key_file.parent}` prints it"
        )
    return agent.signing_key_file


class Served(NamedTuple):
    """What one system's agent is made of."""

    purger: Purger
    state: Path
    key: str | None = None
    signing_key: Path | None = None


def serve_all(settings: Settings, systems: Mapping[str, Served], metrics: AgentMetrics | None = None) -> None:
    """Serve several systems, one thread each, until SIGTERM; the first that fails ends them all."""
    stop = threading.Event()
    agents: list[Agent] = []
    end_on_signals(stop, busy=lambda: any(agent.purging for agent in agents))
    failures: list[BaseException] = []

    def serve(system: str, served: Served) -> None:
        try:
            agent = Agent(
                system,
                served.purger,
                bootstrap_servers=settings.kafka.bootstrap_servers,
                prefix=settings.prefix,
                state=served.state,
                opening_key=served.key,
                session_timeout_ms=settings.kafka.session_timeout_ms,
                options=settings.kafka.options,
                client=settings.kafka.client,
                metrics=metrics,
                signing_key=served.signing_key,
            )
            agents.append(agent)
            agent.run(stop)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends with it
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=serve, args=each, name=each[0]) for each in systems.items()]
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
    if declared.root is None or not declared.root.is_dir():
        raise ConfigurationError(f"agent {declared.system}: root must be a directory that exists: {declared.root}")
    fields = Fields(*map(frozenset, (declared.person_fields, declared.asset_fields, declared.data_source_fields)))
    return Filesystem(declared.root, declared.asset_prefix, fields=fields, links=declared.hard_links == "allow")


def _sqlite(declared: AgentSettings, settings: Settings) -> Purger:
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
    tables = [Table(**table.model_dump(), normaliser=normalisers[table.namespace]) for table in declared.tables]
    try:
        return Sqlite(declared.database, tables)
    except sqlite3.Error as error:
        raise ConfigurationError(f"agent {declared.system}: {declared.database} cannot be read: {error}") from None


class ReadyAgent(NamedTuple):
    """A type of ready agents; a further one is a row of `READY`, and a word of `config.Agent.type`."""

    make: Callable[[AgentSettings, Settings], Purger]
    actions: frozenset[Action]
    """What it can do."""


READY = {
    "filesystem": ReadyAgent(_filesystem, Filesystem.ACTIONS),
    "sqlite": ReadyAgent(_sqlite, Sqlite.ACTIONS),
}
