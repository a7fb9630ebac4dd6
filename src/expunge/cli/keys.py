"""`expunge keys`."""

from __future__ import annotations

import base64
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from expunge.adapters.signing import Signer, create, write_new
from expunge.bootstrap import Installation
from expunge.cli import rotating
from expunge.cli.common import Json, console, installation, print_json
from expunge.cli.rebuild import progress_bars
from expunge.config import load
from expunge.domain.identity import MOST_SECRETS
from expunge.domain.signatures import key_id
from expunge.errors import ConfigurationError

app = typer.Typer(help="Keys to sign with, the deployment's secret, and keys derived from it.", no_args_is_help=True)
SECRET_BYTES = 48
SUPPRESSION = "suppression"

Directory = Annotated[
    Path | None, typer.Option(help="Where the key's file lies (default: `keys_directory` of the configuration).")
]
KeyName = Annotated[
    str, typer.Argument(help="Whose key it is: an operator's, publisher's or system's name.", show_default=False)
]


@app.callback()
def root() -> None:
    """Keys to sign with, the deployment's secret, and keys derived from it."""


@app.command("create")
def create_key(name: KeyName, directory: Directory = None, json_output: Json = False) -> None:
    """Make a key to sign with, in NAME.key (readable by its owner alone), and print its public part.

    Whoever is to be believed is declared with the public part; the file stays with whoever signs.
    """
    file = _file(name, directory)
    if name == SUPPRESSION:
        raise ConfigurationError(f"{SUPPRESSION} names a key of the deployment: take another name")
    _print_public(create(file), file, as_json=json_output)


@app.command()
def show(name: KeyName, directory: Directory = None, json_output: Json = False) -> None:
    """Print the public part of a key to sign with; or, as `suppression`, the key that whoever takes data in must hold.

    The latter opens nothing else.
    """
    if name == SUPPRESSION:
        key = installation().keys.suppression.hex()
        print_json({"suppression": key}) if json_output else typer.echo(key)
        return
    file = _file(name, directory)
    _print_public(Signer.of(file), file, as_json=json_output)


def _file(name: str, directory: Path | None) -> Path:
    if name != Path(name).name or name.startswith("."):
        raise ConfigurationError("a key has a plain name: that of whoever signs with it")
    return (directory or load().keys_directory) / f"{name}.key"


def _print_public(signer: Signer, file: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file.absolute()), "key": signer.public, "key_id": key_id(signer.public)})
        return
    console.print(f"in {file.absolute()}, which stays with whoever signs", soft_wrap=True)
    console.print(f"key id: {key_id(signer.public)}", soft_wrap=True)
    console.print("to be believed, in the table that declares them:")
    console.print(f'key = "{signer.public}"', soft_wrap=True, markup=False)


@app.command()
def prepare(json_output: Json = False) -> None:
    """Make the next secret, beside the first (SECRET_FILE.2, then .3, ...), and use it for nothing yet.

    Copy it to wherever Expunge runs, and to where your secrets are kept; then `expunge keys rotate` begins.
    """
    expunge = installation()
    meta = rotating.meta_of(expunge)
    if rotating.is_under_way(meta):
        raise ConfigurationError("a rotation is under way: `expunge keys rotate` ends it; make the next secret then")
    if rotating.secrets_said(expunge) > meta.newest:
        raise ConfigurationError(
            f"a rotation to secret {meta.newest + 1} was begun: `expunge keys rotate` goes on with it"
        )
    made = meta.newest == expunge.keys.last
    path = _make(expunge, meta.newest + 1) if made else expunge.settings.secret_file_of(meta.newest + 1)
    if json_output:
        print_json({"secret": str(path.absolute()), "made": made})
        return
    said = "made" if made else "is there already, and used for nothing yet"
    console.print(f"{path.absolute()}: {said}", soft_wrap=True)
    console.print("1. copy it to wherever Expunge runs, beside the first secret, and to where your secrets are kept")
    console.print("2. then begin: expunge keys rotate")


@app.command()
def rotate(json_output: Json = False) -> None:
    """Give all people in the index other pseudonyms, made with the next secret, while everything goes on.

    Roles start anew with all secrets, and those that do not have the new one end: `expunge keys prepare` comes first.
    Interrupted, it goes on when it is run again, and so does each `expunge sweep`.
    """
    expunge = installation()
    meta = rotating.meta_of(expunge)
    if not rotating.is_under_way(meta) and not meta.turning:
        if meta.newest == expunge.keys.last:
            raise ConfigurationError(
                f"people stand under secret {meta.newest} alone, and nothing is under way; to give them other "
                "pseudonyms, make the next secret: expunge keys prepare"
            )
        rotating.begin(expunge, meta)
    with progress_bars(quiet=json_output) as progress:
        bar = progress.add_task("parts looked at", total=None)
        done = rotating.go_on(expunge.settings, lambda: progress.advance(bar))
    if json_output:
        print_json(asdict(done))
        return
    console.print(f"{done.written:>12,} statements written anew")
    console.print(f"{done.copied:>12,} assets, marks and rows copied to the new pseudonyms")
    console.print(f"{done.dropped:>12,} old pseudonyms taken out of the index")
    if done.is_over:
        console.print("people stand under the new secret alone")
    else:
        console.print("in ten minutes the cluster must show that all of it is there: run this again, or wait for the")
        console.print("next `expunge sweep`. Until then people are looked for under both secrets.")


def _make(expunge: Installation, number: int) -> Path:
    """A new secret, readable by its owner alone: whole from the moment at which it is there.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if number > MOST_SECRETS:
        raise ConfigurationError(f"there have been {MOST_SECRETS} secrets: no pseudonym can say of a later one")
    path = expunge.settings.secret_file_of(number)
    write_new(path, base64.b64encode(secrets.token_bytes(SECRET_BYTES)) + b"\n", "secret file")
    return path
