"""What the demo's company has: photos of people from two suppliers, and everything that was made from them.

All of it is real: files, a JSON Lines data set in two versions, a tiny model that was computed from them, an SQLite
database of users, a zip archive as the backup. The demo's names begin with `demo-` and the time of the run, so runs do
not meet; what earlier runs left on the servers is removed first.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import shutil
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.adapters.policy_file import shipped
from expunge.adapters.signing import create
from expunge.adapters.vault import new_key_pair
from expunge.cli.demo.trainer import train, vector_of
from expunge.config import Kafka, Redis

NORTH, SOUTH = "supplier-north", "supplier-south"
PHOTOS_PER_PERSON = 10
SIGN = ("app", "photos", "vectors", "datasets", "users", "ml", "vault")
"""Who signs what they say; the notary does, too."""
OLD_RUN = re.compile(r"^demo-\d{8}-\d{6}\.")

CONFIG = """# Written by `expunge demo`. Try: EXPUNGE_CONFIG={directory}/expunge.toml expunge case list
prefix = "{prefix}"
secret_file = "{directory}/secret"
policy_file = "{directory}/policy.yaml"  # as shipped, but for models: nobody wants to wait a day for a demo
keys_directory = "{directory}/keys"  # everybody's, as this is one machine; each stays with whoever signs

[evidence]
origin = "demo.expunge.example/{name}"
directory = "{directory}/evidence"

[kafka]
bootstrap_servers = "{kafka}"
partitions = 4
other_partitions = 2
session_timeout_ms = 6000

[redis]
url = "{redis}"
cluster = {cluster}
expected_assets = 50_000

[[namespaces]]
name = "user_id"

[[data_sources]]
pattern = "supplier-*"

[[purposes]]
name = "account"
[[purposes]]
name = "gallery"
[[purposes]]
name = "training"

[[publishers]]
name = "app"
source = "/demo/app"
default_regime = "gdpr"
key = "{app}"

[[systems]]
name = "photos"
actions = ["delete", "restrict"]
key = "{photos}"

[[systems]]
name = "vectors"
actions = ["delete", "restrict"]
key = "{vectors}"

[[systems]]
name = "datasets"
actions = ["delete", "rebuild_without"]
key = "{datasets}"

[[systems]]
name = "users"
actions = ["delete", "restrict"]
reveal = ["user_id"]
sealing_key = "{public}"
key = "{users}"

[[systems]]
name = "ml"
actions = ["delete", "retrain_without", "rebuild_without"]
reveal = ["user_id"]
sealing_key = "{public}"
key = "{ml}"

[[systems]]
name = "vault"
actions = ["delete", "rebuild_without", "restrict"]
key = "{vault}"

[[agents]]
system = "photos"
type = "filesystem"
root = "{directory}/photos"
asset_prefix = "photos:"
state = "{directory}/agents/photos.db"
signing_key_file = "{directory}/keys/photos.key"

[[agents]]
system = "vectors"
type = "filesystem"
root = "{directory}/vectors"
asset_prefix = "vectors:"
state = "{directory}/agents/vectors.db"
signing_key_file = "{directory}/keys/vectors.key"

[[agents]]
system = "datasets"
type = "filesystem"
root = "{directory}/datasets"
asset_prefix = "datasets:"
state = "{directory}/agents/datasets.db"
signing_key_file = "{directory}/keys/datasets.key"

[[agents]]
system = "users"
type = "sqlite"
database = "{directory}/users.db"
key_file = "{directory}/opening.key"
state = "{directory}/agents/users.db"
signing_key_file = "{directory}/keys/users.key"
tables = [
  {{ name = "users", namespace = "user_id", column = "user_id", restriction_column = "restricted_for" }},
  {{ name = "sessions", namespace = "user_id", column = "user_id" }},
]
"""


@dataclass(frozen=True)
class Photo:
    """One photo: its number, who is in it, and who supplied it."""

    number: int
    person: str
    source: str

    @property
    def path(self) -> str:
        """Where it lies, relative to the photos' directory."""
        return f"{self.source}/{self.number:05}.jpg"

    @property
    def asset(self) -> str:
        """How the photo system knows it."""
        return f"photos:{self.path}"

    @property
    def vector(self) -> str:
        """How the vector store knows its embedding."""
        return f"vectors:{self.number:05}.json"


class Demo:
    """The directory and the names of one run."""

    def __init__(self, directory: Path, kafka: Kafka, redis: Redis, photos: int) -> None:
        self.directory, self.kafka, self.redis = directory, kafka, redis
        self.prefix = time.strftime("demo-%Y%m%d-%H%M%S.", time.gmtime())
        people = max(6, photos // PHOTOS_PER_PERSON)
        north = photos * 2 // 5
        self.photos = [
            Photo(number, f"u{number % people:04}", NORTH if number < north else SOUTH) for number in range(photos)
        ]
        self.people = people

    @property
    def config(self) -> Path:
        """The run's configuration file."""
        return self.directory / "expunge.toml"

    def write(self) -> None:
        """Make everything anew."""
        if self.directory.exists():
            if not (self.directory / "expunge.toml").exists() and any(self.directory.iterdir()):
                raise FileExistsError(f"{self.directory} is not empty and was not written by the demo")
            shutil.rmtree(self.directory)
        for name in (f"photos/{NORTH}", f"photos/{SOUTH}", "vectors", "datasets", "ml", "vault", "agents", "logs"):
            (self.directory / name).mkdir(parents=True)
        self._write_keys()
        self._write_photos()
        self._write_users()
        train(self.directory / "datasets" / "faces-v2.jsonl", self.directory / "ml", version=1)

    def _write_keys(self) -> None:
        secret = self.directory / "secret"
        secret.write_bytes(base64.b64encode(secrets.token_bytes(48)))
        private, public = new_key_pair()
        opening = self.directory / "opening.key"
        opening.write_text(private)
        for path in (secret, opening):
            path.chmod(0o600)
        keys = {name: create(self.directory / "keys" / f"{name}.key").public for name in (*SIGN, "notary")}
        (self.directory / "policy.yaml").write_text(shipped().replace("collect_hours: 24", "collect_hours: 0"))
        self.config.write_text(
            CONFIG.format(
                directory=self.directory,
                prefix=self.prefix,
                kafka=self.kafka.bootstrap_servers,
                redis=self.redis.url,
                cluster=str(self.redis.cluster).lower(),
                name=self.prefix.removesuffix("."),
                **keys,
                public=public,
            )
        )

    def _write_photos(self) -> None:
        lines = []
        with zipfile.ZipFile(self.directory / "vault" / "nightly.zip", "w") as archive:
            for photo in self.photos:
                body = b"\xff\xd8\xff\xe0" + hashlib.shake_128(photo.asset.encode()).digest(480)
                (self.directory / "photos" / photo.path).write_bytes(body)
                archive.writestr(photo.path, body)
                vector = vector_of(body)
                (self.directory / "vectors" / photo.vector.removeprefix("vectors:")).write_text(json.dumps(vector))
                lines.append(
                    {"asset": photo.asset, "data_source": photo.source, "user": photo.person, "vector": vector}
                )
        for version, count in (("v1", len(lines) * 2 // 3), ("v2", len(lines))):
            text = "".join(json.dumps(line) + "\n" for line in lines[:count])
            (self.directory / "datasets" / f"faces-{version}.jsonl").write_text(text)

    def _write_users(self) -> None:
        with sqlite3.connect(self.directory / "users.db") as database:
            database.execute("create table users (user_id text primary key, name text, restricted_for text)")
            database.execute("create table sessions (user_id text, started text)")
            for number in range(self.people):
                database.execute("insert into users values (?, ?, '')", (f"u{number:04}", f"Person {number}"))
                database.executemany(
                    "insert into sessions values (?, ?)", [(f"u{number:04}", f"2026-10-{day:02}") for day in (1, 9, 17)]
                )

    def registrations(self) -> Iterator[dict[str, Any]]:
        """Everything that the company's systems register, in the order in which it was made."""
        collected = "2026-10-01T00:00:00Z"
        for photo in self.photos:
            yield {
                "asset": photo.asset,
                "kind": "object",
                "system": "photos",
                "subjects": [{"namespace": "user_id", "id": photo.person}],
                "data_sources": [photo.source],
                "purposes": ["gallery", "training"],
                "collected_at": collected,
            }
            made = {"kind": "embedding", "system": "vectors", "purposes": ["training"]}
            yield {"asset": photo.vector, "parents": [photo.asset]} | made
        count = len(self.photos)
        both = {"data_sources": [NORTH, SOUTH], "collected_at": collected}
        training = both | {"purposes": ["training"]}
        versions = (("datasets:faces-v1.jsonl", count * 2 // 3), ("datasets:faces-v2.jsonl", count))
        for asset, photos in versions:
            yield from self._from_photos(asset, "dataset_version", "datasets", photos, training)
        yield from self._from_photos("vault:nightly.zip", "backup", "vault", count, both | {"purposes": ["gallery"]})
        learned = {"system": "ml", "purposes": ["training"]}
        yield {"asset": "ml:checkpoint-1.json", "kind": "checkpoint", "parents": ["datasets:faces-v2.jsonl"]} | learned
        model = {"asset": "ml:model-1.json", "kind": "model"}
        yield model | {"parents": ["datasets:faces-v2.jsonl", "ml:checkpoint-1.json"]} | learned
        yield {"asset": "ml:live.json", "kind": "deployment", "parents": ["ml:model-1.json"]} | learned

    def _from_photos(
        self, asset: str, kind: str, system: str, count: int, fields: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """A statement names at most 1,000 parents; statements add up."""
        for start in range(0, count, 1000):
            parents = [photo.asset for photo in self.photos[start : min(start + 1000, count)]]
            yield {"asset": asset, "kind": kind, "system": system, "parents": parents} | fields

    def holding(self) -> dict[str, Any]:
        """The users' database registers no rows: it says "ask me"."""
        return {
            "holding": "users.db",
            "system": "users",
            "kind": "record",
            "namespaces": ["user_id"],
            "purposes": ["account"],
        }

    def counts(self) -> dict[str, int]:
        """What lies there now, counted on the disk and in the database, not in Expunge."""
        photos = self.directory / "photos"
        with sqlite3.connect(self.directory / "users.db") as database:
            (users,) = database.execute("select count(*) from users").fetchone()
        lines = (self.directory / "datasets" / "faces-v2.jsonl").read_text().count("\n")
        return {
            "photos, north": sum(1 for _ in (photos / NORTH).glob("*.jpg")),
            "photos, south": sum(1 for _ in (photos / SOUTH).glob("*.jpg")),
            "photos, restricted": sum(1 for _ in photos.glob(".restricted/*/*.jpg")),
            "embeddings": sum(1 for _ in (self.directory / "vectors").glob("*.json")),
            "lines in data set v2": lines,
            "models": sum(1 for _ in (self.directory / "ml").glob("model-*.json")),
            "users": users,
        }
