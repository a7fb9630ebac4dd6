"""`expunge certificate`: what is handed to those who do not take our word for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from expunge import queries
from expunge.adapters.archive import CERTIFICATE
from expunge.adapters.signing import Signer, create, write_new
from expunge.bootstrap import Installation
from expunge.cli.case.found import find
from expunge.cli.common import NO, Json, console, installation, print_json, quiet_console, say_error
from expunge.domain.evidence import merkle
from expunge.domain.evidence.certificate import commitment, opening
from expunge.domain.evidence.notes import verifier
from expunge.domain.evidence.reading import facts_of
from expunge.domain.evidence.reading_notes import Wrong, succession_of
from expunge.domain.partition import partition_of
from expunge.domain.vocabulary import FINAL
from expunge.errors import ConfigurationError
from expunge.ports.evidence import Due
from expunge.roles.notary import is_end

app = typer.Typer(help="Certificates of cases, which others can check.", no_args_is_help=True)

CaseId = Annotated[str, typer.Argument(help="The case, or the id of its request.", show_default=False)]
Sequence = Annotated[
    int | None, typer.Option(help="Which end of the case: the number of its fact (default: the last one).")
]
Asset = Annotated[str, typer.Option(help="The asset's id.")]


@app.callback()
def root() -> None:
    """Certificates of cases, which others can check."""


@app.command()
def get(
    case_id: CaseId,
    to: Annotated[Path | None, typer.Option(help="Copy it into this new directory.")] = None,
    sequence: Sequence = None,
    json_output: Json = False,
) -> None:
    """Say where a case's certificate lies, with all that can be checked beside it, or copy it.

    It is made when the case ends, on the machine on which the notary runs.
    """
    expunge = _kept()
    case = _case_id(expunge, case_id)
    place = _place(expunge, case, sequence)
    if to is not None:
        if to.exists():
            raise ConfigurationError(f"{to} is there already: name a new directory")
        shutil.copytree(place, to)
        place = to
    key = verifier_of(expunge)
    _warn_if_it_goes_on(expunge, case)
    if json_output:
        numbers = expunge.archive.sequences(case)
        print_json({"case_id": case, "directory": str(place.absolute()), "ends": numbers, "key": key})
        return
    console.print(f"{place.absolute()}", soft_wrap=True)
    console.print("anybody can check it, without Kafka, Redis or this configuration:")
    console.print(f"expunge verify {place} --key {key}", soft_wrap=True, markup=False)


def _warn_if_it_goes_on(expunge: Installation, case: str) -> None:
    """Say that another certificate will follow, where that can be seen."""
    found = queries.case(expunge, case)
    if found is not None and (found.status not in FINAL or found.probing is not None):
        why = "the case goes on" if found.status not in FINAL else "it is being probed"
        quiet_console.print(f"{why}: another certificate follows when that has ended (expunge case show {case})")


@app.command()
def prove(case_id: CaseId, asset: Asset, sequence: Sequence = None) -> None:
    """Print, as JSON, what shows one asset's owner that it is in a case's certificate, and nothing of any other asset.

    `expunge verify CERTIFICATE --proof FILE` checks it. It can be made until the case is forgotten.
    """
    expunge = _kept()
    case = _case_id(expunge, case_id)
    place = _place(expunge, case, sequence)
    opened = opening(_salt(expunge, case), asset)
    named = commitment(opened, asset)
    lines = (place / "obligations.jsonl").read_bytes().splitlines()
    at = [number for number, line in enumerate(lines) if json.loads(line).get("asset") == named]
    if not at:
        say_error("the certificate is about no such asset")
        raise typer.Exit(NO)
    hashes = [merkle.leaf_hash(line) for line in lines]
    proofs = [
        {
            "index": number,
            "obligation": lines[number].decode(),
            "proof": [each.hex() for each in merkle.inclusion(number, len(lines), merkle.above(hashes))],
        }
        for number in at
    ]
    print_json({"asset": asset, "opening": opened.hex(), "of": len(lines), "obligations": proofs})


@app.command()
def openings(
    case_id: CaseId, listed: Annotated[Path, typer.Option("--list", help="Ids of assets, one in each line.")]
) -> None:
    """Print what opens the commitments of a list of assets in a case's certificate, a line of JSON for each.

    Whoever has the list can then hold it against the certificate (`expunge report order --list --openings`), and see
    which of them it is about. Of others these say nothing. It can be done until the case is forgotten.
    """
    expunge = _kept()
    case = _case_id(expunge, case_id)
    salt = _salt(expunge, case)
    for asset in ids_of(listed):
        print_json({"case_id": case, "asset": asset, "opening": opening(salt, asset).hex()})


def ids_of(listed: Path) -> Iterator[str]:
    """The ids in a list, one in each line.

    Raises:
        ConfigurationError: it cannot be read, or one has blanks around it, which would make it another.
    """
    try:
        with listed.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                asset = line.rstrip("\n")
                if asset != asset.strip():
                    raise ConfigurationError(f"{listed}, line {number}: blanks around the id would be part of it")
                if asset:
                    yield asset
    except OSError as error:
        raise ConfigurationError(f"{listed}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{listed} is not UTF-8") from None


def _salt(expunge: Installation, case: str) -> str:
    """The salt of a case's commitments.

    Raises:
        typer.Exit: it is forgotten.
    """
    found = expunge.cases.reader(partition_of(case, expunge.settings.kafka.partitions)).root(case)
    if found is None or not found.salt:
        say_error("the case is forgotten: nobody can say any more which assets these were")
        raise typer.Exit(NO)
    return found.salt


@app.command()
def publish(case_id: CaseId, sequence: Sequence = None) -> None:
    """Have a certificate published now: once more, or one that could not be made when the case ended.

    It goes to the notary's own machine: run it there. The notary does it within a minute.
    """
    expunge = _kept()
    case = _case_id(expunge, case_id)
    log = expunge.ledger_log
    ends = _ends(log.entries(case), case) if log else {}
    wanted = sequence if sequence is not None else max(ends, default=0)
    if log is None or wanted not in ends:
        which = f"no end of number {sequence}" if sequence is not None else "no end of it"
        say_error(f"the log in {expunge.settings.evidence.directory.absolute()} tells of {which}")
        raise typer.Exit(NO)
    log.again(Due(case, wanted, ends[wanted]))
    console.print(f"asked for: expunge certificate get {case} --sequence {wanted}", soft_wrap=True)


def _ends(entries: list[bytes], case: str) -> dict[int, datetime]:
    """The ends of a case, by the numbers of their facts."""
    facts = [fact for entry in entries for fact in facts_of(json.loads(entry))]
    mine = [fact for fact in facts if fact["data"]["case_id"] == case and is_end(fact["type"], fact["data"])]
    return {fact["data"]["sequence"]: datetime.fromisoformat(fact["time"]) for fact in mine}


@app.command()
def key(json_output: Json = False) -> None:
    """Print the public key with which certificates and checkpoints are signed, as those who check them hold it."""
    line = verifier_of(_kept())
    print_json({"key": line}) if json_output else console.print(line, soft_wrap=True, markup=False)


@app.command("rotate-key")
def rotate_key(json_output: Json = False) -> None:
    """Have another key sign the log and its certificates from now on; the old one says so, and both sign that.

    Run it on the notary's machine, where no thief has the key: whoever has stolen it could say the same (see docs).
    Interrupted, it goes on when it is run again. The notary ends at its next checkpoint; start it anew.
    """
    expunge = _kept()
    current, following = expunge.log_key, expunge.log_key.with_name("notary.next.key")
    log = expunge.ledger_log
    if log is None:
        raise ConfigurationError("no evidence is kept here")
    told, signs = log.successions(), verifier_line(expunge, Signer.of(current))
    promised = _promised(expunge, told) or signs
    interrupted = promised != signs
    if interrupted:
        _refuse_another(expunge, following, promised, len(told))
    elif not following.exists():
        create(following)
    earlier = current.with_name(f"notary.{len(told) if interrupted else len(told) + 1}.key")
    if not earlier.exists():
        _keep_beside(current, earlier)
    if not interrupted:
        log.succeeded(Signer.of(following))
    following.replace(current)  # in one step: there is always a key
    line = verifier_line(expunge, Signer.of(current))
    if json_output:
        print_json({"key": line, "file": str(current.absolute())})
        return
    console.print(f"1. start the notary anew: it signs with {current.absolute()}", soft_wrap=True)
    console.print("2. tell witnesses and whoever checks the new key; who has the old one may go on with that:")
    console.print(line, soft_wrap=True, markup=False)
    console.print(f"3. {earlier.absolute()}: needed only where the log's directory is brought back", soft_wrap=True)
    console.print("   from a backup of before; destroy it when there is none any more", soft_wrap=True)


def _promised(expunge: Installation, told: list[str]) -> str:
    """The key that the last word names as the one that follows; empty where there is none.

    Raises:
        ConfigurationError: it is not signed by both keys.
    """
    try:
        return succession_of(told[-1])[1] if told else ""
    except Wrong as error:
        word = expunge.settings.evidence.directory / "keys" / str(len(told))
        raise ConfigurationError(f"{word}: {error}; bring it back from a backup") from None


def _refuse_another(expunge: Installation, following: Path, promised: str, number: int) -> None:
    """See that the key that is to follow is the one that the log's key has named already.

    Raises:
        ConfigurationError: it is another, or away.
    """
    if not following.exists() or verifier_line(expunge, Signer.of(following)) != promised:
        word = expunge.settings.evidence.directory / "keys" / str(number)
        raise ConfigurationError(
            f"{following} is missing: the log's key has named it as the one that follows ({promised}). Bring it "
            f"back, or take that word away ({word}) where nobody has been shown it"
        )


def _keep_beside(current: Path, earlier: Path) -> None:
    """Another name for a key; a copy, where a file has one name alone."""
    try:
        earlier.hardlink_to(current)
    except OSError:
        write_new(earlier, current.read_bytes(), "signing key")


def verifier_line(expunge: Installation, signer: Signer) -> str:
    """A public key of the log, as verifiers hold it."""
    return verifier(expunge.settings.evidence.origin, bytes.fromhex(signer.public))


def _kept() -> Installation:
    """The installation, where it keeps evidence.

    Raises:
        ConfigurationError: it keeps none.
    """
    expunge = installation()
    if not expunge.settings.evidence.origin:
        raise ConfigurationError(
            "no evidence is kept here: set origin in [evidence] to a name for the ledger's log "
            '(origin = "expunge.example.org/ledger"), run `expunge keys create notary`, and start the notary anew'
        )
    return expunge


def verifier_of(expunge: Installation) -> str:
    """The public key of the installation's log, as verifiers hold it.

    Raises:
        ConfigurationError: no evidence is kept here.
    """
    log = expunge.ledger_log
    if log is None:
        raise ConfigurationError("no evidence is kept here")
    return verifier(expunge.settings.evidence.origin, bytes.fromhex(log.public))


def _case_id(expunge: Installation, given: str) -> str:
    return given if expunge.archive.sequences(given) else find(expunge, given).case_id


def _place(expunge: Installation, case: str, sequence: int | None) -> Path:
    numbers = expunge.archive.sequences(case)
    wanted = sequence if sequence is not None else numbers[-1] if numbers else 0
    place = expunge.archive.place(case, wanted)
    if not (place / CERTIFICATE).exists():
        where = expunge.settings.evidence.directory.absolute()
        say_error(
            f"there is no certificate of it in {where}: one is made within a minute when the case has ended "
            f"(`expunge case show {case}`), where the notary runs"
        )
        raise typer.Exit(NO)
    return place
