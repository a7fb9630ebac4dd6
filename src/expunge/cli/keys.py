"""`expunge keys`."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from expunge.bootstrap import Installation
from expunge.cli import rotating
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.rebuild import progress_bars
from expunge.domain.identity import MOST_SECRETS
from expunge.errors import ConfigurationError

app = typer.Typer(help="The deployment's secret, and keys derived from it.", no_args_is_help=True)
SECRET_BYTES = 48


class Shown(StrEnum):
    """Keys that somebody outside must hold."""

    SUPPRESSION = "suppression"


@app.callback()
def root() -> None:
    """The deployment's secret, and keys derived from it."""


@app.command()
def show(which: Annotated[Shown, typer.Argument(help="suppression: for those who take data in.")]) -> None:
    """Print a key, in hexadecimal, for whoever must hold it. It opens nothing else."""
    del which  # there is one
    typer.echo(installation().keys.suppression.hex())


@app.command()
def rotate(json_output: Json = False) -> None:
    """Give all people in the index other pseudonyms, made with another secret, while everything goes on.

    Run it twice. The first time it makes the next secret beside the first (SECRET_FILE.2, then .3, ...) and changes
    nothing: copy that file to wherever Expunge runs, and to where your secrets are kept; all of them are needed from
    then on. The second time it begins: roles start anew with both secrets, and those that do not have the new one end.
    It may be interrupted; run again it goes on, and so does each `expunge sweep`.
    """
    expunge = installation()
    meta, newest = rotating.meta_of(expunge)
    if not rotating.is_under_way(meta, newest) and not meta.turning:
        if newest == expunge.keys.last:
            _say_made(_make(expunge, newest + 1), json_output=json_output)
            return
        rotating.begin(expunge, newest)
    with progress_bars(quiet=json_output) as progress:
        bar = progress.add_task("the index", total=None)
        done = rotating.go_on(expunge.settings, lambda: progress.advance(bar))
    if json_output:
        print_json(asdict(done))
        return
    console.print(f"{done.copied:>12,} assets, marks and rows copied to the new pseudonyms")
    console.print(f"{done.dropped:>12,} old pseudonyms taken away")
    if done.is_over:
        console.print("people stand in the index under the new secret alone; `expunge sweep` does the same on topics")
    else:
        console.print("in ten minutes the cluster must show that all of it is there: run this again, or wait for the")
        console.print("next `expunge sweep`. Until then people are looked for under both secrets.")


def _make(expunge: Installation, number: int) -> Path:
    """A new secret, readable by its owner alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if number > MOST_SECRETS:
        raise ConfigurationError(f"there have been {MOST_SECRETS} secrets: no pseudonym can say of a later one")
    path = expunge.settings.secret_file_of(number)
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        mend = f"(umask 077; head -c {SECRET_BYTES} /dev/urandom | base64 > {path.absolute()})"
        raise ConfigurationError(f"secret file {path.absolute()}: {error.strerror}; make it yourself: {mend}") from None
    return path


def _say_made(path: Path, *, json_output: bool) -> None:
    if json_output:
        print_json({"made": str(path.absolute())})
        return
    console.print(f"made {path.absolute()}; nothing has changed yet", soft_wrap=True)
    console.print("1. copy it to wherever Expunge runs, beside the first secret, and to where your secrets are kept")
    console.print("2. then begin: expunge keys rotate")
