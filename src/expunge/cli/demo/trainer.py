"""Two agents in their own few lines: a trainer that learns again without somebody, and a backup store that must wait.

This is the example of how to write an agent. Run it as `python -m expunge.cli.demo.trainer expunge.toml`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from expunge.adapters.system import SystemClock, configure_logs
from expunge.agent import Result, Target, deferred, deleted, done, failed, not_found
from expunge.bootstrap import Installation
from expunge.cli.agent import Served, serve_all
from expunge.config import load
from expunge.domain.digest import name
from expunge.domain.events import Event, Outgoing, stamp
from expunge.domain.vocabulary import Action, Claim

DIMENSIONS = 8
ROTATION = timedelta(days=35)
Register = Callable[[dict[str, Any]], None]


def vector_of(body: bytes) -> list[float]:
    """A photo's embedding: the mean brightness of eight bands of its bytes."""
    band = len(body) // DIMENSIONS
    return [round(sum(body[i * band : (i + 1) * band]) / band / 255, 4) for i in range(DIMENSIONS)]


def train(dataset: Path, models: Path, *, version: int, without: Iterable[str] = ()) -> Path:
    """Compute the model: the mean and spread of the vectors that remain; write it with its checkpoint."""
    left_out = set(without)
    lines = (json.loads(line) for line in dataset.read_text().splitlines())
    vectors = [line["vector"] for line in lines if line["user"] not in left_out]
    count = max(1, len(vectors))
    mean = [sum(vector[i] for vector in vectors) / count for i in range(DIMENSIONS)]
    spread = [sum((vector[i] - mean[i]) ** 2 for vector in vectors) / count for i in range(DIMENSIONS)]
    (models / f"checkpoint-{version}.json").write_text(json.dumps({"mean": mean, "examples": len(vectors)}))
    model = models / f"model-{version}.json"
    model.write_text(json.dumps({"mean": mean, "spread": spread, "examples": len(vectors)}))
    (models / "live.json").write_text(json.dumps({"serves": model.name}))
    return model


class Trainer:
    """Owns models, checkpoints and the deployment."""

    def __init__(self, directory: Path, register: Register) -> None:
        self._models, self._datasets, self._register = directory / "ml", directory / "datasets", register

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """Retrain first, so that what follows in the batch sees the new model."""
        ordered = sorted(batch, key=lambda target: target.action is not Action.RETRAIN_WITHOUT)
        return [self._one(target) for target in ordered]

    def _one(self, target: Target) -> Result:
        file = self._models / Path(target.asset.removeprefix("ml:")).name
        if target.action is Action.RETRAIN_WITHOUT:
            return self._retrain(target, file)
        if not file.exists():
            return deleted(target) if target.interrupted else not_found(target)
        if target.action is Action.REBUILD_WITHOUT:  # the deployment: it serves the model that was just retrained
            return done(target, Claim.REBUILT_WITHOUT, method="redeployed")
        file.unlink()
        return deleted(target)

    def _retrain(self, target: Target, old: Path) -> Result:
        people = [person.id for person in target.people if person.id]
        if not people:
            return failed(target, "identity_not_revealed")
        if not old.exists() and not target.interrupted:
            return not_found(target)
        version = 1 + max((int(path.stem.split("-")[1]) for path in self._models.glob("model-*.json")), default=0)
        new = train(self._datasets / "faces-v2.jsonl", self._models, version=version, without=people)
        names = {"checkpoint": f"ml:checkpoint-{version}.json", "model": f"ml:{new.name}", "deployment": "ml:live.json"}
        parents = {"checkpoint": "datasets:faces-v2.jsonl", "model": names["checkpoint"], "deployment": names["model"]}
        for kind, asset in names.items():
            made = {"asset": asset, "kind": kind, "system": "ml", "purposes": ["training"], "parents": [parents[kind]]}
            self._register(made | {"command_id": target.command_id, "derived_at": stamp(SystemClock().now())})
        old.unlink(missing_ok=True)
        return done(target, Claim.RETRAINED_WITHOUT, replacement={"asset": names["model"]})


class Backups:
    """Owns the nightly archive: it cannot be rewritten, it is replaced by rotation."""

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """Every answer is the date of the next rotation."""
        rotation = SystemClock().now().replace(hour=3, minute=0, second=0, microsecond=0) + ROTATION
        return [deferred(target, rotation, "until_rotation") for target in batch]


def main() -> None:
    """Serve both systems until the process is stopped."""
    os.environ["EXPUNGE_CONFIG"] = sys.argv[1]
    installation = Installation(load())
    directory = Path(sys.argv[1]).parent

    def register(asset: dict[str, Any]) -> None:
        identity = name("demo trainer", json.dumps(asset, sort_keys=True))
        kind = "expunge.asset.registered.v1"
        event = Event(kind, "/demo/ml", identity, SystemClock().now(), asset)
        installation.sender.publish([Outgoing("registrations", identity, event)])

    configure_logs()
    key = (directory / "opening.key").read_text()
    states = directory / "agents"
    systems = {
        "ml": Served(Trainer(directory, register), states / "ml.db", key),
        "vault": Served(Backups(), states / "vault.db"),
    }
    serve_all(installation.settings, systems)


if __name__ == "__main__":
    main()
