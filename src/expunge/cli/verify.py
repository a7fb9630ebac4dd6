"""`expunge verify`: whoever has been handed a certificate checks it. It needs no configuration, and no server."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.x509 import load_pem_x509_certificates
from rich.text import Text

from expunge.cli.common import NO, Json, console, print_json, print_table, safe
from expunge.domain.evidence import merkle, tiles, verify
from expunge.domain.evidence.sentences import looked, sentence
from expunge.domain.vocabulary import DEFERRALS, OPEN, Claim
from expunge.errors import ConfigurationError

CERTIFICATE = "certificate.json"
MOST_LINE = 4_000_000
MOST_BYTES = 16_000_000
"""Of a certificate: what lies beside it is read line by line."""


def verify_certificates(
    files: Annotated[list[Path], typer.Argument(help="Certificates: their files, or the directories they lie in.")],
    key: Annotated[
        str | None,
        typer.Option(help="The public key of the log, as its operator has told you on another way (name+hash+key)."),
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="An earlier checkpoint of the log that you have kept; it needs --log.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A copy of the published log: the directory that holds `checkpoint` and `tile`.")
    ] = None,
    proof: Annotated[
        Path | None, typer.Option(help="What `expunge certificate prove` has printed about your asset.")
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(help="The public key of a witness that must have signed the checkpoint (name+hash+key)."),
    ] = None,
    tsa: Annotated[
        list[Path] | None,
        typer.Option(help="The root certificate (PEM) of a time-stamping authority that must have stamped it."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say in plain words what the certificate says.")] = False,
    json_output: Json = False,
) -> None:
    """Check certificates step by step, offline. Exit status 1: one does not hold, or something was not shown.

    Without --key it can only be said that a certificate is consistent in itself, not whose it is.
    """
    if key is not None:
        refuse_unless_key(key)
    for each in witness or ():
        if not verify.is_key(each, of_witness=True):
            raise ConfigurationError("--witness is of the form name+hash+key, as the witness' operator publishes it")
    authorities = [_root_of(each) for each in tsa or ()]
    holds = True
    told = []
    for file in files:
        place = place_of(file)
        envelope = read(place)
        checked = replace(
            files_of(place, envelope, key, since, log), witnesses=tuple(witness or ()), authorities=authorities
        )
        steps = verify.verify(checked)
        if proof is not None and all(step.passed is not False for step in steps):
            steps.append(verify.owned(envelope, read(proof), len(steps) + 1))
        is_whole = all(step.passed for step in steps)
        holds = holds and is_whole
        if json_output:
            told.append({"file": str(place), "holds": is_whole, "steps": [step._asdict() for step in steps]})
            continue
        console.print(f"[bold]{safe(place)}[/bold]", soft_wrap=True)
        print_steps(steps)
        if explain and all(step.passed is not False for step in steps):
            _explain(json.loads(verify.payload(envelope))["predicate"])
        console.print(_verdict(steps, is_whole), soft_wrap=True)
    if json_output:
        print_json(told)
    if not holds:
        raise typer.Exit(NO)


def refuse_unless_key(key: str) -> None:
    """See that a public key of a log is one.

    Raises:
        ConfigurationError: it is not.
    """
    if not verify.is_key(key):
        raise ConfigurationError(
            "--key is of the form name+hash+key: `expunge certificate key` prints it where it is made"
        )


def _root_of(file: Path) -> bytes:
    """A root certificate.

    Raises:
        ConfigurationError: it is none.
    """
    found = read(file)
    try:
        load_pem_x509_certificates(found)
    except ValueError:
        raise ConfigurationError(f"{file} is no certificate in PEM: `--tsa` is the root of who stamps") from None
    return found


def place_of(file: Path) -> Path:
    """The certificate in a directory, or the file itself."""
    return file / CERTIFICATE if file.is_dir() else file


MARKS = {
    True: Text("yes", style="green"),
    False: Text("NO", style="red bold"),
    None: Text("not shown", style="yellow"),
}


def print_steps(steps: Sequence[verify.Step]) -> None:
    """The steps, for people."""
    rows = [(step.number, step.name, MARKS[step.passed], step.text) for step in steps]
    print_table(("step", "what", "holds", ""), rows)


def _verdict(steps: list[verify.Step], is_whole: bool) -> str:
    if any(step.passed is False for step in steps):
        return "[red bold]this certificate does not hold[/red bold]: something in it was changed, or never was so"
    if is_whole:
        return "[green]it holds[/green]: what it says follows from the records, and they lie in the signed log"
    return "[yellow]consistent, but not all of it is shown[/yellow]: see the steps"


def read(file: Path) -> bytes:
    """A file of at most MOST_BYTES.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        if not file.is_file() and file.exists():
            raise ConfigurationError(f"{file} is no file")
        if file.stat().st_size > MOST_BYTES:
            raise ConfigurationError(f"{file} is too large for a certificate")
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


def files_of(
    place: Path, envelope: bytes, key: str | None, since: Path | None = None, log: Path | None = None
) -> verify.Files:
    """A certificate with what lies beside it.

    Raises:
        ConfigurationError: a file that was named cannot be read.
    """
    earlier = read(since).decode(errors="replace") if since else None
    consistency = None
    if earlier and log:
        try:
            _, size = verify.checkpoint_in(envelope)
            before = int(earlier.split("\n")[1])
            small, large = sorted((before, size))
            node = tiles.nodes(large, tiles.from_files(lambda path: (log / path).read_bytes()))
            consistency = merkle.consistency(small, large, node) if small else []
        except verify.UNFIT:
            consistency = None
        except OSError as error:
            raise ConfigurationError(f"{log}: {error.filename}: {error.strerror}") from None
    beside, entries = place.parent, None
    if log is not None:
        with suppress(*verify.UNFIT):
            entries = entries_of(log, verify.checkpoint_in(envelope)[1])
    records, obligations, ways = (_lines(beside / f"{name}.jsonl") for name in ("records", "obligations", "ways"))
    return verify.Files(
        envelope, records, obligations, key, earlier, consistency, ways=ways, log=entries, wants_log=log is not None
    )


def entries_of(log: Path, size: int) -> Iterator[bytes]:
    """The entries of a log, in order; one that is too large for its bundle out of its own file.

    Raises:
        OSError: (when they are read) a file is missing.
    """
    for number in range(-(-size // tiles.WIDTH)):
        width = tiles.width_of(None, number, size)
        narrow = log / tiles.tile_path(None, number, width)
        bundle = narrow if narrow.is_file() else log / tiles.tile_path(None, number)
        for entry in tiles.entries_in(bundle.read_bytes())[:width]:
            large = verify.large_in(entry)
            yield (log / "large" / large).read_bytes() if large else entry


def _lines(file: Path) -> Iterator[bytes] | None:
    """The lines of a file; None where it is not there.

    Raises:
        ConfigurationError: it is no file.
    """
    if not file.exists():
        return None
    if not file.is_file():
        raise ConfigurationError(f"{file} is no file")

    def one_by_one() -> Iterator[bytes]:
        with file.open("rb") as opened:
            while line := opened.readline(MOST_LINE):
                if len(line) == MOST_LINE:
                    raise ValueError("a line that is too long")
                yield line.removesuffix(b"\n")

    return one_by_one()


def _explain(said: dict[str, Any]) -> None:
    """What a certificate says, in plain words; each is bound to what it rests on (`evidence.sentences`)."""
    case = said["case"]
    counted = Counter({row["claim"]: 0 for row in said["inventory"]})
    for row in said["inventory"]:
        counted[row["claim"]] += row["count"]
    left = counted[OPEN] + counted[Claim.FAILED]
    stays = sum(counted[claim] for claim in DEFERRALS) + counted[Claim.EXEMPT]
    console.print(
        f"A request of {safe(case['received_at'][:10])} under {safe(case['regime'])}, sent by "
        f"{safe(case['publisher'])}, ended on {safe(case['ended_at'][:10])}: {safe(case['status'].replace('_', ' '))} "
        f"({'on time' if case['on_time'] else 'late'}; due {safe(case['due_at'][:10])}). "
        f"{sum(counted.values()):,} things were found that belong to it; {left:,} are open, {stays:,} stay for now or "
        "by law.",
        soft_wrap=True,
    )
    rows = [
        (row["count"], row["kind"].replace("_", " "), row["system"], _said(row), row.get("until", ""))
        for row in said["inventory"]
    ]
    print_table(("how many", "what", "where", "what became of it", "until"), rows)
    for probe in said["verification"]["probes"]:
        console.print(f"looked into on {safe(probe['begun_at'][:10])}: {safe(looked(probe))}", soft_wrap=True)
    asked_nothing = [f"{each['system']} ({each['not_asked']})" for each in said["systems"] if "not_asked" in each]
    if asked_nothing:
        console.print(f"not asked: {safe(', '.join(asked_nothing))}", soft_wrap=True)
    for title, each in (("not shown", said["not_shown"]), ("limits", said["limitations"])):
        console.print(f"[bold]{title}[/bold]")
        for text in each:
            console.print(f"  - {safe(text)}", soft_wrap=True)


def _said(row: dict[str, Any]) -> str:
    reason = f" ({row['reason']})" if row.get("reason") else ""
    return sentence(row["claim"], row.get("grade", "")) + reason
