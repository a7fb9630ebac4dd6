"""Measures the lineage index alone, on a Redis of its own: memory by part, walk, one person's closure, hubs.

The population is the one that the targets speak of: half photos with one person, one data source, two purposes and a
category, half embeddings with one parent; ids of 40 bytes. The server is started with the encodings of
tools/devstack/settings.toml and without persistence, so that nothing but the index is resident.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import ResponseError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from expunge.adapters.memory.stores import MemoryMetrics, MemoryPolicies, NoWait, UnsafeMemoryVault  # noqa: E402 - not installed as a package
from expunge.adapters.policy_file import load_policy  # noqa: E402
from expunge.adapters.redis.cases import RedisCaseStore  # noqa: E402
from expunge.adapters.redis.index import RedisIndex  # noqa: E402
from expunge.adapters.redis.people import RedisPeople  # noqa: E402
from expunge.adapters.redis.server import Server, buckets_for  # noqa: E402
from expunge.adapters.redis.survey import Survey  # noqa: E402
from expunge.adapters.system import SystemClock, tune_process  # noqa: E402
from expunge.domain.admission.door import Door  # noqa: E402
from expunge.domain.digest import digest  # noqa: E402
from expunge.domain.events import Outgoing  # noqa: E402
from expunge.domain.identity import Epochs, Keys  # noqa: E402
from expunge.domain.lineage.marks import MarkState  # noqa: E402
from expunge.domain.lineage.statement import Named, Statement  # noqa: E402
from expunge.domain.registry import Registry, System  # noqa: E402
from expunge.domain.scope import Scope, ScopeKind, Subject  # noqa: E402
from expunge.domain.vocabulary import Action, Regime  # noqa: E402
from expunge.ports import Made, Said  # noqa: E402
from expunge.roles.resolver.resolver import Resolver, _Answer  # noqa: E402
from expunge.roles.resolver.traversal import Bounds  # noqa: E402
from expunge.rotation.rotation import Rotation  # noqa: E402
from expunge.wire.tasks import Task, TaskKind, task_id  # noqa: E402
from tools.devstack.cluster import Cluster, free_ports  # noqa: E402
from tools.devstack.devstack import redis_server as redis_binary  # noqa: E402

SETTINGS = ("hash-max-ziplist-entries", "512", "hash-max-ziplist-value", "2048")
NOW_MS = 1_760_000_000_000
WHEN = "2026-01-01T00:00:00.000Z"
BATCH = 2_500
PEOPLE_PER_PHOTO = 10
"""Photos of one person."""
CLOSURES = 50


class Alone:
    """The ports that a resolver needs and a measurement does not."""

    def until_ms(self) -> int:
        """No lease."""
        return 0

    def partitions(self, topic: str) -> int:
        """Of every topic."""
        del topic
        return 24

    def applied(self) -> dict[str, dict[str, int]]:
        """Nothing is awaited."""
        return {}

    end_offsets = applied


@contextmanager
def redis_server(binary: str) -> Iterator[Server]:
    """A Redis of its own, on a free port, gone afterwards."""
    with socket.socket() as probe, tempfile.TemporaryDirectory() as directory:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        words = [f"--{word}" if at % 2 == 0 else word for at, word in enumerate(SETTINGS)]
        command = [binary, "--port", str(port), "--dir", directory, "--save", "", "--appendonly", "no", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        server = Server(f"redis://127.0.0.1:{port}/0", "bench.")
        try:
            while not _answers(server):
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            process.wait()


@contextmanager
def redis_cluster(binary: str) -> Iterator[Server]:
    """A cluster of its own, three masters with a replica each, gone afterwards."""
    settings = dict(zip(SETTINGS[::2], SETTINGS[1::2], strict=True)) | {"save": "", "appendonly": "no"}
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory), free_ports(), binary, settings)
        try:
            cluster.start()
            yield Server(cluster.url, "bench.", cluster=True)
        finally:
            cluster.stop()


def _answers(server: Server) -> bool:
    try:
        return bool(server.client.ping())
    except OSError:
        return False
    except Exception:  # noqa: BLE001 - the client's own connection error
        return False


def fill(index: RedisIndex, keys: Keys, assets: int) -> float:
    """Write the population; assets a second."""
    start = time.perf_counter()
    for first in range(0, assets // 2, BATCH // 2):
        said, people, edges = [], [], []
        for number in range(first, first + BATCH // 2):
            photo, vector = f"s3://photos/2026/{number:018d}.jpeg", f"s3://vectors/face/{number:017d}.npy"
            person = b"\x01" + digest("person", number // PEOPLE_PER_PHOTO)[:15]
            names = {"data_sources": ("supplier",), "purposes": ("service", "training"), "categories": ("biometric",)}
            of_photo = Statement(photo, ("object",), ("photos",), subjects=(Named(person),), collected_at=WHEN, **names)  # type: ignore[arg-type]
            of_vector = Statement(vector, ("embedding",), ("vectors",), (photo,))
            above, below = keys.asset(photo), keys.asset(vector)
            said += [Said(above, of_photo.row(()), NOW_MS), Said(below, of_vector.row((above,)), NOW_MS)]
            people.append((person, above))
            edges.append((above, below))
        index.put(said)
        index.link_subjects(people)
        index.link_children(edges)
    return assets / (time.perf_counter() - start)


def resident(server: Server) -> dict[str, int]:
    """Redis' own figures, after it has given back what it can."""
    with suppress(ResponseError):  # an allocator that keeps no pages back
        server.client.memory_purge()
    time.sleep(0.5)
    found: dict[str, int] = server.client.info("memory")
    return found


def resolver(server: Server, index: RedisIndex, keys: Keys) -> Resolver:
    """A resolver without a broker."""
    systems = tuple(System(name=name, actions=tuple(Action)) for name in ("photos", "vectors"))
    registry = Registry(data_sources=("*",), systems=systems)
    alone: Any = Alone()
    door = Door(registry, keys, MemoryPolicies(load_policy(None)), "bench.")
    metrics, vault = MemoryMetrics(), UnsafeMemoryVault()
    return Resolver(door, index, RedisCaseStore(server), alone, alone, vault, metrics, NoWait(), alone, Bounds(), alone)


def carry_out(stage: Resolver, task: Task) -> int:
    """A task and all that go on from it, chunks and messages made; nodes visited."""
    waiting, visited = [task], 0
    while waiting:
        answer = _Answer(stage, waiting.pop(0), SystemClock().now())
        announced: list[Outgoing] = []
        for message in (*answer.make(announced), *announced):
            raw = message.value or b""
            if message.topic in {"tasks", "walks"}:
                waiting.append(Task.model_validate(json.loads(raw)["data"]))
        visited += answer.visited
    return visited


def roots(case: str, scope: Scope) -> Task:
    """The first task of a case."""
    return Task(
        case_id=case,
        task_id=task_id(case, "roots"),
        generation=1,
        kind=TaskKind.ROOTS,
        scope=scope,
        regime=Regime.GDPR,
        policy=load_policy(None).digest,
        force=True,
    )


def withdrawal(stage: Resolver) -> float:
    """The walk from the data source: nodes a second, with marks, rows, children, chunks and messages."""
    start = time.perf_counter()
    visited = carry_out(stage, roots("ab" * 16, Scope(kind=ScopeKind.WITHDRAWAL, data_sources=("supplier",))))
    return visited / (time.perf_counter() - start)


def closures(stage: Resolver, index: RedisIndex, keys: Keys) -> tuple[list[float], list[float]]:
    """Milliseconds to walk, and to walk and plan, one person's 1,000 assets, six deep."""
    walked, planned = [], []
    for trial in range(CLOSURES):
        person = b"\x01" + digest("closure", trial)[:15]
        said, edges = [], []
        for level in range(6):
            for number in range(167):
                asset, parent = f"c:{trial}:{level}:{number}", f"c:{trial}:{level - 1}:{number}"
                parents = (parent,) if level else ()
                statement = Statement(asset, ("object",), ("photos",), parents, collected_at=WHEN)
                said.append(Said(keys.asset(asset), statement.row(tuple(map(keys.asset, parents))), NOW_MS))
                edges += [(keys.asset(parent), keys.asset(asset))] if level else []
        index.put(said)
        index.link_children(edges)
        index.link_subjects([(person, key) for key, _, _ in said[:167]])
        scope = Scope(kind=ScopeKind.ERASURE, subjects=(Subject(pseudonym=person.hex()),), until=2_000_000_000)
        task = roots(digest("case", trial).hex(), scope)
        start = time.perf_counter()
        walk, _ = stage.walk(task)
        walked.append((time.perf_counter() - start) * 1000)
        stage.plan(task, {lot: list(found.values()) for lot, found in walk.lots.items() if found}, walk.known)
        planned.append((time.perf_counter() - start) * 1000)
    return walked, planned


def hub(index: RedisIndex, keys: Keys, members: int) -> None:
    """A hub of each kind: a person's assets, an asset's children, a dataset's parents."""
    person, asset = b"\x01" + digest("hub")[:15], keys.asset("hub")
    for first in range(0, members, 5_000):
        some = [keys.asset(f"hub:{number}") for number in range(first, first + 5_000)]
        index.link_subjects([(person, key) for key in some[: len(some) // 5]])
        index.link_children([(asset, key) for key in some])
        index.link_children([(key, asset) for key in some[: len(some) // 5]])


def marked(binary: str, statements: int, marks: int) -> dict[str, Any]:
    """Statements under one parent, without marks and with many.

    The parent is clean of what the cases of the marks asked for, and the children were made after that.
    """
    found: dict[str, Any] = {"statements": statements, "marks": marks}
    with redis_server(binary) as server:
        server.initialise(buckets_for(2 * statements), "bench")
        index, keys = RedisIndex(server), Keys(b"b" * 40)
        parents = {name: keys.asset(f"datasets/{name}") for name in ("unmarked", "marked")}
        for number in range(marks):
            case_id, task = digest("case", number).hex()[:32], digest("task", number).hex()[:32]
            index.mark_roots(case_id, task, [parents["marked"]], 0)
            index.set_state(case_id, [parents["marked"]], MarkState.CLEAN, NOW_MS - 1_000)
        for name, parent in parents.items():
            start = time.perf_counter()
            for first in range(0, statements, BATCH):
                of = Statement("x" * 40, ("embedding",), ("vectors",), (f"datasets/{name}",), derived_at=WHEN)
                children = [keys.asset(f"{name}:{number:034d}") for number in range(first, first + BATCH)]
                index.put([Said(child, of.row((parent,)), NOW_MS) for child in children])
                made = [Made(container=False, derived_ms=NOW_MS)] * len(children)
                index.link_children([(parent, child) for child in children], made)
            found[name] = statements / (time.perf_counter() - start)
    found["ratio"] = found["marked"] / found["unmarked"]
    return found


def rotated(binary: str, assets: int) -> dict[str, Any]:
    """People's names taken from one secret to the next, beside reading the same rows and memberships and no more."""
    found: dict[str, Any] = {"assets": assets, "people": assets // 2 // PEOPLE_PER_PHOTO}
    with redis_server(binary) as server:
        server.initialise(buckets_for(assets), "bench")
        index, keys = RedisIndex(server), Keys(b"b" * 40, b"c" * 40, epochs=lambda: Epochs(1, 2))
        fill(index, keys, assets)
        rotation = Rotation(RedisPeople(server, index), index, keys, 1, lambda _: (), lambda: None)
        steps: dict[str, Callable[[], object]] = {
            "read": lambda: read(server, "sa"),
            "copied": rotation.copy,
            "seen to be there": rotation.copy,
            "taken away": rotation.drop,
        }
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            found[name] = time.perf_counter() - start
    found["ratio"] = sum(found[name] for name in steps if name != "read") / found["read"]
    return found


def read(server: Server, parts: str) -> None:
    """Every bucket of some parts, with plain commands."""
    keys = [server.key(tag, f"{part}:{place}") for tag in range(256) for place in range(server.width) for part in parts]
    for start in range(0, len(keys), 128):
        pipe = server.client.pipeline(transaction=False)
        for key in keys[start : start + 128]:
            pipe.hgetall(key)
        pipe.execute()


def clustered(binary: str, assets: int) -> dict[str, Any]:
    """The same on one server and on a cluster."""
    found: dict[str, Any] = {"assets": assets}
    for name, opened in (("one", redis_server(binary)), ("cluster", redis_cluster(binary))):
        with opened as server:
            server.initialise(buckets_for(assets), "bench")
            index, keys = RedisIndex(server), Keys(b"b" * 40)
            loaded = fill(index, keys, assets)
            stage = resolver(server, index, keys)
            walked, closed = withdrawal(stage), closures(stage, index, keys)[0]
            found[name] = {"load": loaded, "walk": walked, "closure ms": statistics.median(closed)}
    found["ratios"] = {key: found["cluster"][key] / found["one"][key] for key in found["one"]}
    return found


def measure(binary: str, assets: int) -> dict[str, Any]:
    """Everything, at one size."""
    with redis_server(binary) as server:
        server.initialise(buckets_for(assets), "bench")
        index, keys = RedisIndex(server), Keys(b"b" * 40)
        empty = resident(server)
        found: dict[str, Any] = {"assets": assets, "redis": server.client.info("server")["redis_version"]}
        found["load"] = fill(index, keys, assets)
        full = resident(server)
        found["resident"] = (full["used_memory_rss"] - empty["used_memory_rss"]) / assets
        found["used"] = (full["used_memory"] - empty["used_memory"]) / assets
        stats = Survey(server, index, {"photos", "vectors"}).stats()
        found["parts"] = {name: size / assets for name, size in stats.bytes_by_part.items()}
        stage = resolver(server, index, keys)
        found["walk"] = withdrawal(stage)
        found["mark bytes"] = Survey(server, index, ()).stats().bytes_by_part["marks"] / assets
        found["resolver MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        walked, planned = closures(stage, index, keys)
        found["closure ms"], found["closure and plan ms"] = statistics.median(walked), statistics.median(planned)
        hub(index, keys, 500_000)
        found["hub walk"] = _hub_walk(stage)
        return found


def _hub_walk(stage: Resolver) -> float:
    scope = Scope(kind=ScopeKind.ASSET, assets=("hub",))
    start = time.perf_counter()
    visited = carry_out(stage, roots("cd" * 16, scope))
    return visited / (time.perf_counter() - start)


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=1_000_000)
    parser.add_argument("--redis", default=redis_binary())
    parser.add_argument("--marked", type=int, help="Only: that many assets under one parent with this many marks.")
    parser.add_argument("--rotated", action="store_true", help="Only: people's names, from one secret to the next.")
    parser.add_argument("--clustered", action="store_true", help="Only: on one server, and on a Redis Cluster.")
    arguments = parser.parse_args()
    tune_process()
    if arguments.marked:
        print(json.dumps(marked(arguments.redis, arguments.assets, arguments.marked)))
        return
    if arguments.rotated:
        print(json.dumps(rotated(arguments.redis, arguments.assets)))
        return
    if arguments.clustered:
        print(json.dumps(clustered(arguments.redis, arguments.assets)))
        return
    print(json.dumps(measure(arguments.redis, arguments.assets)))


if __name__ == "__main__":
    main()
