"""`expunge agent run SYSTEM`: a ready agent, as configuration declares it."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from expunge.adapters.system import configure_logs
from expunge.agent import Agent
from expunge.agent.filesystem import Filesystem
from expunge.agent.sqlite import Sqlite, Table
from expunge.agent.types import Purger
from expunge.cli.common import installation
from expunge.cli.run import stop_on_signals
from expunge.config import Agent as AgentSettings
from expunge.errors import ConfigurationError

app = typer.Typer(help="Downstream systems that obey commands.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Downstream systems that obey commands."""


@app.command("run")
def run_agent(system: Annotated[str, typer.Argument(help="The system, as declared under [[agents]].")]) -> None:
    """Run the agent of a system until SIGTERM."""
    settings = installation().settings
    declared = next((agent for agent in settings.agents if agent.system == system), None)
    if declared is None:
        known = ", ".join(agent.system for agent in settings.agents) or "none"
        raise ConfigurationError(f"no [[agents]] entry for system {system}; declared: {known}")
    configure_logs(settings.log_level)
    stop = threading.Event()
    stop_on_signals(stop)
    agent = Agent(
        system,
        purger(declared),
        bootstrap_servers=settings.kafka.bootstrap_servers,
        prefix=settings.prefix,
        state=declared.state,
        opening_key=_key(declared),
        session_timeout_ms=settings.kafka.session_timeout_ms,
        options=settings.kafka.options,
    )
    agent.run(stop)


def _key(declared: AgentSettings) -> str | None:
    if declared.key_file is None:
        return None
    try:
        return declared.key_file.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"key file {declared.key_file}: {error.strerror}") from None


def purger(declared: AgentSettings) -> Purger:
    """The ready agent that configuration describes.

    Raises:
        ConfigurationError: a setting that its type needs is missing.
    """
    if declared.type == "filesystem":
        if declared.root is None or not declared.root.is_dir():
            raise ConfigurationError(f"agent {declared.system}: root must be a directory that exists")
        return Filesystem(declared.root, declared.asset_prefix)
    if declared.database is None or not declared.tables:
        raise ConfigurationError(f"agent {declared.system}: database and tables are needed")
    tables = [Table(t.name, t.namespace, t.column, t.restriction_column) for t in declared.tables]
    return Sqlite(declared.database, tables)
