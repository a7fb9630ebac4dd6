"""What evidence costs: records logged a second, and a certificate over many obligations made and verified.

    python benchmarks/evidence.py [--records 100000] [--obligations 1000000]

The floors are what the same disk and processor do without us: the same bytes appended to a file and flushed as often,
and SHA-256 over each line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expunge.adapters.archive import DirectoryArchive
from expunge.adapters.ledger_log import DirectoryLog
from expunge.adapters.signing import Signer
from expunge.domain.continuity import Reached
from expunge.domain.events import Position
from expunge.domain.evidence import verify
from expunge.domain.evidence.notes import verifier
from expunge.domain.registry import System
from expunge.ports.evidence import Leaf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.simulation import REGISTRY, World

ORIGIN = "expunge.example.org/ledger"
BATCH = 500
FACT_BYTES = 700
AT_ONCE = 1_000


def main() -> None:
    """Print both, each beside its floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--obligations", type=int, default=1_000_000)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _log(Path(folder) / "log", said.records)
    with tempfile.TemporaryDirectory() as folder:
        _certificate(Path(folder), said.obligations)


def _log(folder: Path, number: int) -> None:
    log = DirectoryLog(folder, ORIGIN, Signer(Ed25519PrivateKey.generate()))
    entries = [json.dumps({"fact": each, "filled": "x" * FACT_BYTES}).encode() for each in range(number)]
    leaves = [
        Leaf(Reached(at + 1, Position(0, at), at), entry, (f"{at // 10:032x}",)) for at, entry in enumerate(entries)
    ]
    began = time.perf_counter()
    for at in range(0, number, BATCH):
        log.append(leaves[at : at + BATCH])
    log.checkpoint()
    took = time.perf_counter() - began
    log.close()
    began = time.perf_counter()
    with (folder / "floor").open("wb") as file:
        for at in range(0, number, BATCH):
            file.write(b"".join(entries[at : at + BATCH]))
            file.flush()
            os.fsync(file.fileno())
    floor = time.perf_counter() - began
    print(
        f"logged: {number / took:,.0f} records a second ({number / took * 60:,.0f} a minute), {took / floor:.1f} times"
    )


def _certificate(folder: Path, number: int) -> None:
    registry = REGISTRY.model_copy(update={"systems": (System(name="photos", batch_size=500),)})
    world = World(registry=registry, evidence=folder / "evidence")
    common: dict[str, object] = {"kind": "object", "system": "photos", "data_sources": ["supplier-a"]}
    common |= {"collected_at": "2026-01-01T00:00:00Z"}
    for begin in range(0, number, AT_ONCE):
        some = [{"asset": f"photo-{at}"} for at in range(begin, min(begin + AT_ONCE, number))]
        world.publish("registrations", "expunge.assets.registered.v1", {"common": common, "assets": some})
    case_id = world.withdraw("supplier-a")
    world.settle(ticks=4)
    while world.status(case_id) != "completed":
        world.approve_all()
        world.settle(ticks=4)
        world.tick(3600)
    archive: DirectoryArchive = world.archive
    place = archive.place(case_id, archive.sequences(case_id)[-1])
    public = bytes.fromhex(world.ledger_log.public)
    began, worked = time.perf_counter(), time.process_time()
    with (place / "records.jsonl").open("rb") as records, (place / "obligations.jsonl").open("rb") as obligations:
        steps = verify.verify(
            verify.Files(
                (place / "certificate.json").read_bytes(),
                (line.rstrip(b"\n") for line in records),
                (line.rstrip(b"\n") for line in obligations),
                verifier(ORIGIN, public),
                ways=(place / "ways.jsonl").read_bytes().splitlines(),
            )
        )
    took, worked = time.perf_counter() - began, time.process_time() - worked
    if not all(step.passed for step in steps):
        raise SystemExit(f"it does not hold: {steps}")
    began = time.process_time()
    size = 0
    for line in (place / "obligations.jsonl").read_bytes().splitlines():
        hashlib.sha256(line).digest()
        size += 1
    floor = time.process_time() - began
    print(
        f"verified: {size:,} obligations in {took:.1f} s, {worked:.1f} s of a processor, "
        f"{worked / floor:.1f} times SHA-256 of the same lines"
    )


if __name__ == "__main__":
    main()
