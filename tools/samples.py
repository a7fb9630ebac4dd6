"""Writes docs/samples: a certificate of a small case of a deployment that never was, and the report made from it."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.evidence import verify  # noqa: E402 - the tree is not installed as a package
from expunge.domain.evidence.notes import verifier  # noqa: E402
from expunge.report.page import page  # noqa: E402
from tests.simulation import NOTARY, ORIGIN, World  # noqa: E402

SAMPLES = ROOT / "docs/samples"


def case_of(world: World) -> str:
    """A request that ends with something of everything, and into which somebody looks."""
    world.register("p1", subjects=["ann"])
    world.register("p2", subjects=["ann"])
    world.register("e1", "embedding", "ml", parents=["p1"])
    world.register("set", "dataset", "ml", parents=["p1", "p2"])
    world.register("m", "model", "ml", parents=["set"])
    world.register("old", subjects=["ann"], system="legacy")
    world.register("tape", "backup", subjects=["ann"])
    case_id = world.erase("ann")
    world.settle()
    world.say("obligation.decided", case_id, system="legacy", option="exempt", rationale="switched off")
    world.settle()
    world.there = {("photos", "p2")}
    world.say("probe.requested", case_id)
    world.settle()
    return case_id


def main() -> None:
    """Write them anew."""
    with TemporaryDirectory() as kept:
        world = World(signs=True, evidence=Path(kept))
        case_id = case_of(world)
        place = world.archive.place(case_id, world.archive.sequences(case_id)[-1])
        shutil.rmtree(SAMPLES / "certificate", ignore_errors=True)
        shutil.copytree(place, SAMPLES / "certificate")
    key = verifier(ORIGIN, bytes.fromhex(NOTARY.public))
    (SAMPLES / "key").write_text(f"{key}\n")
    payload = verify.payload((SAMPLES / "certificate/certificate.json").read_bytes())
    name = hashlib.sha256(payload).hexdigest()
    (SAMPLES / "report.html").write_text(page(json.loads(payload), key, name))


if __name__ == "__main__":
    main()
