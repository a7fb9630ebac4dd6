"""`expunge keys show`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from expunge.cli.common import installation

app = typer.Typer(help="Keys derived from the deployment's secret.", no_args_is_help=True)


class Shown(StrEnum):
    """Keys that somebody outside must hold."""

    SUPPRESSION = "suppression"


@app.callback()
def root() -> None:
    """Keys derived from the deployment's secret."""


@app.command()
def show(which: Annotated[Shown, typer.Argument(help="suppression: for those who take data in.")]) -> None:
    """Print a key, in hexadecimal, for whoever must hold it. It opens nothing else."""
    del which  # there is one
    typer.echo(installation().keys.suppression.hex())
