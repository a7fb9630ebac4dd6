"""`expunge report`: pages for people, from certificates."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from expunge.adapters import files
from expunge.cli.common import NO, console, say_error
from expunge.cli.verify import files_of, place_of, read
from expunge.domain.evidence import verify
from expunge.errors import ConfigurationError
from expunge.report.page import page

app = typer.Typer(help="Reports for people, made from certificates.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Reports for people, made from certificates."""


@app.command()
def case(
    certificate: Annotated[Path, typer.Argument(help="A certificate: its file, or the directory it lies in.")],
    key: Annotated[str, typer.Option(help="The public key of the log (`expunge certificate key`).")],
    to: Annotated[Path, typer.Option(help="The page: a new file that stands alone.")],
) -> None:
    """Write what a certificate says as one HTML page with figures, which prints well.

    The certificate is checked first: no page is made of one that does not hold. It needs no server.
    """
    if to.exists():
        raise ConfigurationError(f"{to} is there already: name a new file")
    place = place_of(certificate)
    envelope = read(place)
    steps = verify.verify(files_of(place, envelope, key))
    if not all(step.passed for step in steps):
        worst = next(step for step in steps if not step.passed)
        say_error(f"the certificate does not hold, or not all of it is there ({worst.name}): expunge verify says more")
        raise typer.Exit(NO)
    payload = verify.payload(envelope)
    text = page(json.loads(payload), key, hashlib.sha256(payload).hexdigest())
    files.write(to, text.encode())
    console.print(f"{to.absolute()}", soft_wrap=True)
