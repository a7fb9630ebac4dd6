"""Two agents in their own few lines: a trainer that learns again without somebody, and a backup store that must wait.

This is the example of how to write an agent; `expunge demo` plays with it. It uses what anybody can use:
`expunge.agent` to obey, `expunge.client` to register what it made.

    python examples/trainer.py 127.0.0.1:9092 expunge. DIRECTORY

The directory holds `datasets/`, `ml/`, `opening.key`, to which identities are sealed, and `keys/`, with which answers
are signed; the agents keep their memory in `agents/` there.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from expunge.agent import Action, Agent, Claim, Purger, Result, Target, deferred, deleted, done, failed, not_found
from expunge.client import Client

DIMENSIONS = 8
ROTATION = timedelta(days=35)


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

    def __init__(self, directory: Path, client: Client) -> None:
        self._models, self._datasets, self._client = directory / "ml", directory / "datasets", client

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
        made = {"command_id": target.command_id, "derived_at": datetime.now(UTC)}
        purposes = {"purposes": ["training"]}
        for kind, asset in names.items():  # what says by which command it was made, and when, is known to be clean
            self._client.register(asset, kind, "ml", parents=[parents[kind]], more=purposes, **made)
        old.unlink(missing_ok=True)
        return done(target, Claim.RETRAINED_WITHOUT, replacement={"asset": names["model"]})


class Backups:
    """Owns the nightly archive: it cannot be rewritten, it is replaced by rotation."""

    def purge(self, batch: Sequence[Target]) -> list[Result]:
        """Every answer is the date of the next rotation."""
        rotation = datetime.now(UTC).replace(hour=3, minute=0, second=0, microsecond=0) + ROTATION
        return [deferred(target, rotation, "until_rotation") for target in batch]


def main(bootstrap_servers: str, prefix: str, directory: str) -> None:
    """Serve both systems, each in a thread, until the process is told to stop."""
    here, stop = Path(directory), threading.Event()
    (here / "agents").mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def serve(system: str, purger: Purger, opening_key: str | None = None) -> None:
        state = here / "agents" / f"{system}.db"
        Agent(
            system,
            purger,
            bootstrap_servers=bootstrap_servers,
            prefix=prefix,
            state=state,
            opening_key=opening_key,
            signing_key=here / "keys" / f"{system}.key",
        ).run(stop)

    with Client(bootstrap_servers, "/demo/ml", prefix=prefix) as client:
        key = (here / "opening.key").read_text().strip()
        threads = [
            threading.Thread(target=serve, args=("ml", Trainer(here, client), key)),
            threading.Thread(target=serve, args=("vault", Backups())),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
