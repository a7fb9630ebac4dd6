"""`expunge topics create`."""

from __future__ import annotations

import typer

from expunge import preflight
from expunge.cli.common import console, installation

app = typer.Typer(help="Kafka topics of this deployment.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Kafka topics of this deployment."""


@app.command()
def create() -> None:
    """Create missing topics and initialise an empty Redis; check the settings of topics that exist."""
    expunge = installation()
    created: list[str] = []
    preflight.create(expunge, created.append)
    console.print(f"{len(created)} topics created, {len(expunge.settings.topics()) - len(created)} were there")
