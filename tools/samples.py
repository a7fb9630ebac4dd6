"""Writes docs/samples: certificates of two small cases of a deployment that never was, and the reports made of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.domain.events import stamp  # noqa: E402 - the tree is not installed as a package
from expunge.domain.evidence import verify  # noqa: E402
from expunge.domain.evidence.certificate import opening  # noqa: E402
from expunge.domain.evidence.notes import verifier  # noqa: E402
from expunge.domain.evidence.order import order, reconcile  # noqa: E402
from expunge.domain.partition import partition_of  # noqa: E402
from expunge.domain.registry import Registry, System  # noqa: E402
from expunge.report.page import page  # noqa: E402
from expunge.report.paper import paper  # noqa: E402
from tests.simulation import NOTARY, ORIGIN, PARTITIONS, REGISTRY, World  # noqa: E402
from tests.unit.test_certificates import carried_out  # noqa: E402

SAMPLES = ROOT / "docs/samples"


def case_of(world: World) -> str:
    """A request that ends with something of everything, and into which somebody looks."""
    case_id = carried_out(world)
    world.there = {("photos", "p2")}
    world.say("probe.requested", case_id)
    world.settle()
    return case_id


LISTED = ("scan-1", "scan-2", "scan-3", "scan-4", "never told of")
WITH_A_PARTNER = Registry(
    **{each: getattr(REGISTRY, each) for each in Registry.model_fields if each != "systems"},
    systems=(
        *REGISTRY.systems,
        System(name="partner", third_party=True, integrated=False, reason="told by letter", owner="counsel"),
    ),
)


def order_of(world: World) -> str:
    """An order of an authority: photos of a supplier, what was made from them, and a partner who had copies."""
    for number in range(1, 5):
        world.register(f"scan-{number}", data_sources=["supplier-a"])
    world.register("faces", "embedding", "ml", parents=["scan-1", "scan-2"])
    world.register("set", "dataset", "ml", parents=["scan-1", "scan-3"])
    world.register("net", "model", "ml", parents=["set"])
    world.register("copy", "recipient_copy", "partner", parents=["scan-4"])
    provisions = [
        {"id": "III(A)", "deadline": stamp(world.broker.now + timedelta(days=30)), "kinds": ["object", "embedding"]},
        {"id": "III(B)", "deadline": stamp(world.broker.now + timedelta(days=90)), "kinds": ["model", "dataset"]},
    ]
    matter: dict[str, Any] = {"authority": "Commission of Trade", "docket": "C-4743", "order_date": "2026-10-20"}
    matter |= {"expected_count": len(LISTED), "provisions": provisions}
    case_id = world.withdraw("supplier-a", request="C-4743", matter=matter, regime="order")
    world.settle()
    world.say("obligation.decided", case_id, system="partner", option="exempt", rationale="told by letter")
    world.settle()
    world.say("probe.requested", case_id, sample=2)
    world.settle()
    return case_id


def written(world: World, case_id: str, name: str) -> dict[str, Any]:
    """Copy a case's certificate; what it states."""
    place = world.archive.place(case_id, world.archive.sequences(case_id)[-1])
    shutil.rmtree(SAMPLES / name, ignore_errors=True)
    shutil.copytree(place, SAMPLES / name)
    said: dict[str, Any] = json.loads(verify.payload((SAMPLES / name / "certificate.json").read_bytes()))
    return said


def name_of(sample: str) -> str:
    """What its certificate is called."""
    return hashlib.sha256(verify.payload((SAMPLES / sample / "certificate.json").read_bytes())).hexdigest()


def main() -> None:
    """Write them anew."""
    key = verifier(ORIGIN, bytes.fromhex(NOTARY.public))
    (SAMPLES / "key").write_text(f"{key}\n")
    with TemporaryDirectory() as kept:
        world = World(signs=True, evidence=Path(kept))
        said = written(world, case_of(world), "certificate")
    put("report", page(said, key, name_of("certificate")), said)
    with TemporaryDirectory() as kept:
        world = World(registry=WITH_A_PARTNER, signs=True, evidence=Path(kept))
        case_id = order_of(world)
        said = written(world, case_id, "order")
        salt = world.store.reader(partition_of(case_id, PARTITIONS)).root(case_id).salt
    (SAMPLES / "order/list.txt").write_text("".join(f"{each}\n" for each in LISTED))
    opened = {each: opening(salt, each) for each in LISTED}
    lines = [json.dumps({"case_id": case_id, "asset": each, "opening": raw.hex()}) for each, raw in opened.items()]
    (SAMPLES / "order/openings.jsonl").write_text("".join(f"{each}\n" for each in lines))
    commitments = [json.loads(each)["asset"] for each in (SAMPLES / "order/obligations.jsonl").open()]
    made = order(said["predicate"], name_of("order"), reconcile(LISTED, opened, commitments)[0])
    put("order", page(said, key, name_of("order"), made), said)


def put(name: str, html: str, said: dict[str, Any]) -> None:
    """A page, and the same on paper."""
    (SAMPLES / f"{name}.html").write_text(html)
    moment = datetime.fromisoformat(said["predicate"]["case"]["ended_at"])
    (SAMPLES / f"{name}.pdf").write_bytes(paper(html, moment))


if __name__ == "__main__":
    main()
